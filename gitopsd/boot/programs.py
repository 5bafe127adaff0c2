"""Programs that the assessment starts: switch-to-configuration and systemctl. No daemon is there to start them."""

import os
import signal
import subprocess

TYPE_CHECKING = False  # typing's own constant would import typing
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def run(argv: "Sequence[str]", limit: float, environment: "Mapping[str, str] | None" = None) -> str:
    """Run a program to its end, with what it starts; its output is ours.

    Args:
        argv: the program and its arguments.
        limit: seconds after which all of it is killed.
        environment: added to ours.

    Returns:
        What went wrong, one sentence; empty if it ended with 0.

    """
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    except OSError as error:
        return f"cannot start {argv[0]}: {error.strerror}"
    try:
        status = process.wait(limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"{argv[0]} did not end within {limit:g} s and was killed"
    return f"{argv[0]} ended with status {status}" if status else ""


def output(argv: "Sequence[str]", limit: float) -> str:
    """What a program prints, without the space around it; empty if it cannot be started or does not end."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace").strip()
