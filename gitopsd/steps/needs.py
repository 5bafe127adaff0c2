"""A step may rely on what the steps before it have left in the facts."""

from typing import TypeVar

T = TypeVar("T")


def needed(value: T | None, what: str) -> T:
    """The value, which a step before must have left.

    Raises:
        AssertionError: it did not: a bug, reported by the loop.

    """
    if value is None:
        raise AssertionError(f"the cycle reached this step without {what}")
    return value
