"""The old version watches the new one that has taken over; and goes back if it does not hold."""

import asyncio
from collections.abc import Callable
from pathlib import Path

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


TAKEOVER = Takeover(before=OLD, after=NEW, invocation="old", program="/usr/bin/gitopsd")


class Machine:
    """gitopsd's unit lives as `life` says, by the seconds since the takeover; everything that is done is noted."""

    def __init__(self, directory: Path, life: Callable[[float], Life]) -> None:
        self.clock = FakeClock()
        self.began = self.clock.time
        self.record = TakeoverRecord(directory, str(directory / "gcroots" / "root"))
        self.record.write(TAKEOVER)
        self.life = life
        self.current: StorePath | None = NEW
        self.done: list[str] = []
        self.busy = 0
        self.status = 0

    async def look(self) -> Life:
        return self.life(self.clock.time - self.began)

    async def stop(self) -> None:
        self.done.append("stop")

    async def start(self) -> None:
        self.done.append("start")

    async def activate(self, toplevel: StorePath, action: str, tag: str) -> int:
        assert "old" in tag
        if self.busy:
            self.busy -= 1
            raise Transient("another activation is running", cause=Cause.lock_held)
        self.done.append(action)
        if action == "test" and self.status in (0, 4):
            self.current = toplevel
        return self.status

    def make_default(self, toplevel: StorePath) -> None:
        assert toplevel == OLD
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


BACK = ["stop", "restore", "profile", "boot", "test", "start"]


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
    machine.current = StorePath("/nix/store/33333333333333333333333333333333-nixos-system-third")
    await machine.stand_by()
    assert machine.done == []


async def test_a_switch_of_somebody_else_is_waited_for(tmp_path: Path) -> None:
    machine = Machine(tmp_path, at_first_old(lambda _: alive(active="failed")))
    machine.busy = 30
    assert await machine.stand_by() > 30
    assert machine.done == BACK


async def test_gitopsd_is_started_again_also_where_the_old_system_could_not_be_activated(tmp_path: Path) -> None:
    machine = Machine(tmp_path, at_first_old(lambda _: alive(active="failed")))
    machine.status = 2
    await machine.stand_by()
    assert machine.current == NEW
    assert machine.done == BACK


async def test_a_way_back_that_was_cut_off_is_finished(tmp_path: Path) -> None:
    machine = Machine(tmp_path, lambda _: alive())
    machine.record.write(Takeover(before=OLD, after=NEW, invocation="old", program="p", reason="it failed"))
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
    record.write(Takeover(before=OLD, after=NEW, invocation="old", program="p", reason="it failed"))
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
