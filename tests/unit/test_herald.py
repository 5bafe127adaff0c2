"""Notifications: at least once, one receiver apart from the other, and nothing ever waits for them."""

import asyncio
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from unit.world import Crash, World, upgraded

from gitopsd import events
from gitopsd.config import NotifyConfig
from gitopsd.daemon.herald import OutboxHerald, Receiver, as_json
from gitopsd.daemon.store import SqliteStore
from gitopsd.errors import Failed, GitopsdError
from gitopsd.tools.process import Processes
from gitopsd.tools.receivers import Command, StartUnit, Webhook
from gitopsd.types import Announcement, BootFacts, BootRollback, Outcome

ALL = NotifyConfig(events=tuple(events.MESSAGE_IDS), timeout=1.0, give_up=100.0)


class Listening:
    """A receiver that fails as often as it is told, or hangs."""

    def __init__(self, *, failures: int = 0, hangs: bool = False) -> None:
        self.failures = failures
        self.hangs = hangs
        self.got: list[Announcement] = []

    async def __call__(self, announcement: Announcement) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.failures:
            self.failures -= 1
            raise Failed("the receiver is away")
        self.got.append(announcement)

    @property
    def events(self) -> list[str]:
        return [each.event for each in self.got]


def real_herald(world: World, store: SqliteStore, config: NotifyConfig = ALL, **receivers: Receiver) -> OutboxHerald:
    herald = OutboxHerald(store, world.clock, "malphas")
    herald.use(config, receivers, "malphas")
    return herald


async def delivered(herald: OutboxHerald, enough: Callable[[], bool]) -> None:
    """Let it deliver until that is so."""
    task = asyncio.create_task(herald.run())
    async with asyncio.timeout(20):
        while not enough():
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def after_a_rollback(world: World, herald: OutboxHerald | None = None) -> None:
    """A cycle that ends as rolled back, with the receivers named and none of them running."""
    world.activator.statuses["test new"] = 4
    world.units.failed_script = [(), ("sshd.service",), ()]
    if herald is not None:
        world.herald = herald
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.rolled_back


@pytest.fixture
async def store(tmp_path: Path) -> SqliteStore:
    store = SqliteStore(tmp_path / "outbox.db")
    await store.open()
    return store


