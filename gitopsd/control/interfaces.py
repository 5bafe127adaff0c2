"""The Varlink interfaces. Their docstrings are the comments that `varlinkctl introspect` shows.

One pair of them serves one connection, so that each method knows its caller. Who may call is decided before they run
(`access`), what the caller may see when they answer (`privacy`).
"""
# ruff: noqa: N802 - Varlink spells methods in capitals

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Protocol, TypeVar

import msgspec
from asyncvarlink import LastResult, TypedVarlinkErrorReply, VarlinkErrorReply, VarlinkInterface, varlinkmethod
from asyncvarlink.serviceerrors import InvalidParameter

from gitopsd.config import duration as parse_duration
from gitopsd.control import wire
from gitopsd.control.access import Peer
from gitopsd.control.feed import Feed
from gitopsd.control.privacy import View
from gitopsd.errors import Failed, GitopsdError, NotPermitted, PersonNeeded, Suspended
from gitopsd.ports import Supervisor
from gitopsd.types import Adoption, CycleKind, Pinned, Snapshot, Take, Update, parse_store_path

T = TypeVar("T")

_HISTORY_DEFAULT = 20
_HISTORY_LIMIT = 500  # one reply of this many cycles stays well below a megabyte
_CYCLE_LIMIT = 2**63 - 1  # what the store's integers hold
_WATCH_PAUSE = 0.2  # seconds between two snapshots to one client: what changes in between is seen at its end
_TARGET = re.compile(r"previous|golden|[1-9][0-9]{0,8}")
_LONGEST_SUSPENSION = 10 * 365 * 86400.0  # seconds
_LONGEST_REASON = 500  # characters
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .:@_-]{0,31}")


class Caller(Protocol):
    """The connection that a method is called on."""

    @property
    def peer(self) -> Peer:
        """Who calls, as of this call."""

    def feed(self, source: AsyncIterator[T], replaces: Callable[[T, T], bool]) -> Feed[T]:
        """Drain `source` for this call; closed when the call or the connection ends, whichever comes first."""


class NoSuchCycle(TypedVarlinkErrorReply, name="io.gitopsd.Status.NoSuchCycle"):
    """There is no cycle with this id, or it is not finished."""

    class Parameters:
        """Which one, why, and the next command to type."""

        cycle: int
        reason: str
        advice: str


class StatusInternalError(TypedVarlinkErrorReply, name="io.gitopsd.Status.InternalError"):
    """The daemon has a bug, which its journal tells about."""

    class Parameters:
        """What happened and where to look."""

        reason: str
        advice: str


class ControlInternalError(TypedVarlinkErrorReply, name="io.gitopsd.Control.InternalError"):
    """The daemon has a bug, which its journal tells about."""

    class Parameters:
        """What happened and where to look."""

        reason: str
        advice: str


class Forbidden(TypedVarlinkErrorReply, name="io.gitopsd.Control.NotPermitted"):
    """The caller may not do this; nothing was changed."""

    class Parameters:
        """Who may not do what, and the next command to type."""

        reason: str
        advice: str


class Blocked(TypedVarlinkErrorReply, name="io.gitopsd.Control.Blocked"):
    """There is no automatic way on and a person is needed; nothing was changed."""

    class Parameters:
        """Why, what it means for the machine, and the next command to type."""

        reason: str
        meaning: str
        advice: str


class SuspendedReply(TypedVarlinkErrorReply, name="io.gitopsd.Control.Suspended"):
    """A person has suspended this host; nothing was begun."""

    class Parameters:
        """Until when, by whom and why, what it means for the machine, and the next command to type."""

        reason: str
        meaning: str
        advice: str


class Refused(TypedVarlinkErrorReply, name="io.gitopsd.Control.Refused"):
    """The daemon understood the request and cannot take it."""

    class Parameters:
        """Why, what it means for the machine, and the next command to type."""

        reason: str
        meaning: str
        advice: str


def as_reply(error: GitopsdError) -> VarlinkErrorReply:
    """Say an error of the daemon in Varlink."""
    match error:
        case NotPermitted():
            return Forbidden(reason=error.message, advice=error.advice)
        case PersonNeeded():
            return Blocked(reason=error.message, meaning=error.meaning, advice=error.advice)
        case Suspended():
            return SuspendedReply(reason=error.message, meaning=error.meaning, advice=error.advice)
        case _:
            return Refused(reason=error.message, meaning=error.meaning, advice=error.advice)


