"""nix: build an exact revision, keep it from the garbage collector, and look at what was built."""

import json
import re
from collections import deque
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from gitopsd.errors import Cause, Rejected, Transient
from gitopsd.tools.process import CommandFailed, Processes
from gitopsd.types import Revision, StorePath, parse_store_path

_SYSTEM_PROFILE = "/nix/var/nix/profiles/system"
_QUICK = 60.0  # seconds for a command that builds nothing

# The first line of each is what nix prints when a substituter, a fetcher or the network failed (nix 2.34).
_TRANSIENT = re.compile(
    r"unable to download|could not resolve host|couldn't resolve host|cannot connect to|connection refused"
    r"|connection timed out|timeout was reached|error: interrupted by the user|unable to start any build"
    r"|unexpected end-of-file|http error 5\d\d|network is unreachable|database is locked|cannot allocate memory",
    re.IGNORECASE,
)

# nix's internal-json log: activity and result types (src/libutil/include/nix/util/logging.hh).
_ACT_FILE_TRANSFER, _ACT_BUILDS, _ACT_BUILD = 101, 104, 105
_RES_BUILD_LOG_LINE, _RES_PROGRESS = 101, 105
_ERROR = re.compile(r"^\s*error: *(\S.*)$", re.MULTILINE)
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class NixLog:
    """Reads `--log-format internal-json`: turns it into progress lines and remembers the errors.

    Args:
        progress: hears a line for humans.

    """

    def __init__(self, progress: Callable[[str], None]) -> None:
        self._progress = progress
        self._kinds: dict[int, int] = {}
        self._errors: deque[str] = deque(maxlen=40)
        self._chatter: deque[str] = deque(maxlen=10)  # of git and other programs that nix runs
        self._log: deque[str] = deque(maxlen=25)
        self._building = ""
        self._built = (0, 0)

    def feed(self, line: str) -> None:
        """Take one line of stderr."""
        if not line.startswith("@nix "):
            self._chatter.append(_plain(line))
            return
        try:
            event = json.loads(line[5:])
        except json.JSONDecodeError:
            self._chatter.append(_plain(line))
            return
        match event:
            case {"action": "msg", "level": 0, "msg": str(message)}:
                self._errors.extend(_plain(message).splitlines())
            case {"action": "start", "id": int(number), "type": int(kind), "text": str(text)}:
                self._kinds[number] = kind
                self._started(kind, _plain(text))
            case {"action": "result", "type": int(kind), "id": int(number), "fields": list(fields)}:
                self._result(kind, number, fields)

    def _started(self, kind: int, text: str) -> None:
        if kind == _ACT_BUILD:
            self._building = text.removeprefix("building ").strip("'")
            self._log.clear()
            self._progress(f"{text} ({self._built[0]} of {self._built[1]} built)")
        elif kind == _ACT_FILE_TRANSFER and text:
            self._progress(text)

    def _result(self, kind: int, number: int, fields: list[object]) -> None:
        if kind == _RES_BUILD_LOG_LINE and fields:
            self._log.append(_plain(str(fields[0])))
        elif kind == _RES_PROGRESS and self._kinds.get(number) == _ACT_BUILDS:
            match fields:
                case [int(done), int(expected), *_]:
                    self._built = (done, expected)

    def what_failed(self) -> str:
        """The error in one line, then in full, with the end of the failing derivation's log where nix left it out."""
        errors = "\n".join(self._errors or self._chatter).strip()
        found = _ERROR.findall(errors)
        log = "\n".join(line for line in self._log if line not in errors)
        parts = [found[-1].strip() if found else "", errors, f"last lines of {self._building}:\n{log}" if log else ""]
        return "\n".join(part for part in parts if part)


class Nix:
    """`ports.Builder`, and the system profile.

    Args:
        processes: starts nix.
        mirror: the bare repository that revisions are built from.
        roots: an existing directory for GC roots of what is built and not deployed yet.
        host: the name under `nixosConfigurations`.
        directory: of the flake in the repository; empty is its root.
        timeout: seconds that evaluation and build may take.

    """

    def __init__(
        self, processes: Processes, *, mirror: Path, roots: Path, host: str, directory: str, timeout: float
    ) -> None:
        self._processes = processes
        self._mirror = mirror
        self._roots = roots
        self._host = host
        self._directory = directory
        self._timeout = timeout

    @property
    def origin(self) -> str:
        """What of the repository is built."""
        return f'nixosConfigurations."{self._host}".config.system.build.toplevel'

    async def build(self, revision: Revision, progress: Callable[[str], None]) -> StorePath:
        """See `ports.Builder`. `--out-link` makes the result a GC root in the moment it exists."""
        log = NixLog(progress)
        where = f"&dir={quote(self._directory)}" if self._directory else ""
        try:
            result = await self._processes.run(
                [
                    *("nix", "--extra-experimental-features", "nix-command flakes", "build"),
                    *("--print-out-paths", "--no-write-lock-file", "--log-format", "internal-json"),
                    *("--option", "accept-flake-config", "false", "--option", "connect-timeout", "10", "--fallback"),
                    *("--out-link", str(self._root(revision))),
                    f"git+file://{quote(str(self._mirror))}?rev={revision}{where}#{self.origin}",
                ],
                timeout=self._timeout,
                on_stderr=log.feed,
            )
        except CommandFailed as error:
            reason = log.what_failed() or error.message
            if _TRANSIENT.search(reason):
                raise Transient(f"cannot build {revision[:12]}: {reason}", cause=Cause.network) from error
            raise Rejected(
                f"{revision[:12]} does not build: {reason}",
                meaning="the system is unchanged",
                advice="fix it and push a new commit (or `git revert`); the next upgrade takes it",
            ) from error
        return parse_store_path(result.stdout.strip())

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


def _plain(text: str) -> str:
    return _ESCAPES.sub("", text)
