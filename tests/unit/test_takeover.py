"""The old version watches the new one that has taken over; and goes back if it does not hold."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from unit.fakes import NEW, OLD, REV_A, REV_B, FakeClock
from unit.world import Daemon, World, upgraded

from gitopsd.daemon.standby import HOLD, LIMIT, StandBy
from gitopsd.daemon.store import SqliteStore
from gitopsd.daemon.store_file import MIGRATIONS, restore_state
from gitopsd.daemon.takeover import conclude
from gitopsd.errors import Cause, Transient
from gitopsd.machine import State
from gitopsd.tools.takeover import TakeoverRecord
from gitopsd.types import Cycle, CycleKind, Life, Outcome, StorePath, Takeover


def cycle(state: State) -> Cycle:
    return Cycle(id=1, kind=CycleKind.sync, requested_by="t", boot_id="b", started=0.0, state=state, state_since=0.0)


TAKEOVER = Takeover(before=OLD, default=OLD, after=NEW, invocation="old", boot_id="boot-1", program="/usr/bin/gitopsd")
GONE_BACK = msgspec.structs.replace(TAKEOVER, reason="it failed")
DEPLOYING = msgspec.structs.replace(TAKEOVER, deploying=True)
THIRD = StorePath("/nix/store/33333333333333333333333333333333-nixos-system-third")


class Machine:
    """gitopsd's unit lives as `life` says, by the seconds since the takeover; everything that is done is noted."""

    def __init__(self, directory: Path, life: Callable[[float], Life], takeover: Takeover = TAKEOVER) -> None:
        self.clock = FakeClock()
        self.began = self.clock.time
        self.record = TakeoverRecord(directory, str(directory / "gcroots" / "root"))
        self.record.write(takeover)
        self.life = life
        self.current: StorePath | None = NEW
        self.done: list[str] = []
        self.status = 0

    async def look(self) -> Life:
        return self.life(self.clock.time - self.began)

    async def stop(self) -> None:
        self.done.append("stop")

    async def start(self) -> None:
        self.done.append("start")

    async def activate(self, toplevel: StorePath, action: str, tag: str, *, in_turn: bool = False) -> int:
        assert "old" in tag
        assert in_turn
        self.done.append(action)
        if action == "test" and self.status in (0, 4):
            self.current = toplevel
        return self.status

    def make_default(self, toplevel: StorePath) -> None:
        self.default = toplevel
        self.done.append("profile")

    def restore(self) -> str:
        self.done.append("restore")
        return ""

    async def stand_by(self) -> float:
        """Returns how many seconds it took."""
        await StandBy(
            self.record,
            self,
            self,
            self.clock,
            running=lambda: self.current,
            make_default=self.make_default,
            restore=self.restore,
        ).run()
        return self.clock.time - self.began


BACK = ["stop", "profile", "boot", "stop", "restore", "test", "start"]


def alive(invocation: str = "new", active: str = "active", result: str = "success") -> Life:
    subs = {"active": "running", "failed": "failed", "inactive": "dead", "activating": "start"}
    return Life(active=active, sub=subs[active], result=result, invocation=invocation)


def at_first_old(then: Callable[[float], Life]) -> Callable[[float], Life]:
    """It takes three seconds until the old one has ended."""
    return lambda seconds: alive("old") if seconds < 3 else then(seconds - 3)


async def test_a_new_version_that_holds_is_left_alone(tmp_path: Path) -> None:
    machine = Machine(tmp_path, at_first_old(lambda _: alive()))
    assert HOLD <= await machine.stand_by() < HOLD + 10
    assert machine.done == []
    assert machine.record.read() is None
    assert not (tmp_path / "gcroots" / "root").is_symlink()


@pytest.mark.parametrize(
    ("life", "within", "why"),
    [
        (lambda _: alive(active="failed", result="exit-code"), 10, "it failed (exit-code)"),
        (lambda s: alive(f"life {s // 20}", result="watchdog"), 100, "it had to be started 4 times"),
        (lambda _: alive(active="activating"), LIMIT + 10, "it has not run on for 90 s within 300 s"),
        (lambda s: alive(f"life {s // 80}"), LIMIT + 10, "it had to be started 4 times"),
    ],
    ids=["it fails", "it ends again and again", "it is never ready", "it ends just before it has held"],
)
async def test_one_that_does_not_is_gone_back_from(
    tmp_path: Path, life: Callable[[float], Life], within: float, why: str
) -> None:
    machine = Machine(tmp_path, at_first_old(life))
    assert await machine.stand_by() < within
    assert machine.done == BACK
    assert machine.current == OLD
    takeover = machine.record.read()
    assert takeover is not None  # for the one that runs again
    assert why in takeover.reason


