"""The server on a real socket, through our own client and through hostile ones."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from unit.test_control_fakes import (
    KEN,
    NOBODY,
    NOW,
    RAIN,
    ROOT,
    WHEEL,
    Daemon,
    blocked,
    detail,
    eventually,
    running,
    snapshot,
    update,
)

from gitopsd.control import interfaces
from gitopsd.control.access import Peer
from gitopsd.control.client import CallFailed, DaemonUnreachable, call, stream
from gitopsd.control.limits import Limits
from gitopsd.errors import Cause, Failed, Transient
from gitopsd.machine import State
from gitopsd.types import CycleKind, Outcome

GET = b'{"method":"io.gitopsd.Status.Get"}\0'
FOLLOW = b'{"method":"io.gitopsd.Status.Follow","parameters":{"cycle":7},"more":true}\0'
STATUS, CONTROL = "io.gitopsd.Status", "io.gitopsd.Control"


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with Daemon(tmp_path / "socket") as running_daemon:
        yield running_daemon


async def ask(daemon: Daemon, method: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    return await asyncio.to_thread(call, daemon.path, method, parameters, 5.0)


async def refusal(daemon: Daemon, method: str, parameters: dict[str, Any] | None = None) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        await ask(daemon, method, parameters)
    return caught.value


async def replies(daemon: Daemon, method: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    def collect() -> list[dict[str, Any]]:
        return [reply for reply in stream(daemon.path, method, parameters) if reply is not None]

    return await asyncio.wait_for(asyncio.to_thread(collect), 5)


async def connect(daemon: Daemon, sent: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(daemon.path, limit=2**20)
    writer.write(sent)
    return reader, writer


def connect_and_never_read(daemon: Daemon, sent: bytes) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(daemon.path)
    client.sendall(sent)
    return client


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Whether the other end closes within a second, whatever it still says."""
    try:
        async with asyncio.timeout(1):
            while await reader.read(65536):
                pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


# What it answers.


async def test_status_goes_to_the_client_and_back(daemon: Daemon) -> None:
    daemon.supervisor.current = snapshot(cycle=running(7), pending=8, pending_kind=CycleKind.sync, waiting=(8,))
    status = (await ask(daemon, f"{STATUS}.Get"))["status"]
    assert status["host"] == "malphas"
    assert status["cycle"]["facts"]["people"][0]["parked"][0]["path"] == "rain_secret_parked"
    assert status["last_upgrade"]["outcome"] == "success"
    assert status["pending_kind"] == "sync"


async def test_a_name_that_is_no_utf_8_leaves_the_answer_readable(daemon: Daemon) -> None:
    daemon.supervisor.current = snapshot(blocked="caf\udce9 \u00e9")
    assert (await ask(daemon, f"{STATUS}.Get"))["status"]["blocked"] == "caf? \u00e9"


async def test_it_describes_itself(daemon: Daemon) -> None:
    info = await ask(daemon, "org.varlink.service.GetInfo")
    assert info["interfaces"] == [CONTROL, STATUS, "org.varlink.service"]
    asked = {"interface": STATUS}
    assert "method Watch()" in (await ask(daemon, "org.varlink.service.GetInterfaceDescription", asked))["description"]


async def test_history_is_cut_and_continued(daemon: Daemon) -> None:
    daemon.supervisor.details = {number: detail(number) for number in range(1, 30)}

    async def ids(**parameters: int) -> list[int]:
        return [each["id"] for each in (await ask(daemon, f"{STATUS}.History", parameters))["cycles"]]

    assert await ids() == list(range(29, 9, -1))
    assert await ids(limit=2, before=10) == [9, 8]
    for wrong in ({"limit": 0}, {"limit": 501}, {"before": -1}, {"before": 2**70}, {"limit": "x"}, {"nonsense": 1}):
        error = await refusal(daemon, f"{STATUS}.History", wrong)
        assert (error.name, error.parameters["parameter"]) == ("InvalidParameter", *wrong)


