"""No host is left without a gitopsd while its own new version is deployed, whatever dies meanwhile."""

import json
import time
from typing import Any

import pytest
from e2e.scene import HELLO, Scene, set_up
from lab import Host, Lab

pytestmark = pytest.mark.lab

RECORD = "/var/lib/gitopsd/takeover.json"
STAND_BY = "gitopsd-standby.service"

# The installed one, whose watch over a takeover is a short one.
QUICK = """#!/usr/bin/python3 -I
import sys

sys.path.insert(0, "/opt/gitopsd-src")
from gitopsd.__main__ import main
from gitopsd.daemon import standby

standby.HOLD = 6.0
sys.exit(main())
"""

# Newer versions that rehearse well. The first brings the state to where the old one cannot read it, and dies.
DIES = """#!/bin/sh
case "$*" in *--rehearse*) exec /usr/bin/gitopsd "$@" ;; esac
python3 -c 'import sqlite3; sqlite3.connect("/var/lib/gitopsd/state.db").execute("PRAGMA user_version = 99")'
exit 7
"""
NEVER_READY = """#!/bin/sh
case "$*" in *--rehearse*) exec /usr/bin/gitopsd "$@" ;; esac
exec sleep infinity
"""


def one(lab: Lab, *, soak: str = "15s") -> tuple[Scene, Host, str]:
    """A host with a short watch, what runs being deployed; and the text of gitopsd's unit."""
    scene = set_up(lab, "malphas", soak=soak, homes=False)
    malphas = scene.hosts["malphas"]
    malphas.write("/usr/bin/gitopsd", QUICK, mode=0o755)
    malphas.run(["systemctl", "restart", "gitopsd.service"])
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0
    return scene, malphas, scene.files()["gitopsd/gitopsd.service"]


def begin(scene: Scene, host: Host, unit: str, what: str = "own unit") -> str:
    """Begin to deploy another unit of gitopsd's, and wait for the soak; returns the revision."""
    revision = scene.forge.push_change("nix-config", {"gitopsd/gitopsd.service": unit}, what)
    host.run(["gitopsctl", "upgrade", "--no-wait"])
    host.until(lambda: "soaking" in host.run(["gitopsctl", "status"], check=False).stdout, what="the soak")
    return revision


def other(unit: str, program: str = "", service: str = "") -> str:
    """The unit with another program, or with more in its service section."""
    changed = unit.replace("ExecStart=gitopsd", f"ExecStart={program}") if program else unit
    changed = changed.replace("[Service]\n", f"[Service]\n{service}\n")
    assert changed != unit
    return changed


def status(host: Host) -> dict[str, Any]:
    told = host.run(["gitopsctl", "status", "--json"], check=False)
    answer: dict[str, Any] = json.loads(told.stdout) if told.returncode == 0 else {}
    return answer


def ended(host: Host, revision: str) -> dict[str, Any]:
    """Wait for the end of the upgrade to this revision; returns what status says then."""
    answer: dict[str, Any] = {}

    def over() -> bool:
        answer.update(status(host) or {"cycle": "?"})
        return answer["cycle"] is None and answer["last_upgrade"]["revision"] == revision

    host.until(over, timeout=120, what=f"the end of the upgrade to {revision}")
    return answer


def kill(host: Host, unit: str = "gitopsd.service") -> None:
    """With SIGKILL, what the unit runs."""
    host.run(["systemctl", "kill", "--signal=KILL", unit])


def property_of(host: Host, name: str, unit: str = "gitopsd.service") -> str:
    return host.run(["systemctl", "show", "-P", name, unit]).stdout.strip()


def gone_back(host: Host, before: str, revision: str) -> None:
    """The old system runs with its gitopsd, the revision is rejected, and nothing is left behind."""
    said = ended(host, revision)
    assert said["last_upgrade"]["outcome"] == "rolled-back", said["last_upgrade"]
    assert "no gitopsd held while it was deployed: it " in said["last_upgrade"]["message"]
    assert said["rejected"][0]["revision"] == revision
    assert host.current_system() == host.boot_default() == before
    assert said["deployed"]["toplevel"] == said["system"]["profile"] == before
    assert said["state"] == "failed"
    assert not said["system"]["drift"]
    host.until(lambda: host.active_state(STAND_BY) == "inactive", what="the end of the watch")
    assert not host.exists(RECORD)
    assert not host.exists("/nix/var/nix/gcroots/gitopsd-takeover")
    assert host.active_state("gitopsd.service") == "active"
    assert host.active_state("sshd.service") == "active"
    assert host.failed_units() == []
    assert host.run(["gitopsctl", "upgrade"], check=False).returncode == 1  # it is rejected


@pytest.mark.parametrize("how", ["the daemon", "the daemon and who watches", "after PID 1 was executed again"])
def test_a_daemon_that_is_killed_in_the_soak_leaves_a_host_that_goes_back_if_the_new_one_does_not_start(
    lab: Lab, how: str
) -> None:
    scene, malphas, unit = one(lab)
    before = malphas.current_system()
    malphas.write("/usr/local/bin/gitopsd-dies", DIES, mode=0o755)
    revision = begin(scene, malphas, other(unit, "/usr/local/bin/gitopsd-dies"))
    assert malphas.current_system() != before
    assert malphas.active_state(STAND_BY) == "active"
    if "PID 1" in how:
        malphas.run(["systemctl", "daemon-reexec"])
    kill(malphas)
    if "who watches" in how:
        kill(malphas, STAND_BY)
        time.sleep(2)
        kill(malphas, STAND_BY)
    gone_back(malphas, before, revision)
    assert malphas.sh("ls /var/lib/gitopsd/state.db.newer-*").stdout.count("\n") == 1
    revision = begin(scene, malphas, other(unit, service="Nice=1"), "a good one")
    assert ended(malphas, revision)["last_upgrade"]["outcome"] == "success"


