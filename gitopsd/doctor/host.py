"""The host itself: programs, daemon, socket, timers, state, clock, and the NixOS system."""

import asyncio
import contextlib
import grp
import os
import re
import shutil
import stat
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from gitopsd import __version__
from gitopsd.config import Config, SystemConfig
from gitopsd.control.client import CallFailed, DaemonUnreachable, call
from gitopsd.doctor.finding import Finding, fault, ok, unknown, warning
from gitopsd.errors import GitopsdError, ToolMissing
from gitopsd.tools.leak_scanner import ADVICE, LeakScanner
from gitopsd.tools.memory import is_controlled
from gitopsd.tools.nix_user import ROOT, WORKSHOP, worker
from gitopsd.tools.process import Processes

UNIT = "gitopsd.service"
STATE = Path("/var/lib/gitopsd")
_QUICK = 10.0  # seconds
_ROOM = 64 * 1024**2  # bytes that the state directory should have
_SKEW = 3600.0  # seconds that a file may seem to be from the future

# Program → the oldest version that has what we use, and which half needs it.
NEEDED = {
    "git": ((2, 39), "both"),
    "ssh": ((), "both"),
    "setpriv": ((), "both"),
    "jj": ((0, 42), "dotfiles"),
    "chezmoi": ((2, 50), "dotfiles"),
    "nix": ((2, 19), "config"),
    "nix-env": ((), "config"),
}


async def daemons_path() -> str:
    """The PATH that the daemon has, which is where it looks for programs; our own if that cannot be found out."""
    ours = Processes()
    pid = await _said(ours, ["systemctl", "show", "--property=MainPID", "--value", UNIT])
    if path := _path_of(pid or "0"):
        return path
    environment = await _said(ours, ["systemctl", "show", "--property=Environment", "--value", UNIT])
    found = re.search(r"(?:^|\s)\"?PATH=([^\s\"]+)", environment)
    return found[1] if found else os.environ.get("PATH", os.defpath)


