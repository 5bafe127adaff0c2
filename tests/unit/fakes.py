"""Fakes with settable failures, for the ports whose real parts run in the tool and lab tests."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec

from gitopsd.config import ProbeConfig
from gitopsd.errors import Failed
from gitopsd.machine import State
from gitopsd.types import (
    BootFacts,
    Built,
    Check,
    Cycle,
    CycleKind,
    CycleSummary,
    Facts,
    PersonFacts,
    Review,
    Revision,
    StepRecord,
    StorePath,
    SystemFacts,
    UnitHealth,
    Verdict,
)

T = TypeVar("T")

OLD = StorePath("/nix/store/00000000000000000000000000000000-nixos-system-old")
NEW = StorePath("/nix/store/11111111111111111111111111111111-nixos-system-new")
REV_A = Revision("a" * 40)
REV_B = Revision("b" * 40)


class FakeClock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.time = 1_000_000.0
        self.boot = "boot-1"
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    def boot_id(self) -> str:
        return self.boot


class FakeDotfiles:
    """One person; `errors` maps a verb to what it raises."""

    def __init__(self, user: str, errors: dict[str, Exception] | None = None) -> None:
        self.user = user
        self.errors = errors or {}
        self.calls: list[str] = []

    async def _verb(self, verb: str, facts: PersonFacts) -> PersonFacts:
        self.calls.append(verb)
        if verb in self.errors:
            raise self.errors[verb]
        return facts

    async def fetch(self, facts: PersonFacts) -> PersonFacts:
        return await self._verb("fetch", facts)

    async def capture(self, facts: PersonFacts) -> PersonFacts:
        return msgspec.structs.replace(await self._verb("capture", facts), captured=("dot_bashrc",))

    async def publish(self, facts: PersonFacts, message: str) -> PersonFacts:
        self.message = message
        return msgspec.structs.replace(await self._verb("publish", facts), published=True, sent=True)

    async def apply(self, facts: PersonFacts) -> PersonFacts:
        return await self._verb("apply", facts)


class FakeCheckout:
    """A checkout with one edit, which is published once; `errors` maps a verb to what it raises."""

    def __init__(self) -> None:
        self.errors: dict[str, Exception] = {}
        self.calls: list[tuple[str, str]] = []
        self.edited = True

    def _verb(self, verb: str, facts: PersonFacts) -> PersonFacts:
        self.calls.append((verb, facts.trunk))
        if verb in self.errors:
            raise self.errors[verb]
        return msgspec.structs.replace(facts, user="rain")

    async def fetch(self, facts: PersonFacts) -> PersonFacts:
        return self._verb("fetch", facts)

    async def capture(self, facts: PersonFacts) -> PersonFacts:
        return self._verb("capture", facts)

    async def publish(self, facts: PersonFacts, message: str) -> PersonFacts:
        self.message = message
        sent, self.edited = self.edited, False
        return msgspec.structs.replace(self._verb("publish", facts), sent=sent)

    async def apply(self, facts: PersonFacts) -> PersonFacts:
        return self._verb("apply", facts)


class FakeSource:
    """A configuration repository."""

    def __init__(self, head: Revision | None = REV_B, error: Exception | None = None) -> None:
        self.remote_head = head
        self.error = error
        self.contained = True
        self.whole = True
        self.marked: Revision | None = None
        self.remote_testing: Revision | None = None
        self.history: dict[Revision, tuple[Revision, ...]] | None = None  # the ancestors of each revision

    async def testing(self) -> Revision | None:
        return self.remote_testing

    async def fetch(self) -> Revision:
        if self.error is not None:
            raise self.error
        assert self.remote_head is not None
        return self.remote_head

    async def reach(self) -> None:
        await self.fetch()

    async def sound(self) -> bool:
        return self.whole

    async def head(self) -> Revision | None:
        return self.remote_head

    async def descends(self, revision: Revision, ancestor: Revision) -> bool:
        return self.contained if self.history is None else ancestor in self.history.get(revision, ())

    async def subject(self, revision: Revision) -> str:
        return "a subject"

    async def mark_deployed(self, revision: Revision) -> None:
        self.marked = revision

    async def marked_deployed(self) -> Revision | None:
        return self.marked


class FakeSignatures:
    """Trusts everything, or raises `error`; remembers the ranges that it was asked about."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked: list[tuple[Revision, Revision | None]] = []

    async def check(self, revision: Revision, since: Revision | None) -> None:
        self.asked.append((revision, since))
        if self.error is not None:
            raise self.error


