"""A bounded queue between something that happens in the daemon and a client that reads about it.

What happens must never wait for a client, and the source of a stream must be closed when its client goes away, also
when that client is in the middle of a reply. So a task of its own drains the source.
"""

import asyncio
import collections
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class FellBehind(Exception):
    """The reader did not catch up in time."""


class Feed(Generic[T]):
    """Iterate over a source that a task of its own drains.

    Args:
        source: an asynchronous iterator; closed, if it can be, once the feed is.
        limit: how many items may wait.
        replaces: whether a new item makes the last waiting one superfluous: (waiting, new).
        patience: seconds that a reader who is `limit` items behind gets to catch up by half.
        on_behind: called when the reader did not; it may be stuck in a send and never come back to ask.

    """

    def __init__(
        self,
        source: AsyncIterator[T],
        *,
        limit: int,
        replaces: Callable[[T, T], bool],
        patience: float,
        on_behind: Callable[[], None],
    ) -> None:
        self._source = source
        self._limit = limit
        self._replaces = replaces
        self._patience = patience
        self._on_behind = on_behind
        self._waiting: collections.deque[T] = collections.deque()
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._failure: Exception | None = None
        self._task = asyncio.create_task(self._drain())

    def __aiter__(self) -> "Feed[T]":
        return self

    async def __anext__(self) -> T:
        while not self._waiting:
            if self._failure is not None:
                raise self._failure
            if self._task.done():
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        self._taken.set()
        return self._waiting.popleft()

    async def aclose(self) -> None:
        """Stop draining; returns once the source is closed."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _drain(self) -> None:
        try:
            async for item in self._source:
                await self._put(item)
        except FellBehind as error:
            self._failure = error
            self._on_behind()
        except Exception as error:  # noqa: BLE001 - raised again where the reader waits
            self._failure = error
        finally:
            # The reader sees `done()` only after this task has ended: wake it from there.
            self._task.add_done_callback(lambda _: self._arrived.set())
            close = getattr(self._source, "aclose", None)
            if close is not None:
                await close()

    async def _put(self, item: T) -> None:
        if self._waiting and self._replaces(self._waiting[-1], item):
            self._waiting[-1] = item
            return
        if len(self._waiting) >= self._limit:
            await self._wait_for_reader()
        self._waiting.append(item)
        self._arrived.set()

    async def _wait_for_reader(self) -> None:
        try:
            async with asyncio.timeout(self._patience):
                while len(self._waiting) > self._limit // 2:
                    self._taken.clear()
                    await self._taken.wait()
        except TimeoutError:
            raise FellBehind(f"{len(self._waiting)} messages behind for {self._patience:g} s") from None
