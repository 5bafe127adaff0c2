"""`switch.mode = "test"`: the branch is run and verified, and the boot default stays what it is."""

from pathlib import Path

import pytest
from unit.fakes import NEW, OLD, REV_A, REV_B, unit
from unit.world import Crash, Crashing, World, shown, upgraded

from gitopsd.types import Outcome, Revision, StorePath

THIRD = StorePath("/nix/store/22222222222222222222222222222222-nixos-system-3rd")
REV_C = Revision("c" * 40)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, mode="test")


async def reboot(world: World, *, in_order: bool = True) -> None:
    """The machine goes down, and comes up with what is the boot default."""
    daemon = await world.start()
    if in_order:
        await daemon.store.note_order(stopped=True)
    await daemon.stop()
    number = int(world.clock.boot.removeprefix("boot-")) + 1
    world.clock.boot, world.activator.current = f"boot-{number}", world.activator.boot_default
    world.activator.order.clear()
    world.builder.built.clear()


async def test_it_runs_and_is_verified_and_never_becomes_the_boot_default(world: World) -> None:
    summary, updates = await upgraded(world)
    assert (summary.outcome, summary.toplevel) == (Outcome.success, NEW)
    assert world.activator.order == ["test new"]
    assert (world.activator.current, world.activator.boot_default) == (NEW, OLD)
    assert "=== Test Successful ===" in [update.line for update in updates]
    snapshot = await shown(world)
    assert snapshot.trial is not None
    assert (snapshot.trial.revision, snapshot.trial.trunk, snapshot.deployed) == (REV_B, True, None)
    assert not snapshot.system.drift
    assert REV_B not in world.builder.released  # nothing but its root keeps it


async def test_the_next_timer_neither_builds_nor_activates_it_again(world: World) -> None:
    await upgraded(world)
    world.builder.built.clear()
    summary, _ = await upgraded(world)
    assert (summary.outcome, world.builder.built) == (Outcome.up_to_date, [])
    assert "is being tested already" in summary.message
    assert world.activator.order == ["test new"]


async def test_what_runs_and_is_the_boot_default_already_is_deployed_and_needs_no_test(world: World) -> None:
    world.builder.toplevel = OLD
    summary, _ = await upgraded(world)
    assert (summary.outcome, world.activator.order) == (Outcome.up_to_date, [])
    snapshot = await shown(world)
    assert snapshot.deployed is not None
    assert (snapshot.deployed.revision, snapshot.trial, world.source.marked) == (REV_B, None, REV_B)


async def test_a_newer_commit_is_tested_and_one_that_fails_goes_back_to_the_one_before(world: World) -> None:
    await upgraded(world)
    world.source.remote_head, world.builder.toplevel = REV_C, THIRD
    world.units.script = [{}, {"sshd.service": unit("sshd.service", "failed")}, {}]
    summary, _ = await upgraded(world)
    assert (summary.outcome, summary.revision) == (Outcome.rolled_back, REV_C)
    assert (world.activator.current, world.activator.boot_default) == (NEW, OLD)
    snapshot = await shown(world)
    assert snapshot.trial is not None
    assert (snapshot.trial.revision, snapshot.system.drift) == (REV_B, False)


async def test_after_a_reboot_in_order_the_next_upgrade_tests_it_again_each_time(world: World) -> None:
    await upgraded(world)
    for _ in range(4):
        await reboot(world)
        assert (await shown(world)).trial is None  # the old system runs
        summary, _ = await upgraded(world)
        assert (summary.outcome, world.activator.order) == (Outcome.success, ["test new"])


async def test_what_takes_the_machine_down_twice_is_not_run_again_until_somebody_says_so(world: World) -> None:
    await upgraded(world)
    await reboot(world, in_order=False)
    assert (await upgraded(world))[0].outcome is Outcome.success  # once may be a power cut
    await reboot(world)
    assert (await upgraded(world))[0].outcome is Outcome.success
    await reboot(world, in_order=False)
    summary, _ = await upgraded(world)
    assert (summary.outcome, world.activator.order, world.builder.built) == (Outcome.rejected, [], [])
    assert "went down 2 times" in summary.message
    daemon = await world.start()
    outcome, _ = await daemon.end_of(await daemon.loop.retry(requested_by="olga"))
    await daemon.stop()
    assert (outcome, world.activator.current) == (Outcome.success, NEW)
    world.source.remote_head = REV_C  # as does a new commit
    await reboot(world, in_order=False)
    assert (await upgraded(world))[0].outcome is Outcome.success


