"""Probes: ask a service whether it does its work, over TCP, over HTTP, or with a command."""

import asyncio
import os
import urllib.error
import urllib.request
from http import HTTPStatus
from http.client import HTTPException

from gitopsd.config import ProbeConfig
from gitopsd.errors import GitopsdError
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
            return await asyncio.to_thread(_http, probe.http, probe.timeout)
        try:
            await self._processes.run(probe.command, timeout=probe.timeout)
        except GitopsdError as error:
            return f"probe: {error.message}"
        return ""


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


def _http(url: str, timeout: float) -> str:
    """Blocks; its time is bounded by the socket's timeout. Redirects are followed."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:  # noqa: S310  # the scheme was checked in config
            status = answer.status
    except urllib.error.HTTPError as error:
        with error:
            status = error.code
    except (OSError, ValueError, HTTPException) as error:
        return f"probe {url}: {getattr(error, 'reason', error) or type(error).__name__}"
    return "" if status < HTTPStatus.BAD_REQUEST else f"probe {url}: status {status}"
