"""rollback: back to the toplevel that ran before, by its absolute store path, verified too."""

import msgspec

from gitopsd.config import VerifyConfig
from gitopsd.errors import Transient
from gitopsd.machine import Event
from gitopsd.policy import called, reads_switch
from gitopsd.ports import Activator, Builder, Reporter
from gitopsd.steps.needs import needed
from gitopsd.steps.proof import Instruments, cut_off, prove
from gitopsd.steps.switch import tag
from gitopsd.types import Cycle, Outcome, StepResult, Switching

_QUICK_SOAK = 5.0  # seconds: this system has proved itself before


async def rollback(
    cycle: Cycle,
    reporter: Reporter,
    *,
    activator: Activator,
    builder: Builder,
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


async def _restore(cycle: Cycle, switching: Switching, activator: Activator) -> str:
    """Run the old system and make it the boot default again; returns what went wrong."""
    system = activator.facts()
    try:
        if switching.previous_generation and system.generation != switching.previous_generation:
            await activator.restore_profile(switching.previous_generation)
            status = await activator.activate(switching.previous, "boot", tag(cycle, "rollback boot"))
            if status != 0:
                return f"the boot loader was not installed: {reads_switch(status)}"
        if switching.mode == "boot":
            return ""
        status = await activator.activate(switching.previous, "test", tag(cycle, "rollback test"))
    except Transient as error:
        return error.message
    return "" if status in (0, 4) else f"switch-to-configuration: {reads_switch(status)}"
