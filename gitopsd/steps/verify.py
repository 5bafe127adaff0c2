"""verify: the new system must prove itself over time; only then it becomes the boot default."""

import msgspec

from gitopsd.config import VerifyConfig
from gitopsd.errors import Transient
from gitopsd.machine import Event
from gitopsd.policy import is_of_the_trunk, reads_switch, short
from gitopsd.ports import Activator, Builder, Reporter, Successor
from gitopsd.steps.hooks import HookPlan, run_hooks
from gitopsd.steps.instruments import Instruments
from gitopsd.steps.needs import needed
from gitopsd.steps.proof import prove
from gitopsd.steps.reach import Newer, cut_off, led_away
from gitopsd.steps.switch import after_reboot, tag, undo
from gitopsd.types import BOOTED, Built, Cycle, Outcome, StepResult, Switching


async def verify(
    cycle: Cycle,
    reporter: Reporter,
    *,
    activator: Activator,
    builder: Builder,
    through: Instruments,
    wanted: VerifyConfig,
    successor: Successor,
    hooks: HookPlan,
) -> StepResult:
    """Looks before it acts: after a crash it verifies again from the start, after a reboot it asks what runs."""
    built = needed(cycle.facts.built, "a built toplevel")
    switching = needed(cycle.facts.switching, "a baseline")
    system = activator.facts()
    if switching.boot_id != through.clock.boot_id() and system.current != built.toplevel:
        # What was booted before it was verified is the boot default, and stays so whatever was picked in the menu since.
        booted = cycle.requested_by == BOOTED and cycle.boot_id != switching.boot_id
        if system.generation != switching.previous_generation and not booted:
            await activator.restore_profile(switching.previous_generation)
        return after_reboot(cycle, built, switching, system)
    if system.current != built.toplevel:
        return undo(cycle, switching, f"{built.toplevel} was activated, but {system.current} runs")
    problem = await successor.rehearse(switching.own)
    if problem:  # whatever on_validation_failure says: without us nothing could repair this host
        reporter.line(f"=== Verification FAILED === {problem}")
        return undo(cycle, switching, problem)
    if cycle.facts.chosen:  # what a system of before never had cannot come back with it
        seen = await through.units.health(wanted.validate_units)
        wanted = msgspec.structs.replace(wanted, validate_units=tuple(unit.name for unit in seen if unit.loaded))
    # A hook that is not required has failed before we died: what it may not do then, it may not do now.
    known = (*switching.failed_before, *(run.unit for run in cycle.facts.hooks if run.problem))
    newer = Newer(through, reporter, built.revision if is_of_the_trunk(cycle.facts) else None)
    problem = await prove(through, reporter, wanted, known, newer)
    if problem:
        return _not_good(cycle, reporter, switching, wanted, problem, reject=newer.found is None)
    if wanted.reachability and not cycle.facts.config_offline and not cycle.facts.chosen:
        problem = await cut_off(through, reporter, wanted.reach_within)
        if problem:
            return _not_good(cycle, reporter, switching, wanted, problem, reject=False, cut_off=True)
        # What a person has edited before is no fault of the system's.
        ours_changed = successor.fingerprint() != switching.own
        problem = await led_away(through, reporter, wanted.reach_within) if ours_changed else ""
        if problem:
            return _not_good(cycle, reporter, switching, wanted, problem, reject=True)
    if hooks.post and not cycle.facts.chosen:
        facts, problem = await run_hooks(cycle.facts, reporter, hooks, "post")
        cycle = msgspec.structs.replace(cycle, facts=facts)
        if problem:
            why = f"a required post-update hook did not succeed: {problem}"
            return _not_good(cycle, reporter, switching, wanted, why, reject=True)
    if cycle.facts.trial:
        return await _tested(cycle, reporter, built, builder)
    problem = await _make_default(cycle, built, activator)
    if problem:
        return undo(cycle, switching, problem)
    if cycle.facts.chosen:
        message = f"{cycle.facts.chosen} runs, is verified, and is the boot default"
        return StepResult(event=Event.settled, facts=cycle.facts, message=message, outcome=Outcome.success)
    await through.source.mark_deployed(built.revision)
    await _release_trial(cycle, built, builder)
    await builder.release(built.revision)
    reporter.line("=== Deployment Successful ===")
    message = f"{short(built.revision)} is deployed and verified"
    return StepResult(event=Event.settled, facts=cycle.facts, message=message, outcome=Outcome.success)


async def _tested(cycle: Cycle, reporter: Reporter, built: Built, builder: Builder) -> StepResult:
    """It stays a GC root: a later trial that fails comes back to it, and nothing else keeps it then."""
    await _release_trial(cycle, built, builder)
    reporter.line("=== Test Successful ===")
    message = f"{short(built.revision)} runs and is verified; it is being tested, and the next boot runs the old system"
    return StepResult(event=Event.settled, facts=cycle.facts, message=message, outcome=Outcome.success)


async def _release_trial(cycle: Cycle, built: Built, builder: Builder) -> None:
    tried = cycle.facts.tried_before
    if tried is not None and tried != built.revision:
        await builder.release(tried)


async def _make_default(cycle: Cycle, built: Built, activator: Activator) -> str:
    """Profile first, then the boot loader, which reads it. Both are repeatable. Returns what went wrong."""
    if cycle.facts.generation:
        await activator.restore_profile(cycle.facts.generation)
    else:
        await activator.set_profile(built.toplevel)
    try:
        status = await activator.activate(built.toplevel, "boot", tag(cycle, "boot"))
    except Transient as error:
        return f"the boot loader was not installed: {error.message}"
    return f"the boot loader was not installed: {reads_switch(status)}" if status != 0 else ""


def _not_good(
    cycle: Cycle,
    reporter: Reporter,
    switching: Switching,
    wanted: VerifyConfig,
    problem: str,
    *,
    reject: bool,
    cut_off: bool = False,
) -> StepResult:
    reporter.line(f"=== Verification FAILED === {problem}")
    if wanted.on_validation_failure == "rollback":
        return undo(cycle, switching, problem, reject=reject, cut_off=cut_off)
    kept = msgspec.structs.replace(cycle.facts, switching=msgspec.structs.replace(switching, reason=problem))
    message = f'{problem}; kept, since verify.on_validation_failure = "keep"; the boot default is still the old system'
    return StepResult(event=Event.fail, facts=kept, message=message, outcome=Outcome.kept, reject=reject or cut_off)
