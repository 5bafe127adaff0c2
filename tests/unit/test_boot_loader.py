"""What systemd-boot counts is read from where it writes it: an EFI variable, and the names of the entries on the ESP."""

from pathlib import Path

import pytest
from unit.boot_world import GOLDEN, NEWER, World, proved

from gitopsd.boot.loader import Loader
from gitopsd.boot.view import view
from gitopsd.cli import render

VENDOR = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"


def variable(root: Path, name: str, text: str) -> None:
    """As efivarfs shows it."""
    (root / "efivars").mkdir(exist_ok=True)
    raw = (6).to_bytes(4, "little") + text.encode("utf-16-le") + b"\0\0"
    (root / "efivars" / f"{name}-{VENDOR}").write_bytes(raw)


def entry(root: Path, name: str, toplevel: str) -> Path:
    path = root / "esp" / "loader" / "entries" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"title NixOS\nlinux /EFI/nixos/kernel.efi\noptions init={toplevel}/init quiet\n")
    return path


def loader(root: Path) -> Loader:
    return Loader(str(root / "efivars"), (str(root / "esp"),))


@pytest.mark.parametrize(
    ("booted", "now", "state"),
    [
        ("nixos-abc+2-1.conf", "nixos-abc+2-1.conf", "pending"),
        ("nixos-abc+2-1.conf", "nixos-abc.conf", "good"),
        ("nixos-abc+2-1.conf", "nixos-abc+0-1.conf", "bad"),
        ("nixos-abc+0-3.conf", "nixos-abc+0-3.conf", "bad"),
        ("nixos-abc+2-1.conf", "other.conf", "unknown"),
        ("nixos-generation-43+3.conf", "nixos-generation-43+3.conf", "pending"),
    ],
)
def test_the_counter_of_the_booted_entry_is_that_of_its_name(tmp_path: Path, booted: str, now: str, state: str) -> None:
    variable(tmp_path, "LoaderBootCountPath", f"\\loader\\entries\\{booted}")
    entry(tmp_path, now, NEWER)
    found = loader(tmp_path).counter()
    assert found is not None
    assert found["state"] == state
    if state != "unknown":
        assert found["entry"] == now


@pytest.mark.parametrize(
    "text", ["", "\\loader\\entries\\nixos-abc.conf", "\\..\\..\\x+1-1.conf", "nonsense+", "\\x+1-.conf", "\ud83d+\\+"]
)
def test_a_variable_that_names_no_counter_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "efivars").mkdir()
    raw = b"\6\0\0\0" + text.encode("utf-16-le", "surrogatepass")
    (tmp_path / "efivars" / f"LoaderBootCountPath-{VENDOR}").write_bytes(raw)
    assert loader(tmp_path).counter() is None


def test_a_boot_loader_that_does_not_count_says_nothing(tmp_path: Path) -> None:
    world = proved(tmp_path)
    seen = view(world.at(), 2)
    assert seen["loader"] is None
    assert not any(line.startswith("loader:") for line in render.boot(seen))


def test_boot_status_shows_the_counter_of_the_boot_loader(tmp_path: Path) -> None:
    world = proved(tmp_path)
    variable(tmp_path, "LoaderBootCountPath", "\\loader\\entries\\nixos-abc+2-1.conf")
    path = entry(tmp_path, "nixos-abc+2-1.conf", GOLDEN)
    line = "loader:   counts too: no verdict yet (2 tries left, 1 done: nixos-abc+2-1.conf)"
    assert line in render.boot(view(world.at(), 2))
    path.rename(path.with_name("nixos-abc.conf"))  # systemd-bless-boot
    assert "loader:   counts too: good, no longer counted (2 tries left, 1 done: nixos-abc.conf)" in render.boot(
        view(world.at(), 2)
    )


@pytest.mark.parametrize("more", ["", "nixos-other+1-2.conf", "nixos-other.conf"])
def test_that_the_boot_loader_has_given_up_on_the_boot_default_is_told(tmp_path: Path, more: str) -> None:
    world = World(tmp_path)
    world.deploy(GOLDEN, "good")
    world.boot()
    world.deploy(NEWER, "good")
    world.boot(pick=GOLDEN)  # by the boot loader, in truth
    variable(tmp_path, "LoaderInfo", "systemd-boot 262")
    entry(tmp_path, "nixos-abc.conf", GOLDEN)
    entry(tmp_path, "nixos-abd+0-3.conf", NEWER)
    if more:
        entry(tmp_path, more, NEWER)  # another entry of it still has tries
    told = [trouble for trouble in view(world.at(), 2)["troubles"] if "given up" in trouble]
    assert len(told) == (0 if more else 1)
    assert more or ("nixos-abd+0-3.conf has no tries left" in told[0] and NEWER in told[0])
