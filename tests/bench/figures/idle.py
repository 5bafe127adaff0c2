"""The daemon at rest: its memory against an interpreter with the same imports, and how often it wakes up."""

from __future__ import annotations

import math
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.figure import Figure, Measure, Want
from bench.place import Place
from e2e.scene import USER
from lab import Host

ROUNDS = 2
REST = 20.0  # seconds of each round; memory is read at their end
SETTLE = 1.0  # seconds after the sync that do not count as rest


def figures(place: Place) -> list[Figure]:
    """Measure memory and wake-ups in rounds: a start, a sync, rest."""
    readings: dict[str, list[tuple[float, float]]] = {"daemon": [], "floor": []}
    woken = []
    names = place.inside("imports.py", {"module": "gitopsd.__main__"}, user="root")
    for _ in range(ROUNDS):
        place.restart()
        place.host.run(["gitopsctl", "sync", USER], user=USER)
        with importing(place.host, names) as floor:
            daemon = _main_pid(place.host)
            time.sleep(SETTLE)
            before = _switches(place.host, daemon)
            time.sleep(REST)
            woken.append(_switches(place.host, daemon) - before)
            readings["daemon"].append(_memory(place.host, daemon))
            readings["floor"].append(_memory(place.host, floor))
    wanted = (Want(measure=Measure.ratio, limit=1.3),)
    beside = "an interpreter with the same imports"
    return [
        *(
            Figure(
                name=f"idle daemon, {kind}",
                unit="MiB",
                values=[reading[number] for reading in readings["daemon"]],
                floor_name=beside,
                floor=[reading[number] for reading in readings["floor"]],
                wants=wanted,
            )
            for number, kind in enumerate(("PSS", "RSS"))
        ),
        Figure(
            name=f"wake-ups of the idle daemon in {REST:g} s",
            unit="times",
            values=woken,
            floor_name="for the watchdog, at most",
            floor=[math.ceil(REST / _watchdog_period(place.host, _main_pid(place.host)))],
            wants=(Want(measure=Measure.ratio, limit=1, required=False, remark="only reported"),),
        ),
    ]


@contextmanager
def importing(host: Host, names: list[str]) -> Iterator[int]:
    """Run an interpreter that has imported these modules and waits; the value is its process ID on the host."""
    process = host.popen(["python3", "-I", "-c", IMPORT_AND_WAIT, *names])
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


IMPORT_AND_WAIT = """
import importlib, os, sys

for name in sys.argv[1:]:
    importlib.import_module(name)
print(os.getpid(), flush=True)
sys.stdin.read()
"""


def _main_pid(host: Host) -> int:
    return int(host.run(["systemctl", "show", "--property=MainPID", "--value", "gitopsd.service"]).stdout)


def _watchdog_period(host: Host, pid: int) -> float:
    """Seconds between two messages to the watchdog: half of what systemd allows (sd_watchdog_enabled(3))."""
    environment = host.read(f"/proc/{pid}/environ").split("\0")
    allowed = dict(line.split("=", 1) for line in environment if line)["WATCHDOG_USEC"]
    return int(allowed) / 2_000_000


def _memory(host: Host, pid: int) -> tuple[float, float]:
    """PSS and RSS in MiB."""
    text = host.read(f"/proc/{pid}/smaps_rollup")
    found = dict(re.findall(r"^(Pss|Rss): +(\d+) kB", text, re.MULTILINE))
    return int(found["Pss"]) / 1024, int(found["Rss"]) / 1024


def _switches(host: Host, pid: int) -> int:
    """How often all threads together went to sleep by themselves (proc_pid_status(5)): each is a wake-up."""
    text = host.sh(f"cat /proc/{pid}/task/*/status").stdout
    return sum(map(int, re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.MULTILINE)))
