"""What operators see: the journal with its catalog, metrics, notifications, doctor."""

import json
from pathlib import Path

import pytest
from e2e.scene import BROKEN_SSHD, Scene, set_up
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
