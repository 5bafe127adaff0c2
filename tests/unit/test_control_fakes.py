"""A supervisor with settable state, values to show, and a server on a real socket, for the tests of both ends."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
from unit.fakes import FakeActivator, FakeGolden

from gitopsd.config import ControlConfig
from gitopsd.control.access import Credentials, Peer
from gitopsd.control.limits import Limits
from gitopsd.control.server import ControlServer
from gitopsd.errors import Failed, GitopsdError, PersonNeeded
from gitopsd.machine import State
from gitopsd.ports import Supervisor
from gitopsd.types import (
    Adopted,
    Beginning,
    Conflict,
    Conflicts,
    Cycle,
    CycleDetail,
    CycleKind,
    CycleSummary,
    Deployed,
    Facts,
    Notice,
    Outcome,
    Parked,
    PersonFacts,
    Rejection,
    Revision,
    Settled,
    Side,
    Snapshot,
    StepRecord,
    StorePath,
    Suspension,
    SyncWord,
    SystemFacts,
    Take,
    Update,
)

NOW = 1_700_000_000.0
REVISION = Revision("1a2b3c4d5e6f" + "0" * 28)
TOPLEVEL = StorePath("/nix/store/" + "a" * 32 + "-nixos-system-malphas-25.05")
OTHER = StorePath("/nix/store/" + "b" * 32 + "-nixos-system-malphas-25.05")

ROOT = Peer(uid=0, user="root", admin=True)
RAIN = Peer(uid=1000, user="rain", admin=False)
KEN = Peer(uid=1001, user="ken", admin=False)
WHEEL = Peer(uid=1002, user="op", admin=True)
NOBODY = Peer(uid=4000, user="", admin=False)


def person(user: str) -> PersonFacts:
    return PersonFacts(
        user=user,
        word=SyncWord.conflicts_preserved,
        trunk="f" * 40,
        captured=(f"{user}_secret_captured",),
        published=True,
        applied=(f"{user}_secret_applied",),
        parked=(Parked(path=f"{user}_secret_parked", bookmark="gitopsd/malphas", commit="c" * 40),),
        notices=(Notice(what=f"{user}_secret_notice", path=".ssh/config", advice="chezmoi add .ssh/config"),),
    )


def summary(number: int, kind: CycleKind = CycleKind.upgrade, outcome: Outcome = Outcome.success) -> CycleSummary:
    return CycleSummary(
        id=number,
        kind=kind,
        requested_by="timer",
        started=NOW - 700,
        ended=NOW - 600,
        outcome=outcome,
        message=f"{kind.value}_secret_message",
        revision=REVISION,
        toplevel=TOPLEVEL,
    )


def running(number: int = 7, state: State = State.push, users: tuple[str, ...] = ()) -> Cycle:
    return Cycle(
        id=number,
        kind=CycleKind.upgrade,
        requested_by="timer",
        boot_id="boot",
        started=NOW - 60,
        state=state,
        state_since=NOW - 5,
        users=users,
        facts=Facts(people=(person("rain"), person("ken")), head=REVISION),
    )


def snapshot(**changes: Any) -> Snapshot:
    """A host at rest with two people, an upgrade and a sync behind it."""
    rest = Snapshot(
        version="0.1.0",
        host="malphas",
        state=State.idle,
        since=NOW - 600,
        last_upgrade=summary(5),
        last_sync=summary(6, CycleKind.sync),
        people=(person("rain"), person("ken")),
        system=SystemFacts(current=TOPLEVEL, booted=TOPLEVEL, profile=TOPLEVEL, generation=213),
        deployed=Deployed(revision=REVISION, toplevel=TOPLEVEL, at=NOW - 600),
        config_path="/etc/gitopsd/config.toml",
    )
    return msgspec.structs.replace(rest, **changes)


def rejection(reason: str = "error: attribute 'x' missing") -> Rejection:
    return Rejection(revision=Revision("9" * 40), outcome=Outcome.build_failed, reason=reason, cycle=4, at=NOW - 7200)


def detail(number: int, outcome: Outcome = Outcome.success, kind: CycleKind = CycleKind.upgrade) -> CycleDetail:
    return CycleDetail(
        summary=summary(number, kind, outcome),
        steps=(
            StepRecord(
                state=State.capture,
                started=NOW - 700,
                ended=NOW - 690,
                event="done",
                attempts=1,
                message="rain_secret_step",
            ),
            StepRecord(
                state=State.build, started=NOW - 690, ended=NOW - 600, event="done", attempts=2, message="built it"
            ),
        ),
        facts=Facts(people=(person("rain"), person("ken")), head=REVISION, candidate=REVISION),
    )


def update(cycle: int, line: str = "", **changes: Any) -> Update:
    return msgspec.structs.replace(Update(cycle=cycle, state=State.build, at=NOW, line=line), **changes)


def conflict(file: str = ".bashrc", host: str = "griefling", **changes: Any) -> Conflict:
    """The trunk and a host have two versions of one line."""
    one = Conflict(
        file=file,
        paths=("dot_bashrc",),
        host=host,
        bookmark=f"gitopsd/{host}",
        commit="c" * 40,
        trunk="d" * 40,
        settled=False,
        base=Side(exists=True, size=8, text="one\ntwo\n"),
        theirs=Side(exists=True, size=15, text="one of a\ntwo\n"),
        ours=Side(exists=True, size=15, text="one of b\ntwo\n"),
        merged=f"<<<<<<< main\none of a\n=======\none of b\n>>>>>>> gitopsd/{host}\ntwo\n",
    )
    return msgspec.structs.replace(one, **changes)


class FakeChoices:
    """One person's choices; `asked` are those that came, `refusal` is raised by the next ones."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.listed: tuple[Conflict, ...] = (conflict(),)
        self.offline = False
        self.asked: list[tuple[Any, ...]] = []
        self.refusal: Exception | None = None

    async def conflicts(self) -> Conflicts:
        return Conflicts(user=self.user, offline=self.offline, conflicts=self.listed)

    async def resolve(self, file: str, choice: Take | str, *, host: str = "", seen: str = "") -> Settled:
        self._ask(file, choice, host, seen)
        took = choice.value if isinstance(choice, Take) else "content"
        return Settled(conflict=self.listed[0], took=took, commit="e" * 40)

    async def initialize(self) -> Beginning:
        self._ask("initialize")
        notice = Notice(what=".vimrc differs", path=".vimrc", advice="gitopsctl dotfiles adopt --mine ~/.vimrc")
        return Beginning(source=f"/home/{self.user}/.local/share/chezmoi", made=True, notices=(notice,))

    async def adopt(self, files: Sequence[str], *, mine: bool) -> tuple[Adopted, ...]:
        self._ask(*files, mine)
        took, backup = ("mine", "") if mine else ("theirs", "/backup/x")
        return tuple(Adopted(file=file, took=took, backup=backup) for file in files)

    def _ask(self, *words: Any) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.asked.append(words)


