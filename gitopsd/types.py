"""What the daemon knows, as frozen values. Pure.

Times are seconds since the epoch (UTC) as `float`; durations are seconds. Everything here is written to the store and
shown on the socket as it stands: the status a person sees is the record that was written.
"""

import enum
import re
from typing import NewType

import msgspec

from gitopsd.machine import Event, State

Revision = NewType("Revision", str)
StorePath = NewType("StorePath", str)

_REVISION = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_STORE_PATH = re.compile(r"/nix/store/[0-9abcdfghijklmnpqrsvwxyz]{32}-[0-9a-zA-Z+\-._?=]+")


def parse_revision(text: str) -> Revision:
    """Check that `text` is a full git object name (40 or 64 hexadecimal digits).

    Raises:
        ValueError: it is not.

    """
    if not _REVISION.fullmatch(text):
        raise ValueError(f"not a full git revision: {text!r}")
    return Revision(text)


def parse_store_path(text: str) -> StorePath:
    """Check that `text` is the absolute path of one object in the Nix store (nix manual, "Store Path").

    Raises:
        ValueError: it is not.

    """
    if not _STORE_PATH.fullmatch(text):
        raise ValueError(f"not a store path: {text!r}")
    return StorePath(text)


class Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Base of all values: frozen, keywords only."""


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


class SyncWord(enum.Enum):
    """How one person's sync ended."""

    success = "success"
    success_local_only = "success-local-only"  # something is on this host only: publishing is off, or an edit is kept
    fetch_failed = "fetch-failed"  # offline: captured locally, published by the next sync with a network
    push_failed = "push-failed"
    conflicts_preserved = "conflicts-preserved"  # something is parked; everything else went on
    not_initialized = "not-initialized"
    failed = "failed"  # something else; the notices say what


class Notice(Value, frozen=True, kw_only=True):
    """Something a person should know; nothing stopped because of it.

    Args:
        what: one sentence.
        path: the file it is about, relative to the home; empty if none.
        advice: the next command to type; empty if none.

    """

    what: str
    path: str = ""
    advice: str = ""


class Parked(Value, frozen=True, kw_only=True):
    """A change that conflicts with the trunk and is published beside it.

    Args:
        path: the file in the repository.
        bookmark: where it stands on the remote, `gitopsd/<host>`.
        commit: the git commit that holds it.
        file: what people call it: the target, relative to the home.

    """

    path: str
    bookmark: str
    commit: str
    file: str = ""


class Finding(Value, frozen=True, kw_only=True):
    """A place that looks like a secret. The value itself is never part of it.

    Args:
        path: the file, in the repository or relative to the home.
        line: from 1; 0 if it is about the file as a whole.
        rule: what it was found by, such as `github-pat` or `literal-after-secret-key`.
        fingerprint: names this value of this rule on this host; says nothing about the value.
        commit: the commit that has it, if it is in one.

    """

    path: str
    line: int
    rule: str
    fingerprint: str
    commit: str = ""


class Candidate(Value, frozen=True, kw_only=True, repr_omit_defaults=True):
    """A file that is about to be committed or published, for the gate to look at.

    Args:
        path: in the repository, as it is.
        content: what it holds.
        published: what the published version of it holds, if there is one: what was found there already is no news.
        is_new: there is no published version.

    """

    path: str
    content: bytes
    published: bytes = b""
    is_new: bool = True

    def __repr__(self) -> str:  # what it holds must not get into a log by way of a message
        return f"Candidate(path={self.path!r})"


