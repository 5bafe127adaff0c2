"""The daemon's life under a real systemd."""

import json
import time

import pytest
from e2e.scene import HELLO, USER, set_up
from lab import Host, Lab

pytestmark = pytest.mark.lab


def main_pid(host: Host) -> int:
    return int(host.run(["systemctl", "show", "-P", "MainPID", "gitopsd.service"]).stdout)


def drop_in(host: Host, text: str) -> None:
    """Change gitopsd's unit until the next boot, as `systemctl edit --runtime` does."""
    host.write("/run/systemd/system/gitopsd.service.d/test.conf", text)
    host.run(["systemctl", "daemon-reload"])


def status(host: Host) -> dict:  # type: ignore[type-arg]
    answer: dict = json.loads(host.run(["gitopsctl", "status", "--json"]).stdout)  # type: ignore[type-arg]
    return answer


def test_it_is_ready_before_any_cycle_and_boot_does_not_wait_for_one(lab: Lab) -> None:
    malphas = set_up(lab, "malphas").hosts["malphas"]
    malphas.cut_network(silent=True)
    malphas.reboot()
    assert malphas.active_state("gitopsd.service") == "active"
    assert malphas.run(["systemctl", "is-system-running"]).stdout.strip() == "running"
    said = malphas.run(["systemctl", "show", "-P", "StatusText", "gitopsd.service"]).stdout.strip()
    assert said == "idle"


def test_a_daemon_that_hangs_is_ended_by_the_watchdog_and_comes_back(lab: Lab) -> None:
    malphas = set_up(lab, "malphas", dotfiles=False).hosts["malphas"]
    drop_in(malphas, "[Service]\nWatchdogSec=1s\nTimeoutAbortSec=1s\n")
    malphas.run(["systemctl", "restart", "gitopsd.service"])
    first = main_pid(malphas)
    time.sleep(2.5)
    assert main_pid(malphas) == first  # fed, it lives
    malphas.run(["kill", "-STOP", str(first)])
    malphas.until(
        lambda: main_pid(malphas) not in (0, first) and malphas.active_state("gitopsd.service") == "active",
        timeout=20,
        what="the watchdog to restart gitopsd",
    )
    assert "watchdog" in malphas.journal("gitopsd.service").lower()
    assert status(malphas)["state"] == "idle"


def test_a_reload_takes_a_good_file_and_refuses_a_bad_one(lab: Lab) -> None:
    malphas = set_up(lab, "malphas").hosts["malphas"]
    good = malphas.read("/etc/gitopsd/config.toml")
    malphas.sh("rm /etc/gitopsd/config.toml")
    malphas.write("/etc/gitopsd/config.toml", good + "\n[contrl]\ngroup = 'x'\n")
    pid = main_pid(malphas)
    malphas.run(["systemctl", "reload", "gitopsd.service"])
    malphas.until(lambda: "contrl" in status(malphas)["config_error"], what="the refusal to be shown")
    assert "expected `control`" in malphas.run(["gitopsctl", "status"]).stdout
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0  # the old one is in force

    malphas.write("/etc/gitopsd/config.toml", good.replace('host = "malphas"', 'host = "renamed"'))
    malphas.run(["systemctl", "reload", "gitopsd.service"])
    malphas.until(lambda: status(malphas)["host"] == "renamed", what="the new configuration")
    assert status(malphas)["config_error"] == ""
    assert main_pid(malphas) == pid


