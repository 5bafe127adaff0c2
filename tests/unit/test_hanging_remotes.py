"""A remote that hangs holds up nobody else, and is as good as none."""

import asyncio
from pathlib import Path

import pytest
from unit.fakes import FakeDotfiles
from unit.world import World, upgraded

from gitopsd.errors import Cause, Transient
from gitopsd.types import CycleKind, Outcome, PersonFacts, SyncWord


class Hanging(FakeDotfiles):
    """Somebody whose remote never answers."""

    async def fetch(self, facts: PersonFacts) -> PersonFacts:
        self.calls.append("fetch")
        await asyncio.sleep(3600)
        return facts


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_everybody_elses_remote_is_asked_meanwhile(world: World) -> None:
    asked = asyncio.Event()

    class Waits(FakeDotfiles):
        async def fetch(self, facts: PersonFacts) -> PersonFacts:
            await asked.wait()
            return facts

    class Asked(FakeDotfiles):
        async def fetch(self, facts: PersonFacts) -> PersonFacts:
            asked.set()
            return facts

    world.people = [Waits("olga"), Asked("rain")]
    daemon = await world.start()
    async with asyncio.timeout(10):
        outcome, _ = await daemon.end_of(await daemon.ask(CycleKind.sync))
    assert outcome is Outcome.success
    assert [person.user for person in daemon.loop.snapshot().people] == ["olga", "rain"]
    await daemon.stop()


async def test_a_mirror_that_is_locked_is_told_and_keeps_nobodys_dotfiles_from_going_on(world: World) -> None:
    world.source.error = Transient("config.git is locked", cause=Cause.lock_held)
    summary, _ = await upgraded(world)
    assert (summary.outcome, "config.git is locked" in summary.message) == (Outcome.failed, True)
    assert world.people[0].calls == ["fetch", "capture", "publish", "apply"]
    world.source.error = None
    assert (await upgraded(world))[0].outcome is Outcome.success


async def test_whose_remote_hung_until_the_step_was_ended_is_offline_and_is_not_waited_for_again(world: World) -> None:
    hanging = Hanging("olga")
    world.people, world.limits = [hanging], 0.2
    daemon = await world.start()
    outcome, _ = await daemon.end_of(await daemon.ask(CycleKind.sync))
    (olga,) = (await daemon.store.memory()).people
    assert (outcome, olga.word, olga.offline) == (Outcome.offline, SyncWord.fetch_failed, True)
    assert "capture" in hanging.calls  # what was edited is taken in all the same
    await daemon.stop()
