"""kill -9 and a power cut at each write and command of begin, verify and bless, on a machine that really reboots.

A launcher in the place of `/usr/bin/gitopsd-boot` runs the installed program with its doors to the world watched: each
primitive of the disk, the boot loader's script, the reboot. At the armed one the program is killed, or the machine is
reset by reboot(2). Afterwards the machine is up on golden or a better generation, the counters are true, and it has not
rebooted more often than it may. `make test` takes a sample of the points, `make soak` takes all (`CRASHES=all`).
"""

import itertools
import json
import os
from collections.abc import Iterable
from typing import Any

import pytest
from e2e.crash import DIE
from e2e.scene import BROKEN_SSHD, HELLO, set_up
from e2e.test_boot import BOOT_MODE, GOLDEN, RECORD, boots, deploy_for_next_boot, golden
from lab import Host, Lab

pytestmark = pytest.mark.lab

ALL = os.environ.get("CRASHES") == "all"

LAUNCHER = r"""#!/usr/bin/python3 -I
import functools, os, signal, subprocess, sys

sys.path.insert(0, "/opt/gitopsd-src")

from gitopsd.boot.disk import Disk
from gitopsd.boot.place import Machine
from gitopsd.boot.program import main

PLACE = "/var/lib/crash"
seen = 0


def armed():
    try:
        with open(f"{PLACE}/armed") as file:
            verb, run, number, how = file.read().split()
    except (FileNotFoundError, ValueError):
        return 0, ""
    if verb != sys.argv[1]:
        return 0, ""
    with open(f"{PLACE}/runs", "a") as file:
        file.write("x")
    return (int(number), how) if os.path.getsize(f"{PLACE}/runs") == int(run) else (0, "")


number, how = armed()


def watch(kind, method):
    plain = getattr(kind, method)

    @functools.wraps(plain)
    def watched(*arguments):
        global seen
        seen += 1
        if seen == number:
            os.unlink(f"{PLACE}/armed")
            with open(f"{PLACE}/died", "w") as file:
                file.write(f"{sys.argv[1]} before {method} {' '.join(map(str, arguments[1:]))} ({seen})")
            with open("/run/gitopsd.pid", "w") as file:
                file.write(str(os.getpid()))
            subprocess.run(["/usr/local/bin/lab-die", how])
            signal.pause()
        return plain(*arguments)

    setattr(kind, method, watched)


for method in ("write_new", "sync", "rename", "symlink", "unlink", "mkdir"):
    watch(Disk, method)
watch(Machine, "install")
watch(Machine, "reboot")
main()
"""

# What is recorded of a generation that hung twice, as its third begin finds it.
HUNG_TWICE = """
import sys
sys.path.insert(0, "/opt/gitopsd-src")
from gitopsd.boot.disk import Disk
from gitopsd.boot.record import Attempt, Generation, Record
attempts = [Attempt("one", 1.0), Attempt("two", 2.0)]
Record("/var/lib/gitopsd/boot", Disk()).save(Generation(sys.argv[1], attempts=attempts))
"""


class Killing:
    """Has the programs of one host's boots die."""

    def __init__(self, host: Host) -> None:
        self.host = host
        host.write("/usr/local/bin/lab-die", DIE, mode=0o755)
        host.write("/usr/bin/gitopsd-boot", LAUNCHER, mode=0o755)

    def prepare(self, toplevel: str) -> None:
        """Make a generation of which nothing is known what boots next."""
        self.host.sh(
            f"""
            rm -rf /var/lib/crash {RECORD}/generation-$(basename {toplevel} | cut -c1-32).json {RECORD}/rollback.json
            mkdir -p /var/lib/crash
            nix-env --profile /nix/var/nix/profiles/system --set {toplevel}
            NIXOS_INSTALL_BOOTLOADER=0 {toplevel}/bin/switch-to-configuration boot
            """
        )

    def die(self, point: str, lands_on: str) -> tuple[str, int]:
        """Reboot, have it die at a point (`VERB RUN NUMBER HOW`), wait for the end of it.

        Returns:
            Where it died, empty if it never got there, and how many boots it took.

        """
        host = self.host
        host.write("/var/lib/crash/armed", f"{point}\n")
        before = boots(host)
        host.reboot(timeout=120)

        def settled() -> bool:
            blessed = host.active_state("gitopsd-boot-bless.service") == "active"
            return blessed and host.booted_system() == lands_on

        host.until(settled, what=f"the machine on {lands_on} after {point}")
        host.wait_boot()
        died = host.read("/var/lib/crash/died") if host.exists("/var/lib/crash/died") else ""
        return died, boots(host) - before

    def known(self, toplevel: str) -> dict[str, Any]:
        """What is recorded of a generation."""
        text = self.host.sh(f"cat {RECORD}/generation-$(basename {toplevel} | cut -c1-32).json").stdout
        fact: dict[str, Any] = json.loads(text)["fact"]
        return fact


