"""A disk that is full: who asks is told, nothing begins that is not in the record, and nothing that runs is dropped."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.fakes import cycle
from unit.world import Daemon, World, upgraded

from gitopsd.daemon.requests import Requests
from gitopsd.errors import Failed
from gitopsd.machine import State
from gitopsd.types import CycleKind, Outcome


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def full(daemon: Daemon, verb: str, times: int) -> Callable[[], int]:
    """A verb of the store fails so often; returns how often it still will."""
    real, left = getattr(daemon.store, verb), times

    async def write(*arguments: Any, **more: Any) -> Any:
        nonlocal left
        if left:
            left -= 1
            raise Failed("cannot use the state file: database or disk is full")
        return await real(*arguments, **more)

    setattr(daemon.store, verb, write)
    return lambda: left


@pytest.mark.parametrize("kind", list(CycleKind))
async def test_a_request_that_cannot_be_recorded_is_refused_and_never_begins(world: World, kind: CycleKind) -> None:
    daemon = await world.start()
    full(daemon, "save_pending", 1)
    with pytest.raises(Failed, match="database or disk is full"):
        await daemon.ask(kind)
    for _ in range(20):
        await asyncio.sleep(0)
    assert (daemon.loop.snapshot().cycle, daemon.loop.snapshot().waiting) == (None, ())
    assert world.people[0].calls == []
    number = await daemon.ask()
    assert (await daemon.end_of(number))[0] is Outcome.success
    assert [cycle.id for cycle in await daemon.store.history(10)] == [number]
    await daemon.stop()


async def test_a_retry_that_cannot_be_recorded_is_refused_and_forgives_nothing_it_did_not_say(world: World) -> None:
    await upgraded(world)
    daemon = await world.start()
    full(daemon, "forgive", 1)
    with pytest.raises(Failed, match="disk is full"):
        await daemon.loop.retry(requested_by="olga")
    assert daemon.loop.snapshot().waiting == ()
    await daemon.stop()


async def test_what_it_would_have_been_merged_into_waits_on_as_it_was(world: World) -> None:
    world.clock.sleep = lambda _: asyncio.sleep(0)  # type: ignore[method-assign,assignment]
    daemon = await world.start()
    first = await daemon.ask(CycleKind.sync)
    while daemon.loop.snapshot().cycle is None:
        await asyncio.sleep(0)
    waits = await daemon.ask(CycleKind.sync)
    full(daemon, "save_pending", 1)
    with pytest.raises(Failed):
        await daemon.ask(CycleKind.upgrade)
    assert (await daemon.end_of(first))[0] is Outcome.success
    assert (await daemon.end_of(waits))[0] is Outcome.success
    assert (await daemon.store.history(1))[0].kind is CycleKind.sync
    assert world.builder.built == []
    await daemon.stop()


@pytest.mark.parametrize("verb", ["save_cycle", "advance", "finish_cycle"])
async def test_what_is_under_way_waits_for_room_and_goes_on(world: World, verb: str) -> None:
    daemon = await world.start()
    full(daemon, verb, 3)
    outcome, updates = await daemon.end_of(await daemon.ask())
    assert outcome is Outcome.success
    if verb != "save_cycle":
        assert any("cannot be recorded" in update.line for update in updates)
    assert world.activator.order == ["test new", "profile new", "boot new"]
    assert daemon.loop.snapshot().activity == ""
    await daemon.stop()


async def test_a_daemon_that_is_stopped_does_not_wait_for_room_and_the_next_one_goes_on(world: World) -> None:
    daemon = await world.start()
    left = full(daemon, "advance", 10**9)
    world.clock.sleep = asyncio.sleep  # type: ignore[method-assign,assignment]
    await daemon.ask()
    while left() == 10**9:
        await asyncio.sleep(0)
    async with asyncio.timeout(2):
        await daemon.stop()
    daemon = await world.start()
    await daemon.rests()
    assert (await daemon.store.history(1))[0].outcome in (Outcome.success, Outcome.cancelled)
    await daemon.stop()


async def test_a_disk_that_is_full_before_the_switch_is_not_held_against_the_revision(world: World) -> None:
    daemon = await world.start()
    number = await daemon.ask()
    while daemon.loop.snapshot().state is not State.switch:
        await asyncio.sleep(0)
    full(daemon, "save_cycle", 3)
    assert (await daemon.end_of(number))[0] is Outcome.success
    assert daemon.loop.snapshot().rejected == ()
    await daemon.stop()


def test_one_that_is_not_recorded_can_be_joined_and_does_not_begin() -> None:

    requests, one, merged = Requests(), cycle(), cycle(kind=CycleKind.sync)
    assert requests.put(one) is None
    assert (requests.ready, requests.joined(CycleKind.sync)) == (False, one)
    assert requests.put(merged) is one
    requests.withdraw(one, None)  # the second one's record decides now
    assert requests.ids == (1,)
    requests.withdraw(merged, one)
    assert (bool(requests), requests.ready) == (False, False)
    requests.recorded(1)
    assert not requests.ready
