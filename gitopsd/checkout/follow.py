"""A clean checkout is fast-forwarded to the trunk; any other stays as it is, and status says why."""

from collections.abc import Awaitable
from pathlib import Path

import msgspec

from gitopsd.checkout.owner import owner_of
from gitopsd.errors import Failed, GitopsdError
from gitopsd.tools.git import Git, printable
from gitopsd.tools.jj import Jj
from gitopsd.tools.process import Account, CommandFailed, Processes
from gitopsd.types import Notice, PersonFacts, SyncWord

_REMOTE = "origin"


class Following:
    """`ports.Checkout` of one directory, by git, or by jj where there is a jj repository.

    Args:
        processes: starts the programs.
        directory: the checkout.
        branch: the trunk.
        ssh_key: see `Git`.

    """

    def __init__(self, processes: Processes, directory: str, *, branch: str, ssh_key: str = "") -> None:
        self._processes = processes
        self._directory = directory
        self._branch = branch
        self._ssh_key = ssh_key

    async def apply(self, facts: PersonFacts) -> PersonFacts:
        """See `ports.Checkout`."""
        try:
            owner = owner_of(Path(self._directory))
        except Failed as error:
            notice = Notice(what=error.message, advice=error.advice)
            return msgspec.structs.replace(facts, word=SyncWord.not_initialized, notices=(notice,))
        facts = msgspec.structs.replace(facts, user=owner.name)
        follow = self._follow_with_jj if has_jj(self._directory) else self._follow_with_git
        left = await follow(owner, facts.trunk)
        return msgspec.structs.replace(facts, notices=() if left is None else (left,))

    async def _follow_with_git(self, owner: Account, trunk: str) -> Notice | None:
        git = self._git(owner)
        arguments = ("status", "--porcelain=v2", "--branch", "-z", "--untracked-files=no")
        told = await git.run("cannot look at the checkout", "--no-optional-locks", *arguments)
        lines = told.stdout.split("\0")
        found = {line.split(" ", 2)[1]: line.split(" ", 2)[2] for line in lines if line.startswith("# branch.")}
        head = found.get("branch.oid", "")
        if head == trunk:
            return None
        if found.get("branch.head") != self._branch:
            where = printable(found.get("branch.head", ""))
            return self._left(f"is on {where}, not on {self._branch}", f"git switch {self._branch}")
        if any(line and not line.startswith("#") for line in lines):
            return self._left("has changes that are not committed", "git stash && git pull --ff-only && git stash pop")
        if problem := await self._behind(git, head, trunk):
            return problem
        # git itself looks again before it writes, and an ignored file in the way is somebody's, too.
        options = ("--ff-only", "--no-overwrite-ignore", "--no-autostash", "--quiet")
        return await self._moved(git.run("cannot fast-forward", "merge", *options, trunk))

    async def _follow_with_jj(self, owner: Account, trunk: str) -> Notice | None:
        jj = Jj(self._processes, self._directory, owner, f"{self._branch}@{_REMOTE}")
        here = await jj.working_copy()
        if here.parents == (trunk,):
            return None
        if not here.empty or here.description or len(here.parents) != 1:
            return self._left("has changes that are not published", f"jj rebase -d {self._branch}@{_REMOTE}")
        if problem := await self._behind(self._git(owner), here.parents[0], trunk):
            return problem
        return await self._moved(jj.new(trunk))

    async def _behind(self, git: Git, head: str, trunk: str) -> Notice | None:
        """Bring the trunk to the checkout's repository; says what keeps `head` from being moved there."""
        if await git.rev_parse(trunk) is None:
            tracking = f"+refs/heads/{self._branch}:refs/remotes/{_REMOTE}/{self._branch}"
            try:
                await git.fetch(_REMOTE, tracking)
            except GitopsdError as error:
                return self._left(f"cannot be brought forward: {error.message}", f"git fetch {_REMOTE}")
        if await git.rev_parse(trunk) is None:
            advice = f"git remote set-url {_REMOTE} the repository that config.repo_url names"
            return self._left(f"has another {_REMOTE}: {trunk[:12]} is not there", advice)
        if await git.is_ancestor(head, trunk):
            return None
        if await git.is_ancestor(trunk, head):
            return self._left(f"has commits that {_REMOTE} does not have", f"git push {_REMOTE} {self._branch}")
        return self._left(f"and {_REMOTE} have gone different ways", "git pull --rebase")

    async def _moved(self, moving: Awaitable[object]) -> Notice | None:
        try:
            await moving
        except CommandFailed as error:
            reason = error.result.tail().splitlines() or [error.message]
            return self._left(f"cannot be brought forward: {printable(reason[0])}", "git pull --ff-only")
        return None

    def _left(self, why: str, advice: str) -> Notice:
        return Notice(what=f"{self._directory} {why}: it is left as it is", advice=f"cd {self._directory} && {advice}")

    def _git(self, owner: Account) -> Git:
        return Git(self._processes, self._directory, owner, ssh_key=self._ssh_key)


def has_jj(directory: str) -> bool:
    """Whether jj manages the working copy."""
    return Path(directory, ".jj").is_dir()
