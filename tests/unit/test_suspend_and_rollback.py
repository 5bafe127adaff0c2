"""What a person says to the loop: leave this host alone; go back to another generation."""

import asyncio
from pathlib import Path

import pytest
from unit.fakes import NEW, OLD, REV_A, REV_B, unit
from unit.world import Crash, Crashing, World, shown, upgraded

from gitopsd.errors import Failed, Suspended
from gitopsd.machine import State
from gitopsd.types import CycleKind, Outcome, StorePath

OLDER = StorePath("/nix/store/22222222222222222222222222222222-nixos-system-older")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_suspended_host_begins_no_upgrade_and_no_sync_of_a_timer(world: World) -> None:
    daemon = await world.start()
    await daemon.loop.suspend(3600, reason="a talk", requested_by="olga")
    for kind, by in ((CycleKind.upgrade, "root"), (CycleKind.upgrade, "timer"), (CycleKind.sync, "timer")):
        with pytest.raises(Suspended, match="by olga: a talk"):
            await daemon.loop.request(kind, requested_by=by)
    outcome, _ = await daemon.end_of(await daemon.ask(CycleKind.sync))
    assert outcome is Outcome.success  # a person may sync what is theirs
    assert world.activator.order == []
    await daemon.stop()


async def test_a_suspension_survives_a_restart_and_ends_by_itself(world: World) -> None:
    daemon = await world.start()
    await daemon.loop.suspend(3600, reason="", requested_by="olga")
    await daemon.stop()
    world.clock.time += 3599
    daemon = await world.start()
    assert daemon.loop.snapshot().suspended is not None
    with pytest.raises(Suspended):
        await daemon.ask()
    world.clock.time += 1
    assert daemon.loop.snapshot().suspended is None
    outcome, _ = await daemon.end_of(await daemon.ask())
    assert outcome is Outcome.success
    assert not await daemon.loop.resume()
    await daemon.stop()


async def test_resume_ends_a_suspension_that_has_no_end(world: World) -> None:
    daemon = await world.start()
    await daemon.loop.suspend(0, reason="", requested_by="olga")
    world.clock.time += 1e9
    with pytest.raises(Suspended, match="until somebody resumes"):
        await daemon.ask()
    assert await daemon.loop.resume()
    outcome, _ = await daemon.end_of(await daemon.ask())
    assert outcome is Outcome.success
    await daemon.stop()


async def test_what_was_asked_for_before_the_suspension_and_had_not_begun_ends_as_suspended(world: World) -> None:
    daemon = await world.start()
    await daemon.ask(CycleKind.sync)
    while daemon.loop.snapshot().cycle is None:
        await asyncio.sleep(0)
    number = await daemon.ask()
    await daemon.loop.suspend(0, reason="", requested_by="olga")
    outcome, _ = await daemon.end_of(number)
    await daemon.stop()
    assert outcome is Outcome.suspended
    assert world.builder.built == []


async def test_what_is_under_way_goes_on_to_its_end(world: World) -> None:
    daemon = await world.start()
    number = await daemon.ask()
    while daemon.loop.snapshot().state is not State.build:
        await asyncio.sleep(0)
    await daemon.loop.suspend(0, reason="", requested_by="olga")
    outcome, _ = await daemon.end_of(number)
    await daemon.stop()
    assert outcome is Outcome.success


async def test_a_request_that_had_not_begun_survives_a_restart(world: World) -> None:
    daemon = await world.start()
    first = await daemon.ask(CycleKind.sync)
    while daemon.loop.snapshot().cycle is None:
        await asyncio.sleep(0)
    second = await daemon.ask()
    assert second != first
    await daemon.stop()  # cancels the first
    daemon = await world.start()
    outcome, _ = await daemon.end_of(second)
    assert outcome is Outcome.success
    await daemon.stop()
    daemon = await world.start()
    await daemon.rests()
    assert len(await daemon.store.history(10)) == 2  # once
    await daemon.stop()


async def test_a_dry_run_that_had_not_begun_survives_a_restart_beside_an_upgrade(world: World) -> None:
    daemon = await world.start()
    await daemon.ask(CycleKind.sync)
    while daemon.loop.snapshot().cycle is None:
        await asyncio.sleep(0)
    question, upgrade = await daemon.ask(CycleKind.plan), await daemon.ask()
    assert daemon.loop.snapshot().waiting == (upgrade, question)
    await daemon.stop()
    daemon = await world.start()
    later = await daemon.ask(CycleKind.plan)
    ends = {number: (await daemon.end_of(number))[0] for number in (upgrade, question, later)}
    await daemon.stop()
    assert ends == {upgrade: Outcome.success, question: Outcome.up_to_date, later: Outcome.up_to_date}
    assert later in (question, question + 2)  # merged, or one of its own: never in the place of one that was accepted


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", [1, 2])
async def test_an_accepted_rollback_is_carried_on_wherever_the_daemon_dies(
    world: World, at: int, *, after: bool
) -> None:
    await upgraded(world)
    world.activator.order.clear()
    crashing = Crashing(at, after=after)
    daemon = await world.start()
    crashing.wrap(daemon.store, ("save_pending", "save_cycle"))
    accepted = True
    try:
        await daemon.end_of(await daemon.loop.roll_back("previous", requested_by="olga"))
    except Crash:
        accepted = False
        daemon.task.cancel()
        await asyncio.gather(daemon.task, return_exceptions=True)
    await daemon.store.close()
    daemon = await world.start()
    await daemon.rests()
    ended = (await daemon.store.history(1))[0]
    recorded = accepted or after
    assert world.activator.order == (["test old", "restore 1", "boot old"] if recorded else [])
    assert ended.requested_by == ("olga" if recorded else "test")
    await daemon.stop()
    daemon = await world.start()
    await daemon.rests()
    assert len(await daemon.store.history(10)) == (2 if recorded else 1)  # once
    await daemon.stop()