async def test_show_tells_unknown_from_unfinished(daemon: Daemon) -> None:
    assert (await ask(daemon, f"{STATUS}.Show", {"cycle": 5}))["detail"]["steps"][1]["message"] == "built it"
    daemon.supervisor.current = snapshot(cycle=running(7))
    unfinished = await refusal(daemon, f"{STATUS}.Show", {"cycle": 7})
    assert unfinished.name == "NoSuchCycle"
    assert "not finished" in unfinished.parameters["reason"]
    for number in (99, 0, -1, 2**80):
        assert "no cycle" in (await refusal(daemon, f"{STATUS}.Show", {"cycle": number})).parameters["reason"]
        assert (await refusal(daemon, f"{STATUS}.Follow", {"cycle": 99})).name in {"NoSuchCycle", "ExpectedMore"}


async def test_watch_tells_now_and_after_each_change(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interfaces, "_WATCH_PAUSE", 0.0)
    reader, writer = await connect(daemon, b'{"method":"io.gitopsd.Status.Watch","more":true}\0')

    async def state() -> str:
        reply = json.loads((await reader.readuntil(b"\0"))[:-1])
        assert reply["continues"]
        return str(reply["parameters"]["status"]["state"])

    assert await state() == "idle"
    await daemon.supervisor.show(snapshot(state=State.build))
    assert await state() == "build"
    writer.close()
    await eventually(lambda: daemon.supervisor.open_streams == 0)


async def test_follow_goes_to_the_outcome_and_ends(daemon: Daemon) -> None:
    daemon.supervisor.current = snapshot(cycle=running(7))
    following = asyncio.create_task(replies(daemon, f"{STATUS}.Follow", {"cycle": 7}))
    await eventually(lambda: daemon.supervisor.open_streams == 1)
    await daemon.supervisor.tell(update(7, "one"), update(7, "two"), update(7, outcome=Outcome.up_to_date))
    updates = [reply["update"] for reply in await following]
    assert [each["line"] for each in updates] == ["one", "two", ""]
    assert updates[-1]["outcome"] == "up-to-date"
    assert daemon.supervisor.open_streams == 0


async def test_following_a_finished_cycle_gives_its_outcome(daemon: Daemon) -> None:
    await daemon.supervisor.tell(update(5, outcome=Outcome.success))
    assert [reply["update"]["outcome"] for reply in await replies(daemon, f"{STATUS}.Follow", {"cycle": 5})] == [
        "success"
    ]


async def test_calls_on_one_connection_are_answered_in_their_order(daemon: Daemon) -> None:
    reader, writer = await connect(daemon, GET + b'{"method":"org.varlink.service.GetInfo"}\0' + GET)
    got = [json.loads((await reader.readuntil(b"\0"))[:-1])["parameters"] for _ in range(3)]
    assert [next(iter(each)) for each in got] == ["status", "vendor", "status"]
    writer.close()


async def test_a_client_that_finished_sending_still_gets_its_answer(daemon: Daemon) -> None:
    reader, writer = await connect(daemon, GET)
    writer.write_eof()
    assert b'"host":"malphas"' in await asyncio.wait_for(reader.read(), 2)
    writer.close()


async def test_a_oneway_call_is_done_and_not_answered(daemon: Daemon) -> None:
    reader, writer = await connect(daemon, b'{"method":"io.gitopsd.Control.Upgrade","oneway":true}\0' + GET)
    assert b'"status"' in await reader.readuntil(b"\0")
    assert len(daemon.supervisor.requests) == 1
    writer.close()


# What it takes, from whom.


async def test_root_syncs_everybody_and_a_person_themselves(daemon: Daemon) -> None:
    asked = daemon.supervisor.requests
    for peer, parameters, users in ((ROOT, {}, ()), (RAIN, {}, ("rain",)), (WHEEL, {"user": "ken"}, ("ken",))):
        daemon.peer = peer
        assert await ask(daemon, f"{CONTROL}.Sync", parameters) == {"cycle": 7}
        assert asked[-1] == (CycleKind.sync, peer.user, users, False)


async def test_upgrade_and_retry_are_asked_for(daemon: Daemon) -> None:
    await ask(daemon, f"{CONTROL}.Upgrade", {"accept_diverged": True, "requested_by": "timer"})
    assert daemon.supervisor.requests == [(CycleKind.upgrade, "timer", (), True)]
    await ask(daemon, f"{CONTROL}.Retry")
    assert daemon.supervisor.retries == ["root"]


