"""What units and exit statuses say of a system."""

from collections.abc import Iterable, Sequence

from gitopsd.types import UnitHealth

# org.freedesktop.systemd1(5): a unit that reloads, or is refreshed, goes on with its work meanwhile.
_AT_WORK = ("active", "reloading", "refreshing")


def still_starting(units: Sequence[UnitHealth]) -> tuple[str, ...]:
    """Which of the units are not active, and may still get there."""
    return tuple(unit.name for unit in units if unit.active not in ("active", "failed"))


def broken(units: Sequence[UnitHealth]) -> str:
    """Which of the units cannot become active by waiting; empty if none."""
    for unit in units:
        if not unit.loaded:
            return f"{unit.name} does not exist in the new system"
        if unit.active == "failed":
            return f"{unit.name} has failed"
    return ""


def unsteady(before: Sequence[UnitHealth], now: Sequence[UnitHealth]) -> str:
    """Whether units that were active have not stayed so, the same process all the time; empty if they have.

    Args:
        before: at the start of the soak, all active.
        now: the same units, in the same order.

    """
    for then, unit in zip(before, now, strict=True):
        if unit.active not in _AT_WORK:
            return f"{unit.name} did not stay active ({unit.active}/{unit.sub})"
        if unit.restarts != then.restarts or unit.main_pid != then.main_pid:
            return f"{unit.name} restarted"
    return ""


def newly_failed(before: Iterable[str], now: Iterable[str]) -> str:
    """Units that failed since the baseline, as a sentence; empty if none."""
    new = sorted(set(now) - set(before))
    if not new:
        return ""
    return f"{', '.join(new)} failed and had not before"


def reads_switch(status: int) -> str:
    """What an exit status of switch-to-configuration means (its main.rs); empty if there is nothing wrong.

    Args:
        status: negative is the signal that ended it.

    """
    meanings = {
        0: "",
        1: "it refused before it changed anything",
        2: "the activation script failed",
        4: "it switched, but units failed",
        100: "the init interface changed: this system can only be booted into",
    }
    if status < 0:
        return f"it was ended by signal {-status}"
    return meanings.get(status, f"it ended with status {status}")
