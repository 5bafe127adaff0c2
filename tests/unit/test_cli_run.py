"""`gitopsctl` as it is run: a process of its own against a daemon on a real socket."""

import asyncio
import fcntl
import json
import os
import pty
import shlex
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
from unit.test_control_fakes import KEN, RAIN, Daemon, blocked, detail, eventually, running, snapshot, update

from gitopsd.cli import __main__ as main
from gitopsd.cli import follow
from gitopsd.control.client import DaemonUnreachable
from gitopsd.errors import Failed, Suspended
from gitopsd.machine import State
from gitopsd.types import Outcome

REPOSITORY = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "gitopsd.cli"]


class Ran(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with Daemon(tmp_path / "socket") as running_daemon:
        yield running_daemon


def environment(daemon: Daemon, **extra: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "GITOPSD_SOCKET": daemon.path, "LC_ALL": "C.UTF-8", "TZ": "UTC"} | extra


async def start(daemon: Daemon, *arguments: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *PROGRAM, *arguments, cwd=REPOSITORY, env=environment(daemon), stdout=pipe, stderr=pipe
    )


async def end(process: asyncio.subprocess.Process) -> Ran:
    out, err = await asyncio.wait_for(process.communicate(), 5)
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())


async def run(daemon: Daemon, *arguments: str) -> Ran:
    return await end(await start(daemon, *arguments))


