"""`make scale`: every story at every size, as tables, and the limits that must hold. Ends with 1 if one does not.

The protocol is shown as it was, as it is, with the timer that large fleets should have, and with what is proposed
beyond that. What takes long and says no more than that it does not end is left out: see `runs`.
"""

import argparse
import dataclasses
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from scale.fleet import Fleet, Outcome, Story
from scale.rules import Rules, World
from scale.stories import STORIES, everybody, one_edit, outage, same_line, steady

SEED = 1
LONGEST = 3 * 3600.0  # seconds beyond a story's end, after which a fleet is left alone
SIZES = (10, 100, 1_000, 10_000)
NOW = "as it is"
WIDE = "timer over the whole interval"
PROTOCOLS = {
    "as it was": Rules(delay=120.0, late=False, heads_only=False),
    NOW: Rules(),
    WIDE: Rules(delay=900.0, fixed=True),
    "handed over (proposed)": Rules(delay=900.0, fixed=True, hand_over=2),
}
PROPOSED = "handed over (proposed)"
TELLER = Callable[[int, int], Story]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What a figure at one size may be, as a multiple of the same at 10 hosts."""

    story: TELLER
    protocol: str
    size: int
    figure: str
    most: float


# Connections and bytes are for each sync, pushes and commits for each edit.
LIMITS = (
    *(
        Limit(story=one_edit, protocol=NOW, size=size, figure=figure, most=most)
        for size in SIZES[1:]
        for figure, most in (("pushes", 1.0), ("connections", 1.1), ("advertised", 1.2))
    ),
    *(
        Limit(story=steady, protocol=NOW, size=size, figure="pushes", most=most)
        for size, most in ((100, 1.1), (1_000, 1.3), (10_000, 4.0))
    ),
    *(Limit(story=steady, protocol=WIDE, size=size, figure="pushes", most=2.0) for size in SIZES[1:]),
    *(Limit(story=steady, protocol=NOW, size=size, figure="connections", most=1.9) for size in SIZES[1:]),
    *(Limit(story=same_line, protocol=NOW, size=size, figure="pushes", most=1.2) for size in SIZES[1:]),
    Limit(story=everybody, protocol=NOW, size=100, figure="pushes", most=1.5),
    Limit(story=everybody, protocol=NOW, size=1_000, figure="pushes", most=5.0),
    Limit(story=everybody, protocol=WIDE, size=1_000, figure="pushes", most=2.5),
    Limit(story=everybody, protocol=PROPOSED, size=10_000, figure="pushes", most=4.0),
    Limit(story=outage, protocol=NOW, size=1_000, figure="pushes", most=2.5),
    Limit(story=outage, protocol=WIDE, size=10_000, figure="pushes", most=5.0),
)
_FIGURES: dict[str, Callable[[Outcome], float]] = {
    "pushes": lambda out: out.per_edit(out.pushes),
    "connections": lambda out: out.per_sync(out.questions + out.fetches + out.pushes),
    "advertised": lambda out: out.per_sync(out.advertised),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One fleet that lives through one story."""

    story: TELLER
    protocol: str
    size: int

    def play(self) -> Outcome:
        """Let it happen."""
        story = self.story(self.size, SEED)
        longest = story.end + LONGEST
        fleet = Fleet(
            self.size, story, rules=PROTOCOLS[self.protocol], world=World(other_refs=50), seed=SEED, longest=longest
        )
        return fleet.run()


def runs(sizes: Sequence[int]) -> Iterator[Run]:
    """What is played. As it was, 10,000 hosts do not get through most stories, and take minutes of ours for that."""
    for story in STORIES:
        for size in sizes:
            for protocol in PROTOCOLS:
                if protocol == "as it was" and size > 1_000 and story is not one_edit:
                    continue
                yield Run(story=story, protocol=protocol, size=size)


def missed(found: dict[Run, Outcome]) -> tuple[int, list[str]]:
    """How many limits were looked at, and those that do not hold, in words."""
    lines, looked_at = [], 0
    for limit in LIMITS:
        runs_of = (Run(story=limit.story, protocol=limit.protocol, size=size) for size in (SIZES[0], limit.size))
        least, most = (found.get(run) for run in runs_of)
        if least is None or most is None:
            continue
        looked_at += 1
        ratio = _FIGURES[limit.figure](most) / _FIGURES[limit.figure](least)
        if ratio > limit.most or math.isinf(most.converged):
            what = f"{limit.story.__name__}, {limit.protocol}: {limit.figure} at {limit.size} hosts"
            ended = "" if math.isfinite(most.converged) else ", and it did not end"
            lines.append(f"{what} are {ratio:.2f} times those at {SIZES[0]}, wanted {limit.most:g} at most{ended}")
    for run, outcome in found.items():
        committed = sum(edit.committed for edit in run.story(run.size, SEED).edits)
        if run.protocol != PROPOSED and outcome.merges > committed:
            lines.append(f"{run}: {outcome.merges} merge commits, and people committed {committed} times")
    return looked_at, lines


HEADER = (
    *("hosts", "protocol", "pushes per edit", "rejected", "edit on the remote: half, 99 %", "all have all"),
    *("rounds", "failed syncs", "connections per sync", "most in 1 s", "refs per sync", "objects per sync"),
    *("commits", "merges", "parked"),
)


def row(run: Run, out: Outcome) -> tuple[str, ...]:
    """One line of a table."""
    return (
        f"{run.size:,}",
        run.protocol,
        f"{out.per_edit(out.pushes):.2f}",
        f"{out.rejected:,}",
        f"{_time(out.half)}, {_time(out.most)}",
        _time(out.converged),
        str(out.rounds),
        f"{out.failed:,}",
        f"{out.per_sync(out.questions + out.fetches + out.pushes):.2f}",
        str(out.peak),
        f"{out.per_sync(out.advertised) / 1000:.1f} kB",
        f"{out.per_sync(out.objects) / 1000:.1f} kB",
        f"{out.commits:,}",
        f"{out.merges:,}",
        f"{out.parked:,}",
    )


def _time(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if math.isfinite(seconds) else "never"


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines of Markdown."""
    cells = [HEADER, *rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADER))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def main() -> int:
    """Play everything, print tables, and say which limits do not hold."""
    parser = argparse.ArgumentParser(prog="python -m scale", description=__doc__)
    parser.add_argument("--most", type=int, default=SIZES[-1], help="no more hosts than that")
    parser.add_argument("--json", type=Path, help="keep every figure")
    chosen = parser.parse_args()
    asked = list(runs([size for size in SIZES if size <= chosen.most]))
    # The longest first.
    order = sorted(asked, key=lambda run: -run.size)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(order, pool.map(Run.play, order), strict=True))
    for story in STORIES:
        print(f"\n**{story(SIZES[0], SEED).name}**\n")
        print("\n".join(table([row(run, found[run]) for run in asked if run.story is story])))
    if chosen.json is not None:
        kept = [
            {"story": run.story.__name__, "protocol": run.protocol, **dataclasses.asdict(found[run])} for run in asked
        ]
        chosen.json.write_text(json.dumps(kept, indent=1))
    looked_at, wrong = missed(found)
    print("\n" + "\n".join([f"{looked_at} limits", *wrong] if wrong else [f"{looked_at} limits hold"]))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
