"""From a push of a configuration until it is verified, against doing the same by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from bench.figure import Figure, Measure, Want
from bench.place import HOST, INSIDE, Command, Place
from e2e.scene import HELLO, HOMES
from lab.nixos import HostSpec

from gitopsd.config import VerifyConfig
from gitopsd.tools.process import BASE_ENV

RUNS = 5
WARM_UP = 1
SOAK = VerifyConfig().soak
"""Seconds that a system is watched: as long as gitopsd does where nobody says otherwise."""

CLONE = "/root/by-hand.git"
GITOPSD, BY_HAND = "gitopsd", "by hand"


def figures(place: Place) -> list[Figure]:
    """Push, then deploy, in turn with gitopsd and by hand. Each push is another system that nobody has built yet."""
    contenders = {
        GITOPSD: Command(argv=["gitopsctl", "upgrade"], env={}),
        BY_HAND: Command(argv=["sh", f"{INSIDE}/deploy.sh", HOST, f"{SOAK:g}", CLONE], env=BASE_ENV),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    numbers = count(1)
    with soaking(place):
        for turn in range(WARM_UP + RUNS):
            for name in sorted(contenders, reverse=bool(turn % 2)):
                _push(place, next(numbers))
                taken = place.race({name: contenders[name]}, runs=1, warm_up=0, user="root")[name][0] / 1000
                if turn >= WARM_UP:
                    times[name].append(taken)
    wanted = Want(measure=Measure.ratio, limit=1.05)
    floor = f"fetch, build, switch, {SOAK:g} s of soak"
    rows = {
        "from push to verified": (0.0, floor, (wanted,)),
        "the same without the soak": (SOAK, "fetch, build, switch", ()),
    }
    return [
        Figure(
            name=name,
            unit="s",
            values=[taken - off for taken in times[GITOPSD]],
            floor_name=floor,
            floor=[taken - off for taken in times[BY_HAND]],
            wants=wants,
        )
        for name, (off, floor, wants) in rows.items()
    ]


@contextmanager
def soaking(place: Place) -> Iterator[None]:
    """A host that keeps nobody's dotfiles, and soaks as long as is usual, while this lasts."""
    spec = place.scene.specs[HOST]
    text = spec.gitopsd_config or ""
    assert HOMES in text
    assert 'soak = "2s"' in text
    usual = text.replace(HOMES, "").replace('soak = "2s"', f'soak = "{SOAK:g}s"')
    try:
        _become(place, HostSpec(gitopsd_config=usual))
        yield
    finally:
        _become(place, spec)


def _become(place: Place, spec: HostSpec) -> None:
    place.scene.specs[HOST] = spec
    _push(place, 0)
    place.host.run(["gitopsctl", "upgrade"], timeout=120)
    place.host.run(["systemctl", "reload", "gitopsd.service"])


def _push(place: Place, number: int) -> None:
    place.scene.push_config(f"number {number}", hello_service=HELLO.format(word=f"number {number}"))
