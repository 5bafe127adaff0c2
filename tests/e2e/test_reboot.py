"""A reboot that is required: told, done by itself where the policy says so, and proved afterwards."""

import json
import os
import signal

import pytest
from e2e.scene import set_up
from lab import Host, Lab

pytestmark = pytest.mark.lab

# What pam_systemd(8) does at a login, which the lab's image does not have: a session that lasts as long as this process.
LOGIN = """
import os, signal
from gi.repository import Gio, GLib
bus = Gio.bus_get_sync(Gio.BusType.SYSTEM)
arguments = (1000, os.getpid(), "login", "tty", "user", "", "", 0, "", "", False, "", "", [])
bus.call_with_unix_fd_list_sync(
    "org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager", "CreateSession",
    GLib.Variant("(uusssssussbssa(sv))", arguments), None, Gio.DBusCallFlags.NONE, 10000, None)
print("logged in", flush=True)
signal.pause()
"""


def status(host: Host) -> dict:  # type: ignore[type-arg]
    answer: dict = json.loads(host.run(["gitopsctl", "status", "--json"]).stdout)  # type: ignore[type-arg]
    return answer


def test_a_new_kernel_is_told_and_booted_once_by_itself(lab: Lab) -> None:
    scene = set_up(lab, "malphas", more='\n[reboot]\npolicy = "when-required"\nsessions = "ignore"\n', homes=False)
    malphas = scene.hosts["malphas"]
    boot, before = malphas.boot_id(), malphas.current_system()
    host = scene.files()["hosts/malphas.nix"]
    kernel = {"hosts/malphas.nix": host.replace("  etc = {", '  kernel = "6.18.2";\n  etc = {')}
    scene.forge.push_change("nix-config", kernel, "another kernel")
    malphas.run(["gitopsctl", "upgrade", "--no-wait"])
    malphas.wait_boot(boot, timeout=120)
    assert malphas.booted_system() == malphas.current_system() == malphas.boot_default() != before
    malphas.until(lambda: status(malphas)["cycle"] is None, what="the daemon")
    shown = status(malphas)
    assert shown["reboot"] is None
    assert shown["deployed"]["toplevel"] == malphas.current_system()
    told = malphas.journal("gitopsd.service", since_boot=False)
    assert "rebooting: required since" in told
    assert told.count("rebooting: required since") == 1


def test_what_can_only_be_booted_becomes_the_boot_default_and_proves_itself_after_a_persons_reboot(lab: Lab) -> None:
    scene = set_up(lab, "malphas", homes=False)
    malphas = scene.hosts["malphas"]
    before = malphas.current_system()
    host = scene.files()["hosts/malphas.nix"]
    init = {"hosts/malphas.nix": host.replace("  etc = {", '  initInterfaceVersion = "systemd 3";\n  etc = {')}
    revision = scene.forge.push_change("nix-config", init, "another init")
    followed = malphas.run(["gitopsctl", "upgrade"])
    assert "it runs after the next reboot: the init interface changed" in followed.stdout
    assert malphas.current_system() == before != malphas.boot_default()
    assert "required since" in malphas.run(["gitopsctl", "status"]).stdout
    assert "a person decides" in malphas.run(["gitopsctl", "status"]).stdout
    deployed = status(malphas)["deployed"]
    assert deployed is None or deployed["toplevel"] == before

    malphas.reboot()
    malphas.until(
        lambda: (status(malphas)["last_upgrade"] or {}).get("requested_by") == "boot", what="the proof after the boot"
    )
    shown = status(malphas)
    assert shown["last_upgrade"]["outcome"] == "success"
    assert (shown["deployed"]["revision"], shown["deployed"]["toplevel"]) == (revision, malphas.current_system())
    assert shown["reboot"] is None
    assert malphas.boot_default() == malphas.current_system()


def test_a_reboot_waits_until_nobody_is_logged_in(lab: Lab) -> None:
    scene = set_up(lab, "malphas", more='\n[reboot]\npolicy = "when-required"\n', homes=False)
    malphas = scene.hosts["malphas"]
    boot = malphas.boot_id()
    session = malphas.popen(["python3", "-I", "-c", LOGIN])
    try:
        malphas.until(lambda: "rain" in malphas.run(["loginctl", "list-sessions"]).stdout, what="a session", timeout=30)
        host = scene.files()["hosts/malphas.nix"]
        kernel = {"hosts/malphas.nix": host.replace("  etc = {", '  kernel = "6.18.2";\n  etc = {')}
        scene.forge.push_change("nix-config", kernel, "another kernel")
        malphas.run(["gitopsctl", "upgrade"])
        malphas.until(
            lambda: "waits until rain has logged out" in malphas.run(["gitopsctl", "status"]).stdout,
            what="the plan to be shown",
            timeout=30,
        )
        assert malphas.boot_id() == boot
    finally:
        os.killpg(session.pid, signal.SIGKILL)
        session.communicate()
