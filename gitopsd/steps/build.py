"""build: build and check the toplevel. Nothing on the system has changed yet."""

import msgspec

from gitopsd.errors import Rejected
from gitopsd.machine import Event
from gitopsd.policy import same_system, short
from gitopsd.ports import Activator, Builder, ConfigSource, Reporter
from gitopsd.steps.needs import needed
from gitopsd.types import Built, Cycle, Outcome, StepResult


async def build(
    cycle: Cycle,
    reporter: Reporter,
    *,
    builder: Builder,
    source: ConfigSource,
    activator: Activator,
    validate_units: tuple[str, ...],
    mode: str,
) -> StepResult:
    """Repeatable: nix builds the same revision once."""
    revision = needed(cycle.facts.candidate, "a candidate")
    reporter.line("=== Validating NixOS Build ===")
    try:
        toplevel = await reporter.retrying(lambda: builder.build(revision, reporter.progress))
    except Rejected as error:
        return _refused(cycle, reporter, error, Outcome.build_failed)
    facts = msgspec.structs.replace(cycle.facts, built=Built(revision=revision, toplevel=toplevel))
    cycle = msgspec.structs.replace(cycle, facts=facts)
    system = activator.facts()
    if facts.trial and toplevel == system.current:
        message = f"{short(revision)} changes nothing here"
        return StepResult(event=Event.settled, facts=facts, message=message, outcome=Outcome.up_to_date)
    if not facts.trial and same_system(toplevel, system, mode):
        message, outcome = f"{short(revision)} changes nothing here", Outcome.up_to_date
        if toplevel == system.current:
            await source.mark_deployed(revision)
        else:
            message, outcome = (
                f"{short(revision)} is the boot default; it runs after the next reboot",
                Outcome.at_reboot,
            )
        return StepResult(event=Event.settled, facts=facts, message=message, outcome=outcome)
    try:
        await builder.check(toplevel, validate_units)
    except Rejected as error:
        await builder.release(revision)
        return _refused(cycle, reporter, error, Outcome.check_failed)
    reporter.line("=== Build Validation PASSED ===")
    return StepResult(event=Event.done, facts=facts, message=f"built {toplevel}")


def _refused(cycle: Cycle, reporter: Reporter, error: Rejected, outcome: Outcome) -> StepResult:
    """The revision is at fault: say so, and remember it. The system is untouched."""
    reporter.line("=== Build Validation FAILED ===")
    for line in error.explained().splitlines():
        reporter.line(line)
    reporter.line("Deployment aborted")
    return StepResult(event=Event.fail, facts=cycle.facts, message=error.message, outcome=outcome, reject=True)