async def test_what_is_asked_for_while_a_rollback_waits_is_no_part_of_it(world: World) -> None:
    await upgraded(world)
    world.source.remote_head, world.builder.toplevel = REV_A, OLDER
    daemon = await world.start()
    crashing = Crashing(1, after=True)
    crashing.wrap(daemon.store, ("save_pending",))
    with pytest.raises(Crash):
        await daemon.loop.roll_back("1", requested_by="olga")
    back = daemon.loop.snapshot().waiting[0]
    await daemon.stop()
    daemon = await world.start()
    upgrade = await daemon.ask()
    assert upgrade != back
    assert (await daemon.end_of(back))[0] is Outcome.success
    assert (await daemon.end_of(upgrade))[0] is Outcome.success
    assert world.activator.current == OLDER
    await daemon.stop()


async def rolled_back(world: World, target: str) -> Outcome | None:
    daemon = await world.start()
    outcome, _ = await daemon.end_of(await daemon.loop.roll_back(target, requested_by="olga"))
    await daemon.stop()
    return outcome


async def test_going_back_is_tested_and_verified_and_rejects_what_is_left(world: World) -> None:
    await upgraded(world)
    world.activator.order.clear()
    assert await rolled_back(world, "previous") is Outcome.success
    assert world.activator.order == ["test old", "restore 1", "boot old"]
    assert world.activator.current == world.activator.boot_default == OLD
    daemon = await world.start()
    (rejection,) = daemon.loop.snapshot().rejected
    assert (rejection.revision, rejection.reason) == (REV_B, "olga went back to generation 1")
    await daemon.stop()
    assert (await upgraded(world))[0].outcome is Outcome.rejected
    world.source.remote_head = REV_A
    assert (await upgraded(world))[0].outcome is Outcome.success


async def test_going_back_to_what_a_cycle_deployed_is_no_drift(world: World) -> None:
    await upgraded(world)
    world.source.remote_head, world.builder.toplevel = REV_A, OLDER
    await upgraded(world)
    assert await rolled_back(world, "2") is Outcome.success
    daemon = await world.start()
    shown = daemon.loop.snapshot()
    assert shown.deployed is not None
    assert (shown.deployed.revision, shown.deployed.toplevel) == (REV_B, NEW)
    assert not shown.system.drift
    await daemon.stop()


async def test_going_back_to_what_no_cycle_built_is_no_drift_either_and_is_told_until_something_is_deployed(
    world: World,
) -> None:
    await upgraded(world)
    assert await rolled_back(world, "1") is Outcome.success

    back = (await shown(world)).gone_back
    assert back is not None
    assert (back.toplevel, back.name, back.by, back.cycle) == (OLD, "generation 1", "olga", 2)
    assert not (await shown(world)).system.drift
    assert (await upgraded(world))[0].outcome is Outcome.rejected  # of each timer; it stays where it was brought to
    assert world.activator.current == OLD
    world.activator.current = OLDER  # somebody switched by hand
    assert (await shown(world)).system.drift
    assert (await shown(world)).gone_back is None
    world.activator.current, world.source.remote_head, world.builder.toplevel = OLD, REV_A, OLDER
    assert (await upgraded(world))[0].outcome is Outcome.success
    assert ((await shown(world)).gone_back, (await shown(world)).system.drift) == (None, False)


async def test_what_waits_for_the_reboot_is_left_too(tmp_path: Path) -> None:
    world = World(tmp_path)
    await upgraded(world)
    world.mode, world.source.remote_head, world.builder.toplevel = "boot", REV_A, OLDER
    assert (await upgraded(world))[0].outcome is Outcome.at_reboot
    assert await rolled_back(world, "previous") is Outcome.success
    assert world.activator.current == world.activator.boot_default == NEW
    summary, _ = await upgraded(world)
    assert (summary.outcome, world.activator.boot_default) == (Outcome.rejected, NEW)


async def test_a_generation_that_does_not_prove_good_is_left_again_and_nothing_is_rejected(world: World) -> None:
    await upgraded(world)

    async def health(names: object) -> object:
        return (unit("sshd.service", "active" if world.activator.current == NEW else "failed"),)

    world.units.health = health  # type: ignore[assignment,method-assign]
    assert await rolled_back(world, "1") is Outcome.rolled_back
    assert world.activator.current == world.activator.boot_default == NEW
    daemon = await world.start()
    assert daemon.loop.snapshot().rejected == ()
    await daemon.stop()


async def test_a_suspended_or_blocked_host_may_be_rolled_back(world: World) -> None:
    await upgraded(world)
    daemon = await world.start()
    await daemon.loop.suspend(0, reason="", requested_by="olga")
    outcome, _ = await daemon.end_of(await daemon.loop.roll_back("1", requested_by="olga"))
    assert outcome is Outcome.success
    await daemon.stop()


@pytest.mark.parametrize(
    ("target", "said"),
    [("7", "no generation 7"), ("golden", "no golden generation"), ("2", "runs and is the boot default already")],
)
async def test_what_cannot_be_gone_back_to_is_refused_with_a_sentence(world: World, target: str, said: str) -> None:
    await upgraded(world)
    daemon = await world.start()
    with pytest.raises(Failed, match=said):
        await daemon.loop.roll_back(target, requested_by="olga")
    assert not daemon.loop.snapshot().pending
    await daemon.stop()
