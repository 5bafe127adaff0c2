"""What every step runs with."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from gitopsd.types import Facts

T = TypeVar("T")


class Clock(Protocol):
    """Time and the identity of this boot."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds of a clock that never jumps."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    def boot_id(self) -> str:
        """`/proc/sys/kernel/random/boot_id`."""


class Reporter(Protocol):
    """How a step makes itself heard and remembered while it runs."""

    async def checkpoint(self, facts: Facts) -> None:
        """Write `facts` to the store now; returns once they are durable."""

    def line(self, text: str) -> None:
        """Tell followers and the journal one line for humans."""

    def progress(self, text: str) -> None:
        """Replace the progress line that status and followers show."""

    def awaited(self) -> bool:
        """Whether somebody has asked for another upgrade meanwhile."""

    async def retrying(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Run `operation`, and run it again on `Transient` as the retry policy of this state says.

        Raises:
            Transient: the last attempt failed too.

        """