class FakeSupervisor:
    """What the server asks, with everything settable.

    `requests` are those that came, `refusal` is raised by the next ones, `open_streams` counts generators that run.
    """

    def __init__(self) -> None:
        self.current = snapshot()
        self.details: dict[int, CycleDetail] = {5: detail(5)}
        self.updates: dict[int, list[Update]] = {}
        self.requests: list[tuple[CycleKind, str, tuple[str, ...], bool]] = []
        self.retries: list[str] = []
        self.targets: list[tuple[str, str]] = []
        self.refusal: Exception | None = None
        self.open_streams = 0
        self.pinning = FakeGolden(FakeActivator())
        self.deciding = {user: FakeChoices(user) for user in ("rain", "ken")}
        self._changed = asyncio.Condition()

    async def show(self, value: Snapshot) -> None:
        async with self._changed:
            self.current = value
            self._changed.notify_all()

    async def tell(self, *updates: Update) -> None:
        async with self._changed:
            for each in updates:
                self.updates.setdefault(each.cycle, []).append(each)
            self._changed.notify_all()

    def golden(self) -> FakeGolden:
        return self.pinning

    def recorded(self) -> Snapshot:
        return self.current

    def snapshot(self) -> Snapshot:
        return self.current

    async def changes(self) -> AsyncIterator[Snapshot]:
        with self._counted():
            while True:
                shown = self.current
                yield shown
                async with self._changed:
                    await self._changed.wait_for(lambda: self.current is not shown)  # noqa: B023 - awaited here

    async def follow(self, cycle: int) -> AsyncIterator[Update]:
        told = self.updates.setdefault(cycle, [])
        with self._counted():
            position = 0
            while True:
                async with self._changed:
                    await self._changed.wait_for(lambda: len(told) > position)  # noqa: B023 - awaited here
                while position < len(told):
                    yield told[position]
                    if told[position].outcome is not None:
                        return
                    position += 1

    async def request(
        self, kind: CycleKind, *, requested_by: str, users: Sequence[str] = (), accept_diverged: bool = False
    ) -> int:
        if self.refusal is not None:
            raise self.refusal
        self.requests.append((kind, requested_by, tuple(users), accept_diverged))
        return self._next()

    def choices(self, user: str) -> FakeChoices:
        if user not in self.deciding:
            raise Failed(f"no dotfiles are configured for {user}", advice="gitopsctl dotfiles status")
        return self.deciding[user]

    async def retry(self, *, requested_by: str) -> int:
        if self.refusal is not None:
            raise self.refusal
        self.retries.append(requested_by)
        return self._next()

    async def roll_back(self, target: str, *, requested_by: str) -> int:
        if self.refusal is not None:
            raise self.refusal
        self.targets.append((target, requested_by))
        return self._next()

    async def suspend(self, seconds: float, *, reason: str, requested_by: str) -> Suspension:
        suspension = Suspension(since=NOW, until=NOW + seconds if seconds else 0.0, reason=reason, by=requested_by)
        self.current = msgspec.structs.replace(self.current, suspended=suspension)
        return suspension

    async def resume(self) -> bool:
        was = self.current.suspended is not None
        self.current = msgspec.structs.replace(self.current, suspended=None)
        return was

    async def history(self, limit: int, before: int | None = None) -> tuple[CycleSummary, ...]:
        found = sorted((each.summary for each in self.details.values()), key=lambda each: -each.id)
        return tuple([each for each in found if before is None or each.id < before][:limit])

    async def detail(self, cycle: int) -> CycleDetail | None:
        return self.details.get(cycle)

    def _next(self) -> int:
        self.current = msgspec.structs.replace(self.current, cycle=running(7, State.build), state=State.build)
        return 7

    @contextlib.contextmanager
    def _counted(self) -> Any:
        self.open_streams += 1
        try:
            yield
        finally:
            self.open_streams -= 1


