"""The verbs about boots and golden, against a daemon on a real socket and without one."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from unit.fakes import NEW, OLD
from unit.test_cli_run import Ran, run
from unit.test_control_fakes import RAIN, WHEEL, Daemon

from gitopsd.cli import render
from gitopsd.types import BootFacts, BootRollback, SystemFacts

FACTS = BootFacts(
    toplevel=NEW,
    verdict="bad",
    reason="sshd.service has failed\nand more of it",
    failures=1,
    max_attempts=2,
    on_trial=True,
    golden=OLD,
    golden_generation=3,
    golden_since=500_000.0,
    rollback=BootRollback(left=NEW, to=OLD, reason="2 bad boots", at=1_000_000.0, how="landed"),
    troubles=("a record counts as unknown",),
)


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with Daemon(tmp_path / "socket") as running_daemon:
        running_daemon.supervisor.current = msgspec.structs.replace(
            running_daemon.supervisor.current, boot=FACTS, system=SystemFacts(current=OLD)
        )
        running_daemon.peer = WHEEL
        yield running_daemon


async def test_boot_status_begins_with_the_line_that_people_grep_for(daemon: Daemon) -> None:
    told = await run(daemon, "boot", "status")
    assert told.code == 0
    lines = told.out.splitlines()
    assert lines[0] == "Boot failure count: 1 / 2"
    assert f"booted:   {NEW}" in lines
    assert "verdict:  bad: sshd.service has failed; on trial, it has never booted well" in lines
    assert f"golden:   {OLD} (generation 3), pinned 1970-01-06 18:53:20" in lines
    assert "rollback: 1970-01-12 13:46:40, golden booted well" in lines
    assert "trouble:  a record counts as unknown" in lines
    assert json.loads((await run(daemon, "boot", "status", "--json")).out)["verdict"] == "bad"


async def test_status_shows_a_bad_boot(daemon: Daemon) -> None:
    told = (await run(daemon, "status")).out
    assert "boot: bad (1 / 2): sshd.service has failed" in told
    assert "golden: generation 3" in told
    assert "a record counts as unknown" in told


async def test_golden_show_tells_which_or_ends_with_1(daemon: Daemon) -> None:
    assert await run(daemon, "golden", "show") == Ran(0, f"{OLD} (generation 3), pinned 1970-01-06 18:53:20\n", "")
    daemon.supervisor.current = msgspec.structs.replace(daemon.supervisor.current, boot=BootFacts())
    told = await run(daemon, "golden", "show")
    assert (told.code, told.out) == (1, "")
    assert "golden pin" in told.err


async def test_golden_is_pinned_as_what_runs_by_number_and_by_path_and_unpinned(daemon: Daemon) -> None:
    golden = daemon.supervisor.pinning
    assert (await run(daemon, "golden", "pin")).out.startswith(OLD)
    assert golden.golden == OLD
    assert (await run(daemon, "golden", "pin", NEW)).out.startswith(NEW)
    assert golden.golden == NEW
    assert (await run(daemon, "golden", "pin", "1")).out.startswith(OLD)
    assert golden.golden == OLD
    assert (await run(daemon, "golden", "pin", "77")).code == 1
    assert (await run(daemon, "golden", "pin", "/etc/passwd")).code == 2
    assert golden.golden == OLD
    assert (await run(daemon, "golden", "unpin")).code == 0
    assert golden.golden is None


async def test_boots_are_forgiven(daemon: Daemon) -> None:
    daemon.supervisor.pinning.assessment = BootFacts(failures=2)
    assert (await run(daemon, "boot", "reset")).out == "2 bad boots forgotten\n"


@pytest.mark.parametrize("verb", [("golden", "pin"), ("golden", "unpin"), ("boot", "reset")])
async def test_what_changes_something_is_for_admins(daemon: Daemon, verb: tuple[str, str]) -> None:
    daemon.peer = RAIN
    assert (await run(daemon, *verb)).code == 4


async def test_what_only_shows_works_without_the_daemon(daemon: Daemon) -> None:
    told = await run(daemon, "boot", "status", "--socket", "/nowhere")
    assert told.code == 0
    assert "Boot failure count: 0 / 2" in told.out
    assert "read from the record itself" in told.err
    assert (await run(daemon, "boot", "reset", "--socket", "/nowhere")).code == 3


def test_an_older_daemon_says_nothing_of_boots() -> None:
    assert render.boot({})[0] == "Boot failure count: 0 / 2"
