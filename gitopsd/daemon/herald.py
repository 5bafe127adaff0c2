"""Brings announcements to the receivers of `[notify]`, at least once each: what a cycle ends with is in the outbox of the
store before the cycle has ended, and leaves it once the receiver has taken it.

Each receiver has a task of its own, so that none waits for another, and nothing of the daemon waits for any.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import structlog

from gitopsd import events
from gitopsd.config import NotifyConfig
from gitopsd.daemon.aside import aside
from gitopsd.errors import GitopsdError
from gitopsd.ports import Clock, Store
from gitopsd.types import Announcement

Receiver = Callable[[Announcement], Awaitable[None]]

_FIRST, _LONGEST = 1.0, 300.0  # seconds between two attempts; they double


class OutboxHerald:
    """`ports.Herald`.

    Args:
        store: has the outbox.
        clock: time.
        host: the name of this host.

    """

    def __init__(self, store: Store, clock: Clock, host: str) -> None:
        self._store = store
        self._clock = clock
        self._host = host
        self._config = NotifyConfig()
        self._receivers: Mapping[str, Receiver] = {}
        self._told: asyncio.Queue[tuple[Announcement, str]] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._arrived: dict[str, asyncio.Event] = {}
        self._log = structlog.get_logger()

    @property
    def channels(self) -> tuple[str, ...]:
        """See `ports.Herald`."""
        return tuple(self._receivers)

    def use(self, config: NotifyConfig, receivers: Mapping[str, Receiver], host: str) -> None:
        """Take another configuration's receivers; what the ones before did not take waits until they are back."""
        self._config, self._receivers, self._host = config, receivers, host
        self._changed.set()

    def wants(self, event: str) -> bool:
        """See `ports.Herald`."""
        return bool(self._receivers) and event in self._config.events

    def tell(self, event: str, message: str, *, occasion: str = "", **more: Any) -> None:
        """See `ports.Herald`."""
        if not self.wants(event):
            return
        announcement = Announcement(
            id=os.urandom(8).hex(),
            event=event,
            message_id=events.MESSAGE_IDS[event],
            host=self._host,
            at=self._clock.now(),
            message=message,
            **more,
        )
        self._told.put_nowait((announcement, occasion))

    def wake(self) -> None:
        """See `ports.Herald`."""
        for arrived in self._arrived.values():
            arrived.set()

    async def run(self) -> None:
        """Deliver for ever."""
        await asyncio.gather(
            aside("taking announcements", self._post()), aside("notifications", self._deliver_to_all())
        )

    async def _post(self) -> None:
        while True:
            announcement, occasion = await self._told.get()
            try:
                await self._store.announce(announcement, self.channels, occasion)
            except GitopsdError as error:  # the state file cannot be written to, which the loop tells as well
                self._log.warning("not announced", message=error.message)
            self.wake()

    async def _deliver_to_all(self) -> None:
        """One task for each receiver, anew when the configuration has changed."""
        while True:
            self._changed.clear()
            tasks = [
                asyncio.create_task(aside(f"notifying the {name}", self._deliver(name, send)))
                for name, send in self._receivers.items()
            ]
            try:
                await self._changed.wait()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver(self, channel: str, send: Receiver) -> None:
        arrived = self._arrived[channel] = asyncio.Event()
        wait = 0.0
        while True:
            arrived.clear()
            try:
                waiting = await self._store.outbox(channel)
                if waiting is None:
                    wait = 0.0
                    await arrived.wait()
                    continue
                number, announcement = waiting
                problem = await self._send(channel, send, announcement, first=not wait)
                if not problem:
                    await self._store.delivered(number)
                    wait = 0.0
                    continue
                if self._clock.now() - announcement.at > self._config.give_up:
                    self._log.error(
                        events.UNDELIVERED, message=f"{channel} did not take {announcement.event!r}: {problem}"
                    )
                    await self._store.delivered(number)
            except GitopsdError as error:
                self._log.warning("outbox", message=error.message)
            wait = min(wait * 2 or _FIRST, _LONGEST)
            await self._clock.sleep(wait)

    async def _send(self, channel: str, send: Receiver, announcement: Announcement, *, first: bool) -> str:
        """Try once; returns why it failed, empty if it did not."""
        try:
            async with asyncio.timeout(self._config.timeout):
                await send(announcement)
        except TimeoutError:
            problem = f"no answer within {self._config.timeout:g} s"
        except GitopsdError as error:
            problem = error.message
        except Exception as error:  # noqa: BLE001  # whatever a receiver does, the others must be told
            problem = f"{type(error).__name__}: {error}"
        else:
            return ""
        if first:  # of many attempts, one line
            self._log.warning("notification failed", message=f"{channel}, will be tried again: {problem}")
        return problem


def as_json(announcement: Announcement) -> bytes:
    """What a receiver gets: the fields of `types.Announcement` that hold something."""
    return msgspec.json.encode({key: value for key, value in msgspec.to_builtins(announcement).items() if value})
