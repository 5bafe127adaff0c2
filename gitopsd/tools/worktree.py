"""The work tree of a plain git repository, looked at and moved as jj does with a working copy.

What is in the files is a commit before anything is written over them. git's HEAD stays on its branch, so that for its
owner this is a repository like any other; only what they staged by hand is staged no more once the work tree has moved.
"""

from collections.abc import Awaitable, Callable

from gitopsd.errors import Failed
from gitopsd.tools.git import Git
from gitopsd.tools.jj import WorkingCopy
from gitopsd.tools.process import Account, CommandFailed, Processes

_QUICK = 30.0  # seconds
_CAPTURE = "what was in the files\n"


class WorkTree:
    """One work tree, with a branch checked out.

    Args:
        processes: starts the programs.
        git: runs in it, as its owner.
        directory: where it is.
        account: the owner.
        branch: what must be checked out for anything to happen; empty is anything, and then it can only be looked at.
        identity: gives the environment that names an author, in case git knows none.

    """

    def __init__(
        self,
        processes: Processes,
        git: Git,
        directory: str,
        account: Account,
        *,
        branch: str,
        identity: Callable[[], Awaitable[dict[str, str]]],
    ) -> None:
        self._processes = processes
        self._git = git
        self._account = account
        self._directory = directory
        self._branch = branch
        self._identity = identity
        # An index of our own: what the owner has staged is theirs.
        self._index = {"GIT_INDEX_FILE": f"{directory}/.git/gitopsd-snapshot"}

    async def working_copy(self) -> WorkingCopy:
        """Put what is in the files into a commit on top of HEAD; nothing points to it yet, and no file is written.

        Raises:
            Failed: something else is checked out, or there is no commit.

        """
        head = await self._head()
        listed = await self._git.run("cannot read the index", "ls-files", "--unmerged", "-z")
        if listed.stdout:
            return WorkingCopy(commit=head, change="", parents=(head,), conflict=True, empty=False, description="")
        # A copy of theirs, since it knows which files they keep to themselves (git-update-index(1), skip-worktree).
        await self._copy_index()
        await self._git.run("cannot look at the files", "add", "--all", env=self._index)
        tree = (await self._git.run("cannot look at the files", "write-tree", env=self._index)).stdout.strip()
        empty = tree == (await self._git.run("cannot read HEAD", "rev-parse", f"{head}^{{tree}}")).stdout.strip()
        commit = head if empty else await self._commit(tree, head)
        return WorkingCopy(commit=commit, change="", parents=(head,), conflict=False, empty=empty, description="")

    async def move(self, here: WorkingCopy, target: str) -> bool:
        """Bring branch, index and files from what `here` has to `target`; False if a file was edited meanwhile.

        A crash in between leaves the branch on the commit of `here`, which has all that is in the files.
        """
        (before,) = here.parents
        if await self._head() != before:
            return False
        if not here.empty:
            await self._git.run("cannot move the branch", "reset", "--quiet", "--mixed", here.commit)
        options = ("--quiet", "--no-overwrite-ignore", "--no-track", "-B", self._branch)
        try:
            await self._git.run("cannot move the work tree", "checkout", *options, target)
        except CommandFailed:  # it refuses before it writes anything
            await self._git.run("cannot move the branch back", "reset", "--quiet", "--mixed", before)
            return False
        return True

    async def _head(self) -> str:
        result = await self._git.run("cannot read HEAD", "symbolic-ref", "--quiet", "--short", "HEAD", fine=(0, 1))
        head = await self._git.rev_parse("HEAD")
        if head is None or (self._branch and result.stdout.strip() != self._branch):
            raise Failed(
                f"{self._directory} does not have {self._branch} checked out",
                meaning="nothing of it is published, and it is left as it is",
                advice=f"cd {self._directory} && git switch {self._branch}",
            )
        return head

    async def _copy_index(self) -> None:
        source, copy = f"{self._directory}/.git/index", self._index["GIT_INDEX_FILE"]
        # With its time: by that git knows which files it must read, since they changed in the moment that it was written.
        argv = ("cp", "--preserve=timestamps", "--no-target-directory", "--", source, copy)
        await self._processes.run(argv, timeout=_QUICK, account=self._account)

    async def _commit(self, tree: str, parent: str) -> str:
        arguments = ("commit-tree", "-p", parent, tree)
        result = await self._git.run("cannot commit", *arguments, stdin=_CAPTURE.encode(), env=await self._identity())
        return result.stdout.strip()
