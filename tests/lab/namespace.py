"""The namespaces that hold one whole lab, so that ending one process removes everything.

    owner (Python) ─pipe→ keeper.sh ─→ anchor.sh = PID 1 of a PID namespace ─→ all machines

The owner's death closes the pipe, the anchor ends, the kernel kills the PID namespace, and with the last process the
mount and network namespaces go too: overlays, tmpfs, bridge and veths were only ever in them.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from .errors import LabError, TimedOut

HERE = Path(__file__).parent

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
"""Of every command that the lab starts outside its machines."""


class Namespace:
    """A mount, network and PID namespace with the image at /run/lab/image and the checkout at /run/lab/source."""

    def __init__(self, lab_id: str, image: Path, source: Path) -> None:
        """Start the anchor.

        Args:
            lab_id: unique on this computer; names the cgroup.
            image: root file system that machines share.
            source: checkout that machines see.

        Raises:
            LabError: namespaces, overlays or bridges are not possible here; the message has the program's words.
        """
        self.lab_id = lab_id
        self.cgroup = f"/sys/fs/cgroup/gitopsd-lab-{lab_id}"
        keeper = ["sh", str(HERE / "keeper.sh"), lab_id, str(image), str(source)]
        self._keeper = subprocess.Popen(
            ["unshare", "--mount", "--net", "--propagation", "private", *keeper],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            # A Ctrl-C meant for the owner must not reach the keeper before the owner has tidied up.
            start_new_session=True,
            text=True,
        )
        assert self._keeper.stdout is not None
        assert self._keeper.stderr is not None
        answer = self._keeper.stdout.readline().strip()
        if not answer.isdigit():
            self._keeper.wait()
            raise LabError(f"cannot set up the lab's namespaces: {self._keeper.stderr.read().strip()}")
        self.pid = int(answer)

    def enter(self, argv: Sequence[str]) -> list[str]:
        """Return `argv` as a command for outside that runs in the namespaces."""
        return ["nsenter", "-t", str(self.pid), "-m", "-n", "-p", "--", *argv]

    def run(
        self, argv: Sequence[str], *, check: bool = True, data: str | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of this computer in the namespaces.

        Args:
            argv: the command.
            check: raise `LabError` if it fails.
            data: its standard input.
            timeout: seconds.
        """
        done = run_group(self.enter(argv), data=data, timeout=timeout, env=ENVIRONMENT)
        if check and done.returncode != 0:
            raise LabError(f"in the lab's namespace, {argv[0]} ended with {done.returncode}: {done.stderr.strip()}")
        return done

    def sh(self, text: str, *arguments: str, timeout: float = 60) -> str:
        """Run shell text (`$1`, … are `arguments`) in the namespaces and return its output."""
        return self.run(["sh", "-euc", text, "sh", *arguments], timeout=timeout).stdout

    def start(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a command in the namespaces; it dies with them."""
        return subprocess.Popen(
            self.enter(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            start_new_session=True,
        )

    def close(self) -> None:
        """End everything inside, and return when it is gone."""
        for stream in (self._keeper.stdin, self._keeper.stdout, self._keeper.stderr):
            assert stream is not None
            _close_quietly(stream)
        try:
            self._keeper.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._keeper.kill()  # its death kills the anchor
            self._keeper.wait()


def run_group(
    argv: Sequence[str], *, data: str | None, timeout: float, env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process group of its own and end the whole group if it runs over.

    Raises:
        TimedOut: after `timeout` seconds; the message has what it printed until then.
    """
    process = subprocess.Popen(
        list(argv),
        stdin=subprocess.PIPE if data is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        start_new_session=True,
        text=True,
        errors="replace",
    )
    try:
        out, err = process.communicate(data, timeout=timeout)
    except BaseException as error:
        # The command is in another PID namespace, but in our process group: this reaches it and its children.
        _kill_group(process.pid)
        out, err = process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            command = " ".join(argv)
            raise TimedOut(f"{command}: not done after {timeout:g} s\n{out}{err}") from None
        raise
    return subprocess.CompletedProcess(list(argv), process.returncode, out, err)


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, 9)


def _close_quietly(stream: IO[str]) -> None:
    with suppress(BrokenPipeError):
        stream.close()
