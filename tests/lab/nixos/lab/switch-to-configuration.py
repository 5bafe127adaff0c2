#!/usr/bin/python3 -I
"""switch-to-configuration, with those behaviours of NixOS' switch-to-configuration-ng that bite an agent.

Order and exit statuses follow pkgs/by-name/sw/switch-to-configuration-ng/src/main.rs of nixpkgs:

    0 done · 1 nothing was changed · 2 activation failed · 4 switched, but units failed · 100 a reboot is needed
"""

import fcntl
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

TOPLEVEL = Path("@toplevel@")
CURRENT = Path("/run/current-system")
UNITS = "etc/systemd/system"
RUN = Path("/run/nixos")
LOADER = Path("/boot/loader")
PROFILES = Path("/nix/var/nix/profiles")
POINT = Path("/usr/local/bin/lab-point")
UNFORESEEN = 99  # what it ends with to have us fail there
SETTLE = 0.25  # seconds in which a unit may still fail and be seen

os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
os.environ["LC_ALL"] = "C.UTF-8"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def point(name: str) -> None:
    """Give a test the chance to let the world end here."""
    if POINT.exists() and subprocess.run([POINT, f"{sys.argv[1]}:{name}"], check=False).returncode == UNFORESEEN:
        raise RuntimeError(f"an error at {name} that nobody foresaw")


def systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemctl", *arguments], stdout=subprocess.PIPE, text=True, check=False)


# -- boot loader ----------------------------------------------------------------------------------------------------


def write_durably(path: Path, text: str) -> None:
    new = path.with_name(path.name + ".new")
    with new.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    new.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def profiles() -> list[tuple[Path, str]]:
    """The system profile and those below system-profiles, with the begin of their entries' names."""
    others = PROFILES / "system-profiles"
    named = sorted(path for path in others.iterdir() if not path.name.endswith("-link")) if others.is_dir() else []
    return [(PROFILES / "system", "nixos"), *((path, f"nixos-{path.name}") for path in named)]


def limit() -> int:
    """boot.loader.*.configurationLimit; 0 is none."""
    return int((TOPLEVEL / "configuration-limit").read_text(encoding="utf-8"))


def install_bootloader() -> None:
    """Write an entry for each generation of each system profile; the default is this toplevel."""
    entries = LOADER / "entries"
    entries.mkdir(parents=True, exist_ok=True)
    wanted = {}
    for profile, prefix in profiles():
        links = {int(link.name.rsplit("-", 2)[1]): link for link in profile.parent.glob(f"{profile.name}-*-link")}
        # As systemd-boot-builder.py: the limit is that of each profile, the newest are kept.
        for number in sorted(links)[-limit() :]:
            target = links[number].resolve()
            if not (target / "init").exists():
                continue
            name = f"{prefix}-generation-{number}.conf"
            wanted[name] = f"title NixOS\nversion Generation {number}\noptions init={target}/init\n"
    for name, text in wanted.items():
        path = entries / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_durably(path, text)
    point("entries")
    write_durably(LOADER / "default", f"{TOPLEVEL}\n")
    point("default")
    for path in entries.iterdir():
        if path.name not in wanted:
            path.unlink()


# -- units ----------------------------------------------------------------------------------------------------------


