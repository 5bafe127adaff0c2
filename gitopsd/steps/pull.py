"""pull: apply what others changed to the homes; choose the revision of the configuration."""

from collections.abc import Sequence

import msgspec

from gitopsd.errors import Failed, Rejected, Transient
from gitopsd.machine import Event
from gitopsd.policy import Choice, choose, prefer_testing, tested_only
from gitopsd.ports import Activator, Checkout, Clock, ConfigSource, Dotfiles, Reporter, Signatures, Store
from gitopsd.steps.needs import needed
from gitopsd.steps.people import each_person, with_checkout
from gitopsd.types import FINE, Cycle, CycleKind, Facts, Memory, Outcome, Revision, StepResult, SyncWord, SystemFacts


async def pull(
    cycle: Cycle,
    reporter: Reporter,
    *,
    people: Sequence[Dotfiles],
    source: ConfigSource | None,
    activator: Activator,
    store: Store,
    clock: Clock,
    mode: str = "switch",
    testing_branch: str = "",
    signatures: Signatures | None = None,
    checkout: Checkout | None = None,
) -> StepResult:
    """Repeatable: the homes are compared before they are written, and choosing changes nothing."""
    asked = () if cycle.kind is CycleKind.plan else people
    facts = await each_person(cycle, asked, reporter, lambda who, known: who.apply(known), SyncWord.failed)
    captured = sum(len(person.captured) for person in facts.people)
    applied = sum(len(person.applied) for person in facts.people)
    homes = f"captured {captured}, applied {applied} file{'' if captured == applied == 1 else 's'}"
    cycle = msgspec.structs.replace(cycle, facts=facts)
    if cycle.kind is CycleKind.sync or source is None:
        return StepResult(event=Event.settled, facts=facts, message=homes, outcome=Outcome.success)
    reporter.line("Pulling latest nix-config...")
    if cycle.facts.checkout is not None and cycle.facts.checkout.sent:
        cycle = msgspec.structs.replace(cycle, facts=await _with_ours(cycle.facts, reporter, source))
    memory = await store.memory()
    before = memory.deployed.revision if memory.deployed is not None else await source.marked_deployed()
    system = activator.facts()
    choice = await _choose(cycle, source, system, memory, before)
    if mode == "test":
        choice = tested_only(choice, system=system, trial=memory.trial, boot_id=clock.boot_id())
    testing = cycle.facts.testing
    # What the trunk has taken in needs no test any more.
    if testing is not None and not await _contains(source, cycle.facts.head, testing):
        choice = prefer_testing(
            choice,
            testing,
            branch=testing_branch,
            on_top=await _contains(source, testing, cycle.facts.head),
            system=system,
            trial=memory.trial,
            boot_id=clock.boot_id(),
            rejected=memory.rejected,
        )
    result = await _result(cycle, choice, source, memory)
    if result.event is Event.done and signatures is not None:
        result = await _trusted(result, reporter, source, signatures, before)
    if checkout is not None and cycle.kind is CycleKind.upgrade and _may_follow(result, memory):
        facts = await with_checkout(result.facts, reporter, checkout.apply, SyncWord.failed)
        return msgspec.structs.replace(result, facts=facts)
    return result


async def _with_ours(facts: Facts, reporter: Reporter, source: ConfigSource) -> Facts:
    """The branch's head again, since this cycle has pushed to it."""
    try:
        return msgspec.structs.replace(facts, head=await reporter.retrying(source.fetch))
    except (Transient, Failed):  # it could be asked a moment ago: what was seen then is deployed now
        return facts


def _may_follow(result: StepResult, memory: Memory) -> bool:
    """Whether the trunk is known, and nobody who may not has written to it."""
    facts = result.facts
    untrusted = any(each.revision == facts.head and each.outcome is Outcome.unsigned for each in memory.rejected)
    known = facts.head is not None and not facts.config_offline and not facts.config_error
    return known and not untrusted and result.outcome is not Outcome.unsigned


async def _choose(
    cycle: Cycle, source: ConfigSource, system: SystemFacts, memory: Memory, before: Revision | None
) -> Choice:
    facts, deployed, trial = cycle.facts, memory.deployed, memory.trial
    descends = await _holds(source, facts.head, before)
    if descends and trial is not None and trial.trunk and not await _holds(source, facts.head, trial.revision):
        before, descends = trial.revision, False
    return choose(
        facts.head,
        offline=facts.config_offline,
        error=facts.config_error,
        deployed=deployed,
        before=before,
        system=system,
        rejected=memory.rejected,
        descends=descends,
        accept_diverged=cycle.accept_diverged,
    )


async def _holds(source: ConfigSource, head: Revision | None, before: Revision | None) -> bool:
    """Whether what ran before is part of what the branch has now; unknown is no reason to doubt it."""
    return before is None or head in (None, before) or await source.descends(head, before)


async def _contains(source: ConfigSource, revision: Revision | None, other: Revision | None) -> bool:
    if revision is None or other is None:
        return False
    return revision == other or await source.descends(revision, other)


async def _result(cycle: Cycle, choice: Choice, source: ConfigSource, memory: Memory) -> StepResult:
    facts = cycle.facts
    if choice.deploy is not None:
        subject = await source.subject(choice.deploy)
        tried = memory.trial.revision if memory.trial is not None else None
        facts = msgspec.structs.replace(facts, candidate=choice.deploy, trial=choice.trial, tried_before=tried)
        return StepResult(event=Event.done, facts=facts, message=f"{choice.message} ({subject})")
    event = Event.settled if choice.outcome in FINE else Event.fail
    return StepResult(event=event, facts=facts, message=choice.message, outcome=choice.outcome)


async def _trusted(
    chosen: StepResult, reporter: Reporter, source: ConfigSource, signatures: Signatures, before: Revision | None
) -> StepResult:
    """What was chosen, if everybody who wrote something new in it may; before anything of it is evaluated."""
    revision = needed(chosen.facts.candidate, "a candidate")
    try:
        await signatures.check(revision, before)
    except Failed:
        await source.sound()
        raise
    except Rejected as error:
        for line in error.explained().splitlines():
            reporter.line(line)
        reporter.line("Deployment aborted")
        return StepResult(
            event=Event.fail, facts=chosen.facts, message=error.message, outcome=Outcome.unsigned, reject=True
        )
    return chosen
