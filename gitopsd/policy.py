"""Decisions, as functions. Pure: everything they look at is an argument."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from gitopsd.errors import Cause, Failed, GitopsdError, PersonNeeded, Suspended, Transient
from gitopsd.machine import Event, State
from gitopsd.types import (
    FINE,
    BootConclusion,
    BootFacts,
    Check,
    Cycle,
    CycleKind,
    CycleSummary,
    Deployed,
    Facts,
    GoneBack,
    Memory,
    Outcome,
    PersonFacts,
    Rejection,
    Review,
    Revision,
    StepResult,
    StorePath,
    Suspension,
    SyncWord,
    SystemFacts,
    Takeover,
    Trial,
    UnitHealth,
    Verdict,
)

# The words that leave a sync's exit status at 0: offline and parked conflicts are normal.
GOOD_WORDS = frozenset(
    {SyncWord.success, SyncWord.success_local_only, SyncWord.fetch_failed, SyncWord.conflicts_preserved}
)

_FALLS = 2  # how often a machine may go down while a test runs, until that is held against it

TIMER = "timer"  # who asks for a cycle when it is nobody

# Before `switch` nothing has changed, so a cycle may simply be dropped.
CANCELLABLE = frozenset({State.fetch, State.capture, State.push, State.pull, State.build})


def merge_requests(waiting: Cycle, wanted: Cycle) -> Cycle:
    """One cycle that satisfies both; it keeps the id of the one that waits. A dry run waits for itself alone."""
    kinds = {waiting.kind, wanted.kind}
    everybody = not waiting.users or not wanted.users
    return msgspec.structs.replace(
        waiting,
        kind=CycleKind.upgrade if CycleKind.upgrade in kinds else wanted.kind,
        users=() if everybody else tuple(sorted({*waiting.users, *wanted.users})),
        accept_diverged=waiting.accept_diverged or wanted.accept_diverged,
    )


def precedence(cycle: Cycle) -> tuple[int, int]:
    """Sorts what waits into the order in which it begins: what was booted proves itself before anything else changes."""
    if cycle.facts.switching is not None:
        rank = 0
    elif cycle.facts.chosen:
        rank = 1
    else:
        rank = 3 if cycle.kind is CycleKind.plan else 2
    return rank, cycle.id


def joins(kind: CycleKind, waiting: Cycle) -> bool:
    """Whether a request is satisfied by a cycle that waits, once merged into it.

    Not by a way back, or the proof of what was booted: neither asks a remote.
    """
    if waiting.facts.chosen or waiting.facts.switching is not None:
        return False
    return (kind is CycleKind.plan) == (waiting.kind is CycleKind.plan)


def is_drift(system: SystemFacts, deployed: Deployed | None, trial: Trial | None = None) -> bool:
    """Whether something else runs than what was deployed last, or is on trial. Unknown is no drift."""
    if deployed is None or system.current is None:
        return False
    return system.current != deployed.toplevel and not (trial is not None and runs(trial, system))


def is_back(gone_back: GoneBack | None, system: SystemFacts) -> bool:
    """Whether what runs was brought back on purpose: it was never deployed, and is no drift all the same."""
    return gone_back is not None and system.current == gone_back.toplevel


def left_by(toplevel: StorePath, memory: Memory, system: SystemFacts) -> tuple[Revision, ...]:
    """The revisions that a person goes back from: of what is deployed, of the test that runs, of what waits for a reboot.

    Args:
        toplevel: what they go back to.
        memory: what is remembered.
        system: what runs.

    """
    deployed, trial, waits = memory.deployed, memory.trial, memory.at_reboot
    left = []
    if deployed is not None and deployed.toplevel != toplevel:
        left.append(deployed.revision)
    if trial is not None and trial.toplevel != toplevel and trial.toplevel == system.current:
        left.append(trial.revision)
    if waits is not None and waits.facts.built is not None and waits.facts.built.toplevel != toplevel:
        left.append(waits.facts.built.revision)
    return tuple(dict.fromkeys(left))


def is_of_the_trunk(facts: Facts) -> bool:
    """Whether what a cycle deploys is the branch's head, and not the testing branch's."""
    return facts.candidate is not None and facts.candidate == facts.head


def falls_of(trial: Trial, boot_id: str) -> int:
    """How often the machine has gone down in no orderly way while a test ran, seen from this boot."""
    fell = trial.boot_id not in ("", boot_id) and not trial.in_order
    return trial.falls + fell


def runs(trial: Trial, system: SystemFacts) -> bool:
    """Whether the system that is on trial runs, and is another one than the boot default."""
    return system.current == trial.toplevel != system.profile


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What pull decides about the system.

    Args:
        deploy: the revision to build; None ends the cycle.
        outcome: how it ends then.
        message: why.
        trial: it is the testing branch's: run and verify it, and leave the boot default as it is.

    """

    message: str
    deploy: Revision | None = None
    outcome: Outcome = Outcome.success
    trial: bool = False


