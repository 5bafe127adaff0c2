"""Secrets in old commits: named, to be rotated, and taken out of this host's history. Nothing is ever pushed here.

What was once published has to be rotated: a rewritten history takes it out of sight and not out of the world.
"""

import base64
import json
import shutil
import time
from pathlib import Path

import msgspec

from gitopsd.errors import Failed
from gitopsd.secrets.audit import Auditor
from gitopsd.secrets.migrate import plaintext_place
from gitopsd.tools.filter_repo import FilterRepo
from gitopsd.tools.git import Git, printable
from gitopsd.tools.jj import Jj
from gitopsd.tools.process import Account, Processes
from gitopsd.types import Finding

BACKUPS = ".local/state/gitopsd/backups"  # below the home
_WHOLE_FILE = ("not-encrypted", "key-store")


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

    async def scrub(self, *, rewrite: bool) -> Scrubbed:
        """Name what is in old commits; with `rewrite`, take it out.

        Raises:
            Failed: it is in the files of today as well, or there are edits that no commit has; nothing was changed.

        """
        found = await self._auditor.past()
        if not found:
            return Scrubbed(findings=(), subjects={})
        gate = self._auditor.gate
        findings = tuple(
            [
                Finding(
                    path=printable(path),
                    line=hit.line,
                    rule=hit.rule,
                    fingerprint=await gate.fingerprint(hit.value),
                    commit=commit,
                )
                for hit, path, commit in found
            ]
        )
        subjects = {each.commit: await self._git.subject(each.commit) for each in findings if each.commit}
        if not rewrite:
            return Scrubbed(findings=findings, subjects=subjects)
        values = {hit.value for hit, _, _ in found if hit.rule not in _WHOLE_FILE}
        await self._refuse(values, [path for hit, path, _ in found if hit.rule in _WHOLE_FILE])
        backup = await self._backup()
        old = await self._tips()
        with plaintext_place(self._account) as place:
            listed = place / "values.json"
            listed.touch(mode=0o600)
            longest = sorted((value.encode(errors="replace") for value in values), key=len, reverse=True)
            listed.write_text(json.dumps([base64.b64encode(value).decode() for value in longest]), encoding="utf-8")
            await self._filter.replace(str(self._source), listed, sorted(old))
        await self._forget()
        return Scrubbed(findings=findings, subjects=subjects, backup=str(backup), steps=self._steps(old, backup))

    async def _refuse(self, values: set[str], whole: list[str]) -> None:
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
        if whole:
            raise Failed(
                f"these are secrets as a whole: {', '.join(map(printable, sorted(set(whole))))}",
                meaning="nothing was changed",
                advice="git filter-repo --invert-paths --path FILE  # after a backup",
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
        arguments = ("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags")
        rows = (await self._git.run("cannot read the refs", *arguments)).stdout.splitlines()
        tips = dict(row.split(" ", 1) for row in rows)
        if self._jj_there() or f"refs/heads/{self._trunk}" not in tips:
            # What the working copy stands on need not be on a branch.
            head = (await self._git.rev_parse("HEAD")) or ""
            if head and head not in tips.values():
                await self._git.run("cannot set a branch", "branch", "gitopsd-scrubbed", head)
                tips["refs/heads/gitopsd-scrubbed"] = head
        return tips

    def _jj_there(self) -> bool:
        return (self._source / ".jj").is_dir()

    async def _forget(self) -> None:
        """Drop what still leads to the old commits here, and make jj's side again from git's."""
        # The remote's branches too: jj would import what they lead to, and the first push brings them back.
        places = ("refs/jj", "refs/gitopsd", "refs/original", "refs/replace", "refs/remotes/origin")
        arguments = ("for-each-ref", "--format=option no-deref%0adelete %(refname)", *places)
        gone = (await self._git.run("cannot read the refs", *arguments)).stdout
        await self._git.run("cannot drop refs", "update-ref", "--stdin", stdin=gone.encode())
        there = self._jj_there()
        if there:
            shutil.rmtree(self._source / ".jj")
        tip = await self._git.rev_parse(f"refs/heads/{self._trunk}") or "HEAD"
        await self._git.run("cannot go to the new history", "checkout", "--quiet", "--detach", tip)
        if there:
            await self._jj.init()
        await self._git.run("cannot drop old commits", "reflog", "expire", "--expire=now", "--all")
        await self._git.run("cannot drop old commits", "gc", "--quiet", "--prune=now", timeout=600)

    def _steps(self, old: dict[str, str], backup: Path) -> tuple[str, ...]:
        source, trunk = self._source, self._trunk
        before = old.get(f"refs/heads/{trunk}", "")
        return (
            "# 1. Rotate everything that is listed above, where it is used. This cannot be skipped.",
            "# 2. On every host, so that none publishes the old history again:",
            'sudo gitopsctl suspend --reason "a secret is taken out"',
            "# 3. Here:",
            f"git -C {source} push --force-with-lease={trunk}:{before} origin {trunk}",
            "# 4. On every other host, once what it had parked or not published is settled:",
            f"mv {source} {source}.before-scrub && gitopsctl dotfiles init",
            "# On every host, after that:",
            "sudo gitopsctl resume",
            "# 5. The forge may keep old commits, forks and caches: ask it to collect its garbage.",
            f"# 6. When all is well: rm {backup}; it has the secrets.",
        )
