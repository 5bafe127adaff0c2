"""What operators see: the journal with its catalog, metrics, notifications, doctor."""

import json
import shlex
import time
from pathlib import Path

import pytest
from e2e.scene import BROKEN_SSHD, SOURCE, USER, Scene, set_up
from lab import Host, Lab

from gitopsd.events import BUILD_FAILED, MESSAGE_IDS, ROLLED_BACK

pytestmark = pytest.mark.lab

PACKAGING = Path(__file__).parents[2] / "packaging"


def install_catalog(host: Host) -> None:
    """What a package does."""
    text = (PACKAGING / "gitopsd.catalog").read_text(encoding="utf-8")
    host.write("/usr/lib/systemd/catalog/gitopsd.catalog", text)
    host.run(["journalctl", "--update-catalog"])


def roll_back(scene: Scene, host: Host) -> str:
    """Push a system whose sshd does not start, and have it rolled back; returns the revision."""
    revision = scene.push_config("a broken sshd", sshd_service=BROKEN_SSHD)
    assert host.run(["gitopsctl", "upgrade"], check=False, timeout=120).returncode == 1
    return revision


def test_an_event_is_found_by_its_id_and_explained_by_the_catalog(lab: Lab) -> None:
    scene = set_up(lab, "malphas", dotfiles=False)
    malphas = scene.hosts["malphas"]
    install_catalog(malphas)
    revision = roll_back(scene, malphas)
    found = malphas.run(["journalctl", "-o", "json", f"MESSAGE_ID={MESSAGE_IDS[ROLLED_BACK]}"]).stdout.splitlines()
    (entry,) = [json.loads(line) for line in found]
    assert entry["GITOPSD_REVISION"] == revision
    assert entry["GITOPSD_OUTCOME"] == "rolled-back"
    explained = malphas.run(["journalctl", "-x", f"MESSAGE_ID={MESSAGE_IDS[ROLLED_BACK]}"]).stdout
    assert "Subject: A new system did not prove good and was rolled back" in explained
    assert f"Revision {revision} was switched to, and failed its verification." in explained
    assert f"gitopsctl show {entry['GITOPSD_CYCLE']}" in explained

    scene.forge.push_change("nix-config", {"flake.nix": "{ syntax error"}, "break it")
    malphas.run(["gitopsctl", "upgrade"], check=False)
    explained = malphas.run(["journalctl", "-x", f"MESSAGE_ID={MESSAGE_IDS[BUILD_FAILED]}"]).stdout
    assert "Nothing on the system has changed." in explained


WATCHED = """
[metrics]
listen = "127.0.0.1:9184"

[notify]
command = ["sh", "-c", "cat >>/var/tmp/events; echo >>/var/tmp/events"]
webhook = "http://127.0.0.1:9999/hook"
unit = "tell-me@.service"
"""
TELL_ME = "[Service]\nType=oneshot\nExecStart=/usr/bin/touch /var/tmp/told-%i\n"
# A receiver that takes connections and never answers.
HANGS = "import socket,time; s=socket.create_server(('127.0.0.1',9999)); time.sleep(1000)"


def test_receivers_are_told_and_one_that_hangs_holds_nothing_up(lab: Lab) -> None:
    scene = set_up(lab, "malphas", dotfiles=False, more=WATCHED)
    malphas = scene.hosts["malphas"]
    malphas.write("/run/systemd/system/tell-me@.service", TELL_ME)
    malphas.sh(f"systemd-run --unit=hangs python3 -c {shlex.quote(HANGS)} && systemctl daemon-reload")
    revision = roll_back(scene, malphas)
    malphas.until(
        lambda: malphas.sh("cat /var/tmp/events 2>/dev/null || true").stdout.count("\n") > 0,
        timeout=60,
        what="the command to be told",
    )
    told = [json.loads(line) for line in malphas.read("/var/tmp/events").splitlines()]
    assert [(each["event"], each["revision"]) for each in told] == [(ROLLED_BACK, revision)]
    malphas.until(
        lambda: malphas.sh("ls /var/tmp").stdout.count("told-rolled-back") == 1,
        timeout=60,
        what="the unit to be started",
    )
    before = time.monotonic()
    malphas.run(["systemctl", "restart", "gitopsd.service"])
    assert time.monotonic() - before < 15  # the webhook still hangs; systemd would kill us after 20 s


