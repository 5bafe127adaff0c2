"""How an evaluation is held to its limit of memory, by whatever this kernel has for that."""

import os
import re
from pathlib import Path

_CONTROLLERS = Path("/sys/fs/cgroup/cgroup.controllers")
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


def is_controlled() -> bool:
    """Whether systemd can hold a unit to `MemoryMax=`: only cgroup v2 with its memory controller has what that needs."""
    try:
        return "memory" in _CONTROLLERS.read_text().split()
    except FileNotFoundError:
        return False  # cgroup v1, or none


def in_bytes(limit: str) -> int | None:
    """A limit as systemd.resource-control(5) has it; None is `infinity`.

    Args:
        limit: such as `2G` or `75%`, of all memory.

    """
    if limit == "infinity":
        return None
    if limit.endswith("%"):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * int(limit[:-1]) // 100
    found = re.fullmatch(r"(\d+)([KMGT]?)", limit)
    if found is None:
        raise ValueError(f"{limit!r} is no limit of memory")  # config.consistency lets none through
    return int(found[1]) * _UNITS[found[2]]


def held_by_rlimit(limit: str) -> list[str]:
    """The words before a command that hold it where systemd cannot; none where it can, or if there is no limit.

    It is `RLIMIT_DATA` (setrlimit(2)): what a process has written to or may write to, and no other has. Files that it maps,
    and address space that it only reserves, do not count. Each process that it starts has the same for itself.
    """
    most = in_bytes(limit)
    return [] if most is None or is_controlled() else ["prlimit", f"--data={most}", "--"]
