"""Capturing one edited file of a big and old repository, against the commands that a person would type for that."""

from __future__ import annotations

from bench.figure import Figure, Measure, Want
from bench.place import Place

RUNS = 12
FILES = 2_000
COMMITS = 10_000


def figures(place: Place) -> list[Figure]:
    """Measure the capture, and the whole sync that publishes it."""
    times = place.inside("capture.py", {"runs": RUNS, "files": FILES, "commits": COMMITS}, timeout=300)
    size = f"{FILES} files, {COMMITS} commits"
    wanted = (Want(measure=Measure.median, limit=2000, required=False),)
    return [
        Figure(
            name=f"one edited file of {size}: {name}",
            unit="ms",
            values=times[key],
            floor_name=floor,
            floor=times[f"{key}-floor"],
            wants=wanted,
        )
        for key, name, floor in (
            ("capture", "captured", "chezmoi status, re-add, jj st"),
            ("sync", "captured, published, read back", "the same, commit, push and ls-remote"),
        )
    ]
