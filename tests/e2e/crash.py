"""Crashes at named points of an upgrade on a lab machine, driven from outside of the daemon's own code.

A launcher in the place of `/usr/bin/gitopsd` runs the installed daemon with its doors to the world watched: each write
to the store, each program, each call to systemd that changes something is a point, before it and after it, from build
on. Inside the activation the stand-in for switch-to-configuration asks `lab-point` at the points that it names. Where
the armed point is reached the daemon is killed, or the machine is reset by reboot(2): no process hears of it, nothing
is flushed.
"""

import json
import re
from typing import Any

import msgspec
from e2e.scene import Scene
from lab import Host

LAUNCHER = r"""#!/usr/bin/python3 -I
import functools, os, pathlib, subprocess, sys

sys.path.insert(0, "/opt/gitopsd-src")

from gitopsd.__main__ import main
from gitopsd.daemon import standby
from gitopsd.daemon.reporter import StepReporter
from gitopsd.daemon.store import SqliteStore
from gitopsd.machine import State
from gitopsd.tools.nix import Nix
from gitopsd.tools.process import Processes
from gitopsd.tools.systemd import Systemd

PLACE = pathlib.Path("/var/lib/crash")
WATCHED = {State.build, State.switch, State.verify, State.rollback}
seen, under_way = 0, False


def point(name):
    global seen
    if not under_way:
        return
    seen += 1
    try:
        number, how = (PLACE / "armed").read_text().split()
    except (FileNotFoundError, ValueError):
        return
    if number in (str(seen), name.replace(" ", ":")):
        (PLACE / "armed").unlink()
        (PLACE / "died").write_text(f"{name} ({seen})")
        subprocess.run(["/usr/local/bin/lab-die", how])
        os.pause() if hasattr(os, "pause") else __import__("signal").pause()


def watch(kind, method, name=None):
    plain = getattr(kind, method)

    @functools.wraps(plain)
    async def watched(self, *arguments, **more):
        global seen, under_way
        told = name(*arguments) if name else method
        if told is None:
            return await plain(self, *arguments, **more)
        if method in ("advance", "save_cycle") and arguments[0].state in WATCHED:
            seen, under_way = (seen, True) if under_way else (0, True)
        point(f"before {told}")
        result = await plain(self, *arguments, **more)
        point(f"after {told}")
        if method == "finish_cycle":
            under_way = False
        return result

    setattr(kind, method, watched)


for method in ("advance", "save_cycle", "finish_cycle"):
    watch(SqliteStore, method)
for method in ("start_transient", "stop_unit", "reset_failed"):
    watch(Systemd, method)
VERBS = {"fetch", "build", "--set", "--switch-generation"}
watch(Processes, "run", lambda argv, *_: " ".join([argv[0], *VERBS.intersection(argv)]))
watch(Nix, "release")

progress = StepReporter.progress


def said(self, text, told=set()):
    progress(self, text)
    word = text.partition(",")[0]
    if word == "soaking" and self._cycle.id not in told:
        told.add(self._cycle.id)
        point("in the soak")


StepReporter.progress = said
standby.HOLD = 2.0
if not {"--rehearse", "--stand-by"}.intersection(sys.argv):
    pathlib.Path("/run/gitopsd.pid").write_text(str(os.getpid()))
sys.exit(main())
"""

# $1 kill: the daemon; both: who watches it, too; cut: the machine, by reboot(RB_AUTOBOOT) without a sync.
DIE = r"""#!/bin/sh
case $1 in
both)
    systemctl kill --signal=KILL gitopsd-standby.service 2>/dev/null
    kill -9 "$(cat /run/gitopsd.pid)"
    ;;
kill) kill -9 "$(cat /run/gitopsd.pid)" ;;
cut) exec python3 -I -c 'import ctypes; ctypes.CDLL(None).reboot(0x1234567)' ;;
esac
"""

# $1 the point, such as `test:activated`. Armed is `POINT HOW`, or `POINT#2 HOW` for the second time that it comes.
POINT = r"""#!/bin/sh
[ -e /var/lib/crash/armed ] || exit 0
read -r armed how </var/lib/crash/armed
echo "$1" >>/run/lab-points
[ "$armed" = "$1#$(grep -cxF "$1" /run/lab-points)" ] || [ "$armed" = "$1" ] || exit 0
rm /var/lib/crash/armed
echo "$armed" >/var/lib/crash/died
exec /usr/local/bin/lab-die "$how"
"""

# A newer gitopsd that rehearses well, and dies.
DYING = """#!/bin/sh
case "$*" in *--rehearse*) exec /usr/bin/gitopsd "$@" ;; esac
exit 7
"""
DYING_PATH = "/usr/local/bin/gitopsd-dies"

