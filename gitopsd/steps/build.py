"""build: build and check the toplevel. Nothing on the system has changed yet."""

import msgspec

from gitopsd.errors import Failed, GitopsdError, Rejected
from gitopsd.machine import Event
from gitopsd.policy import explained, is_of_the_trunk, plan, same_system, short, stopping
from gitopsd.ports import Activator, Builder, ConfigSource, Inspector, Reporter
from gitopsd.steps.hooks import HookPlan, run_hooks
from gitopsd.steps.needs import needed
from gitopsd.types import Built, Check, Cycle, CycleKind, Facts, Outcome, Review, StepResult, SystemFacts, Verdict


async def build(
    cycle: Cycle,
    reporter: Reporter,
    *,
    builder: Builder,
    inspector: Inspector,
    source: ConfigSource,
    activator: Activator,
    mode: str,
    hooks: HookPlan,
) -> StepResult:
    """Repeatable: nix builds the same revision once, and a hook is not run twice."""
    revision = needed(cycle.facts.candidate, "a candidate")
    if cycle.kind is CycleKind.upgrade and hooks.pre:
        facts, problem = await run_hooks(cycle.facts, reporter, hooks, "pre")
        cycle = msgspec.structs.replace(cycle, facts=facts)
        if problem:
            return _hook_failed(facts, reporter, problem)
    reporter.line("=== Validating NixOS Build ===")
    tried = cycle.facts.tried_before  # a later trial that fails comes back to it
    await builder.release_others(revision, *([tried] if tried is not None else []))
    room = await inspector.room()
    if room.verdict is Verdict.prevented:
        return _stopped(cycle.facts, reporter, Review(checks=(room,)))
    try:
        built = await reporter.retrying(lambda: builder.build(revision, reporter.progress))
    except GitopsdError as error:
        refused: GitopsdError = error if await source.sound() else _unsound(error)
        at_fault = isinstance(refused, Rejected)
        _say_refused(reporter, refused.explained())
        return StepResult(
            event=Event.fail,
            facts=cycle.facts,
            message=refused.explained(),
            outcome=Outcome.build_failed if at_fault else Outcome.failed,
            reject=at_fault,
        )
    facts, system = msgspec.structs.replace(cycle.facts, built=built), activator.facts()
    if built.toplevel == system.current == system.profile and is_of_the_trunk(facts):
        facts = msgspec.structs.replace(facts, trial=False)  # it is deployed already, and there is nothing to test
    same = _nothing_to_do(facts, system, mode)
    if same is not None:
        if not facts.trial:  # it runs, or is the boot default; nothing but its root keeps a trial
            await builder.release(revision)
        if same.outcome is Outcome.up_to_date and not facts.trial and cycle.kind is CycleKind.upgrade:
            await source.mark_deployed(revision)
        return same
    review = await inspector.inspect(built.toplevel, reporter.progress)
    review = msgspec.structs.replace(review, checks=(room, _evaluated(built), *_local(built), *review.checks))
    facts = msgspec.structs.replace(facts, review=review)
    if stopping(review.checks):
        await builder.release(revision)
        return _stopped(facts, reporter, review)
    for check in review.checks:
        if check.verdict is Verdict.noted:
            reporter.line(f"note: {check.name}: {check.said}")
    reporter.line("=== Build Validation PASSED ===")
    if cycle.kind is CycleKind.plan:
        return await _planned(facts, reporter, builder, source)
    return StepResult(event=Event.done, facts=facts, message=f"built {built.toplevel}")


def _unsound(error: GitopsdError) -> Failed:
    """What came out of a damaged mirror is not what was pushed."""
    return Failed(
        f"the mirror of the configuration is damaged; {error.message}",
        meaning="the system is unchanged, and the revision stays eligible",
        advice="`gitopsctl upgrade`, which fetches it anew",
    )


def _evaluated(built: Built) -> Check:
    """Whether it was evaluated without the rights of root, as it should be; nothing stops because it was not."""
    name = "was evaluated without root's rights"
    if not built.why_root:
        return Check(name=name, verdict=Verdict.passed)
    said, advice = f"root did it: {built.why_root}", "`gitopsctl doctor` says what to do"
    return Check(name=name, verdict=Verdict.noted, said=said, advice=advice)


def _local(built: Built) -> tuple[Check, ...]:
    """What root has copied from this machine: nothing stops because of it, and it should not happen unseen."""
    if not built.of_this_machine:
        return ()
    said = f"root has copied into the store, where everybody can read it: {', '.join(built.of_this_machine)}"
    advice = "make it part of the repository, or an input with a URL"
    return (Check(name="has no inputs of this machine", verdict=Verdict.noted, said=said, advice=advice),)


def _nothing_to_do(facts: Facts, system: SystemFacts, mode: str) -> StepResult | None:
    """The end of the cycle if what was built runs already, or is what the next boot runs where that is what is wanted."""
    built = needed(facts.built, "a built toplevel")
    changes = built.toplevel != system.current if facts.trial else not same_system(built.toplevel, system, mode)
    if changes:
        return None
    message, outcome = f"{short(built.revision)} changes nothing here", Outcome.up_to_date
    if built.toplevel != system.current:
        message = f"{short(built.revision)} is the boot default; it runs after the next reboot"
        outcome = Outcome.at_reboot
    return StepResult(event=Event.settled, facts=facts, message=message, outcome=outcome)


async def _planned(facts: Facts, reporter: Reporter, builder: Builder, source: ConfigSource) -> StepResult:
    """A dry run ends here."""
    built, review = needed(facts.built, "a built toplevel"), needed(facts.review, "a review")
    where = " as a trial" if facts.trial else ""
    message = f"would deploy {short(built.revision)}{where} ({await source.subject(built.revision)})"
    for line in plan(message, built.toplevel, review):
        reporter.line(line)
    await builder.release(built.revision)
    return StepResult(event=Event.settled, facts=facts, message=message, outcome=Outcome.planned)


def _stopped(facts: Facts, reporter: Reporter, review: Review) -> StepResult:
    """A check does not let it pass. What this machine has no room for is not held against the revision."""
    stops: tuple[Check, ...] = stopping(review.checks)
    reject = any(check.verdict is Verdict.failed for check in stops)
    message = explained(stops)
    _say_refused(reporter, message)
    return StepResult(
        event=Event.fail,
        facts=msgspec.structs.replace(facts, review=review),
        message=message,
        outcome=Outcome.check_failed if reject else Outcome.failed,
        reject=reject,
    )


def _hook_failed(facts: Facts, reporter: Reporter, problem: str) -> StepResult:
    """A required hook failed before anything was built. That is not held against the revision."""
    message = f"a required pre-update hook did not succeed: {problem}"
    reporter.line(message)
    reporter.line("Deployment aborted")
    return StepResult(event=Event.fail, facts=facts, message=message, outcome=Outcome.failed)


def _say_refused(reporter: Reporter, text: str) -> None:
    reporter.line("=== Build Validation FAILED ===")
    for line in text.splitlines():
        reporter.line(line)
    reporter.line("Deployment aborted")
