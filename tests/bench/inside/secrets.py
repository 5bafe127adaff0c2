"""What the gate and gitleaks alone find in files: JSON in, JSON out."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time

from gitopsd.secrets.gate import RepositoryGate
from gitopsd.tools.gitleaks import Gitleaks
from gitopsd.tools.process import Processes
from gitopsd.types import Candidate

RUNS = 12


async def main() -> None:
    """Scan, and time the look at one edited file."""
    files = [(path, text.encode()) for path, text in json.load(sys.stdin)["files"]]
    with tempfile.TemporaryDirectory() as folder:
        gate = RepositoryGate(Processes(), None, folder)
        both = await gate.scan(files)
        alone = await Gitleaks(Processes()).scan([content for _, content in files])
        times: dict[str, list[float]] = {"gate": [], "gitleaks": []}
        content = b"".join(b"alias a%d='ls -l'\n" % number for number in range(200))
        for run in range(RUNS):
            edit = Candidate(path="dot_bashrc", content=content + b"# %d\n" % run, published=content, is_new=False)
            began = time.perf_counter()
            await gate.check([edit])
            times["gate"].append((time.perf_counter() - began) * 1000)
            began = time.perf_counter()
            await Gitleaks(Processes()).scan([edit.content])
            times["gitleaks"].append((time.perf_counter() - began) * 1000)
    found = {
        "gate": [[hit.line for hit in hits] for hits in both],
        "gitleaks": [[match.line for match in matches] for matches in alone],
    }
    json.dump({"found": found, "times": times}, sys.stdout)


asyncio.run(main())