async def test_a_rollback_names_its_target(daemon: Daemon) -> None:
    for target in ("previous", "golden", "12"):
        await ask(daemon, f"{CONTROL}.Rollback", {"target": target})
    assert daemon.supervisor.targets == [("previous", "root"), ("golden", "root"), ("12", "root")]
    for target in ("", "0", "newest", "1 2", "9" * 30):
        assert (await refusal(daemon, f"{CONTROL}.Rollback", {"target": target})).name == "InvalidParameter"


async def test_a_suspension_takes_a_time_and_a_reason(daemon: Daemon) -> None:
    asked = {"duration": "1h 30min", "reason": "a talk"}
    told = (await ask(daemon, f"{CONTROL}.Suspend", asked))["suspended"]
    assert told == {"since": NOW, "until": NOW + 5400, "reason": "a talk", "by": "root"}
    assert (await ask(daemon, f"{STATUS}.Get"))["status"]["suspended"] == told
    for wrong in ({"duration": "soon"}, {"duration": "0s"}, {"duration": "900000d"}, {"reason": "a\x1b[31m"}):
        assert (await refusal(daemon, f"{CONTROL}.Suspend", wrong)).name == "InvalidParameter"
    assert await ask(daemon, f"{CONTROL}.Resume") == {"was_suspended": True}
    assert await ask(daemon, f"{CONTROL}.Resume") == {"was_suspended": False}


async def test_the_word_for_the_record_is_heeded_from_admins_only(daemon: Daemon) -> None:
    daemon.peer = RAIN
    await ask(daemon, f"{CONTROL}.Sync", {"requested_by": "timer"})
    assert daemon.supervisor.requests[-1][1] == "rain"
    daemon.peer = ROOT
    assert (await refusal(daemon, f"{CONTROL}.Sync", {"requested_by": "a\x1b[31m"})).name == "InvalidParameter"


async def test_who_may_not_is_told_what_to_do_and_nothing_is_done(daemon: Daemon) -> None:
    daemon.peer = RAIN
    for method, parameters in (
        (f"{CONTROL}.Upgrade", {}),
        (f"{CONTROL}.Retry", {}),
        (f"{CONTROL}.Sync", {"user": "ken"}),
    ):
        error = await refusal(daemon, method, parameters)
        assert error.error == f"{CONTROL}.NotPermitted"
        assert "sudo" in error.parameters["advice"]
    daemon.peer = NOBODY
    assert (await refusal(daemon, f"{CONTROL}.Sync")).name == "NotPermitted"
    assert not daemon.supervisor.requests
    assert not daemon.supervisor.retries


async def test_the_home_of_another_is_left_out_of_every_answer(daemon: Daemon) -> None:
    daemon.peer = KEN
    daemon.supervisor.current = snapshot(
        cycle=running(7, State.push), state=State.push, activity="rain_secret_activity"
    )
    await daemon.supervisor.tell(
        update(7, "rain_secret_line", state=State.push), update(7, "rain", outcome=Outcome.success)
    )
    answers = [
        await ask(daemon, f"{STATUS}.Get"),
        await ask(daemon, f"{STATUS}.Show", {"cycle": 5}),
        await ask(daemon, f"{STATUS}.History"),
        await replies(daemon, f"{STATUS}.Follow", {"cycle": 7}),
    ]
    assert "ken_secret_captured" in json.dumps(answers)
    assert "rain_secret" not in json.dumps(answers)


async def test_refusals_of_the_daemon_keep_their_advice(daemon: Daemon) -> None:
    daemon.supervisor.refusal = blocked("rollback failed")
    error = await refusal(daemon, f"{CONTROL}.Upgrade")
    assert error.error == f"{CONTROL}.Blocked"
    assert error.parameters["reason"] == "rollback failed"
    assert error.parameters["advice"] == "sudo gitopsctl retry"
    for refused in (Failed("no dotfiles for ken", advice="x"), Transient("busy", cause=Cause.lock_held)):
        daemon.supervisor.refusal = refused
        assert (await refusal(daemon, f"{CONTROL}.Upgrade")).name == "Refused"


