"""Logging: structlog; to the journal's native protocol where there is one, readable text on a terminal, else JSON lines.

The native protocol is one datagram of `FIELD=value` lines (systemd.io/JOURNAL_NATIVE_PROTOCOL). Fields are listed in
docs/reference/journal.md. One line per fact, once.
"""

import logging
import os
import socket
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import structlog

from gitopsd.events import MESSAGE_IDS

_JOURNAL = Path("/run/systemd/journal/socket")
_LONGEST = 48 * 1024  # bytes of one field; a datagram to the journal must fit the socket's buffer
_RENAMED = {"machine_event": "event"}  # structlog keeps the name `event` for the message
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


def set_up(how: str = "auto") -> None:
    """Configure structlog for the whole process.

    Args:
        how: `journal`, `text`, `json`, or `auto`: the journal if stderr goes there, text on a terminal, else JSON.

    """
    if how == "auto":
        if "JOURNAL_STREAM" in os.environ and _JOURNAL.exists():
            how = "journal"
        else:
            how = "text" if sys.stderr.isatty() else "json"
    final: Any
    factory: Any = structlog.WriteLoggerFactory(file=sys.stderr)
    match how:
        case "journal":
            final = to_journal
            factory = _JournalFactory()
        case "text":
            final = structlog.dev.ConsoleRenderer()
        case _:
            final = structlog.processors.JSONRenderer()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info if how != "text" else _as_is,
    ]
    if how != "journal":  # the journal has its own clock
        shared.append(structlog.processors.TimeStamper(fmt="iso", utc=True))
    structlog.configure(
        processors=[*shared, final],
        logger_factory=factory,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )


def to_journal(_: object, __: str, event: MutableMapping[str, Any]) -> str:
    """A structlog renderer: the datagram, as text with surrogates for bytes."""
    message = str(event.pop("event"))
    fields: dict[str, str] = {
        "PRIORITY": str(_PRIORITIES.get(str(event.pop("level", "info")), 6)),
        "SYSLOG_IDENTIFIER": "gitopsd",
    }
    if message in MESSAGE_IDS:
        fields["MESSAGE_ID"] = MESSAGE_IDS[message]
    exception = event.pop("exception", None)
    fields |= {
        f"GITOPSD_{_RENAMED.get(key, key).upper()}": str(value)
        for key, value in event.items()
        if value not in (None, "")
    }
    detail = event.get("message")
    fields["MESSAGE"] = "\n".join(
        str(part) for part in (f"{message}: {detail}" if detail else message, exception) if part
    )
    return encode(fields).decode("utf-8", "surrogateescape")


def encode(fields: Mapping[str, str]) -> bytes:
    """One entry in the native protocol.

    Args:
        fields: names in capitals, and values; a value with a newline is sent with its length.

    """
    entry = bytearray()
    for name, value in fields.items():
        data = value.encode("utf-8", "replace")
        if len(data) > _LONGEST:
            data = data[:_LONGEST] + b" [cut]"
        if b"\n" in data:
            entry += name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
        else:
            entry += name.encode() + b"=" + data + b"\n"
    return bytes(entry)


def _as_is(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return event


class _Journal:
    """A structlog logger that sends datagrams."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def msg(self, entry: str) -> None:
        """Send one entry; while journald restarts, it goes to stderr, which systemd keeps for it."""
        try:
            self._socket.sendto(entry.encode("utf-8", "surrogateescape"), str(_JOURNAL))
        except OSError:
            sys.stderr.write(entry)

    debug = info = warning = error = critical = msg


class _JournalFactory:
    def __call__(self, *_: object) -> _Journal:
        return _Journal()
