"""The gate of one repository: the scanner and our own rules together, without what the person allowed."""

import asyncio
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from gitopsd.errors import Failed, ToolMissing
from gitopsd.secrets import decisions, rules
from gitopsd.secrets.allow import FILE as ALLOW_FILE
from gitopsd.secrets.allow import Allowed, parse_allowed
from gitopsd.secrets.keys import Kind
from gitopsd.secrets.rules import Hit
from gitopsd.secrets.views import View, name_of, views
from gitopsd.tools.files import Files
from gitopsd.tools.git import printable
from gitopsd.tools.leak_scanner import SCANNERS, LeakScanner, Match, Scanner
from gitopsd.tools.process import Account, Processes
from gitopsd.types import Candidate, Finding

NO_SCANNER = "no-scanner"
_KEY = ".git/gitopsd/fingerprints"
SOPS_RULES = ".sops.yaml"
_ANSWERS = 2000  # that are remembered
_SAME: Callable[[str], str] = str


class RepositoryGate:
    """`ports.Gate` for one repository.

    Args:
        processes: starts the programs.
        account: whose repository it is.
        directory: its work tree, with `.git`.
        same_file: two paths for which it returns the same are names of one file.
        scanners: see `LeakScanner`.

    """

    def __init__(
        self,
        processes: Processes,
        account: Account | None,
        directory: str,
        *,
        same_file: Callable[[str], str] = _SAME,
        scanners: Sequence[Scanner] = SCANNERS,
    ) -> None:
        self._scanner = LeakScanner(processes, account, scanners=scanners)
        self._files = Files(processes, account)
        self._root = Path(directory)
        self._same_file = same_file
        self._key = b""
        self._random = secrets.token_bytes(32)
        self._answers: dict[bytes, tuple[Finding, ...]] = {}
        self.broken = ""  # why the scanner did not work, the last time it was asked

    async def check(self, candidates: Sequence[Candidate]) -> Mapping[str, tuple[Finding, ...]]:
        """See `ports.Gate`. The same question again is answered from memory, by a keyed digest of it."""
        if not candidates:
            return {}
        settings = await self._files.read(str(self._root), (SOPS_RULES, ALLOW_FILE, decisions.FILE))
        asked = [(self._digest(each, settings), each) for each in candidates]
        if new := [(digest, each) for digest, each in asked if digest not in self._answers]:
            answers = await self._judge([each for _, each in new], settings)
            if len(self._answers) > _ANSWERS:
                self._answers.clear()
            self._answers |= {digest: found for (digest, _), found in zip(new, answers, strict=True)}
        result: dict[str, tuple[Finding, ...]] = {}
        for digest, each in asked:
            if found := self._answers[digest]:
                result[each.path] = tuple(dict.fromkeys((*result.get(each.path, ()), *found)))
        if self.broken:
            self._answers.clear()
        return result

    async def _judge(self, candidates: Sequence[Candidate], settings: Mapping[str, bytes]) -> list[tuple[Finding, ...]]:
        patterns = rules.encryption_rules(settings.get(SOPS_RULES, b""))
        allowed = parse_allowed(settings.get(ALLOW_FILE, b""))
        decided = decisions.parse(settings.get(decisions.FILE, b"")).decisions
        names = {name for name, kind in decided.items() if kind is Kind.secret}
        hits = await self.scan([(each.path, each.content) for each in candidates], patterns, names)
        known = [number for number, each in enumerate(candidates) if hits[number] and each.published]
        before = await self.scan(
            [(candidates[number].path, candidates[number].published) for number in known], patterns
        )
        old = {number: {hit.value for hit in found} for number, found in zip(known, before, strict=True)}
        result = []
        for number, each in enumerate(candidates):
            left = [
                hit
                for hit in hits[number]
                if hit.value not in old.get(number, ()) and not self._is_allowed(allowed, each.path, hit)
            ]
            if self.broken and each.is_new:
                left.append(Hit(rule=NO_SCANNER, line=0, value=""))
            path = rules.shown(each.path, hits[number])
            result.append(tuple([await self._finding(path, hit) for hit in left]))
        return result

    def _digest(self, each: Candidate, settings: Mapping[str, bytes]) -> bytes:
        digest = hashlib.blake2b(key=self._random)
        for part in (os.fsencode(each.path), each.content, each.published, *settings.values()):
            digest.update(b"%d:" % len(part))
            digest.update(part)
        digest.update(b"new" if each.is_new else b"old")
        return digest.digest()

    async def scan(
        self,
        files: Sequence[tuple[str, bytes]],
        patterns: Sequence[re.Pattern[str]] = (),
        secret_names: Collection[str] = (),
    ) -> tuple[tuple[Hit, ...], ...]:
        """Everything that looks like a secret in these files, with its value, by line.

        Args:
            files: paths and contents.
            patterns: of the paths that `.sops.yaml` says are encrypted.
            secret_names: the variables that the person decided are secrets.

        """
        if not files:
            return ()
        self.broken = ""
        seen = [(*views(content), name_of(path)) for path, content in files]
        try:
            scanned = await self._scanner.scan([view.text for each in seen for view in each])
        except (ToolMissing, Failed) as error:
            self.broken = error.message
            scanned = tuple(() for each in seen for _ in each)
        # A regular expression on a long text would keep the loop from everything else.
        look = partial(
            rules.scan,
            strict=bool(self.broken),
            is_secret=frozenset(secret_names).__contains__,
            must_be_encrypted=patterns,
        )
        answers = iter(scanned)
        matches = [[next(answers) for _ in each] for each in seen]
        return await asyncio.to_thread(_found, files, seen, matches, look)

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


