"""A repository that a power cut, a kill or a full disk left damaged: put right where nothing can be lost by it.

The rule: nothing is deleted. What is in the way is moved to `.git/gitopsd-damaged-N`, where neither git nor jj looks
(beside the files it would be captured), and the person is told: by that sync, and by each one after it (`kept`) until
the person has removed it. Nobody else does: what is damaged cannot be shown to be all somewhere else. What only a
person can decide raises `Failed` with the command.

- `halted` and `before` look at a few files, and are cheap enough for every sync.
- `after` looks at everything that may be the reason of a command that failed. It asks git and the files, and hardly
  ever reads what a program said: of jj, only that it ended with 255, its status for errors that are not the caller's.
"""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

from gitopsd.errors import Cause, Failed, GitopsdError, Transient
from gitopsd.repo import memory as remembered
from gitopsd.repo.aside import Aside
from gitopsd.repo.rebuild import Rebuild
from gitopsd.repo.traces import KEPT, WITHHELD, Traces
from gitopsd.tools.git import NETWORK, Git
from gitopsd.tools.jj import Jj
from gitopsd.tools.process import Account, CommandFailed, Processes
from gitopsd.types import Notice

_OURS = ("git", "jj")  # whose failures may be the repository's
LOCK_AGE = 15 * 60.0  # seconds
_INTERNAL = (255, 101)  # jj's exit statuses for an error that is not the caller's, and for a panic
_FATAL = 128  # git's
_ELSEWHERE = re.compile(r"\(os error (?:5|13|24|28|30|122)\)")  # EIO, EACCES, EMFILE, ENOSPC, EROFS, EDQUOT