@pytest.mark.parametrize(
    "life",
    [lambda _: alive(active="inactive"), lambda s: alive(f"life {s > 50}")],
    ids=["a person stops it", "a person restarts it"],
)
async def test_what_a_person_does_is_no_failure(tmp_path: Path, life: Callable[[float], Life]) -> None:
    machine = Machine(tmp_path, at_first_old(life))
    await machine.stand_by()
    assert machine.done == []
    assert machine.record.read() is None


async def test_an_old_version_that_was_never_restarted_goes_on_undisturbed(tmp_path: Path) -> None:
    machine = Machine(tmp_path, lambda _: alive("old"))
    await machine.stand_by()
    assert machine.done == []


async def test_a_system_that_somebody_has_left_meanwhile_is_not_gone_back_from(tmp_path: Path) -> None:
    machine = Machine(tmp_path, at_first_old(lambda _: alive(active="failed")))
    machine.current = THIRD
    await machine.stand_by()
    assert machine.done == []


async def test_gitopsd_is_started_again_also_where_the_old_system_could_not_be_activated(tmp_path: Path) -> None:
    machine = Machine(tmp_path, at_first_old(lambda _: alive(active="failed")))
    machine.status = 2
    await machine.stand_by()
    assert machine.current == NEW
    assert machine.done == BACK
    takeover = machine.record.read()
    assert takeover is not None
    assert takeover.stuck
    await machine.stand_by()
    assert machine.done == BACK  # not for ever


async def test_the_old_version_is_waited_for_while_it_deploys_however_long_that_takes(tmp_path: Path) -> None:
    def life(seconds: float) -> Life:
        if seconds > 5000:
            machine.record.remove()  # the daemon does so, when the deployment was undone
        return alive("old")

    machine = Machine(tmp_path, life, DEPLOYING)
    assert await machine.stand_by() > 5000
    assert machine.done == []


@pytest.mark.parametrize(
    ("life", "within", "why"),
    [
        (lambda s: alive("old") if s < 1000 else alive("new", "failed", "exit-code"), 1010, "it failed (exit-code)"),
        (lambda s: alive("old") if s < 1000 else alive("old", "failed", "signal"), 1010, "it failed (signal)"),
        (lambda s: alive("old") if s < 1000 else alive("old", "inactive", "signal"), 1010, "it ended (signal)"),
        (lambda s: alive("old") if s < 1000 else alive(f"{s // 20}"), 1100, "it had to be started 4 times"),
        (lambda s: alive("old") if s < 1000 else alive("new", "activating"), 1310, "it has not run on for 90 s"),
    ],
    ids=[
        "the new one fails",
        "it is not started",
        "nor is it, for want of its socket",
        "again and again",
        "never ready",
    ],
)
async def test_what_takes_the_place_of_a_daemon_that_died_while_it_deployed_must_hold(
    tmp_path: Path, life: Callable[[float], Life], within: float, why: str
) -> None:
    machine = Machine(tmp_path, life, DEPLOYING)
    assert 1000 <= await machine.stand_by() < within
    assert machine.done == BACK
    takeover = machine.record.read()
    assert takeover is not None
    assert why in takeover.reason


@pytest.mark.parametrize("current", [OLD, NEW])
async def test_while_it_is_activated_either_system_may_be_what_runs(tmp_path: Path, current: StorePath) -> None:
    machine = Machine(tmp_path, lambda _: alive("new", "failed"), DEPLOYING)
    machine.current = current
    await machine.stand_by()
    assert machine.done == BACK


async def test_one_that_a_person_stops_while_it_deploys_is_waited_for(tmp_path: Path) -> None:
    machine = Machine(tmp_path, lambda s: alive("old", "inactive") if s < 5000 else alive("new", "failed"), DEPLOYING)
    assert await machine.stand_by() >= 5000
    assert machine.done == BACK


async def test_a_new_one_that_brings_the_deployment_to_its_end_is_watched_from_then_on(tmp_path: Path) -> None:
    def life(seconds: float) -> Life:
        if seconds == 1000:
            machine.record.write(msgspec.structs.replace(DEPLOYING, deploying=False))
        return alive("old" if seconds < 100 else "new")

    machine = Machine(tmp_path, life, DEPLOYING)
    assert 1000 + HOLD <= await machine.stand_by() < 1010 + HOLD
    assert machine.done == []
    assert machine.record.read() is None


