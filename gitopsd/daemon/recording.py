"""What must be in the record before anything goes on: it waits for a full disk, and says so."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from gitopsd.daemon.board import Board
from gitopsd.daemon.notify import Notify
from gitopsd.errors import Failed
from gitopsd.ports import Clock
from gitopsd.types import Update

T = TypeVar("T")

_AGAIN = 5.0  # seconds between two attempts


class Recording:
    """Writes until it is written. A daemon that ended instead would be started again into the same full disk.

    Args:
        board: shows that it waits.
        clock: time.
        notify: systemd.

    """

    def __init__(self, board: Board, clock: Clock, notify: Notify) -> None:
        self._board = board
        self._clock = clock
        self._notify = notify
        self._log = structlog.get_logger()

    async def lasting(self, write: Callable[[], Awaitable[T]]) -> T:
        """Write, and again until the store takes it. It is logged once, and shown until then.

        Args:
            write: one transaction of the store.

        """
        told = ""
        while True:
            try:
                result = await write()
            except Failed as error:
                if error.message != told:
                    self._log.error("not recorded", message=error.explained())
                    self._tell(f"waits, since it cannot be recorded what was done: {error.message}")
                    told = error.message
                await self._clock.sleep(_AGAIN)
            else:
                if told:
                    self._log.info("recorded", message="there is room again; what waited for it goes on")
                    self._board.change(activity="")
                    self._notify.status(self._board.snapshot.state.value)
                return result

    def _tell(self, words: str) -> None:
        self._board.change(activity=words)
        self._notify.status(words)
        if (cycle := self._board.snapshot.cycle) is not None:
            now = self._clock.now()
            self._board.say(Update(cycle=cycle.id, state=cycle.state, at=now, line=words, progress=True))