def choose(
    head: Revision | None,
    *,
    offline: bool,
    error: str,
    deployed: Deployed | None,
    before: Revision | None,
    system: SystemFacts,
    rejected: Iterable[Rejection],
    descends: bool,
    accept_diverged: bool,
) -> Choice:
    """Which revision to deploy, if any.

    Args:
        head: the branch as the remote has it, or as last seen.
        offline: the remote could not be reached.
        error: why it could not be read otherwise.
        deployed: the last verified deployment.
        before: its revision; known even if the rest was forgotten.
        system: what runs.
        rejected: revisions that failed before.
        descends: `head` has `before` among its ancestors.
        accept_diverged: a person accepts that it has not.

    """
    if error:
        return Choice(outcome=Outcome.failed, message=error)
    if offline or head is None:
        return Choice(
            outcome=Outcome.offline, message="the configuration's remote cannot be reached; nothing new is known"
        )
    if deployed is not None and deployed.revision == head and not is_drift(system, deployed):
        return Choice(outcome=Outcome.up_to_date, message=f"{short(head)} is deployed already")
    for rejection in rejected:
        if rejection.revision == head:
            why = f"{short(head)} is rejected since cycle {rejection.cycle} ({rejection.outcome.value})"
            return Choice(outcome=Outcome.rejected, message=f"{why}; push a new commit, or `gitopsctl retry`")
    if before is not None and not descends and not accept_diverged:
        return Choice(
            outcome=Outcome.diverged,
            message=f"the branch was rewound or rewritten: {short(head)} does not contain the deployed "
            f"{short(before)}; `gitopsctl upgrade --accept-diverged` deploys it all the same",
        )
    return Choice(deploy=head, message=f"deploying {short(head)}")


def prefer_testing(
    trunk: Choice,
    testing: Revision,
    *,
    branch: str,
    on_top: bool,
    system: SystemFacts,
    trial: Trial | None,
    boot_id: str,
    rejected: Iterable[Rejection],
) -> Choice:
    """Whether the testing branch is run instead of what was chosen for the trunk.

    A trial ends with the boot that it was begun in, and does not begin again by itself: a system that takes the machine
    down after it was verified would do so after every boot.

    Args:
        trunk: what was chosen for the trunk.
        testing: the head of the testing branch, which the trunk does not contain.
        branch: its name.
        on_top: it contains the trunk's head.
        system: what runs.
        trial: the last one.
        boot_id: of this boot.
        rejected: revisions that failed before.

    """
    if trunk.outcome in (Outcome.failed, Outcome.offline, Outcome.diverged):
        return trunk
    known = trial if trial is not None and trial.revision == testing else None
    if not on_top:
        return _beside(trunk, f"{branch} is not on top of the trunk and is left alone; rebase it")
    if known is not None and system.current == known.toplevel:
        return Choice(outcome=Outcome.up_to_date, message=f"{short(testing)} of {branch} is being tested already")
    if any(rejection.revision == testing for rejection in rejected):
        beside = _beside(trunk, f"{short(testing)} of {branch} is rejected; push a new commit, or `gitopsctl retry`")
        untouched = beside.outcome is Outcome.up_to_date
        return msgspec.structs.replace(beside, outcome=Outcome.rejected) if untouched else beside
    if known is not None and known.boot_id not in ("", boot_id):
        ended = (
            f"the test of {short(testing)} ended with the reboot; push a new commit to {branch}, or `gitopsctl retry`"
        )
        return _beside(trunk, ended)
    return Choice(deploy=testing, trial=True, message=f"testing {short(testing)} of {branch}")