async def test_what_a_cycle_ended_with_is_told_after_a_crash_too(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.activator.statuses["test new"] = 4
    world.units.failed_script = [(), ("sshd.service",), ()]
    daemon = await world.start()
    crashing_after_the_end(daemon.store)
    await daemon.ask()
    await asyncio.wait({daemon.task}, timeout=20)
    assert daemon.crashed
    await daemon.stop()

    store = SqliteStore(world.path)
    await store.open()
    assert (await store.history(1))[0].outcome is Outcome.rolled_back
    receiver = Listening()
    await delivered(real_herald(world, store, command=receiver), lambda: bool(receiver.got))
    assert receiver.events == [events.ROLLED_BACK]
    assert receiver.got[0].cycle == 1
    await store.close()


def crashing_after_the_end(store: SqliteStore) -> None:
    """Die at the first instruction after the transaction that ends a cycle."""
    finish = store.finish_cycle

    async def and_die(*args: object) -> None:
        await finish(*args)  # type: ignore[arg-type]
        raise Crash

    store.finish_cycle = and_die  # type: ignore[method-assign,assignment]


async def test_a_receiver_that_is_away_is_told_later_and_in_order(store: SqliteStore, tmp_path: Path) -> None:
    world, receiver = World(tmp_path), Listening(failures=3)
    herald = real_herald(world, store, webhook=receiver)
    herald.tell(events.BLOCKED, "first")
    herald.tell(events.DEPLOYED, "second")
    await delivered(herald, lambda: len(receiver.got) == 2)
    assert receiver.events == [events.BLOCKED, events.DEPLOYED]
    assert world.clock.slept[:3] == [1.0, 2.0, 4.0]
    assert await store.outbox("webhook") is None
    await store.close()


async def test_one_that_hangs_delays_no_other(store: SqliteStore, tmp_path: Path) -> None:
    stuck, well = Listening(hangs=True), Listening()
    herald = real_herald(World(tmp_path), store, webhook=stuck, command=well)
    herald.tell(events.BLOCKED, "x")
    await delivered(herald, lambda: bool(well.got))
    assert await store.outbox("webhook") is not None  # not forgotten
    assert await store.outbox("command") is None
    await store.close()


async def test_one_that_never_comes_back_is_given_up(store: SqliteStore, tmp_path: Path) -> None:
    receiver = Listening(failures=1000)
    world = World(tmp_path)
    herald = real_herald(world, store, webhook=receiver)
    herald.tell(events.BLOCKED, "x")
    await delivered(herald, lambda: sum(world.clock.slept) > 150)
    assert await store.outbox("webhook") is None
    await store.close()


async def test_the_outbox_of_a_dead_receiver_does_not_grow_for_ever(store: SqliteStore) -> None:
    for number in range(600):
        await store.announce(announcement(id=str(number)), ("webhook",))
    first = await store.outbox("webhook")
    assert first is not None
    assert first[1].id == "100"
    await store.close()


async def test_only_what_was_chosen_is_told(store: SqliteStore, tmp_path: Path) -> None:
    receiver = Listening()
    herald = real_herald(World(tmp_path), store, NotifyConfig(events=("blocked",)), command=receiver)
    herald.tell(events.DEPLOYED, "no")
    herald.tell(events.BLOCKED, "yes")
    await delivered(herald, lambda: bool(receiver.got))
    assert receiver.events == [events.BLOCKED]
    assert not real_herald(World(tmp_path), store).wants(events.BLOCKED)  # nobody is there to be told
    await store.close()


async def test_what_the_boot_found_is_told_once_over_restarts(tmp_path: Path) -> None:
    world = World(tmp_path)
    rollback = BootRollback(
        left=world.activator.current, to=world.activator.current, reason="hung", at=5.0, how="landed"
    )
    world.golden.assessment = BootFacts(rollback=rollback)
    receiver = Listening()
    for _ in range(3):  # lives of the daemon
        store = SqliteStore(tmp_path / "outbox.db")
        await store.open()
        herald = real_herald(world, store, command=receiver)
        world.herald = herald
        daemon = await world.start()
        await asyncio.sleep(0.05)
        await delivered(herald, lambda: bool(receiver.got))
        await daemon.stop()
        await store.close()
    assert receiver.events == [events.BOOT_ROLLBACK]


async def test_being_offline_for_long_is_told_once(tmp_path: Path) -> None:
    from gitopsd.errors import Cause, Transient  # noqa: PLC0415

    world = World(tmp_path)
    world.source.error = Transient("no route", cause=Cause.network)
    world.people.clear()
    daemon = await world.start()
    for hours in (1, 23, 2, 5):
        world.clock.time += hours * 3600
        await daemon.end_of(await daemon.ask())
    told = [event for event, _, _ in world.herald.told if event == events.OFFLINE]  # type: ignore[attr-defined]
    assert told == [events.OFFLINE]
    await daemon.stop()


async def test_a_cycle_never_waits_for_a_receiver(tmp_path: Path, store: SqliteStore) -> None:
    world = World(tmp_path)
    herald = real_herald(world, store, webhook=Listening(hangs=True))
    running = asyncio.create_task(herald.run())
    async with asyncio.timeout(10):
        await after_a_rollback(world, herald)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await store.close()


def announcement(**more: object) -> Announcement:
    fields: dict[str, object] = {"id": "1", "event": events.BLOCKED, "message_id": "x", "host": "malphas", "at": 1.0}
    return Announcement(**(fields | more))  # type: ignore[arg-type]


def test_the_event_is_json_without_what_is_empty() -> None:
    assert json.loads(as_json(announcement(message="look", cycle=3))) == {
        "id": "1",
        "event": "blocked",
        "message_id": "x",
        "host": "malphas",
        "at": 1.0,
        "message": "look",
        "cycle": 3,
    }


# The receivers themselves.


async def test_a_command_reads_the_event_from_its_standard_input(tmp_path: Path) -> None:
    command = Command(Processes(), ["sh", "-c", f"cat > {tmp_path}/got"], 10)
    await command.send(as_json(announcement()))
    assert json.loads((tmp_path / "got").read_text())["event"] == "blocked"
    with pytest.raises(GitopsdError):
        await Command(Processes(), ["false"], 10).send(b"{}")


async def test_a_command_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    command = Command(Processes(), ["sh", "-c", f"sleep 1000 & echo $! > {tmp_path}/pid; wait"], 2.0)
    with pytest.raises(GitopsdError, match="did not end within"):
        await command.send(b"{}")
    pid = int((tmp_path / "pid").read_text())
    async with asyncio.timeout(30):  # the signal is sent, and nobody waits for an orphan to act on it
        while is_running(pid):
            await asyncio.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


class Server:
    """An HTTP server that answers as it is told, or never."""

    def __init__(self) -> None:
        self.status = 200
        self.bodies: list[bytes] = []
        self.release = threading.Event()
        self.hangs = False
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                if server.hangs:
                    server.release.wait(20)
                self.send_response(server.status)
                if server.status == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/SECRET-TOKEN"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    it = Server()
    yield it
    it.release.set()
    it.http.shutdown()
    it.http.server_close()


async def test_a_webhook_is_posted_to(server: Server, tmp_path: Path) -> None:
    await Webhook(server.url, 5).send(b'{"a":1}')
    (tmp_path / "url").write_text(f"{server.url}\n")
    await Webhook(str(tmp_path / "url"), 5).send(b'{"b":2}')
    assert server.bodies == [b'{"a":1}', b'{"b":2}']


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_a_webhook_that_refuses_is_told_without_its_url(server: Server, status: int) -> None:
    server.status = status
    with pytest.raises(Failed, match=f"status {status}") as failure:
        await Webhook(server.url, 5).send(b"{}")
    assert "SECRET-TOKEN" not in failure.value.explained()
    assert len(server.bodies) == 1  # a redirect is not followed


@pytest.mark.parametrize("target", ["http://127.0.0.1:1/SECRET-TOKEN", "http://[SECRET-TOKEN", "/no/such/file"])
async def test_a_webhook_that_is_not_there_is_told_without_its_url(target: str) -> None:
    with pytest.raises(Failed) as failure:
        await Webhook(target, 5).send(b"{}")
    assert "SECRET-TOKEN" not in failure.value.explained()


async def test_a_webhook_that_hangs_is_left_behind_and_not_asked_twice_at_once(server: Server) -> None:
    server.hangs = True
    webhook = Webhook(server.url, 20)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await webhook.send(b"{}")
    with pytest.raises(Failed, match="has not ended yet"):
        await webhook.send(b"{}")
    assert len(server.bodies) == 1


async def test_a_template_is_started_with_the_event_as_its_instance() -> None:
    started = []

    async def start(name: str) -> None:
        started.append(name)

    await StartUnit(start, "tell-me@.service").send(events.ROLLED_BACK)
    await StartUnit(start, "tell-me.service").send(events.ROLLED_BACK)
    assert started == ["tell-me@rolled-back.service", "tell-me.service"]
