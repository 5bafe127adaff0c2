"""On the machine: run commands in turn and time each from before the fork until it has been waited for.

Standard input: {"runs": N, "contenders": {name: {"argv": […], "env": {…}}}}; standard output: {name: [milliseconds]}.
Each round begins with another contender, so that none always runs in the shadow of the same one. Two rounds before the
first, or as many as `warm_up` says, warm the caches and are not counted.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

WARM_UP = 2


def main() -> None:
    """Run the race."""
    question = json.load(sys.stdin)
    contenders: dict[str, Any] = question["contenders"]
    names = list(contenders)
    times: dict[str, list[float]] = {name: [] for name in names}
    warm_up = question.get("warm_up", WARM_UP)
    for turn in range(warm_up + question["runs"]):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            taken = timed(contenders[name]["argv"], contenders[name]["env"])
            if turn >= warm_up:
                times[name].append(taken)
    json.dump(times, sys.stdout)


def timed(argv: list[str], env: dict[str, str]) -> float:
    """Run a command with no input and no reader, and return how many milliseconds it took."""
    streams = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
    ]
    environment = {**os.environ, **env}
    before = time.perf_counter()
    pid = os.posix_spawnp(argv[0], argv, environment, file_actions=streams)
    _, status = os.waitpid(pid, 0)
    taken = time.perf_counter() - before
    if status != 0:
        sys.exit(f"{argv}: ended with {os.waitstatus_to_exitcode(status)}")
    return taken * 1000


if __name__ == "__main__":
    main()
