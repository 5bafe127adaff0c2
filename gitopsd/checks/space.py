"""Whether there is room: in the store for a build, and where the boot loader's files are for a kernel and an initrd.

A full disk is the machine's fault and not the revision's: these checks prevent, they never reject.
"""

import os
from pathlib import Path

from gitopsd.types import Check, StorePath, Verdict

STORE = Path("/nix/store")

# Where NixOS' boot loaders put kernels, below their path: systemd-boot and lanzaboote, GRUB (and extlinux, raspberryPi).
_KERNELS = ("EFI/nixos", "EFI/Linux", "kernels", "nixos")
_MIB = 1024**2


def in_store(wanted: int, store: Path = STORE) -> Check:
    """Before a build.

    Args:
        wanted: bytes that must be free; 0 asks for nothing.
        store: where.

    """
    name = "has room in the store"
    free = _free(store)
    if free is None:
        return Check(name=name, verdict=Verdict.noted, said=f"{store} does not tell how much is free")
    if free < wanted:
        return Check(
            name=name,
            verdict=Verdict.prevented,
            said=f"{_size(free)} are free in {store}, and `space.store` asks for {_size(wanted)}",
            advice="`nix-collect-garbage --delete-older-than 30d`, then `gitopsctl upgrade`",
        )
    return Check(name=name, verdict=Verdict.passed, said=f"{_size(free)} are free")


def on_boot(toplevel: StorePath, wanted: int, boot: Path) -> Check:
    """Before a switch, which ends with the boot loader copying what the new system boots from.

    Args:
        toplevel: what was built.
        wanted: bytes that must be free beside the kernel and the initrd; 0 asks for nothing more.
        boot: where the boot loader's files are.

    """
    name = f"has room on {boot}"
    free = _free(boot)
    if free is None:
        return Check(name=name, verdict=Verdict.noted, said=f"{boot} does not tell how much is free")
    there = _names(boot)
    needed = sum(size for stem, size in _boots_from(Path(toplevel)) if not any(part.startswith(stem) for part in there))
    if free < needed + wanted:
        return Check(
            name=name,
            verdict=Verdict.prevented,
            said=f"{_size(free)} are free on {boot}; kernel and initrd need {_size(needed)}, "
            f"and `space.boot` asks for {_size(wanted)} beside them",
            advice="delete old generations (`nix-collect-garbage --delete-older-than 30d`), install the boot loader "
            "anew (`nixos-rebuild boot`), then `gitopsctl upgrade`",
        )
    return Check(name=name, verdict=Verdict.passed, said=f"{_size(free)} are free, {_size(needed)} are needed")


def _free(path: Path) -> int | None:
    """Bytes that root may still write there."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return found.f_bfree * found.f_frsize if found.f_blocks else None


def _boots_from(toplevel: Path) -> list[tuple[str, int]]:
    """The beginning of the name that a boot loader gives its copy (the store path's hash and name), and the size."""
    found = []
    for part in ("kernel", "initrd"):
        try:
            real = (toplevel / part).resolve(strict=True)
            found.append((real.relative_to(STORE).parts[0], real.stat().st_size))
        except (OSError, ValueError):  # a container has neither
            continue
    return found


def _names(boot: Path) -> set[str]:
    names = set()
    for directory in _KERNELS:
        try:
            names |= {path.name for path in (boot / directory).iterdir()}
        except OSError:
            continue
    return names


def _size(number: int) -> str:
    return f"{number / _MIB:.0f} MiB" if number >= 10 * _MIB or number % _MIB == 0 else f"{number / _MIB:.1f} MiB"
