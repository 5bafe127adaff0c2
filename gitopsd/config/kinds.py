"""What an option may be beside text, numbers and tables: durations, sizes and names of units."""

import re
from typing import Annotated

import msgspec

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|sec|min|m|h|d)")


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)")


_SIZES = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


UNITS = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


UNIT = r"[\w@:.\\-]+\.[a-z]+"


Seconds = Annotated[float, "duration"]


UnitName = Annotated[str, "unit"]


Size = Annotated[int, "size"]  # bytes


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all sections."""


def duration(raw: object) -> float | None:
    """Seconds in a duration: `30s`, `5min`, `1h 30min`, or a number of seconds; None if it is none."""
    if isinstance(raw, bool):
        return None
    if isinstance(raw, int | float):
        return float(raw) if raw >= 0 else None
    if not isinstance(raw, str) or not re.fullmatch(rf"(\s*{_DURATION.pattern}\s*)+", raw):
        return None
    return float(sum(float(number) * UNITS[unit] for number, unit in _DURATION.findall(raw)))


def size(raw: object) -> int | None:
    """Bytes in a size: `500M`, `1.5G`, or a number of bytes; K, M, G and T are powers of 1024. None if it is none."""
    if isinstance(raw, bool):
        return None
    if isinstance(raw, int):
        return raw if raw >= 0 else None
    found = _SIZE.fullmatch(raw.strip()) if isinstance(raw, str) else None
    return None if found is None else int(float(found[1]) * _SIZES[found[2]])