def fine(host: Host, toplevel: str, where: str) -> None:
    """The machine is up on what it should be, and nothing is left behind."""
    assert host.booted_system() == host.current_system() == host.boot_default() == toplevel, where
    assert host.run(["readlink", "-f", "/nix/var/nix/profiles/system"]).stdout.strip() == toplevel, where
    assert golden(host) == toplevel, where
    assert list(host.generations(GOLDEN).values()) == [toplevel], where
    entries = host.sh("cat /boot/loader/entries/nixos-golden-*").stdout
    assert f"init={toplevel}/init" in entries, where
    assert host.failed_units() == [], where
    assert host.active_state("sshd.service") == "active", where
    left = host.run(["find", RECORD, "-name", "*.damaged-*", "-o", "-name", "*.gitopsd-new"]).stdout
    assert left == "", where


def bad_boots(fact: dict[str, Any]) -> int:
    return sum(verdict in ("bad", "pending") for _, _, verdict, _ in fact["attempts"])


def numbers(sample: Iterable[int]) -> Iterable[int]:
    return itertools.count(1) if ALL else sample


@pytest.mark.parametrize("how", ["kill", "cut"])
def test_begin_verify_and_bless_may_be_killed_anywhere(lab: Lab, how: str) -> None:
    scene = set_up(lab, "malphas", more=BOOT_MODE, homes=False)
    malphas = scene.hosts["malphas"]
    good = [malphas.booted_system()]
    good.append(deploy_for_next_boot(scene, malphas, "as good", hello_service=HELLO.format(word="as good")))
    malphas.reboot(timeout=60)
    bad = deploy_for_next_boot(scene, malphas, "breaks sshd", sshd_service=BROKEN_SSHD)
    killing = Killing(malphas)
    died: list[str] = []

    # (`make test` kills at 3 points, and cuts at 2.)
    first, second, hung, blessed = ((3,), (18,), (), (9,)) if how == "kill" else ((), (), (14,), (12,))
    for verb, run, sample in (("begin", 1, ()), ("verify", 1, first), ("begin", 2, ()), ("verify", 2, second)):
        for number in numbers(sample):
            killing.prepare(bad)
            where, took = killing.die(f"{verb} {run} {number} {how}", lands_on=good[1])
            fine(malphas, good[1], where)
            counted = bad_boots(killing.known(bad))
            if not where:
                break
            died.append(where)
            # A cut right before the record of a bad boot's begin costs a boot that nobody could count.
            assert took <= (3 if how == "kill" else 4), where
            assert counted == 2, where

    for number in numbers(hung):
        killing.prepare(bad)
        malphas.run(["python3", "-I", "-c", HUNG_TWICE, bad])
        where, took = killing.die(f"begin 1 {number} {how}", lands_on=good[1])
        fine(malphas, good[1], where)
        if not where:
            break
        died.append(where)
        assert took <= (2 if how == "kill" else 3), where
        assert 2 <= bad_boots(killing.known(bad)) <= 3, where

    at = 1
    for number in numbers(blessed):
        at = 1 - at
        killing.prepare(good[at])
        where, took = killing.die(f"bless 1 {number} {how}", lands_on=good[at])
        fine(malphas, good[at], where)
        assert killing.known(good[at])["entry"], where
        if not where:
            break
        died.append(where)
        assert took <= (1 if how == "kill" else 2), where
        assert bad_boots(killing.known(good[at])) == 0, where

    print(*(where[:150] for where in died), sep="\n")
    assert len(died) >= (50 if ALL else 2)