class Repair:
    """Repairs one colocated repository, as the person whose it is.

    Args:
        processes: starts the programs.
        directory: the working copy.
        account: whose it is.
        trunk: the branch that all hosts share.

    """

    def __init__(self, processes: Processes, directory: str, account: Account, *, trunk: str) -> None:
        self._directory = directory
        self._account = account
        self._git = Git(processes, directory, account)
        self._traces = Traces(Path(directory, ".git"))
        self._jj = Jj(processes, directory, account, f"{trunk}@origin")
        self._aside = Aside(processes, directory, account)
        self._rebuild = Rebuild(self._git, self._jj, self._aside, directory, trunk=trunk)

    def possible(self) -> bool:
        """Whether there is a repository to repair."""
        return self._aside.root.is_dir()

    def halted(self) -> Notice | None:
        """Say that the person is in the middle of a git command; nothing may be touched before it ends."""
        if (rewritten := self.rewritten()) is not None:
            return rewritten
        if (waiting := self._traces.waiting()) is None:
            return None
        what, command = waiting
        return Notice(
            what=f"a git {what} in {self._directory} is not finished: nothing is captured, published or applied",
            advice=f"cd {self._directory} && {command}  # or finish it",
        )

    def rewritten(self) -> Notice | None:
        """Say that the history is being rewritten: whatever is fetched or published meanwhile brings the old one back."""
        if not self._traces.is_rewritten():
            return None
        return Notice(
            what=f"secrets are taken out of the history of {self._directory}, and that has not come to its end: nothing is "
            "captured, published or applied",
            advice="gitopsctl secrets scrub --rewrite  # it goes on from there, or says that it still runs",
        )

    def kept(self) -> tuple[Notice, ...]:
        """Name what is kept for the person, with the commands that show and remove it."""
        places, refs = self._traces.kept()
        git, found = f"git -C {self._directory}", []
        for place in places:
            path = f"{self._directory}/.git/{place}"
            what = f"what a repair took out of the way is in {path} until you remove it"
            found.append(Notice(what=what, advice=f"ls -R {path}; rm -r {path}"))
        if self._traces.has_kept():
            path = f"{self._directory}/.git/{KEPT}"
            what = (
                f"versions of yours that were held back for a secret, and changed elsewhere, are in {path} until you "
            )
            found.append(Notice(what=f"{what}remove them", advice=f"ls {path}; rm -r {path}"))
        for ref in refs:
            show, what = "log -p", "commits that only jj knew when it was damaged are kept"
            if ref.startswith(WITHHELD):
                show, what = "show", "an edit that is not published, since it holds what looks like a secret, is kept"
            what = f"{what} as {ref} until you remove it"
            found.append(Notice(what=what, advice=f"{git} {show} {ref}; {git} update-ref -d {ref}"))
        return tuple(found)

    async def before(self) -> tuple[Notice, ...]:
        """Repair what would make git deny that there is a repository, and what a repair that was killed left.

        Raises:
            Failed: only a person can.

        """
        notices = []
        if not self._traces.head_is_sound():
            notices.append(await self._head())
        if self._rebuild.unfinished() or self._rebuild.forgotten():
            notices.append(await self._rebuild.run())
        return tuple(notices)

    async def after(self, error: GitopsdError) -> tuple[Notice, ...]:
        """Repair what may have made a command fail; nothing if there is nothing to repair.

        Raises:
            Failed: only a person can.
            Transient: the remote is needed, and cannot be reached.

        """
        if isinstance(error, Transient) and error.cause is not Cause.lock_held:
            return ()
        if isinstance(error, CommandFailed) and error.result.argv[0] not in _OURS:
            return ()
        if isinstance(error, Transient):
            # A ref that cannot be read cannot be locked either, and git says no more than that.
            return await self._locks() or await self._broken()
        await self._configuration(error)
        internal = isinstance(error, CommandFailed) and error.result.status in (*_INTERNAL, _FATAL)
        notices = [*await self._packed(), *await self._broken(), *await self._objects(every=internal)]
        notices += [*await self._memory(), *await self._index()]
        if notices or not (isinstance(error, CommandFailed) and error.result.argv[0] == "jj"):
            return tuple(notices)
        # If the disk or its rights are at fault, making things anew would fail too.
        if error.result.status not in _INTERNAL or _ELSEWHERE.search(error.result.stderr):
            return ()
        await self._fails_again(error)
        return (await self._rebuild.run(),)

    async def _fails_again(self, error: CommandFailed) -> None:
        """Make sure that jj did not only stumble over what another jj was writing at that moment."""
        try:
            await self._jj.working_copy()
        except CommandFailed:
            return
        raise Transient(f"{error.message}; it works now", cause=Cause.lock_held)

    async def _configuration(self, error: GitopsdError) -> None:
        arguments = ("config", "--local", "--list")
        result = await self._git.run("cannot read the configuration", *arguments, fine=(0, 1, _FATAL))
        if result.status == _FATAL:
            raise Failed(
                error.message,
                meaning=f"{self._directory}/.git/config cannot be read; nothing was touched",
                advice=f"git config --file {self._directory}/.git/config --edit",
            )

    async def _locks(self) -> tuple[Notice, ...]:
        old = self._traces.old_locks(self._account.uid, LOCK_AGE)
        if not old:
            return ()
        place = await self._aside.keep(old)
        return (Notice(what=f"a lock that nobody holds any more is out of the way: {_listed(old)} is in {place}"),)

    async def _head(self) -> Notice:
        """Point `HEAD` to where it pointed by its log: jj has it at the commit that the working copy stands on."""
        candidates = self._traces.earlier("HEAD")
        if not candidates:
            raise Failed(
                f"{self._directory}/.git/HEAD is damaged, and there is no log of it",
                meaning="git does not know this repository any more; nothing was touched",
                advice=f"printf 'ref: refs/heads/main\\n' > {self._directory}/.git/HEAD  # or the branch that it was",
            )
        moved = [name for name in ("HEAD",) if self._traces.text(name) is not None]
        place = await self._aside.keep(moved) if moved else ""
        for commit in candidates:
            await self._aside.write("HEAD", f"{commit}\n")
            if await self._exists(commit):
                break
        kept = f" (the damaged one is in {place})" if place else ""
        return Notice(what=f"HEAD of {self._directory} was damaged; it is {commit[:12]} again, as its log says{kept}")

    async def _packed(self) -> tuple[Notice, ...]:
        whole, sound = self._traces.packed_refs()
        if sound:
            return ()
        place = await self._aside.keep(["packed-refs"])
        await self._aside.write("packed-refs", whole)
        return (Notice(what=f"packed-refs was damaged; what is whole of it was kept, the damaged one is in {place}"),)

    async def _broken(self) -> tuple[Notice, ...]:
        """Refs that hold nothing. The remote's come again with the next fetch."""
        if not (broken := self._traces.broken_refs()):
            return ()
        place = await self._aside.keep(broken)
        notice = Notice(what=f"refs were damaged: {_listed(broken)} is in {place}")
        return (notice, *await self._again(broken))

    async def _drop(self) -> tuple[str, ...]:
        """Take away the refs that name objects which do not exist: git refuses to fetch while there are any."""
        if lost := await self._lost():
            lines = "".join(f"option no-deref\ndelete {ref}\n" for ref in lost).encode()
            await self._git.run("cannot drop refs", "update-ref", "--stdin", stdin=lines)
        return lost

    async def _lost(self) -> tuple[str, ...]:
        """The refs that name objects which do not exist."""
        named = await self._git.run("cannot read the refs", "for-each-ref", "--format=%(objectname) %(refname)")
        pairs = [line.split(" ", 1) for line in named.stdout.splitlines()]
        asked = "".join(f"{commit}\n" for commit, _ in pairs).encode()
        arguments = ("cat-file", "--batch-check=%(objecttype)")
        kinds = (await self._git.run("cannot look up commits", *arguments, stdin=asked)).stdout.splitlines()
        return tuple(ref for (_, ref), kind in zip(pairs, kinds, strict=True) if kind.endswith("missing"))

    async def _again(self, refs: Sequence[str]) -> tuple[Notice, ...]:
        """Point local branches to the last commit of their log that exists; drop a memory that may be an old one."""
        notices = []
        for ref in refs:
            if ref == remembered.REF:
                await self._git.run(f"cannot drop {ref}", "update-ref", "-d", ref)
            for commit in self._traces.earlier(ref) if ref.startswith("refs/heads/") else ():
                if await self._exists(commit):
                    await self._git.update_ref(ref, commit)
                    notices.append(Notice(what=f"{ref} is {commit[:12]} again, as its log says"))
                    break
        return tuple(notices)

    async def _memory(self) -> tuple[Notice, ...]:
        found = await self._git.run("cannot read the refs", "for-each-ref", "--format=%(contents)", remembered.REF)
        if not found.stdout.strip():
            return ()
        try:
            remembered.decode(found.stdout)
        except Failed:
            await self._git.run(f"cannot drop {remembered.REF}", "update-ref", "-d", remembered.REF)
            return (Notice(what=f"{remembered.REF} was damaged; it is left out, and what it told is found out again"),)
        return ()

    async def _objects(self, *, every: bool) -> tuple[Notice, ...]:
        """Objects that are missing: fetch everything again, with which every published one comes back."""
        complete = await self._complete() and not await self._lost()
        if complete and not every:
            return ()
        # A damaged object hides the good one that a fetch brings.
        bad = await asyncio.to_thread(self._traces.bad_objects)
        if complete and not bad:
            return ()
        notices = []
        if bad:
            place = await self._aside.keep(bad)
            notices.append(Notice(what=f"{len(bad)} objects of {self._directory} were damaged; they are in {place}"))
        if lost := await self._drop():
            notices.append(Notice(what=f"refs named commits that do not exist any more: {_listed(lost)}"))
        refspec = "+refs/heads/*:refs/remotes/origin/*"
        arguments = ("fetch", "--refetch", "--no-tags", "--no-write-fetch-head", "--no-auto-gc", "--quiet")
        await self._git.run("cannot fetch again", *arguments, "--", "origin", refspec, timeout=NETWORK)
        notices += await self._again(lost)
        if not await self._complete():
            raise Failed(
                f"objects of {self._directory} are missing, and the remote does not have them",
                meaning="the working copy and the home are as they were; nothing else was touched",
                advice=f"git -C {self._directory} fsck --connectivity-only  # names them; or move it away, clone again",
            )
        notices.append(Notice(what="everything that is published came again from the remote"))
        return tuple(notices)

    async def _index(self) -> tuple[Notice, ...]:
        if self._traces.index_is_sound():
            return ()
        place = await self._aside.keep(["index"])
        await self._git.run("cannot make the index again", "read-tree", "HEAD")
        return (Notice(what=f"git's index was damaged and is made again; the damaged one is in {place}"),)

    async def _exists(self, commit: str) -> bool:
        result = await self._git.run("cannot look up a commit", "cat-file", "-e", f"{commit}^{{}}", fine=(0, 1, 128))
        return result.status == 0

    async def _complete(self) -> bool:
        """Whether everything that the branches lead to is there (git-rev-list(1), `--quiet`)."""
        arguments = ("rev-list", "--objects", "--quiet", "HEAD", "--branches", "--remotes=origin")
        result = await self._git.run("cannot walk the history", *arguments, fine=(0, 128), timeout=NETWORK)
        return result.status == 0


def _listed(names: Sequence[str]) -> str:
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")
