"""What the checks before a switch mean, and what a dry run says."""

from collections.abc import Sequence

from gitopsd.policy.words import first_line
from gitopsd.types import Check, Review, StorePath, Verdict


def stopping(checks: Sequence[Check]) -> tuple[Check, ...]:
    """The checks that do not let a build pass; those that are the revision's fault come first."""
    failed = [check for check in checks if check.verdict is Verdict.failed]
    return (*failed, *(check for check in checks if check.verdict is Verdict.prevented))


def explained(checks: Sequence[Check]) -> str:
    """What stopped a build: one line for each check, then what they said beside that, and what to do."""
    heads = "; ".join(f"check `{check.name}`: {first_line(check.said)}" for check in checks)
    lines = [heads]
    for check in checks:
        lines += [f"  {line}" for line in check.said.splitlines()[1:]]
    lines.append("  the system is unchanged")
    lines += [f"  try: {check.advice}" for check in checks if check.advice]
    return "\n".join(lines)


def plan(message: str, toplevel: StorePath, review: Review) -> tuple[str, ...]:
    """What an upgrade would do, as lines for a person.

    Args:
        message: which revision it is about.
        toplevel: what was built from it.
        review: what the checks found.

    """
    lines = [message, f"  toplevel: {toplevel}"]
    for label, text in (("closure", review.closure), ("activation", review.activation)):
        lines.append(f"  {label}:" if text else f"  {label}: nothing to tell")
        lines += [f"    {line}" for line in text.splitlines()]
    needed = f"only a reboot brings the new {', '.join(review.reboot)} into use" if review.reboot else "not needed"
    return (*lines, f"  reboot: {needed}", "  this was a dry run: nothing was changed")
