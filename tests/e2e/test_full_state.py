"""The disk of the daemon's record is full: on a file system of its own, which really is."""

import json
import re
from typing import Any

import pytest
from e2e.scene import HELLO
from e2e.upgrading import ended, one, rejected
from lab import Host, Lab

pytestmark = pytest.mark.lab

STATE = "/var/lib/gitopsd"
SMALL = (
    f"systemctl stop gitopsd.service gitopsd.socket && cp -a {STATE}/. /var/tmp/state && mount -t tmpfs -o size=4M,mode=700"
    f" tmpfs {STATE} && cp -a /var/tmp/state/. {STATE}/ && systemctl start gitopsd.socket gitopsd.service"
)
FILL = f"dd if=/dev/zero of={STATE}/filler bs=4K 2>/dev/null || true"
FULL = "database or disk is full"


def small(host: Host) -> None:
    """Put the record on a file system of 4 MiB."""
    host.sh(f"mkdir -p /var/tmp/state && {SMALL}")


def status(host: Host) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(host.run(["gitopsctl", "status", "--json"]).stdout)
    return answer


def life(host: Host) -> str:
    """Which daemon runs, and how often it was started again."""
    return host.run(["systemctl", "show", "-P", "MainPID", "-P", "NRestarts", "gitopsd.service"]).stdout


def cycles(host: Host) -> list[int]:
    return [cycle["id"] for cycle in json.loads(host.run(["gitopsctl", "history", "--json"]).stdout)]


@pytest.mark.parametrize("pages", [0, 2, 3])
def test_whoever_asks_is_told_and_nothing_begins(lab: Lab, pages: int) -> None:
    _, malphas = one(lab)
    malphas.run(["gitopsctl", "upgrade"])
    small(malphas)
    malphas.run(["gitopsctl", "status"])
    before, known = life(malphas), cycles(malphas)
    malphas.sh(f"{FILL}; truncate -s -{4 * pages}K {STATE}/filler")
    said = []
    for words in (["upgrade"], ["upgrade", "--dry-run"], ["retry"], ["suspend"]):
        asked = malphas.run(["gitopsctl", *words], check=False, timeout=30)
        if FULL in asked.stderr or "No space left on device" in asked.stderr:
            assert asked.returncode == 1, words
            assert STATE in asked.stderr, words
            assert "not full" in asked.stderr, words
            said.append(words)
    assert len(said) >= (4 if pages == 0 else 1)
    assert life(malphas) == before  # it runs on, and answers
    if pages == 0:
        assert (status(malphas)["waiting"], status(malphas)["cycle"]) == ([], None)
        malphas.run(["systemctl", "restart", "gitopsd.service"])  # starts on a full disk, too
        assert cycles(malphas) == known
    malphas.sh(f"rm {STATE}/filler")
    malphas.until(lambda: status(malphas)["cycle"] is None and not status(malphas)["waiting"], what="rest")
    malphas.run(["gitopsctl", "resume"])
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0


def test_a_cycle_waits_for_room_and_goes_on_where_it_was(lab: Lab) -> None:
    scene, malphas = one(lab)
    malphas.run(["gitopsctl", "upgrade"])
    small(malphas)
    scene.push_config("say hello", hello_service=HELLO.format(word="room"))
    before = life(malphas)
    number = int(re.findall(r"\d+", malphas.run(["gitopsctl", "upgrade", "--no-wait"]).stdout)[0])
    malphas.until(lambda: status(malphas)["state"] in ("build", "switch", "verify"), what="the build")
    # As long as there is room in the file of what is not yet in the database itself, more is written.
    malphas.sh(f"{FILL}; gitopsctl suspend >/dev/null 2>&1 && gitopsctl resume >/dev/null 2>&1 || true; {FILL}")
    malphas.until(lambda: "cannot be recorded" in status(malphas)["activity"], what="a full disk")
    assert FULL in malphas.run(["systemctl", "show", "-P", "StatusText", "gitopsd.service"]).stdout
    assert life(malphas) == before
    malphas.sh(f"rm {STATE}/filler")
    malphas.until(lambda: status(malphas)["cycle"] is None, what="the end")
    assert (ended(malphas)["summary"]["id"], ended(malphas)["summary"]["outcome"]) == (number, "success")
    assert (malphas.active_state("hello.service"), rejected(malphas)) == ("active", [])
    assert malphas.current_system() == malphas.boot_default()
    assert malphas.journal("gitopsd.service").count("not recorded: ") == 1
