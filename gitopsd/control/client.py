"""The other end of the socket: a blocking Varlink client (https://varlink.org/Protocol) of the standard library only.

It is what the command line starts with, so it imports little. It takes replies as they are: fields that it does not
know are for newer readers, fields that are missing for older daemons.
"""

from __future__ import annotations

import json
import socket

TYPE_CHECKING = False  # typing's own constant would import typing
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

DEFAULT_PATH = "/run/gitopsd/io.gitopsd"

_CHUNK = 65536


class DaemonUnreachable(Exception):
    """Nobody answers on the socket, or the connection broke.

    Args:
        path: of the socket.
        reason: what the kernel said, or how the daemon misbehaved.

    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"cannot reach gitopsd at {path}: {reason}")


class CallFailed(Exception):
    """The daemon answered with an error.

    Args:
        error: its full Varlink name.
        parameters: what it tells about it.

    """

    def __init__(self, error: str, parameters: dict[str, Any]) -> None:
        super().__init__(error)
        self.name = error.rpartition(".")[2]
        self.error = error
        self.parameters = parameters


def call(path: str, method: str, parameters: dict[str, Any] | None = None, timeout: float = 30.0) -> dict[str, Any]:
    """Call a method with one reply.

    Args:
        path: of the socket.
        method: its full name, such as `io.gitopsd.Status.Get`.
        parameters: of the call; those that are None are left out.
        timeout: seconds to wait for the reply.

    Raises:
        DaemonUnreachable: there is no reply.
        CallFailed: the reply is an error.

    """
    for reply in _replies(path, method, parameters, more=False, tick=timeout):
        if reply is None:
            raise DaemonUnreachable(path, f"no answer for {timeout:g} s")
        return reply
    raise DaemonUnreachable(path, "the connection was closed before the answer")


def stream(
    path: str, method: str, parameters: dict[str, Any] | None = None, tick: float | None = None
) -> Iterator[dict[str, Any] | None]:
    """Call a method with many replies and take them as they come, up to the last one.

    Args:
        path: of the socket.
        method: its full name, such as `io.gitopsd.Status.Follow`.
        parameters: of the call; those that are None are left out.
        tick: seconds of silence after which None is yielded; without it, silence is waited out.

    Raises:
        DaemonUnreachable: the connection broke before the last reply.
        CallFailed: a reply is an error.

    """
    return _replies(path, method, parameters, more=True, tick=tick)


def _replies(
    path: str, method: str, parameters: dict[str, Any] | None, *, more: bool, tick: float | None
) -> Iterator[dict[str, Any] | None]:
    request: dict[str, Any] = {
        "method": method,
        "parameters": {name: value for name, value in (parameters or {}).items() if value is not None},
    }
    if more:
        request["more"] = True
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(path)
            connection.sendall(json.dumps(request).encode() + b"\0", socket.MSG_NOSIGNAL)
        except OSError as error:
            raise DaemonUnreachable(path, error.strerror or str(error)) from error
        for message in _messages(connection, path, tick):
            if message is None:
                yield None
                continue
            continues, reply = _open(message, path)
            yield reply
            if not continues:
                return


def _messages(connection: socket.socket, path: str, tick: float | None) -> Iterator[bytes | None]:
    """Cut what arrives at its NULs; None whenever nothing arrives for `tick` seconds."""
    connection.settimeout(tick)
    buffer = b""
    while True:
        try:
            received = connection.recv(_CHUNK)
        except TimeoutError:
            yield None
            continue
        except OSError as error:
            raise DaemonUnreachable(path, error.strerror or str(error)) from error
        if not received:
            raise DaemonUnreachable(path, "the daemon closed the connection")
        *messages, buffer = (buffer + received).split(b"\0")
        yield from messages


def _open(message: bytes, path: str) -> tuple[bool, dict[str, Any]]:
    """Whether more replies follow, and the parameters of this one."""
    try:
        reply = json.loads(message)
        error, parameters = reply.get("error"), reply.get("parameters") or {}
        continues = bool(reply.get("continues"))
    except (ValueError, AttributeError):
        raise DaemonUnreachable(path, "what answers there does not speak Varlink") from None
    if error:
        raise CallFailed(str(error), parameters)
    return continues, parameters
