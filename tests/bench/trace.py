"""Which programs the daemon starts, found with programs of the same names that come first in its PATH."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench.place import Place
from e2e.scene import USER

PROGRAMS = ("git", "jj", "chezmoi", "nix", "nix-env", "ssh")
"""What the daemon starts, and ssh to see that it does so through git only."""

DIRECTORY = "/run/bench"
TRACE = f"{DIRECTORY}/trace"
DROP_IN = "/run/systemd/system/gitopsd.service.d/trace.conf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A program that was started.

    Attributes:
        argv: its name and arguments.
        cwd: where.
    """

    argv: list[str]
    cwd: str


@contextmanager
def traced(place: Place) -> Iterator[Callable[[Sequence[str]], list[Started]]]:
    """While the context lasts the daemon's programs are traced.

    Call the result with a command of the person: it is run, and what it and the daemon started then is returned.
    """
    for program in PROGRAMS:
        place.host.write(f"{DIRECTORY}/bin/{program}", WRAPPER, mode=0o755)
    path = f"{DIRECTORY}/bin:/usr/bin:/usr/sbin"
    place.host.write(DROP_IN, f"[Service]\nEnvironment=PATH={path}\n")
    place.host.run(["systemctl", "daemon-reload"])
    place.restart()

    def run(argv: Sequence[str]) -> list[Started]:
        # The person's programs write to it too.
        place.host.run(["install", "-m", "666", "/dev/null", TRACE])
        place.host.run(argv, user=USER, env={"PATH": path})
        return [Started(**json.loads(line)) for line in place.host.read(TRACE).splitlines()]

    try:
        yield run
    finally:
        place.host.run(["rm", "-r", DROP_IN, DIRECTORY])
        place.host.run(["systemctl", "daemon-reload"])
        place.restart()


def replay(commands: list[Started]) -> str:
    """Return shell text that runs the same commands in the same places."""
    return "\n".join(f"cd {shlex.quote(command.cwd)}; {shlex.join(command.argv)}" for command in commands)


# Only what the daemon itself starts: below a wrapper the PATH is the ordinary one.
WRAPPER = f"""#!/usr/bin/python3 -I
import json, os, sys

name = os.path.basename(sys.argv[0])
line = json.dumps({{"argv": [name, *sys.argv[1:]], "cwd": os.getcwd()}})
with open("{TRACE}", "a") as trace:
    trace.write(line + "\\n")
os.environ["PATH"] = "/usr/bin:/usr/sbin"
os.execv(f"/usr/bin/{{name}}", [name, *sys.argv[1:]])
"""
