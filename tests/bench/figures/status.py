"""`gitopsctl status`: as typed, and over a connection that is open already."""

from __future__ import annotations

from bench.figure import Figure, Measure, Want
from bench.place import Command, Place

RUNS = 50
CALLS = 1000


def figures(place: Place) -> list[Figure]:
    """Measure both."""
    return [as_typed(place), over_open_socket(place)]


def as_typed(place: Place) -> Figure:
    """Against an interpreter that does nothing."""
    contenders = {
        "status": Command(argv=["gitopsctl", "status"], env={}),
        "floor": Command(argv=["python3", "-I", "-c", "pass"], env={}),
    }
    times = place.race(contenders, runs=RUNS)
    return Figure(
        name="gitopsctl status",
        unit="ms",
        values=times["status"],
        floor_name="python3 -I -c pass",
        floor=times["floor"],
        wants=(Want(measure=Measure.ratio, limit=4),),
    )


def over_open_socket(place: Place) -> Figure:
    """Against an asyncio server that answers as many bytes."""
    question = {"socket": "/run/gitopsd/io.gitopsd", "method": "io.gitopsd.Status.Get", "calls": CALLS}
    times = place.inside("calls.py", question)
    return Figure(
        name="status over an open socket",
        unit="ms",
        values=times["daemon"],
        floor_name=f"asyncio echo of {times['bytes']} bytes",
        floor=times["echo"],
        tail=99,
        wants=(
            Want(measure=Measure.median, limit=1, required=False),
            Want(measure=Measure.p99, limit=5, required=False),
        ),
    )
