"""Secrets in old commits: named, to be rotated, and taken out of this host's history. Nothing is ever pushed here.

What was once published has to be rotated: a rewritten history takes it out of sight and not out of the world.
"""

import base64
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from gitopsd.errors import Failed
from gitopsd.repo.traces import SCRUB
from gitopsd.secrets.audit import Auditor, Past
from gitopsd.secrets.migrate import plaintext_place
from gitopsd.tools.filter_repo import FilterRepo
from gitopsd.tools.git import Git, printable
from gitopsd.tools.jj import Jj
from gitopsd.tools.process import Account, Processes
from gitopsd.types import Finding

BACKUPS = ".local/state/gitopsd/backups"  # below the home
# Refs that are not rewritten but dropped, the remotes' branches too: jj would import what they lead to, and the first push
# or fetch brings them back.
_DROPPED = ("refs/jj/", "refs/gitopsd/", "refs/original/", "refs/replace/", "refs/remotes/")


class Scrubbed(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, and done.

    Args:
        findings: by commit; each is to be rotated.
        subjects: of these commits.
        backup: where everything is as it was; empty if nothing was rewritten.
        steps: what a person types next.

    """

    findings: tuple[Finding, ...]
    subjects: dict[str, str]
    backup: str = ""
    steps: tuple[str, ...] = ()


class _Begun(msgspec.Struct, frozen=True, kw_only=True):
    """What a rewrite that is under way has done.

    Args:
        told: what was found, with the backup. Once it is taken out, it is not found any more.
        tips: the refs that are rewritten, as they were.
        jj: there was a jj repository, which is made anew.

    """

    told: Scrubbed
    tips: dict[str, str]
    jj: bool


class History:
    """The history of one person's dotfiles.

    Args:
        processes: starts the programs.
        account: the person, in whose account we run.
        source: the source directory.
        trunk: the branch that all hosts share.

    """

    def __init__(self, processes: Processes, account: Account, source: Path, *, trunk: str) -> None:
        self._git = Git(processes, str(source), account)
        self._jj = Jj(processes, str(source), account, f"{trunk}@origin")
        self._filter = FilterRepo(processes, account)
        self._auditor = Auditor(processes, account, source)
        self._account = account
        self._source = source
        self._trunk = trunk
        self._marker = source / ".git" / SCRUB

    async def scrub(self, *, rewrite: bool, check: Callable[[], None] = lambda: None) -> Scrubbed:
        """Name what is in old commits; with `rewrite`, take it out.

        While a rewrite is under way, and after it was ended in the middle, a file of ours keeps every sync out of the
        repository. Run again, it goes on from there, with the backup that it has made.

        Args:
            rewrite: take it out.
            check: called once no sync can begin any more; raises `Failed` if one may be under way.

        Raises:
            Failed: it is in the files of today as well, or there are edits that no commit has, or it runs already;
                nothing was changed.

        """
        if not rewrite:
            if self._marker.exists():
                raise Failed(
                    "taking secrets out of the history was begun, and has not come to its end",
                    meaning="until it has, nothing of this directory is synced",
                    advice="gitopsctl secrets scrub --rewrite  # it goes on from there",
                )
            return (await self._look())[0]
        with self._alone() as begun:
            check()
            return await self._rewrite(begun)

    async def _look(self) -> tuple[Scrubbed, list[Past]]:
        found = await self._auditor.past()
        gate = self._auditor.gate
        findings = tuple(
            [
                Finding(
                    path=each.shown,
                    line=each.hit.line,
                    rule=each.hit.rule,
                    fingerprint=await gate.fingerprint(each.hit.value),
                    commit=each.commit,
                )
                for each in found
            ]
        )
        subjects = {each.commit: await self._git.subject(each.commit) for each in findings if each.commit}
        return Scrubbed(findings=findings, subjects=subjects), found

    @contextmanager
    def _alone(self) -> Iterator["_Begun | None"]:
        """Keep every sync, and every other run of this, out; yields what an earlier run had begun.

        Raises:
            Failed: another one runs.

        """
        if not self._marker.parent.is_dir():
            raise Failed(
                f"{self._source} is no git repository of its own",
                meaning="there is nothing to look at",
                advice="gitopsctl dotfiles init",
            )
        fd = os.open(self._marker, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # From now on shared, so that what it starts can have it, too: that may outlive us.
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
                if not os.path.samestat(os.fstat(fd), self._marker.lstat()):  # another has just come to its end
                    raise BlockingIOError
            except (BlockingIOError, FileNotFoundError):
                raise Failed(
                    "secrets are being taken out of this history at this moment",
                    meaning="this one did nothing; the other goes on",
                    advice="wait for its end",
                ) from None
            try:
                yield _decoded(self._marker.read_bytes())
            finally:
                if self._marker.exists() and _decoded(self._marker.read_bytes()) is None:  # nothing was changed
                    self._marker.unlink()
        finally:
            os.close(fd)

    async def _rewrite(self, begun: "_Begun | None") -> Scrubbed:
        told, found = await self._look()
        values = {each.hit.value for each in found if each.is_plain}
        if begun is None:
            if not found:
                return told
            await self._refuse(values, [each for each in found if not each.is_plain])
            backup = await self._backup()
            told = msgspec.structs.replace(told, backup=str(backup))
            begun = _Begun(told=told, tips=await self._tips(), jj=(self._source / ".jj").is_dir())
            self._note(begun)
        with plaintext_place(self._account) as place:
            listed = place / "values.json"
            listed.touch(mode=0o600)
            longest = sorted((value.encode(errors="replace") for value in values), key=len, reverse=True)
            listed.write_text(json.dumps([base64.b64encode(value).decode() for value in longest]), encoding="utf-8")
            await self._filter.replace(str(self._source), listed, sorted(begun.tips), lock=str(self._marker))
        await self._forget(jj=begun.jj)
        self._marker.unlink()
        return msgspec.structs.replace(begun.told, steps=self._steps(begun.tips, begun.told.backup))

    def _note(self, begun: "_Begun") -> None:
        """Write down what was begun: from now on it is to be brought to its end."""
        with self._marker.open("r+b") as file:
            file.write(msgspec.json.encode(begun))
            file.truncate()
            file.flush()
            os.fsync(file.fileno())

    async def _refuse(self, values: set[str], others: list[Past]) -> None:
        current = await self._auditor.files()
        left = sorted(
            path for path, raw in current.items() if any(value.encode(errors="replace") in raw for value in values)
        )
        if left:
            raise Failed(
                f"what is to be taken out is still in use: {', '.join(map(printable, left))}",
                meaning="nothing was changed",
                advice="gitopsctl secrets migrate  # then a sync, then this again",
            )
        if others:
            raise Failed(
                "these are secrets as a whole, or have one in their name or encoded, where it cannot be replaced: "
                f"{', '.join(sorted({each.shown for each in others}))}",
                meaning="nothing was changed",
                advice="git filter-repo --invert-paths --path FILE  # after a backup; then this again",
            )
        if await self._git.rev_parse("refs/stash"):
            raise Failed(
                "there are stashes, which have a history of their own",
                meaning="nothing was changed: a rewrite would lose them",
                advice=f"git -C {self._source} stash list  # commit what you need of them, git stash drop the others",
            )
        if (await self._git.run("cannot look at the files", "status", "--porcelain", "-z")).stdout:
            raise Failed(
                "there are edits that no commit has",
                meaning="nothing was changed: a rewrite would lose them",
                advice="gitopsctl sync, then this again",
            )

    async def _backup(self) -> Path:
        folder = Path(self._account.home) / BACKUPS
        folder.mkdir(parents=True, exist_ok=True)
        bundle = folder / f"dotfiles-{time.strftime('%Y%m%dT%H%M%S')}.bundle"
        await self._git.run("cannot make a backup", "bundle", "create", "--quiet", str(bundle), "--all", timeout=600)
        bundle.chmod(0o600)
        await self._git.run("the backup is not sound", "bundle", "verify", "--quiet", str(bundle), timeout=600)
        return bundle

    async def _tips(self) -> dict[str, str]:
        arguments = ("for-each-ref", "--format=%(refname) %(objectname)")
        rows = (await self._git.run("cannot read the refs", *arguments)).stdout.splitlines()
        tips = dict(row.split(" ", 1) for row in rows if not row.startswith(_DROPPED))
        if (self._source / ".jj").is_dir() or f"refs/heads/{self._trunk}" not in tips:
            # What the working copy stands on need not be on a branch.
            head = (await self._git.rev_parse("HEAD")) or ""
            if head and head not in tips.values():
                await self._git.run("cannot set a branch", "branch", "gitopsd-scrubbed", head)
                tips["refs/heads/gitopsd-scrubbed"] = head
        return tips

    async def _forget(self, *, jj: bool) -> None:
        """Drop what still leads to the old commits here, and make jj's side again from git's."""
        arguments = ("for-each-ref", "--format=option no-deref%0adelete %(refname)", *_DROPPED)
        gone = (await self._git.run("cannot read the refs", *arguments)).stdout
        await self._git.run("cannot drop refs", "update-ref", "--stdin", stdin=gone.encode())
        if jj:
            shutil.rmtree(self._source / ".jj", ignore_errors=True)
        tip = await self._git.rev_parse(f"refs/heads/{self._trunk}") or "HEAD"
        await self._git.run("cannot go to the new history", "checkout", "--quiet", "--detach", tip)
        if jj:
            await self._jj.init()
        await self._git.run("cannot drop old commits", "reflog", "expire", "--expire=now", "--all")
        await self._git.run("cannot drop old commits", "gc", "--quiet", "--prune=now", timeout=600)

    def _steps(self, old: dict[str, str], backup: str) -> tuple[str, ...]:
        source, trunk = self._source, self._trunk
        before = old.get(f"refs/heads/{trunk}", "")
        others = sorted({*old} - {f"refs/heads/{trunk}", "refs/heads/gitopsd-scrubbed"})
        also = [f"# Of these, what the remote has too: {' '.join(map(printable, others))}"] if others else []
        return (
            "# 1. Rotate everything that is listed above, where it is used. This cannot be skipped.",
            "# 2. On every host, so that none publishes the old history again:",
            'sudo gitopsctl suspend --reason "a secret is taken out"',
            "# 3. Here:",
            f"git -C {source} push --force-with-lease={trunk}:{before} origin {trunk}",
            *also,
            "# 4. On every other host, once what it had parked or not published is settled:",
            f"mv {source} {source}.before-scrub && gitopsctl dotfiles init",
            "# On every host, after that:",
            "sudo gitopsctl resume",
            "# 5. The forge may keep old commits, forks and caches: ask it to collect its garbage.",
            f"# 6. When all is well: rm {backup}; it has the secrets.",
        )


def _decoded(note: bytes) -> _Begun | None:
    """What was begun; None if nothing was changed yet, or if the note was not written whole, which comes before that."""
    try:
        return msgspec.json.decode(note, type=_Begun)
    except msgspec.DecodeError:
        return None
