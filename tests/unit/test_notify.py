"""What systemd is told."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitopsd.daemon.notify import Notify, watchdog_period


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


def heard(manager: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(manager.recv(4096).decode())
        except BlockingIOError:
            return messages


def close(notify: Notify) -> None:
    assert notify._notifier is not None
    notify._notifier.socket.close()


def test_the_messages_are_those_of_the_protocol(manager: socket.socket) -> None:
    notify = Notify(debug=True)
    notify.ready()
    notify.status("sync 4:\nfetch")
    notify.reloading()
    notify.stopping()
    notify.alive()
    ready, status, reloading, stopping, alive = heard(manager)
    assert (ready, status, stopping, alive) == ("READY=1", "STATUS=sync 4: fetch", "STOPPING=1", "WATCHDOG=1")
    first, second = reloading.split("\n")
    assert first == "RELOADING=1"
    assert int(second.removeprefix("MONOTONIC_USEC=")) > 0
    close(notify)


def test_without_a_manager_nothing_is_sent_and_nothing_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify = Notify(debug=True)
    notify.ready()
    assert notify._notifier is None


async def test_the_watchdog_is_fed_while_healthy_and_starved_when_not(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    notify, healthy = Notify(debug=True), True
    feeding = asyncio.create_task(notify.watchdog(lambda: healthy))
    await asyncio.sleep(0.06)
    assert len(heard(manager)) >= 3
    healthy = False
    await asyncio.sleep(0.03)
    heard(manager)
    await asyncio.sleep(0.05)
    assert heard(manager) == []
    feeding.cancel()
    await asyncio.gather(feeding, return_exceptions=True)
    close(notify)


def test_a_watchdog_meant_for_another_process_is_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert watchdog_period() is None
