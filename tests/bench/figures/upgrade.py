"""An upgrade with nothing to do, against asking the remote of the configuration."""

from __future__ import annotations

from bench.figure import Figure, Measure, Want
from bench.place import Command, Place

from gitopsd.tools.process import BASE_ENV

RUNS = 10


def figures(place: Place) -> list[Figure]:
    """Measure it as root."""
    contenders = {
        "upgrade": Command(argv=["gitopsctl", "upgrade"], env={}),
        "ask": Command(argv=["git", "ls-remote", "git@forge:nix-config.git", "refs/heads/main"], env=BASE_ENV),
    }
    times = place.race(contenders, runs=RUNS, user="root")
    return [
        Figure(
            name="upgrade with nothing to do, as typed",
            unit="ms",
            values=times["upgrade"],
            floor_name="git ls-remote",
            floor=times["ask"],
            wants=(Want(measure=Measure.ratio, limit=2, required=False, remark="not yet required"),),
        )
    ]
