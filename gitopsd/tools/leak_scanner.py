"""The well-kept half of the secrets gate: betterleaks or gitleaks, run as the person whose files they are.

What is to be scanned goes in by stdin and what was found comes out by stdout: no value is in a file, an argument list or
an environment. Each command line is a row of `SCANNERS`. Whether one is understood is not asked by version: a scanner
has to find secrets of our own that stand before and after the texts, with every look. Checked with gitleaks 8.26 and
betterleaks 2.0.0-rc.4; the row of betterleaks 1 is from its source (1.1 to 1.7).
"""

import bisect
import functools
import hashlib
from collections.abc import Callable, Collection, Sequence

import msgspec

from gitopsd.errors import Failed, ToolMissing
from gitopsd.tools.process import Account, Processes

_TIMEOUT = 120.0  # seconds
_OUTPUT = 64 * 1024 * 1024  # bytes of the report
# Bytes that gitleaks reads, before it goes on to the next blank line, or to 32 KiB; then it begins to count lines anew.
_CHUNK = 10_000
_DEPTH = 2  # how often what looks encoded (base64, hex, percent) is decoded
# Between two texts, so that no rule matches from the end of one into the next.
_SEPARATOR = b"\n\n#\n\n"

ADVICE = "install gitleaks (nixpkgs: gitleaks; Debian: apt-get install gitleaks) or betterleaks (nixpkgs: betterleaks)"


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a text that looks like a secret.

    Args:
        rule: what found it.
        line: from 1.
        value: the secret.

    """

    rule: str
    line: int
    value: str

    def __repr__(self) -> str:  # the value must not get into a log by way of a message
        return f"Match(rule={self.rule!r}, line={self.line})"


class _Flat(msgspec.Struct, frozen=True, rename="pascal"):
    rule_id: str = msgspec.field(name="RuleID")
    start_line: int
    secret: str


class _Value(msgspec.Struct, frozen=True):
    value: str


class _Location(msgspec.Struct, frozen=True):
    start_line: int


class _Nested(msgspec.Struct, frozen=True):
    rule_id: str
    match: _Value
    location: _Location


class _Report(msgspec.Struct, frozen=True):
    findings: tuple[_Nested, ...] | None = None


def flat(report: bytes) -> tuple[Match, ...]:
    """Read a report of gitleaks 8 or betterleaks 1: a list.

    Raises:
        msgspec.DecodeError: it is something else.

    """
    found = msgspec.json.decode(report, type=tuple[_Flat, ...] | None) or ()
    return tuple(Match(rule=each.rule_id, line=each.start_line, value=each.secret) for each in found)


def nested(report: bytes) -> tuple[Match, ...]:
    """Read a report of betterleaks 2.

    Raises:
        msgspec.DecodeError: it is something else.

    """
    found = msgspec.json.decode(report, type=_Report).findings or ()
    return tuple(Match(rule=each.rule_id, line=each.location.start_line, value=each.match.value) for each in found)


class Scanner(msgspec.Struct, frozen=True, kw_only=True):
    """One command line.

    Args:
        program: its name.
        version: of the program, that understands it.
        options: after `stdin`.
        read: the report. Raises msgspec.DecodeError.
        counted: how many bytes of its input it counts the lines of rightly.

    """

    program: str
    version: str
    options: tuple[str, ...]
    read: Callable[[bytes], tuple[Match, ...]]
    counted: int

    def __str__(self) -> str:
        return f"{self.program} {self.version}"


# The configuration of a repository, of a directory or of the environment has no say, nor has a comment: each could
# switch rules off. And what was found is shown to nobody: betterleaks can ask the service that it may belong to.
_QUIET = ("--no-banner", "--no-color", "--log-level=error", "--exit-code=0", f"--max-decode-depth={_DEPTH}")
_LIST = (*_QUIET, "--ignore-gitleaks-allow", "--report-format=json", "--report-path=-")
SCANNERS = (
    Scanner(
        program="betterleaks",
        version="2",
        # RE2 takes 70 ms of computing more to begin with, and is faster only on megabytes.
        options=(
            *(*_QUIET, "--no-allow-signatures", "--validate=false", "--analyze=false"),
            *("--regex-engine=stdlib", "--output=-"),
        ),
        read=nested,
        counted=_OUTPUT,
    ),
    Scanner(
        program="betterleaks",
        version="1",
        options=(*_LIST, "--validation=false"),
        read=flat,
        counted=_CHUNK,
    ),
    Scanner(program="gitleaks", version="8", options=_LIST, read=flat, counted=_CHUNK),
)
PROGRAMS = tuple(dict.fromkeys(each.program for each in SCANNERS))


class LeakScanner:
    """Scans texts with the first scanner that is there and does its work.

    Args:
        processes: starts it.
        account: whom it runs as; None is the caller itself.
        scanners: in the order in which they are tried.

    """

    def __init__(
        self, processes: Processes, account: Account | None = None, *, scanners: Sequence[Scanner] = SCANNERS
    ) -> None:
        self._processes = processes
        self._account = account
        self._scanners = tuple(scanners)

    @property
    def first(self) -> Scanner:
        """The one that is asked first: after a scan, the one that did it."""
        return self._scanners[0]

    async def scan(self, texts: Sequence[bytes]) -> tuple[tuple[Match, ...], ...]:
        """Look for secrets in texts, all of them with one command; returns what was found in each.

        Raises:
            ToolMissing: there is no scanner.
            Failed: none that is there did its work.
            Transient: it ran over its time.

        """
        why = ""
        for scanner in self._scanners:
            if not self._processes.has(scanner.program):
                continue
            found, why = await self._scan(scanner, texts)
            if not why:
                # The one that works is the first to be asked the next time.
                self._scanners = (scanner, *(each for each in self._scanners if each != scanner))
                return found
        names = " or ".join(dict.fromkeys(each.program for each in self._scanners))
        if not why:
            raise ToolMissing(
                f"there is no scanner: neither of {names} is on the PATH", meaning="nothing new passes", advice=ADVICE
            )
        raise Failed(why, meaning="nothing new passes the secrets gate", advice=ADVICE)

    async def _scan(self, scanner: Scanner, texts: Sequence[bytes]) -> tuple[tuple[tuple[Match, ...], ...], str]:
        """What one scanner finds, and why that is of no use."""
        canary, last = (b"token = " + each + b"\n" for each in _canaries())
        asked = _SEPARATOR.join((canary, *texts, last))
        result = await self._processes.run(
            (scanner.program, "stdin", *scanner.options),
            timeout=_TIMEOUT,
            account=self._account,
            cwd="/",
            stdin=asked,
            check=False,
            output_limit=_OUTPUT,
        )
        try:
            found = scanner.read(result.stdout.encode(errors="replace") or b"null") if result.status == 0 else ()
        except msgspec.DecodeError:
            found = ()
        # Line numbers of `stdin` start from 0 in some versions: the canary, which is in the first line, tells.
        places = {_bytes(each.value): each.line for each in reversed(found)}
        if not all(each in places for each in _canaries()):
            how = f" (exit status {result.status})" if result.status else ""
            return (), f"{scanner.program} did not find what it was given to find{how}"
        first, *_ = (places[each] for each in _canaries())
        rest = [each for each in found if _bytes(each.value) not in _canaries()]
        told = [msgspec.structs.replace(each, line=each.line - first) for each in rest]
        placed = _placed(told, _starts(canary, texts), texts, counted=len(asked) <= scanner.counted)
        return (placed, "") if placed is not None else await self._halves(scanner, texts)

    async def _halves(self, scanner: Scanner, texts: Sequence[bytes]) -> tuple[tuple[tuple[Match, ...], ...], str]:
        """Scan each half by itself, since it is not known which text something was found in."""
        found: tuple[tuple[Match, ...], ...] = ()
        for half in (texts[: len(texts) // 2], texts[len(texts) // 2 :]):
            more, why = await self._scan(scanner, half)
            if why:
                return (), why
            found += more
        return found, ""


def _placed(
    found: Sequence[Match], starts: Sequence[int], texts: Sequence[bytes], *, counted: bool
) -> tuple[tuple[Match, ...], ...] | None:
    """Tell which text each was found in, with the line in it; None if that is not known.

    Args:
        found: with lines counted from 0 in all that was scanned.
        starts: the line that each text begins in.
        texts: what was scanned.
        counted: the lines are right. Else a line counts if the value is in it; where it is not, as it never is if it was
            decoded, it is in the only text there is, in a line that need not be known: then that is 0.

    """
    placed: list[dict[Match, None]] = [{} for _ in texts]  # in order, each once
    for each in found:
        number = bisect.bisect_right(starts, each.line) - 1
        line = each.line - starts[number] + 1 if number >= 0 else 0
        lines: Collection[int] = (line,)
        if counted and number < 0:
            continue  # beside the canary
        if not counted and (number < 0 or line not in _lines(texts[number], each.value)):
            if len(texts) != 1:
                return None
            number, lines = 0, _lines(texts[0], each.value) or (0,)
        placed[number] |= dict.fromkeys(msgspec.structs.replace(each, line=at) for at in lines)
    return tuple(tuple(each) for each in placed)


def _lines(text: bytes, value: str) -> tuple[int, ...]:
    """The lines, counted from 1, that a value begins in."""
    wanted, lines, line, before = _bytes(value), [], 1, 0
    while wanted and (at := text.find(wanted, before)) >= 0:
        line += text.count(b"\n", before, at)
        lines.append(line)
        before = at + 1
        line += text[at : at + 1] == b"\n"
    return tuple(lines)


def _bytes(value: str) -> bytes:
    return value.encode(errors="replace")


@functools.cache
def _canaries() -> tuple[bytes, bytes]:
    """Tokens that every version knows, for the first line and the last: all in between was read then.

    They are made here so that no scanner takes this file for a leak.
    """
    first, last = (b"ghp_" + hashlib.sha256(seed).hexdigest()[:36].encode() for seed in (b"gitopsd", b"the end"))
    return first, last


def _starts(canary: bytes, texts: Sequence[bytes]) -> list[int]:
    """The line, counted from 0, that each text begins in."""
    starts, line = [], canary.count(b"\n")
    for text in texts:
        line += _SEPARATOR.count(b"\n")
        starts.append(line)
        line += text.count(b"\n")
    return starts
