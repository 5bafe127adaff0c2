"""The one spawner, on real programs."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from gitopsd.errors import Cause, Failed, ToolMissing, Transient
from gitopsd.tools.process import Account, CommandFailed, Processes

RUN = Processes().run


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")


async def test_output_and_status_come_back() -> None:
    result = await RUN(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=5, check=False)
    assert (result.status, result.stdout, result.stderr) == (3, "out\n", "err\n")


async def test_a_failure_is_an_error_with_the_tail_of_stderr() -> None:
    with pytest.raises(CommandFailed, match=r"`sh -c .* failed \(exit status 1\): the reason"):
        await RUN(["sh", "-c", "echo the reason >&2; exit 1"], timeout=5)


async def test_a_program_that_is_missing_says_how_to_get_it() -> None:
    with pytest.raises(ToolMissing, match="`no-such-program` is not on the daemon's PATH") as caught:
        await RUN(["no-such-program"], timeout=5)
    assert "install no-such-program" in caught.value.advice


async def test_a_directory_that_is_missing_is_not_taken_for_a_missing_program() -> None:
    with pytest.raises(Failed, match="the directory /no/such does not exist") as caught:
        await RUN(["true"], timeout=5, cwd="/no/such")
    assert not isinstance(caught.value, ToolMissing)


async def test_a_program_over_its_time_is_ended_with_its_whole_group(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sh -c 'trap : TERM; echo $$ >> {pids}; while :; do sleep 60; done' & echo $$ >> {pids}; wait"
    with pytest.raises(Transient, match="did not end within 0.3 s") as caught:
        await RUN(["sh", "-c", script], timeout=0.3)
    assert caught.value.cause is Cause.timeout
    started = [int(line) for line in pids.read_text(encoding="utf-8").split()]
    assert len(started) == 2
    await asyncio.sleep(0.05)
    assert not any(alive(pid) for pid in started)


async def test_cancelling_ends_the_program(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    task = asyncio.create_task(RUN(["sh", "-c", f"echo $$ > {pid}; exec sleep 60"], timeout=60))
    while not pid.exists() or not pid.read_text(encoding="utf-8"):
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(int(pid.read_text(encoding="utf-8")))


async def test_a_grandchild_that_holds_the_pipes_does_not_hold_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gitopsd.tools.process._GRACE", 0.1)
    began = time.monotonic()
    result = await RUN(["sh", "-c", "sleep 60 & echo done"], timeout=30)
    assert result.stdout == "done\n"
    assert time.monotonic() - began < 20


async def test_a_daemon_that_a_program_leaves_behind_with_its_pipes_does_not_hold_us(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("gitopsd.tools.process._GRACE", 0.1)
    began, pid = time.monotonic(), tmp_path / "pid"
    script = (
        f"setsid sh -c 'echo $$ >{pid}; exec sleep 60' & echo done; echo said >&2; while [ ! -s {pid} ]; do :; done"
    )
    result = await RUN(["sh", "-c", script], timeout=30)
    os.kill(int(pid.read_text(encoding="utf-8")), 9)
    assert (result.status, result.stdout, result.stderr) == (0, "done\n", "said\n")
    assert time.monotonic() - began < 20


async def test_too_much_output_is_an_error_and_not_a_full_memory() -> None:
    with pytest.raises(Failed, match="printed more than 1000 bytes"):
        await RUN(["yes"], timeout=5, output_limit=1000)


async def test_the_environment_is_explicit_and_has_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_DAEMON", "1")
    result = await RUN(["sh", "-c", "env; tty; cat </dev/tty"], timeout=5, env={"MORE": "1"}, check=False)
    assert "SECRET_OF_THE_DAEMON" not in result.stdout
    assert "MORE=1" in result.stdout
    assert "GIT_TERMINAL_PROMPT=0" in result.stdout
    assert "BatchMode=yes" in result.stdout
    assert "not a tty" in result.stdout
    assert "No such device" in result.stderr


async def test_stdin_is_what_is_given_and_else_empty() -> None:
    big = b"x" * 300_000
    assert len((await RUN(["cat"], timeout=5, stdin=big)).stdout) == len(big)
    assert (await RUN(["cat"], timeout=5)).stdout == ""
    assert (await RUN(["true"], timeout=5, stdin=big)).status == 0


async def test_lines_of_stderr_come_while_it_runs() -> None:
    lines: list[str] = []
    await RUN(["sh", "-c", "printf 'a\\nb\\nc' >&2"], timeout=5, on_stderr=lines.append)
    assert lines == ["a", "b"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_a_program_runs_as_the_person_with_their_groups_and_home(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    nobody = Account(name="nobody", uid=65534, gid=65534, groups=(65534,), home="/")
    result = await RUN(["sh", "-c", "id -u; id -G; echo $HOME $USER; pwd"], timeout=5, account=nobody)
    assert result.stdout.split("\n")[:4] == ["65534", "65534", "/ nobody", "/"]


def test_a_person_who_is_not_on_this_host_is_a_clear_error() -> None:
    with pytest.raises(Failed, match="there is no user 'nobody-like-this' on this host"):
        Account.of("nobody-like-this")
