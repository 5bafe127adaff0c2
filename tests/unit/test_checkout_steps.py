"""What a cycle does with a person's checkout of the configuration, and what it does without it."""

from pathlib import Path

import pytest
from unit.fakes import REV_A, REV_B, FakeCheckout
from unit.world import World, shown, upgraded

from gitopsd.errors import Cause, Failed, Rejected, Transient
from gitopsd.types import CycleKind, Outcome, SyncWord


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.checkout = FakeCheckout()
    return world


async def test_an_edit_is_published_before_the_revision_is_chosen(world: World) -> None:
    assert world.checkout is not None
    world.source.remote_head = REV_A
    publish = world.checkout.publish

    async def pushes(facts: object, message: str) -> object:
        world.source.remote_head = REV_B
        return await publish(facts, message)  # type: ignore[arg-type]

    world.checkout.publish = pushes  # type: ignore[assignment,method-assign]
    summary, updates = await upgraded(world)
    assert (summary.outcome, summary.revision) == (Outcome.success, REV_B)
    assert "Config changes pushed successfully" in [update.line for update in updates]
    assert world.checkout.message.startswith("chore(malphas): auto-update 1970-01-12T")
    verbs = [verb for verb, _ in world.checkout.calls]
    assert verbs == ["fetch", "capture", "publish", "apply"]
    assert world.checkout.calls[-1] == ("apply", REV_B)
    checkout = (await shown(world)).checkout
    assert checkout is not None
    assert (checkout.user, checkout.sent) == ("rain", True)


@pytest.mark.parametrize("verb", ["fetch", "capture", "publish", "apply"])
async def test_a_checkout_that_fails_holds_nothing_up(world: World, verb: str) -> None:
    assert world.checkout is not None
    for error in (
        Failed("no", advice="look"),
        Transient("away", cause=Cause.network),
        Transient("x", cause=Cause.timeout),
    ):
        world.checkout.errors = {verb: error}
        summary, _ = await upgraded(world)
        assert summary.outcome in (Outcome.success, Outcome.up_to_date)
        checkout = (await shown(world)).checkout
        assert checkout is not None
        assert checkout.word is not SyncWord.success


async def test_a_sync_leaves_the_checkout_alone(world: World) -> None:
    assert world.checkout is not None
    await upgraded(world, kind=CycleKind.sync)
    assert world.checkout.calls == []


async def test_a_dry_run_leaves_the_checkout_alone(world: World) -> None:
    assert world.checkout is not None
    await upgraded(world, kind=CycleKind.plan)
    assert world.checkout.calls == []


async def test_a_checkout_does_not_follow_commits_that_are_not_trusted(world: World) -> None:
    assert world.checkout is not None
    world.signatures.error = Rejected("not signed")
    for _ in range(2):  # the second time it is known without asking
        await upgraded(world)
    assert "apply" not in [verb for verb, _ in world.checkout.calls]


async def test_offline_a_checkout_is_left_where_it_is(world: World) -> None:
    assert world.checkout is not None
    world.source.error = Transient("no network", cause=Cause.network)
    await upgraded(world)
    assert "apply" not in [verb for verb, _ in world.checkout.calls]
