"""The board: the one snapshot that status shows, and what is told to those who follow a cycle.

Watchers get the newest snapshot, not each one: a slow client costs no memory. A cycle's lines are kept while it runs and
a little longer, so that whoever comes late hears them all.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from gitopsd.types import Snapshot, Update

_KEPT_CYCLES = 8
_KEPT_LINES = 2000  # of one cycle


class Board:
    """Holds the snapshot and the updates.

    Args:
        snapshot: what is known at the start.

    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._changed = asyncio.Event()
        self._updates: OrderedDict[int, list[Update]] = OrderedDict()

    @property
    def snapshot(self) -> Snapshot:
        """What status shows now."""
        return self._snapshot

    def change(self, **changes: Any) -> None:
        """Replace fields of the snapshot and wake the watchers."""
        self._snapshot = msgspec.structs.replace(self._snapshot, **changes)
        self._wake()

    def say(self, update: Update) -> None:
        """Tell the followers of a cycle. A progress line replaces the one before it."""
        lines = self._updates[update.cycle]
        if lines and lines[-1].progress and update.progress:
            lines[-1] = update
        elif len(lines) < _KEPT_LINES or update.outcome is not None:
            lines.append(update)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def changes(self) -> AsyncIterator[Snapshot]:
        """The snapshot now, and the newest one after each change."""
        while True:
            changed = self._changed
            yield self._snapshot
            await changed.wait()

    def expect(self, cycle: int) -> None:
        """A cycle was asked for, or is found under way at the start: it can be followed from now on."""
        self._updates.setdefault(cycle, [])
        while len(self._updates) > _KEPT_CYCLES:
            self._updates.popitem(last=False)

    def knows(self, cycle: int) -> bool:
        """Whether updates of this cycle are kept, or will come."""
        return cycle in self._updates

    async def follow(self, cycle: int) -> AsyncIterator[Update]:
        """The updates of a cycle up to the one with its outcome."""
        told = 0
        last: Update | None = None
        while self.knows(cycle):
            changed = self._changed
            lines = self._updates.get(cycle, [])
            if lines and told == len(lines) and lines[-1] is not last:
                told -= 1  # a progress line was replaced
            while told < len(lines):
                last = lines[told]
                told += 1
                yield last
                if last.outcome is not None:
                    return
            if told == len(self._updates.get(cycle, [])):
                await changed.wait()
