"""The verbs of `gitopsctl secrets`, in the person's own account and process.

They need no daemon and no rights that the person does not have: no value crosses the socket, and what is decrypted is
decrypted with the person's keys.
"""

import asyncio
import os
import pwd
import re
import socket
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gitopsd.config import DEFAULT_PATH, DotfilesConfig, load
from gitopsd.errors import ConfigError, Failed
from gitopsd.secrets import decisions
from gitopsd.secrets.allow import FILE as ALLOW_FILE
from gitopsd.secrets.allow import allow as allowed_entry
from gitopsd.secrets.allow import parse_allowed, with_entry
from gitopsd.secrets.audit import Audit, Auditor
from gitopsd.secrets.gate import RepositoryGate
from gitopsd.secrets.history import History, Scrubbed
from gitopsd.secrets.keys import Kind
from gitopsd.secrets.migrate import Migrated, Migration
from gitopsd.secrets.rules import Hit, names_secret, told
from gitopsd.tools.chezmoi import Home
from gitopsd.tools.process import Account, Processes


class Program:
    """One person's secrets.

    Args:
        source: the source directory; empty is what the configuration says, else chezmoi's default.
        daemon: its socket.

    """

    def __init__(self, source: str = "", *, daemon: str = "/run/gitopsd/io.gitopsd") -> None:
        self._socket = daemon
        name = pwd.getpwuid(os.geteuid()).pw_name
        account = Account.of(name)
        self._account = msgspec.structs.replace(account, home=os.environ.get("HOME") or account.home)
        self._section = _section(name)
        self._source = Path(source) if source else Path(self._account.home) / self._section.source
        self._processes = Processes()
        os.umask(0o077)

    def audit(self, *, history: bool = False, decide: Sequence[tuple[str, str, str]] = ()) -> Audit:
        """See `Auditor`; decisions are written down first.

        Args:
            history: look at every commit too.
            decide: a variable or a fingerprint, what it is, and what a secret is to be called (empty: as proposed).

        Raises:
            Failed: nothing here has such a fingerprint; nothing was written down.

        """
        return asyncio.run(self._audit(history=history, decide=decide))

    async def _audit(self, *, history: bool, decide: Sequence[tuple[str, str, str]]) -> Audit:
        if decide:
            await self._decide(decide)
        return await self._auditor().audit(history=history)

    def migrate(self, *, file: str, recipients: str, dry: bool) -> Migrated:
        """See `Migration`."""
        path = Path(file).absolute() if file else self._source / ".secrets/dotfiles.yaml"
        migration = Migration(self._processes, self._account, self._source, file=path, recipients=recipients)
        return asyncio.run(migration.run(dry=dry))

    def scrub(self, *, rewrite: bool) -> Scrubbed:
        """See `History`; a rewrite needs a daemon that is stopped: a sync in the middle would publish half of it."""
        history = History(self._processes, self._account, self._source, trunk=self._section.trunk)
        return asyncio.run(history.scrub(rewrite=rewrite, check=self._check_stopped))

    def _check_stopped(self) -> None:
        if is_listened_to(self._socket):
            raise Failed(
                "the daemon runs, or its socket would start it",
                meaning="nothing was changed: a sync in the middle of it would bring the old history back",
                advice="sudo systemctl stop gitopsd.socket gitopsd.service  # then this again",
            )

    def allow(self, fingerprint: str, reason: str) -> str:
        """Let a value pass from now on; returns the file that it is in.

        Raises:
            Failed: nothing here has this fingerprint, or the reason is empty.

        """
        return asyncio.run(self._allow(fingerprint, reason))

    async def _allow(self, fingerprint: str, reason: str) -> str:
        if not reason.strip():
            raise Failed(
                "there is no reason",
                meaning="nothing was changed",
                advice="say why it is no secret, with --reason TEXT",
            )
        auditor = self._auditor()
        files = await auditor.files()
        looked_at = [*files.items(), *await self._edited()]
        for (path, _), hits in zip(looked_at, await auditor.gate.scan(looked_at), strict=True):
            if (hit := await _named(auditor.gate, hits, fingerprint)) is not None:
                before = files.get(ALLOW_FILE, b"")
                if not any(each.path == path and each.matches(hit.value) for each in parse_allowed(before)):
                    entry = allowed_entry(path, hit.rule, hit.value, reason)
                    target = self._source / ALLOW_FILE
                    target.parent.mkdir(exist_ok=True)
                    _write(target, with_entry(before, entry))
                return path
        raise _unknown(fingerprint)

    async def _edited(self) -> list[tuple[str, bytes]]:
        """The files of the home that were edited, by their names in the repository."""
        home = Home(self._processes, self._account, str(self._source), hidden=names_secret, told=told)
        sources = await home.sources()
        targets = [row.target for row in (await home.compare()).rows if row.last in "MA" and row.target in sources]
        paths = {sources[target]: Path(self._account.home) / target for target in targets}
        return [(source, path.read_bytes()) for source, path in paths.items() if path.is_file()]

    async def _decide(self, decide: Sequence[tuple[str, str, str]]) -> None:
        file = self._source / decisions.FILE
        raw = file.read_bytes() if file.is_file() else b""
        known = decisions.parse(raw)
        variables = {name: Kind(word) for name, word, _ in decide if not is_fingerprint(name)}
        literals = {name: (Kind(word), secret) for name, word, secret in decide if is_fingerprint(name)}
        found = await self._auditor().fingerprinted() if literals else {}
        decided = {}
        for fingerprint, (kind, name) in literals.items():
            if fingerprint not in found:
                raise _unknown(fingerprint)
            where, proposed = found[fingerprint]
            if kind is Kind.config:
                raise Failed(
                    f"{fingerprint} is a literal: one that is no secret is allowed, with a reason",
                    meaning="nothing was changed",
                    advice=f"gitopsctl secrets allow {fingerprint} --reason TEXT",
                )
            if name and not decisions.is_name(name):
                raise Failed(
                    f"{name!r} is no name of a secret",
                    meaning="nothing was changed",
                    advice="letters, digits, `_` and `-`",
                )
            decided[fingerprint] = decisions.Literal(kind=kind, name=name or proposed, file=where)
        content = decisions.updated(
            raw, decisions.Decisions({**known.decisions, **variables}, {**known.literals, **decided})
        )
        file.parent.mkdir(exist_ok=True)
        _write(file, content)

    def _auditor(self) -> Auditor:
        return Auditor(self._processes, self._account, self._source)


