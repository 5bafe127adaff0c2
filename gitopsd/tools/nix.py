"""nix: build an exact revision, keep it from the garbage collector, and move the system profile."""

import json
import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

import msgspec

from gitopsd.tools.nix_log import NixLog, judged, out_of_memory
from gitopsd.tools.process import CommandFailed, Processes
from gitopsd.types import Revision, StorePath, parse_store_path

_SYSTEM_PROFILE = "/nix/var/nix/profiles/system"
_SCOPE = "gitopsd-build.scope"
_QUICK = 60.0  # seconds for a command that builds nothing
_NIX = ("nix", "--extra-experimental-features", "nix-command flakes")


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

    def installable(self, mirror: Path, revision: Revision) -> list[str]:
        """Arguments of `nix build`: an exact revision of the mirror, never a work tree.

        A file that is no flake is evaluated impurely, since pure evaluation has no `builtins.currentSystem`, which
        nixpkgs asks for. But it sees no search path: channels of the machine are no part of a revision.
        """
        if not self.file:
            where = f"&dir={quote(self.directory)}" if self.directory else ""
            source = f"git+file://{quote(str(mirror))}?rev={revision}{where}"
            return ["--no-write-lock-file", f"{source}#{self.origin}"]
        source = f"builtins.fetchGit {{ url = {_nix(f'file://{mirror}')}; rev = {_nix(revision)}; allRefs = true; }}"
        path = "/" + "/".join(filter(None, (self.directory.strip("/"), self.file)))
        expression = f"import (({source}) + {_nix(path)})"
        return ["--impure", "--option", "nix-path", "", "--expr", expression, self.attribute]


class Nix:
    """`ports.Builder`, and the system profile.

    Args:
        processes: starts nix.
        mirror: the bare repository that revisions are built from.
        roots: an existing directory for GC roots of what is built and not deployed yet.
        recipe: what of the repository is built.
        timeout: seconds that evaluation and build may take.
        memory_max: what they may take of the memory, as systemd.resource-control(5) has it.

    """

    def __init__(
        self,
        processes: Processes,
        *,
        mirror: Path,
        roots: Path,
        recipe: Recipe,
        timeout: float,
        memory_max: str = "infinity",
    ) -> None:
        self._processes = processes
        self._mirror = mirror
        self._roots = roots
        self._recipe = recipe
        self._timeout = timeout
        self._memory_max = memory_max

    async def build(self, revision: Revision, progress: Callable[[str], None]) -> StorePath:
        """See `ports.Builder`. `--out-link` makes the result a GC root in the moment it exists."""
        log = NixLog(progress)
        scope = await self._scope()
        try:
            command = self._command(revision)
            result = await self._processes.run(command, through=scope, timeout=self._timeout, on_stderr=log.feed)
        except CommandFailed as error:
            if error.result.status == -signal.SIGKILL:  # by the kernel or a person; what we end raises `Transient`
                raise out_of_memory(revision, log.what_failed() or error.message) from error
            raise judged(log, revision, self._recipe.origin, error) from error
        return parse_store_path(result.stdout.strip())

    async def _scope(self) -> list[str]:
        """What nix is run through, to limit its memory: a scope of its own, and we stay its parent.

        One that a killed daemon left behind is ended first. Builds that a nix daemon does are in that one's unit.
        """
        if not _booted_with_systemd():
            return []
        await self._processes.run(["systemctl", "--quiet", "stop", _SCOPE], timeout=_QUICK, check=False)
        properties = (f"MemoryMax={self._memory_max}", "OOMPolicy=kill", "TimeoutStopSec=5s")
        flags = [f"--property={each}" for each in properties]
        return ["systemd-run", "--scope", "--quiet", "--collect", f"--unit={_SCOPE}", *flags, "--"]

    def _command(self, revision: Revision) -> Sequence[str]:
        return [
            *_NIX,
            "build",
            *("--print-out-paths", "--log-format", "internal-json", "--out-link", str(self._root(revision))),
            *("--option", "accept-flake-config", "false", "--option", "connect-timeout", "10", "--fallback"),
            *self._recipe.installable(self._mirror, revision),
        ]

    async def release(self, revision: Revision) -> None:
        """See `ports.Builder`. The link is the root; nix forgets the indirect root with it."""
        self._root(revision).unlink(missing_ok=True)

    async def release_others(self, *kept: Revision) -> None:
        """See `ports.Builder`."""
        for root in self._roots.iterdir():
            if root.name not in kept:
                root.unlink(missing_ok=True)

    async def set_profile(self, toplevel: StorePath) -> int:
        """See `ports.Activator`. nix makes no new generation when the newest one is this toplevel already."""
        await self._processes.run(["nix-env", "-p", _SYSTEM_PROFILE, "--set", toplevel], timeout=_QUICK)
        return self.generation()

    async def restore_profile(self, generation: int) -> None:
        """See `ports.Activator`."""
        await self._processes.run(
            ["nix-env", "-p", _SYSTEM_PROFILE, "--switch-generation", str(generation)], timeout=_QUICK
        )

    def generation(self) -> int:
        """The number of the profile's generation; 0 if there is no profile."""
        try:
            name = Path(_SYSTEM_PROFILE).readlink().name
        except FileNotFoundError:
            return 0
        found = re.fullmatch(r"system-(\d+)-link", name)
        return int(found[1]) if found else 0

    def generations(self) -> dict[int, StorePath]:
        """See `ports.Activator`."""
        links = Path(_SYSTEM_PROFILE).parent.glob("system-*-link")
        numbered = {int(found[1]): link for link in links if (found := re.fullmatch(r"system-(\d+)-link", link.name))}
        return {number: path for number, link in sorted(numbered.items()) if (path := store_path_at(link)) is not None}

    def profile(self) -> StorePath | None:
        """What the profile points to."""
        return store_path_at(Path(_SYSTEM_PROFILE))

    def _root(self, revision: Revision) -> Path:
        return self._roots / revision


def store_path_at(link: Path) -> StorePath | None:
    """The store path that a link ends at; None if there is no such link."""
    try:
        return parse_store_path(str(link.resolve(strict=True)))
    except (OSError, ValueError):
        return None


def _booted_with_systemd() -> bool:
    return Path("/run/systemd/system").is_dir()  # sd_booted(3)


def _nix(text: str) -> str:
    """A string literal of the Nix language."""
    return json.dumps(text, ensure_ascii=False).replace("${", "\\${")
