"""What stands in a home, in a source directory and on the remote, as targets with mode and text."""

import os
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from people import git
from soak.ledger import words


class File(NamedTuple):
    """One target; a home that renders it has this mode and this text."""

    mode: int
    text: str


Files = dict[str, File]

_ATTRIBUTES: dict[str, Callable[[int], int]] = {
    "private_": lambda mode: mode & 0o700,
    "empty_": lambda mode: mode,
    "executable_": lambda mode: mode | (mode & 0o444) >> 2,
}


class Doubled(Exception):
    """Two sources of one target: chezmoi refuses such a directory altogether."""


def as_target(source: str) -> tuple[str, int]:
    """The target of a source path, and the mode that its attributes say (chezmoi reference, "Source state attributes")."""
    parts, mode = [], 0o644
    for part in source.split("/"):
        name, mode = part, 0o644
        for attribute, change in _ATTRIBUTES.items():
            if name.startswith(attribute):
                name, mode = name.removeprefix(attribute), change(mode)
        parts.append(f".{name.removeprefix('dot_')}" if name.startswith("dot_") else name)
    return "/".join(parts).removesuffix(".tmpl"), mode


def home_files(home: Path, targets: Iterable[str]) -> Files:
    """Those of the targets that a home has."""
    found = {}
    for target in targets:
        path = home / target
        if path.is_file():
            found[target] = File(path.stat().st_mode & 0o777, path.read_text())
    return found


def source_paths(source: Path) -> dict[str, Path]:
    """The files of a source directory by target."""
    found: dict[str, Path] = {}
    for directory, below, names in os.walk(source):
        below[:] = [name for name in below if name not in (".git", ".jj")]
        for name in names:
            path = Path(directory, name)
            found[as_target(str(path.relative_to(source)))[0]] = path
    return found


def source_files(source: Path) -> Files:
    """What a source directory makes of each target."""
    return {
        target: File(as_target(str(path.relative_to(source)))[1], path.read_text())
        for target, path in source_paths(source).items()
    }


class RemoteView:
    """The remote's branches, read anew when one of them has moved."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._texts: dict[str, str] = {}  # by object; empty for what is no blob
        self._trees: dict[str, Files] = {}
        self.heads: dict[str, str] = {}
        self.reachable: frozenset[str] = frozenset()

    def look(self) -> bool:
        """Read the refs; False if nothing has moved since."""
        lines = self._git("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads/").splitlines()
        heads = {name.removeprefix("refs/heads/"): commit for name, commit in (line.split(" ") for line in lines)}
        if heads == self.heads:
            return False
        self.heads = heads
        objects = [line.partition(" ")[0] for line in self._git("rev-list", "--objects", "--all").splitlines()]
        self._load(objects)
        self.reachable = frozenset(word for name in objects for word in words(self._texts[name]))
        return True

    def files(self, commit: str) -> Files:
        """The targets of a commit.

        Raises:
            Doubled: it has one of them twice.

        """
        if not commit:
            return {}
        if commit not in self._trees:
            found: Files = {}
            for line in filter(None, self._git("ls-tree", "-r", "-z", commit).split("\0")):
                meta, _, path = line.partition("\t")
                target, mode = as_target(path)
                if target in found:
                    raise Doubled(f"{target} has two sources")
                found[target] = File(mode, self._texts[meta.split(" ")[2]])
            self._trees[commit] = found
        return self._trees[commit]

    def contains(self, commit: str, ancestor: str) -> bool:
        """Whether one commit has another below it."""
        return not self._git("rev-list", "-n1", ancestor, f"^{commit}")

    def _load(self, objects: Iterable[str]) -> None:
        missing = [name for name in objects if name not in self._texts]
        asked = "".join(f"{name}\n" for name in missing).encode()
        command = ("git", "-c", "safe.directory=*", "-C", str(self._path), "cat-file", "--batch")
        answer = subprocess.run(command, input=asked, capture_output=True, check=True).stdout
        for name in missing:
            head, _, answer = answer.partition(b"\n")
            _, kind, size = head.split(b" ")
            content, answer = answer[: int(size)], answer[int(size) + 1 :]
            self._texts[name] = content.decode() if kind == b"blob" else ""

    def _git(self, *arguments: str) -> str:
        return git("-C", str(self._path), *arguments)