def is_listened_to(path: str) -> bool:
    """Whether somebody, be it systemd, waits for connections at a socket. One that is closed to us counts as such."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        try:
            client.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True
        return True


async def _named(gate: RepositoryGate, hits: Sequence[Hit], fingerprint: str) -> Hit | None:
    for hit in hits:
        if await gate.fingerprint(hit.value) == fingerprint:
            return hit
    return None


def is_fingerprint(text: str) -> bool:
    """Whether a decision is about a literal, and not about a variable of this name."""
    return bool(re.fullmatch(r"[0-9a-f]{16}", text))


def _unknown(fingerprint: str) -> Failed:
    return Failed(
        f"nothing here has the fingerprint {fingerprint}",
        meaning="nothing was changed",
        advice="gitopsctl dotfiles status, or gitopsctl secrets audit: they name the fingerprints of this host",
    )


def _section(name: str) -> DotfilesConfig:
    try:
        found = [each for each in load(DEFAULT_PATH).dotfiles if each.user == name]
    except ConfigError:  # not a host of gitopsd's, or not readable: an audit needs neither
        found = []
    return found[0] if found else DotfilesConfig(user=name, repo_url="")


def _write(file: Path, content: bytes) -> None:
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_bytes(content)
    fresh.chmod(0o644)
    fresh.replace(file)
