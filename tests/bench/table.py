"""Figures as a table for people (Markdown, as in docs/benchmarks.md) and as JSON for programs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bench.figure import TIMES, Figure, Measure, Want, percentile

HEADER = ("figure", "value", "floor", "ratio", "wanted", "verdict")


def rows(figures: Sequence[Figure]) -> list[str]:
    """Return the table's lines, padded so that it reads well before it is rendered too."""
    cells = [HEADER, *(_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADER))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def as_json(figures: Sequence[Figure], versions: Mapping[str, str]) -> dict[str, Any]:
    """Return everything that was measured, each run of it."""
    return {
        "versions": dict(versions),
        "figures": [
            {
                "name": figure.name,
                "unit": figure.unit,
                "values": list(figure.values),
                "floor_name": figure.floor_name,
                "floor": list(figure.floor),
                "ratio": figure.ratio,
                "wanted": [_want(want, figure.unit) for want in figure.wants],
                "verdict": verdict(figure),
            }
            for figure in figures
        ],
    }


def verdict(figure: Figure) -> str:
    """Return `over` if a required limit is exceeded, `warning` if another one is, `ok`, or nothing without limits."""
    if figure.missed(required=True):
        return "over"
    if figure.missed(required=False):
        return "warning"
    return "ok" if figure.wants else ""


def _row(figure: Figure) -> tuple[str, ...]:
    floor = f"{_number(statistics.median(figure.floor))} {figure.unit}: {figure.floor_name}" if figure.floor else ""
    ratio = f"{figure.ratio:.2f} {TIMES}" if figure.ratio is not None else ""
    wanted = ", ".join(_want(want, figure.unit) for want in figure.wants)
    return (figure.name, _value(figure), floor, ratio, wanted, verdict(figure))


def _value(figure: Figure) -> str:
    shown = f"{_number(statistics.median(figure.values))} {figure.unit}"
    if len(figure.values) >= 5:
        shown += f" (p{figure.tail} {_number(percentile(figure.values, figure.tail))})"
    return shown


def _want(want: Want, unit: str) -> str:
    relative = want.measure is Measure.ratio
    limit = f"≤ {want.limit:g} {TIMES if relative else unit}"
    shown = limit if relative else f"{want.measure.value} {limit}"
    return f"{shown} ({want.remark})" if want.remark else shown


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 or value == int(value) else f"{value:.3g}"
