"""How a toplevel differs from what runs and from what was booted: links and small files are read, nothing is run."""

import functools
import json
from pathlib import Path
from typing import Any

from gitopsd.types import Check, StorePath, Verdict

# What a running system keeps until it is booted anew: name → what to compare below the toplevel.
_BOOTED = {
    "kernel": "kernel",
    "initrd": "initrd",
    "kernel modules": "kernel-modules",
    "kernel parameters": "kernel-params",
    "init interface": "init-interface-version",
}


def inhibitors(toplevel: StorePath, running: Path) -> tuple[str, ...]:
    """Names of the switch inhibitors that differ.

    Those of one side only do not count: nixpkgs, nixos/modules/system/activation/switchable-system.nix.

    Raises:
        ValueError: a file is there and is no JSON object.

    """
    new, old = _inhibitors(Path(toplevel)), _inhibitors(running)
    return tuple(sorted(name for name in new.keys() & old.keys() if new[name] != old[name]))


def needs_reboot(toplevel: StorePath, booted: Path) -> tuple[str, ...]:
    """What of the new system only a reboot brings into use."""
    if not booted.exists():  # a container, or not booted into NixOS
        return ()
    return _differ(Path(toplevel), booted.resolve())


@functools.lru_cache(maxsize=8)
def _differ(toplevel: Path, booted: Path) -> tuple[str, ...]:
    """Read once: what is in the store does not change, and every status would read hundreds of kernel modules' names."""
    return tuple(name for name, part in _BOOTED.items() if _content(toplevel / part) != _content(booted / part))


def may_switch(found: tuple[str, ...], mode: str) -> Check:
    """Whether NixOS lets us switch to it in the running system.

    Args:
        found: the inhibitors that differ.
        mode: `switch.mode`.

    """
    name = "may be switched to"
    if not found:
        return Check(name=name, verdict=Verdict.passed)
    what = f"{', '.join(found)} changed, which NixOS does not switch in a running system"
    if mode == "boot":
        return Check(name=name, verdict=Verdict.noted, said=f"{what}; the next reboot brings it")
    return Check(
        name=name,
        verdict=Verdict.failed,
        said=what,
        advice='`mode = "boot"` under [switch] in /etc/gitopsd/config.toml, `systemctl reload gitopsd`, '
        "then `gitopsctl retry`",
    )


def _inhibitors(system: Path) -> dict[str, Any]:
    path = system / "switch-inhibitors"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:  # a nixpkgs from before there were any
        return {}
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    read = json.loads(text)
    if not isinstance(read, dict):
        raise ValueError(f"{path} is no JSON object")  # noqa: TRY004  # of a file, as a syntax error is
    return read


def _content(path: Path) -> str:
    """A link's end, a small file's text, what a directory lists; empty if there is none of them."""
    try:
        if path.is_symlink():
            return str(path.resolve(strict=True))
        if path.is_dir():
            return "\n".join(sorted(str(found.relative_to(path)) for found in path.rglob("*")))
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