def parse(path: Path) -> dict[tuple[str, str], str]:
    """Unit file → {(section, key): last value}."""
    values, section = {}, ""
    for line in map(str.strip, path.read_text(encoding="utf-8").splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif "=" in line and line[0] not in "#;":
            key, value = line.split("=", 1)
            values[section, key.strip()] = value.strip()
    return values


def flag(values: dict[tuple[str, str], str], section: str, key: str, *, default: bool = False) -> bool:
    return values.get((section, key), str(default)).lower() in ("1", "yes", "true", "on")


def template_of(unit: str) -> str:
    name, _, suffix = unit.rpartition(".")
    return f"{name.split('@')[0]}@.{suffix}" if "@" in name else unit


def texts(directory: Path, unit: str) -> list[bytes]:
    """The unit file and its drop-ins, for comparing."""
    files = [directory / unit, *sorted((directory / f"{unit}.d").glob("*.conf"))]
    return [path.read_bytes() for path in files if path.exists()]


def active_units() -> dict[str, str]:
    listed = json.loads(systemctl("list-units", "--output=json", "--full").stdout)
    return {entry["unit"]: entry["active"] for entry in listed if entry["active"] in ("active", "activating")}


@dataclass(slots=True)
class Plan:
    """Units by what happens to them; those in `quiet` are started without being announced."""

    stop: set[str] = field(default_factory=set)
    skip: set[str] = field(default_factory=set)
    restart: set[str] = field(default_factory=set)
    reload: set[str] = field(default_factory=set)
    start: set[str] = field(default_factory=set)
    quiet: set[str] = field(default_factory=set)


def plan_changes() -> Plan:
    plan = Plan()
    old_directory, new_directory = CURRENT / UNITS, TOPLEVEL / UNITS
    active = active_units()
    targets = []
    for unit in active:
        base = unit
        if not (old_directory / base).exists() and not (new_directory / base).exists():
            base = template_of(unit)
        old, new = old_directory / base, new_directory / base
        if unit.endswith(".target"):
            targets.append(unit)
        elif old.exists() and not new.exists():
            if flag(parse(old), "Unit", "X-StopOnRemoval", default=True):
                plan.stop.add(unit)
        elif old.exists() and new.exists() and texts(old_directory, base) != texts(new_directory, base):
            plan_change(plan, unit, parse(new), active)
    # Active targets are always started again: this starts what they newly want, and what has stopped meanwhile.
    shown = systemctl("show", "--property=Id,RefuseManualStart", *targets).stdout.split("\n\n")
    for block in shown:
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if values.get("RefuseManualStart") == "no" and values["Id"] not in ("suspend.target", "hibernate.target"):
            plan.start.add(values["Id"])
            plan.quiet.add(values["Id"])
    for verb in ("start", "restart", "reload"):
        kept = RUN / f"{verb}-list"  # of a run that was interrupted
        if kept.exists():
            getattr(plan, verb).update(kept.read_text(encoding="utf-8").split())
    return plan


def plan_change(plan: Plan, unit: str, new: dict[tuple[str, str], str], active: dict[str, str]) -> None:
    if unit.endswith((".path", ".slice", ".socket")):
        return
    if unit.endswith(".mount") or flag(new, "Service", "X-ReloadIfChanged"):
        plan.reload.add(unit)
    elif (
        not flag(new, "Service", "X-RestartIfChanged", default=True)
        or flag(new, "Unit", "RefuseManualStop")
        or flag(new, "Unit", "X-OnlyManualStart")
    ):
        plan.skip.add(unit)
    elif not flag(new, "Service", "X-StopIfChanged", default=True):
        plan.restart.add(unit)
    else:
        plan.stop.add(unit)
        sockets = new.get(("Service", "Sockets"), "").split() or [f"{unit.rpartition('.')[0]}.socket"]
        activated = [socket for socket in sockets if socket in active]
        # A service behind a socket is not started but its socket is, so that clients wait instead of being refused.
        plan.stop.update(activated)
        started = [socket for socket in activated if (TOPLEVEL / UNITS / socket).exists()]
        plan.start.update(started or [unit])


def announce(doing: str, units: set[str]) -> None:
    if units:
        say(f"{doing} the following units: {', '.join(sorted(units))}")


def wait_for_boot() -> None:
    """As the real one: there is no limit. A switch that a job of the boot waits for never ends."""
    while systemctl("is-system-running").stdout.strip() not in ("running", "degraded", "maintenance"):
        time.sleep(0.1)


def failed_units() -> set[str]:
    listed = json.loads(systemctl("list-units", "--all", "--output=json", "--full").stdout)
    failed = {entry["unit"] for entry in listed if entry["active"] == "failed"}
    again = [entry["unit"] for entry in listed if entry["sub"] == "auto-restart"]
    for unit in again:
        if systemctl("show", "--property=ExecMainStatus", "--value", unit).stdout.strip() not in ("", "0"):
            failed.add(unit)
    return failed


def inhibited() -> list[str]:
    """Names of those switch inhibitors that differ from the running system's."""
    path = CURRENT / "switch-inhibitors"
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    new = json.loads((TOPLEVEL / "switch-inhibitors").read_text(encoding="utf-8"))
    return sorted(name for name in old.keys() & new.keys() if old[name] != new[name])


def switch() -> int:
    """Activate and bring the units in line; return the exit status."""
    plan = plan_changes()
    say(f"switching to system configuration {TOPLEVEL}")
    announce("stopping", plan.stop)
    if plan.stop:
        systemctl("stop", "--", *sorted(plan.stop))
    point("stopped")
    announce("NOT restarting (changed)", plan.skip)
    for verb in ("start", "restart", "reload"):
        (RUN / f"{verb}-list").write_text("\n".join(sorted(getattr(plan, verb) - plan.quiet)), encoding="utf-8")

    status = 0
    new_systemd = (CURRENT / "systemd").readlink() != (TOPLEVEL / "systemd").readlink()
    say("activating the configuration...")
    if subprocess.run([TOPLEVEL / "activate", TOPLEVEL], check=False).returncode != 0:
        say("Failed to run activate script")
        status = 2
    point("activated")
    if new_systemd:
        say("restarting systemd...")
        systemctl("daemon-reexec")
    # On everything: what failed before the switch is forgotten.
    systemctl("reset-failed")
    if systemctl("daemon-reload").returncode != 0:
        status = 3

    point("reloaded")
    announce("reloading", plan.reload)
    announce("restarting", plan.restart)
    announce("starting", plan.start - plan.quiet)
    before = set(active_units())
    for verb in ("reload", "restart", "start"):
        units = sorted(getattr(plan, verb))
        if units and systemctl(verb, "--", *units).returncode != 0:
            status = 4
        (RUN / f"{verb}-list").unlink(missing_ok=True)

    point("started")
    time.sleep(SETTLE)
    announce("started, being new,", set(active_units()) - before - plan.start)
    if failed := failed_units():
        say(f"warning: the following units failed: {', '.join(sorted(failed))}")
        shown = systemctl("status", "--no-pager", "--full", "--lines=5", *sorted(failed))
        say(shown.stdout)
        status = 4
    return status


def dry_activate() -> None:
    plan = plan_changes()
    announce("would stop", plan.stop)
    announce("would NOT stop (changed)", plan.skip)
    say("would activate the configuration...")
    announce("would reload", plan.reload)
    announce("would restart", plan.restart)
    announce("would start", plan.start - plan.quiet)


def main() -> int:
    actions = ("switch", "boot", "test", "dry-activate", "check")
    if len(sys.argv) != 2 or sys.argv[1] not in actions:
        say(f"usage: {sys.argv[0]} {'|'.join(actions)}")
        return 1
    action = sys.argv[1]

    if action in ("switch", "test", "check") and not os.environ.get("NIXOS_NO_CHECK") and (names := inhibited()):
        say(f"There are changes to critical components of the system: {', '.join(names)}")
        say("Switching into this system is not recommended. Pre-switch checks failed")
        return 1
    if action == "check":
        return 0

    point("begin")
    RUN.mkdir(parents=True, exist_ok=True)
    with (RUN / "switch-to-configuration.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if action in ("switch", "boot"):
            try:
                install_bootloader()
            except OSError as error:
                say(f"Failed to install bootloader: {error}")
                return 1
        if os.environ.get("NIXOS_NO_SYNC") != "1":
            os.sync()
        if action == "boot":
            return 0

        version = "init-interface-version"
        if (CURRENT / version).read_bytes() != (TOPLEVEL / version).read_bytes():
            say("Warning: the new NixOS configuration has an 'init' that is incompatible with the current one.")
            say("The new configuration won't take effect until you reboot the system.")
            return 100

        wait_for_boot()
        if action == "dry-activate":
            dry_activate()
            return 0
        return switch()


if __name__ == "__main__":
    sys.exit(main())
