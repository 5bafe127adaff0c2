"""Probes, against real listeners on loopback."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from gitopsd.config import ProbeConfig
from gitopsd.tools.probe import Probes
from gitopsd.tools.process import Processes

ASK = Probes(Processes()).ask


@contextlib.asynccontextmanager
async def listener(answer: bytes) -> AsyncIterator[int]:
    """A server on loopback that reads a little and says `answer`; nothing at all if it is empty."""

    served: list[asyncio.Event] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(done := asyncio.Event())
        await reader.read(1024)
        writer.write(answer)
        if not answer:
            await reader.read()  # until the client gives up
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        done.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for done in served:
            await done.wait()


def closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


async def test_tcp_passes_where_somebody_listens_and_says_why_where_nobody_does() -> None:
    async with listener(b"hello") as port:
        assert await ASK(ProbeConfig(tcp=f"127.0.0.1:{port}")) == ""
    assert "refused" in (await ASK(ProbeConfig(tcp=f"127.0.0.1:{closed_port()}"))).lower()


@pytest.mark.parametrize(
    ("status", "problem"), [("200 OK", ""), ("404 Not Found", "status 404"), ("503 Busy", "status 503")]
)
async def test_http_reads_the_status(status: str, problem: str) -> None:
    async with listener(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()) as port:
        said = await ASK(ProbeConfig(http=f"http://127.0.0.1:{port}/"))
    assert said == (f"probe http://127.0.0.1:{port}/: {problem}" if problem else "")


async def test_a_probe_that_hangs_is_ended_by_its_time() -> None:
    async with listener(b"") as port:
        said = await ASK(ProbeConfig(http=f"http://127.0.0.1:{port}/", timeout=0.2))
    assert "no answer within 0.2 s" in said
    assert "did not end within 0.2 s" in await ASK(ProbeConfig(command=("sleep", "5"), timeout=0.2))


async def test_a_server_that_goes_on_saying_a_little_is_not_listened_to_for_ever() -> None:
    said: list[bytes] = []
    ended = asyncio.Event()

    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                said.append(b"y" if said else b"HTTP/1.1 200 OK\r\nX-Slow: ")
                writer.write(said[-1])
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        ended.set()

    async with await asyncio.start_server(trickle, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        problem = await asyncio.wait_for(ASK(ProbeConfig(http=url, timeout=1)), 10)
        await ended.wait()
    assert problem == f"probe {url}: no answer within 1 s"
    assert len(said) > 1


async def test_what_answers_no_http_is_a_problem_and_no_crash() -> None:
    async with listener(b"220 smtp ready\r\n") as port:
        assert (await ASK(ProbeConfig(http=f"http://127.0.0.1:{port}/"))).startswith("probe http")


async def test_a_command_passes_by_its_exit_status() -> None:
    assert await ASK(ProbeConfig(command=("true",))) == ""
    assert "failed (exit status 1)" in await ASK(ProbeConfig(command=("false",)))
    assert "is not on the daemon's PATH" in await ASK(ProbeConfig(command=("no-such-probe",)))
