"""A cycle: what is recorded of it before each step, and what stays in the history. Pure."""

import enum

from gitopsd.machine import Event, State
from gitopsd.types.dotfiles import PersonFacts
from gitopsd.types.system import Built, HookRun, Review, Switching
from gitopsd.types.values import Revision, StorePath, Value


class CycleKind(enum.Enum):
    """`sync` is dotfiles only and ends after pull; `upgrade` is all of it.

    `plan` is an upgrade's dry run: it touches no home and no remote, and ends when what would be deployed is built and
    checked.
    """

    sync = "sync"
    upgrade = "upgrade"
    plan = "plan"


class Outcome(enum.Enum):
    """How a cycle ended."""

    success = "success"  # an upgrade was deployed and verified, or a sync did all it had to
    up_to_date = "up-to-date"  # nothing new to deploy
    offline = "offline"  # the remote cannot be reached; what could be done without it was done
    at_reboot = "at-reboot"  # mode = "boot": activates at the next reboot
    rejected = "rejected"  # the revision failed before and is not tried again
    diverged = "diverged"  # the trunk was rewound or rewritten
    unsigned = "unsigned"  # a new commit has no good signature of an allowed signer
    build_failed = "build-failed"
    check_failed = "check-failed"
    switch_failed = "switch-failed"  # nothing was changed
    kept = "kept"  # verification failed and on_validation_failure = "keep"
    rolled_back = "rolled-back"
    blocked = "blocked"
    cancelled = "cancelled"  # the daemon was stopped before anything changed
    interrupted = "interrupted"  # a reboot or power cut came in mid-switch; the old system runs
    suspended = "suspended"  # a person had suspended this host before it began
    planned = "planned"  # a dry run: this is what an upgrade would deploy; nothing was changed
    failed = "failed"  # something else went wrong; the message says what


FINE = frozenset(
    {
        Outcome.success,
        Outcome.up_to_date,
        Outcome.offline,
        Outcome.at_reboot,
        Outcome.planned,
        Outcome.suspended,
    }
)


BOOTED = "boot"
"""Who asks for the cycle that verifies what was deployed for the next boot, once it has booted."""


class Facts(Value, frozen=True, kw_only=True):
    """What a cycle has learned and decided so far; the memory that a crash must not lose.

    Args:
        people: one entry per person of the cycle.
        config_offline: the configuration's remote could not be reached.
        config_error: why the configuration's remote could not be read otherwise; empty if it could.
        head: the configuration's branch on the remote, or as last seen.
        candidate: the revision that this cycle deploys.
        built: its toplevel, once it is built and checked.
        switching: what was true before the switch, once it begins.
        testing: the head of this host's testing branch on the remote, or as last seen.
        trial: the candidate comes from there, or `switch.mode` is `test`: it is run and verified, and the next boot runs
            the old system.
        tried_before: the revision that was run like that before this cycle.
        checkout: the person's checkout of the configuration; None if none is followed.
        review: what the checks before the switch found.
        chosen: what a person goes back to, such as `generation 3`; empty for what was built.
        generation: its number in the system profile; 0 if it becomes a new one.
        left: the revisions that the person goes back from; rejected once the chosen system has proved itself.
        hooks: the units that were started before and after the update.

    """

    people: tuple[PersonFacts, ...] = ()
    config_offline: bool = False
    config_error: str = ""
    head: Revision | None = None
    candidate: Revision | None = None
    built: Built | None = None
    switching: Switching | None = None
    testing: Revision | None = None
    trial: bool = False
    tried_before: Revision | None = None
    checkout: PersonFacts | None = None
    review: Review | None = None
    chosen: str = ""
    generation: int = 0
    left: tuple[Revision, ...] = ()
    hooks: tuple[HookRun, ...] = ()


class Cycle(Value, frozen=True, kw_only=True):
    """One pass of the machine, as it is recorded before each step.

    Args:
        id: grows by one.
        kind: sync or upgrade.
        users: only these people; empty means everybody.
        requested_by: a word for humans, such as `timer`, `uid 1000`, `start`.
        accept_diverged: a person accepts a rewound or rewritten trunk for this cycle.
        boot_id: the boot it was started in.
        started: seconds since the epoch.
        state: the step under way.
        state_since: seconds since the epoch.
        facts: see `Facts`.

    """

    id: int
    kind: CycleKind
    requested_by: str
    boot_id: str
    started: float
    state: State
    state_since: float
    users: tuple[str, ...] = ()
    accept_diverged: bool = False
    facts: Facts = Facts()


class StepResult(Value, frozen=True, kw_only=True):
    """What a step tells the loop: an event for the machine, and what it has learned.

    Args:
        event: where the machine goes.
        facts: the cycle's facts, extended.
        message: one sentence for humans; may have more lines after it.
        outcome: how the cycle ends, if this ends it.
        reject: remember the candidate as rejected, with the outcome and the message as its reason.

    """

    event: Event
    facts: Facts
    message: str
    outcome: Outcome | None = None
    reject: bool = False


class StepRecord(Value, frozen=True, kw_only=True):
    """One finished step of a cycle, for the history.

    Args:
        state: the step.
        started: seconds since the epoch.
        ended: seconds since the epoch.
        event: what it told the machine.
        attempts: how often it was tried.
        message: one sentence for humans.

    """

    state: State
    started: float
    ended: float
    event: str
    attempts: int
    message: str


class CycleSummary(Value, frozen=True, kw_only=True):
    """A finished cycle, one line of the history."""

    id: int
    kind: CycleKind
    requested_by: str
    started: float
    ended: float
    outcome: Outcome
    message: str
    revision: Revision | None = None
    toplevel: StorePath | None = None


class CycleDetail(Value, frozen=True, kw_only=True):
    """A finished cycle with its steps and facts."""

    summary: CycleSummary
    steps: tuple[StepRecord, ...]
    facts: Facts
