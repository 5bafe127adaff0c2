"""What the socket asks of the daemon."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from gitopsd.ports.dotfiles import Choices
from gitopsd.ports.system import Golden
from gitopsd.types import CycleDetail, CycleKind, CycleSummary, Snapshot, Suspension, Update


class Supervisor(Protocol):
    """What the socket may ask of the daemon."""

    def snapshot(self) -> Snapshot:
        """What status shows now. Never waits."""

    def recorded(self) -> Snapshot:
        """The same as it was recorded last; nothing of the system is read for it."""

    def changes(self) -> AsyncIterator[Snapshot]:
        """The snapshot now, and again after each change."""

    async def request(
        self, kind: CycleKind, *, requested_by: str, users: Sequence[str] = (), accept_diverged: bool = False
    ) -> int:
        """Ask for a cycle; requests that come while one runs are merged into one pending cycle.

        Returns:
            The id of the cycle that will satisfy the request.

        Raises:
            PersonNeeded: the machine is blocked and the kind is upgrade.
            Suspended: this host is suspended, and the kind is upgrade or a timer asks.
            Failed: there are no such dotfiles here.

        """

    def follow(self, cycle: int) -> AsyncIterator[Update]:
        """Updates of a pending, running or finished cycle, up to the one with the outcome."""

    def choices(self, user: str) -> Choices:
        """What a person may decide about their dotfiles.

        Raises:
            Failed: there are no such dotfiles here.

        """

    async def roll_back(self, target: str, *, requested_by: str) -> int:
        """Go back to another generation, verified as an upgrade is; what is left is rejected. Returns the cycle's id.

        Args:
            target: `previous`, `golden`, or the number of a generation.
            requested_by: a word for humans.

        Raises:
            Failed: there is no such generation, it runs already, or a cycle is under way.

        """

    async def suspend(self, seconds: float, *, reason: str, requested_by: str) -> Suspension:
        """Have this host left alone: no upgrade begins, and no timer's sync. What is under way goes on to its end.

        Args:
            seconds: for how long; 0 is until `resume`.
            reason: the person's own words.
            requested_by: who.

        """

    async def resume(self) -> bool:
        """End a suspension; returns whether there was one."""

    def golden(self) -> Golden:
        """The golden generation, and the assessment of boots."""

    async def retry(self, *, requested_by: str) -> int:
        """Forget rejections and the blocked state, and ask for an upgrade; returns its cycle id."""

    async def history(self, limit: int, before: int | None = None) -> tuple[CycleSummary, ...]:
        """Finished cycles, newest first."""

    async def detail(self, cycle: int) -> CycleDetail | None:
        """One finished cycle with its steps."""