class FakeProber:
    """Says what is in `problems`, one entry a question, the last one for ever."""

    def __init__(self) -> None:
        self.problems: list[str] = [""]
        self.asked = 0

    async def ask(self, probe: ProbeConfig) -> str:
        self.asked += 1
        return self.problems.pop(0) if len(self.problems) > 1 else self.problems[0]


class FakeMeter:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.steps: list[StepRecord] = []
        self.cycles: list[CycleSummary] = []

    def stepped(self, step: StepRecord) -> None:
        self.steps.append(step)

    def finished(self, summary: CycleSummary) -> None:
        self.cycles.append(summary)


class FakeHerald:
    """Wants everything, and remembers it."""

    def __init__(self) -> None:
        self.channels: tuple[str, ...] = ("command",)
        self.told: list[tuple[str, str, str]] = []
        self.woken = 0

    def wants(self, event: str) -> bool:
        return True

    def tell(self, event: str, message: str, *, occasion: str = "", **more: object) -> None:
        self.told.append((event, message, occasion))

    def wake(self) -> None:
        self.woken += 1


class FakeSuccessor:
    """Waits once `ready`, and counts how often it was handed over to."""

    def __init__(self) -> None:
        self.ready = False
        self.handed_over = 0
        self.spare: StorePath | None = OLD
        self.own = "unit config"
        self.watched: list[StorePath | None] = []
        self.watching = 0
        self.problem = ""
        self.guarded: list[object] = []
        self.alone_error: Exception | None = None

    def waits(self) -> bool:
        return self.ready

    def fingerprint(self) -> str:
        return self.own

    async def rehearse(self, before: str) -> str:
        return self.problem

    def came_from(self) -> StorePath | None:
        return self.spare

    async def watch_on(self) -> None:
        self.watching += 1

    async def alone(self, progress: Callable[[str], None]) -> None:
        self.guarded.append("alone")
        if self.alone_error is not None:
            raise self.alone_error

    async def guard(self, before: StorePath, after: StorePath, default: StorePath | None) -> None:
        self.guarded.append((before, after, default))

    async def settle(self) -> None:
        self.guarded.append("settle")

    async def hand_over(self, spare: StorePath | None) -> None:
        self.watched.append(spare)
        self.handed_over += 1
        self.ready = False


class FakeBuilder:
    """Builds `toplevel`, or fails."""

    def __init__(self, toplevel: StorePath = NEW) -> None:
        self.toplevel = toplevel
        self.build_error: Exception | None = None
        self.why_root = ""
        self.built: list[Revision] = []
        self.released: list[Revision] = []
        self.held: StorePath | None = None

    async def build(self, revision: Revision, progress: Callable[[str], None]) -> Built:
        self.built.append(revision)
        progress("building")
        if self.build_error is not None:
            raise self.build_error
        return Built(revision=revision, toplevel=self.toplevel, why_root=self.why_root)

    async def release(self, revision: Revision) -> None:
        self.released.append(revision)

    async def release_others(self, *kept: Revision) -> None:
        pass

    def hold(self, toplevel: StorePath) -> None:
        self.held = toplevel


class FakeInspector:
    """Finds what it is told to find."""

    def __init__(self) -> None:
        self.space = Check(name="has room in the store", verdict=Verdict.passed)
        self.checks: tuple[Check, ...] = (Check(name="is a NixOS system", verdict=Verdict.passed),)
        self.inspected: list[StorePath] = []

    async def room(self) -> Check:
        return self.space

    async def inspect(self, toplevel: StorePath, progress: Callable[[str], None]) -> Review:
        self.inspected.append(toplevel)
        return Review(checks=self.checks, closure="hello: ∅ → 1.0", reboot=("kernel",))


