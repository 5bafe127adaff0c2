"""Errors, split by what the daemon does next.

Every message says what happened ("cannot push to origin: ..."). Where it is known, `meaning` says what that means for
the machine and `advice` is what a person types next. Raise without logging: the loop logs each error once.
"""

import enum


class Cause(enum.Enum):
    """Why something failed that may well work the next time."""

    network = "network"
    lock_held = "lock-held"
    remote_moved = "remote-moved"
    timeout = "timeout"
    service_gone = "service-gone"


class GitopsdError(Exception):
    """Any error that gitopsd understands.

    Args:
        message: what happened, one sentence without a full stop.
        meaning: what it means for the machine.
        advice: the next command to type.

    """

    def __init__(self, message: str, *, meaning: str = "", advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.meaning = meaning
        self.advice = advice

    def explained(self) -> str:
        """The message, its meaning and the advice, one line each, for a terminal or the journal."""
        lines = [self.message]
        if self.meaning:
            lines.append(f"  {self.meaning}")
        if self.advice:
            lines.append(f"  try: {self.advice}")
        return "\n".join(lines)


class Transient(GitopsdError):
    """It may work the next time: tried again now where the state allows it, never remembered against a revision.

    Args:
        cause: selects the retry policy.

    """

    def __init__(self, message: str, *, cause: Cause, meaning: str = "", advice: str = "") -> None:
        super().__init__(message, meaning=meaning, advice=advice)
        self.cause = cause


class Failed(GitopsdError):
    """It will fail again until something changes: not tried again in this cycle."""


class Absent(Failed):
    """The remote answers, and does not have what it was asked for."""


class Rejected(GitopsdError):
    """The revision itself is at fault: remembered, and not tried again until a new one arrives or a person retries."""


class PersonNeeded(GitopsdError):
    """It waits for a person: the machine rests in `blocked`, and takes no upgrade before somebody says `retry`."""


class Suspended(GitopsdError):
    """A person wants this host left alone: nothing was begun."""


class ConfigError(GitopsdError):
    """The configuration file has faults; all of them are listed in the message."""


class NotPermitted(GitopsdError):
    """The caller on the socket may not do this."""


class ToolMissing(Failed):
    """A program that is needed is not on the PATH."""
