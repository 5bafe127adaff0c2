"""Times of the week in which something may happen, on the clock on the wall. Pure.

Whether a moment is inside is asked of the wall's clock at that moment and never the other way round: no local time is
turned into a moment. So the hours that a change to or from summer time skips or repeats need no rule of their own. A
window that lies wholly in a skipped hour does not come on that day; one in a repeated hour comes twice.
"""

import datetime as dt
import re
from collections.abc import Callable, Iterable

import msgspec

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW = re.compile(r"(?:([A-Za-z]{3}(?:,[A-Za-z]{3})*)\s+)?(\d\d):(\d\d)-(\d\d):(\d\d)")
_WEEK = 7 * 24 * 60  # minutes

Wall = Callable[[float], dt.datetime]


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A time of the day on some days of the week.

    Args:
        days: on which it begins, Monday is 0.
        begin: minutes after midnight.
        end: minutes after midnight, included; before `begin` if it is over midnight.

    """

    days: frozenset[int]
    begin: int
    end: int

    def has(self, wall: dt.datetime) -> bool:
        """Whether a time on the wall is inside, both bounds included: until the end of the minute of `end`."""
        minute, day = wall.hour * 60 + wall.minute, wall.weekday()
        if self.begin <= self.end:
            return day in self.days and self.begin <= minute <= self.end
        return (day in self.days and minute >= self.begin) or ((day - 1) % 7 in self.days and minute <= self.end)


def parse_window(text: str) -> Window | None:
    """Read `02:00-04:00` or `Sat,Sun 22:00-04:00`; None if it is neither."""
    found = _WINDOW.fullmatch(text.strip())
    if found is None:
        return None
    names = found[1].lower().split(",") if found[1] else DAYS
    hours, minutes = (int(found[2]), int(found[4])), (int(found[3]), int(found[5]))
    if max(hours) > 23 or max(minutes) > 59 or not set(names) <= set(DAYS):
        return None
    begin, end = (hour * 60 + minute for hour, minute in zip(hours, minutes, strict=True))
    return Window(days=frozenset(map(DAYS.index, names)), begin=begin, end=end)


def opens_in(windows: Iterable[Window], now: float, wall: Wall) -> float | None:
    """Seconds until the first moment that is inside one of the windows: 0 if it is now, None if none is within a week.

    Args:
        windows: any of them will do.
        now: seconds since the epoch.
        wall: what a clock on the wall shows at a moment.

    """
    windows = tuple(windows)
    if any(window.has(wall(now)) for window in windows):
        return 0.0
    minute = now - now % 60
    for ahead in range(1, _WEEK + 61):
        then = minute + 60 * ahead
        if any(window.has(wall(then)) for window in windows):
            return then - now
    return None
