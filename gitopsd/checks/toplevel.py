"""Whether what was built is a NixOS system, of this host, with the units that verify will ask for."""

import re
from collections.abc import Sequence
from pathlib import Path

from gitopsd.types import Check, StorePath, Verdict

# What switch-to-configuration, nixos-rebuild and verify rely on (nixpkgs, nixos/modules/system/activation/top-level.nix).
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
    """Whether verify will find what it asks for."""
    name = "has the units to validate"
    directory = Path(toplevel, "etc/systemd/system")
    missing = [unit for unit in units if not ((directory / unit).exists() or (directory / _template(unit)).exists())]
    if missing:
        return Check(
            name=name,
            verdict=Verdict.failed,
            said=f"{', '.join(missing)} not in {directory}: verify would wait for it in vain",
            advice="enable the service in the configuration, or correct verify.validate_units",
        )
    return Check(name=name, verdict=Verdict.passed)


def _hostname(system: Path) -> str:
    try:
        return (system / "etc/hostname").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _template(unit: str) -> str:
    """`name@.service` of `name@instance.service`; a unit that is no instance stands for itself."""
    return re.sub(r"@[^.]+(\.\w+)$", r"@\1", unit)
