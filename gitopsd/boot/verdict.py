"""What is done with a verdict: a bad one is counted and acted on, a good one blesses the generation."""

import os

from gitopsd.boot.fallback import fall_back
from gitopsd.boot.judge import RETRY, ROLL_BACK, Case, Rules, after_bad_verdict, is_golden_after_rollback
from gitopsd.boot.place import SWITCHED, Machine, shown
from gitopsd.boot.record import (
    BAD,
    GOLDEN_FAILED,
    GOOD,
    INDETERMINATE,
    LANDED,
    PENDING,
    Attempt,
    Damaged,
    Generation,
)
from gitopsd.events import BLOCKED, BOOT_BAD, GOLDEN_PINNED

EMERGENCY = "gitopsd-boot-emergency.service"


def bad(machine: Machine, reason: str, rules: Rules) -> None:
    """Count this boot as bad, and do what follows. Repeatable: it is counted once.

    Args:
        machine: this one.
        reason: what is wrong.
        rules: of the configuration.

    """
    fd = _hold(machine)
    try:
        case = _count(machine, reason)
        if case is not None:
            machine.notice.alert(f"this boot is bad: {reason}", event=BOOT_BAD)
            machine.notice.say(f"Boot failure count: {case.failures} / {rules.max_attempts}")
            _follow(machine, case, reason, rules)
    finally:
        _release(fd)


def carry_on(machine: Machine, rules: Rules) -> None:
    """Do what follows from the bad verdict that this boot has: whoever gave it was killed. Repeatable.

    Args:
        machine: this one.
        rules: of the configuration.

    """
    fd = _hold(machine)
    try:
        boot = machine.boot_id()
        generation, attempt = _of_this_boot(machine, machine.booted(), boot)
        _follow(machine, machine.case(generation, boot, recorded=True), attempt.reason, rules)
    finally:
        _release(fd)


def _follow(machine: Machine, case: Case, reason: str, rules: Rules) -> None:
    decision, why = after_bad_verdict(case, rules)
    machine.tell_troubles()
    if decision == ROLL_BACK:
        fall_back(machine, case, f"{case.failures} bad boots; the last one: {reason}")
        return
    if decision == RETRY:
        machine.notice.alert(f"rebooting: attempt {case.failures + 1} of {rules.max_attempts}")
        problem = machine.reboot()
        if not problem:
            return
        why = problem
    machine.notice.alert(f"the machine stays up as it is: {why}")
    _golden_failed(machine, case, reason)


def emergency(machine: Machine) -> None:
    """The boot ended in emergency mode: verify does not run there, and nobody may be at the console."""
    if not machine.booted() or machine.switched():
        return
    if machine.asked_for_emergency():
        machine.notice.say("emergency mode was asked for on the kernel's command line: no verdict")
        return
    if known(machine) == BAD and machine.restarted(EMERGENCY):
        carry_on(machine, machine.rules())
        return
    bad(machine, "the boot ended in emergency mode", machine.rules())


def _count(machine: Machine, reason: str) -> Case | None:
    """Write the bad verdict down; None if this boot has one already."""
    boot, toplevel = machine.boot_id(), machine.booted()
    generation, attempt = _of_this_boot(machine, toplevel, boot)
    if attempt.verdict in (BAD, GOOD):
        return None
    attempt.verdict, attempt.reason = BAD, reason
    recorded = True
    try:
        machine.record.save(generation)
    except OSError as error:
        recorded = False
        machine.notice.alert(f"the verdict cannot be recorded in {machine.record.directory}: {error.strerror}")
    return machine.case(generation, boot, recorded=recorded)


def _golden_failed(machine: Machine, case: Case, reason: str) -> None:
    """Golden has failed after a rollback: there is no automatic way on, and the record says so."""
    last = case.rollback
    if last is None or last.how == LANDED or not is_golden_after_rollback(case):
        return
    machine.notice.alert("blocked: the golden generation failed too; a person is needed", event=BLOCKED)
    last.how = GOLDEN_FAILED
    last.reason = f"{last.reason}; the golden generation failed too: {reason}"
    try:
        machine.record.save(last)
    except OSError as error:
        machine.notice.alert(f"that cannot be recorded in {machine.record.directory}: {error.strerror}")


