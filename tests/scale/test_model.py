"""The limits that `make scale` holds the protocol to, up to 1,000 hosts; and that the model is about what is shipped."""

import configparser
from pathlib import Path

import pytest
from scale.__main__ import NOW, PROPOSED, Run, missed, row, runs, table
from scale.fleet import Edit, Fleet, Story
from scale.rules import Rules, World
from scale.stories import steady

TIMER = Path(__file__).parents[2] / "units/gitopsd-sync.timer"


def test_up_to_a_thousand_hosts_the_load_grows_no_faster_than_it_may() -> None:
    asked = list(runs((10, 100, 1_000)))
    looked_at, wrong = missed({run: run.play() for run in asked})
    assert looked_at >= 15
    assert not wrong, "\n".join(wrong)


def test_a_limit_that_does_not_hold_is_named() -> None:
    """Ten hosts' figures in the place of a hundred's, with the pushes of a herd."""
    small, large = (Run(story=steady, protocol=NOW, size=size) for size in (10, 100))
    outcome = small.play()
    herd = Run(story=steady, protocol="as it was", size=1_000).play()
    looked_at, wrong = missed({small: outcome, large: herd})
    assert looked_at
    assert any(line.startswith(f"steady, {NOW}: pushes at 100 hosts are") for line in wrong)
    assert table([row(small, outcome)])[2].startswith("| 10 ")


def test_the_model_has_the_timer_of_the_unit() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(TIMER)
    timer = unit["Timer"]
    rules = Rules()
    assert timer["OnCalendar"] == f"*:0/{rules.interval / 60:.0f}"
    assert timer["RandomizedDelaySec"] == f"{rules.delay / 60:.0f}min"
    assert "FixedRandomDelay" not in timer
    assert not rules.hand_over


def test_one_seed_is_one_story() -> None:
    run = Run(story=steady, protocol=NOW, size=100)
    assert run.play() == run.play()


@pytest.mark.parametrize("rules", [Rules(delay=5.0), Rules(delay=5.0, hand_over=1)], ids=["now", PROPOSED])
def test_whatever_the_herd_does_every_edit_is_on_the_trunk_or_parked(rules: Rules) -> None:
    """Forty hosts in five seconds, each with an own file and half of them with the same line."""
    own = [Edit(when=1000.0, host=host, path=f"f{host}", value=f"own {host}") for host in range(40)]
    shared = [Edit(when=1001.0, host=host, path="f", value=f"shared {host}") for host in range(0, 40, 2)]
    story = Story(name="herd", edits=(*own, *shared))
    fleet = Fleet(40, story, rules=rules, world=World(), seed=7)
    outcome = fleet.run()
    assert outcome.rejected > 0
    assert outcome.converged < 4 * 3600
    files = fleet.remote.trunk.files()
    assert {f"f{host}": f"own {host}" for host in range(40)} == {path: files[path] for path in files if path != "f"}
    parked = {edits["f"][0] for edits in fleet.remote.bookmarks.values()}
    assert parked | {files["f"]} == {f"shared {host}" for host in range(0, 40, 2)}
    for host in fleet.hosts:
        assert {host.holds(f"f{other}") for other in range(40)} == {f"own {other}" for other in range(40)}


def _queue(world: World) -> float:
    story = Story(name="all at once", edits=(Edit(when=1.0, host=0, path="f", value="v"),))
    return Fleet(500, story, rules=Rules(delay=1.0), world=world, seed=1).run().longest_wait


def test_a_remote_that_works_on_one_connection_at_a_time_makes_them_wait() -> None:
    assert _queue(World(workers=0)) == 0
    assert _queue(World(workers=1)) > 3 * _queue(World(workers=4)) > 0