@pytest.mark.parametrize("limit", ["5s", "1s"])
def test_a_unit_that_ends_gitopsd_again_and_again_does_not_keep_an_upgrade_from_its_end(lab: Lab, limit: str) -> None:
    scene, malphas, unit = one(lab, soak="8s")
    before = malphas.current_system()
    changed = other(unit, service=f"RuntimeMaxSec={limit}")
    revision = scene.forge.push_change("nix-config", {"gitopsd/gitopsd.service": changed}, "ends")
    malphas.run(["gitopsctl", "upgrade", "--no-wait"])
    gone_back(malphas, before, revision)


def test_a_gitopsd_that_is_never_ready_is_gone_back_from(lab: Lab) -> None:
    scene, malphas, unit = one(lab)
    before = malphas.current_system()
    malphas.write("/usr/local/bin/gitopsd-waits", NEVER_READY, mode=0o755)
    changed = other(unit, "/usr/local/bin/gitopsd-waits", "TimeoutStartSec=3s")
    revision = begin(scene, malphas, changed)
    kill(malphas)
    gone_back(malphas, before, revision)


def test_a_new_gitopsd_that_takes_over_in_the_middle_of_its_deployment_is_watched_until_it_has_held(lab: Lab) -> None:
    scene, malphas, unit = one(lab, soak="8s")
    before = malphas.current_system()
    revision = begin(scene, malphas, other(unit, service="Nice=1"))
    kill(malphas)
    malphas.until(lambda: property_of(malphas, "Nice") == "1", what="the new gitopsd")
    assert ended(malphas, revision)["last_upgrade"]["outcome"] == "success"
    assert malphas.current_system() == malphas.boot_default() != before
    assert malphas.active_state(STAND_BY) == "active"
    assert not json.loads(malphas.read(RECORD))["deploying"]
    # Another upgrade waits until what would be gone back to may change.
    scene.push_config("say hello", hello_service=HELLO.format(word="again"))
    said = malphas.run(["gitopsctl", "upgrade"])
    assert "=== Deployment Successful ===" in said.stdout
    assert malphas.active_state("hello.service") == "active"
    malphas.until(lambda: malphas.active_state(STAND_BY) == "inactive", timeout=30, what="the end of the watch")
    assert not malphas.exists(RECORD)


def test_a_gitopsd_that_a_person_stops_in_the_middle_is_waited_for_and_nothing_is_undone(lab: Lab) -> None:
    scene, malphas, unit = one(lab, soak="8s")
    before = malphas.current_system()
    revision = begin(scene, malphas, other(unit, service="Nice=1"))
    malphas.run(["systemctl", "stop", "gitopsd.socket", "gitopsd.service"])
    time.sleep(12)
    after = malphas.current_system()
    assert after != before
    assert malphas.active_state("gitopsd.service") == "inactive"
    assert malphas.active_state(STAND_BY) == "active"
    malphas.run(["systemctl", "start", "gitopsd.socket", "gitopsd.service"])
    assert ended(malphas, revision)["last_upgrade"]["outcome"] == "success"
    assert malphas.current_system() == malphas.boot_default() == after


def test_a_reboot_in_the_middle_ends_the_watch_with_the_deployment(lab: Lab) -> None:
    scene, malphas, unit = one(lab)
    before = malphas.current_system()
    malphas.write("/usr/local/bin/gitopsd-dies", DIES, mode=0o755)
    revision = begin(scene, malphas, other(unit, "/usr/local/bin/gitopsd-dies"))
    malphas.reboot()
    assert malphas.booted_system() == malphas.current_system() == before
    assert ended(malphas, revision)["last_upgrade"]["outcome"] == "interrupted"
    assert not malphas.exists(RECORD)
    assert malphas.active_state(STAND_BY) == "inactive"
    assert malphas.active_state("gitopsd.service") == "active"


def test_an_upgrade_that_leaves_gitopsd_as_it_is_needs_no_watch(lab: Lab) -> None:
    scene, malphas, _ = one(lab, soak="3s")
    scene.push_config("say hello", hello_service=HELLO.format(word="alone"))
    malphas.run(["gitopsctl", "upgrade", "--no-wait"])
    malphas.until(lambda: "soaking" in malphas.run(["gitopsctl", "status"]).stdout, what="the soak")
    assert malphas.active_state(STAND_BY) == "inactive"
    assert not malphas.exists(RECORD)


def test_an_old_gitopsd_that_began_again_before_systemd_knew_of_the_new_one_hands_over(lab: Lab) -> None:
    scene, malphas, unit = one(lab, soak="4s")
    malphas.write(
        "/usr/local/bin/lab-point",
        "#!/bin/sh\ncase $1 in test:activated) rm $0; systemctl kill --signal=KILL gitopsd.service; sleep 4 ;; esac\n",
        mode=0o755,
    )
    revision = scene.forge.push_change("nix-config", {"gitopsd/gitopsd.service": other(unit, service="Nice=1")}, "own")
    malphas.run(["gitopsctl", "upgrade", "--no-wait"])
    assert ended(malphas, revision)["last_upgrade"]["outcome"] == "success"
    pid = property_of(malphas, "MainPID")
    malphas.until(
        lambda: (
            malphas.run(["ps", "-o", "ni=", "-p", property_of(malphas, "MainPID")], check=False).stdout.strip() == "1"
        ),
        timeout=30,
        what=f"the new gitopsd instead of {pid}",
    )
    malphas.until(lambda: malphas.active_state(STAND_BY) == "inactive", timeout=40, what="the end of the watch")
