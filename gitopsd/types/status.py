"""What status shows, and what followers hear. Pure."""

from gitopsd.machine import State
from gitopsd.types.boot import BootFacts
from gitopsd.types.cycle import Cycle, CycleKind, CycleSummary, Outcome
from gitopsd.types.dotfiles import PersonFacts
from gitopsd.types.memory import Deployed, GoneBack, LastGood, Rejection, Suspension, Trial
from gitopsd.types.reboot import RebootNeed
from gitopsd.types.system import SystemFacts
from gitopsd.types.values import Value


class Attempt(Value, frozen=True, kw_only=True):
    """A retry under way, as status shows it.

    Args:
        number: the attempt that comes next, from 2.
        limit: how many there are at most.
        next_try: seconds since the epoch.
        cause: why the last one failed.
        message: its error.

    """

    number: int
    limit: int
    next_try: float
    cause: str
    message: str


class Snapshot(Value, frozen=True, kw_only=True):
    """Everything that status shows, at one moment.

    Args:
        version: of the daemon.
        host: the name of this host in the configuration.
        state: where the machine is.
        since: since when, seconds since the epoch.
        activity: what it does, in a person's words.
        cycle: the cycle under way.
        attempt: the retry that is waited for.
        pending: the cycle that was requested meanwhile: its id, 0 if none.
        pending_kind: its kind.
        pending_plan: the dry run that was requested meanwhile: its id, 0 if none.
        last_sync: the last finished cycle that included the homes.
        last_upgrade: the last finished cycle of kind upgrade.
        people: each person's dotfiles as the last cycle left them.
        system: the NixOS system.
        deployed: the last verified deployment.
        rejected: revisions that are not tried again.
        blocked: why a person is needed; empty if not.
        config_path: the configuration file in force.
        config_error: why the newest configuration file was refused; empty if it was not.
        boot: the assessment of this boot.
        trial: the revision that runs as a test, and is not what the next boot runs.
        checkout: the checkout of the configuration as the last upgrade left it.
        suspended: that a person wants this host left alone, while that lasts.
        last_good: when things last went well.
        reboot: that a reboot is required, and when it comes.
        waiting: the ids of all cycles that were requested and have not begun, in the order in which they will.
        gone_back: the system that was brought back, that no cycle has built, and that runs.

    """

    version: str
    host: str
    state: State
    since: float
    activity: str = ""
    cycle: Cycle | None = None
    attempt: Attempt | None = None
    pending: int = 0
    pending_kind: CycleKind | None = None
    last_sync: CycleSummary | None = None
    last_upgrade: CycleSummary | None = None
    people: tuple[PersonFacts, ...] = ()
    system: SystemFacts = SystemFacts()
    deployed: Deployed | None = None
    rejected: tuple[Rejection, ...] = ()
    blocked: str = ""
    config_path: str = ""
    config_error: str = ""
    boot: BootFacts = BootFacts()
    trial: Trial | None = None
    pending_plan: int = 0
    checkout: PersonFacts | None = None
    suspended: Suspension | None = None
    last_good: LastGood = LastGood()
    reboot: RebootNeed | None = None
    waiting: tuple[int, ...] = ()
    gone_back: GoneBack | None = None


class Update(Value, frozen=True, kw_only=True):
    """One thing that happened in a cycle, for whoever follows it.

    Args:
        cycle: its id.
        state: the state it is in now.
        at: seconds since the epoch.
        line: a line for humans; the ones people grep for are listed in docs/reference/lines.md.
        progress: the line replaces the last progress line and is not part of the record.
        outcome: set on the last update only.

    """

    cycle: int
    state: State
    at: float
    line: str = ""
    progress: bool = False
    outcome: Outcome | None = None
