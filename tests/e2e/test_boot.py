"""A system that boots badly comes back by itself (acceptance procedure 5), on machines that really reboot."""

import json
import os
import random
import time
from typing import Any

import pytest
from e2e.page import type_page
from e2e.scene import BROKEN_SSHD, HELLO, Scene, set_up
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
    assert malphas.active_state("sshd.service") == "active"

    told = malphas.run(["gitopsctl", "boot", "status"]).stdout
    assert told.startswith("Boot failure count: 0 / 2\n")
    assert "golden booted well" in told
    assert "sshd.service has failed" in told
    shown = malphas.run(["gitopsctl", "golden", "show"]).stdout.strip()
    assert shown.startswith(f"{good} (generation 1), pinned 20"), shown

    malphas.until(lambda: status(malphas)["rejected"], what="the rejection")
    (rejected,) = status(malphas)["rejected"]
    assert (rejected["revision"], rejected["outcome"]) == (bad_revision, "rolled-back")
    assert "rolled back at boot: 2 bad boots" in rejected["reason"]
    again = malphas.run(["gitopsctl", "upgrade"], check=False)
    assert again.returncode == 1
    assert "is rejected since cycle" in again.stdout
    assert malphas.boot_default() == good

    scene.forge.revert("nix-config")
    hello = {"hosts/malphas/units/hello.service": HELLO.format(word="again")}
    fixed = scene.forge.push_change("nix-config", hello, "hello")
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0
    malphas.reboot(timeout=60)
    assert malphas.active_state("hello.service") == "active"
    malphas.until(lambda: (status(malphas)["deployed"] or {}).get("revision") == fixed, what="the deployment")
    assert golden(malphas) == malphas.booted_system() == malphas.boot_default() != good
    assert "Boot failure count: 0 / 2" in malphas.run(["gitopsctl", "boot", "status"]).stdout
    assert status(malphas)["boot"]["verdict"] == "good"