def bless(machine: Machine, *, auto_pin: bool) -> list[str]:
    """Write down that this boot was good, and make its generation golden. Repeatable.

    Args:
        machine: this one.
        auto_pin: make it golden.

    Returns:
        What could not be done, one sentence each.

    """
    boot, toplevel = machine.boot_id(), machine.booted()
    if not toplevel:
        return []
    if machine.switched():
        machine.notice.say(SWITCHED)
        return []
    problems = []
    fd = _hold(machine)
    try:
        generation, attempt = _of_this_boot(machine, toplevel, boot)
        if attempt.verdict == BAD:
            return [f"this boot is bad already: {attempt.reason}"]
        attempt.verdict, attempt.reason = GOOD, ""
        generation.attempts = [attempt]
        generation.blessed, generation.doubt = True, False
        generation.entry = generation.entry and machine.golden.target() == toplevel
        try:
            machine.record.save(generation)
            _conclude_rollback(machine, toplevel)
            machine.notice.say(f"this boot is good: {shown([toplevel])}")
            if auto_pin:
                problems += _pin(machine, generation)
        except OSError as error:
            problems.append(f"{error.filename or machine.record.directory}: {error.strerror}")
        machine.record.prune()
        machine.tell_troubles()
    finally:
        _release(fd)
    return problems


def _conclude_rollback(machine: Machine, toplevel: str) -> None:
    try:
        last = machine.record.rollback(mend=True)
    except Damaged:  # told in its troubles
        return
    if last is None:
        return
    if last.to != toplevel:  # another one has booted well since
        machine.record.forget_rollback()
    elif last.how != LANDED:
        last.how = LANDED
        machine.record.save(last)


def _pin(machine: Machine, generation: Generation) -> list[str]:
    """Golden is a GC root from the moment it is pinned, and a boot entry once the boot loader is installed again."""
    new = machine.golden.target() != generation.toplevel
    machine.golden.set(generation.toplevel)
    machine.golden.keep_only_current()
    if new:
        machine.notice.say(f"golden now: {shown([generation.toplevel])}", event=GOLDEN_PINNED)
    if generation.entry:
        return []
    # What the system profile stands for stays the boot default: this one may have been picked by hand.
    default = machine.system.target() or generation.toplevel
    problem = machine.install(default)
    if not problem and (now := machine.system.target()) not in ("", default):
        problem = machine.install(now)  # somebody has deployed meanwhile
    if problem:
        return [f"golden has no boot entry of its own yet: {problem}"]
    generation.entry = True
    machine.record.save(generation)
    return []


def end(machine: Machine) -> None:
    """The machine is shut down in order: with no verdict yet, this boot was neither good nor bad.

    Unless there never was to be one: a boot in which verify broke has not proved itself, however it ends.
    """
    boot, toplevel = machine.boot_id(), machine.booted()
    generation = machine.record.generation(toplevel)
    attempt = generation.attempt(boot)
    if attempt is None or attempt.verdict != PENDING or not machine.stopping() or machine.verify_broke():
        return
    attempt.verdict = INDETERMINATE
    machine.record.save(generation)


def known(machine: Machine) -> str:
    """The verdict on this boot so far."""
    attempt = machine.record.generation(machine.booted()).attempt(machine.boot_id())
    machine.record.troubles.clear()  # whoever writes next tells them
    return attempt.verdict if attempt is not None else PENDING


def _of_this_boot(machine: Machine, toplevel: str, boot: str) -> tuple[Generation, Attempt]:
    generation = machine.record.generation(toplevel, mend=True)
    attempt = generation.attempt(boot)
    if attempt is None:  # its begin could not record it
        attempt = Attempt(boot, machine.now())
        generation.attempts.append(attempt)
    return generation, attempt


def _hold(machine: Machine) -> int:
    """Lock the record, if it can be locked: a state directory that cannot be written to must not keep us silent."""
    try:
        return machine.record.lock()
    except OSError:
        return -1


def _release(fd: int) -> None:
    if fd >= 0:
        os.close(fd)