HOOK = "[ ! -x /usr/local/bin/lab-point ] || /usr/local/bin/lab-point {}"
SETTINGS = {"buildScript": HOOK.format("build"), "activationScript": HOOK.format("activate")}


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How one upgrade ended that a crash may have hit.

    Args:
        died: where the crash came; empty if the cycle never got there.
        outcome: of the cycle.
        toplevel: what it built.
        status: what the daemon says now.

    """

    died: str
    outcome: str
    toplevel: str
    status: dict[str, Any]


class Crashes:
    """Has a host's upgrades crash.

    Args:
        scene: what the host belongs to.
        host: any host of it, set up with `SETTINGS`.

    """

    def __init__(self, scene: Scene, host: Host) -> None:
        self._scene = scene
        self.host = host
        host.write("/usr/local/bin/lab-die", DIE, mode=0o755)
        host.write("/usr/local/bin/lab-point", POINT, mode=0o755)
        host.write("/usr/bin/gitopsd", LAUNCHER, mode=0o755)
        host.write(DYING_PATH, DYING, mode=0o755)
        host.run(["mkdir", "-p", "/var/lib/crash"])
        host.run(["systemctl", "restart", "gitopsd.service"])
        host.run(["gitopsctl", "upgrade"])  # what runs is deployed
        self.before = host.current_system()

    def upgrade(self, point: str, how: str, **units: str) -> Ended:
        """Push a configuration with these units, upgrade to it, crash at the point, and wait for the end of the cycle."""
        host = self.host
        revision = self._scene.push_config(f"{how} at {point}", **units)
        host.sh(f"rm -f /var/lib/crash/died /run/lab-points; echo '{point} {how}' >/var/lib/crash/armed")
        number = int(re.findall(r"\d+", host.run(["gitopsctl", "upgrade", "--no-wait"]).stdout)[0])
        answer: dict[str, Any] = {}

        def over() -> bool:
            shown = host.run(["gitopsctl", "show", str(number), "--json"], check=False)
            status = host.run(["gitopsctl", "status", "--json"], check=False)
            if shown.returncode != 0 or status.returncode != 0:
                return False
            answer.update(shown=json.loads(shown.stdout), status=json.loads(status.stdout))
            return answer["status"]["cycle"] is None

        host.until(over, timeout=120, what=f"the end of the cycle with a {how} at {point}")
        host.wait_boot()
        died = host.read("/var/lib/crash/died").strip() if host.exists("/var/lib/crash/died") else ""
        summary = answer["shown"]["summary"]
        assert summary["revision"] == revision
        ended = Ended(
            died=died, outcome=summary["outcome"], toplevel=summary["toplevel"] or "", status=answer["status"]
        )
        self._holds(ended, revision, rebooted=how == "cut" and bool(died))
        self.before = host.current_system()
        return ended

    def _holds(self, ended: Ended, revision: str, *, rebooted: bool) -> None:
        """What must be true whatever was hit."""
        host, status, where = self.host, ended.status, f"{ended.died}: {ended.outcome}\n{self.host.journal(lines=60)}"
        current = host.current_system()
        assert current == host.boot_default() == status["system"]["current"] == status["system"]["profile"], where
        assert status["deployed"]["toplevel"] == current, where
        assert not status["system"]["drift"], where
        assert current == (ended.toplevel if ended.outcome == "success" else self.before), where
        assert ended.outcome in ("success", "rolled-back", "interrupted"), where
        assert status["state"] in ("idle", "failed"), where
        assert status["blocked"] == "", where
        if rebooted and host.booted_system() != self.before:  # what the boot default was when the power went
            assert ended.outcome == "success", where
        assert host.failed_units() == [], where
        assert host.active_state("sshd.service") == "active", where
        left = host.run(["systemctl", "show", "-P", "LoadState", "nixos-rebuild-switch-to-configuration.service"])
        assert left.stdout.strip() == "not-found", where
        roots = host.run(["ls", "/var/lib/gitopsd/roots"]).stdout.split()
        assert roots == ([revision] if ended.outcome == "interrupted" else []), where
        started = re.findall(r"Started .*?(gitopsd: .*)", host.journal("nixos-rebuild-switch-to-configuration.service"))
        assert len(started) == len(set(started)), where
        # What runs is the gitopsd of that system, as its unit says, and nobody watches it any more.
        host.until(lambda: _niceness(host) == _wanted_niceness(host), what=f"the gitopsd of {current} after {where}")
        host.until(lambda: host.active_state("gitopsd-standby.service") == "inactive", what=f"no watch after {where}")
        assert not host.exists("/var/lib/gitopsd/takeover.json"), where
        assert not host.exists("/nix/var/nix/gcroots/gitopsd-takeover"), where


def _niceness(host: Host) -> str:
    """Of the daemon's process; empty while there is none."""
    pid = host.run(["systemctl", "show", "-P", "MainPID", "gitopsd.service"]).stdout.strip()
    return host.run(["ps", "-o", "ni=", "-p", pid], check=False).stdout.strip() if pid != "0" else ""


def _wanted_niceness(host: Host) -> str:
    unit = host.read("/run/current-system/etc/systemd/system/gitopsd.service")
    found = re.search(r"(?m)^Nice=(\d+)$", unit)
    return found[1] if found else "0"
