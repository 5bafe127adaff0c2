"""The rollback at boot: golden becomes the profile and the boot default, and the machine reboots into it.

The record is written before the world is touched, and each step is repeatable: a rollback that was cut off is finished
by the next begin.
"""

from gitopsd.boot.judge import Case
from gitopsd.boot.place import Machine, shown
from gitopsd.boot.record import FAILED, REBOOTING, Rollback
from gitopsd.events import BOOT_ROLLBACK


def fall_back(machine: Machine, case: Case, reason: str) -> bool:
    """Fall back to golden.

    Args:
        machine: this one.
        case: what was decided on.
        reason: why.

    Returns:
        Whether the machine is about to reboot. Otherwise it stays up, and what went wrong is told.

    """
    golden, left = case.golden, case.generation.toplevel
    last = Rollback(left=left, to=golden, reason=reason, boot=case.boot, at=machine.now())
    machine.notice.alert(f"rolling back to the golden generation {shown([golden])}: {reason}", event=BOOT_ROLLBACK)
    try:
        machine.record.save(last)
        machine.system.set(golden)
        problem = machine.install(golden)
    except OSError as error:
        problem = f"{error.filename or machine.record.directory}: {error.strerror}"
    last.how = FAILED if problem else REBOOTING
    if problem:
        last.reason = f"{reason}; golden could not be made the boot default: {problem}"
    try:
        machine.record.save(last)
    except OSError as error:  # the reboot would not be counted
        problem = problem or f"{machine.record.directory}: {error.strerror}"
    problem = problem or machine.reboot()
    if problem:
        machine.notice.alert(
            f"the rollback did not work: {problem}", "the machine stays up as it is; a person is needed"
        )
    return not problem
