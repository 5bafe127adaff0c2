"""Signatures: whether each new commit of the configuration carries a good one of an allowed signer.

git reads the signatures and asks `ssh-keygen` and `gpg` about them (git-config(1), `gpg.*`; ssh-keygen(1), "ALLOWED
SIGNERS"). What it is to believe is told on its command line and in a keyring of our own, so that neither root's keys nor
anything in the repository has a say. A question that cannot be asked closes the gate without blaming the revision.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gitopsd.errors import Failed, Rejected
from gitopsd.tools.git import Git, printable
from gitopsd.tools.process import CommandFailed, Processes
from gitopsd.types import Revision

_NAMED = 5  # commits that a message names at most
_QUICK = 30.0  # seconds for a command that only reads this disk
_EACH = 600.0  # seconds for all signatures of a range
_KEYRING = ("trust-model always", "no-auto-key-locate", "no-auto-key-import", "no-autostart", "disable-dirmngr")

# The letters of `%G?` (git-log(1)) for a signature that was checked and is not to be believed.
_MEANINGS = {
    "B": "its signature is bad: it was changed afterwards, or its key is allowed for other things than commits",
    "U": "it is signed by nobody who is allowed to, or with a key that had expired",
    "X": "its signature has expired",
    "Y": "the key that signed it has expired",
    "R": "the key that signed it was revoked",
    "E": "it is signed by nobody who is allowed to",
}


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """One commit as git judges it.

    Args:
        name: its full name.
        verdict: the letter of `%G?`.
        key: the key that signed: its fingerprint, `SHA256:` and so on for an SSH key; empty if it is unknown.
        primary: the fingerprint of its primary key, for GPG.

    """

    name: str
    verdict: str
    key: str
    primary: str


class Signatures:
    """`ports.Signatures`.

    Args:
        processes: starts git and gpg.
        mirror: the bare repository that has the commits.
        home: a directory of our own for the keyring; it is made anew each time.
        allowed_signers: a file as in ssh-keygen(1); empty if no SSH key is allowed.
        gpg_keyring: a file with exported public keys; empty if no GPG key is allowed.
        gpg_fingerprints: only these primary keys of it; empty is all.

    """

    def __init__(
        self,
        processes: Processes,
        mirror: Path,
        *,
        home: Path,
        allowed_signers: str = "",
        gpg_keyring: str = "",
        gpg_fingerprints: Sequence[str] = (),
    ) -> None:
        self._processes = processes
        self._git = Git(processes, str(mirror))
        self._home = home
        self._signers = allowed_signers
        self._keyring = gpg_keyring
        self._fingerprints = frozenset(gpg_fingerprints)

    async def check(self, revision: Revision, since: Revision | None) -> None:
        """See `ports.Signatures`."""
        self._can_be_asked()
        await self._make_keyring()
        if since is not None and await self._git.rev_parse(since) is None:
            since = None
        commits = await self._commits(revision, since)
        bad = [commit for commit in commits if not self._good(commit)]
        if not bad:
            return
        reasons = [await self._reason(commit) for commit in bad[:_NAMED]]
        more = [f"and {len(bad) - _NAMED} more"] if len(bad) > _NAMED else []
        first, *others = [*reasons, *more]
        raise Rejected(
            "\n".join([f"{revision[:12]} is not trusted: {first}", *others]),
            meaning="nothing of it was evaluated; the system is unchanged",
            advice=_advice(since),
        )

    async def _commits(self, revision: Revision, since: Revision | None) -> tuple[Commit, ...]:
        # Both sides of a merge are in the range. What a person wrote is left out of the format: no name or message
        # can pass for a field.
        span = (revision, f"^{since}") if since is not None else ("--max-count=1", revision)
        result = await self._ask("rev-list", "--no-commit-header", "--format=%H %G? %GK|%GF|%GP", *span)
        found = []
        for line in result.splitlines():
            name, verdict, keys = line.split(" ", 2)
            key, fingerprint, primary = keys.split("|")
            found.append(Commit(name=name, verdict=verdict, key=fingerprint or key, primary=primary))
        return tuple(found)

    def _good(self, commit: Commit) -> bool:
        if commit.key.startswith("SHA256:"):
            return bool(self._signers) and commit.verdict == "G"
        # Of GPG, U says that nobody told how far to trust the key; it is in the keyring, and that is what counts.
        allowed = not self._fingerprints or commit.primary in self._fingerprints
        return bool(self._keyring and commit.primary) and allowed and commit.verdict in ("G", "U")

    async def _reason(self, commit: Commit) -> str:
        """Why a commit is not to be believed, in a sentence.

        Raises:
            Failed: it is signed, and git could not find out by whom.

        """
        told = await self._ask("rev-list", "--no-commit-header", "--max-count=1", "--format=%an%x00%s", commit.name)
        author, _, subject = told.rstrip("\n").partition("\0")
        named = f"{commit.name[:12]} ({printable(subject)[:60]}, by {printable(author)[:40]})"
        if not await self._is_signed(commit.name):
            return f"{named}: it is not signed"
        said = (await self._ask("rev-list", "--no-commit-header", "--max-count=1", "--format=%GG", commit.name)).strip()
        if commit.verdict == "N" or not said:
            raise Failed(
                f"the signature of {named} cannot be checked: {printable(said) or 'no answer'}",
                meaning="nothing new is deployed; the revision is not to blame, and is tried again",
                advice=f"git -C {self._mirror} verify-commit -v {commit.name[:12]}",
            )
        key = f" ({commit.key})" if commit.key else ""
        return f"{named}: {_MEANINGS.get(commit.verdict, _MEANINGS['U'])}{key}"

    async def _is_signed(self, commit: str) -> bool:
        result = await self._git.run("cannot read a commit", "--no-replace-objects", "cat-file", "commit", commit)
        header = result.stdout.partition("\n\n")[0]
        return any(line.startswith(("gpgsig ", "gpgsig-sha256 ")) for line in header.split("\n"))

    @property
    def _mirror(self) -> str:
        return self._git.directory

    async def _ask(self, *arguments: str) -> str:
        options = {
            "gpg.program": "gpg",
            "gpg.openpgp.program": "gpg",
            "gpg.ssh.program": "ssh-keygen",
            "gpg.x509.program": "false",  # nobody can allow such a key
            "gpg.ssh.allowedSignersFile": self._signers or "/dev/null",
        }
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        try:
            result = await self._git.run(
                *("cannot check signatures", "--no-replace-objects", *settings, *arguments),
                timeout=_EACH,
                env={"GNUPGHOME": str(self._home)},
            )
        except CommandFailed as error:
            raise _closed(error.message, f"git -C {self._mirror} fsck") from error
        return result.stdout

    def _can_be_asked(self) -> None:
        """Raises `Failed` if a file or program is missing that the question needs: to git that is no signature."""
        for option, file, program in (
            ("ssh_allowed_signers", self._signers, "ssh-keygen"),
            ("gpg_keyring", self._keyring, "gpg"),
        ):
            if not file:
                continue
            try:
                with Path(file).open("rb"):
                    pass
            except OSError as error:
                raise _closed(
                    f"config.signatures.{option}: cannot read {file}: {error.strerror}", f"put the file there: {file}"
                ) from error
            if not self._processes.has(program):
                raise _closed(f"the program `{program}` is not on the daemon's PATH", f"install {program}")

    async def _make_keyring(self) -> None:
        """A keyring with the allowed keys and no others; empty if none is allowed. Made anew: it can't be stale."""
        shutil.rmtree(self._home, ignore_errors=True)
        self._home.mkdir(mode=0o700)
        (self._home / "gpg.conf").write_text("".join(f"{line}\n" for line in _KEYRING), encoding="utf-8")
        if not self._keyring:
            return
        argv = ("gpg", "--homedir", str(self._home), "--batch", "--no-tty", "--quiet", "--import", "--", self._keyring)
        try:
            await self._processes.run(argv, timeout=_QUICK)
        except CommandFailed as error:
            raise _closed(
                f"config.signatures.gpg_keyring: {error.message}", f"gpg --show-keys {self._keyring}"
            ) from error


def _closed(message: str, advice: str) -> Failed:
    return Failed(message, meaning="no signature can be checked, so nothing new is deployed", advice=advice)


def _advice(since: Revision | None) -> str:
    if since is None:
        return "sign the newest commit: git commit --amend --no-edit -S && git push --force-with-lease"
    again = f"git rebase --rebase-merges --exec 'git commit --amend --no-edit -S' {since[:12]}"
    return f"{again} && git push --force-with-lease; or allow the signer, then `gitopsctl retry`"
