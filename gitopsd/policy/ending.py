"""What an error does to a cycle, and how one ends."""

from collections.abc import Iterable, Sequence

import msgspec

from gitopsd.errors import Cause, GitopsdError, Transient
from gitopsd.machine import Event, State
from gitopsd.types import (
    FINE,
    Cycle,
    CycleKind,
    CycleSummary,
    Facts,
    Outcome,
    PersonFacts,
    Revision,
    StepResult,
    SyncWord,
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
