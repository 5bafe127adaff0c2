"""switch: activate the toplevel, outside our own process.

The order is `test`, then verify, then the profile and `boot`: a crash or power cut half-way boots the old system.
"""

import msgspec

from gitopsd.machine import Event
from gitopsd.policy import called, newly_failed, reads_switch, short
from gitopsd.ports import Activator, Builder, Clock, Reporter, Successor, Units
from gitopsd.steps.needs import needed
from gitopsd.types import Built, Cycle, Outcome, StepResult, Switching, SystemFacts


async def switch(
    cycle: Cycle,
    reporter: Reporter,
    *,
    activator: Activator,
    builder: Builder,
    units: Units,
    clock: Clock,
    successor: Successor,
    validate_units: tuple[str, ...],
    mode: str,
) -> StepResult:
    """Looks before it acts: an activation of this cycle that runs or has run is never started again."""
    built = needed(cycle.facts.built, "a built toplevel")
    switching = cycle.facts.switching
    if switching is None:
        await successor.alone(reporter.progress)
        system = activator.facts()
        switching = Switching(
            boot_id=clock.boot_id(),
            previous=needed(system.current, "a running NixOS system"),
            previous_generation=system.generation,
            failed_before=await units.failed(),
            active_before=tuple(unit.name for unit in await units.health(validate_units) if unit.active == "active"),
            own=successor.fingerprint(),
            mode="test" if cycle.facts.trial else "switch" if cycle.facts.chosen else mode,
        )
        cycle = msgspec.structs.replace(cycle, facts=msgspec.structs.replace(cycle.facts, switching=switching))
        await reporter.checkpoint(cycle.facts)
    elif switching.boot_id != clock.boot_id():
        return after_reboot(cycle, built, switching, activator.facts())
    reporter.line("=== Deploying New Configuration ===")
    if switching.mode == "boot":
        return await _for_the_next_boot(cycle, built, activator, builder)
    await successor.guard(switching.previous, built.toplevel, activator.facts().profile)
    builder.hold(switching.previous)
    return await _test(cycle, reporter, built, switching, activator=activator, builder=builder, units=units)


async def _test(
    cycle: Cycle,
    reporter: Reporter,
    built: Built,
    switching: Switching,
    *,
    activator: Activator,
    builder: Builder,
    units: Units,
) -> StepResult:
    status = await activator.activate(built.toplevel, "test", tag(cycle, "test"))
    problem = reads_switch(status)
    match status:
        case 1 if changed := await _changed(switching, activator, units):
            # Its main.rs ends so for every error that it did not foresee, wherever that came.
            return undo(cycle, switching, f"switch-to-configuration: it gave up half-way (status 1): {changed}")
        case 0 | 4:  # whether the units that failed matter, verify decides: some may have failed before
            return StepResult(event=Event.done, facts=cycle.facts, message=problem or "activated")
        case 100 if switching.mode == "switch" and not cycle.facts.chosen:
            # As nixos-rebuild would: only a boot can bring it. From here on it is what `mode = "boot"` is.
            later = msgspec.structs.replace(switching, mode="boot", reason=problem)
            cycle = msgspec.structs.replace(cycle, facts=msgspec.structs.replace(cycle.facts, switching=later))
            await reporter.checkpoint(cycle.facts)
            return await _for_the_next_boot(cycle, built, activator, builder)
        case 1 | 100:
            message = f"switch-to-configuration: {problem}"
            return StepResult(
                event=Event.fail, facts=cycle.facts, message=message, outcome=Outcome.switch_failed, reject=True
            )
        case _:
            return undo(cycle, switching, f"switch-to-configuration: {problem}")


async def _changed(switching: Switching, activator: Activator, units: Units) -> str:
    """What is not as it was before the activation; empty if nothing is."""
    current = activator.facts().current
    if current != switching.previous:
        return f"{current} runs"
    stopped = [unit.name for unit in await units.health(switching.active_before) if unit.active != "active"]
    if stopped:
        return f"{', '.join(stopped)} not active any more"
    return newly_failed(switching.failed_before, await units.failed())


async def _for_the_next_boot(cycle: Cycle, built: Built, activator: Activator, builder: Builder) -> StepResult:
    await activator.set_profile(built.toplevel)
    status = await activator.activate(built.toplevel, "boot", tag(cycle, "boot"))
    if status != 0:
        switching = needed(cycle.facts.switching, "a baseline")
        return undo(cycle, switching, f"the boot loader was not installed: {reads_switch(status)}")
    await builder.release(built.revision)
    message = f"{short(built.revision)} is the boot default; it runs after the next reboot"
    switching = needed(cycle.facts.switching, "a baseline")
    if switching.reason:
        message += f": {switching.reason}"
    return StepResult(event=Event.settled, facts=cycle.facts, message=message, outcome=Outcome.at_reboot)


def after_reboot(cycle: Cycle, built: Built, switching: Switching, system: SystemFacts) -> StepResult:
    """The machine went down in mid-switch. The boot default was the old system, so nothing is left to undo."""
    if system.current == built.toplevel:
        return StepResult(event=Event.done, facts=cycle.facts, message="the machine was booted into the new system")
    what = "the old system runs" if system.current == switching.previous else f"{system.current} runs"
    message = f"the machine went down while {called(cycle.facts)} was activated; {what}"
    return StepResult(event=Event.fail, facts=cycle.facts, message=message, outcome=Outcome.interrupted)


def undo(cycle: Cycle, switching: Switching, reason: str, *, reject: bool = True, cut_off: bool = False) -> StepResult:
    """Go back, and remember the revision as rejected; if it cut the host off, only once that is seen to be its fault."""
    undone = msgspec.structs.replace(switching, reason=reason, cut_off=cut_off)
    facts = msgspec.structs.replace(cycle.facts, switching=undone)
    return StepResult(event=Event.undo, facts=facts, message=reason, outcome=Outcome.rolled_back, reject=reject)


def tag(cycle: Cycle, action: str) -> str:
    """Names one activation of one cycle, so that it is recognised after a crash."""
    return f"cycle {cycle.id} {action}"
