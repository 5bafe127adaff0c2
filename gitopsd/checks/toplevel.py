"""Whether what was built is a NixOS system, of this host, with the units that verify will ask for."""

import re
from collections.abc import Sequence
from pathlib import Path

from gitopsd.types import Check, StorePath, Verdict

# What switch-to-configuration, nixos-rebuild and verify rely on (nixpkgs, nixos/modules/system/activation/top-level.nix).
_WITHOUT_A_FILE = (".mount", ".automount", ".swap", ".device", ".slice", ".scope")
_PARTS = ("nixos-version", "bin/switch-to-configuration", "etc", "init")


def is_nixos(toplevel: StorePath, origin: str) -> Check:
    """The same guard as nixos-rebuild's, and a little more.

    Args:
        toplevel: what was built.
        origin: what it was built from, for the advice.

    """
    name = "is a NixOS system"
    lacking = [part for part in _PARTS if not Path(toplevel, part).exists()]
    if lacking:
        return Check(
            name=name,
            verdict=Verdict.failed,
            said=f"{toplevel} has no {' and no '.join(lacking)}",
            advice=f"see that {origin} is the `config.system.build.toplevel` of a NixOS system",
        )
    return Check(name=name, verdict=Verdict.passed)


def is_for(toplevel: StorePath, host: str, running: Path) -> Check:
    """Whether it has this host's name.

    A name under `nixosConfigurations` need not be the host name, so a system that is called as the running one is right
    too. A system with `networking.hostName = ""` gets its name from the network and has no `/etc/hostname`.

    Args:
        toplevel: what was built.
        host: the name of this host in the configuration.
        running: the system that runs.

    """
    name = "is for this host"
    theirs = _hostname(Path(toplevel))
    if not theirs:
        return Check(name=name, verdict=Verdict.noted, said="it does not say which host it is for")
    ours = {host, _hostname(running)} - {""}
    if theirs in ours:
        return Check(name=name, verdict=Verdict.passed, said=theirs)
    return Check(
        name=name,
        verdict=Verdict.failed,
        said=f"it is the system of {theirs}, and this host is {' or '.join(sorted(ours))}",
        advice="correct `networking.hostName` in the configuration, or `host` in /etc/gitopsd/config.toml",
    )


def has_units(toplevel: StorePath, units: Sequence[str]) -> Check:
    """Whether verify will find what it asks for.

    Mounts, devices and the like need no file: generators make them at run time (systemd.generator(7)), of `/etc/fstab`
    for one. Whether those are there, verify sees.
    """
    name = "has the units to validate"
    directory = Path(toplevel, "etc/systemd/system")
    found = {unit: _file_of(directory, unit) for unit in units if not unit.endswith(_WITHOUT_A_FILE)}
    missing = [unit for unit, file in found.items() if file is None]
    masked = [unit for unit, file in found.items() if file is not None and file.resolve() == Path("/dev/null")]
    passing = [unit for unit, file in found.items() if file is not None and _is_over_at_once(file)]
    problems = [
        f"{', '.join(each)} {said}: verify would wait for it in vain"
        for each, said in (
            (missing, f"not in {directory}"),
            (masked, "masked"),
            (passing, "a oneshot without `RemainAfterExit=`, which is never active"),
        )
        if each
    ]
    if problems:
        return Check(
            name=name,
            verdict=Verdict.failed,
            said="; ".join(problems),
            advice="enable the service in the configuration, or correct verify.validate_units",
        )
    return Check(name=name, verdict=Verdict.passed)


def _hostname(system: Path) -> str:
    try:
        return (system / "etc/hostname").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _file_of(directory: Path, unit: str) -> Path | None:
    """The unit's file, or that of its template: `name@.service` of `name@instance.service` (systemd.unit(5))."""
    template = re.sub(r"@.+(\.\w+)$", r"@\1", unit)
    return next((file for file in (directory / unit, directory / template) if file.exists()), None)


def _is_over_at_once(file: Path) -> bool:
    """Whether it is a oneshot that does not stay active once it has ended well."""
    settings: dict[str, str] = {}
    for each in (file, *sorted(file.with_name(f"{file.name}.d").glob("*.conf"))):
        for line in each.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition("=")
            settings[key.strip()] = value.strip().lower()
    return settings.get("Type") == "oneshot" and settings.get("RemainAfterExit") not in ("yes", "true", "on", "1")
