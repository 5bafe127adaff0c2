"""begin: record that a boot has begun; fall back to golden if this generation has failed often enough.

It runs before most of the system is up. It fails open: whatever goes wrong in it is told, and the boot goes on.
"""

from gitopsd.boot.fallback import fall_back
from gitopsd.boot.judge import ROLL_BACK, Case, Rules, at_begin, is_golden_after_rollback
from gitopsd.boot.place import INSTALL, SWITCHED, Machine, shown
from gitopsd.boot.profiles import CLOCK_SET
from gitopsd.boot.record import BAD, GOLDEN_FAILED, INDETERMINATE, LEFT, PENDING, Attempt

GOES_ON, REBOOTS, UNRECORDED = range(3)
_HANGS = 30.0  # seconds: what takes longer than this hangs


def begin(machine: Machine) -> int:
    """Looks before it acts: the same boot is recorded once, and a rollback that was cut off is finished.

    Returns:
        `GOES_ON`; `REBOOTS` if a reboot into golden was asked for; `UNRECORDED` if the boot goes on uncounted.

    """
    machine.allow(_HANGS)
    boot, toplevel = machine.boot_id(), machine.booted()
    if not toplevel:
        machine.notice.say("not a NixOS boot: nothing to assess")
        return GOES_ON
    if machine.switched():
        machine.notice.say(SWITCHED)
        return GOES_ON
    generation = machine.record.generation(toplevel, mend=True)
    attempt = generation.attempt(boot)
    if attempt is not None and attempt.verdict not in (LEFT, INDETERMINATE):
        return GOES_ON  # begun already, and systemd has only restarted us
    if attempt is None:
        attempt = Attempt(boot, machine.now())
        generation.attempts.append(attempt)
    if attempt.at < CLOCK_SET:
        machine.notice.say("the clock is not set: the times of this boot are wrong, what is counted is not")
    attempt.verdict = PENDING
    decision, why, rules = "", "", None
    case = machine.case(generation, boot, recorded=True)
    if case.failures:
        rules = machine.rules()
        decision, why = at_begin(case, rules)
    # Told apart in one write: a boot that is fallen back from at once is no further bad one.
    attempt.verdict = LEFT if decision == ROLL_BACK else PENDING
    try:
        machine.record.save(generation)
    except OSError as error:
        machine.tell_troubles()
        machine.notice.alert(
            f"this boot cannot be recorded in {machine.record.directory}: {error.strerror}",
            "it goes on, and is not counted; there is no rollback at boot until that is repaired",
        )
        return UNRECORDED
    machine.tell_troubles()
    _tell(machine, case, rules, why)
    if decision != ROLL_BACK:
        return GOES_ON
    machine.allow(INSTALL + _HANGS)
    reason = _reason(case)
    if fall_back(machine, case, reason):
        return REBOOTS
    attempt.verdict = PENDING
    machine.record.save(generation)
    return GOES_ON


def _reason(case: Case) -> str:
    last = case.generation.failed(case.boot)[-1]
    told = last.reason if last.verdict == BAD else "it ended with no verdict: a hang, a crash or a power cut"
    return f"{case.failures} bad boots; the last one: {told}"


def _tell(machine: Machine, case: Case, rules: Rules | None, why: str) -> None:
    last = case.rollback
    if last is not None and is_golden_after_rollback(case):
        if last.how == GOLDEN_FAILED:
            machine.notice.alert("blocked: the golden generation failed too; a person is needed")
        machine.notice.alert(
            f"{shown([last.left])} was rolled back at boot: {last.reason}",
            f"this is the golden generation {shown([last.to])}",
        )
    if rules is not None and case.failures:
        machine.notice.say(f"Boot failure count: {case.failures} / {rules.max_attempts}")
    if why:
        machine.notice.alert(f"this generation has failed {case.failures} boots, and is booted all the same: {why}")