def _path_of(pid: str) -> str:
    """The PATH of a process; empty if there is none, or if it is not ours to know."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if line.startswith(b"PATH="):
                return line.removeprefix(b"PATH=").decode(errors="surrogateescape")
    return ""


async def programs(processes: Processes, config: Config | None) -> AsyncIterator[Finding]:
    """Are they there, and new enough?"""
    wanted = {"both"}
    if config is None or config.dotfiles:
        wanted.add("dotfiles")
    if config is None or config.config is not None:
        wanted.add("config")
    for name, (oldest, half) in NEEDED.items():
        if half not in wanted:
            continue
        if not processes.has(name):
            yield fault(
                "programs",
                f"{name} is not on the daemon's PATH",
                f"install {name}, or add it to the unit's path, then systemctl restart {UNIT}",
            )
            continue
        version = await _version(processes, name) if oldest else ()
        told = f"{name} {'.'.join(map(str, version))}".strip()
        if oldest and version and version < oldest:
            least = ".".join(map(str, oldest))
            yield warning(
                "programs", f"{told} is older than {least}, the oldest that is known to do", f"install a newer {name}"
            )
        else:
            yield ok("programs", told)


async def scanner(processes: Processes, config: Config | None) -> AsyncIterator[Finding]:
    """Does a scanner find what it is given to find, and which?"""
    if config is not None and not config.dotfiles:
        return
    scanners = LeakScanner(processes)
    try:
        await scanners.scan(())
    except ToolMissing as error:
        yield fault("programs", f"{error.message}; nothing new is published", error.advice)
    except GitopsdError as error:
        yield fault("programs", f"{error.message}; nothing new is published", ADVICE)
    else:
        yield ok("programs", f"{scanners.first} looks for secrets")


async def _version(processes: Processes, name: str) -> tuple[int, ...]:
    said = await _said(processes, [name, "--version"])
    found = re.search(r"\d+(?:\.\d+)+", said)
    return tuple(map(int, found[0].split("."))) if found else ()


async def daemon(processes: Processes, socket: str) -> AsyncIterator[Finding]:
    """Does it run, does it answer, and what does it say of itself?"""
    try:
        # In a thread: the client blocks.
        status = (await asyncio.to_thread(call, socket, "io.gitopsd.Status.Get", None, _QUICK))["status"]
    except (DaemonUnreachable, CallFailed) as error:
        state = await _said(processes, ["systemctl", "is-active", UNIT])
        advice = "journalctl -u gitopsd -b" if state == "failed" else f"systemctl start {UNIT}"
        yield fault("daemon", f"{error}; its unit is {state or 'unknown'}", advice)
        return
    yield ok("daemon", f"it answers; version {status['version']}, {status['state']}")
    if status["version"] != __version__:
        yield warning("daemon", f"this gitopsctl is of version {__version__}", f"systemctl restart {UNIT}")
    if status.get("config_error"):
        yield fault("daemon", "it refused the newest configuration", "gitopsctl config check")
    if status.get("blocked"):
        yield fault("daemon", f"it is blocked: {status['blocked'].splitlines()[0]}", "gitopsctl status")
    if await _said(processes, ["systemctl", "is-enabled", "gitopsd.socket"]) not in (
        "enabled",
        "static",
        "linked",
        "enabled-runtime",
    ):
        yield warning("daemon", "its socket is not started at boot", "systemctl enable gitopsd.socket gitopsd.service")


def socket_rights(path: str, group: str) -> Iterator[Finding]:
    """May everybody ask, and can nobody put another socket in its place?"""
    try:
        here, above = Path(path).stat(), Path(path).parent.stat()
    except OSError as error:
        yield fault("socket", f"{path}: {error.strerror}", "systemctl start gitopsd.socket")
        return
    if not stat.S_ISSOCK(here.st_mode):
        yield fault("socket", f"{path} is no socket", f"rm {path} && systemctl restart gitopsd.socket")
    elif here.st_mode & 0o666 != 0o666:
        yield warning(
            "socket", f"{path} has mode {stat.S_IMODE(here.st_mode):o}: not everybody may ask", "SocketMode=0666"
        )
    elif above.st_uid != 0 or above.st_mode & 0o022:
        what = f"others than root may write to {Path(path).parent}, and answer in the daemon's place"
        yield fault("socket", what, f"chown root: {Path(path).parent} && chmod 755 {Path(path).parent}")
    else:
        yield ok("socket", f"{path} is open to all, in a directory of root's")
    if group:
        try:
            members = grp.getgrnam(group).gr_mem
        except KeyError:
            yield fault("socket", f"the group {group!r} of [control] does not exist", f"groupadd {group}")
        else:
            yield ok("socket", f"root and {', '.join(members) or 'nobody else'} may change things ({group})")


async def timers(processes: Processes, config: Config) -> AsyncIterator[Finding]:
    """Does anything start the cycles?"""
    wanted = [("gitopsd-sync.timer",)] if config.dotfiles else []
    if config.config is not None:
        wanted.append(("gitopsd-upgrade.timer", "auto-upgrade.timer"))  # type: ignore[arg-type]
    for names in wanted:
        states = [await _said(processes, ["systemctl", "is-active", name]) for name in names]
        if "active" in states:
            yield ok("timers", f"{names[states.index('active')]} is active")
        else:
            yield warning(
                "timers",
                f"{names[0]} is not active: cycles run when somebody asks",
                f"systemctl enable --now {names[0]}",
            )
    if (
        config.config is not None
        and await _said(processes, ["systemctl", "is-active", "nixos-upgrade.timer"]) == "active"
    ):
        yield fault(
            "timers",
            "nixos-upgrade.timer is active too: two would switch this system",
            "system.autoUpgrade.enable = false",
        )


def state(config: Config | None) -> Iterator[Finding]:
    """The record, and room for it."""
    try:
        found = STATE.stat()
    except OSError as error:
        yield warning("state", f"{STATE}: {error.strerror}", f"systemctl start {UNIT}, which makes it")
        return
    if found.st_uid != 0 or found.st_mode & 0o077:
        yield fault(
            "state", f"{STATE} must belong to root, and to nobody else", f"chown root: {STATE} && chmod 700 {STATE}"
        )
    damaged = sorted(STATE.glob("state.db.damaged-*")) if os.access(STATE, os.R_OK) else []
    if damaged:
        yield warning(
            "state", f"a damaged state file was moved aside: {damaged[-1]}", f"look at the disk; then rm {damaged[-1]}"
        )
    places = [(STATE, _ROOM)]
    if config is not None and config.config is not None:
        places.append((Path("/nix/store"), config.space.store))
    for place, least in places:
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(place).free
            if free < least:
                what = f"{place} has {free // 1024**2} MiB left, less than {least // 1024**2}"
                yield fault("state", what, "nix-collect-garbage" if place.name == "store" else f"df {place}")
            else:
                yield ok("state", f"{place} has {free // 1024**2} MiB left")


async def clock(processes: Processes) -> AsyncIterator[Finding]:
    """Certificates, signatures and schedules depend on it."""
    now = time.time()
    newest = max(_changed(Path(__file__)), _changed(STATE / "state.db"))
    if now < newest - _SKEW:
        yield fault("clock", "it is behind: files of gitopsd are from the future", "timedatectl set-ntp true")
        return
    synchronised = await _said(processes, ["timedatectl", "show", "--property=NTPSynchronized", "--value"])
    if synchronised == "yes":
        yield ok("clock", "it is synchronised")
    elif synchronised == "no":
        yield warning("clock", "it is not synchronised with any server", "timedatectl set-ntp true")
    else:
        yield unknown("clock", "whether it is synchronised cannot be found out", "timedatectl")


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def system() -> Iterator[Finding]:
    """The profile and the golden generation."""
    profile, current = Path("/nix/var/nix/profiles/system"), Path("/run/current-system")
    if not current.exists():
        yield fault("system", f"{current} does not exist: this is no NixOS", "take [config] out of the configuration")
        return
    if not profile.exists():
        what = f"{profile} does not exist or leads nowhere: nothing is the boot default"
        yield fault("system", what, f"nix-env --profile {profile} --set {current.resolve()}")
    elif profile.resolve() != current.resolve():
        yield warning("system", "what runs is not the boot default", "gitopsctl status tells why; or reboot")
    else:
        yield ok("system", "what runs is the boot default")
    golden = profile.parent / "system-profiles" / "golden"
    if golden.exists():
        yield ok("golden", f"golden is {golden.resolve()}")
    else:
        yield warning(
            "golden",
            "there is no golden generation: a system that does not boot is not fallen back from",
            "enable the gitopsd-boot-* units; the first good boot pins one",
        )


async def builds(processes: Processes, system: SystemConfig) -> Finding:
    """Who evaluates the configuration?"""
    found = await worker(processes, system.build_user, WORKSHOP)
    if found.account is not None:
        return ok("builds", f"{system.build_user} evaluates and builds, through the nix daemon")
    said = f"root evaluates the configuration: {found.why_root}"
    return warning("builds", said, found.advice) if system.build_user != ROOT else ok("builds", said)


def memory(system: SystemConfig) -> Finding:
    """What holds an evaluation to its limit?"""
    if system.memory_max == "infinity":
        return ok("memory", "config.memory_max limits nothing, as it says")
    if is_controlled():
        return ok("memory", f"an evaluation that takes more than {system.memory_max} of memory is ended")
    how = "each of its processes by itself (RLIMIT_DATA), since systemd has no memory controller of cgroup v2 here"
    return ok("memory", f"an evaluation that takes more than {system.memory_max} of memory is ended, {how}")


async def boot_units(processes: Processes) -> AsyncIterator[Finding]:
    """Does anything assess boots?"""
    names = [f"gitopsd-boot-{verb}.service" for verb in ("begin", "verify", "bless")]
    missing = [
        name
        for name in names
        if await _said(processes, ["systemctl", "show", "--property=LoadState", "--value", name]) != "loaded"
    ]
    if missing:
        yield warning(
            "golden", f"boots are not assessed: no {', '.join(missing)}", f"systemctl enable {' '.join(names)}"
        )
    else:
        yield ok("golden", "boots are assessed")


async def _said(processes: Processes, argv: list[str]) -> str:
    """What a command prints, whatever its exit status; empty if it cannot be run."""
    try:
        return (await processes.run(argv, timeout=_QUICK, check=False)).stdout.strip()
    except GitopsdError:
        return ""
