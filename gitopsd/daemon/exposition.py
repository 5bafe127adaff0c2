"""Where the figures go: a file for node_exporter's textfile collector, and on request a loopback listener.

The file is written when something has changed, so that an idle daemon does not wake up for it.
"""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from pathlib import Path

import structlog

from gitopsd.config import MetricsConfig, loopback
from gitopsd.daemon.aside import aside
from gitopsd.daemon.metrics import Metrics
from gitopsd.types import Snapshot

_PAUSE = 0.5  # seconds between a change and the write: a cycle tells many things, and does not wait for this
_CLIENTS = 8  # at once
_PATIENCE = 5.0  # seconds that one of them gets
_LONGEST = 8192  # bytes of a request
_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Exposition:
    """Writes and serves.

    Args:
        metrics: the figures.
        changes: yields whenever something has changed.

    """

    def __init__(self, metrics: Metrics, changes: Callable[[], AsyncIterator[Snapshot]]) -> None:
        self._metrics = metrics
        self._changes = changes
        self._config = MetricsConfig(textfile="")
        self._renewed = asyncio.Event()
        self._clients = 0
        self._complained = ""
        self._log = structlog.get_logger()

    def use(self, config: MetricsConfig) -> None:
        """Take another configuration."""
        self._config = config
        self._renewed.set()

    async def run(self) -> None:
        """Write and serve for ever, anew when the configuration has changed."""
        while True:
            self._renewed.clear()
            tasks = [
                asyncio.create_task(aside("writing metrics", self._write_for_ever())),
                asyncio.create_task(aside("serving metrics", self._serve())),
            ]
            try:
                await self._renewed.wait()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _write_for_ever(self) -> None:
        if not self._config.textfile:
            return
        path = Path(self._config.textfile)
        async for _ in self._changes():
            await asyncio.sleep(_PAUSE)
            try:
                write(path, self._metrics.text())
            except OSError as error:
                if error.strerror != self._complained:  # once, not at each change
                    self._log.warning("metrics not written", message=f"{path}: {error.strerror}")
                self._complained = error.strerror or ""
            else:
                self._complained = ""

    async def _serve(self) -> None:
        where = loopback(self._config.listen)
        if where is None:
            return
        try:
            server = await asyncio.start_server(self._answer, *where, limit=_LONGEST)
        except OSError as error:
            self._log.error("metrics not served", message=f"{self._config.listen}: {error.strerror}")
            return
        async with server:
            await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer, and the connection is closed."""
        try:
            if self._clients >= _CLIENTS:
                return
            self._clients += 1
            try:
                async with asyncio.timeout(_PATIENCE):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._reply(head))
                    await writer.drain()
            finally:
                self._clients -= 1
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that does not ask properly gets no answer
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    await writer.wait_closed()

    def _reply(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        target = rest.partition(b" ")[0].partition(b"?")[0]
        status, body = HTTPStatus.OK, b""
        if method not in (b"GET", b"HEAD"):
            status = HTTPStatus.METHOD_NOT_ALLOWED
        elif target not in (b"/", b"/metrics"):
            status = HTTPStatus.NOT_FOUND
        else:
            body = self._metrics.text().encode()
        lines = (
            f"HTTP/1.1 {status.value} {status.phrase}",
            f"Content-Type: {_TYPE}",
            f"Content-Length: {len(body)}",
            "Connection: close",
        )
        return "".join(f"{line}\r\n" for line in (*lines, "")).encode() + (body if method == b"GET" else b"")


def write(path: Path, text: str) -> None:
    """Replace the file in one step: the collector must never read half of it.

    It is readable for all, as node_exporter is nobody special; and not flushed to the disk, since a figure that is older
    than the boot is worth nothing.
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(prefix=".gitopsd-", dir=path.parent)  # node_exporter reads *.prom only
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(fd, 0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