async def test_the_boot_default_of_before_comes_back_also_where_another_system_was_being_tested(tmp_path: Path) -> None:
    tested = msgspec.structs.replace(DEPLOYING, default=THIRD)
    machine = Machine(tmp_path, lambda _: alive("new", "failed"), tested)
    await machine.stand_by()
    assert machine.default == THIRD
    assert machine.current == OLD


async def test_a_way_back_that_was_cut_off_is_finished(tmp_path: Path) -> None:
    machine = Machine(tmp_path, lambda _: alive())
    machine.record.write(GONE_BACK)
    assert await machine.stand_by() == 0
    assert machine.done == BACK


async def test_a_state_of_a_newer_version_is_put_aside_for_the_copy_and_any_other_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqliteStore(path)
    await store.open()
    await store.save_cycle(cycle(State.idle))
    await store.keep_copy()
    await store.save_cycle(cycle(State.switch))
    await store.close()
    assert restore_state(path) == ""
    store = SqliteStore(path)
    await store.open()
    newer = len(MIGRATIONS) + 1
    await store._run(lambda: store._db.execute(f"PRAGMA user_version = {newer}"))
    await store.close()
    assert restore_state(path) == str(tmp_path / "state.db.newer-1")
    store = SqliteStore(path)
    assert await store.open() == ""
    assert await store.unfinished_cycle() == cycle(State.idle)
    await store.close()