def tested_only(trunk: Choice, *, system: SystemFacts, trial: Trial | None, boot_id: str) -> Choice:
    """What `switch.mode = "test"` makes of what was chosen for the trunk: it is run, and the boot default stays.

    After a reboot the old system runs, and the next upgrade runs the test again. But a machine that went down twice in no
    orderly way while it ran is not brought down by it for a third time.

    Args:
        trunk: what was chosen.
        system: what runs.
        trial: the last test.
        boot_id: of this boot.

    """
    if trunk.deploy is None:
        return trunk
    head = trunk.deploy
    known = trial if trial is not None and trial.revision == head else None
    if known is not None and system.current == known.toplevel:
        return Choice(outcome=Outcome.up_to_date, message=f"{short(head)} is being tested already")
    if known is not None and falls_of(known, boot_id) >= _FALLS:
        message = (
            f"this machine went down {_FALLS} times, in no orderly way, while {short(head)} was tested: it is not run again;"
            " push a new commit, or `gitopsctl retry`"
        )
        return Choice(outcome=Outcome.rejected, message=message)
    return Choice(deploy=head, trial=True, message=f'testing {short(head)}, since switch.mode is "test"')


def _beside(trunk: Choice, note: str) -> Choice:
    return msgspec.structs.replace(trunk, message=f"{trunk.message}; {note}")


def short(revision: Revision) -> str:
    """The first twelve digits, for humans."""
    return revision[:12]


def called(facts: Facts) -> str:
    """What people call the system that a cycle switches to."""
    return facts.chosen or (short(facts.built.revision) if facts.built is not None else "nothing")


def is_suspended(suspension: Suspension | None, now: float) -> bool:
    """Whether this host is to be left alone now."""
    return suspension is not None and (suspension.until == 0 or now < suspension.until)


def heeds(suspension: Suspension | None, now: float, kind: CycleKind, requested_by: str) -> None:
    """Whether a cycle may begin on a host that may be suspended. A person may still sync, and ask for a dry run.

    Raises:
        Suspended: it may not.

    """
    if suspension is None or not is_suspended(suspension, now) or kind is CycleKind.plan:
        return
    if kind is CycleKind.sync and requested_by != TIMER:
        return
    until = f"until {local_time(suspension.until)}" if suspension.until else "until somebody resumes"
    reason = f": {suspension.reason}" if suspension.reason else ""
    raise Suspended(
        f"suspended {until} by {suspension.by}{reason}",
        meaning="nothing was begun; the system stays as it is",
        advice="sudo gitopsctl resume",
    )


def local_time(at: float) -> str:
    """A time as people read it, with its zone."""
    return dt.datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M %Z")


def target_of(
    word: str, generations: Mapping[int, StorePath], system: SystemFacts, golden: StorePath | None
) -> tuple[str, int, StorePath]:
    """What a person wants to go back to: how it is called, its generation (0 if it has none any more), the toplevel.

    Args:
        word: `previous`, `golden`, or a number.
        generations: those of the system profile.
        system: what runs and is the boot default.
        golden: the golden generation.

    Raises:
        Failed: there is no such generation, or it runs and is the boot default already.

    """
    known = ", ".join(map(str, sorted(generations))) or "none"
    number = 0
    if word == "golden":
        if golden is None:
            raise Failed("there is no golden generation", meaning="nothing was changed", advice=f"one of {known}")
        number = max((n for n, path in generations.items() if path == golden), default=0)
    elif word == "previous":
        number = max((n for n in generations if n < system.generation), default=0)
        if not number:
            raise Failed(
                f"there is no generation before {system.generation}",
                meaning="nothing was changed",
                advice=f"one of {known}",
            )
    elif word.isdecimal() and int(word) in generations:
        number = int(word)
    else:
        raise Failed(f"there is no generation {word}", meaning="nothing was changed", advice=f"one of {known}")
    toplevel = golden if golden is not None and word == "golden" else generations[number]
    name = ("the golden generation" if word == "golden" else "generation") + (f" {number}" if number else "")
    if toplevel == system.current == system.profile:
        raise Failed(f"{name} runs and is the boot default already", meaning="nothing was changed")
    return name, number, toplevel


