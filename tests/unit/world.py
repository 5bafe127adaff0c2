"""A whole small host made of fakes around the real loop, steps and store, and a crash that can come anywhere."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from unit.fakes import (
    FakeActivator,
    FakeBuilder,
    FakeCheckout,
    FakeClock,
    FakeDotfiles,
    FakeGolden,
    FakeHerald,
    FakeHooks,
    FakeInspector,
    FakeMeter,
    FakePower,
    FakeProber,
    FakeSignatures,
    FakeSource,
    FakeSuccessor,
    FakeUnits,
)

from gitopsd.config import HookConfig, RebootConfig, RetrySection, VerifyConfig
from gitopsd.daemon.board import Board
from gitopsd.daemon.loop import Loop
from gitopsd.daemon.notify import Notify
from gitopsd.daemon.reboots import Reboots
from gitopsd.daemon.step_set import StepSet
from gitopsd.daemon.store import SqliteStore
from gitopsd.machine import RESTING, State
from gitopsd.ports import Herald, Meter
from gitopsd.steps.build import build
from gitopsd.steps.capture import capture
from gitopsd.steps.fetch import fetch
from gitopsd.steps.hooks import HookPlan
from gitopsd.steps.instruments import Instruments
from gitopsd.steps.pull import pull
from gitopsd.steps.push import push
from gitopsd.steps.rollback import rollback
from gitopsd.steps.switch import switch
from gitopsd.steps.verify import verify
from gitopsd.types import CycleKind, CycleSummary, Outcome, Snapshot, Update


class Crash(BaseException):
    """The daemon is killed here."""


class Crashing:
    """Wraps a part of the world: the `at`-th call of any wrapped part dies, before or after it took effect."""

    def __init__(self, at: int, *, after: bool) -> None:
        self.at = at
        self.after = after
        self.calls: list[str] = []

    def wrap(self, part: Any, names: tuple[str, ...]) -> None:
        for name in names:
            setattr(part, name, partial(self._call, name, getattr(type(part), name).__get__(part)))

    async def _call(self, name: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.calls.append(name)
        here = len(self.calls) == self.at
        if here and not self.after:
            raise Crash
        result = await method(*args, **kwargs)
        if here:
            raise Crash
        return result


class World:
    """What survives a crash: the machine, the remote, the people, the store's file."""

    def __init__(self, directory: Path, *, mode: str = "switch", on_failure: str = "rollback") -> None:
        self.path = directory / "state.db"
        self.clock = FakeClock()
        self.activator = FakeActivator()
        self.builder = FakeBuilder()
        self.inspector = FakeInspector()
        self.hooks = FakeHooks()
        self.pre: tuple[HookConfig, ...] = ()
        self.post: tuple[HookConfig, ...] = ()
        self.source = FakeSource()
        self.ahead = FakeSource()
        self.signatures = FakeSignatures()
        self.checkout: FakeCheckout | None = None
        self.units = FakeUnits(self.clock)
        self.prober = FakeProber()
        self.successor = FakeSuccessor()
        self.meter: Meter = FakeMeter()
        self.herald: Herald = FakeHerald()
        self.golden = FakeGolden(self.activator)
        self.people = [FakeDotfiles("rain")]
        self.mode = mode
        self.power = FakePower()
        self.reboot = RebootConfig()
        self.wanted = VerifyConfig(
            validate_units=("sshd.service",),
            soak=3.0,
            deadline=10.0,
            on_validation_failure=on_failure,  # type: ignore[arg-type]
        )
        self.limits = 1000.0

    def steps(self, store: SqliteStore) -> StepSet:
        touching: dict[str, Any] = {"activator": self.activator, "builder": self.builder}
        through = Instruments(
            units=self.units, prober=self.prober, source=self.source, ahead=self.ahead.reach, clock=self.clock
        )
        hooks = HookPlan(hooks=self.hooks, clock=self.clock, pre=self.pre, post=self.post)
        steps: dict[State, Any] = {
            State.fetch: partial(fetch, people=self.people, source=self.source, checkout=self.checkout),
            State.capture: partial(capture, people=self.people, checkout=self.checkout),
            State.push: partial(push, people=self.people, host="malphas", checkout=self.checkout),
            State.pull: partial(
                pull,
                people=self.people,
                source=self.source,
                signatures=self.signatures,
                activator=self.activator,
                store=store,
                clock=self.clock,
                mode=self.mode,
                testing_branch="testing-malphas",
                checkout=self.checkout,
            ),
            State.build: partial(
                build,
                builder=self.builder,
                inspector=self.inspector,
                source=self.source,
                activator=self.activator,
                mode=self.mode,
                hooks=hooks,
            ),
            State.switch: partial(
                switch,
                **touching,
                units=self.units,
                clock=self.clock,
                successor=self.successor,
                validate_units=self.wanted.validate_units,
                mode=self.mode,
            ),
            State.verify: partial(
                verify, **touching, through=through, wanted=self.wanted, successor=self.successor, hooks=hooks
            ),
            State.rollback: partial(rollback, **touching, golden=self.golden, through=through, wanted=self.wanted),
        }
        return StepSet(
            steps=steps,
            limits=dict.fromkeys(steps, self.limits),
            retry={State.fetch: RetrySection(attempts=3), State.build: RetrySection(attempts=2)},
            activator=self.activator,
            reboots=Reboots(self.reboot, self.power, self.clock),
            golden=self.golden,
            users=tuple(person.user for person in self.people),
        )

    async def start(self, crashing: Crashing | None = None) -> "Daemon":
        store = SqliteStore(self.path)
        await store.open()
        if crashing is not None:
            crashing.wrap(store, ("save_cycle", "advance", "finish_cycle"))
        memory = await store.memory()
        unfinished = await store.unfinished_cycle()
        board = Board(
            Snapshot(
                version="t",
                host="malphas",
                state=unfinished.state if unfinished else memory.resting,
                since=memory.since,
                deployed=memory.deployed,
                rejected=memory.rejected,
                blocked=memory.blocked,
                suspended=memory.suspended,
                trial=memory.trial,
                gone_back=memory.gone_back,
                checkout=memory.checkout,
            )
        )
        loop = Loop(
            steps=self.steps(store),
            store=store,
            board=board,
            clock=self.clock,
            notify=Notify(),
            successor=self.successor,
            meter=self.meter,
            herald=self.herald,
        )
        loop.take_up(unfinished, memory.pending)
        return Daemon(loop, store, board)


