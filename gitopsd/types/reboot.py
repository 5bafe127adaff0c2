"""Reboots: that one is needed, one of ours, and what waits for one. Pure."""

from gitopsd.types.cycle import Facts
from gitopsd.types.values import StorePath, Value


class AtReboot(Value, frozen=True, kw_only=True):
    """A deployment that is the boot default and has never run.

    Args:
        cycle: the cycle that made it the boot default.
        facts: what that cycle had learned: where to go back to.
        why: it was not activated at once.

    """

    cycle: int
    facts: Facts
    why: str


class Rebooting(Value, frozen=True, kw_only=True):
    """A reboot of ours, recorded before it.

    Args:
        boot_id: the boot that it ended.
        toplevel: the boot default that it was for.
        at: seconds since the epoch.
        reasons: why.

    """

    boot_id: str
    toplevel: StorePath
    at: float
    reasons: tuple[str, ...]


class RebootNeed(Value, frozen=True, kw_only=True):
    """That a reboot is required.

    Args:
        reasons: such as `kernel`.
        since: seconds since the epoch.
        plan: when it comes, in a person's words; empty if nobody has decided yet.

    """

    reasons: tuple[str, ...]
    since: float
    plan: str = ""
