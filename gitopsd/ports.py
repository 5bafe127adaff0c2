"""What the steps and the socket need from the rest, named by role.

Steps know these protocols and nothing of the programs behind them. Each method says which errors of `errors` it
raises; `Transient` may come from every method that talks to the world.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from gitopsd.config import ProbeConfig
from gitopsd.types import (
    Adopted,
    Announcement,
    Beginning,
    BootConclusion,
    BootFacts,
    Built,
    Candidate,
    Check,
    Conflicts,
    Cycle,
    CycleDetail,
    CycleEnd,
    CycleKind,
    CycleSummary,
    Facts,
    Finding,
    Life,
    Memory,
    PersonFacts,
    Rebooting,
    RebootNeed,
    Rejection,
    Review,
    Revision,
    Settled,
    Snapshot,
    StepRecord,
    StorePath,
    Suspension,
    SystemFacts,
    Take,
    UnitHealth,
    Update,
)

T = TypeVar("T")


class Clock(Protocol):
    """Time and the identity of this boot."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds of a clock that never jumps."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    def boot_id(self) -> str:
        """`/proc/sys/kernel/random/boot_id`."""


class Reporter(Protocol):
    """How a step makes itself heard and remembered while it runs."""

    async def checkpoint(self, facts: Facts) -> None:
        """Write `facts` to the store now; returns once they are durable."""

    def line(self, text: str) -> None:
        """Tell followers and the journal one line for humans."""

    def progress(self, text: str) -> None:
        """Replace the progress line that status and followers show."""

    def awaited(self) -> bool:
        """Whether somebody has asked for another upgrade meanwhile."""

    async def retrying(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Run `operation`, and run it again on `Transient` as the retry policy of this state says.

        Raises:
            Transient: the last attempt failed too.

        """


class Dotfiles(Protocol):
    """One person's dotfiles on this host: repository and home. Every command runs as that person.

    Each method takes what this cycle knows about the person and returns it extended. None raises for a conflict.
    """

    @property
    def user(self) -> str:
        """The person's login name."""

    async def fetch(self, facts: PersonFacts) -> PersonFacts:
        """Learn what the remote has. Moves nothing: no working copy, no home. Repeatable."""

    async def capture(self, facts: PersonFacts) -> PersonFacts:
        """Commit what was edited in the home, on top of the revision that it was last applied from. Repeatable."""

    async def publish(self, facts: PersonFacts, message: str) -> PersonFacts:
        """Merge with the trunk what merges, publish everything, prove it by reading the remote back. Repeatable."""

    async def apply(self, facts: PersonFacts) -> PersonFacts:
        """Write what others changed to the home; never over an edit that is not in a commit. Repeatable."""


class Checkout(Protocol):
    """A person's checkout of the configuration. Every command runs as its owner; nothing in it is ever lost.

    What is deployed does not come from here. A method takes what this cycle knows and returns it extended; `trunk` is
    the head of the branch that is followed.
    """

    async def apply(self, facts: PersonFacts) -> PersonFacts:
        """Bring the checkout to the trunk if that loses nothing. Repeatable."""


class PublishedCheckout(Checkout, Protocol):
    """A checkout whose edits are published. None of its methods raises for a conflict: it is parked."""

    async def fetch(self, facts: PersonFacts) -> PersonFacts:
        """Learn what the remote has. Moves nothing. Repeatable."""

    async def capture(self, facts: PersonFacts) -> PersonFacts:
        """Take what was edited into a commit. Repeatable."""

    async def publish(self, facts: PersonFacts, message: str) -> PersonFacts:
        """Merge with the trunk what merges, publish everything, prove it by reading the remote back. Repeatable."""


class Gate(Protocol):
    """What keeps secrets out of one repository: it stands before everything that is committed or published."""

    async def check(self, candidates: Sequence[Candidate]) -> Mapping[str, tuple[Finding, ...]]:
        """Look for secrets in files; returns what was found by path, and nothing for a file that may pass.

        What its published version has already, and what the person allowed, is not reported. Without a scanner, or
        if it fails, every new file is reported, with the rule `no-scanner`.

        Raises:
            Transient: it ran over its time.

        """


class Choices(Protocol):
    """What one person decides about their dotfiles on this host, outside of any cycle.

    Every command runs as that person. None runs while a step of the cycle works on the same repository or home.
    """

    @property
    def user(self) -> str:
        """The person's login name."""

    async def conflicts(self) -> Conflicts:
        """What all hosts have parked beside the trunk; as last seen if the remote cannot be reached.

        Raises:
            Failed: there is no repository yet.

        """

    async def resolve(self, file: str, choice: Take | str, *, host: str = "", seen: str = "") -> Settled:
        """Settle one parked file for all hosts: published and proven on return. Moves no working copy and no home.

        Args:
            file: the target relative to the home, or a name in the repository.
            choice: what to take, or the text that the file is to hold.
            host: whose version is parked; empty is this host's, or else the only one there is.
            seen: the parked commit that the person looked at; another one is refused. Empty takes any.

        Raises:
            Failed: there is no such conflict, or more than one; nothing was changed.
            Transient: the remote cannot be reached; nothing was changed.

        """

    async def initialize(self) -> Beginning:
        """Set up the repository on this host; a sync then writes to the home what is new there. Repeatable.

        Nothing in the home is overwritten; files that were there and differ are named in the notices.

        Raises:
            Failed: something else is in the place of the repository.
            Transient: the remote cannot be reached.

        """

    async def adopt(self, files: Sequence[str], *, mine: bool) -> tuple[Adopted, ...]:
        """Settle files that differ between home and repository.

        Args:
            files: relative to the home.
            mine: the repository takes the home's version (a sync publishes it); else the home's version is moved to a
                backup and the repository's is written. A file that is not in the repository is added to it.

        Raises:
            Failed: a file cannot be taken so; nothing was changed.

        """


class ConfigSource(Protocol):
    """The daemon's own bare mirror of the configuration repository."""

    async def fetch(self) -> Revision:
        """Bring the mirror up to date; returns the branch's head. Transfers nothing if nothing is new.

        Raises:
            Transient: the remote cannot be reached.
            Absent: the remote answers, and has no such branch.
            Failed: the remote cannot be read.

        """

    async def head(self) -> Revision | None:
        """The branch's head as last fetched; None before the first fetch."""

    async def testing(self) -> Revision | None:
        """The head of this host's testing branch as last fetched; None if there is none."""

    async def descends(self, revision: Revision, ancestor: Revision) -> bool:
        """Whether `ancestor` is `revision` or one of its ancestors."""

    async def subject(self, revision: Revision) -> str:
        """The first line of its commit message, control characters removed."""

    async def mark_deployed(self, revision: Revision) -> None:
        """Remember beside the mirror what was deployed last, so that a lost state file does not lose it. Repeatable."""

    async def marked_deployed(self) -> Revision | None:
        """What `mark_deployed` was told last."""


class Signatures(Protocol):
    """Whose commits may be deployed."""

    async def check(self, revision: Revision, since: Revision | None) -> None:
        """Check that each commit of `revision` which `since` does not have is signed by somebody who is allowed to.

        Nothing of the revision is evaluated for that. Without `since`, or if the mirror has lost it, `revision` itself
        is checked: its signature covers its whole history, though nobody signed the single steps.

        Raises:
            Rejected: one is not; the message names it.
            Failed: it cannot be found out.

        """


class Builder(Protocol):
    """Builds an exact revision."""

    async def build(self, revision: Revision, progress: Callable[[str], None]) -> Built:
        """Build the toplevel of this host; it is a GC root from the moment it exists. Repeatable.

        Raises:
            Transient: a download or a cache failed.
            Rejected: evaluation or a derivation failed; the message ends with the end of its log.

        """

    async def release(self, revision: Revision) -> None:
        """Drop the GC root of a build that was deployed or rejected."""

    async def release_others(self, *kept: Revision) -> None:
        """Drop the GC roots of all other builds: of what was interrupted, and then overtaken."""


class Inspector(Protocol):
    """Looks at what was built, before anything is switched to it. Changes nothing."""

    async def room(self) -> Check:
        """Whether there is room for a build."""

    async def inspect(self, toplevel: StorePath, progress: Callable[[str], None]) -> Review:
        """Make all checks, up to the first that fails, and compare it with what runs. Repeatable.

        Args:
            toplevel: what was built.
            progress: hears which check is made.

        """


class Activator(Protocol):
    """Activates toplevels, in a named transient unit of systemd, outside our own process."""

    def facts(self) -> SystemFacts:
        """What runs, what was booted, what is the boot default. A few links are read; never waits."""

    def generations(self) -> dict[int, StorePath]:
        """The system profile's generations by number. A few links are read; never waits."""

    async def activate(self, toplevel: StorePath, action: str, tag: str) -> int:
        """Run `switch-to-configuration ACTION` to its end, once.

        If the unit of this `tag` is running or has run since boot, its result is taken instead of starting another.

        Args:
            toplevel: what to activate.
            action: `test` or `boot`.
            tag: names this one activation across crashes of the daemon.

        Returns:
            The exit status of switch-to-configuration (0, 1, 2, 4, 100 have meanings).

        Raises:
            Transient: somebody else's switch is running (`lock_held`), or it ran over its time (`timeout`).

        """

    async def forget(self) -> None:
        """Free the unit's name, once every result is read and recorded."""

    async def set_profile(self, toplevel: StorePath) -> int:
        """Make it the system profile's newest generation; returns its number. Repeatable."""

    async def restore_profile(self, generation: int) -> None:
        """Point the system profile at an existing generation. Repeatable."""


class Golden(Protocol):
    """The golden generation, the last one that has proved itself; and the assessment of boots that makes it so."""

    def pinned(self) -> StorePath | None:
        """The golden generation; None if there is none. A link is read; never waits."""

    def facts(self) -> BootFacts:
        """The assessment of this boot, without its `stage`. A few small files are read; never waits."""

    def generation(self, number: int) -> StorePath:
        """A generation of the system profile.

        Raises:
            Failed: there is none of this number.

        """

    async def pin(self, toplevel: StorePath) -> str:
        """Make it golden: a GC root and a boot entry. Repeatable.

        Returns:
            Why it has no boot entry yet; empty if it has one.

        Raises:
            Failed: it is no whole NixOS system, or the link cannot be written; golden is what it was.

        """

    async def unpin(self) -> None:
        """Have no golden generation. Nothing is deleted; there is no rollback at boot any more. Repeatable."""

    async def make_default(self, reason: str, tag: str) -> StorePath:
        """Make golden the system profile and the boot default; what runs stays as it is. Repeatable.

        Args:
            reason: for the journal.
            tag: names this one activation across crashes of the daemon.

        Returns:
            The golden generation.

        Raises:
            Failed: there is none, it is not whole, or the boot loader was not installed; the message says which.
            Transient: somebody else's switch is running.

        """

    async def forgive(self) -> int:
        """Forget the bad boots of all generations, and the last rollback; returns how many bad boots there were."""


class Units(Protocol):
    """What systemd says of units."""

    async def failed(self) -> tuple[str, ...]:
        """Names of the units whose ActiveState is failed, sorted."""

    async def health(self, names: Sequence[str]) -> tuple[UnitHealth, ...]:
        """The units' states, in the order asked for."""

    def watch(self) -> AbstractAsyncContextManager["Watch"]:
        """Subscribe to changes; subscribe first, then look."""


class Hooks(Protocol):
    """Starts units that a person wants before and after an update."""

    async def last(self, unit: str) -> str:
        """The InvocationID of the unit's newest start; empty if it has none. Keeps what systemd knows of the unit."""

    async def run(self, unit: str, *, before: str, since: float, limit: float) -> str:
        """Start the unit, unless it was started already since `before`, and wait for its end.

        Args:
            unit: its name.
            before: what `last` said before it was started first.
            since: when that was, seconds since the epoch.
            limit: seconds, after which it is stopped.

        Returns:
            What went wrong, one sentence; empty if nothing.

        """


class Watch(Protocol):
    """A subscription to changes of units."""

    async def wait(self, seconds: float) -> None:
        """Return at the next signal, or after so many seconds: signals get lost when PID 1 re-executes."""


class Prober(Protocol):
    """Asks a service whether it does its work."""

    async def ask(self, probe: ProbeConfig) -> str:
        """Probe once, within the probe's own time; returns what is wrong, empty if nothing is."""


class Store(Protocol):
    """The durable record."""

    async def next_cycle_id(self) -> int:
        """A fresh cycle id, never given twice, also across crashes."""

    async def save_cycle(self, cycle: Cycle) -> None:
        """Record the cycle under way; durable on return."""

    async def advance(self, cycle: Cycle, step: StepRecord, rejection: Rejection | None) -> None:
        """Record a finished step, what it rejects, and the cycle in its next state, in one transaction."""

    async def finish_cycle(self, end: CycleEnd, channels: Sequence[str] = ()) -> None:
        """Move the cycle under way to the history with all that its end means, in one transaction.

        Args:
            end: the cycle's end.
            channels: who is to be told its announcements.

        """

    async def unfinished_cycle(self) -> Cycle | None:
        """The cycle that was under way when the daemon ended."""

    async def history(self, limit: int, before: int | None = None) -> tuple[CycleSummary, ...]:
        """Finished cycles, newest first, with ids below `before`."""

    async def detail(self, cycle: int) -> CycleDetail | None:
        """One finished cycle; None if there is none with this id."""

    async def keep_copy(self) -> None:
        """Keep the record as it is now, for a version that comes back after a newer one (`store.restore_state`)."""

    async def save_pending(self, cycle: Cycle) -> None:
        """Record a cycle that was asked for; `save_cycle` of the same id takes it over."""

    async def suspend(self, suspension: Suspension | None) -> None:
        """Record that this host is suspended, or that it is not any more."""

    async def note_reboot(self, need: RebootNeed | None, rebooting: Rebooting | None = None) -> None:
        """Record that a reboot is required or is not any more, and that one of ours comes now."""

    async def forget_at_reboot(self) -> None:
        """Record that no deployment waits for the next boot any more."""

    async def revision_of(self, toplevel: StorePath) -> Revision | None:
        """The revision that a cycle of the history has built this toplevel from; None if none has."""

    async def forgive(self) -> int:
        """Forget all rejections, the blocked state, and that a trial ended; returns how many rejections there were."""

    async def conclude_boot(self, conclusion: BootConclusion) -> None:
        """Remember what the assessment of boots means, in one transaction. Repeatable."""

    async def note_order(self, *, stopped: bool) -> None:
        """Record that the daemon stops in order, or that it runs again; of a trial it is told how that ended."""

    async def memory(self) -> Memory:
        """What is remembered beside the cycles."""

    async def announce(self, announcement: Announcement, channels: Sequence[str], occasion: str = "") -> None:
        """Put an announcement into the outbox, once for each channel, unless this occasion of the event was told.

        Args:
            announcement: what to tell.
            channels: who is to be told.
            occasion: tells one occurrence from the next; empty is always another one.

        """

    async def outbox(self, channel: str) -> tuple[int, Announcement] | None:
        """The oldest announcement that a channel has not taken yet, with its number."""

    async def delivered(self, number: int) -> None:
        """Take an announcement out of the outbox."""


class Meter(Protocol):
    """What counts and measures."""

    def stepped(self, step: StepRecord) -> None:
        """A step has ended and is recorded."""

    def finished(self, summary: CycleSummary) -> None:
        """A cycle has ended and is recorded."""


class Herald(Protocol):
    """What brings announcements to the receivers of `[notify]`. Nothing here waits for them."""

    @property
    def channels(self) -> tuple[str, ...]:
        """The receivers' names."""

    def wants(self, event: str) -> bool:
        """Whether anybody is to be told of it."""

    def tell(self, event: str, message: str, *, occasion: str = "", **more: Any) -> None:
        """Announce an event that is no cycle's end; see `Store.announce` for `occasion`."""

    def wake(self) -> None:
        """Something was put into the outbox."""


class Successor(Protocol):
    """The next version of ourselves."""

    def waits(self) -> bool:
        """Whether the running system has another version of us than the one that runs. Never waits."""

    def fingerprint(self) -> str:
        """Our unit and our configuration as the running system has them. Never waits."""

    async def rehearse(self, before: str) -> str:
        """Try whether the version that the running system has would start; returns what is wrong, empty if nothing is.

        Args:
            before: the fingerprint before the switch. Nothing is done if it is the same, or if what is wrong with the
                configuration was wrong before.

        """

    def came_from(self) -> StorePath | None:
        """The toplevel that this version was started in; None if it is no NixOS system, or not there any more."""

    async def hand_over(self, spare: StorePath | None) -> None:
        """Have systemd restart us; returns once that is queued.

        Args:
            spare: the system to go back to if the new version does not hold; without one, nobody watches it.

        Raises:
            Failed: the new version would not start; this one goes on.
            Transient: the watch over an earlier takeover has not ended.

        """

    async def watch_on(self) -> None:
        """Have the old version go on watching us, if a reboot has ended its watch.

        Raises:
            GitopsdError: it cannot be started.

        """


class OwnLife(Protocol):
    """Our own unit, seen from outside."""

    async def look(self) -> Life:
        """What systemd says of it now."""

    async def stop(self) -> None:
        """Stop it, and return once it has ended."""

    async def start(self) -> None:
        """Start it, also after it has failed; returns once that is queued."""


class Activates(Protocol):
    """The part of `Activator` that a way back needs."""

    async def activate(self, toplevel: StorePath, action: str, tag: str) -> int:
        """See `Activator`."""


class Power(Protocol):
    """What can reboot this machine, and who would mind."""

    async def sessions(self) -> tuple[str, ...]:
        """Names of the people who are logged in, sorted; empty too where nobody keeps count."""

    async def reboot(self) -> None:
        """Reboot in the orderly way; returns once that is under way.

        Raises:
            Failed: something inhibits it.

        """


class Supervisor(Protocol):
    """What the socket may ask of the daemon."""

    def snapshot(self) -> Snapshot:
        """What status shows now. Never waits."""

    def changes(self) -> AsyncIterator[Snapshot]:
        """The snapshot now, and again after each change."""

    async def request(
        self, kind: CycleKind, *, requested_by: str, users: Sequence[str] = (), accept_diverged: bool = False
    ) -> int:
        """Ask for a cycle; requests that come while one runs are merged into one pending cycle.

        Returns:
            The id of the cycle that will satisfy the request.

        Raises:
            PersonNeeded: the machine is blocked and the kind is upgrade.
            Suspended: this host is suspended, and the kind is upgrade or a timer asks.
            Failed: there are no such dotfiles here.

        """

    def follow(self, cycle: int) -> AsyncIterator[Update]:
        """Updates of a pending, running or finished cycle, up to the one with the outcome."""

    def choices(self, user: str) -> Choices:
        """What a person may decide about their dotfiles.

        Raises:
            Failed: there are no such dotfiles here.

        """

    async def roll_back(self, target: str, *, requested_by: str) -> int:
        """Go back to another generation, verified as an upgrade is; what is left is rejected. Returns the cycle's id.

        Args:
            target: `previous`, `golden`, or the number of a generation.
            requested_by: a word for humans.

        Raises:
            Failed: there is no such generation, it runs already, or a cycle is under way.

        """

    async def suspend(self, seconds: float, *, reason: str, requested_by: str) -> Suspension:
        """Have this host left alone: no upgrade begins, and no timer's sync. What is under way goes on to its end.

        Args:
            seconds: for how long; 0 is until `resume`.
            reason: the person's own words.
            requested_by: who.

        """

    async def resume(self) -> bool:
        """End a suspension; returns whether there was one."""

    def golden(self) -> Golden:
        """The golden generation, and the assessment of boots."""

    async def retry(self, *, requested_by: str) -> int:
        """Forget rejections and the blocked state, and ask for an upgrade; returns its cycle id."""

    async def history(self, limit: int, before: int | None = None) -> tuple[CycleSummary, ...]:
        """Finished cycles, newest first."""

    async def detail(self, cycle: int) -> CycleDetail | None:
        """One finished cycle with its steps."""
