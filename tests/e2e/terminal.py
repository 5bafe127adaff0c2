"""A terminal with somebody at it: a shell that takes itself for watched, typed into line by line."""

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from pathlib import Path
from typing import NamedTuple, Self

COMPUTER = "you@computer"  # who types, and where, before they go inside a machine
_PROMPT = re.compile(r"\n(\w+@\w+):[^\n]*[$#] \Z")
# What moves the cursor, sets a colour or a title (ECMA-48 CSI, and xterm's OSC), and the carriage return.
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\r")
_ROWS, _COLUMNS = 50, 200


class Typed(NamedTuple):
    """What came of a line."""

    status: int
    printed: str


class Terminal:
    """A shell of bash on a terminal of its own, on this computer; a line that is typed may lead into a machine."""

    def __init__(self, where: Path) -> None:
        """Open it; the shell starts in the directory `where`."""
        self._end, inside = os.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        settings = {"PS1": f"{COMPUTER}:\\w$ ", "HISTFILE": "", "TERM": "xterm"}
        self._shell = subprocess.Popen(
            ["setsid", "--ctty", "bash", "--noprofile", "--norc", "-i"],
            cwd=where,
            env={**os.environ, **settings},
            stdin=inside,
            stdout=inside,
            stderr=inside,
        )
        os.close(inside)
        self._printed = "\n"
        self.prompt = self._read_until_prompt("bash", timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up, as a window that is closed: what runs in it is told."""
        os.close(self._end)
        self._shell.wait(timeout=120)

    def type(self, line: str, *, timeout: float = 300) -> Typed:
        """Type a line and wait for the next prompt, which is kept in `prompt`: who is asked then, and on which host.

        Args:
            line: a command.
            timeout: seconds after which it is taken to wait for something else than it gets.

        """
        printed = self._answer(line, timeout)
        status = re.search(r"^status (\d+)$", self._answer('echo "status $?"', timeout), re.MULTILINE)
        assert status, f"{line}: no status"
        return Typed(int(status[1]), printed)

    def _answer(self, line: str, timeout: float) -> str:
        self._printed = ""
        os.write(self._end, f"{line}\n".encode())
        self.prompt = self._read_until_prompt(line, timeout)
        return self._printed.partition("\n")[2]  # without the line itself, which a terminal shows

    def _read_until_prompt(self, line: str, timeout: float) -> str:
        raw = b""
        begun, deadline = self._printed, time.monotonic() + timeout
        while not (prompt := _PROMPT.search(self._printed)):
            ready, _, _ = select.select([self._end], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{line}: no prompt after {timeout:g} s:\n{self._printed}"
            raw += os.read(self._end, 65536)
            self._printed = begun + _CONTROL.sub("", raw.decode(errors="replace"))
        return prompt[1]
