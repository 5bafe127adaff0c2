"""How a step of the loop makes itself heard, is remembered and tries again."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
import structlog

from gitopsd.config import RetrySection
from gitopsd.daemon.board import Board
from gitopsd.daemon.recording import Recording
from gitopsd.daemon.retry import retrying
from gitopsd.ports import Clock, Store
from gitopsd.types import Attempt, Cycle, Facts, Update

T = TypeVar("T")


class StepReporter:
    """`ports.Reporter` of one step of one cycle.

    Args:
        cycle: as recorded before the step.
        policy: how often what is transient is tried again.
        store: takes checkpoints.
        board: shows lines, progress and attempts.
        clock: time.
        awaited: whether somebody has asked for another upgrade.
        recording: waits for a disk that is full.

    """

    def __init__(
        self,
        cycle: Cycle,
        policy: RetrySection,
        *,
        store: Store,
        board: Board,
        clock: Clock,
        awaited: Callable[[], bool],
        recording: Recording,
    ) -> None:
        self._recording = recording
        self.awaited = awaited
        self.facts = cycle.facts
        self.attempts = 1
        self._cycle = cycle
        self._policy = policy
        self._store = store
        self._board = board
        self._clock = clock

    async def checkpoint(self, facts: Facts) -> None:
        """See `ports.Reporter`."""
        cycle = msgspec.structs.replace(self._cycle, facts=facts)
        await self._recording.lasting(lambda: self._store.save_cycle(cycle))
        # Only now: what is not in the record has not been acted on, and an error before that undoes nothing.
        self.facts, self._cycle = facts, cycle

    def line(self, text: str) -> None:
        """See `ports.Reporter`."""
        self._say(text, progress=False)
        structlog.get_logger().info(text, state=self._cycle.state.value)

    def progress(self, text: str) -> None:
        """See `ports.Reporter`."""
        self._board.change(activity=f"{self._cycle.state.value}: {text}")
        self._say(text, progress=True)

    def _say(self, text: str, *, progress: bool) -> None:
        self._board.say(
            Update(cycle=self._cycle.id, state=self._cycle.state, at=self._clock.now(), line=text, progress=progress)
        )

    async def retrying(self, operation: Callable[[], Awaitable[T]]) -> T:
        """See `ports.Reporter`."""
        return await retrying(operation, self._policy, self._clock, self._attempt)

    def _attempt(self, attempt: Attempt | None) -> None:
        self._board.change(attempt=attempt)
        if attempt is not None:
            self.attempts = max(self.attempts, attempt.number)
            text = f"attempt {attempt.number} of {attempt.limit} soon: {attempt.message}"
            self.progress(text)
            # The end of the cycle may be a success, and would not tell that it took more than one attempt, or why.
            structlog.get_logger().warning(text, state=self._cycle.state.value)
