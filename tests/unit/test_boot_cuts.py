"""The power is cut before every single step of begin, verify, bless and rollback, with every kind of loss.

Afterwards the machine comes up on the golden or a better generation, the counters are true, and it never reboots more
often than it may. `SOAK_CUTS` says how many further runs with several cuts at random places there are (`make soak`).
"""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from unit.boot_world import GOLDEN, NEWER, CrashDisk, Loss, World, proved

from gitopsd.boot.judge import Rules

ATTEMPTS = 2
RUNS = int(os.environ.get("SOAK_CUTS", "0"))


def bad(world: World) -> None:
    world.deploy(NEWER, "bad")


def hangs(world: World) -> None:
    world.deploy(NEWER, "hang")


def hangs_then_bad(world: World) -> None:
    world.deploy(NEWER, "hang", "bad")


def good(world: World) -> None:
    world.deploy(NEWER, "good")


def bad_then_good(world: World) -> None:
    world.deploy(NEWER, "bad", "good")


def shut_down_then_bad(world: World) -> None:
    world.deploy(NEWER, "shut-down", "bad")


def golden_fails_too(world: World) -> None:
    world.deploy(NEWER, "bad")
    world.manners[GOLDEN] = ["bad"]


STORIES: tuple[Callable[[World], None], ...] = (
    bad,
    hangs,
    hangs_then_bad,
    good,
    bad_then_good,
    shut_down_then_bad,
    golden_fails_too,
)
MAY_STAY_ON_NEWER = {good, bad_then_good}


def steps_of(story: Callable[[World], None], directory: Path) -> int:
    """How many steps a story has when nothing is cut."""
    world = proved(directory, Rules(max_attempts=ATTEMPTS))
    story(world)
    disk = CrashDisk()
    world.settle(disk)
    return disk.done


def check(story: Callable[[World], None], world: World, cuts: int) -> None:
    """What must hold once the machine stays up."""
    came_up = world.booted
    assert came_up == GOLDEN or (story in MAY_STAY_ON_NEWER and came_up == NEWER), world.history
    assert world.default == world.at().system.target() == came_up
    assert world.at().golden.target() == came_up
    # No record was ever damaged: what was not synced was never relied on.
    assert world.troubles == []
    # Reboots that we asked for; each cut may have come after a reboot was due and before it was done.
    assert world.own_reboots <= ATTEMPTS
    on_newer = [ended for toplevel, ended in world.history if toplevel == NEWER]
    assert len(on_newer) <= ATTEMPTS + 2 + cuts + on_newer.count("shut-down"), world.history
    true_counters(world)


def true_counters(world: World) -> None:
    """Every boot that ended badly is counted once; of one that was cut, it depends on when."""
    for toplevel in (NEWER, GOLDEN):
        ends = [ended for booted, ended in world.history if booted == toplevel]
        if toplevel in world.manners and world.manners[toplevel][-1] == "good" and "up" in ends:
            assert world.failures(toplevel) == 0, world.history
            continue
        counted = world.failures(toplevel)
        ended_badly = ("hung", "rebooted", "up") if world.manners[toplevel][-1] == "bad" else ("hung", "rebooted")
        bad_ones = sum(ended in ended_badly for ended in ends)
        assert bad_ones <= counted <= bad_ones + ends.count("cut"), (toplevel, counted, world.history)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_power_cut_at_any_step_leaves_the_old_or_the_new_fact(story: Callable[[World], None], tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    steps = steps_of(story, tmp_path / "whole")
    assert steps > 10
    tried = 0
    for at in range(1, steps + 1):
        # In a soak all of them; else two of the five at each step, another two at the next one.
        for loss in list(Loss) if RUNS else (list(Loss) * 2)[at % 5 : at % 5 + 2]:
            directory = tmp_path / f"{at}-{loss.value}"
            directory.mkdir()
            world = proved(directory, Rules(max_attempts=ATTEMPTS))
            story(world)
            world.settle(CrashDisk(at, loss))
            try:
                check(story, world, cuts=1)
            except AssertionError as error:
                raise AssertionError(f"cut before step {at} of {steps}, losing {loss.value}: {error}") from error
            tried += 1
    assert tried >= 2 * 10


@pytest.mark.parametrize("seed", range(1, 1 + (RUNS or 40)))
def test_several_power_cuts_at_random_places(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    story = chance.choice(STORIES)
    world = proved(tmp_path, Rules(max_attempts=ATTEMPTS))
    story(world)
    cuts = chance.randint(1, 4)
    for _ in range(cuts):
        disk = CrashDisk(chance.randint(1, 25), chance.choice(list(Loss)), chance)
        while world.boot(disk) not in ("up", "cut"):
            pass
    world.settle()
    check(story, world, cuts)