class StatusInterface(VarlinkInterface, name="io.gitopsd.Status"):
    """What gitopsd does and did. Read only, for every local user.

    What concerns another person's home is left out. Times are seconds since the epoch.
    """

    errors = (NoSuchCycle, StatusInternalError)

    def __init__(self, supervisor: Supervisor, caller: Caller, metrics: Callable[[], str]) -> None:
        self._supervisor = supervisor
        self._caller = caller
        self._metrics = metrics

    def _view(self) -> View:
        return View(self._caller.peer, self._supervisor.recorded())

    @varlinkmethod(return_parameter="status")
    async def Get(self) -> wire.Status:
        """Tell what is true now."""
        snapshot = self._supervisor.snapshot()
        return wire.to_wire(View(self._caller.peer, snapshot).snapshot(snapshot), wire.Status)

    @varlinkmethod(return_parameter="status", delay_generator=False)
    async def Watch(self) -> AsyncIterator[wire.Status]:
        """Tell what is true now, and again after changes, for as long as the caller likes. Needs `more`."""
        async for snapshot in self._caller.feed(self._supervisor.changes(), _newest_snapshot):
            yield wire.to_wire(View(self._caller.peer, snapshot).snapshot(snapshot), wire.Status)
            await asyncio.sleep(_WATCH_PAUSE)

    @varlinkmethod(return_parameter="cycles")
    async def History(self, *, limit: int = _HISTORY_DEFAULT, before: int | None = None) -> list[wire.Summary]:
        """List finished cycles, newest first: `limit` of them (20 if not given, at most 500), with ids below `before`."""
        if not 1 <= limit <= _HISTORY_LIMIT:
            raise InvalidParameter(parameter="limit")
        if before is not None and not 0 <= before <= _CYCLE_LIMIT:
            raise InvalidParameter(parameter="before")
        view = self._view()
        return [
            wire.to_wire(view.summary(each), wire.Summary) for each in await self._supervisor.history(limit, before)
        ]

    @varlinkmethod(return_parameter="detail")
    async def Show(self, *, cycle: int) -> wire.Detail:
        """Tell all about one finished cycle."""
        detail = await self._supervisor.detail(cycle) if 1 <= cycle <= _CYCLE_LIMIT else None
        if detail is not None:
            return wire.to_wire(self._view().detail(detail), wire.Detail)
        if self._under_way(cycle):
            raise NoSuchCycle(cycle=cycle, reason=f"cycle {cycle} is not finished", advice="gitopsctl watch")
        raise _no_such_cycle(cycle)

    @varlinkmethod(return_parameter="update", delay_generator=False)
    async def Follow(self, *, cycle: int) -> AsyncIterator[wire.Update]:
        """Tell what happens in a pending, running or finished cycle; the last update has its outcome. Needs `more`."""
        # In this order: a cycle that ends in between is in the record before it leaves the snapshot.
        if not self._under_way(cycle) and (
            not 1 <= cycle <= _CYCLE_LIMIT or await self._supervisor.detail(cycle) is None
        ):
            raise _no_such_cycle(cycle)
        async for update in self._caller.feed(self._supervisor.follow(cycle), _newest_progress):
            shown = wire.to_wire(self._view().update(update), wire.Update)
            if update.outcome is not None:
                raise LastResult(shown)
            yield shown

    @varlinkmethod(return_parameter="conflicts")
    async def Conflicts(self, *, user: str | None = None) -> wire.Conflicts:
        """List what is parked beside the trunk, by all hosts, with both sides; without `user` the caller's own.

        Texts that are binary or long are null. For the person and the admins only; errors are those of
        io.gitopsd.Control.
        """
        choices = self._supervisor.choices(_whose(self._caller.peer, user))
        return wire.to_wire(await choices.conflicts(), wire.Conflicts)

    @varlinkmethod(return_parameter="text")
    async def Metrics(self) -> str:
        """Tell the figures, in Prometheus' text format."""
        return self._metrics()

    def _under_way(self, cycle: int) -> bool:
        snapshot = self._supervisor.recorded()
        running = snapshot.cycle.id if snapshot.cycle is not None else 0
        return cycle > 0 and cycle in (running, *snapshot.waiting)


