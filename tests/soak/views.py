"""What stands in a home, in a source directory and on the remote, as targets with mode and text."""

import io
import os
import subprocess
from collections.abc import Callable, Collection, Iterable, Iterator
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


def put_aside(source: Path) -> str:
    """The texts that the gate keeps beside a source directory, where neither jj nor git looks."""
    places = (source / ".git/gitopsd/held", source / ".git/gitopsd/kept")
    return "".join(path.read_text() for place in places for path in place.glob("*") if path.is_file())


class RemoteView:
    """The remote's branches, read anew when one of them has moved."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._texts: dict[str, str] = {}  # by object; empty for what is no blob
        self._searched: set[str] = set()
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

    def has(self, secrets: Collection[str]) -> list[str]:
        """Which of these are in an object that was not looked at yet, reachable or not, of any kind.

        Objects never change, and no secret is planted twice: one look at each object is enough.
        """
        names = self._git("cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split()
        new = [name for name in names if name not in self._searched]
        self._searched.update(new)
        raw = b"\0".join(content for _, _, content in self._objects(new))
        return [secret for secret in secrets if secret.encode() in raw]

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
        for name, kind, content in self._objects(missing):
            self._texts[name] = content.decode() if kind == b"blob" else ""

    def _objects(self, names: Iterable[str]) -> Iterator[tuple[str, bytes, bytes]]:
        """Name, kind and content of each."""
        asked = "".join(f"{name}\n" for name in names).encode()
        command = ("git", "-c", "safe.directory=*", "-C", str(self._path), "cat-file", "--batch")
        answer = io.BytesIO(subprocess.run(command, input=asked, capture_output=True, check=True).stdout)
        while head := answer.readline():
            name, kind, size = head.split()
            content = answer.read(int(size) + 1)[:-1]
            yield name.decode(), kind, content

    def _git(self, *arguments: str) -> str:
        return git("-C", str(self._path), *arguments)