class FakeHooks:
    """Runs units by writing them down; `problems` says what goes wrong with which."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.problems: dict[str, str] = {}

    async def last(self, unit: str) -> str:
        return str(self.ran.count(unit)) if unit in self.ran else ""

    async def run(self, unit: str, *, before: str, since: float, limit: float) -> str:
        if await self.last(unit) == before:
            self.ran.append(unit)
        return self.problems.get(unit, "")


class FakeActivator:
    """A machine that can be switched: `test` changes what runs, the profile and `boot` what boots."""

    def __init__(self) -> None:
        self.current: StorePath = OLD
        self.profiles: list[StorePath] = [OLD]
        self.generation = 1
        self.reboot_reasons: tuple[str, ...] = ()
        self.boot_default: StorePath = OLD
        self.statuses: dict[str, int | Exception] = {}
        self.activations: list[tuple[StorePath, str, str]] = []
        self.done: dict[str, int] = {}
        self.order: list[str] = []

    def facts(self) -> SystemFacts:
        return SystemFacts(
            current=self.current,
            booted=OLD,
            profile=self.profiles[self.generation - 1],
            generation=self.generation,
            reboot=self.reboot_reasons,
        )

    def generations(self) -> dict[int, StorePath]:
        return dict(enumerate(self.profiles, start=1))

    async def activate(self, toplevel: StorePath, action: str, tag: str, *, in_turn: bool = False) -> int:
        if tag in self.done:
            return self.done[tag]
        self.activations.append((toplevel, action, tag))
        self.order.append(f"{action} {toplevel[-3:]}")
        status = self.statuses.get(f"{action} {toplevel[-3:]}", 0)
        if isinstance(status, Exception):
            raise status
        if status in (0, 2, 4):
            if action == "test":
                self.current = toplevel
            else:
                self.boot_default = toplevel
        self.done[tag] = status
        return status

    async def forget(self) -> None:
        self.done.clear()

    async def set_profile(self, toplevel: StorePath) -> int:
        self.order.append(f"profile {toplevel[-3:]}")
        if self.profiles[-1] != toplevel:
            self.profiles.append(toplevel)
        self.generation = len(self.profiles)
        return self.generation

    async def restore_profile(self, generation: int) -> None:
        self.order.append(f"restore {generation}")
        self.generation = generation


class FakeGolden:
    """A golden generation, and an assessment that a test sets."""

    def __init__(self, activator: FakeActivator, golden: StorePath | None = None) -> None:
        self.activator = activator
        self.golden = golden
        self.assessment = BootFacts()
        self.made_default: list[str] = []

    def pinned(self) -> StorePath | None:
        return self.golden

    def facts(self) -> BootFacts:
        return msgspec.structs.replace(self.assessment, golden=self.golden)

    def generation(self, number: int) -> StorePath:
        if not 1 <= number <= len(self.activator.generations()):
            raise Failed(f"there is no generation {number}")
        return self.activator.generations()[number]

    async def pin(self, toplevel: StorePath) -> str:
        self.golden = toplevel
        return ""

    async def unpin(self) -> None:
        self.golden = None

    async def make_default(self, reason: str, tag: str) -> StorePath:
        if self.golden is None:
            raise Failed("there is no golden generation")
        self.made_default.append(reason)
        await self.activator.set_profile(self.golden)
        await self.activator.activate(self.golden, "boot", tag)
        return self.golden

    async def forgive(self) -> int:
        count, self.assessment = self.assessment.failures, BootFacts()
        return count


class FakeUnits:
    """A script of what systemd says: one entry a look, the last one for ever."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.script: list[dict[str, UnitHealth]] = [{}]
        self.failed_script: list[tuple[str, ...]] = [()]

    async def failed(self) -> tuple[str, ...]:
        return self.failed_script.pop(0) if len(self.failed_script) > 1 else self.failed_script[0]

    async def health(self, names: Sequence[str]) -> tuple[UnitHealth, ...]:
        now = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return tuple(now.get(name, UnitHealth(name=name, active="active", sub="running", main_pid=7)) for name in names)

    @asynccontextmanager
    async def watch(self) -> AsyncIterator["FakeUnits"]:
        yield self

    async def wait(self, seconds: float) -> None:
        await self.clock.sleep(seconds)


def unit(name: str, active: str = "active", *, restarts: int = 0, pid: int = 7, loaded: bool = True) -> UnitHealth:
    return UnitHealth(name=name, active=active, sub="running", restarts=restarts, main_pid=pid, loaded=loaded)


def cycle(state: State = State.fetch, kind: CycleKind = CycleKind.upgrade, facts: Facts = Facts()) -> Cycle:  # noqa: B008  # frozen
    return Cycle(
        id=1,
        kind=kind,
        requested_by="test",
        boot_id="boot-1",
        started=1_000_000.0,
        state=state,
        state_since=1_000_000.0,
        facts=facts,
    )


class FakePower:
    """A machine whose people may be logged in; counts its reboots."""

    def __init__(self) -> None:
        self.people: tuple[str, ...] = ()
        self.reboots = 0

    async def sessions(self) -> tuple[str, ...]:
        return self.people

    async def reboot(self) -> None:
        self.reboots += 1