class PersonFacts(Value, frozen=True, kw_only=True):
    """What one cycle learned and did about one person's dotfiles.

    Args:
        user: the person's login name.
        word: the outcome so far.
        offline: the remote could not be reached.
        trunk: the trunk's commit on the remote as last seen; empty if unknown.
        captured: paths in the repository that were committed in this cycle.
        published: the remote was read back and holds every captured byte.
        sent: something was pushed for that in this cycle.
        applied: targets in the home that were written in this cycle.
        parked: what stands beside the trunk.
        notices: what the person should know.
        elsewhere: what other hosts have parked beside the trunk.
        quarantined: what looks like a secret: it stays where it is and is in no commit that is published.

    """

    user: str
    word: SyncWord = SyncWord.success
    offline: bool = False
    trunk: str = ""
    captured: tuple[str, ...] = ()
    published: bool = False
    sent: bool = False
    applied: tuple[str, ...] = ()
    parked: tuple[Parked, ...] = ()
    notices: tuple[Notice, ...] = ()
    elsewhere: tuple[Parked, ...] = ()
    quarantined: tuple[Finding, ...] = ()


class Take(enum.Enum):
    """What a person takes to settle a conflict."""

    ours = "ours"  # the parked version
    theirs = "theirs"  # the trunk's version
    union = "union"  # the lines of both, the trunk's first


class Side(Value, frozen=True, kw_only=True):
    """One version of a file in conflict.

    Args:
        exists: there is such a file in this version.
        size: in bytes.
        text: what it holds; None if it is binary or too long to be shown.

    """

    exists: bool = False
    size: int = 0
    text: str | None = None


class Conflict(Value, frozen=True, kw_only=True):
    """One file that a host has parked beside the trunk.

    Args:
        file: what people call it: the target, relative to the home.
        paths: its names in the repository.
        host: whose version is parked.
        bookmark: where it stands on the remote.
        commit: the commit that holds it.
        trunk: the trunk's commit that it is compared with.
        settled: it conflicts no more; its host takes that in at its next sync.
        base: what both come from.
        theirs: the trunk's version.
        ours: the parked version.
        merged: both, with conflict markers; None if they cannot be merged line by line.

    """

    file: str
    paths: tuple[str, ...]
    host: str
    bookmark: str
    commit: str
    trunk: str
    settled: bool
    base: Side
    theirs: Side
    ours: Side
    merged: str | None = None


class Conflicts(Value, frozen=True, kw_only=True):
    """What is parked on the remote for one person.

    Args:
        user: the person.
        offline: the remote could not be asked; this is how it was last seen.
        conflicts: by file and host.

    """

    user: str
    offline: bool = False
    conflicts: tuple[Conflict, ...] = ()


class Settled(Value, frozen=True, kw_only=True):
    """What settled a conflict.

    Args:
        conflict: as it was.
        took: which side, or `content` if the person wrote it.
        commit: the trunk's commit that settles it.
        cycle: the sync that brings it to the home here; 0 if none was asked for.

    """

    conflict: Conflict
    took: str
    commit: str
    cycle: int = 0


class Adopted(Value, frozen=True, kw_only=True):
    """What became of one file that differed between home and repository.

    Args:
        file: the target, relative to the home.
        took: `mine` (the repository has the home's version now), `theirs` (the home has the repository's), `deletion`
            (the repository has dropped it, as the home had), or `same` (there was no difference).
        backup: where the home's version is now; empty if it was not replaced.

    """

    file: str
    took: str
    backup: str = ""


class Adoption(Value, frozen=True, kw_only=True):
    """What became of the files.

    Args:
        adopted: one for each file.
        cycle: the sync that publishes it; 0 if none was asked for.

    """

    adopted: tuple[Adopted, ...]
    cycle: int = 0


class Beginning(Value, frozen=True, kw_only=True):
    """How the first contact of a host with a person's repository went.

    Args:
        source: the source directory.
        made: it was put on the trunk just now; else there was something already.
        notices: what needs a decision, before the first sync or after.
        cycle: the sync that writes what is new to the home; 0 if none was asked for.

    """

    source: str
    made: bool
    notices: tuple[Notice, ...] = ()
    cycle: int = 0


class Built(Value, frozen=True, kw_only=True):
    """A toplevel that was built and passed its checks.

    Args:
        revision: the configuration revision it was built from.
        toplevel: its store path; a GC root until it is deployed or rejected.
        why_root: why root evaluated it, and not the build user; empty if root did not.

    """

    revision: Revision
    toplevel: StorePath
    why_root: str = ""


