"""What the gate and each scanner alone find in files: JSON in, JSON out."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time

from gitopsd.secrets.gate import RepositoryGate
from gitopsd.tools.leak_scanner import SCANNERS, LeakScanner, Scanner
from gitopsd.tools.process import Processes
from gitopsd.types import Candidate

RUNS = 12


async def main() -> None:
    """Scan, and time the look at one edited file."""
    files = [(path, text.encode()) for path, text in json.load(sys.stdin)["files"]]
    found: dict[str, list[list[int]]] = {}
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, scanners in _programs().items():
            gate, alone = _pair(folder, scanners)
            found[f"gate with {name}"] = [[hit.line for hit in hits] for hits in await gate.scan(files)]
            matches = await alone.scan([content for _, content in files])
            found[name] = [[match.line for match in each] for each in matches]
            content = b"".join(b"alias a%d='ls -l'\n" % number for number in range(200))
            for run in range(RUNS):
                edit = Candidate(path="dot_bashrc", content=content + b"# %d\n" % run, published=content, is_new=False)
                began = time.perf_counter()
                await gate.check([edit])
                times.setdefault(f"gate with {name}", []).append((time.perf_counter() - began) * 1000)
                began = time.perf_counter()
                await alone.scan([edit.content])
                times.setdefault(name, []).append((time.perf_counter() - began) * 1000)
    json.dump({"found": found, "times": times}, sys.stdout)


def _programs() -> dict[str, list[Scanner]]:
    """The scanners of this host, by name, in the order in which the gate asks them."""
    there: dict[str, list[Scanner]] = {}
    for scanner in SCANNERS:
        if Processes().has(scanner.program):
            there.setdefault(scanner.program, []).append(scanner)
    return there


def _pair(folder: str, scanners: list[Scanner]) -> tuple[RepositoryGate, LeakScanner]:
    gate = RepositoryGate(Processes(), None, folder, scanners=scanners)
    return gate, LeakScanner(Processes(), scanners=scanners)


asyncio.run(main())
