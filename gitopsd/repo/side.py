"""Our side of a merge: what this host has, and what it comes from."""

from collections.abc import Callable, Mapping

import msgspec

from gitopsd.repo.memory import Memory
from gitopsd.repo.settled import settled_at
from gitopsd.repo.standing import Refs, Standing
from gitopsd.repo.trees import EMPTY_TREE, Trees
from gitopsd.tools.git import Git
from gitopsd.tools.jj import Jj, WorkingCopy
from gitopsd.tools.worktree import WorkTree


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Our side of a merge.

    Args:
        base: the newest trunk commit below the working copy; empty if there is none.
        fork: the tree that our edits come from.
        ours: our tree.
        found: the working copy's tree, which may lack our parked versions.
        forks: the commits that single paths come from instead of `base`.
        old_parked: the paths of the parked change that is still open.
        below: the commits that the person made and nobody published, to go below ours; empty to leave them out.
        rewritten: the trunk does not contain any more what it did.
        listed: the message of what is parked names the files.

    """

    base: str
    fork: str
    ours: str
    found: str
    forks: dict[str, str]
    old_parked: frozenset[str] = frozenset()
    below: tuple[str, ...] = ()
    rewritten: bool = False
    listed: bool = True


class OurSide:
    """Finds it.

    Args:
        git: of the repository.
        trees: its objects.
        jj: the working copy.
        refs: of the repository.
        trunk: the branch that all hosts share.
        same_file: see `reconcile`.

    """

    def __init__(
        self, git: Git, trees: Trees, jj: Jj | WorkTree, refs: Refs, *, trunk: str, same_file: Callable[[str], str]
    ) -> None:
        self._git = git
        self._trees = trees
        self._jj = jj
        self._refs = refs
        self._trunk = trunk
        self._same_file = same_file

    async def line(self, standing: Standing, here: WorkingCopy) -> Line:
        """Find this host's side: what we have, and what it comes from."""
        trunk, memory = standing.remote.get(self._trunk, ""), standing.memory
        base = trunk if trunk in here.parents else await self._trees.merge_base(trunk, here.commit)
        rewritten = await self._rewritten(standing)
        if rewritten and await self._stands_on(here, memory.trunk):
            base = memory.trunk  # what was taken out of the trunk is no edit of ours, to be put in again
        base_tree = await self._trees.tree(base)
        found = ours = await self._trees.tree(here.commit)
        at_home = await self._stands_on(here, memory.head)
        forks, open_paths = memory.fork_commits(), frozenset[str]()
        if parked := self._refs.own_parked(standing):
            origin = await self._trees.merge_base(trunk, parked)
            if origin == parked:
                # The trunk has taken it in: whatever it made of it is the answer.
                forks |= dict.fromkeys(memory.conflict_paths(), parked)
            else:
                changes = await self._trees.changes(origin or EMPTY_TREE, parked)
                open_paths = frozenset(path for change in changes for path in (change.path, change.origin))
                forks = dict.fromkeys(open_paths, origin) | forks
                waiting = {path: forks.get(path, origin) for path in open_paths | memory.conflict_paths()}
                forks |= await settled_at(self._trees, trunk, parked, waiting, self._same_file)
                if not at_home:
                    left = await self._left_behind(here, memory, base_tree, open_paths)
                    ours = await self._put_back(ours, base_tree, parked, left)
        fork = base_tree
        if not (at_home or rewritten) and await self._merged_before(here, memory, trunk):
            fork = await self._trees.tree(memory.captured)
        fork = await self.forked(fork, forks)
        flat = rewritten or (at_home and memory.synthetic)
        return Line(
            base=base,
            fork=fork,
            ours=ours,
            found=found,
            forks=forks,
            old_parked=open_paths,
            below=() if flat else await self._below(base, here),
            rewritten=rewritten,
        )

    async def forked(self, fork: str, forks: Mapping[str, str]) -> str:
        """A tree with some paths as other commits have them."""
        for commit in set(forks.values()):
            paths = [path for path, origin in forks.items() if origin == commit]
            entries = await self._trees.entries(commit or EMPTY_TREE, paths)
            fork = await self._trees.replace(fork, {path: entries.get(path) for path in paths})
        return fork

    async def _merged_before(self, here: WorkingCopy, memory: Memory, trunk: str) -> bool:
        """Whether the working copy still stands where the last merge found it: then only what is new is an edit.

        It could not move, since its files were edited at that moment, or we died before it did.
        """
        return memory.pushed and await self._refs.contains(trunk, memory.trunk) and await self._goes_on(here, memory)

    async def _goes_on(self, here: WorkingCopy, memory: Memory) -> bool:
        """Whether the working copy is what the last merge was made from, edited further."""
        if not memory.captured:
            return False
        return here.parents == await self._trees.parents(memory.captured) or await self._stands_on(
            here, memory.captured
        )

    async def _left_behind(
        self, here: WorkingCopy, memory: Memory, base_tree: str, paths: frozenset[str]
    ) -> frozenset[str]:
        """Those of the parked paths that the working copy cannot have: all, unless it had our version and goes on."""
        if not await self._goes_on(here, memory):
            return paths
        had, then = await self._trees.entries(memory.captured, paths), await self._trees.entries(base_tree, paths)
        return frozenset(path for path in paths if had.get(path) == then.get(path))

    async def _rewritten(self, standing: Standing) -> bool:
        """Whether the trunk does not contain any more what it contained at the last sync."""
        trunk, before = standing.remote.get(self._trunk, ""), standing.memory.trunk
        return bool(trunk and before) and trunk != before and not await self._git.is_ancestor(before, trunk)

    async def _stands_on(self, here: WorkingCopy, commit: str) -> bool:
        return bool(commit) and (commit in here.parents or await self._git.is_ancestor(commit, here.commit))

    async def _put_back(self, ours: str, base_tree: str, parked: str, paths: frozenset[str]) -> str:
        """Our tree with the parked versions that the working copy left behind (a fresh clone; a person's `jj new`)."""
        now, then = await self._trees.entries(ours, paths), await self._trees.entries(base_tree, paths)
        own = await self._trees.entries(parked, paths)
        return await self._trees.replace(ours, {p: own.get(p) for p in paths if now.get(p) == then.get(p)})

    async def _below(self, base: str, here: WorkingCopy) -> tuple[str, ...]:
        """The person's own commits between the trunk and the working copy, if they can be published as they are."""
        if here.parents in ((base,), ()) or here.conflict:
            return ()
        revset = f"::{here.commit} ~ ::{base}" if base else f"::{here.commit}"
        conflict = isinstance(self._jj, Jj) and await self._jj.any_conflict(revset)
        return () if conflict else here.parents
