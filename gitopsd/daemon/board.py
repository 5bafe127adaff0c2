"""The board: the one snapshot that status shows, and what is told to those who follow a cycle.

Watchers get the newest snapshot, not each one: a slow client costs no memory. A cycle's lines are kept while it runs and
a little longer, so that whoever comes late hears them all.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from gitopsd import __version__
from gitopsd.machine import RESTING
from gitopsd.types import Cycle, Memory, Snapshot, Update

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


# What of the memory status shows as it is remembered.
_SHOWN = (
    "last_sync",
    "last_upgrade",
    "people",
    "deployed",
    "rejected",
    "blocked",
    "trial",
    "gone_back",
    "checkout",
    "suspended",
    "last_good",
)


def of_memory(memory: Memory) -> dict[str, Any]:
    """The fields of the snapshot that are in the memory."""
    return {name: getattr(memory, name) for name in _SHOWN}


def at_start(host: str, config_path: str, memory: Memory, unfinished: Cycle | None, now: float) -> Snapshot:
    """What a daemon shows that has just started.

    Args:
        host: the name of this host in the configuration.
        config_path: the configuration file.
        memory: from the store.
        unfinished: the cycle that was under way when the daemon ended; None if there was none.
        now: seconds since the epoch.

    """
    under_way = unfinished if unfinished is not None and unfinished.state not in RESTING else None
    return Snapshot(
        version=__version__,
        host=host,
        state=under_way.state if under_way else memory.resting,
        since=under_way.state_since if under_way else memory.since or now,
        cycle=under_way,
        config_path=config_path,
        **of_memory(memory),
    )
