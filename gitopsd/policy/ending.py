"""What an error does to a cycle, and how one ends."""

from collections.abc import Iterable, Sequence

import msgspec

from gitopsd.errors import Cause, GitopsdError, Transient
from gitopsd.machine import Event, State
from gitopsd.policy.choice import falls_of, is_of_the_trunk
from gitopsd.types import (
    FINE,
    AtReboot,
    Built,
    Cycle,
    CycleEnd,
    CycleKind,
    CycleSummary,
    Deployed,
    Facts,
    GoneBack,
    Outcome,
    PersonFacts,
    Rejection,
    Revision,
    StepRecord,
    StepResult,
    SyncWord,
    Trial,
)

# The words that leave a sync's exit status at 0: offline and parked conflicts are normal.
GOOD_WORDS = frozenset(
    {SyncWord.success, SyncWord.success_local_only, SyncWord.fetch_failed, SyncWord.conflicts_preserved}
)


# Before `switch` nothing has changed, so a cycle may simply be dropped.
CANCELLABLE = frozenset({State.fetch, State.capture, State.push, State.pull, State.build})


def after_error(state: State, facts: Facts, error: Exception) -> StepResult:
    """What follows when a step raises instead of returning.

    The dotfiles half never ends the cycle. From switch on the system may have changed, so an error there undoes; an
    error in the way back needs a person.
    """
    if isinstance(error, GitopsdError):
        message = error.message
    elif isinstance(error, TimeoutError) and not error.args:  # of `asyncio.timeout`: the loop's
        message = f"{state.value} ran over its time, and was ended with everything that it had started"
    else:
        message = f"{type(error).__name__}: {error}"
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


def rejection_of(cycle: Cycle, result: StepResult, now: float) -> Rejection | None:
    """The rejection of what a cycle deploys; None if it had nothing to deploy.

    Args:
        cycle: that found out.
        result: of the step that did.
        now: seconds since the epoch.

    """
    revision, outcome = result.facts.candidate, result.outcome or Outcome.failed
    if revision is None:
        return None
    return Rejection(revision=revision, outcome=outcome, reason=result.message, cycle=cycle.id, at=now)


def end_of(
    cycle: Cycle,
    result: StepResult,
    step: StepRecord,
    rejection: Rejection | None,
    *,
    now: float,
    boot_id: str,
    last_trial: Trial | None,
) -> CycleEnd:
    """What the end of a cycle means for the memory; nothing is announced yet.

    Args:
        cycle: in the state in which it rests.
        result: of its last step.
        step: that step.
        rejection: what it rejects.
        now: seconds since the epoch.
        boot_id: the boot that it ends in.
        last_trial: the revision of a testing branch that was verified last.

    """
    facts, built = cycle.facts, cycle.facts.built
    outcome, message = sum_up(result.outcome or Outcome.failed, result.message, facts.people, cycle.kind)
    summary = CycleSummary(
        id=cycle.id,
        kind=cycle.kind,
        requested_by=cycle.requested_by,
        started=cycle.started,
        ended=now,
        outcome=outcome,
        message=message,
        revision=facts.candidate,
        toplevel=built.toplevel if built is not None else None,
    )
    rejections: tuple[Rejection, ...] = (rejection,) if rejection is not None else ()
    gone_back = at_reboot = deployed = trial = None
    if result.outcome is Outcome.success and facts.chosen:
        rejections = tuple(_left(cycle, revision, now) for revision in facts.left)
        if built is not None and not built.revision:
            gone_back = GoneBack(
                toplevel=built.toplevel, name=facts.chosen, by=cycle.requested_by, cycle=cycle.id, at=now
            )
    if result.outcome is Outcome.at_reboot and facts.switching is not None:
        why = facts.switching.reason or "a deployed system waits for it"
        at_reboot = AtReboot(cycle=cycle.id, facts=facts, why=why)
    verified = result.event is Event.settled and result.outcome in (Outcome.success, Outcome.up_to_date)
    # A generation that no cycle of the history has made has no revision.
    if verified and cycle.kind is CycleKind.upgrade and built is not None and built.revision:
        if facts.trial:
            trial = _trial(built, facts, now, boot_id, last_trial)
        else:
            deployed = Deployed(revision=built.revision, toplevel=built.toplevel, at=now)
    return CycleEnd(
        summary=summary,
        facts=facts,
        state=cycle.state,
        step=step,
        rejections=rejections,
        deployed=deployed,
        blocked=message if result.event is Event.block else "",
        trial=trial,
        gone_back=gone_back,
        contact=made_contact(cycle),
        at_reboot=at_reboot,
    )


def _left(cycle: Cycle, revision: Revision, now: float) -> Rejection:
    """A revision that a person went back from is not deployed again by the next timer."""
    reason = f"{cycle.requested_by} went back to {cycle.facts.chosen}"
    return Rejection(revision=revision, outcome=Outcome.rolled_back, reason=reason, cycle=cycle.id, at=now)


def _trial(built: Built, facts: Facts, now: float, boot_id: str, last: Trial | None) -> Trial:
    return Trial(
        revision=built.revision,
        toplevel=built.toplevel,
        at=now,
        boot_id=boot_id,
        trunk=is_of_the_trunk(facts),
        falls=falls_of(last, boot_id) if last is not None and last.revision == built.revision else 0,
    )