async def start_on_terminal(
    daemon: Daemon, *arguments: str, **extra: str
) -> tuple[asyncio.subprocess.Process, asyncio.Task[str]]:
    """Start it with a terminal of 80 by 24 as all three of its streams; the task gives everything written."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        *arguments,
        cwd=REPOSITORY,
        env=environment(daemon, TERM="xterm", **extra),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)

    def read() -> str:
        written = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # EIO: the last process that had it open has ended
                os.close(ours)
                return written.decode()
            written += piece

    return process, asyncio.create_task(asyncio.to_thread(read))


async def run_on_terminal(daemon: Daemon, *arguments: str, **extra: str) -> tuple[int, str]:
    """Run it on a terminal; returns exit status and everything written."""
    process, reading = await start_on_terminal(daemon, *arguments, **extra)
    written = await asyncio.wait_for(reading, 5)
    return await process.wait(), written


async def finish(daemon: Daemon, outcome: Outcome) -> None:
    """End cycle 7, as the record then has it."""
    daemon.supervisor.details[7] = detail(7, outcome)
    await daemon.supervisor.tell(update(7, outcome=outcome))


# Looking.


async def test_status_is_printed(daemon: Daemon) -> None:
    ran = await run(daemon, "status")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("● malphas: idle since ")
    assert "\x1b" not in ran.out


async def test_everything_is_said_in_json_too(daemon: Daemon) -> None:
    assert json.loads((await run(daemon, "status", "--json")).out)["host"] == "malphas"
    assert json.loads((await run(daemon, "--json", "history", "-n", "1")).out)[0]["id"] == 5
    assert json.loads((await run(daemon, "show", "5", "--json")).out)["summary"]["id"] == 5


async def test_history_of_more_than_one_answer_is_fetched_in_pages(daemon: Daemon) -> None:
    daemon.supervisor.details = {number: detail(number) for number in range(1, 520)}
    assert len((await run(daemon, "history", "-n", "1000")).out.splitlines()) == 520


async def test_the_socket_can_be_named(daemon: Daemon, tmp_path: Path) -> None:
    ran = await run(daemon, "--socket", str(tmp_path / "none"), "status")
    assert ran.code == 3


async def test_a_reader_that_has_seen_enough_ends_it_quietly(daemon: Daemon) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, "status", cwd=REPOSITORY, env=environment(daemon), stdout=writing, stderr=asyncio.subprocess.PIPE
    )
    os.close(writing)
    _, err = await process.communicate()
    assert (process.returncode, err) == (141, b"")


# Exit statuses and errors.


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome.success, 0),
        (Outcome.offline, 0),
        (Outcome.rolled_back, 1),
        (Outcome.blocked, 5),
    ],
)
async def test_the_exit_status_is_the_outcome(daemon: Daemon, outcome: Outcome, code: int) -> None:
    await finish(daemon, outcome)
    ran = await run(daemon, "upgrade")
    assert ran.code == code
    assert ran.out.startswith(f"cycle 7: {outcome.value} (")
    if code:
        assert f"ended as {outcome.value}: upgrade_secret_message" in ran.err
        assert "try: gitopsctl show 7" in ran.err


async def test_unreachable_is_3_and_says_what_to_do(daemon: Daemon) -> None:
    await daemon.stop()
    ran = await run(daemon, "status")
    assert (ran.code, ran.out) == (3, "")
    assert f"cannot reach gitopsd at {daemon.path}" in ran.err
    assert "nothing is fetched or deployed until the daemon is back" in ran.err
    assert "try: systemctl status gitopsd" in ran.err


async def test_not_permitted_is_4(daemon: Daemon) -> None:
    daemon.peer = KEN
    for arguments in (("upgrade",), ("retry",), ("sync", "rain")):
        ran = await run(daemon, *arguments)
        assert ran.code == 4
        assert "ken may" in ran.err
        assert "nothing was changed" in ran.err
        assert "sudo" in ran.err


async def test_blocked_is_5(daemon: Daemon) -> None:
    daemon.supervisor.refusal = blocked("rollback failed \x1b[31m")
    ran = await run(daemon, "upgrade")
    assert ran.code == 5
    assert "rollback failed \ufffd[31m" in ran.err
    assert "try: sudo gitopsctl retry" in ran.err


async def test_a_suspension_is_told_to_people_and_is_no_failure_of_a_timer(daemon: Daemon) -> None:
    ran = await run(daemon, "suspend", "--for", "2h", "--reason", "a talk")
    assert ran.code == 0
    assert ran.out.endswith(": a talk\n")
    assert "suspended: until" in (await run(daemon, "status")).out
    daemon.supervisor.refusal = Suspended("suspended until 12:00 by op", advice="sudo gitopsctl resume")
    ran = await run(daemon, "upgrade")
    assert ran.code == 1
    assert "suspended until 12:00 by op" in ran.err
    ran = await run(daemon, "upgrade", "--requested-by", "timer")
    assert (ran.code, ran.out) == (0, "suspended until 12:00 by op; nothing was begun\n")
    assert "it goes on" in (await run(daemon, "resume")).out
    assert (await run(daemon, "resume")).out == "it was not suspended\n"


async def test_a_refused_request_is_1_and_wrong_usage_2(daemon: Daemon) -> None:
    daemon.supervisor.refusal = Failed("no dotfiles are configured for op", advice="gitopsctl sync USER")
    assert (await run(daemon, "sync")).code == 1
    assert (await run(daemon, "show", "99")).code == 2


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["suspend", "--for", "tomorrow"], "how long must be a time"),
        (["suspend", "--reason", "two\nlines"], "a reason is one line"),
        (["rollback", "the-old-one"], "golden, previous, or the number of a generation"),
        (["golden", "pin", "/etc"], "a path below /nix/store"),
        (["sync", ""], "an empty name"),
        (["upgrade", "--requested-by", "a/b"], "a word for the record"),
    ],
)
async def test_a_word_that_the_daemon_does_not_take_is_told_in_a_sentence(
    daemon: Daemon, typed: list[str], told: str
) -> None:
    ran = await run(daemon, *typed)
    assert (ran.code, ran.out) == (2, "")
    said, meaning, advice = ran.err.splitlines()
    assert said.startswith("gitopsctl: ")
    assert told in said
    assert meaning == "  nothing was changed"
    words = shlex.split(advice.removeprefix("  try: ").removeprefix("sudo "))
    assert words[0] == "gitopsctl"
    assert main._parser().parse_args(words[1:]).run


async def test_a_refusal_without_advice_of_its_own_gets_the_status(daemon: Daemon) -> None:
    daemon.supervisor.refusal = Failed("something is not there")
    assert (await run(daemon, "upgrade")).err.splitlines()[-1] == "  try: gitopsctl status"


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["show", "x"], ["history", "-n", "0"], ["status", "--js"]])
def test_usage_is_checked_before_anything_is_asked(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.run(arguments)
    assert caught.value.code == 2


async def test_config_check_tells_faults_without_the_daemon(daemon: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[[dotfiles]]\nuser = "rain"\nrepo_url = "x"\n', encoding="utf-8")
    assert (await run(daemon, "config", "check", str(file))).out == f"{file} is right\n"
    file.write_text("[[dotfiles]]\nusre = 5\n", encoding="utf-8")
    ran = await run(daemon, "config", "check", str(file))
    assert ran.code == 2
    assert "`user`" in ran.err
    assert json.loads((await run(daemon, "config", "check", str(file), "--json")).out)["error"]


# Following.


async def test_each_line_is_printed_once_and_progress_is_not(daemon: Daemon) -> None:
    await daemon.supervisor.tell(
        update(7, "=== Validating NixOS Build ==="),
        update(7, "12 of 40 built", progress=True),
        update(7, "evil \x1b[2J subject"),
    )
    await finish(daemon, Outcome.success)
    ran = await run(daemon, "sync", "rain")
    assert ran.out.splitlines()[:-1] == ["=== Validating NixOS Build ===", "evil \ufffd[2J subject"]
    assert ran.err == ""
    assert daemon.supervisor.requests[0][2] == ("rain",)


async def test_following_in_json_is_one_object_per_line(daemon: Daemon) -> None:
    await daemon.supervisor.tell(update(7, "one"))
    await finish(daemon, Outcome.success)
    ran = await run(daemon, "retry", "--json")
    assert [json.loads(line)["outcome"] for line in ran.out.splitlines()] == [None, "success"]


async def test_it_need_not_be_followed(daemon: Daemon) -> None:
    daemon.peer = RAIN
    ran = await run(daemon, "sync", "--no-wait")
    assert (ran.code, ran.out) == (0, "cycle 7 is asked for\n")
    assert json.loads((await run(daemon, "sync", "--no-wait", "--json")).out) == {"cycle": 7}
    assert daemon.supervisor.open_streams == 0


async def test_ctrl_c_stops_following_and_not_the_cycle(daemon: Daemon) -> None:
    process = await start(daemon, "upgrade", "--requested-by", "timer")
    await eventually(lambda: daemon.supervisor.open_streams == 1)
    process.send_signal(signal.SIGINT)
    ran = await end(process)
    assert ran.code == 130
    assert ran.err == "cycle 7 is still running: gitopsctl watch\n"
    assert daemon.supervisor.requests[0][1] == "timer"


async def test_a_restart_of_the_daemon_does_not_end_following(daemon: Daemon) -> None:
    await daemon.supervisor.tell(update(7, "before"))
    process = await start(daemon, "upgrade")
    await eventually(lambda: daemon.supervisor.open_streams == 1)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"before\n"
    await daemon.stop()
    await asyncio.sleep(0.05)
    await daemon.start()
    await daemon.supervisor.tell(update(7, "after"))
    await finish(daemon, Outcome.success)
    ran = await end(process)
    assert ran.code == 0
    assert ran.out.splitlines()[:-1] == ["after"]  # the daemon told `before` again


async def test_a_request_that_a_restart_forgot_is_1(daemon: Daemon) -> None:
    process = await start(daemon, "upgrade")
    await eventually(lambda: daemon.supervisor.open_streams == 1)
    await daemon.stop()
    daemon.supervisor.current = snapshot()
    await daemon.start()
    ran = await end(process)
    assert ran.code == 1
    assert "does not know cycle 7 any more" in ran.err


async def test_a_daemon_that_stays_away_is_given_up(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_PAUSE", 0.01)
    daemon.supervisor.current = snapshot(cycle=running(7))

    def wait() -> None:
        for reply in follow.steadily(daemon.path, "io.gitopsd.Status.Follow", {"cycle": 7}, patience=0.05):
            assert reply is None or reply["update"]["line"] == "one"

    await daemon.supervisor.tell(update(7, "one"))
    waiting = asyncio.create_task(asyncio.to_thread(wait))
    await eventually(lambda: daemon.supervisor.open_streams == 1)
    await asyncio.sleep(0.02)
    await daemon.stop()
    with pytest.raises(DaemonUnreachable):
        await waiting


async def test_watch_tells_changes_line_by_line_where_there_is_no_terminal(daemon: Daemon) -> None:
    process = await start(daemon, "watch")
    assert process.stdout is not None
    assert (await process.stdout.readline()).endswith(b" idle\n")
    await daemon.supervisor.show(snapshot(state=State.build, activity="building", cycle=running(7, State.build)))
    assert (await process.stdout.readline()).endswith(b" cycle 7: build, building\n")
    process.send_signal(signal.SIGINT)
    assert (await end(process)).code == 130


# On a terminal.


async def test_a_terminal_gets_colours_unless_it_says_no(daemon: Daemon) -> None:
    assert "\x1b[1;32midle\x1b[0m" in (await run_on_terminal(daemon, "status"))[1]
    assert "\x1b" not in (await run_on_terminal(daemon, "status", NO_COLOR="1"))[1]


async def test_a_terminal_gets_a_progress_line_that_goes_away(daemon: Daemon) -> None:
    await daemon.supervisor.tell(update(7, "12 of 40 built " + "x" * 200, progress=True), update(7, "a line"))
    await finish(daemon, Outcome.success)
    code, written = await run_on_terminal(daemon, "upgrade")
    assert code == 0
    assert "cycle 7: build, " in written
    assert "12 of 40 built" in written
    for row in written.replace("\r\n", "\n").split("\n"):
        assert all(len(piece) < 80 for piece in row.split("\r\x1b[K")), row
    assert written.replace("\r\n", "\n").rsplit("\r\x1b[K", 1)[1].count("\n") == 1  # the last line stands alone


async def test_long_output_goes_through_the_pager_of_the_person(daemon: Daemon) -> None:
    daemon.supervisor.details = {number: detail(number) for number in range(1, 60)}
    code, written = await run_on_terminal(daemon, "history", "-n", "50", PAGER="sed s/^/paged:/")
    assert code == 0
    assert written.count("paged:") == 51
    assert "paged:" not in (await run_on_terminal(daemon, "history", "-n", "3", PAGER="sed s/^/paged:/"))[1]
    assert "CYCLE" in (await run_on_terminal(daemon, "history", "-n", "50", PAGER="/no/such/pager"))[1]


async def test_watch_redraws_and_leaves_the_terminal_as_it_was(daemon: Daemon) -> None:
    process, reading = await start_on_terminal(daemon, "watch")
    await eventually(lambda: daemon.supervisor.open_streams == 1)
    await daemon.supervisor.show(snapshot(state=State.build))
    await daemon.supervisor.show(snapshot(state=State.switch))
    await asyncio.sleep(0.3)  # longer than the pause between two snapshots
    process.send_signal(signal.SIGINT)
    written = await asyncio.wait_for(reading, 5)
    assert await process.wait() == 130
    assert written.startswith("\x1b[?1049h")
    assert written.count("\x1b[H") >= 2
    assert "switch" in written
    assert written.endswith("\x1b[?1049l")
