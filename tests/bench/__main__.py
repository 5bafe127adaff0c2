"""python -m bench: figures, each beside its floor in the same run. See docs/benchmarks.md."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import table
from bench.figure import Figure
from bench.figures import boot, capture, deploy, idle, secrets, status, sync, upgrade
from bench.place import Place, place
from lab import LabError

MEASURED: dict[str, Callable[[Place], list[Figure]]] = {
    "sync": sync.figures,
    "capture": capture.figures,
    "status": status.figures,
    "boot": boot.figures,
    "idle": idle.figures,
    "upgrade": upgrade.figures,
    "secrets": secrets.figures,
    "deploy": deploy.figures,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and return 1 if something required is exceeded, 2 if the lab cannot run here."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="figures of gitopsd, beside their floors")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single measurement to FILE too")
    parser.add_argument("--only", choices=MEASURED, action="append", help="measure only this (may be repeated)")
    chosen = parser.parse_args(arguments)
    figures: list[Figure] = []
    try:
        with place() as here:
            versions = here.versions()
            for name in chosen.only or MEASURED:
                print(f"measuring: {name}", file=sys.stderr, flush=True)
                figures += MEASURED[name](here)
    except LabError as error:
        print(error, file=sys.stderr)
        return 2
    print(*table.rows(figures), "", ", ".join(f"{name} {version}" for name, version in versions.items()), sep="\n")
    if chosen.json is not None:
        text = json.dumps(table.as_json(figures, versions), indent=1)
        chosen.json.write_text(f"{text}\n", encoding="utf-8")
    over = [figure.name for figure in figures if figure.missed(required=True)]
    for name in over:
        print(f"over what is wanted: {name}", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