def test_figures_are_in_the_file_on_the_listener_and_printed(lab: Lab) -> None:
    scene = set_up(lab, "malphas", dotfiles=False, more=WATCHED)
    malphas = scene.hosts["malphas"]
    roll_back(scene, malphas)
    wanted = 'gitopsd_cycles_total{kind="upgrade",outcome="rolled-back"} 1.0'
    path = "/run/gitopsd/metrics/gitopsd.prom"
    malphas.until(lambda: wanted in malphas.read(path), timeout=60, what="the file to say so")
    assert "gitopsd_rejected_revisions 1.0" in malphas.run(["cat", path], user="olga").stdout
    scrape = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9184/metrics').read().decode())"
    assert wanted in malphas.run(["python3", "-c", scrape], user="olga").stdout
    assert wanted in malphas.run(["gitopsctl", "metrics"], user="olga").stdout


def findings(host: Host, *, user: str = "root") -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(host.run(["gitopsctl", "doctor", "--json"], user=user, check=False).stdout)
    return found


def faults(host: Host) -> list[dict[str, str]]:
    return [each for each in findings(host) if each["verdict"] == "fault"]


# What newcomers get wrong: how to do it, what doctor says, and a word of its remedy; then how it is put right.
MISTAKES = {
    "an unknown host key": (
        "mv /etc/ssh/ssh_known_hosts /tmp/",
        "rain does not know the host key of forge",
        "ssh-keyscan forge",
        "mv /tmp/ssh_known_hosts /etc/ssh/",
    ),
    "no key": (
        "mv /home/rain/.ssh/id_ed25519 /tmp/",
        "forge takes no key of rain",
        "public key of rain",
        "mv /tmp/id_ed25519 /home/rain/.ssh/",
    ),
    "no jj beside git": (
        f"mv {SOURCE}/.jj /tmp/",
        "is a git repository without jj",
        "jj git init --colocate",
        f"mv /tmp/.jj {SOURCE}/",
    ),
    "another remote": (
        f"git config -f {SOURCE}/.git/config remote.origin.url git@forge:other.git",
        "its remote is git@forge:other.git",
        "remote set-url origin git@forge:dotfiles.git",
        f"git config -f {SOURCE}/.git/config remote.origin.url git@forge:dotfiles.git",
    ),
    "no e-mail address": (
        "mv /home/rain/.config/jj/config.toml /tmp/",
        "jj does not know user.email",
        "jj config set --user user.email",
        "mv /tmp/config.toml /home/rain/.config/jj/",
    ),
    "a repository of root's": (
        f"chown root: {SOURCE}",
        "does not belong to rain",
        "chown -R rain:",
        f"chown rain: {SOURCE}",
    ),
    "a missing program": (
        "mv /usr/bin/chezmoi /tmp/",
        "chezmoi is not on the daemon's PATH",
        "install chezmoi",
        "mv /tmp/chezmoi /usr/bin/",
    ),
    "no daemon": (
        "systemctl stop gitopsd.socket gitopsd.service",
        "cannot reach gitopsd",
        "systemctl start gitopsd.service",
        "systemctl start gitopsd.socket gitopsd.service",
    ),
}


def test_doctor_finds_nothing_on_a_host_that_is_set_up_and_names_each_mistake(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    healthy = malphas.run(["gitopsctl", "doctor"], check=False)
    assert healthy.returncode == 0, healthy.stdout
    assert "git@forge:dotfiles.git answers rain and has main" in healthy.stdout
    assert "git@forge:nix-config.git answers root and has main" in healthy.stdout
    for mistake, (make, said, remedy, mend) in MISTAKES.items():
        malphas.sh(make)
        done = malphas.run(["gitopsctl", "doctor"], check=False)
        assert done.returncode == 1, mistake
        assert any(said in each["what"] and remedy in each["fix"] for each in faults(malphas)), (mistake, done.stdout)
        malphas.sh(mend)
    assert faults(malphas) == []

    malphas.cut_network()
    assert faults(malphas) == []  # being offline is no fault
    assert "cannot be reached" in malphas.run(["gitopsctl", "doctor"], check=False).stdout
    malphas.restore_network()

    own = findings(malphas, user=USER)
    assert any(each["what"] == "git@forge:dotfiles.git answers rain and has main" for each in own)
    assert any(each["verdict"] == "unknown" and each["fix"] == "sudo gitopsctl doctor" for each in own)
    others = findings(malphas, user="olga")
    assert {each["verdict"] for each in others if each["check"] == "dotfiles of rain"} == {"unknown"}
