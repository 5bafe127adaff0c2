"""What systemd is told of us (sd_notify(3)): the only user of sdnotify."""

import asyncio
import os
import time
from collections.abc import Callable

from sdnotify import SystemdNotifier


class Notify:
    """Messages to the service manager; without one (`NOTIFY_SOCKET` unset) they go nowhere.

    Args:
        debug: let errors through, which sdnotify else swallows.

    """

    def __init__(self, *, debug: bool = False) -> None:
        self._notifier = SystemdNotifier(debug=debug) if "NOTIFY_SOCKET" in os.environ else None

    def _send(self, message: str) -> None:
        if self._notifier is not None:
            self._notifier.notify(message)

    def ready(self) -> None:
        """The socket answers and the state is loaded. Also ends a reload."""
        self._send("READY=1")

    def status(self, words: str) -> None:
        """What we do, in a person's words; `systemctl status` shows it."""
        self._send("STATUS=" + " ".join(words.split()))

    def reloading(self) -> None:
        """The configuration is being read again (Type=notify-reload wants the time, in microseconds)."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """We are on our way out."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    async def watchdog(self, healthy: Callable[[], bool]) -> None:
        """Feed the watchdog for ever, as long as `healthy` says that the loop makes progress.

        Args:
            healthy: derived from what the loop does, not from a flag that somebody might forget.

        """
        period = watchdog_period()
        while period is not None:
            if healthy():
                self.alive()
            await asyncio.sleep(period)


def watchdog_period() -> float | None:
    """Half of the time systemd allows (sd_watchdog_enabled(3)), in seconds; None if it does not watch us."""
    limit = os.environ.get("WATCHDOG_USEC")
    pid = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if limit is None or pid != str(os.getpid()):
        return None
    return int(limit) / 2_000_000
