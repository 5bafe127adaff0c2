"""A testing branch is run and verified, and nothing more."""

from pathlib import Path

import pytest
from unit.fakes import NEW, OLD, REV_A, REV_B, unit
from unit.world import Crashing, World, shown, upgraded

from gitopsd.errors import Rejected
from gitopsd.types import Outcome, Revision, StorePath

TESTED = StorePath("/nix/store/22222222222222222222222222222222-nixos-system-tst")
REV_T = Revision("c" * 40)
REV_U = Revision("d" * 40)


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """The trunk is deployed, and a commit of the testing branch is on top of it."""
    return await deployed(World(tmp_path))


async def deployed(world: World) -> World:
    await upgraded(world)
    world.activator.order.clear()
    world.source.remote_testing = REV_T
    world.source.history = {REV_T: (REV_B,), REV_U: (REV_B,), REV_A: (REV_B,)}
    world.builder.toplevel = TESTED
    return world


async def test_it_is_run_and_verified_and_is_neither_boot_default_nor_deployed(world: World) -> None:
    summary, updates = await upgraded(world)
    assert (summary.outcome, summary.revision, summary.toplevel) == (Outcome.success, REV_T, TESTED)
    assert world.activator.order == ["test tst"]
    assert (world.activator.current, world.activator.boot_default) == (TESTED, NEW)
    assert world.activator.facts().profile == NEW
    assert world.source.marked == REV_B
    assert "=== Test Successful ===" in [update.line for update in updates]
    snapshot = await shown(world)
    assert snapshot.deployed is not None
    assert snapshot.deployed.revision == REV_B
    assert snapshot.trial is not None
    assert snapshot.trial.revision == REV_T
    assert not snapshot.system.drift
    assert REV_T not in world.builder.released  # what a failing trial would go back to


async def test_it_is_tested_once(world: World) -> None:
    await upgraded(world)
    world.builder.built.clear()
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.up_to_date
    assert "is being tested already" in summary.message
    assert world.builder.built == []


async def test_a_force_pushed_testing_branch_is_tested_without_asking(world: World) -> None:
    await upgraded(world)
    world.source.remote_testing, world.builder.toplevel = REV_U, OLD
    summary, _ = await upgraded(world)
    assert (summary.outcome, summary.revision) == (Outcome.success, REV_U)
    assert world.activator.current == OLD
    assert world.builder.released[-1] == REV_T


async def test_when_the_branch_is_gone_the_trunk_is_deployed_again(world: World) -> None:
    await upgraded(world)
    world.activator.order.clear()
    world.source.remote_testing, world.builder.toplevel = None, NEW
    summary, _ = await upgraded(world)
    assert (summary.outcome, summary.revision) == (Outcome.success, REV_B)
    assert world.activator.order == ["test new", "profile new", "boot new"]
    assert (await shown(world)).trial is None
    assert (await upgraded(world))[0].outcome is Outcome.up_to_date


async def test_when_the_branch_is_merged_it_is_deployed(world: World) -> None:
    await upgraded(world)
    world.activator.order.clear()
    world.source.remote_head = REV_T
    summary, _ = await upgraded(world)
    assert (summary.outcome, summary.revision) == (Outcome.success, REV_T)
    assert world.activator.order == ["test tst", "profile tst", "boot tst"]
    assert world.source.marked == REV_T
    assert (await shown(world)).trial is None


async def test_a_branch_that_the_trunk_went_on_without_is_left_alone_and_told(world: World) -> None:
    await upgraded(world)
    world.source.remote_head, world.builder.toplevel = REV_A, OLD
    summary, _ = await upgraded(world)
    assert (summary.outcome, summary.revision) == (Outcome.success, REV_A)
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.up_to_date
    assert "testing-malphas is not on top of the trunk and is left alone" in summary.message


async def test_a_reboot_ends_the_test_and_it_does_not_begin_again_by_itself(world: World) -> None:
    await upgraded(world)
    world.clock.boot, world.activator.current = "boot-2", NEW
    world.activator.order.clear()
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.up_to_date
    assert "ended with the reboot" in summary.message
    snapshot = await shown(world)
    assert (snapshot.trial, snapshot.system.drift, world.activator.order) == (None, False, [])
    world.source.remote_testing = REV_U
    assert (await upgraded(world))[0].outcome is Outcome.success
    assert world.activator.current == TESTED


async def test_retry_begins_a_test_again_that_a_reboot_ended(world: World) -> None:
    await upgraded(world)
    world.clock.boot, world.activator.current = "boot-2", NEW
    daemon = await world.start()
    outcome, _ = await daemon.end_of(await daemon.loop.retry(requested_by="test"))
    await daemon.stop()
    assert outcome is Outcome.success
    assert world.activator.current == TESTED


async def test_one_that_does_not_prove_good_is_rolled_back_and_the_trunk_goes_on(world: World) -> None:
    world.units.script = [{}, {"sshd.service": unit("sshd.service", "failed")}, {}]
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.rolled_back
    assert (world.activator.current, world.activator.boot_default) == (NEW, NEW)
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.rejected
    assert "of testing-malphas is rejected" in summary.message
    world.source.remote_testing, world.source.remote_head, world.builder.toplevel = None, REV_A, OLD
    assert (await upgraded(world))[0].revision == REV_A


async def test_one_that_fails_after_one_that_was_good_gives_way_to_the_trunk(world: World) -> None:
    await upgraded(world)
    world.source.remote_testing, world.builder.toplevel = REV_U, OLD
    world.units.script = [{}, {"sshd.service": unit("sshd.service", "failed")}, {}]
    assert (await upgraded(world))[0].outcome is Outcome.rolled_back
    assert world.activator.current == TESTED
    world.builder.toplevel = NEW
    summary, _ = await upgraded(world)
    assert (summary.outcome, summary.revision) == (Outcome.success, REV_B)
    assert world.activator.current == NEW


async def test_a_rewound_trunk_waits_for_a_person_whatever_the_testing_branch_holds(world: World) -> None:
    world.source.remote_head, world.source.history = REV_A, {REV_T: (REV_A, REV_B)}
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.diverged
    assert world.activator.order == []


async def test_a_test_is_checked_for_signatures_from_what_is_deployed_on(world: World) -> None:
    world.signatures.error = Rejected("not signed")
    assert (await upgraded(world))[0].outcome is Outcome.unsigned
    assert world.signatures.asked[-1] == (REV_T, REV_B)
    assert world.activator.order == []


async def test_a_host_that_activates_at_reboots_only_tests_at_once_all_the_same(tmp_path: Path) -> None:
    world = World(tmp_path, mode="boot")
    await upgraded(world)
    world.activator.current = NEW  # it was booted
    await upgraded(world)
    world = await deployed(world)
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.success
    assert world.activator.order == ["test tst"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 10))
async def test_a_crash_at_any_write_never_makes_it_the_boot_default(world: World, at: int, *, after: bool) -> None:
    crashing = Crashing(at, after=after)
    daemon = await world.start(crashing)
    await daemon.end_of(await daemon.ask())
    crashed = daemon.crashed
    await daemon.stop()
    if crashed:
        daemon = await world.start()
        await daemon.rests()
        await daemon.stop()
        await upgraded(world)
    assert world.activator.current == TESTED
    assert world.activator.boot_default == world.activator.facts().profile == NEW
    assert world.activator.order == ["test tst"]
    assert world.source.marked == REV_B
