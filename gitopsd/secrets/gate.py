"""The gate of one repository: the scanner and our own rules together, without what the person allowed."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gitopsd.errors import Failed, ToolMissing
from gitopsd.secrets import rules
from gitopsd.secrets.allow import FILE as ALLOW_FILE
from gitopsd.secrets.allow import Allowed, parse_allowed
from gitopsd.secrets.rules import Hit
from gitopsd.tools.files import Files
from gitopsd.tools.git import printable
from gitopsd.tools.gitleaks import Gitleaks
from gitopsd.tools.process import Account, Processes
from gitopsd.types import Candidate, Finding

NO_SCANNER = "no-scanner"
_KEY = ".git/gitopsd-fingerprints"
_SOPS_RULES = ".sops.yaml"
_SAME: Callable[[str], str] = str


class RepositoryGate:
    """`ports.Gate` for one repository.

    Args:
        processes: starts the programs.
        account: whose repository it is.
        directory: its work tree, with `.git`.
        same_file: two paths for which it returns the same are names of one file.

    """

    def __init__(
        self, processes: Processes, account: Account | None, directory: str, *, same_file: Callable[[str], str] = _SAME
    ) -> None:
        self._scanner = Gitleaks(processes, account)
        self._files = Files(processes, account)
        self._root = Path(directory)
        self._same_file = same_file
        self._key = b""
        self.broken = ""  # why the scanner did not work, the last time it was asked

    async def check(self, candidates: Sequence[Candidate]) -> Mapping[str, tuple[Finding, ...]]:
        """See `ports.Gate`."""
        if not candidates:
            return {}
        settings = await self._files.read(str(self._root), (_SOPS_RULES, ALLOW_FILE))
        patterns = rules.encryption_rules(settings.get(_SOPS_RULES, b""))
        allowed = parse_allowed(settings.get(ALLOW_FILE, b""))
        hits = await self.scan([(each.path, each.content) for each in candidates], patterns)
        known = [each for each, found in zip(candidates, hits, strict=True) if found and each.published]
        before = dict(
            zip(
                (each.path for each in known),
                await self.scan([(each.path, each.published) for each in known], patterns),
                strict=True,
            )
        )
        result = {}
        for each, found in zip(candidates, hits, strict=True):
            old = {hit.value for hit in before.get(each.path, ())}
            left = [hit for hit in found if hit.value not in old and not self._is_allowed(allowed, each.path, hit)]
            if self.broken and each.is_new:
                left.append(Hit(rule=NO_SCANNER, line=0, value=""))
            if left:
                result[each.path] = tuple([await self._finding(each.path, hit) for hit in left])
        return result

    async def scan(
        self, files: Sequence[tuple[str, bytes]], patterns: Sequence[re.Pattern[str]] = ()
    ) -> tuple[tuple[Hit, ...], ...]:
        """Everything that looks like a secret in these files, with its value, by line."""
        if not files:
            return ()
        self.broken = ""
        try:
            scanned = await self._scanner.scan([content for _, content in files])
        except (ToolMissing, Failed) as error:
            self.broken = error.message
            scanned = tuple(() for _ in files)
        result = []
        for (path, content), matches in zip(files, scanned, strict=True):
            own = list(rules.scan(path, content, strict=bool(self.broken), must_be_encrypted=patterns))
            lines = content.decode(errors="replace").split("\n") if matches else []
            for match in matches:
                line = lines[match.line - 1] if match.line <= len(lines) else ""
                if rules.is_false(path, match.rule, match.value, line):
                    continue
                same = [hit for hit in own if hit.line == match.line and _overlap(hit.value, match.value)]
                if not same:
                    own.append(Hit(rule=match.rule, line=match.line, value=match.value))
            result.append(tuple(sorted(own, key=lambda hit: hit.line)))
        return tuple(result)

    async def fingerprint(self, value: str) -> str:
        """A name for a value that says nothing about it: keyed, and the key never leaves this host.

        A plain or salted hash in a log could be tried with every PIN there is.
        """
        if not self._key:
            self._key = await self._read_key()
        return hmac.new(self._key, value.encode(errors="replace"), hashlib.sha256).hexdigest()[:16]

    async def _read_key(self) -> bytes:
        found = (await self._files.read(str(self._root), (_KEY,))).get(_KEY, b"")
        if len(found) < 32:
            found = secrets.token_hex(32).encode()
            await self._files.write(str(self._root / _KEY), found)
        return found

    async def _finding(self, path: str, hit: Hit) -> Finding:
        fingerprint = await self.fingerprint(hit.value) if hit.value else ""
        return Finding(path=printable(path), line=hit.line, rule=hit.rule, fingerprint=fingerprint)

    def _is_allowed(self, allowed: Sequence[Allowed], path: str, hit: Hit) -> bool:
        name = self._same_file(path)
        return any(self._same_file(entry.path) == name and entry.matches(hit.value) for entry in allowed)


def _overlap(one: str, other: str) -> bool:
    return one in other or other in one