def test_sigterm_before_switch_cancels_within_five_seconds_and_leaves_nothing(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    malphas.cut_network(silent=True)  # a remote that never answers
    malphas.run(["gitopsctl", "upgrade", "--no-wait"])
    malphas.until(lambda: status(malphas)["state"] == "fetch", what="fetch")
    before = time.monotonic()
    malphas.run(["systemctl", "stop", "gitopsd.service"])
    assert time.monotonic() - before < 5
    assert malphas.sh("pgrep -x ssh || true").stdout == ""
    malphas.restore_network()
    assert status(malphas)["state"] == "idle"
    (entry,) = json.loads(malphas.run(["gitopsctl", "history", "--json"]).stdout)
    assert entry["outcome"] == "cancelled"
    assert malphas.failed_units() == []


def test_sigterm_during_switch_leaves_it_running_and_its_result_is_picked_up(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    slow = HELLO.format(word="slowly").replace("[Service]", "[Service]\nExecStartPre=/bin/sleep 4")
    scene.push_config("a slow unit", hello_service=slow)
    malphas.run(["gitopsctl", "upgrade", "--no-wait"])
    malphas.until(lambda: malphas.active_state("hello.service") == "activating", what="the switch to be under way")
    malphas.run(["systemctl", "restart", "gitopsd.service"])
    assert malphas.active_state("nixos-rebuild-switch-to-configuration.service") == "active"
    malphas.until(lambda: status(malphas)["cycle"] is None, timeout=120, what="the cycle to end")
    assert status(malphas)["last_upgrade"]["outcome"] == "success"
    assert malphas.active_state("hello.service") == "active"
    assert malphas.current_system() == malphas.boot_default()
    # One `test` and one `boot`: the restart started neither again.
    assert malphas.journal("nixos-rebuild-switch-to-configuration.service").count("Started ") == 2


@pytest.mark.parametrize("what", ["daemon-reexec", "dbus"])
def test_pid_1_or_the_bus_restarting_during_verify_changes_nothing(lab: Lab, what: str) -> None:
    scene = set_up(lab, "malphas", soak="6s")
    malphas = scene.hosts["malphas"]
    scene.push_config("say hello", hello_service=HELLO.format(word=what))
    malphas.run(["gitopsctl", "upgrade", "--no-wait"])
    malphas.until(lambda: "soaking" in status(malphas)["activity"], what="the soak")
    if what == "dbus":
        malphas.sh("systemctl kill --signal=KILL dbus.service; sleep 0.5; systemctl start dbus.service")
    else:
        malphas.run(["systemctl", "daemon-reexec"])
    malphas.until(lambda: status(malphas)["cycle"] is None, timeout=120, what="the cycle to end")
    assert status(malphas)["last_upgrade"]["outcome"] == "success", malphas.journal("gitopsd.service")


@pytest.mark.parametrize("what", ["daemon-reexec", "dbus"])
def test_pid_1_or_the_bus_restarting_during_the_activation_changes_nothing(lab: Lab, what: str) -> None:
    scene = set_up(lab, "malphas", soak="1s")
    malphas = scene.hosts["malphas"]
    slow = HELLO.format(word=what).replace("[Service]", "[Service]\nExecStartPre=/bin/sleep 4")
    scene.push_config("a slow unit", hello_service=slow)
    malphas.run(["gitopsctl", "upgrade", "--no-wait"])
    malphas.until(lambda: malphas.active_state("hello.service") == "activating", what="the activation")
    pid = main_pid(malphas)
    if what == "dbus":
        malphas.sh("systemctl kill --signal=KILL dbus.service; sleep 0.5; systemctl start dbus.service")
    else:
        malphas.run(["systemctl", "daemon-reexec"])
    malphas.until(lambda: status(malphas)["cycle"] is None, timeout=120, what="the cycle to end")
    assert status(malphas)["last_upgrade"]["outcome"] == "success", malphas.journal("gitopsd.service")
    assert main_pid(malphas) == pid
    assert malphas.current_system() == malphas.boot_default()
    # PID 1 forgets who waits for a job when it re-executes, and the lab's activation is told that it has ended.
    malphas.until(lambda: malphas.active_state("hello.service") == "active", what="the slow unit")
    started = malphas.journal("nixos-rebuild-switch-to-configuration.service").count("Started ")
    assert started == 2  # one `test` and one `boot`


def test_the_journal_has_the_fields_that_people_filter_by(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    revision = scene.push_config("say hello", hello_service=HELLO.format(word="journal"))
    malphas.run(["gitopsctl", "upgrade"])
    found = malphas.run(["journalctl", "--output=json", "GITOPSD_CYCLE=1"]).stdout.splitlines()
    entries = [json.loads(line) for line in found]
    assert [entry["GITOPSD_STATE"] for entry in entries if entry.get("GITOPSD_EVENT") == "done"] == [
        "fetch",
        "capture",
        "push",
        "pull",
        "build",
        "switch",
    ]
    (deployed,) = [entry for entry in entries if "GITOPSD_OUTCOME" in entry]
    assert deployed["GITOPSD_REVISION"] == revision
    assert deployed["GITOPSD_TOPLEVEL"] == malphas.current_system()
    assert deployed["MESSAGE_ID"] == "0e4ac1bb5a4c4e7f8d3bfb4c2f4d8a03"
    assert deployed["SYSLOG_IDENTIFIER"] == "gitopsd"
    said = [line for line in malphas.journal("gitopsd.service").splitlines() if "gitopsd[" in line]
    assert len(said) == len(set(said))  # one line per fact, once


def test_the_timer_asks_the_daemon_and_its_service_tells_the_story(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    malphas.sh("echo 'export EDITOR=nano' >> ~/.bashrc", user=USER)
    malphas.run(["systemctl", "start", "--wait", "gitopsd-sync.service"])
    assert "export EDITOR=nano" in scene.forge.show("dotfiles", "dot_bashrc")
    assert "Successfully pushed changes" in malphas.journal("gitopsd-sync.service")

    scene.forge.push_change("nix-config", {"flake.nix": "{ syntax error"}, "break it")
    failed = malphas.run(["systemctl", "start", "--wait", "gitopsd-upgrade.service"], check=False)
    assert failed.returncode != 0
    assert "=== Build Validation FAILED ===" in malphas.journal("gitopsd-upgrade.service")
    listed = malphas.run(["systemd-analyze", "verify", "/etc/systemd/system/gitopsd-sync.timer"], check=False)
    assert listed.stderr == ""
