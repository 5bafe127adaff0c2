"""push: merge with the trunk what merges; publish everything, merged or parked; read the remote back."""

import datetime as dt
from collections.abc import Sequence
from functools import partial

from gitopsd.machine import Event
from gitopsd.ports import Dotfiles, PublishedCheckout, Reporter
from gitopsd.steps.people import each_person, with_checkout
from gitopsd.types import Cycle, CycleKind, StepResult, SyncWord


async def push(
    cycle: Cycle,
    reporter: Reporter,
    *,
    people: Sequence[Dotfiles],
    host: str,
    checkout: PublishedCheckout | None = None,
) -> StepResult:
    """Repeatable: what the remote has already is not published again."""
    if cycle.kind is CycleKind.plan:
        return StepResult(event=Event.done, facts=cycle.facts, message="a dry run publishes nothing")
    when = dt.datetime.fromtimestamp(cycle.started, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    message = f"chore({host}): auto-update {when}"
    facts = await each_person(
        cycle, people, reporter, lambda who, known: who.publish(known, message), SyncWord.push_failed
    )
    sent = any(person.sent for person in facts.people)
    if sent:
        reporter.line("Successfully pushed changes")
    if checkout is not None and cycle.kind is CycleKind.upgrade:
        publish = partial(checkout.publish, message=message)
        facts = await with_checkout(facts, reporter, publish, SyncWord.push_failed)
        if facts.checkout is not None and facts.checkout.sent:
            reporter.line("Config changes pushed successfully")
    parked = sum(len(person.parked) for person in facts.people)
    said = ("published" if sent else "nothing to publish") + (f", {parked} parked" if parked else "")
    return StepResult(event=Event.done, facts=facts, message=said)
