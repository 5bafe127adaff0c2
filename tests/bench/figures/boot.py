"""`boot begin`: what it adds to every boot."""

from __future__ import annotations

from bench.figure import Figure, Measure, Want
from bench.place import INSIDE, Command, Place

RUNS = 40


def figures(place: Place) -> list[Figure]:
    """Measure a boot of a generation that never failed, and one after a bad boot, which reads the configuration."""
    begin = ["python3", "-I", f"{INSIDE}/begin.py"]
    contenders = {
        "fresh": Command(argv=[*begin, "fresh"], env={}),
        "failed": Command(argv=[*begin, "failed"], env={}),
        "floor": Command(argv=["python3", "-I", "-c", "pass"], env={}),
    }
    times = place.race(contenders, runs=RUNS, user="root")
    wants = (
        Want(measure=Measure.ratio, limit=4),
        Want(measure=Measure.median, limit=150, required=False, remark="absolute times depend on the machine"),
    )
    return [
        Figure(
            name=name, unit="ms", values=times[key], floor_name="python3 -I -c pass", floor=times["floor"], wants=wants
        )
        for key, name in (("fresh", "boot begin"), ("failed", "boot begin after a bad boot"))
    ]
