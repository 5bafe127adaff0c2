"""Probes: ask a service whether it does its work, over TCP, over HTTP, or with a command."""

import asyncio
import os
import sys
from pathlib import Path

from gitopsd.config import ProbeConfig
from gitopsd.errors import GitopsdError, Transient
from gitopsd.tools import http_question
from gitopsd.tools.process import Processes


class Probes:
    """`ports.Prober`.

    Args:
        processes: starts commands.

    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes

    async def ask(self, probe: ProbeConfig) -> str:
        """See `ports.Prober`."""
        if probe.tcp:
            return await _tcp(probe.tcp, probe.timeout)
        if probe.http:
            return await self._http(probe.http, probe.timeout)
        try:
            await self._processes.run(probe.command, timeout=probe.timeout)
        except GitopsdError as error:
            return f"probe: {error.message}"
        return ""

    async def _http(self, url: str, timeout: float) -> str:
        program = str(Path(http_question.__file__))
        try:
            answer = await self._processes.run([sys.executable, "-I", program, url], timeout=timeout)
        except Transient:
            return f"probe {url}: no answer within {timeout:g} s"
        except GitopsdError as error:
            return f"probe {url}: {error.message}"
        return f"probe {url}: {answer.stdout}" if answer.stdout else ""


async def _tcp(address: str, timeout: float) -> str:
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            writer.close()
            await writer.wait_closed()
    except TimeoutError:
        return f"probe tcp {address}: no answer within {timeout:g} s"
    except OSError as error:
        return f"probe tcp {address}: {os.strerror(error.errno) if error.errno else error}"
    return ""