def _digests(content: bytes) -> frozenset[str]:
    """What stands in the file of what is allowed, and looks random."""
    try:
        return frozenset(text for entry in parse_allowed(content) for text in (entry.salt, entry.scrypt))
    except Failed:
        return frozenset()


def _found(
    files: Sequence[tuple[str, bytes]],
    seen: Sequence[Sequence[View]],
    matches: Sequence[Sequence[Sequence[Match]]],
    look: Callable[[str, bytes], tuple[Hit, ...]],
) -> tuple[tuple[Hit, ...], ...]:
    """What our own rules and the scanner find in each file, together."""
    result = []
    for (path, content), texts, found in zip(files, seen, matches, strict=True):
        hits = [hit for hit in look(path, content) if hit.line == 0]
        for text, matched in zip(texts, found, strict=True):
            new = _in_text(path, text, matched, look)
            ending = rules.IN_NAME if text is texts[-1] else ""
            hits += (
                new
                if text.has_lines
                else [msgspec.structs.replace(hit, line=0, rule=f"{hit.rule}{ending}") for hit in new]
            )
        digests = _digests(content) if path == ALLOW_FILE else ()
        left = dict.fromkeys(hit for hit in hits if hit.value not in digests)
        result.append(tuple(sorted(left, key=lambda hit: hit.line)))
    return tuple(result)


def _in_text(
    path: str, text: View, matches: Sequence[Match], look: Callable[[str, bytes], tuple[Hit, ...]]
) -> list[Hit]:
    # The names in a binary are those of a program: only what has the form of a secret counts there.
    found = [
        hit for hit in look(text.name or path, text.text) if hit.line and (text.is_text or rules.has_form(hit.rule))
    ]
    plain = text.text.decode(errors="replace") if matches else ""
    lines, sealed = plain.split("\n"), rules.sealed_lines(plain)
    for match in matches:
        if match.line in sealed:
            continue
        line = lines[match.line - 1] if 0 < match.line <= len(lines) else ""
        if rules.is_false(path, match.rule, match.value, line) or (not text.is_text and rules.is_guess(match.rule)):
            continue
        if not any(match.line in (0, hit.line) and _overlap(hit.value, match.value) for hit in found):
            found.append(Hit(rule=match.rule, line=match.line, value=match.value))
    return found


def _overlap(one: str, other: str) -> bool:
    return one in other or other in one
