"""build: build and check the toplevel. Nothing on the system has changed yet."""

import msgspec

from gitopsd.errors import Rejected
from gitopsd.machine import Event
from gitopsd.policy import same_system, short
from gitopsd.ports import Activator, Builder, Reporter
from gitopsd.steps.needs import needed
from gitopsd.types import Built, Cycle, Outcome, StepResult


async def build(
    cycle: Cycle,
    reporter: Reporter,
    *,
    builder: Builder,
    activator: Activator,
    validate_units: tuple[str, ...],
    mode: str,
) -> StepResult:
    """Repeatable: nix builds the same revision once."""
    revision = needed(cycle.facts.candidate, "a candidate")
    reporter.line("=== Validating NixOS Build ===")
    try:
        toplevel = await reporter.retrying(lambda: builder.build(revision, reporter.progress))
        built = Built(revision=revision, toplevel=toplevel)
        facts = msgspec.structs.replace(cycle.facts, built=built)
        system = activator.facts()
        if same_system(toplevel, system, mode):
            return StepResult(
                event=Event.settled,
                facts=facts,
                message=f"{short(revision)} changes nothing here",
                outcome=Outcome.up_to_date,
            )
        await builder.check(toplevel, validate_units)
    except Rejected as error:
        reporter.line("=== Build Validation FAILED ===")
        for line in error.explained().splitlines():
            reporter.line(line)
        reporter.line("Deployment aborted")
        raise
    reporter.line("=== Build Validation PASSED ===")
    return StepResult(event=Event.done, facts=facts, message=f"built {toplevel}")