def first_line(message: str) -> str:
    """A message begins with one sentence; what follows is detail for `show` and the journal."""
    return message.split("\n", 1)[0]


def still_starting(units: Sequence[UnitHealth]) -> tuple[str, ...]:
    """Which of the units are on their way to active, and may still get there."""
    return tuple(unit.name for unit in units if unit.active in ("activating", "reloading", "inactive", "deactivating"))


def broken(units: Sequence[UnitHealth]) -> str:
    """Which of the units cannot become active by waiting; empty if none."""
    for unit in units:
        if not unit.loaded:
            return f"{unit.name} does not exist in the new system"
        if unit.active == "failed":
            return f"{unit.name} has failed"
    return ""


def unsteady(before: Sequence[UnitHealth], now: Sequence[UnitHealth]) -> str:
    """Whether units that were active have not stayed so, the same process all the time; empty if they have.

    Args:
        before: at the start of the soak, all active.
        now: the same units, in the same order.

    """
    for then, unit in zip(before, now, strict=True):
        if unit.active != "active":
            return f"{unit.name} did not stay active ({unit.active}/{unit.sub})"
        if unit.restarts != then.restarts or unit.main_pid != then.main_pid:
            return f"{unit.name} restarted"
    return ""


def newly_failed(before: Iterable[str], now: Iterable[str]) -> str:
    """Units that failed since the baseline, as a sentence; empty if none."""
    new = sorted(set(now) - set(before))
    if not new:
        return ""
    return f"{', '.join(new)} failed and had not before"


def reads_switch(status: int) -> str:
    """What an exit status of switch-to-configuration means (its main.rs); empty if there is nothing wrong."""
    meanings = {
        0: "",
        1: "it refused before it changed anything",
        2: "the activation script failed",
        4: "it switched, but units failed",
        100: "the init interface changed: this system can only be booted into",
    }
    return meanings.get(status, f"it ended with status {status}")


def after_error(state: State, facts: Facts, error: Exception) -> StepResult:
    """What follows when a step raises instead of returning.

    The dotfiles half never ends the cycle. From switch on the system may have changed, so an error there undoes; an
    error in the way back needs a person.
    """
    message = error.message if isinstance(error, GitopsdError) else f"{type(error).__name__}: {error}"
    match state:
        case State.fetch | State.capture | State.push:
            return StepResult(event=Event.done, facts=facts, message=message)
        case State.pull | State.build:
            return StepResult(event=Event.fail, facts=facts, message=message, outcome=Outcome.failed)
        case State.switch | State.verify:
            untouched = state is State.switch and isinstance(error, Transient) and error.cause is Cause.lock_held
            if untouched or facts.switching is None:
                return StepResult(event=Event.fail, facts=facts, message=message, outcome=Outcome.failed)
            undone = msgspec.structs.replace(facts.switching, reason=message)
            facts = msgspec.structs.replace(facts, switching=undone)
            reject = not isinstance(error, Transient)
            return StepResult(
                event=Event.undo, facts=facts, message=message, outcome=Outcome.switch_failed, reject=reject
            )
        case State.rollback:
            return StepResult(event=Event.block, facts=facts, message=message, outcome=Outcome.blocked)
        case State.idle | State.failed | State.blocked:
            raise AssertionError(f"no step runs in {state}") from error