def _listening(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(512)
    return listener


class Daemon:
    """A control server on a real socket, with a fake supervisor and a peer of the test's choice."""

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        self.path = str(path)
        self.peer = ROOT
        self.supervisor = FakeSupervisor()
        self.limits = limits
        self.group = "wheel"
        self._server: ControlServer | None = None

    async def start(self) -> None:
        self._server = ControlServer(
            self.supervisor,
            lambda: ControlConfig(group=self.group),
            _listening(Path(self.path)),
            limits=self.limits,
            peer_of=self._peer_of,
            identify=self._identify,
        )
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop()
            self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def connections(self) -> int:
        assert self._server is not None
        return len(self._server._connections)

    def _peer_of(self, _sock: socket.socket) -> Credentials:
        return Credentials(pid=1, uid=self.peer.uid, gid=100)

    def _identify(self, _credentials: Credentials, group: str) -> Peer:
        assert group == self.group
        return self.peer


async def eventually(condition: Callable[[], bool], seconds: float = 3.0) -> None:
    """Wait until something that the other end of a socket causes is true."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


def _satisfies_the_port(fake: FakeSupervisor) -> Supervisor:
    return fake  # mypy checks it


def blocked(message: str = "rollback failed") -> GitopsdError:
    return PersonNeeded(message, meaning="the machine stays as it is", advice="sudo gitopsctl retry")
