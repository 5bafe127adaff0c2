"""Two hosts, one bare remote, real jj, git and chezmoi; every command runs as the person, not as root."""

import asyncio
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from people import Host, Remote, lacks, need_people, settle

from gitopsd.tools.leak_scanner import PROGRAMS, SCANNERS, Scanner

PLACE = Path("/tmp/gitopsd-dotfiles")


@pytest.fixture(params=PROGRAMS)
def scanners(request: pytest.FixtureRequest) -> tuple[Scanner, ...]:
    """The command lines of one scanner, each in turn."""
    if shutil.which(request.param) is None:
        lacks(request.param)
    return tuple(each for each in SCANNERS if each.program == request.param)


@pytest.fixture(scope="session")
def _people() -> None:
    need_people()


@pytest.fixture
def place(_people: None) -> Iterator[Path]:
    # pytest's own directories are closed to others, and the persons have to get in. The path is the same for all
    # tests, since chezmoi and git write it down and homes are restored from a copy.
    _remove()
    PLACE.mkdir(mode=0o755)
    yield PLACE
    _remove()


@pytest.fixture
def remote(place: Path) -> Remote:
    path = place / "remote.git"
    return Remote(path) if path.exists() else Remote.create(path)


@pytest.fixture
def host(place: Path, remote: Remote) -> Callable[..., Host]:
    def make(name: str, user: str = "rain") -> Host:
        return Host.create(name, user, place / name, remote)

    return make


@pytest.fixture(scope="session")
def saved(_people: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of two hosts that were set up and synced once."""
    _remove()
    PLACE.mkdir(mode=0o755)
    remote = Remote.create(PLACE / "remote.git")
    a, b = (Host.create(name, "rain", PLACE / name, remote) for name in "ab")
    a.begin({".bashrc": "one\ntwo\nthree\nfour\nfive\nsix\nseven\n", ".config/app.conf": "x = 1\n"})
    b.join()
    asyncio.run(settle(a, b))
    copy = tmp_path_factory.mktemp("saved") / "place"
    PLACE.rename(copy)
    return copy


@pytest.fixture
def snapshots(saved: Path) -> list[Path]:
    """Copies of the two hosts, the last one is restored."""
    return [saved]


@pytest.fixture
def keep(snapshots: list[Path], tmp_path: Path) -> Callable[[], None]:
    """Makes `restore` come back to how the hosts are now."""

    def save() -> None:
        copy = tmp_path / f"kept-{len(snapshots)}"
        subprocess.run(["cp", "-a", str(PLACE), str(copy)], check=True)
        snapshots.append(copy)

    return save


@pytest.fixture
def restore(snapshots: list[Path], place: Path) -> Callable[[], tuple[Host, Host]]:
    """Makes hosts a and b, with the same dotfiles and both synced; each time anew."""

    def make() -> tuple[Host, Host]:
        _remove()
        subprocess.run(["cp", "-a", str(snapshots[-1]), str(place)], check=True)
        remote = Remote(place / "remote.git")
        return Host("a", "rain", place / "a", remote), Host("b", "rain", place / "b", remote)

    return make


@pytest.fixture
def pair(restore: Callable[[], tuple[Host, Host]]) -> tuple[Host, Host]:
    """Hosts a and b with the same dotfiles, both synced."""
    return restore()


def _remove() -> None:
    if PLACE.exists():
        shutil.rmtree(PLACE)
