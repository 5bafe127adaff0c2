"""What is known of this boot and of golden, as it is shown: by the daemon, and by the command line without it."""

from gitopsd.boot.place import Machine
from gitopsd.boot.profiles import CLOCK_SET
from gitopsd.boot.record import Damaged, Generation

TYPE_CHECKING = False  # typing's own constant would import typing
if TYPE_CHECKING:
    from typing import Any


def view(machine: Machine, max_attempts: int) -> "dict[str, Any]":
    """The fields of `types.BootFacts`. Reads a few small files and mends nothing.

    Args:
        machine: this one.
        max_attempts: of the configuration.

    """
    record, booted, golden, boot = machine.record, machine.booted(), machine.golden.target(), machine.boot_id()
    record.troubles.clear()
    generation = record.generation(booted) if booted else Generation("")
    attempt = generation.attempt(boot)
    try:
        last = record.rollback()
    except Damaged:  # told in its troubles
        last = None
    troubles = list(record.troubles)
    if golden and not machine.whole(golden):
        troubles.append(f"golden is gone or not whole: {golden}; there is no rollback at boot")
    if attempt is not None and attempt.at < CLOCK_SET:
        troubles.append("the clock was not set when this boot began: its times are wrong, its counts are not")
    default, loader = machine.system.target(), machine.loader()
    if default != booted and (entry := loader.gave_up(default)):
        troubles.append(
            f"the boot loader has given up on the boot default {default}: {entry} has no tries left, so it boots an older one"
        )
    numbers = machine.system.generations()
    return {
        "toplevel": booted or None,
        "verdict": attempt.verdict if attempt is not None else "unknown",
        "reason": attempt.reason if attempt is not None else "",
        "failures": len(generation.failed(boot)),
        "max_attempts": max_attempts,
        "on_trial": not generation.blessed,
        "golden": golden or None,
        "golden_generation": max((number for number, target in numbers.items() if target == golden), default=0),
        "golden_since": machine.golden.since(),
        "rollback": None
        if last is None
        else {"left": last.left, "to": last.to, "reason": last.reason, "at": last.at, "how": last.how},
        "troubles": troubles,
        "stage": "",
        "loader": loader.counter(),
    }
