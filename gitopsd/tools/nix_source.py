"""What is built, fetched by root into the store, so that somebody who may read nothing else can evaluate it there.

Root has the keys: its ssh key, nix's netrc and access tokens. Of the revision it runs nothing: of a flake it reads the
description and the inputs, which nix takes as literals only (nix, src/libflake/flake.cc: `forceTrivialValue`).
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from gitopsd.errors import GitopsdError
from gitopsd.tools.nix_log import NixLog, judged
from gitopsd.tools.nix_user import NIX, Workshop
from gitopsd.tools.process import CommandFailed, Processes, Result
from gitopsd.types import Revision, StorePath, parse_store_path

_JSON_LOG = ("--log-format", "internal-json")
# Nix's settings are this machine's, whatever the flake wishes.
_CAREFUL = ("--option", "accept-flake-config", "false", "--option", "connect-timeout", "10")
_QUICK = 60.0  # seconds for a command that fetches nothing


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What of the repository is built.

    Args:
        host: the name under `nixosConfigurations`.
        directory: of the flake or the file in the repository; empty is its root.
        file: of a configuration that is no flake; empty if it is one.
        attribute: of that file; the NixOS system's `config.system.build.toplevel`.

    """

    host: str
    directory: str = ""
    file: str = ""
    attribute: str = ""

    @property
    def origin(self) -> str:
        """What is built, as people name it."""
        if self.file:
            return f"{self.attribute} of {self.file}"
        return f'nixosConfigurations."{self.host}".config.system.build.toplevel'


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A revision in the store.

    Args:
        installable: arguments of `nix build`.
        lacking: why some inputs could not be fetched. Maybe nothing needs them: nix takes inputs as they are used.
        of_this_machine: the inputs that root has copied from paths of this machine, which only root may be able to read.

    """

    installable: tuple[str, ...]
    lacking: GitopsdError | None = None
    of_this_machine: tuple[str, ...] = ()


class Sources:
    """Fetches revisions.

    Args:
        processes: starts nix.
        mirror: the bare repository that they come from.
        recipe: what of it is built.
        workshop: keeps what was fetched from the garbage collector.

    """

    def __init__(self, processes: Processes, *, mirror: Path, recipe: Recipe, workshop: Workshop) -> None:
        self._processes = processes
        self._mirror = mirror
        self._recipe = recipe
        self._workshop = workshop

    async def fetch(
        self, revision: Revision, progress: Callable[[str], None], log: NixLog, left: Callable[[], float]
    ) -> Source:
        """Bring a revision and its inputs into the store, an exact one of the mirror and never a work tree.

        Args:
            revision: which one.
            progress: hears a line for humans.
            log: hears what nix says.
            left: how many seconds there still are.

        Raises:
            CommandFailed: nix did not; the log says why.
            Transient: it took longer.

        """
        if self._recipe.file:
            return await self._file(revision, log, left)
        where = f"&dir={quote(self._recipe.directory)}" if self._recipe.directory else ""
        url = f"git+file://{quote(str(self._mirror))}?rev={revision}{where}"
        lock = str(self._workshop.lock_file)
        # The lock file as this flake needs it, with inputs that the repository's own does not have.
        command = (*NIX, "flake", "metadata", "--json", *_JSON_LOG, *_CAREFUL, "--output-lock-file", lock, url)
        metadata = json.loads((await self._root(command, log, left)).stdout)
        path = parse_store_path(metadata["path"])
        await keep(self._processes, self._workshop.source, path)
        locked = f"path:{path}?{urlencode(_identity(metadata, revision))}{where}"
        lacking = None
        if len(metadata["locks"]["nodes"]) > 1:  # more than the flake itself
            lacking = await self._inputs(locked, revision, NixLog(progress), left)
        use = ("--no-write-lock-file", "--reference-lock-file", lock)
        return Source(
            installable=(*use, f"{locked}#{self._recipe.origin}"),
            lacking=lacking,
            of_this_machine=_of_this_machine(metadata["locks"]["nodes"]),
        )

    async def _inputs(
        self, flake: str, revision: Revision, log: NixLog, left: Callable[[], float]
    ) -> GitopsdError | None:
        lock = ("--no-write-lock-file", "--reference-lock-file", str(self._workshop.lock_file))
        command = (*NIX, "flake", "archive", "--json", *_JSON_LOG, *_CAREFUL, *lock, flake)
        try:
            archive = json.loads((await self._root(command, log, left)).stdout)
        except CommandFailed as error:
            return judged(log, revision, self._recipe.origin, error)
        if inputs := dict.fromkeys(_paths(archive)):
            await keep(self._processes, self._workshop.inputs, *inputs)
        return None

    async def _file(self, revision: Revision, log: NixLog, left: Callable[[], float]) -> Source:
        """A file that is no flake is evaluated impurely, since pure evaluation has no `builtins.currentSystem`, which
        nixpkgs asks for. But it sees no search path: channels of the machine are no part of a revision.
        """
        mirror = _nix(f"file://{self._mirror}")
        fetched = f"(builtins.fetchGit {{ url = {mirror}; rev = {_nix(revision)}; allRefs = true; }}).outPath"
        command = (*NIX, "eval", "--raw", *_JSON_LOG, "--impure", "--option", "nix-path", "", "--expr", fetched)
        path = parse_store_path((await self._root(command, log, left)).stdout.strip())
        await keep(self._processes, self._workshop.source, path)
        file = "/".join(filter(None, (path, self._recipe.directory.strip("/"), self._recipe.file)))
        expression = ("--expr", f"import {_nix(file)}", self._recipe.attribute)
        return Source(installable=("--impure", "--option", "nix-path", "", *expression))

    async def _root(self, command: tuple[str, ...], log: NixLog, left: Callable[[], float]) -> Result:
        return await self._processes.run(command, timeout=left(), on_stderr=log.feed)


async def keep(processes: Processes, link: Path, *paths: StorePath) -> None:
    """Make links to store paths that are GC roots: `link`, and for the second and third `link-2`, `link-3` and so on.

    Raises:
        CommandFailed: one of them is not in the store any more.

    """
    await processes.run(["nix-store", "--realise", *paths, "--add-root", str(link)], timeout=_QUICK)


def _identity(metadata: dict[str, Any], revision: Revision) -> dict[str, Any]:
    """What a flake knows of itself (`self.rev`, `self.lastModified`, …), which a path as such does not tell."""
    told = {name: metadata[name] for name in ("lastModified", "revCount") if name in metadata}
    return {"rev": revision, "narHash": metadata["locked"]["narHash"]} | told


def _of_this_machine(nodes: dict[str, Any]) -> tuple[str, ...]:
    """Inputs that are absolute paths outside of the store, by the nodes of a lock file."""
    found = []
    for name, node in sorted(nodes.items()):
        locked = node.get("locked") or {}
        where = str(locked.get("path") if locked.get("type") == "path" else locked.get("url", ""))
        path = where.removeprefix("file://")
        if path.startswith("/") and not path.startswith("/nix/store/"):
            found.append(f"{name} ({path})")
    return tuple(found)


def _paths(archive: dict[str, Any]) -> list[StorePath]:
    """Store paths of all inputs, also of the inputs' own. One that is a path inside of another has none of its own."""
    found = []
    for each in archive["inputs"].values():
        found += ([parse_store_path(each["path"])] if "path" in each else []) + _paths(each)
    return found


def _nix(text: str) -> str:
    """A string literal of the Nix language."""
    return json.dumps(text, ensure_ascii=False).replace("${", "\\${")
