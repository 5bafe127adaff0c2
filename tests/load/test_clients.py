"""A thousand clients that ask and look on while a cycle runs: neither waits for the other."""

import asyncio
import json
import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path

import structlog
from unit.test_control_fakes import _listening
from unit.world import World

from gitopsd.config import ControlConfig
from gitopsd.control.access import Credentials, Peer
from gitopsd.control.limits import Limits
from gitopsd.control.server import ControlServer
from gitopsd.types import Outcome

CLIENTS = 1000
GET = b'{"method":"io.gitopsd.Status.Get"}\0'
WATCH = b'{"method":"io.gitopsd.Status.Watch","more":true}\0'


async def test_a_thousand_clients_and_one_cycle(tmp_path: Path, figure: Callable[[str], None]) -> None:
    structlog.configure(
        processors=[structlog.processors.JSONRenderer()], logger_factory=structlog.ReturnLoggerFactory()
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    world = World(tmp_path)
    daemon = await world.start()
    alone = time.monotonic()
    await daemon.end_of(await daemon.ask())
    alone = time.monotonic() - alone

    server = ControlServer(
        daemon.loop,
        ControlConfig,
        _listening(tmp_path / "socket"),
        limits=Limits(connections=CLIENTS + 8, per_user=CLIENTS + 8),
        peer_of=lambda _: Credentials(pid=1, uid=1000, gid=1000),
        identify=lambda credentials, _: Peer(uid=credentials.uid, user="rain", admin=False),
    )
    await server.start()
    times: list[float] = []

    async def connected() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        # Blocking, as gitopsctl does it: a full queue of the kernel is waited for, which asyncio cannot (EAGAIN).
        sock = socket.socket(socket.AF_UNIX)
        await asyncio.to_thread(sock.connect, str(tmp_path / "socket"))
        return await asyncio.open_unix_connection(sock=sock, limit=2**22)

    async def asks() -> None:
        reader, writer = await connected()
        for _ in range(3):
            began = time.monotonic()
            writer.write(GET)
            answer = await reader.readuntil(b"\0")
            times.append(time.monotonic() - began)
            assert json.loads(answer[:-1])["parameters"]["status"]["host"] == "malphas"
        writer.close()
        await writer.wait_closed()

    async def looks_on_and_never_reads() -> None:
        _, writer = await connected()
        writer.write(WATCH)
        try:
            await asyncio.sleep(600)
        finally:
            writer.close()

    idle = [asyncio.create_task(looks_on_and_never_reads()) for _ in range(CLIENTS // 10)]
    asking = [asyncio.create_task(asks()) for _ in range(CLIENTS - len(idle))]
    await asyncio.sleep(0.05)
    began = time.monotonic()
    outcome, _ = await daemon.end_of(await daemon.ask())
    among = time.monotonic() - began
    await asyncio.gather(*asking)
    everything = time.monotonic() - began
    for task in idle:
        task.cancel()
    await asyncio.gather(*idle, return_exceptions=True)
    times.sort()
    figure(
        f"{CLIENTS} clients: {len(times)} answers in {everything:.1f} s, median {times[len(times) // 2] * 1000:.0f} ms,"
        f" slowest {times[-1] * 1000:.0f} ms; the cycle among them {among * 1000:.0f} ms, alone {alone * 1000:.0f} ms"
    )
    assert outcome in (Outcome.success, Outcome.up_to_date)
    assert len(times) == 3 * len(asking)
    assert among < everything + 1  # it did not wait for the last of them
    await server.stop()
    await daemon.stop()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