def test_a_revision_that_was_rolled_back_at_boot_gets_another_chance_as_the_page_says(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    good = malphas.current_system()
    malphas.write("/etc/ssh-is-fine", "yes\n")
    deploy(scene, malphas, "needs a file", sshd_service=NEEDS_A_FILE)
    again = malphas.boot_default()
    malphas.run(["rm", "/etc/ssh-is-fine"])
    malphas.reboot(timeout=120)
    assert malphas.booted_system() == malphas.boot_default() == good != again
    malphas.until(lambda: status(malphas)["rejected"], what="the rejection")
    malphas.write("/etc/ssh-is-fine", "yes\n")
    type_page("how-to/recover-a-boot.md", scene.hosts)
    assert malphas.current_system() == malphas.boot_default() == again
    assert status(malphas)["rejected"] == []
    malphas.reboot(timeout=60)
    malphas.until(lambda: golden(malphas) == again, what="that it is blessed")
    assert malphas.booted_system() == malphas.boot_default() == again


ISSUE = "/run/issue.d/gitopsd.issue"
RECORD = "/var/lib/gitopsd/boot"

# Good for as long as the file is there, whatever the generation.
NEEDS_A_FILE = BAD_AT_BOOT.replace(
    """ExecStartPre=/bin/sh -c '[ "$(readlink /run/current-system)" != "$(readlink /run/booted-system)" ]'""",
    "ExecStartPre=/usr/bin/test -e /etc/ssh-is-fine",
)

# What systemd-bless-boot.service is: it runs once the boot counts as good.
BLESSER = """[Unit]
DefaultDependencies=no
Requires=boot-complete.target
After=boot-complete.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/touch /run/blessed-by-systemd

[Install]
WantedBy=multi-user.target
"""


def issue(host: Host) -> str:
    return host.read(ISSUE) if host.exists(ISSUE) else ""


def deploy_for_next_boot(scene: Scene, host: Host, message: str, **units: str) -> str:
    """Deploy in boot mode; returns the toplevel."""
    deploy(scene, host, message, **units)
    return host.boot_default()


def test_2_golden_survives_garbage_collection_and_two_hundred_later_generations(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    malphas.run(["gitopsctl", "upgrade"])  # what runs is deployed: its revision is known
    first = malphas.booted_system()
    nix = scene.files(hello_service=HELLO.format(word="limited"))
    limited = nix["hosts/malphas.nix"].replace(
        'hostName = "malphas";', 'hostName = "malphas"; configurationLimit = "3";'
    )
    scene.forge.push_tree("nix-config", {**nix, "hosts/malphas.nix": limited}, "three entries in the boot menu")
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0
    second = malphas.boot_default()
    malphas.reboot(timeout=60)
    assert golden(malphas) == second
    # An older one is pinned by hand, and nothing else but the pin keeps it.
    pinned = malphas.run(["gitopsctl", "golden", "pin", "1"])
    assert (pinned.stdout, pinned.stderr) == (f"{first} (generation 1)\n", "")
    assert f"init={first}/init" in malphas.sh("cat /boot/loader/entries/nixos-golden-*").stdout
    malphas.sh(
        f"""
        other=$(nix-store --add /etc/passwd)
        for number in $(seq 100); do
            nix-env --profile /nix/var/nix/profiles/system --set {second}
            nix-env --profile /nix/var/nix/profiles/system --set "$other"
        done
        nix-env --profile /nix/var/nix/profiles/system --set {second}
        nix-collect-garbage -d >/dev/null 2>&1
        {second}/bin/switch-to-configuration boot
        """,
        timeout=300,
    )
    generations = malphas.generations()
    assert len(generations) == 1
    assert max(generations) > 200
    assert golden(malphas) == first
    entries = malphas.sh("grep -l init=" + first + " /boot/loader/entries/*").stdout.split()
    assert [entry.rpartition("-")[0] for entry in entries] == ["/boot/loader/entries/nixos-golden-generation"]
    assert "(generation" not in malphas.run(["gitopsctl", "golden", "show"]).stdout  # only the pin has it

    malphas.write("/boot/loader/once", first)  # picked in the menu
    malphas.reboot(timeout=60)
    assert malphas.booted_system() == first
    assert malphas.active_state("sshd.service") == "active"
    assert malphas.boot_default() == second

    # Back to it, although no generation has it any more.
    malphas.run([f"{second}/bin/switch-to-configuration", "test"])
    assert malphas.current_system() == second
    assert golden(malphas) == first
    back = malphas.run(["gitopsctl", "rollback", "golden"])
    assert "the golden generation runs, is verified, and is the boot default" in back.stdout
    assert malphas.current_system() == malphas.boot_default() == first
    assert max(malphas.generations().items()) == (max(generations) + 1, first)
    assert malphas.active_state("sshd.service") == "active"
    assert not status(malphas)["system"]["drift"]
    assert len(status(malphas)["rejected"]) == 1
    assert malphas.run(["gitopsctl", "upgrade"], check=False).returncode == 1  # what was left is not deployed again
    assert malphas.current_system() == first
    assert malphas.run(["gitopsctl", "rollback", "golden"], check=False).returncode == 1  # it runs already


@pytest.mark.parametrize("what", ["fails", "is never ready"])
def test_a_system_whose_gitopsd_does_not_start_at_boot_is_not_blessed_and_is_fallen_back_from(
    lab: Lab, what: str
) -> None:
    scene = set_up(lab, "malphas", homes=False)
    malphas = scene.hosts["malphas"]
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0
    good, before = malphas.current_system(), boots(malphas)
    assert golden(malphas) == good
    # Nothing of it shows before the boot: it is rehearsed, takes over, and holds.
    at_boot = 'test "$(readlink /run/current-system)" = "$(readlink /run/booted-system)"'
    then = {"fails": "exit 1", "is never ready": "sleep infinity"}[what]
    more = f"TimeoutStartSec=infinity\nExecStartPre=/bin/sh -c '{at_boot} || exit 0; {then}'"
    unit = scene.files()["gitopsd/gitopsd.service"].replace("[Service]\n", f"[Service]\n{more}\n")
    revision = scene.forge.push_change("nix-config", {"gitopsd/gitopsd.service": unit}, "a gitopsd that hates boots")
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0
    assert malphas.boot_default() != good
    malphas.until(lambda: malphas.exists("/var/lib/gitopsd/takeover.json"), what="the takeover")
    malphas.until(lambda: status(malphas)["state"] == "idle", what="the new gitopsd")
    malphas.reboot(timeout=180)
    assert malphas.booted_system() == malphas.current_system() == malphas.boot_default() == golden(malphas) == good
    assert boots(malphas) == before + 3
    malphas.until(lambda: status(malphas)["rejected"], what="the rejection")
    (rejected,) = status(malphas)["rejected"]
    assert rejected["revision"] == revision
    assert "2 bad boots; the last one: gitopsd.service " in rejected["reason"]
    assert status(malphas)["boot"]["verdict"] == "good"
    assert not malphas.exists("/var/lib/gitopsd/takeover.json")
    assert malphas.failed_units() == []


def test_3_and_10_golden_that_fails_too_stays_up_and_says_so_everywhere(lab: Lab) -> None:
    scene = set_up(lab, "malphas", more=BOOT_MODE)
    malphas = scene.hosts["malphas"]
    malphas.write("/etc/ssh-is-fine", "yes\n")
    fine = deploy_for_next_boot(scene, malphas, "a file", sshd_service=NEEDS_A_FILE, bless_service=BLESSER)
    malphas.reboot(timeout=60)
    assert golden(malphas) == malphas.booted_system() == fine
    assert malphas.exists("/run/blessed-by-systemd")

    hello = HELLO.format(word="another generation")
    deploy_for_next_boot(
        scene, malphas, "another", sshd_service=NEEDS_A_FILE, bless_service=BLESSER, hello_service=hello
    )
    malphas.run(["rm", "/etc/ssh-is-fine"])  # the world around both of them breaks
    before = boots(malphas)
    malphas.reboot(timeout=120)
    assert boots(malphas) == before + 3
    assert malphas.booted_system() == malphas.boot_default() == fine
    assert not malphas.exists("/run/blessed-by-systemd")
    assert "blocked: the golden generation failed too" in issue(malphas)
    assert "blocked: the golden generation failed too" in malphas.read("/run/motd.d/gitopsd")
    # (A machine of the lab has no terminal as its console, which is what journald writes to.)
    unit = ["systemctl", "show", "-P", "StandardError", "gitopsd-boot-verify.service"]
    assert malphas.run(unit).stdout.strip() == "journal+console"
    assert malphas.failed_units() == ["gitopsd-boot-verify.service", "sshd.service"]
    malphas.until(lambda: status(malphas)["blocked"], what="blocked")
    assert "the golden generation failed too" in status(malphas)["blocked"]
    refused = malphas.run(["gitopsctl", "upgrade"], check=False)
    assert refused.returncode == 5
    for _ in range(2):  # no loop, whoever reboots it
        malphas.reboot(timeout=60)
        assert malphas.booted_system() == fine
    assert boots(malphas) == before + 5

    malphas.write("/etc/ssh-is-fine", "yes\n")
    malphas.reboot(timeout=60)
    assert malphas.exists("/run/blessed-by-systemd")
    assert status(malphas)["boot"]["failures"] == 0
    assert malphas.run(["gitopsctl", "retry"], check=False).returncode == 0


# The machine has no firmware: what systemd-boot leaves behind when it has given up on the boot default.
PLANT_SYSTEMD_BOOT = r"""
vendor=4a67b082-0a4c-41cf-b6c7-440b29bb8c4f
mount -t tmpfs tmpfs /sys/firmware
mount -t tmpfs tmpfs /boot
mkdir -p /sys/firmware/efi/efivars /boot/loader/entries
variable() {{ (printf '\6\0\0\0'; printf '%s\0' "$2" | iconv -t UTF-16LE) >"/sys/firmware/efi/efivars/$1-$vendor"; }}
variable LoaderInfo 'systemd-boot 262'
variable LoaderBootCountPath '\loader\entries\nixos-abc+2-1.conf'
echo 'options init=/nix/store/other/init' >/boot/loader/entries/nixos-abc+2-1.conf
echo 'options init={second}/init' >/boot/loader/entries/nixos-abd+0-3.conf
gitopsctl boot status --socket /nowhere 2>/dev/null
umount /sys/firmware /boot
"""


def test_4_and_9_without_golden_nothing_reboots_and_a_pick_by_hand_changes_no_default(lab: Lab) -> None:
    scene = set_up(lab, "malphas", more=BOOT_MODE)
    malphas = scene.hosts["malphas"]
    first = malphas.booted_system()
    second = deploy_for_next_boot(scene, malphas, "hello", hello_service=HELLO.format(word="two"))
    malphas.reboot(timeout=60)
    assert golden(malphas) == second

    malphas.write("/boot/loader/once", first)
    malphas.reboot(timeout=60)
    told = status(malphas)["boot"]
    assert (told["toplevel"], told["verdict"]) == (first, "good")
    assert malphas.boot_default() == second
    shown = malphas.sh(PLANT_SYSTEMD_BOOT.format(second=second)).stdout
    assert "loader:   counts too: no verdict yet (2 tries left, 1 done: nixos-abc+2-1.conf)" in shown
    assert "the boot loader has given up on the boot default" in shown, shown
    malphas.reboot(timeout=60)
    assert malphas.booted_system() == second

    malphas.run(["gitopsctl", "golden", "unpin"])
    assert malphas.run(["gitopsctl", "golden", "show"], check=False).returncode == 1
    bad = deploy_for_next_boot(scene, malphas, "breaks sshd", sshd_service=BROKEN_SSHD)
    before = boots(malphas)
    for count in (1, 2, 3):
        malphas.reboot(timeout=60)
        assert malphas.booted_system() == malphas.boot_default() == bad
        assert status(malphas)["boot"]["failures"] == count
        assert "there is no golden generation to fall back to" in issue(malphas)
    assert boots(malphas) == before + 3
    assert golden(malphas) in ("", GOLDEN)


HANGS = """[Unit]
Description=Never gets anywhere

[Service]
Type=oneshot
ExecStart=/usr/bin/sleep infinity
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
"""


# What an interpreter reads at its start, also an isolated one: the clock stands in 1970 from then on.
IN_1970 = "import time; time.time = time.monotonic\n"


def test_1_a_boot_that_hangs_is_counted_once_the_power_is_cut_and_begin_falls_back(lab: Lab) -> None:
    """All of it with a clock that has never been set.

    A machine of the lab has its host's clock: no namespace has a real time of its own, and nspawn lets nobody set it. So
    it is the interpreter's clock that stands in 1970, in all programs of the machine, the daemon and its tools included.
    """
    scene = set_up(lab, "malphas", more=BOOT_MODE)
    malphas = scene.hosts["malphas"]
    good = malphas.booted_system()
    config = malphas.read("/etc/gitopsd/config.toml").replace('"sshd.service"', '"hangs.service"')
    files = scene.files(hangs_service=HANGS)
    scene.forge.push_tree("nix-config", {**files, "hosts/malphas/etc/gitopsd/config.toml": config}, "hangs")
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0
    bad = malphas.boot_default()
    malphas.shutdown()
    malphas.write("/usr/lib/python3/dist-packages/in-1970.pth", IN_1970)
    for _ in range(2):
        malphas.boot(wait=False)
        malphas.until(lambda: malphas.active_state("hangs.service") == "activating", what="the hang")
        assert malphas.booted_system() == bad
        malphas.power_cut()
    malphas.boot(timeout=120)
    assert malphas.booted_system() == malphas.boot_default() == good
    told = malphas.run(["gitopsctl", "boot", "status"]).stdout
    assert "2 bad boots; the last one: it ended with no verdict" in told
    assert "Boot failure count: 0 / 2" in told
    assert "verdict:  good" in told
    assert "rollback: 1970-" in told
    assert "trouble:  the clock was not set when this boot began" in told
    assert "the clock is not set" in malphas.run(["journalctl", "-b", "-t", "golden-generation", "-o", "cat"]).stdout
    assert golden(malphas) == good


def test_1_a_generation_that_ends_in_emergency_mode_comes_back_by_itself(lab: Lab) -> None:
    scene = set_up(lab, "malphas", more=BOOT_MODE)
    malphas = scene.hosts["malphas"]
    good = malphas.booted_system()
    missing = (
        "[Unit]\nDescription=A disk that is not there\nBefore=local-fs.target\n"
        "[Mount]\nWhat=tmpfs\nWhere=/data\nType=tmpfs\nOptions=nonsense=1\n[Install]\nRequiredBy=local-fs.target\n"
    )
    files = {**scene.files(), "hosts/malphas/units/data.mount": missing}
    scene.forge.push_tree("nix-config", files, "a disk that is not there")
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0
    assert malphas.boot_default() != good
    before = boots(malphas)
    malphas.reboot(timeout=120)
    assert malphas.booted_system() == malphas.boot_default() == good
    assert boots(malphas) == before + 3
    assert "the boot ended in emergency mode" in malphas.run(["gitopsctl", "boot", "status"]).stdout


def test_1_an_orderly_shutdown_before_the_verdict_does_not_count(lab: Lab) -> None:
    scene = set_up(lab, "malphas", more=BOOT_MODE)
    malphas = scene.hosts["malphas"]
    config = malphas.read("/etc/gitopsd/config.toml").replace('"sshd.service"', '"hangs.service"')
    config = config.replace('deadline = "20s"', 'deadline = "2min"')
    files = scene.files(hangs_service=HANGS)
    scene.forge.push_tree("nix-config", {**files, "hosts/malphas/etc/gitopsd/config.toml": config}, "hangs")
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0
    bad = malphas.boot_default()
    malphas.shutdown()
    for _ in range(3):
        malphas.boot(wait=False)
        malphas.until(lambda: status(malphas)["boot"]["stage"] == "gitopsd-boot-verify.service", what="verify")
        assert status(malphas)["boot"]["verdict"] == "pending"
        assert "no verdict yet, gitopsd-boot-verify.service runs" in malphas.run(["gitopsctl", "status"]).stdout
        assert malphas.booted_system() == bad
        malphas.shutdown()
    record = malphas.offline(["sh", "-c", f"cat {RECORD}/generation-$(basename {bad} | cut -c1-32).json"]).stdout
    verdicts = [attempt[2] for attempt in json.loads(record)["fact"]["attempts"]]
    assert verdicts == ["indeterminate"] * 3


def cut(host: Host) -> bool:
    """Cut the power; raises if the machine is off at this moment."""
    host.power_cut()
    return True


@pytest.mark.parametrize("seed", range(1, 1 + int(os.environ.get("SOAK_POWER_CUTS", "3"))))
def test_7_power_cuts_at_random_moments_of_bad_boots_end_on_golden(lab: Lab, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    scene = set_up(lab, "malphas", more=BOOT_MODE)
    malphas = scene.hosts["malphas"]
    good = malphas.booted_system()
    bad = deploy_for_next_boot(scene, malphas, "breaks sshd", sshd_service=BROKEN_SSHD)
    malphas.shutdown()
    for _ in range(4):
        malphas.boot(wait=False)
        time.sleep(chance.uniform(0.05, 3.0))
        # It may be between two boots just now; the next one is cut then.
        malphas.until(lambda: cut(malphas), what="a machine to cut")
    before = malphas.console().count("lab: booting")
    malphas.boot(timeout=120)
    assert malphas.booted_system() == malphas.boot_default() == golden(malphas) == good != bad
    assert malphas.console().count("lab: booting") <= before + 3
    told = status(malphas)["boot"]
    assert (told["verdict"], told["failures"], told["troubles"]) == ("good", 0, [])
    assert not [name for name in malphas.run(["ls", RECORD]).stdout.split() if "damaged" in name]


def test_7_and_8_whatever_is_wrong_with_the_record_the_machine_boots_and_says_so(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    good = malphas.booted_system()
    file = f"{RECORD}/generation-$(basename {good} | cut -c1-32).json"
    damage = {
        "it is empty": f": >{file}",
        "it is cut off or no JSON": f"truncate -s 40 {file}",
        "its checksum is wrong": f'sed -i \'s/"blessed": true/"blessed": false/\' {file}',
        "it has version 9": f'sed -i \'s/"version": 1/"version": 9/\' {file}',
    }
    for said, how in damage.items():
        malphas.shutdown()
        malphas.offline(["bash", "-euc", how])
        malphas.boot(timeout=60)
        assert said in issue(malphas), issue(malphas)
        assert "counts as unknown" in issue(malphas)
        assert status(malphas)["boot"]["verdict"] == "good"
    assert int(malphas.sh(f"ls {RECORD}/*.damaged-* | wc -l").stdout) == 4

    malphas.shutdown()
    malphas.offline(["bash", "-euc", "rm /nix/var/nix/profiles/system"])
    malphas.boot(timeout=60)
    assert malphas.booted_system() == good
    assert malphas.active_state("sshd.service") == "active"

    malphas.shutdown()
    malphas.offline(["bash", "-euc", "ln -sfn /nix/store/nowhere /nix/var/nix/profiles/system-profiles/golden-9-link"])
    malphas.offline(["bash", "-euc", "ln -sfn golden-9-link /nix/var/nix/profiles/system-profiles/golden"])
    malphas.boot(timeout=60)
    assert golden(malphas) == good  # this boot was good, so it is golden again

    # A bug in it: it crashes, and it is not there at all.
    for program in ("#!/usr/bin/python3 -I\nraise SystemError('a bug')\n", "not a program"):
        malphas.shutdown()
        malphas.write("/usr/bin/gitopsd-boot", program)
        malphas.boot(timeout=60)
        assert malphas.active_state("sshd.service") == "active"
        assert "gitopsd-boot-begin.service" in malphas.failed_units()


@pytest.mark.parametrize(
    ("options", "said"), [("ro,size=1m", "Read-only file system"), ("size=4k,nr_inodes=2", "No space left on device")]
)
def test_8_a_state_directory_that_cannot_be_written_never_leads_to_a_reboot(lab: Lab, options: str, said: str) -> None:
    scene = set_up(lab, "malphas", more=BOOT_MODE)
    malphas = scene.hosts["malphas"]
    mount = (
        f"[Unit]\nDescription=A bad disk\nBefore=local-fs.target\n[Mount]\nWhat=tmpfs\nWhere=/var/lib/gitopsd\n"
        f"Type=tmpfs\nOptions={options}\n[Install]\nWantedBy=local-fs.target\n"
    )
    files = scene.files(sshd_service=BROKEN_SSHD)
    files["hosts/malphas/units/var-lib-gitopsd.mount"] = mount
    scene.forge.push_tree("nix-config", files, "a bad disk, and no sshd")
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0
    bad = malphas.boot_default()
    before = boots(malphas)
    malphas.reboot(timeout=90)
    assert malphas.booted_system() == bad
    assert boots(malphas) == before + 1
    assert said in issue(malphas)
    assert "cannot be recorded" in issue(malphas)


def test_a_rollback_that_fails_too_leaves_golden_as_the_boot_default(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    good = malphas.booted_system()
    # The first switch works for as long as the file is there; the second one and its rollback both find it gone.
    malphas.write("/etc/ssh-is-fine", "yes\n")
    deploy(scene, malphas, "a file", sshd_service=NEEDS_A_FILE)
    assert golden(malphas) == good != malphas.current_system()
    malphas.run(["rm", "/etc/ssh-is-fine"])
    scene.push_config("another", sshd_service=NEEDS_A_FILE.replace("SSH daemon", "The SSH daemon"))
    failed = malphas.run(["gitopsctl", "upgrade"], check=False, timeout=120)
    assert failed.returncode == 5, failed.stdout
    assert f"the golden generation {good} is the boot default now" in status(malphas)["blocked"]
    assert malphas.boot_default() == good
    malphas.reboot(timeout=60)
    assert malphas.booted_system() == good
    assert malphas.active_state("sshd.service") == "active"