class Verdict(enum.Enum):
    """What a check before the switch found."""

    passed = "passed"
    noted = "noted"  # a person should know; nothing stops because of it
    failed = "failed"  # the revision is at fault, and is rejected
    prevented = "prevented"  # this machine is not ready for it; the revision stays eligible


class Check(Value, frozen=True, kw_only=True):
    """One check of what was built, before anything is switched.

    Args:
        name: such as `is for this host`.
        verdict: what it found.
        said: what is so, one sentence; may have more lines after it. Empty if there is nothing to say.
        advice: what a person types next; empty if nothing.

    """

    name: str
    verdict: Verdict
    said: str = ""
    advice: str = ""


class Review(Value, frozen=True, kw_only=True):
    """What was found out about a toplevel before anything is switched.

    Args:
        checks: in the order in which they were made; a check that fails ends the review.
        closure: how its closure differs from that of what runs, as `nix store diff-closures` says; may be cut off.
        activation: what `switch-to-configuration dry-activate` says; may be cut off.
        inhibitors: names of the switch inhibitors that differ: NixOS does not switch to it in a running system.
        reboot: what of it only a reboot brings into use, such as `kernel`.

    """

    checks: tuple[Check, ...] = ()
    closure: str = ""
    activation: str = ""
    inhibitors: tuple[str, ...] = ()
    reboot: tuple[str, ...] = ()


class UnitHealth(Value, frozen=True, kw_only=True):
    """One unit as systemd sees it (org.freedesktop.systemd1.Unit and .Service).

    Args:
        name: such as `sshd.service`.
        active: ActiveState.
        sub: SubState.
        restarts: NRestarts.
        main_pid: MainPID, 0 if none; a change during the soak is a restart.
        loaded: LoadState is `loaded`.

    """

    name: str
    active: str
    sub: str
    restarts: int = 0
    main_pid: int = 0
    loaded: bool = True


BOOTED = "boot"
"""Who asks for the cycle that verifies what was deployed for the next boot, once it has booted."""


class Switching(Value, frozen=True, kw_only=True):
    """What was true before the switch: where to go back to, and what must not get worse.

    Written to the store before the system is touched.

    Args:
        boot_id: the boot in which the switch began; another one now means that the machine went down in between.
        previous: the toplevel that ran.
        previous_generation: the generation number the system profile pointed to; 0 if there was no profile.
        failed_before: units that had failed already.
        active_before: the units to validate that were active: what a rollback must bring back.
        mode: `switch` (test, verify, then boot default) or `boot` (at the next reboot only).
        reason: why it must be undone; filled by the step that decides so.
        cut_off: the reason is that the remote could not be reached: whether that is the new system's fault shows once
            the old one runs again.
        own: the fingerprint of our own unit and configuration.

    """

    boot_id: str
    previous: StorePath
    previous_generation: int
    failed_before: tuple[str, ...] = ()
    active_before: tuple[str, ...] = ()
    mode: str = "switch"
    reason: str = ""
    cut_off: bool = False
    own: str = ""


class HookRun(Value, frozen=True, kw_only=True):
    """One run of a hook: written before the unit is started, and again at its end, so that no crash runs it twice.

    Args:
        when: `pre` or `post`.
        unit: what is started.
        boot_id: the boot in which it was started; another one now means that it was cut off.
        before: the unit's InvocationID before that; empty if it had none.
        at: when it was about to be started, seconds since the epoch.
        ended: it was seen to have ended.
        problem: what went wrong; empty if nothing.

    """

    when: str
    unit: str
    boot_id: str
    before: str
    at: float
    ended: bool = False
    problem: str = ""


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
        trial: the candidate comes from there: it is run and verified, and the next boot runs the old system.
        tried_before: the revision that was run like that before this cycle.
        checkout: the person's checkout of the configuration; None if none is followed.
        review: what the checks before the switch found.
        chosen: what a person goes back to, such as `generation 3`; empty for what was built.
        generation: its number in the system profile; 0 if it becomes a new one.
        leaves: the revision that the person goes back from; rejected once the chosen one has proved itself.
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
    leaves: Revision | None = None
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
    """The last revision of a testing branch that was run and verified; it is no boot default.

    Args:
        revision: the revision.
        toplevel: what was activated for it.
        at: seconds since the epoch.
        boot_id: the boot that it lives in, and ends with; empty if it may be run again after that.

    """

    revision: Revision
    toplevel: StorePath
    at: float
    boot_id: str


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