def admits(kind: CycleKind, asked: Sequence[str], known: Sequence[str], blocked: str) -> None:
    """Whether a cycle may start.

    Args:
        kind: what is asked for.
        asked: whose dotfiles; empty is everybody.
        known: the people whose dotfiles are kept in step here.
        blocked: why a person is needed; empty if not.

    Raises:
        PersonNeeded: the system half waits for a person. The dotfiles half goes on meanwhile.
        Failed: there are no such dotfiles here.

    """
    if blocked and kind is not CycleKind.sync:
        raise PersonNeeded(
            f"blocked: {blocked}",
            meaning="no system is deployed until a person has looked; dotfiles go on",
            advice="`gitopsctl status` shows what runs; when it is right, `gitopsctl retry`",
        )
    unknown = sorted(set(asked) - set(known))
    if unknown or (kind is CycleKind.sync and not known):
        whose = f"the dotfiles of {', '.join(unknown)} are" if unknown else "nobody's dotfiles are"
        raise Failed(
            f"{whose} not kept in step on this host",
            meaning="nothing was done",
            advice="add a [[dotfiles]] section to the configuration, then `systemctl reload gitopsd.service`",
        )


def rest(event: Event, state: State, blocked: str, people: Iterable[PersonFacts]) -> Event:
    """A cycle whose system half ends well does not rest in idle if its dotfiles failed, or if a person is needed."""
    if event is not Event.settled:
        return event
    if state is State.pull and blocked:
        return Event.block
    return Event.fail if any(person.word not in GOOD_WORDS for person in people) else event


def sum_up(outcome: Outcome, message: str, people: Sequence[PersonFacts], kind: CycleKind) -> tuple[Outcome, str]:
    """The cycle's outcome out of both halves: each is told, neither hides the other."""
    bad = [f"dotfiles of {person.user}: {person.word.value}" for person in people if person.word not in GOOD_WORDS]
    offline = any(person.offline for person in people)
    if outcome in FINE and bad:
        return Outcome.failed, "; ".join([*bad, message])
    if outcome is Outcome.success and kind is CycleKind.sync and offline:
        return Outcome.offline, message
    return outcome, "; ".join([message, *bad])


def made_contact(cycle: Cycle) -> bool:
    """Whether a remote has answered in this cycle, which has ended."""
    facts = cycle.facts
    asked_config = cycle.kind is CycleKind.upgrade and facts.head is not None
    return (asked_config and not facts.config_offline and not facts.config_error) or any(
        person.trunk and not person.offline for person in facts.people
    )


def takes_the_machine_down(history: Iterable[CycleSummary], revision: Revision) -> bool:
    """Whether an earlier cycle was interrupted while it activated this revision too. Once may be a power cut."""
    return any(cycle.outcome is Outcome.interrupted and cycle.revision == revision for cycle in history)


def stopping(checks: Sequence[Check]) -> tuple[Check, ...]:
    """The checks that do not let a build pass; those that are the revision's fault come first."""
    failed = [check for check in checks if check.verdict is Verdict.failed]
    return (*failed, *(check for check in checks if check.verdict is Verdict.prevented))


def explained(checks: Sequence[Check]) -> str:
    """What stopped a build: one line for each check, then what they said beside that, and what to do."""
    heads = "; ".join(f"check `{check.name}`: {first_line(check.said)}" for check in checks)
    lines = [heads]
    for check in checks:
        lines += [f"  {line}" for line in check.said.splitlines()[1:]]
    lines.append("  the system is unchanged")
    lines += [f"  try: {check.advice}" for check in checks if check.advice]
    return "\n".join(lines)


def plan(message: str, toplevel: StorePath, review: Review) -> tuple[str, ...]:
    """What an upgrade would do, as lines for a person.

    Args:
        message: which revision it is about.
        toplevel: what was built from it.
        review: what the checks found.

    """
    lines = [message, f"  toplevel: {toplevel}"]
    for label, text in (("closure", review.closure), ("activation", review.activation)):
        lines.append(f"  {label}:" if text else f"  {label}: nothing to tell")
        lines += [f"    {line}" for line in text.splitlines()]
    needed = f"only a reboot brings the new {', '.join(review.reboot)} into use" if review.reboot else "not needed"
    return (*lines, f"  reboot: {needed}", "  this was a dry run: nothing was changed")


def same_system(built: StorePath, system: SystemFacts, mode: str) -> bool:
    """Whether a build changes nothing: it runs already and is the boot default (or, in boot mode, will be)."""
    return built == system.profile and (mode == "boot" or built == system.current)


