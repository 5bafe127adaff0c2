"""A system that boots badly comes back by itself (acceptance procedure 5), on machines that really reboot."""

import json
from typing import Any

import pytest
from e2e.scene import BROKEN_SSHD, Scene, set_up
from lab import Host, Lab

from gitopsd.events import BOOT_BAD, BOOT_ROLLBACK, GOLDEN_PINNED, MESSAGE_IDS

pytestmark = pytest.mark.lab

GOLDEN = "/nix/var/nix/profiles/system-profiles/golden"

# Good when it is switched to, and bad when it is booted.
BAD_AT_BOOT = """[Unit]
Description=SSH daemon that does not start at boot

[Service]
ExecStartPre=/bin/sh -c '[ "$(readlink /run/current-system)" != "$(readlink /run/booted-system)" ]'
ExecStartPre=/usr/bin/mkdir -p /run/sshd
ExecStart=/usr/sbin/sshd -D

[Install]
WantedBy=multi-user.target
"""

BOOT_MODE = '\n[switch]\nmode = "boot"\n'


def golden(host: Host) -> str:
    return host.run(["readlink", "-f", GOLDEN], check=False).stdout.strip()


def status(host: Host) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(host.run(["gitopsctl", "status", "--json"]).stdout)
    return told


def boot_id_of(host: Host) -> str:
    return host.boot_id()


def boots(host: Host) -> int:
    """How many boots the journal knows."""
    return len(host.run(["journalctl", "--list-boots", "--quiet", "--no-pager"]).stdout.splitlines())


def deploy(scene: Scene, host: Host, message: str, **units: str) -> str:
    revision = scene.push_config(message, **units)
    done = host.run(["gitopsctl", "upgrade"], check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return revision


@pytest.mark.parametrize("mode", ["switch", "boot"])
def test_golden_generation(lab: Lab, mode: str) -> None:
    """5. First boot `1 / 2`, the second one rolls back to golden, counter 0, a revert deploys again."""
    scene = set_up(lab, "malphas", more=BOOT_MODE if mode == "boot" else "")
    malphas = scene.hosts["malphas"]
    good = malphas.current_system()
    assert golden(malphas) == good
    before = boots(malphas)

    bad_revision = deploy(
        scene, malphas, "breaks sshd at boot", sshd_service=BAD_AT_BOOT if mode == "switch" else BROKEN_SSHD
    )
    bad = malphas.boot_default()
    assert bad != good
    assert golden(malphas) == good
    malphas.reboot(timeout=120)

    assert malphas.booted_system() == malphas.current_system() == malphas.boot_default() == good
    assert boots(malphas) == before + 3  # the first attempt, the second one, golden
    journal = malphas.run(["journalctl", "-t", "golden-generation", "--no-pager", "-o", "cat"]).stdout
    assert "Boot failure count: 1 / 2" in journal
    assert "Boot failure count: 2 / 2" in journal
    assert "rolling back to the golden generation" in journal
    for event, times in ((BOOT_BAD, 2), (BOOT_ROLLBACK, 1), (GOLDEN_PINNED, 1)):
        found = malphas.run(["journalctl", "-q", "-o", "cat", f"MESSAGE_ID={MESSAGE_IDS[event]}"]).stdout
        assert len(found.splitlines()) == times, (event, found)
    assert golden(malphas) == good
    assert malphas.failed_units() == []
    assert bad_revision
