"""A figure: what was measured, the floor beside it, and what is wanted of it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

TIMES = "×"  # noqa: RUF001 - the sign of a ratio


class Measure(Enum):
    """What a limit is about."""

    ratio = "ratio"
    median = "median"
    p99 = "p99"


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """A limit.

    Attributes:
        measure: of what.
        limit: the most it may be; in the figure's unit unless it is a ratio.
        required: exceeding it fails the run. Absolute times depend on the machine and are never required.
        remark: why it is not required.
    """

    measure: Measure
    limit: float
    required: bool = True
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of the table.

    Attributes:
        name: what was measured.
        unit: of the values and of the floor.
        values: one for each run.
        floor_name: what it is compared with; empty if there is nothing.
        floor: measured in the same run, interleaved with the values.
        tail: the percentile shown beside the median.
        wants: the limits.
    """

    name: str
    unit: str
    values: Sequence[float]
    floor_name: str = ""
    floor: Sequence[float] = ()
    tail: int = 90
    wants: tuple[Want, ...] = ()

    @property
    def ratio(self) -> float | None:
        """Ratio of the medians; None without a floor, or if that is 0."""
        below = statistics.median(self.floor) if self.floor else 0.0
        return statistics.median(self.values) / below if below else None

    def measured(self, measure: Measure) -> float | None:
        """Return what a limit is about."""
        match measure:
            case Measure.ratio:
                return self.ratio
            case Measure.median:
                return statistics.median(self.values)
            case Measure.p99:
                return percentile(self.values, 99)

    def missed(self, *, required: bool) -> bool:
        """Tell whether a limit of this kind is exceeded."""
        found = [(self.measured(want.measure), want.limit) for want in self.wants if want.required is required]
        return any(value is not None and value > limit for value, limit in found)


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the smallest value that at least `percent` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
