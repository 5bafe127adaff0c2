"""What is remembered, measured and told."""

from collections.abc import Sequence
from typing import Any, Protocol

from gitopsd.types import (
    Announcement,
    BootConclusion,
    Cycle,
    CycleDetail,
    CycleEnd,
    CycleSummary,
    Memory,
    Rebooting,
    RebootNeed,
    Rejection,
    Revision,
    StepRecord,
    StorePath,
    Suspension,
)


class Store(Protocol):
    """The durable record."""

    async def next_cycle_id(self) -> int:
        """A fresh cycle id, never given twice, also across crashes."""

    async def save_cycle(self, cycle: Cycle) -> None:
        """Record the cycle under way; durable on return."""

    async def advance(self, cycle: Cycle, step: StepRecord, rejection: Rejection | None) -> None:
        """Record a finished step, what it rejects, and the cycle in its next state, in one transaction."""

    async def finish_cycle(self, end: CycleEnd, channels: Sequence[str] = ()) -> None:
        """Move the cycle under way to the history with all that its end means, in one transaction.

        Args:
            end: the cycle's end.
            channels: who is to be told its announcements.

        """

    async def unfinished_cycle(self) -> Cycle | None:
        """The cycle that was under way when the daemon ended."""

    async def history(self, limit: int, before: int | None = None) -> tuple[CycleSummary, ...]:
        """Finished cycles, newest first, with ids below `before`."""

    async def detail(self, cycle: int) -> CycleDetail | None:
        """One finished cycle; None if there is none with this id."""

    async def keep_copy(self) -> None:
        """Keep the record as it is now, for a version that comes back after a newer one (`store_file.restore_state`)."""

    async def save_pending(self, cycle: Cycle) -> None:
        """Record a cycle that was asked for; `save_cycle` of the same id takes it over."""

    async def suspend(self, suspension: Suspension | None) -> None:
        """Record that this host is suspended, or that it is not any more."""

    async def note_reboot(self, need: RebootNeed | None, rebooting: Rebooting | None = None) -> None:
        """Record that a reboot is required or is not any more, and that one of ours comes now."""

    async def forget_at_reboot(self) -> None:
        """Record that no deployment waits for the next boot any more."""

    async def revision_of(self, toplevel: StorePath) -> Revision | None:
        """The revision that a cycle of the history has built this toplevel from; None if none has."""

    async def forgive(self) -> int:
        """Forget all rejections, the blocked state, and that a trial ended; returns how many rejections there were."""

    async def conclude_boot(self, conclusion: BootConclusion) -> None:
        """Remember what the assessment of boots means, in one transaction. Repeatable."""

    async def note_order(self, *, stopped: bool) -> None:
        """Record that the daemon stops in order, or that it runs again; of a trial it is told how that ended."""

    async def memory(self) -> Memory:
        """What is remembered beside the cycles."""

    async def announce(self, announcement: Announcement, channels: Sequence[str], occasion: str = "") -> None:
        """Put an announcement into the outbox, once for each channel, unless this occasion of the event was told.

        Args:
            announcement: what to tell.
            channels: who is to be told.
            occasion: tells one occurrence from the next; empty is always another one.

        """

    async def outbox(self, channel: str) -> tuple[int, Announcement] | None:
        """The oldest announcement that a channel has not taken yet, with its number."""

    async def delivered(self, number: int) -> None:
        """Take an announcement out of the outbox."""


class Meter(Protocol):
    """What counts and measures."""

    def stepped(self, step: StepRecord) -> None:
        """A step has ended and is recorded."""

    def finished(self, summary: CycleSummary) -> None:
        """A cycle has ended and is recorded."""


class Herald(Protocol):
    """What brings announcements to the receivers of `[notify]`. Nothing here waits for them."""

    @property
    def channels(self) -> tuple[str, ...]:
        """The receivers' names."""

    def wants(self, event: str) -> bool:
        """Whether anybody is to be told of it."""

    def tell(self, event: str, message: str, *, occasion: str = "", **more: Any) -> None:
        """Announce an event that is no cycle's end; see `Store.announce` for `occasion`."""

    def wake(self) -> None:
        """Something was put into the outbox."""
