"""kill -9 and a power cut at each point from build to the end of verify, and in a rollback.

After each of them the machine runs the old system or the new one, verified, and never something between; what it boots
has proved itself; the daemon says what is true; and nothing is left behind. `make test` takes a sample of the points,
`make crashes` takes all of them (`CRASHES=all`).
"""

import os
from collections.abc import Iterable, Iterator

import pytest
from e2e.crash import DYING_PATH, SETTINGS, Crashes
from e2e.scene import BROKEN_SSHD, HELLO, set_up
from lab import Lab

pytestmark = pytest.mark.lab

ALL = os.environ.get("CRASHES") == "all"
STRIDE = 1 if ALL else 12  # of the points in the daemon
MOST = 200

# Inside the activation: of the new system, and in a bad case of the old one too.
SWITCHING = ("test:begin", "test:stopped", "activate", "test:activated", "test:reloaded", "test:started")
WATCHING = "before:start_transient"  # the takeover is recorded, and nobody watches yet
LOADING = ("boot:begin", "boot:entries", "boot:default")


def units(number: int, *, bad: bool, own: str = "") -> dict[str, str]:
    """Another configuration for each number; with another gitopsd each time, if its unit's text is given."""
    wanted = {"hello_service": HELLO.format(word=f"number {number}")}
    if bad:
        wanted["sshd_service"] = BROKEN_SSHD
    if own:
        own = own.replace("[Service]\n", f"[Service]\nNice={1 + number % 19}\n")
        wanted["gitopsd_service"] = own.replace("ExecStart=gitopsd", f"ExecStart={DYING_PATH}") if bad else own
    return wanted


def numbered(first: int) -> Iterator[str]:
    return (str(number) for number in range(first, MOST, STRIDE))


def sweep(lab: Lab, how: str, points: Iterable[str], *, bad: bool, own: bool = False) -> list[str]:
    """Crash at one point after the other, until one is not reached any more; returns where it died.

    Args:
        lab: the lab.
        how: what dies there.
        points: where.
        bad: each system is one that has to be rolled back; with `own`, its gitopsd does not start either.
        own: each system has another unit of gitopsd's.

    """
    scene = set_up(lab, "malphas", soak="1s", homes=False, settings=SETTINGS)
    crashes = Crashes(scene, scene.hosts["malphas"])
    unit = scene.files()["gitopsd/gitopsd.service"] if own else ""
    died = []
    for number, point in enumerate(points):
        ended = crashes.upgrade(point, how, **units(number, bad=bad, own=unit))
        if bad:
            assert ended.outcome in ("rolled-back", "interrupted"), ended.died
        if not ended.died:
            break
        died.append(ended.died)
        print(f"{how} {ended.died}: {ended.outcome}", flush=True)  # what was covered, for whoever runs it with -s
    return died


@pytest.mark.parametrize("bad", [False, True], ids=["good", "bad"])
@pytest.mark.parametrize("how", ["kill", "cut"])
def test_a_crash_of_the_daemon_at_any_of_its_doors_to_the_world(lab: Lab, how: str, *, bad: bool) -> None:
    first = 1 if ALL else 1 + 6 * ("kill", "cut").index(how) + 3 * bad  # other points in each of the four samples
    died = sweep(lab, how, numbered(first), bad=bad)
    assert len(died) >= (20 if ALL else 2)


@pytest.mark.parametrize("bad", [False, True], ids=["good", "bad"])
@pytest.mark.parametrize("how", ["kill", "both", "cut"])
def test_a_crash_while_another_gitopsd_is_deployed(lab: Lab, how: str, *, bad: bool) -> None:
    first = 1 if ALL else 3 + 4 * ("kill", "both", "cut").index(how) + 2 * bad
    points = (*numbered(first),) if ALL else (WATCHING, SWITCHING[4], *tuple(numbered(first))[:2])
    assert len(sweep(lab, how, points, bad=bad, own=True)) >= (20 if ALL else 3)


@pytest.mark.parametrize("how", ["kill", "cut"])
def test_a_crash_inside_the_build_and_the_activation_of_a_good_system(lab: Lab, how: str) -> None:
    points = ("build", *SWITCHING, *LOADING)
    some = points if ALL else points[0:8:7] if how == "kill" else points[4::4]
    assert len(sweep(lab, how, some, bad=False)) == len(some)


@pytest.mark.parametrize("how", ["kill", "cut"])
def test_a_crash_inside_the_activation_of_a_bad_system_and_of_the_way_back(lab: Lab, how: str) -> None:
    points = (*SWITCHING, *(f"{point}#2" for point in SWITCHING))
    some = points if ALL else points[2::6] if how == "kill" else points[4::6]
    assert len(sweep(lab, how, some, bad=True)) == len(some)