async def test_the_version_that_runs_again_rejects_the_revision_and_knows_what_runs(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.source.remote_head, world.builder.toplevel = REV_A, OLD
    await upgraded(world)
    world.source.remote_head, world.builder.toplevel = REV_B, NEW
    await upgraded(world)
    world.activator.current = world.activator.boot_default = OLD
    record = TakeoverRecord(tmp_path, str(tmp_path / "gcroots" / "root"))
    record.write(GONE_BACK)
    store = SqliteStore(world.path)
    await store.open()
    for _ in range(2):
        await conclude(
            record,
            world.steps(store),
            store=store,
            herald=world.herald,
            successor=world.successor,
            clock=world.clock,
        )
        memory = await store.memory()
        assert [(each.revision, each.outcome) for each in memory.rejected] == [(REV_B, Outcome.rolled_back)]
        assert memory.rejected[0].reason.endswith("did not hold once it had taken over: it failed")
        assert memory.deployed is not None
        assert (memory.deployed.revision, memory.deployed.toplevel) == (REV_A, OLD)
        assert record.read() is None
    await store.close()
    assert (await upgraded(world))[0].outcome is Outcome.rejected


@pytest.mark.parametrize("state", [State.switch, State.verify])
async def test_a_cycle_whose_system_its_guard_has_gone_back_from_goes_on_with_its_rollback(
    tmp_path: Path, state: State
) -> None:
    world = World(tmp_path)
    world.source.remote_head, world.builder.toplevel = REV_A, OLD
    await upgraded(world)
    world.source.remote_head, world.builder.toplevel = REV_B, NEW
    reached = asyncio.Event()

    async def hang(*_: object, **__: object) -> int:
        reached.set()
        return await asyncio.Event().wait()

    owner, method = {State.switch: (world.activator, "activate"), State.verify: (world.successor, "rehearse")}[state]
    setattr(owner, method, hang)
    daemon = await world.start()
    number = await daemon.ask()
    await reached.wait()
    await daemon.stop()
    delattr(owner, method)
    world.activator.current = OLD  # as the guard has left it
    record = TakeoverRecord(tmp_path, str(tmp_path / "gcroots" / "root"))
    store = SqliteStore(world.path)
    await store.open()
    for _ in range(2):  # killed before the record was removed
        record.write(msgspec.structs.replace(GONE_BACK, deploying=True))
        around = {"store": store, "herald": world.herald, "successor": world.successor, "clock": world.clock}
        await conclude(record, world.steps(store), **around)  # type: ignore[arg-type]
        assert record.read() is None
    unfinished = await store.unfinished_cycle()
    assert unfinished is not None
    assert unfinished.state is State.rollback
    await store.close()
    daemon = await world.start()
    assert (await daemon.end_of(number))[0] is Outcome.rolled_back
    (rejected,) = daemon.board.snapshot.rejected
    assert rejected.revision == REV_B
    assert rejected.reason == "no gitopsd held while it was deployed: it failed"
    detail = await daemon.store.detail(number)
    assert detail is not None
    assert [step.event for step in detail.steps].count("undo") == 1
    await daemon.stop()


async def test_an_old_system_that_could_not_be_activated_either_is_tried_once_and_needs_a_person(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    world.source.remote_head, world.builder.toplevel = REV_B, NEW
    await upgraded(world)
    record = TakeoverRecord(tmp_path, str(tmp_path / "gcroots" / "root"))
    record.write(msgspec.structs.replace(GONE_BACK, stuck=True))
    store = SqliteStore(world.path)
    await store.open()
    around = {"store": store, "herald": world.herald, "successor": world.successor, "clock": world.clock}
    await conclude(record, world.steps(store), **around)  # type: ignore[arg-type]
    memory = await store.memory()
    await store.close()
    assert "could not be activated" in memory.blocked
    assert [each.revision for each in memory.rejected] == [REV_B]
    assert world.successor.watching == 0
    assert record.read() is None


async def test_a_guard_is_forgotten_once_another_system_was_booted_and_kept_while_it_is_activated(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    record = TakeoverRecord(tmp_path, str(tmp_path / "gcroots" / "root"))
    store = SqliteStore(world.path)
    await store.open()
    around = {"store": store, "herald": world.herald, "successor": world.successor, "clock": world.clock}
    record.write(DEPLOYING)
    await conclude(record, world.steps(store), **around)  # type: ignore[arg-type]
    assert record.read() == DEPLOYING
    assert world.successor.watching == 1
    world.clock.boot = "boot-2"
    await conclude(record, world.steps(store), **around)  # type: ignore[arg-type]
    await store.close()
    assert record.read() is None
    assert world.successor.watching == 1


async def test_nothing_is_activated_before_the_old_version_watches(tmp_path: Path) -> None:
    world = World(tmp_path)
    order: list[str] = []
    world.activator.order = order
    guard = world.successor.guard

    async def guarding(before: StorePath, after: StorePath, default: StorePath | None) -> None:
        order.append("guard")
        await guard(before, after, default)

    world.successor.guard = guarding  # type: ignore[method-assign]
    assert (await upgraded(world))[0].outcome is Outcome.success
    assert order.index("guard") == 0
    assert world.successor.guarded[:3] == ["settle", "alone", (OLD, NEW, OLD)]


async def test_an_earlier_watch_that_does_not_end_leaves_the_revision_eligible(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.successor.alone_error = Transient("the watch has not ended", cause=Cause.lock_held)
    assert (await upgraded(world))[0].outcome is Outcome.failed
    assert world.activator.activations == []
    world.successor.alone_error = None
    assert (await upgraded(world))[0].outcome is Outcome.success


async def test_a_takeover_that_a_reboot_has_interrupted_goes_on_being_watched(tmp_path: Path) -> None:
    world = World(tmp_path)
    record = TakeoverRecord(tmp_path, str(tmp_path / "gcroots" / "root"))
    record.write(TAKEOVER)
    store = SqliteStore(world.path)
    await store.open()
    around = {"store": store, "herald": world.herald, "successor": world.successor, "clock": world.clock}
    await conclude(record, world.steps(store), **around)  # type: ignore[arg-type]
    await store.close()
    assert world.successor.watching == 1
    assert record.read() == TAKEOVER


async def test_a_version_of_a_rejected_system_is_no_spare(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.source.remote_head, world.builder.toplevel = REV_A, OLD
    await upgraded(world)
    world.source.remote_head, world.builder.toplevel = REV_B, NEW
    daemon = await world.start()
    await daemon.end_of(await daemon.ask())
    assert await handed_over(world, daemon) == OLD
    await daemon.end_of(await daemon.loop.roll_back("1", requested_by="olga"))  # what is left is rejected
    world.successor.spare = NEW
    assert await handed_over(world, daemon) is None
    await daemon.stop()


async def handed_over(world: World, daemon: Daemon) -> StorePath | None:
    """Have a newer version wait, and return the spare that it was handed over with, after the next cycle."""
    world.successor.ready = True
    await daemon.end_of(await daemon.ask(CycleKind.sync))
    while world.successor.ready:
        await asyncio.sleep(0.01)
    return world.successor.watched[-1]
