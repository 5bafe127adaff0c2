"""nix's `--log-format internal-json`: progress while it builds, and what went wrong and whose fault that is.

Activity and result types: nix, src/libutil/include/nix/util/logging.hh. Messages were recorded with nix 2.34 (in
tests/unit/samples); a message that is not known counts as the revision's fault only if nix itself calls it an error.
"""

import enum
import json
import re
import time
from collections import deque
from collections.abc import Callable

from gitopsd.errors import Cause, Failed, GitopsdError, Rejected, Transient
from gitopsd.types import Revision

_ACT_FILE_TRANSFER, _ACT_BUILDS, _ACT_BUILD = 101, 104, 105
_RES_BUILD_LOG_LINE, _RES_PROGRESS, _RES_SET_EXPECTED = 101, 105, 106
_MSG_ERROR = 0  # verbosity level

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_CANNOT_BUILD = re.compile(
    r"Cannot build '(?P<drv>/nix/store/[^']+)\.drv'\.\s*Reason: (?P<why>[^\n]+)"
    r"|builder for '(?P<drv2>/nix/store/[^']+)\.drv' failed(?P<why2>[^\n;]*)",
)
_QUOTED = re.compile(r"^\s*>.*$", re.MULTILINE)
_ABSENT = re.compile(r"does not provide attribute|attribute '[^']*' in selection path '[^']*' not found")
_DEPENDENCY = re.compile(r"\d+ dependenc(?:y|ies) failed")
_PAUSE = 0.2  # seconds between two progress lines about the same
_LAST_LINES = 25
_MIB = 1024**2


class Fault(enum.Enum):
    """Whose fault a failed build is, and so what follows."""

    revision = "revision"  # it fails again, wherever it is built
    network = "network"  # a cache, an input or a source could not be fetched
    space = "space"  # the disk is full
    memory = "memory"  # it was killed for want of memory
    hunger = "hunger"  # the evaluation asked for memory and got none
    store = "store"  # the store or its database is damaged
    daemon = "daemon"  # the nix daemon went away, or is not there


# The first that is found in what nix calls errors, or in the log of the derivation that failed, decides. A fixed-output
# derivation with another hash is the revision's fault even if something else could not be fetched beside it.
_SIGNS: tuple[tuple[Fault, re.Pattern[str]], ...] = tuple(
    (fault, re.compile(pattern, re.IGNORECASE))
    for fault, pattern in (
        (Fault.revision, r"hash mismatch in fixed-output|NAR hash mismatch in input"),
        (Fault.space, r"no space left on device|database or disk is full|disk quota exceeded"),
        (Fault.memory, r"out of memory|cannot allocate memory|std::bad_alloc|signal 9 \(killed\)"),
        (
            Fault.store,
            (
                r"file is not a database|disk image is malformed|disk i/o error|: input/output error"
                r"|structure needs cleaning|read-only file system|hash mismatch importing path"
            ),
        ),
        (Fault.daemon, r"nix daemon disconnected|nix daemon out of memory|cannot connect to (?:socket|daemon) at"),
        (
            Fault.network,
            (
                r"unable to download|could not resolve host|couldn't resolve host|cannot connect to|connection refused"
                r"|connection timed out|timeout was reached|interrupted by the user|unable to start any build"
                r"|unexpected end-of-file|http error 5\d\d|network is unreachable|database is (?:locked|busy)"
                r"|failed to fetch git repository|while fetching from '|substituter .* (?:failed|disabled)"
            ),
        ),
    )
)
# Of programs that fetch, in the log of a derivation: a test suite that says "connection refused" is none.
_FETCHER = re.compile(
    r"curl: \((?:5|6|7|16|18|28|35|52|55|56|92)\)|curl: \(22\).*error: 5\d\d|cannot download .* from any mirror"
    r"|fatal: unable to access|could not resolve host",
    re.IGNORECASE,
)