async def test_a_bug_in_a_method_is_answered_and_logged_once(daemon: Daemon) -> None:
    daemon.supervisor.refusal = ZeroDivisionError()
    with structlog.testing.capture_logs() as logs:
        error = await refusal(daemon, f"{CONTROL}.Upgrade")
    assert error.error == f"{CONTROL}.InternalError"
    assert "journalctl" in error.parameters["advice"]
    assert [entry["method"] for entry in logs] == [f"{CONTROL}.Upgrade"]
    assert (await ask(daemon, f"{STATUS}.Get"))["status"]


async def test_unknown_methods_are_told(daemon: Daemon) -> None:
    assert (await refusal(daemon, "io.gitopsd.Nothing.Get")).name == "InterfaceNotFound"
    assert (await refusal(daemon, f"{STATUS}.Nothing")).name == "MethodNotFound"
    assert (await refusal(daemon, f"{STATUS}.Watch")).name == "ExpectedMore"


# What it does not take.


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n\0",
        b"\0",
        b"\xff\xfe\0",
        b"[1,2]\0",
        b'"text"\0',
        b"{}\0",
        b'{"method":5}\0',
        b'{"method":"x"}\0',
        b'{"method":"io.gitopsd.Status.Get","more":1}\0',
        b"[" * 30000 + b"\0",
        b'{"method":"a.b.C","parameters":{"x":' + b"9" * 5000 + b"}}\0",
        b"x" * 200_000,
        GET * 4000,
    ],
    ids=lambda garbage: repr(garbage[:20]),
)
async def test_a_client_that_speaks_nonsense_is_closed_and_others_are_served(daemon: Daemon, garbage: bytes) -> None:
    with structlog.testing.capture_logs() as logs:
        reader, writer = await connect(daemon, garbage)
        assert await is_closed(reader)
        writer.close()
    assert len(logs) == 1
    assert (await ask(daemon, f"{STATUS}.Get"))["status"]
    await eventually(lambda: daemon.connections == 0)


async def test_complaints_about_one_user_do_not_flood_the_journal(daemon: Daemon) -> None:
    with structlog.testing.capture_logs() as logs:
        for _ in range(20):
            reader, writer = await connect(daemon, b"x\0")
            assert await is_closed(reader)
            writer.close()
    assert len(logs) == 1


async def test_file_descriptors_that_come_along_are_closed(daemon: Daemon) -> None:
    ours, theirs = socket.socketpair()

    def send() -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(daemon.path)
            socket.send_fds(client, [GET], [theirs.fileno()])
            assert client.recv(100)

    await asyncio.to_thread(send)
    theirs.close()
    ours.settimeout(1)
    assert await asyncio.to_thread(ours.recv, 1) == b""  # nobody holds the other end
    ours.close()


async def test_an_idle_client_is_closed_without_a_complaint(tmp_path: Path) -> None:
    async with Daemon(tmp_path / "socket", Limits(idle=0.05)) as daemon:
        with structlog.testing.capture_logs() as logs:
            reader, writer = await connect(daemon, GET)
            assert await is_closed(reader)
            writer.close()
        assert not logs


async def test_connections_are_bounded_and_root_is_never_locked_out(daemon: Daemon) -> None:
    clients = []
    for number in range(5):
        daemon.peer = Peer(uid=1000 + number, user=f"user{number}", admin=False)
        clients += [await connect(daemon) for _ in range(70)]
        assert await is_closed(clients[-1][0])  # the last of 70 is one too many for any user
    assert daemon.connections == 256
    daemon.peer = RAIN
    with pytest.raises(DaemonUnreachable):
        await ask(daemon, f"{STATUS}.Get")
    daemon.peer = ROOT
    assert (await ask(daemon, f"{STATUS}.Get"))["status"]
    for _, writer in clients:
        writer.close()
    await eventually(lambda: daemon.connections == 0)


