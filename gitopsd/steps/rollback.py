"""rollback: back to the toplevel that ran before, by its absolute store path, verified too."""

import msgspec

from gitopsd.config import VerifyConfig
from gitopsd.errors import GitopsdError
from gitopsd.machine import Event
from gitopsd.policy import called, reads_switch
from gitopsd.ports import Activator, Builder, Golden, Reporter
from gitopsd.steps.instruments import Instruments
from gitopsd.steps.needs import needed
from gitopsd.steps.proof import prove
from gitopsd.steps.reach import cut_off
from gitopsd.steps.switch import tag
from gitopsd.types import Cycle, Outcome, StepResult, Switching

_QUICK_SOAK = 5.0  # seconds: this system has proved itself before


async def rollback(
    cycle: Cycle,
    reporter: Reporter,
    *,
    activator: Activator,
    builder: Builder,
    golden: Golden,
    through: Instruments,
    wanted: VerifyConfig,
) -> StepResult:
    """Looks before it acts: a system that runs already is not activated again, a profile that is right not set."""
    built = needed(cycle.facts.built, "a built toplevel")
    switching = needed(cycle.facts.switching, "a baseline")
    reporter.line(f"Rolling back to {switching.previous}")
    problem = await _restore(cycle, switching, activator)
    if not problem:
        # What was bad before is none of this rollback's doing, and what the old system never had cannot come back.
        quick = msgspec.structs.replace(
            wanted, validate_units=switching.active_before, soak=min(wanted.soak, _QUICK_SOAK)
        )
        problem = await prove(through, reporter, quick, switching.failed_before)
    if problem:
        message = f"{switching.reason}; the rollback to {switching.previous} failed too: {problem}"
        message += f"; {await _golden(cycle, golden, problem)}"
        return StepResult(event=Event.block, facts=cycle.facts, message=message, outcome=Outcome.blocked)
    if not cycle.facts.chosen:
        await builder.release(built.revision)
    message = f"{called(cycle.facts)} was rolled back: {switching.reason}"
    at_fault = False
    if switching.cut_off:
        at_fault = not await cut_off(through, reporter, wanted.reach_within)
        message += "; it can be reached again" if at_fault else "; the old system cannot reach it either"
    return StepResult(
        event=Event.fail, facts=cycle.facts, message=message, outcome=Outcome.rolled_back, reject=at_fault
    )


async def _golden(cycle: Cycle, golden: Golden, problem: str) -> str:
    """Neither system proves good while it runs: at least the next boot is one that has. What runs is left alone."""
    try:
        toplevel = await golden.make_default(problem, tag(cycle, "golden boot"))
    except GitopsdError as error:
        return f"the boot default is not golden: {error.message}"
    return f"the golden generation {toplevel} is the boot default now"


async def _restore(cycle: Cycle, switching: Switching, activator: Activator) -> str:
    """Run the old system and make it the boot default again; returns what went wrong."""
    system = activator.facts()
    try:
        if switching.previous_generation and system.generation != switching.previous_generation:
            await activator.restore_profile(switching.previous_generation)
            status = await activator.activate(switching.previous, "boot", tag(cycle, "rollback boot"), in_turn=True)
            if status != 0:
                return f"the boot loader was not installed: {reads_switch(status)}"
        if switching.mode == "boot" and system.current == switching.previous:
            return ""  # it never ran
        status = await activator.activate(switching.previous, "test", tag(cycle, "rollback test"), in_turn=True)
    except GitopsdError as error:
        return error.message
    return "" if status in (0, 4) else f"switch-to-configuration: {reads_switch(status)}"
