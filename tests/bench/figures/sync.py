"""A sync with nothing to do, against the commands that any correct script must run for that."""

from __future__ import annotations

import json

from bench.figure import Figure, Measure, Want
from bench.place import INSIDE, Command, Place
from bench.trace import replay, traced
from e2e.scene import USER

from gitopsd.tools.process import BASE_ENV

RUNS = 40

# What a client in Python cannot do without: its arguments, and JSON over a socket.
CLIENT = "python3 -I -c 'import argparse, json, socket'"


def figures(place: Place) -> list[Figure]:
    """Measure what a person waits for, what of it is the cycle, and what of that are the cycle's commands."""
    sync = ["gitopsctl", "sync", USER]
    script = Command(argv=["sh", f"{INSIDE}/empty_sync.sh"], env=BASE_ENV)
    with traced(place) as trace:
        trace(sync)  # the first one of a process asks more: what have others parked, is everything recorded?
        started = trace(sync)
        needed = trace(script.argv)
    contenders = {
        "sync": Command(argv=sync, env={}),
        "script": script,
        "client": Command(argv=["sh", "-c", f"{CLIENT} && exec sh {INSIDE}/empty_sync.sh"], env=BASE_ENV),
        "commands": Command(argv=["sh", "-euc", replay(started)], env=BASE_ENV),
    }
    times = place.race(contenders, runs=RUNS)
    wanted = Want(measure=Measure.ratio, limit=1.15)
    remark = "the client's start has a figure of its own: gitopsctl status"
    typed = Want(measure=Measure.ratio, limit=1.15, required=False, remark=remark)
    bare, client = ("the bare commands", times["script"]), ("the same, and a client's imports", times["client"])
    rows = {
        "a sync with nothing to do": (_cycles(place), bare, (wanted,)),
        "the same, as typed": (times["sync"], client, (typed,)),
        "its commands, run by a shell": (times["commands"], bare, ()),
    }
    return [
        *(
            Figure(name=name, unit="ms", values=values, floor_name=floor_name, floor=floor, wants=wants)
            for name, (values, (floor_name, floor), wants) in rows.items()
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
