"""capture: turn what was edited in each home into commits, on top of the revision that the home was last applied from."""

from collections.abc import Sequence

from gitopsd.machine import Event
from gitopsd.ports import Dotfiles, PublishedCheckout, Reporter
from gitopsd.steps.people import each_person, with_checkout
from gitopsd.types import Cycle, CycleKind, StepResult, SyncWord


async def capture(
    cycle: Cycle, reporter: Reporter, *, people: Sequence[Dotfiles], checkout: PublishedCheckout | None = None
) -> StepResult:
    """Repeatable: what is committed already is no edit any more."""
    if cycle.kind is CycleKind.plan:
        return StepResult(event=Event.done, facts=cycle.facts, message="a dry run captures nothing")
    reporter.line("Capturing current dotfiles...")
    facts = await each_person(cycle, people, reporter, lambda who, known: who.capture(known), SyncWord.failed)
    if checkout is not None and cycle.kind is CycleKind.upgrade:
        facts = await with_checkout(facts, reporter, checkout.capture, SyncWord.failed)
    files = sum(len(person.captured) for person in facts.people)
    return StepResult(event=Event.done, facts=facts, message=f"captured {files} file{'' if files == 1 else 's'}")
