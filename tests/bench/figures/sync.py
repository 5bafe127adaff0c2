"""A sync with nothing to do, against the commands that any correct script must run for that."""

from __future__ import annotations

import json

from bench.figure import Figure, Measure, Want
from bench.place import INSIDE, Command, Place
from bench.trace import replay, traced
from e2e.scene import USER

from gitopsd.tools.process import BASE_ENV

RUNS = 40


def figures(place: Place) -> list[Figure]:
    """Measure what a person waits for, what of it is the cycle, and what of that are the cycle's commands."""
    sync = ["gitopsctl", "sync", USER]
    script = Command(argv=["sh", f"{INSIDE}/empty_sync.sh"], env=BASE_ENV)
    with traced(place) as trace:
        started = trace(sync)
        needed = trace(script.argv)
    contenders = {
        "sync": Command(argv=sync, env={}),
        "script": script,
        "commands": Command(argv=["sh", "-euc", replay(started)], env=BASE_ENV),
    }
    times = place.race(contenders, runs=RUNS)
    wanted = (Want(measure=Measure.ratio, limit=1.15),)
    rows = {
        "sync with nothing to do, as typed": (times["sync"], wanted),
        "the cycle of it": (_cycles(place), wanted),
        "the cycle's commands, run by a shell": (times["commands"], ()),
    }
    return [
        *(
            Figure(
                name=name,
                unit="ms",
                values=values,
                floor_name="the bare commands",
                floor=times["script"],
                wants=wants,
            )
            for name, (values, wants) in rows.items()
        ),
        Figure(
            name="how many commands it starts",
            unit="commands",
            values=[len(started)],
            floor_name="the bare ones",
            floor=[len(needed)],
        ),
    ]


def _cycles(place: Place) -> list[float]:
    """How long the cycles of the race took, from the request to the record of the end, as `gitopsctl show` has it."""
    history = json.loads(place.host.run(["gitopsctl", "history", "--json", "-n", str(RUNS)]).stdout)
    return [(cycle["ended"] - cycle["started"]) * 1000 for cycle in history]