async def test_a_daemon_that_runs_again_in_the_same_boot_was_stopped_by_no_shutdown(world: World) -> None:
    await upgraded(world)
    daemon = await world.start()
    for stopped in (True, False):
        await daemon.store.note_order(stopped=stopped)
        trial = (await daemon.store.memory()).trial
        assert trial is not None
        assert trial.in_order is stopped
    await daemon.stop()


async def test_a_trunk_that_was_rewound_behind_what_is_tested_waits_for_a_person(world: World) -> None:
    await upgraded(world)
    world.source.remote_head, world.source.history = REV_A, {REV_B: (REV_A,), REV_A: ()}
    summary, _ = await upgraded(world)
    assert (summary.outcome, world.activator.current) == (Outcome.diverged, NEW)
    world.builder.toplevel = THIRD
    assert (await upgraded(world, accept_diverged=True))[0].outcome is Outcome.success
    assert (await upgraded(world))[0].outcome is Outcome.up_to_date
    assert (world.activator.current, world.activator.boot_default) == (THIRD, OLD)


async def test_with_the_mode_switch_again_what_was_tested_is_deployed(world: World) -> None:
    await upgraded(world)
    world.mode = "switch"
    assert (await upgraded(world))[0].outcome is Outcome.success
    assert (world.activator.current, world.activator.boot_default) == (NEW, NEW)
    assert (await shown(world)).trial is None


async def test_a_testing_branch_is_tested_instead_and_the_trunk_again_once_it_is_gone(world: World) -> None:
    await upgraded(world)
    world.source.remote_testing, world.builder.toplevel = REV_C, THIRD
    world.source.history = {REV_C: (REV_B,)}
    summary, _ = await upgraded(world)
    assert (summary.revision, world.activator.current) == (REV_C, THIRD)
    world.source.remote_testing, world.builder.toplevel = None, NEW
    summary, _ = await upgraded(world)
    assert (summary.revision, world.activator.current, world.activator.boot_default) == (REV_B, NEW, OLD)


async def test_going_back_from_a_test_is_to_the_boot_default_and_rejects_it(world: World) -> None:
    await upgraded(world)
    daemon = await world.start()
    outcome, _ = await daemon.end_of(await daemon.loop.roll_back("previous", requested_by="olga"))
    assert (outcome, world.activator.current) == (Outcome.success, OLD)
    await daemon.stop()
    summary, _ = await upgraded(world)
    assert (summary.outcome, world.activator.current) == (Outcome.rejected, OLD)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("rebooted", [False, True], ids=["killed", "cut"])
async def test_wherever_it_dies_the_boot_default_is_the_old_system(
    tmp_path: Path, *, rebooted: bool, after: bool
) -> None:
    points = 0
    for at in range(1, 100):
        world = World(tmp_path / str(at), mode="test")
        world.path.parent.mkdir()
        crashing = Crashing(at, after=after)
        daemon = await world.start(crashing)
        crashing.wrap(world.activator, ("activate", "set_profile", "restore_profile", "forget"))
        crashing.wrap(world.builder, ("build", "release"))
        try:
            await daemon.end_of(await daemon.ask())
        except Crash:
            daemon.crashed = True
        points, crashed = at, daemon.crashed
        await daemon.stop()
        if not crashed:
            break
        crashing.at = 0
        if rebooted:
            world.clock.boot, world.activator.current = "boot-2", world.activator.boot_default
            world.activator.done.clear()
        daemon = await world.start()
        await daemon.rests()
        await daemon.stop()
        assert (world.activator.boot_default, world.activator.profiles) == (OLD, [OLD])
        assert world.activator.order.count("test new") <= 1
        assert (await upgraded(world))[0].outcome in (Outcome.success, Outcome.up_to_date)
        assert (world.activator.current, world.activator.boot_default) == (NEW, OLD)
    assert points > 10