class NixLog:
    """Reads the log: turns it into progress lines, and remembers errors and the ends of the derivations' logs.

    Args:
        progress: hears a line for humans.
        now: seconds of a clock that never jumps.

    """

    def __init__(self, progress: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> None:
        self._progress = progress
        self._now = now
        self._kinds: dict[int, int] = {}
        self._errors: deque[str] = deque(maxlen=40)  # each as nix prints it, with its trace
        self._reasons: deque[str] = deque(maxlen=40)  # the same without the trace
        self._chatter: deque[str] = deque(maxlen=10)  # of git and other programs that nix runs
        self._names: dict[int, str] = {}  # derivations by activity
        self._logs: dict[str, deque[str]] = {}  # by derivation, newest last
        self._built = (0, 0)
        self._transfers: dict[int, int] = {}  # bytes by activity
        self._download = 0
        self._doing = ""
        self._told = float("-inf")

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
                self._errors.append(_plain(message))
                self._reasons.append(_plain(str(event.get("raw_msg") or message)))
            case {"action": "start", "id": int(number), "type": int(kind), "text": str(text)}:
                self._kinds[number] = kind
                self._started(number, kind, _plain(text), event.get("fields"))
            case {"action": "result", "type": int(kind), "id": int(number), "fields": list(fields)}:
                self._result(kind, number, fields)

    def _started(self, number: int, kind: int, text: str, fields: object) -> None:
        match kind, fields:
            case (105, [str(path), *_]):  # _ACT_BUILD
                name = _name(path)
                self._names[number] = name
                self._logs.pop(name, None)
                self._logs[name] = deque(maxlen=_LAST_LINES)
                if len(self._logs) > 64:  # builds that ended well long ago
                    self._logs.pop(next(iter(self._logs)))
                self._tell(f"building {name}", at_once=True)
            case (101, _) if text:  # _ACT_FILE_TRANSFER
                self._transfers[number] = 0
                self._tell(text)

    def _result(self, kind: int, number: int, fields: list[object]) -> None:
        activity = self._kinds.get(number)
        match kind, fields:
            case (101, [line, *_]) if number in self._names:  # _RES_BUILD_LOG_LINE
                self._logs.setdefault(self._names[number], deque(maxlen=_LAST_LINES)).append(_plain(str(line)))
            case (105, [int(done), int(expected), *_]) if activity == _ACT_BUILDS:  # _RES_PROGRESS
                self._built = (done, expected)
                self._tell(self._doing)
            case (105, [int(done), *_]) if activity == _ACT_FILE_TRANSFER:
                self._transfers[number] = done
                self._tell(self._doing)
            case (106, [101, int(expected)]):  # _RES_SET_EXPECTED of _ACT_FILE_TRANSFER
                self._download = expected

    def _tell(self, doing: str, *, at_once: bool = False) -> None:
        """Say how far it is, not more often than a person can read; nix says it thousands of times a second."""
        self._doing = doing
        now = self._now()
        if not at_once and now - self._told < _PAUSE:
            return
        self._told = now
        parts = [doing] if doing else []
        done, expected = self._built
        if expected:
            parts.append(f"{done} of {expected} built")
        loaded = sum(self._transfers.values())
        if loaded >= _MIB or self._download >= _MIB:
            whole = f" of {max(loaded, self._download) / _MIB:.0f}" if self._download else ""
            parts.append(f"{loaded / _MIB:.0f}{whole} MiB downloaded")
        if parts:
            self._progress(", ".join(parts))

    def failing(self) -> tuple[str, str]:
        """The name of the derivation that failed by itself, and why; empty if none did."""
        for reason in self._reasons:
            found = _CANNOT_BUILD.search(reason)
            if found is not None and not _DEPENDENCY.search(found["why"] or ""):
                why = (found["why"] or found["why2"] or "").strip(" .")
                return _name(found["drv"] or found["drv2"]), why
        return "", ""

    def last_lines(self) -> str:
        """The end of the log of the derivation that failed."""
        return "\n".join(self._logs.get(self.failing()[0], ()))

    def what_failed(self) -> str:
        """The error in one line, then in full, with the end of the failing derivation's log where nix left it out."""
        name, why = self.failing()
        errors = "\n".join(self._errors or self._chatter).strip()
        head = f"{name}: {why}" if name else self._first_reason()
        lacking = [line for line in self.last_lines().splitlines() if line not in errors]
        log = "\n".join([f"last lines of {name}:", *lacking]) if lacking else ""
        return "\n".join(part for part in (head, errors, log) if part)

    def _first_reason(self) -> str:
        """The first line of the newest error; nix tells the reason last."""
        for text in (*reversed(self._reasons), *reversed(self._chatter)):
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            if lines:
                return lines[0].removeprefix("error:").strip()
        return ""

    def fault(self) -> Fault | None:
        """Whose fault it is; None if nix did not say anything that it calls an error."""
        if not self._errors:
            return next((fault for fault, sign in _SIGNS if sign.search("\n".join(self._chatter))), None)
        # Older versions quote the end of a builder's log in the error; that is judged as a log.
        said = _QUOTED.sub("", "\n".join([*self._errors, *self._reasons]))
        log = self.last_lines()
        for fault, sign in _SIGNS:
            if sign.search(said) or (fault in (Fault.space, Fault.memory) and sign.search(log)):
                return fault
        return Fault.network if _FETCHER.search(log) else Fault.revision


def judged(log: NixLog, revision: Revision, origin: str, otherwise: GitopsdError) -> GitopsdError:
    """The error that a failed build is.

    Args:
        log: what nix said.
        revision: what was built.
        origin: what of it, as people name it.
        otherwise: how the program failed, for where nix said nothing.

    """
    fault, short, what = log.fault(), revision[:12], log.what_failed() or otherwise.message
    if fault is not Fault.revision:
        return spared(fault, revision, what)
    if _ABSENT.search(what):
        return Rejected(
            f"{short} has no {origin}\n{what}",
            meaning="there is no configuration for this host in it; the system is unchanged",
            advice="add it and push, or correct `host` (or `attr`) in /etc/gitopsd/config.toml and `gitopsctl retry`",
        )
    return Rejected(
        f"{short} does not build: {what}",
        meaning="the system is unchanged",
        advice="fix it and push a new commit (or `git revert`); the next upgrade takes it",
    )


# What is said of a fault that is not the revision's, what a person does, and why it is tried again, if it is.
_SPARED: dict[Fault | None, tuple[str, str, Cause | None]] = {
    Fault.network: ("", "see that the caches and inputs can be reached; the next upgrade tries again", Cause.network),
    Fault.space: (
        ", the disk is full",
        "`nix-collect-garbage --delete-older-than 30d`, then `gitopsctl upgrade`",
        None,
    ),
    Fault.memory: (
        ", it was killed, most likely for want of memory",
        "raise config.memory_max, or build it elsewhere and serve it from a cache; then `gitopsctl upgrade`",
        None,
    ),
    Fault.hunger: (
        ", the evaluation ran out of memory",
        "raise config.memory_max, or evaluate less; then `gitopsctl upgrade`",
        None,
    ),
    Fault.store: (
        ", the store is damaged",
        "`nix-store --verify --check-contents --repair`, then `gitopsctl upgrade`",
        None,
    ),
    Fault.daemon: (
        ", the nix daemon went away",
        "`systemctl status nix-daemon`; the next upgrade tries again",
        Cause.service_gone,
    ),
    None: ("", "`gitopsctl upgrade` tries again", None),
}


def spared(fault: Fault | None, revision: Revision, what: str) -> Failed | Transient:
    """The error of a build whose failure says nothing about the revision: another day it may get through.

    Args:
        fault: whose fault it is, if it is known.
        revision: what was built.
        what: what failed.

    """
    said, advice, cause = _SPARED[fault]
    message = f"cannot build {revision[:12]}{said}: {what}"
    meaning = "the system is unchanged, and the revision stays eligible"
    if cause is not None:
        return Transient(message, cause=cause, meaning=meaning, advice=advice)
    return Failed(message, meaning=meaning, advice=advice)


def _name(path: str) -> str:
    """`hello-1.2` of `/nix/store/HASH-hello-1.2.drv`."""
    return path.rpartition("/")[2][33:].removesuffix(".drv")


def _plain(text: str) -> str:
    return _ESCAPES.sub("", text)