class ControlInterface(VarlinkInterface, name="io.gitopsd.Control"):
    """Changes things: for root and the members of the configured group; a person may sync their own dotfiles.

    Each method answers with the id of the cycle that satisfies the request, for io.gitopsd.Status.Follow.
    `requested_by` is a word for the record, such as `timer`; it is heeded only from those who may do everything.
    """

    errors = (Forbidden, Blocked, SuspendedReply, Refused, ControlInternalError)

    def __init__(self, supervisor: Supervisor, caller: Caller) -> None:
        self._supervisor = supervisor
        self._caller = caller

    @varlinkmethod(return_parameter="cycle")
    async def Sync(self, *, user: str | None = None, requested_by: str | None = None) -> int:
        """Bring the dotfiles of one person in step; without `user` the caller's own, and everybody's for root."""
        if user == "":
            raise InvalidParameter(parameter="user")
        peer = self._caller.peer
        users: tuple[str, ...] = (peer.user,) if user is None else (user,)
        if user is None and peer.uid == 0:
            users = ()
        return await self._supervisor.request(CycleKind.sync, requested_by=self._word(requested_by), users=users)

    @varlinkmethod(return_parameter="settled")
    async def Resolve(
        self,
        *,
        file: str,
        take: str | None = None,
        content: str | None = None,
        host: str | None = None,
        seen: str | None = None,
        user: str | None = None,
        requested_by: str | None = None,
    ) -> wire.Settled:
        """Settle one parked file for all hosts, publish that, and ask for a sync of the person's dotfiles.

        `take` is `ours` (the version parked by `host`: this one if it has one, else the only one), `theirs` (the
        trunk's) or `union`; or else `content` is what the file is to hold. A parked commit other than `seen` is
        refused, if that is given.
        """
        if (take is None) == (content is None) or take not in (None, *Take.__members__):
            raise InvalidParameter(parameter="take")
        whose, word = _whose(self._caller.peer, user), self._word(requested_by)
        choice = Take[take] if take is not None else content or ""
        settled = await self._supervisor.choices(whose).resolve(file, choice, host=host or "", seen=seen or "")
        cycle = await self._supervisor.request(CycleKind.sync, requested_by=word, users=(whose,))
        return wire.to_wire(msgspec.structs.replace(settled, cycle=cycle), wire.Settled)

    @varlinkmethod(return_parameter="beginning")
    async def Initialize(self, *, user: str | None = None, requested_by: str | None = None) -> wire.Beginning:
        """Set up a person's dotfiles on this host, and ask for the sync that writes to the home what is new there.

        Nothing is overwritten; files that were there and differ are named.
        """
        whose, word = _whose(self._caller.peer, user), self._word(requested_by)
        begun = await self._supervisor.choices(whose).initialize()
        cycle = await self._supervisor.request(CycleKind.sync, requested_by=word, users=(whose,))
        return wire.to_wire(msgspec.structs.replace(begun, cycle=cycle), wire.Beginning)

    @varlinkmethod(return_parameter="adoption")
    async def Adopt(
        self, *, files: list[str], take: str, user: str | None = None, requested_by: str | None = None
    ) -> wire.Adoption:
        """Settle files that differ between home and repository, and ask for a sync.

        `take` is `mine` (the repository gets the home's version) or `theirs` (the home's version is moved to a backup).
        """
        if take not in ("mine", "theirs"):
            raise InvalidParameter(parameter="take")
        whose, word = _whose(self._caller.peer, user), self._word(requested_by)
        adopted = await self._supervisor.choices(whose).adopt(files, mine=take == "mine")
        cycle = await self._supervisor.request(CycleKind.sync, requested_by=word, users=(whose,))
        return wire.to_wire(Adoption(adopted=adopted, cycle=cycle), wire.Adoption)

    @varlinkmethod(return_parameter="cycle")
    async def Upgrade(
        self, *, accept_diverged: bool = False, requested_by: str | None = None, dry_run: bool = False
    ) -> int:
        """Sync everybody's dotfiles, then pull, build, switch to and verify the NixOS system.

        With `accept_diverged`, a trunk that was rewound or rewritten is accepted once. With `dry_run`, no home and no
        remote is touched, and the cycle (of the kind `plan`) ends with what would be deployed, built and checked.
        """
        return await self._supervisor.request(
            CycleKind.plan if dry_run else CycleKind.upgrade,
            requested_by=self._word(requested_by),
            accept_diverged=accept_diverged,
        )

    @varlinkmethod(return_parameter="cycle")
    async def Retry(self, *, requested_by: str | None = None) -> int:
        """Forget rejected revisions and what blocks, and upgrade."""
        return await self._supervisor.retry(requested_by=self._word(requested_by))

    @varlinkmethod(return_parameter="cycle")
    async def Rollback(self, *, target: str = "previous", requested_by: str | None = None) -> int:
        """Go back to another generation of the system, verified as an upgrade is, also while suspended or blocked.

        `target` is `previous`, `golden` or the number of a generation. What is left is rejected: it is not deployed
        again before somebody asks for a retry.
        """
        if not _TARGET.fullmatch(target):
            raise InvalidParameter(parameter="target")
        return await self._supervisor.roll_back(target, requested_by=self._word(requested_by))

    @varlinkmethod(return_parameter="suspended")
    async def Suspend(self, *, duration: str | None = None, reason: str | None = None) -> wire.Suspension:
        """Have this host left alone: no upgrade begins and no timer's sync; what is under way goes on to its end.

        `duration` is such as `2h` or `1h 30min`; without it, until somebody resumes. It survives restarts and reboots.
        """
        seconds = parse_duration(duration) if duration is not None else 0.0
        if seconds is None or (duration is not None and not 0 < seconds <= _LONGEST_SUSPENSION):
            raise InvalidParameter(parameter="duration")
        words = reason or ""
        if len(words) > _LONGEST_REASON or not words.isprintable():
            raise InvalidParameter(parameter="reason")
        by = str(self._caller.peer)
        return wire.to_wire(await self._supervisor.suspend(seconds, reason=words, requested_by=by), wire.Suspension)

    @varlinkmethod(return_parameter="was_suspended")
    async def Resume(self) -> bool:
        """End a suspension. Tells whether there was one."""
        return await self._supervisor.resume()

    @varlinkmethod(return_parameter="pinned")
    async def PinGolden(self, *, toplevel: str | None = None, generation: int | None = None) -> wire.Pinned:
        """Make a generation golden: by its store path, by its number in the system profile, or else what runs now."""
        if toplevel is not None and generation is not None:
            raise InvalidParameter(parameter="generation")
        golden, snapshot = self._supervisor.golden(), self._supervisor.snapshot()
        if generation is not None:
            which = golden.generation(generation)
        elif toplevel is None and snapshot.system.current is not None:
            which = snapshot.system.current
        else:
            try:
                which = parse_store_path(toplevel or "")
            except ValueError:
                raise InvalidParameter(parameter="toplevel") from None
        problem = await golden.pin(which)
        return wire.to_wire(
            Pinned(toplevel=which, number=golden.facts().golden_generation, problem=problem), wire.Pinned
        )

    @varlinkmethod
    async def UnpinGolden(self) -> None:
        """Have no golden generation: nothing is fallen back to at boot until another one is pinned."""
        await self._supervisor.golden().unpin()

    @varlinkmethod(return_parameter="count")
    async def ResetBoots(self) -> int:
        """Forget the bad boots of all generations and the last rollback; answers with how many bad boots there were."""
        return await self._supervisor.golden().forgive()

    def _word(self, given: str | None) -> str:
        peer = self._caller.peer
        if given is None or not peer.admin:
            return str(peer)
        if not _WORD.fullmatch(given):
            raise InvalidParameter(parameter="requested_by")
        return given


def _whose(peer: Peer, user: str | None) -> str:
    """Whose dotfiles a call is about.

    Raises:
        Failed: root must say so.

    """
    if user == "":
        raise InvalidParameter(parameter="user")
    if user is None and peer.uid == 0:
        raise Failed("root has to say whose dotfiles", meaning="nothing was changed", advice="name the user")
    return peer.user if user is None else user


def _no_such_cycle(cycle: int) -> NoSuchCycle:
    return NoSuchCycle(cycle=cycle, reason=f"there is no cycle {cycle} in the record", advice="gitopsctl history")


def _newest_snapshot(_waiting: Snapshot, _new: Snapshot) -> bool:
    return True


def _newest_progress(waiting: Update, new: Update) -> bool:
    return waiting.progress and new.progress