class Daemon:
    """One life of the daemon."""

    def __init__(self, loop: Loop, store: SqliteStore, board: Board) -> None:
        self.loop = loop
        self.store = store
        self.board = board
        self.task = asyncio.create_task(self._run())
        self.crashed = False

    async def _run(self) -> None:
        try:
            await self.loop.run()
        except Crash:
            self.crashed = True

    async def ask(self, kind: CycleKind = CycleKind.upgrade, **more: Any) -> int:
        return await self.loop.request(kind, requested_by="test", **more)

    async def end_of(self, number: int) -> tuple[Outcome | None, list[Update]]:
        """Follow a cycle until it ends or the daemon crashes."""
        updates: list[Update] = []

        async def listen() -> None:
            async for update in self.loop.follow(number):
                updates.append(update)

        listening = asyncio.create_task(listen())
        await asyncio.wait({listening, self.task}, return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        if self.task.done():
            self.task.result()
        return (updates[-1].outcome if updates else None), updates

    async def rests(self) -> None:
        """Wait until the machine rests, or the daemon has crashed."""
        async for snapshot in self.board.changes():
            if self.task.done() or (snapshot.state in RESTING and snapshot.cycle is None and not snapshot.pending):
                return

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.store.close()


async def shown(world: World) -> Snapshot:
    """What a daemon shows that has just started."""
    daemon = await world.start()
    snapshot = daemon.loop.snapshot()
    await daemon.stop()
    return snapshot


async def upgraded(world: World, **more: Any) -> tuple[CycleSummary, list[Update]]:
    """Start, run one upgrade to its end, stop."""
    daemon = await world.start()
    number = await daemon.ask(**more)
    _, updates = await daemon.end_of(number)
    summary = (await daemon.store.history(1))[0]
    await daemon.stop()
    return summary, updates