class AtReboot(Value, frozen=True, kw_only=True):
    """A deployment that is the boot default and has never run.

    Args:
        cycle: the cycle that made it the boot default.
        facts: what that cycle had learned: where to go back to.
        why: it was not activated at once.

    """

    cycle: int
    facts: Facts
    why: str


class Rebooting(Value, frozen=True, kw_only=True):
    """A reboot of ours, recorded before it.

    Args:
        boot_id: the boot that it ended.
        toplevel: the boot default that it was for.
        at: seconds since the epoch.
        reasons: why.

    """

    boot_id: str
    toplevel: StorePath
    at: float
    reasons: tuple[str, ...]


class RebootNeed(Value, frozen=True, kw_only=True):
    """That a reboot is required.

    Args:
        reasons: such as `kernel`.
        since: seconds since the epoch.
        plan: when it comes, in a person's words; empty if nobody has decided yet.

    """

    reasons: tuple[str, ...]
    since: float
    plan: str = ""


class CycleEnd(Value, frozen=True, kw_only=True):
    """Everything that the end of a cycle means for the memory; written in one transaction.

    Args:
        summary: its line in the history.
        facts: what it learned.
        state: where the machine rests.
        step: its last step.
        rejection: what that step rejects.
        deployed: the deployment it verified, if it did.
        blocked: why a person is needed; empty leaves the memory as it is.
        trial: the revision of a testing branch that it verified, if it did; `deployed` ends the one before.
        contact: a remote answered.
        announcements: what the receivers are to be told, each of them at least once.

        at_reboot: the deployment that now waits for the next boot.

    """

    summary: CycleSummary
    facts: Facts
    state: State
    step: StepRecord
    rejection: Rejection | None = None
    deployed: Deployed | None = None
    blocked: str = ""
    trial: Trial | None = None
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
        trial: the last verified revision of a testing branch; it may have ended with a reboot.
        checkout: the checkout of the configuration as the last upgrade left it.
        suspended: that a person wants this host left alone.
        pending: the cycles that were asked for and have not begun.
        last_good: when things last went well.
        boot_told: the rollback at boot that was concluded from last.
        at_reboot: the deployment that waits for the next boot.
        reboot: that a reboot is required, since when.
        rebooting: the last reboot of ours.

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


class SystemFacts(Value, frozen=True, kw_only=True):
    """The NixOS system as it stands.

    Args:
        current: what runs, `/run/current-system`.
        booted: what was booted, `/run/booted-system`.
        profile: what the system profile points to, the boot default.
        generation: its number; 0 if there is no profile.
        drift: what runs is not what was deployed last.
        reboot: what of the boot default only a reboot brings into use, such as `kernel`.

    """

    current: StorePath | None = None
    booted: StorePath | None = None
    profile: StorePath | None = None
    generation: int = 0
    drift: bool = False
    reboot: tuple[str, ...] = ()


class BootRollback(Value, frozen=True, kw_only=True):
    """The last rollback at boot.

    Args:
        left: the generation that booted badly.
        to: the golden one, which was made the boot default.
        reason: why.
        at: seconds since the epoch.
        how: how far it got: `begun`, `rebooting`, `landed` (golden booted well), `failed` (golden is not the boot
            default), `golden-failed` (golden booted badly too).

    """

    left: StorePath
    to: StorePath
    reason: str
    at: float
    how: str


