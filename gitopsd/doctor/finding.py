"""What a check has found."""

import enum

import msgspec


class Verdict(enum.Enum):
    """How it is."""

    ok = "ok"
    warning = "warning"  # it works, and a person should know
    fault = "fault"  # it does not work
    unknown = "unknown"  # it could not be found out


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the examination.

    Args:
        check: what was looked at, in a word or two.
        verdict: how it is.
        what: one sentence.
        fix: what to type or to write; empty if nothing is to be done.

    """

    check: str
    verdict: Verdict
    what: str
    fix: str = ""


def ok(check: str, what: str) -> Finding:
    """It is as it should be."""
    return Finding(check=check, verdict=Verdict.ok, what=what)


def warning(check: str, what: str, fix: str) -> Finding:
    """It works, and a person should know."""
    return Finding(check=check, verdict=Verdict.warning, what=what, fix=fix)


def fault(check: str, what: str, fix: str) -> Finding:
    """It does not work."""
    return Finding(check=check, verdict=Verdict.fault, what=what, fix=fix)


def unknown(check: str, what: str, fix: str = "sudo gitopsctl doctor") -> Finding:
    """It could not be found out."""
    return Finding(check=check, verdict=Verdict.unknown, what=what, fix=fix)
