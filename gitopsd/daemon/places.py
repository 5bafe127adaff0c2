"""Where the daemon keeps its state and listens."""

import fcntl
import os
import socket
from pathlib import Path

import msgspec

from gitopsd.daemon.assembly import ROOTS
from gitopsd.errors import Failed

_FIRST_FD = 3  # sd_listen_fds(3)


class Paths(msgspec.Struct, frozen=True, kw_only=True):
    """Where things are.

    Args:
        config: the configuration file.
        state: the state directory.
        socket: what to listen on where systemd passed no socket.

    """

    config: Path
    state: Path
    socket: Path


def state_directory(path: Path) -> None:
    """Make it, where it is missing.

    Raises:
        Failed: it cannot be made.

    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (path / ROOTS).mkdir(exist_ok=True)
    except OSError as error:
        raise Failed(
            f"cannot create the state directory {path}: {error.strerror}",
            meaning="gitopsd does nothing that it cannot record first; the system and the homes stay as they are",
            advice=f"see that {path.parent} is writable and not full: `df {path.parent}`",
        ) from error


def lock(state: Path) -> int:
    """Hold the state directory: two daemons on it would both switch. Returns what to close at the end.

    Raises:
        Failed: another daemon holds it, or it cannot be written to.

    """
    try:
        fd = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Failed(
            f"cannot write to the state directory {state}: {error.strerror}",
            meaning="gitopsd does nothing that it cannot record first",
            advice=f"see that {state} is writable and not full",
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Failed(
            f"another gitopsd uses the state directory {state}",
            meaning="this one ends; the other goes on undisturbed",
            advice="`systemctl status gitopsd.service`",
        ) from None
    return fd


def listener(path: Path) -> socket.socket:
    """The socket that systemd passed (sd_listen_fds(3)), or one of our own."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        return socket.socket(fileno=_FIRST_FD)
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    made.bind(str(path))
    path.chmod(0o666)  # who may do what is decided per method, by peer credentials
    made.listen(128)
    return made
