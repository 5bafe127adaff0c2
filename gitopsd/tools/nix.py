"""nix: build an exact revision, keep it from the garbage collector, and move the system profile."""

import math
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

from gitopsd.boot.disk import Disk
from gitopsd.errors import Cause, Transient
from gitopsd.tools.memory import held_by_rlimit
from gitopsd.tools.nix_log import Fault, NixLog, judged, spared
from gitopsd.tools.nix_source import Recipe, Source, Sources, keep
from gitopsd.tools.nix_user import NIX, Worker, Workshop, worker
from gitopsd.tools.process import CommandFailed, Processes
from gitopsd.types import Built, Revision, StorePath, parse_store_path

_SYSTEM_PROFILE = "/nix/var/nix/profiles/system"
_BEFORE = "/nix/var/nix/gcroots/gitopsd-before"
_SCOPE = "gitopsd-build.scope"
_QUICK = 60.0  # seconds for a command that builds nothing
# What nix's garbage collector prints, beside nix's log, before it aborts (bdwgc 8.2, with nix 2.34).
_COLLECTOR = re.compile(r"GC Warning: Out of Memory|Insufficient space for initial table|Insufficient memory for")


class Nix:
    """`ports.Builder`, and the system profile.

    Args:
        processes: starts nix.
        mirror: the bare repository that revisions are built from.
        roots: an existing directory for GC roots of what is built and not deployed yet.
        workshop: the directory of a build under way, see `Workshop`.
        user: who evaluates and builds.
        recipe: what of the repository is built.
        timeout: seconds that fetching, evaluation and build may take.
        memory_max: what they may take of the memory, as systemd.resource-control(5) has it.

    """

    def __init__(
        self,
        processes: Processes,
        *,
        mirror: Path,
        roots: Path,
        workshop: Path,
        user: str,
        recipe: Recipe,
        timeout: float,
        memory_max: str = "infinity",
    ) -> None:
        self._processes = processes
        self._place = workshop
        self._workshop = Workshop(workshop)
        self._user = user
        self._sources = Sources(processes, mirror=mirror, recipe=recipe, workshop=self._workshop)
        self._roots = roots
        self._recipe = recipe
        self._timeout = timeout
        self._memory_max = memory_max

    async def build(self, revision: Revision, progress: Callable[[str], None]) -> Built:
        """See `ports.Builder`: root fetches it into the store, the build user evaluates it there.

        Whoever builds it makes it a GC root in the moment it exists (`--out-link`); if that is not root, root does so
        once more, in a place that is its own.
        """
        end = time.monotonic() + self._timeout

        def left() -> float:
            return max(1, math.ceil(end - time.monotonic()))

        log, source = NixLog(progress), None
        whoever = await worker(self._processes, self._user, self._place)
        self._workshop.open(whoever)
        try:
            source = await self._sources.fetch(revision, progress, log, left)
            toplevel = await self._realise(whoever, source, revision, log, left)
        except CommandFailed as error:
            if error.result.status == -signal.SIGKILL:  # by the kernel or a person; what we end raises `Transient`
                what = f"{log.what_failed() or error.message} ({_may_have(self._memory_max)})"
                raise spared(Fault.memory, revision, what) from error
            if error.result.status == -signal.SIGABRT and _COLLECTOR.search(error.result.stderr):
                raise spared(Fault.hunger, revision, _may_have(self._memory_max)) from error
            if source is not None and source.lacking is not None and log.fault() is Fault.network:
                raise source.lacking from error
            raise judged(log, revision, self._recipe.origin, error) from error
        finally:
            self._workshop.clear()
        return Built(
            revision=revision, toplevel=toplevel, why_root=whoever.why_root, of_this_machine=source.of_this_machine
        )

    async def _realise(
        self, whoever: Worker, source: Source, revision: Revision, log: NixLog, left: Callable[[], float]
    ) -> StorePath:
        ours = self._root(revision)
        link = ours if whoever.account is None else self._workshop.result
        result = await self._processes.run(
            (
                *NIX,
                "build",
                *("--print-out-paths", "--log-format", "internal-json", "--out-link", str(link)),
                *("--option", "accept-flake-config", "false", "--option", "connect-timeout", "10", "--fallback"),
                *source.installable,
            ),
            through=await self._scope(),
            account=whoever.account,
            cwd="/",
            env=whoever.env,
            timeout=left(),
            on_stderr=log.feed,
        )
        toplevel = parse_store_path(result.stdout.strip())
        if link is not ours:
            await keep(self._processes, ours, toplevel)
        return toplevel

    async def _scope(self) -> list[str]:
        """What nix is run through, to limit its memory: a scope of its own, and we stay its parent.

        One that a killed daemon left behind is ended first. Builds that a nix daemon does are in that one's unit. Where
        systemd cannot limit memory, the kernel does, process by process.
        """
        rlimit = held_by_rlimit(self._memory_max)
        if not _booted_with_systemd():
            return rlimit
        await self._processes.run(["systemctl", "--quiet", "stop", _SCOPE], timeout=_QUICK, check=False)
        properties = (f"MemoryMax={self._memory_max}", "OOMPolicy=kill", "TimeoutStopSec=5s")
        flags = [f"--property={each}" for each in properties]
        return ["systemd-run", "--scope", "--quiet", "--collect", f"--unit={_SCOPE}", *flags, "--", *rlimit]

    async def release(self, revision: Revision) -> None:
        """See `ports.Builder`. The link is the root; nix forgets the indirect root with it."""
        self._root(revision).unlink(missing_ok=True)

    async def release_others(self, *kept: Revision) -> None:
        """See `ports.Builder`."""
        for root in (Path(_BEFORE), *self._roots.iterdir()):
            if root.name not in kept:
                root.unlink(missing_ok=True)

    def hold(self, toplevel: StorePath) -> None:
        """See `ports.Builder`. A link there is a root by itself (nix manual, "Garbage Collection")."""
        disk = Disk()
        try:
            disk.directory(str(Path(_BEFORE).parent), 0o755)
            disk.point(_BEFORE, toplevel)
        except OSError as error:
            raise Transient(
                f"cannot keep {toplevel} from the garbage collector: {error.filename}: {error.strerror}",
                cause=Cause.lock_held,
                meaning="it could not be gone back to, so nothing was activated",
            ) from error

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


def _may_have(memory_max: str) -> str:
    return "it has no limit of its own" if memory_max == "infinity" else f"config.memory_max lets it have {memory_max}"


def _booted_with_systemd() -> bool:
    return Path("/run/systemd/system").is_dir()  # sd_booted(3)
