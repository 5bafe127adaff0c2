"""What `[notify]` names: a command, a webhook, a unit. Each takes an event as JSON, or raises.

None of them is waited for by a cycle, and none can hold up the end of the daemon.
"""

import asyncio
import contextlib
import http.client
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from gitopsd import __version__
from gitopsd.errors import Failed
from gitopsd.tools.process import Processes


class Command:
    """A program that reads the event from its standard input.

    Args:
        processes: starts it.
        argv: the program and its arguments.
        timeout: seconds it may take.

    """

    def __init__(self, processes: Processes, argv: Sequence[str], timeout: float) -> None:
        self._processes = processes
        self._argv = argv
        self._timeout = timeout

    async def send(self, event: bytes) -> None:
        """Run it once."""
        await self._processes.run(self._argv, stdin=event, timeout=self._timeout)


class Webhook:
    """A URL that the event is posted to.

    urllib blocks, and its timeout starts anew with each byte; so it runs in a thread that can be left behind. A second
    one is not started before the first has ended.

    Args:
        target: the URL, or the path of a file that holds it.
        timeout: seconds for each wait.

    """

    def __init__(self, target: str, timeout: float) -> None:
        self._target = target
        self._timeout = timeout
        self._thread: threading.Thread | None = None

    async def send(self, event: bytes) -> None:
        """Post it once. Redirects are not followed: they would turn the request into another one.

        Raises:
            Failed: it was not taken; the message never has the URL, which may be a secret.

        """
        if self._thread is not None and self._thread.is_alive():
            raise Failed("the last request to the webhook has not ended yet")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[str] = loop.create_future()

        def settle(problem: str) -> None:
            if not done.done():
                done.set_result(problem)

        def work() -> None:
            problem = self._post(event)
            with contextlib.suppress(RuntimeError):  # the daemon has ended meanwhile
                loop.call_soon_threadsafe(settle, problem)

        self._thread = threading.Thread(target=work, name="webhook", daemon=True)
        self._thread.start()
        if problem := await done:
            raise Failed(f"the webhook did not take it: {problem}")

    def _post(self, event: bytes) -> str:
        """Returns what is wrong; empty if nothing is."""
        try:
            url = self._target
            if url.startswith("/"):
                url = Path(url).read_text(encoding="utf-8").strip()
            headers = {"Content-Type": "application/json", "User-Agent": f"gitopsd/{__version__}"}
            request = urllib.request.Request(url, data=event, headers=headers, method="POST")  # noqa: S310
            if request.type not in ("http", "https"):
                return "its URL is not of http or https"
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=self._timeout):
                return ""
        except urllib.error.HTTPError as error:
            with error:
                return f"status {error.code}"
        except urllib.error.URLError as error:
            reason = error.reason
            return reason.strerror or type(reason).__name__ if isinstance(reason, OSError) else "its URL is not right"
        except (OSError, ssl.SSLError) as error:
            return error.strerror or type(error).__name__
        except (ValueError, http.client.HTTPException) as error:
            return f"its URL or its answer is not right ({type(error).__name__})"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow none; urllib then raises the answer as an error."""


class StartUnit:
    """A unit that is started; the instance of a template is the event's name with hyphens.

    Args:
        start: queues the start of a unit.
        unit: its name.

    """

    def __init__(self, start: Callable[[str], Awaitable[None]], unit: str) -> None:
        self._start = start
        self._unit = unit

    async def send(self, event: str) -> None:
        """Start it; returns once that is queued."""
        name, at, suffix = self._unit.partition("@.")
        await self._start(f"{name}@{event.replace(' ', '-')}.{suffix}" if at else self._unit)
