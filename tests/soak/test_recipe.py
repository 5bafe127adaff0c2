"""The checks must be able to fail: the recipe that people use violates them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test
from soak.acts import Act, story
from soak.invariants import Violated
from soak.recipe import Recipe
from soak.rules import FleetMachine
from soak.site import Site
from soak.test_fleet import SETTINGS

from gitopsd.ports import Dotfiles

LAST_LINE, FIRST_LINE = 8, 0
TWO_LINES_OF_ONE_FILE = [
    Act("edit", host=0, how="replace", line=FIRST_LINE),
    Act("edit", host=1, how="replace", line=LAST_LINE),
    Act("sync", host=0),
    Act("sync", host=1),
]
ONE_LINE_AND_ANOTHER_FILE = [
    Act("edit on two hosts", host=0, other=1, how="replace", line=FIRST_LINE),
    Act("edit", host=1, pick=2, how="append"),
    Act("sync", host=0),
    Act("sync", host=1),
]


class RecipeMachine(FleetMachine):
    @staticmethod
    def make(site: Site) -> Dotfiles:
        return Recipe(site)


@pytest.fixture
def recipes(copy: Path) -> Iterator[None]:
    RecipeMachine.copy = copy
    yield
    RecipeMachine.failed = None


def test_the_recipe_reverts_what_another_host_wrote(copy: Path) -> None:
    assert story(copy, 2, TWO_LINES_OF_ONE_FILE) is None
    found = story(copy, 2, TWO_LINES_OF_ONE_FILE, Recipe)
    assert found is not None
    assert found.invariant == "2 no revert", found


def test_the_recipe_stops_at_a_conflict(copy: Path) -> None:
    assert story(copy, 2, ONE_LINE_AND_ANOTHER_FILE) is None
    assert story(copy, 2, ONE_LINE_AND_ANOTHER_FILE, Recipe) is not None


def test_random_worlds_find_the_recipe_out(recipes: None) -> None:
    with pytest.raises(Violated):
        run_state_machine_as_test(seed(1)(RecipeMachine), settings=settings(SETTINGS, max_examples=20))
