"""gitleaks: the well-kept half of the secrets gate, run as the person whose files they are.

What is to be scanned goes in by stdin and what was found comes out by stdout: no value is in a file, an argument list or
an environment. Checked with gitleaks 8.30.
"""

import hashlib
from collections.abc import Sequence

import msgspec

from gitopsd.errors import Failed, ToolMissing
from gitopsd.tools.process import Account, Processes

_TIMEOUT = 120.0  # seconds
_OUTPUT = 64 * 1024 * 1024  # bytes of the report
_DEPTH = 2  # how often what looks encoded (base64, hex, percent) is decoded
# Between two texts, so that no rule matches from the end of one into the next.
_SEPARATOR = b"\n\n#\n\n"

ADVICE = "install gitleaks (nixpkgs: gitleaks; Debian: apt-get install gitleaks) where the daemon finds it"


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


class _Found(msgspec.Struct, frozen=True, rename="pascal"):
    rule_id: str = msgspec.field(name="RuleID")
    start_line: int
    secret: str


class Gitleaks:
    """Scans texts.

    Args:
        processes: starts it.
        account: whom it runs as; None is the caller itself.

    """

    def __init__(self, processes: Processes, account: Account | None = None) -> None:
        self._processes = processes
        self._account = account

    async def scan(self, texts: Sequence[bytes]) -> tuple[tuple[Match, ...], ...]:
        """Look for secrets in texts, all of them with one command; returns what was found in each.

        A secret of our own stands before the texts: a scanner that does not find it finds nothing, and says nothing.

        Raises:
            ToolMissing: there is no gitleaks.
            Failed: it did not do its work.
            Transient: it ran over its time.

        """
        canary = b"token = " + _canary() + b"\n"
        # The configuration of a repository, of a directory or of the environment has no say: it could switch rules off.
        result = await self._processes.run(
            (
                *("gitleaks", "stdin", "--no-banner", "--no-color", "--log-level=error", "--exit-code=0"),
                *("--ignore-gitleaks-allow", f"--max-decode-depth={_DEPTH}", "--report-format=json", "--report-path=-"),
            ),
            timeout=_TIMEOUT,
            account=self._account,
            cwd="/",
            stdin=_SEPARATOR.join((canary, *texts)),
            check=False,
            output_limit=_OUTPUT,
        )
        found = _decode(result.stdout) if result.status == 0 else ()
        # Line numbers of `stdin` start from 0 in some versions: the canary, which is in the first line, tells.
        first = [each.start_line for each in found if each.secret.encode(errors="replace") == _canary()]
        if not first:
            raise Failed(
                "gitleaks did not find what it was given to find"
                + (f" (exit status {result.status})" if result.status else ""),
                meaning="nothing new passes the secrets gate",
                advice="gitleaks version  # gitopsd was made for 8.30",
            )
        starts = _starts(canary, texts)
        matches: list[list[Match]] = [[] for _ in texts]
        for each in found:
            line = each.start_line - first[0]
            number = sum(start <= line for start in starts) - 1
            if number >= 0:
                matches[number].append(Match(rule=each.rule_id, line=line - starts[number] + 1, value=each.secret))
        return tuple(tuple(each) for each in matches)

    async def check(self) -> str:
        """What is wrong with it; empty if it works."""
        try:
            await self.scan(())
        except (ToolMissing, Failed) as error:
            return error.message
        return ""


def _canary() -> bytes:
    """A token that every version knows, made here so that no scanner takes this file for a leak."""
    return b"ghp_" + hashlib.sha256(b"gitopsd").hexdigest()[:36].encode()


def _starts(canary: bytes, texts: Sequence[bytes]) -> list[int]:
    """The line, counted from 0, that each text begins in."""
    starts, line = [], canary.count(b"\n")
    for text in texts:
        line += _SEPARATOR.count(b"\n")
        starts.append(line)
        line += text.count(b"\n")
    return starts


def _decode(text: str) -> tuple[_Found, ...]:
    try:
        return tuple(msgspec.json.decode(text.encode(errors="replace") or b"[]", type=tuple[_Found, ...] | None) or ())
    except msgspec.DecodeError:
        return ()