async def test_a_client_that_never_reads_costs_little_and_delays_nobody(tmp_path: Path) -> None:
    limits = Limits(backlog=100, catch_up=0.1, send=5.0)
    async with Daemon(tmp_path / "socket", limits) as daemon:
        daemon.supervisor.current = snapshot(cycle=running(7))
        with structlog.testing.capture_logs() as logs:
            client = connect_and_never_read(daemon, FOLLOW)
            await eventually(lambda: daemon.supervisor.open_streams == 1)
            slowest = 0.0
            for number in range(50):
                await daemon.supervisor.tell(*(update(7, f"{number} {each} " + "x" * 200) for each in range(100)))
                began = time.monotonic()
                assert (await ask(daemon, f"{STATUS}.Get"))["status"]
                slowest = max(slowest, time.monotonic() - began)
            await eventually(lambda: daemon.connections == 0)
        assert slowest < 0.5
        assert daemon.supervisor.open_streams == 0
        assert [entry["reason"] for entry in logs] == ["reads too slowly"]
        client.close()


async def test_a_client_that_does_not_read_its_one_answer_is_closed(tmp_path: Path) -> None:
    async with Daemon(tmp_path / "socket", Limits(send=0.1)) as daemon:
        daemon.supervisor.details = {number: detail(number) for number in range(1, 3000)}
        history = b'{"method":"io.gitopsd.Status.History","parameters":{"limit":500}}\0'
        client = connect_and_never_read(daemon, history * 10)
        await eventually(lambda: daemon.connections == 1)
        await eventually(lambda: daemon.connections == 0)
        client.close()


async def test_progress_that_nobody_read_yet_is_replaced(daemon: Daemon) -> None:
    daemon.supervisor.current = snapshot(cycle=running(7))
    await daemon.supervisor.tell(
        *(update(7, str(number), progress=True) for number in range(500)), update(7, outcome=Outcome.success)
    )
    assert len(await replies(daemon, f"{STATUS}.Follow", {"cycle": 7})) < 20


# Ends.


async def test_a_stream_is_closed_when_its_client_goes_away_in_silence(daemon: Daemon) -> None:
    daemon.supervisor.current = snapshot(cycle=running(7))
    _, writer = await connect(daemon, FOLLOW)
    await eventually(lambda: daemon.supervisor.open_streams == 1)
    writer.close()
    await eventually(lambda: daemon.supervisor.open_streams == 0)
    assert daemon.connections == 0


async def test_stop_ends_streams_and_leaves_nothing(daemon: Daemon) -> None:
    daemon.supervisor.current = snapshot(cycle=running(7))
    following = asyncio.create_task(replies(daemon, f"{STATUS}.Follow", {"cycle": 7}))
    await eventually(lambda: daemon.supervisor.open_streams == 1)
    await daemon.stop()
    assert daemon.supervisor.open_streams == 0
    with pytest.raises(DaemonUnreachable):
        await following
    with pytest.raises(DaemonUnreachable):
        await ask(daemon, f"{STATUS}.Get")


async def test_a_stream_whose_source_ends_early_closes_the_connection(daemon: Daemon) -> None:
    async def nothing(_cycle: int) -> AsyncIterator[Any]:
        return
        yield

    daemon.supervisor.follow = nothing  # type: ignore[method-assign,assignment]
    with pytest.raises(DaemonUnreachable):
        await replies(daemon, f"{STATUS}.Follow", {"cycle": 5})


async def test_a_daemon_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(DaemonUnreachable, match="No such file"):
        call(str(tmp_path / "none"), f"{STATUS}.Get")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400\0", b"[]\0", b'{"parameters":'])
async def test_what_speaks_no_varlink_is_unreachable(tmp_path: Path, answer: bytes) -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    async with await asyncio.start_unix_server(serve, tmp_path / "socket"):
        with pytest.raises(DaemonUnreachable):
            await asyncio.to_thread(call, str(tmp_path / "socket"), f"{STATUS}.Get", None, 2.0)


async def test_a_silent_daemon_is_not_waited_for_without_end(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        with pytest.raises(DaemonUnreachable, match="no answer"):
            await asyncio.to_thread(call, str(tmp_path / "socket"), f"{STATUS}.Get", None, 0.05)