# How far a rollback at boot has got when something follows from it.
_ROLLED_BACK = frozenset({"rebooting", "landed", "golden-failed"})


def after_boot(boot: BootFacts, memory: Memory, history: Sequence[CycleSummary], now: float) -> BootConclusion | None:
    """What the assessment of boots means for what is deployed and what is rejected; None if nothing new.

    Args:
        boot: the assessment.
        memory: what is remembered.
        history: finished cycles, newest first: which revision a toplevel was built from.
        now: seconds since the epoch.

    """
    conclusion = BootConclusion()
    last = boot.rollback
    told = "" if last is None else f"{last.left} {last.at} {last.how}"
    if last is not None and told != memory.boot_told and last.how in (*_ROLLED_BACK, "failed"):
        reason = f"rolled back at boot: {last.reason}"
        came_from = _built_from(last.left, memory, history)
        rejection = None
        if came_from is not None and last.how in _ROLLED_BACK:
            revision, cycle = came_from
            rejection = Rejection(revision=revision, outcome=Outcome.rolled_back, reason=reason, cycle=cycle, at=now)
        golden = _built_from(last.to, memory, history) if last.how in _ROLLED_BACK else None
        fallen_back_to = None if golden is None else Deployed(revision=golden[0], toplevel=last.to, at=now)
        gone_back = None
        if golden is None and last.how in _ROLLED_BACK:
            gone_back = _fallen_back(last.to, "the golden generation", now)
        blocked = reason if last.how in ("golden-failed", "failed") else ""
        conclusion = BootConclusion(
            told=told, rejection=rejection, deployed=fallen_back_to, blocked=blocked, gone_back=gone_back
        )
    if boot.verdict == "good" and boot.toplevel is not None and last_deployed(memory) != boot.toplevel:
        waited = next((cycle for cycle in history if cycle.outcome is Outcome.at_reboot), None)
        if waited is not None and waited.toplevel == boot.toplevel and waited.revision is not None:
            deployed = Deployed(revision=waited.revision, toplevel=boot.toplevel, at=now)
            conclusion = msgspec.structs.replace(conclusion, deployed=deployed)
    return None if conclusion == BootConclusion() else conclusion


def after_takeover(takeover: Takeover, memory: Memory, history: Sequence[CycleSummary], now: float) -> BootConclusion:
    """What it means that a new version of ourselves did not hold, and the system of before runs again.

    Args:
        takeover: which one, and why it was gone back from.
        memory: what is remembered.
        history: finished cycles, newest first: which revision a toplevel was built from.
        now: seconds since the epoch.

    """
    left, runs_again = (_built_from(each, memory, history) for each in (takeover.after, takeover.before))
    rejection = None
    if left is not None:
        reason = f"its gitopsd did not hold once it had taken over: {takeover.reason}"
        rejection = Rejection(revision=left[0], outcome=Outcome.rolled_back, reason=reason, cycle=left[1], at=now)
    deployed = None
    if runs_again is not None:
        deployed = Deployed(revision=runs_again[0], toplevel=takeover.before, at=now)
    gone_back = _fallen_back(takeover.before, "the system of before", now) if runs_again is None else None
    return BootConclusion(rejection=rejection, deployed=deployed, gone_back=gone_back)


def _fallen_back(toplevel: StorePath, name: str, now: float) -> GoneBack:
    return GoneBack(toplevel=toplevel, name=name, by="gitopsd", cycle=0, at=now)


def last_deployed(memory: Memory) -> StorePath | None:
    """The toplevel that was deployed last."""
    return memory.deployed.toplevel if memory.deployed is not None else None


def _built_from(toplevel: StorePath, memory: Memory, history: Iterable[CycleSummary]) -> tuple[Revision, int] | None:
    """The revision that a toplevel was built from last, and in which cycle."""
    for cycle in history:
        if cycle.toplevel == toplevel and cycle.revision is not None:
            return cycle.revision, cycle.id
    if memory.deployed is not None and memory.deployed.toplevel == toplevel:
        return memory.deployed.revision, 0
    return None