class LoaderCount(Value, frozen=True, kw_only=True):
    """What the boot loader itself counts of the entry that was booted.

    Args:
        state: `pending`, `good`, `bad`, or `unknown`: the entry is not found.
        left: tries that it has left.
        done: tries of it, this one included.
        entry: its file name now.

    """

    state: str
    left: int
    done: int
    entry: str


class BootFacts(Value, frozen=True, kw_only=True):
    """The assessment of this boot, and the golden generation.

    Args:
        toplevel: what was booted.
        verdict: `good`, `bad`, `pending` until it is known, or `unknown`: there is no record of this boot.
        reason: why it is bad.
        failures: how many boots of this generation were bad since the last good one.
        max_attempts: how many of them make it fall back to golden.
        on_trial: this generation has never booted well.
        golden: the golden generation.
        golden_generation: its number in the system profile; 0 if it is not in there any more.
        rollback: the last rollback at boot.
        troubles: what is wrong with the record or with golden, one sentence each.
        stage: the unit of the assessment that runs now; empty if none does.
        golden_since: when golden was pinned, in seconds since the epoch; 0 if there is none, or the clock was not set.
        loader: what the boot loader itself counts of this entry; None if it does not.

    """

    toplevel: StorePath | None = None
    verdict: str = "unknown"
    reason: str = ""
    failures: int = 0
    max_attempts: int = 2
    on_trial: bool = False
    golden: StorePath | None = None
    golden_generation: int = 0
    rollback: BootRollback | None = None
    troubles: tuple[str, ...] = ()
    stage: str = ""
    golden_since: float = 0.0
    loader: LoaderCount | None = None


class Pinned(Value, frozen=True, kw_only=True):
    """What was made golden.

    Args:
        toplevel: the generation.
        number: its number in the system profile; 0 if it is not in there.
        problem: why it has no boot entry yet; empty if it has one.

    """

    toplevel: StorePath
    number: int
    problem: str = ""


class BootConclusion(Value, frozen=True, kw_only=True):
    """What the assessment of boots means for the memory; written in one transaction.

    Args:
        told: names the rollback that was concluded from, so that it is done once; empty if there was none.
        rejection: the revision that was rolled back at boot.
        deployed: what has booted well, or what was fallen back to.
        blocked: why a person is needed; empty leaves the memory as it is.

    """

    told: str = ""
    rejection: Rejection | None = None
    deployed: Deployed | None = None
    blocked: str = ""


class Life(Value, frozen=True, kw_only=True):
    """What systemd says of gitopsd's own unit.

    Args:
        active: its ActiveState; that is `failed` too for a moment in which it is about to be restarted.
        sub: its SubState: `dead` or `failed` once nothing will be started any more.
        result: how its last life ended.
        invocation: systemd's id of this life, or of the last one.

    """

    active: str
    sub: str
    result: str
    invocation: str


class Takeover(Value, frozen=True, kw_only=True):
    """A new gitopsd that is watched by the old one.

    Args:
        before: the toplevel whose gitopsd has handed over: what is gone back to.
        after: the toplevel whose gitopsd takes over.
        invocation: systemd's id of the life of gitopsd that has handed over.
        program: the gitopsd of `before`, which watches.
        reason: why it was decided to go back; empty while the new one is watched.

    """

    before: StorePath
    after: StorePath
    invocation: str
    program: str
    reason: str = ""


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
        left_out: what of the configuration in force cannot be used on this host.
        boot: the assessment of this boot.
        trial: the revision of a testing branch that runs, and is not what the next boot runs.
        checkout: the checkout of the configuration as the last upgrade left it.
        suspended: that a person wants this host left alone, while that lasts.
        last_good: when things last went well.
        reboot: that a reboot is required, and when it comes.
        waiting: the ids of all cycles that were requested and have not begun, in the order in which they will.

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
    left_out: tuple[str, ...] = ()
    boot: BootFacts = BootFacts()
    trial: Trial | None = None
    pending_plan: int = 0
    checkout: PersonFacts | None = None
    suspended: Suspension | None = None
    last_good: LastGood = LastGood()
    reboot: RebootNeed | None = None
    waiting: tuple[int, ...] = ()


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
