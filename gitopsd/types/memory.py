"""What is remembered beside the cycles, and what is written at the end of one. Pure."""

from gitopsd.machine import State
from gitopsd.types.cycle import Cycle, CycleSummary, Facts, Outcome, StepRecord
from gitopsd.types.dotfiles import PersonFacts
from gitopsd.types.reboot import AtReboot, Rebooting, RebootNeed
from gitopsd.types.values import Revision, StorePath, Value


class Rejection(Value, frozen=True, kw_only=True):
    """A revision that failed deterministically.

    Args:
        revision: the revision.
        outcome: how it failed.
        reason: the end of the error, for humans.
        cycle: the cycle that found out.
        at: seconds since the epoch.

    """

    revision: Revision
    outcome: Outcome
    reason: str
    cycle: int
    at: float


class Deployed(Value, frozen=True, kw_only=True):
    """The last revision that was switched to and verified."""

    revision: Revision
    toplevel: StorePath
    at: float


class Trial(Value, frozen=True, kw_only=True):
    """The last revision that was run and verified as a test; it is no boot default.

    Args:
        revision: the revision.
        toplevel: what was activated for it.
        at: seconds since the epoch.
        boot_id: the boot that it lives in, and ends with; empty if it may be run again after that.
        trunk: it is of the branch itself, since `switch.mode` is `test`, and not of the testing branch.
        in_order: the daemon was stopped in order while it was remembered, as it is when the machine shuts down.
        falls: how often the machine had gone down in no orderly way while this revision ran as a test.

    """

    revision: Revision
    toplevel: StorePath
    at: float
    boot_id: str
    trunk: bool = False
    in_order: bool = False
    falls: int = 0


class GoneBack(Value, frozen=True, kw_only=True):
    """That this host was brought back to a system which no cycle of the history has built.

    Args:
        toplevel: the system.
        name: what people call it, such as `generation 3`.
        by: who brought it back: a person, or the assessment of boots.
        cycle: the cycle that did; 0 if none.
        at: seconds since the epoch.

    """

    toplevel: StorePath
    name: str
    by: str
    cycle: int
    at: float


class LastGood(Value, frozen=True, kw_only=True):
    """When something last went well, in seconds since the epoch; 0 is never.

    Args:
        sync: a cycle of either kind ended well, and was not offline.
        upgrade: one of kind upgrade did.
        contact: a remote answered.

    """

    sync: float = 0.0
    upgrade: float = 0.0
    contact: float = 0.0


class Announcement(Value, frozen=True, kw_only=True):
    """An event, as the receivers of `[notify]` get it.

    Args:
        id: names this announcement: one that is sent again after a crash has the same.
        event: one of `gitopsd.events`.
        message_id: the event's id in the journal.
        host: the name of this host.
        at: seconds since the epoch.
        message: one sentence for humans.
        detail: the whole of it, where `message` is its first line only.
        cycle: the cycle it happened in; 0 if in none.
        outcome: how that cycle ended; empty if it did not end by this.
        revision: the configuration's revision it is about.
        toplevel: the system it is about.
        user: whose dotfiles it is about; empty if nobody's.

    """

    id: str
    event: str
    message_id: str
    host: str
    at: float
    message: str = ""
    detail: str = ""
    cycle: int = 0
    outcome: str = ""
    revision: Revision | None = None
    toplevel: StorePath | None = None
    user: str = ""


class CycleEnd(Value, frozen=True, kw_only=True):
    """Everything that the end of a cycle means for the memory; written in one transaction.

    Args:
        summary: its line in the history.
        facts: what it learned.
        state: where the machine rests.
        step: its last step.
        rejections: what it rejects.
        deployed: the deployment it verified, if it did.
        blocked: why a person is needed; empty leaves the memory as it is.
        trial: the revision that it verified as a test, if it did; `deployed` ends the one before.
        gone_back: the system that it brought back, if no cycle has built that; `deployed` and `trial` end it.
        contact: a remote answered.
        announcements: what the receivers are to be told, each of them at least once.

        at_reboot: the deployment that now waits for the next boot.

    """

    summary: CycleSummary
    facts: Facts
    state: State
    step: StepRecord
    rejections: tuple[Rejection, ...] = ()
    deployed: Deployed | None = None
    blocked: str = ""
    trial: Trial | None = None
    gone_back: GoneBack | None = None
    contact: bool = False
    announcements: tuple[Announcement, ...] = ()
    at_reboot: AtReboot | None = None


class Suspension(Value, frozen=True, kw_only=True):
    """That a person wants this host left alone.

    Args:
        since: seconds since the epoch.
        until: seconds since the epoch; 0 is until somebody resumes.
        reason: the person's own words; may be empty.
        by: who.

    """

    since: float
    until: float = 0.0
    reason: str = ""
    by: str = ""


class Memory(Value, frozen=True, kw_only=True):
    """What is remembered beside the cycles.

    Args:
        resting: where the machine rested last.
        since: since when, seconds since the epoch.
        deployed: the last verified deployment.
        rejected: revisions that are not tried again, newest first.
        blocked: why a person is needed; empty if not.
        people: each person's facts as their last cycle left them.
        last_sync: the last finished cycle.
        last_upgrade: the last finished cycle of kind upgrade.
        trial: the last revision that was verified as a test; it may have ended with a reboot.
        checkout: the checkout of the configuration as the last upgrade left it.
        suspended: that a person wants this host left alone.
        pending: the cycles that were asked for and have not begun.
        last_good: when things last went well.
        boot_told: the rollback at boot that was concluded from last.
        at_reboot: the deployment that waits for the next boot.
        reboot: that a reboot is required, since when.
        rebooting: the last reboot of ours.
        gone_back: the system that was brought back and that no cycle has built.

    """

    resting: State = State.idle
    since: float = 0.0
    deployed: Deployed | None = None
    rejected: tuple[Rejection, ...] = ()
    blocked: str = ""
    people: tuple[PersonFacts, ...] = ()
    last_sync: CycleSummary | None = None
    last_upgrade: CycleSummary | None = None
    trial: Trial | None = None
    checkout: PersonFacts | None = None
    suspended: Suspension | None = None
    pending: tuple[Cycle, ...] = ()
    last_good: LastGood = LastGood()
    boot_told: str = ""
    at_reboot: AtReboot | None = None
    reboot: RebootNeed | None = None
    rebooting: Rebooting | None = None
    gone_back: GoneBack | None = None


class BootConclusion(Value, frozen=True, kw_only=True):
    """What the assessment of boots means for the memory; written in one transaction.

    Args:
        told: names the rollback that was concluded from, so that it is done once; empty if there was none.
        rejection: the revision that was rolled back at boot.
        deployed: what has booted well, or what was fallen back to.
        blocked: why a person is needed; empty leaves the memory as it is.
        gone_back: what was fallen back to, if no cycle has built that.

    """

    told: str = ""
    rejection: Rejection | None = None
    deployed: Deployed | None = None
    blocked: str = ""
    gone_back: GoneBack | None = None
