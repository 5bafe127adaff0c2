"""A feed drains its source at the source's pace and closes it."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from unit.test_control_fakes import eventually

from gitopsd.control.feed import Feed, FellBehind


class Source:
    """Counts, and notes what was taken and that it was closed."""

    def __init__(self, end: int, error: Exception | None = None) -> None:
        self.end, self.error = end, error
        self.taken, self.closed = 0, False

    async def items(self) -> AsyncIterator[int]:
        try:
            for number in range(self.end):
                self.taken += 1
                yield number
            if self.error is not None:
                raise self.error
            await asyncio.Event().wait()
        finally:
            self.closed = True


def feed(
    items: AsyncIterator[int],
    *,
    limit: int = 4,
    newest: bool = False,
    patience: float = 5.0,
    on_behind: Callable[[], None] = lambda: None,
) -> Feed[int]:
    return Feed(items, limit=limit, replaces=lambda *_: newest, patience=patience, on_behind=on_behind)


async def test_items_come_in_order_and_none_is_lost_on_a_reader_who_keeps_up() -> None:
    source = Source(100)
    numbers = feed(source.items())
    assert [await anext(numbers) for _ in range(100)] == list(range(100))
    await numbers.aclose()
    assert source.closed


async def test_it_ends_with_its_source() -> None:
    async def three() -> AsyncIterator[int]:
        for number in range(3):
            yield number

    numbers = feed(three(), limit=10)
    assert [number async for number in numbers] == [0, 1, 2]


async def test_an_error_of_the_source_comes_after_its_items() -> None:
    numbers = feed(Source(2, ValueError("broken")).items(), limit=10)
    assert [await anext(numbers), await anext(numbers)] == [0, 1]
    with pytest.raises(ValueError, match="broken"):
        await anext(numbers)


async def test_the_newest_item_replaces_those_that_wait() -> None:
    source = Source(1000)
    numbers = feed(source.items(), limit=1, newest=True)
    await eventually(lambda: source.taken == 1000)
    assert await anext(numbers) == 999
    await numbers.aclose()


async def test_a_reader_who_does_not_catch_up_is_reported_and_the_source_closed() -> None:
    source, behind = Source(1000), asyncio.Event()
    numbers = feed(source.items(), patience=0.02, on_behind=behind.set)
    async with asyncio.timeout(2):
        await behind.wait()
    await eventually(lambda: source.closed)
    assert source.taken == 5
    assert [await anext(numbers) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(FellBehind):
        await anext(numbers)


async def test_closing_is_possible_at_any_moment() -> None:
    source = Source(1)
    numbers = feed(source.items())
    await numbers.aclose()  # before it began
    assert source.taken == 0
    later = feed(source.items())
    await anext(later)
    await later.aclose()
    await later.aclose()
    assert source.closed
