"""What a merge decides, as objects that nobody refers to yet: the trunk's next commit, and what is parked."""

from collections.abc import Callable, Collection, Mapping

import msgspec

from gitopsd.errors import Failed
from gitopsd.repo.reconcile import Reconciled, reconcile
from gitopsd.repo.settled import own_versions_at
from gitopsd.repo.side import Line, OurSide
from gitopsd.repo.standing import OWNER, Refs, Standing
from gitopsd.repo.trees import Trees
from gitopsd.repo.union import Union
from gitopsd.repo.vet import MESSAGE, Vet
from gitopsd.tools.jj import Jj, WorkingCopy
from gitopsd.tools.worktree import WorkTree
from gitopsd.types import Finding


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a merge decided; all its objects exist.

    Args:
        trunk: the trunk's next commit.
        parked: this host's bookmark, or empty to clear it.
        head: the commit that the working copy belongs on.
        ours: the tree of the working copy that it was made from.
        forks: of the parked paths.
        marked: the parked paths that have conflict markers in them.

    """

    trunk: str
    parked: str
    head: str
    ours: str
    forks: dict[str, str]
    marked: frozenset[str]


class Planner:
    """Merges, and makes the commits.

    Args:
        trees: the repository's objects.
        jj: the working copy.
        refs: of the repository.
        side: finds what our edits come from.
        vet: keeps secrets out; None lets everything pass.
        trunk: the branch that all hosts share.
        bookmark: the branch that only this host writes.
        same_file: see `reconcile`.
        union: the files that never conflict.

    """

    def __init__(
        self,
        trees: Trees,
        jj: Jj | WorkTree,
        refs: Refs,
        side: OurSide,
        vet: Vet | None,
        *,
        trunk: str,
        bookmark: str,
        same_file: Callable[[str], str],
        union: Union,
    ) -> None:
        self._trees = trees
        self._jj = jj
        self._refs = refs
        self._side = side
        self._vet = vet
        self._trunk = trunk
        self._bookmark = bookmark
        self._same_file = same_file
        self._union = union

    async def merge(self, *, fork: str, theirs: str, ours: str, unsettled: frozenset[str] = frozenset()) -> Reconciled:
        """Merge a host's tree with the trunk's as every host does; see `reconcile`."""
        return await reconcile(
            self._trees,
            fork=fork,
            theirs=theirs,
            ours=ours,
            same_file=self._same_file,
            union=self._union,
            unsettled=unsettled,
        )

    async def fit(
        self, standing: Standing, here: WorkingCopy, line: Line, message: str
    ) -> tuple[Plan, tuple[Finding, ...], tuple[str, ...]]:
        """A plan that publishes no secret, what was found, and the paths that were left out of it for that."""
        description = here.description.strip()
        plan, trunk = (
            await self._plan(standing, here, line, description or message),
            standing.remote.get(self._trunk, ""),
        )
        if self._vet is None or not (found := await self._vet.look((plan.trunk, plan.parked), trunk)):
            return plan, (), ()
        # Commits of the person are not published as they are then: an older one may have what the newest has not.
        # Nor is what they say, if that is where it is: a name in the list of what is parked may hold one.
        line = msgspec.structs.replace(line, below=(), listed=MESSAGE not in found)
        message = message if MESSAGE in found else description or message
        plan, paths = await self._plan(standing, here, line, message), frozenset[str]()
        if newest := await self._vet.look((plan.trunk, plan.parked), trunk):
            paths = await self._belonging(line, newest.keys())
            before = await self._trees.entries(line.fork, paths)
            ours = await self._trees.replace(line.ours, {path: before.get(path) for path in paths})
            plan = await self._plan(standing, here, msgspec.structs.replace(line, ours=ours), message)
            if left := await self._vet.look((plan.trunk, plan.parked), trunk):
                raise holds_secret(left)
        return plan, tuple(finding for findings in found.values() for finding in findings), tuple(sorted(paths))

    async def _belonging(self, line: Line, paths: Collection[str]) -> frozenset[str]:
        """Those of these paths that we changed, with the other names of the same files."""
        changes = await self._trees.changes(line.fork, line.ours)
        grown, files = set(paths), set(map(self._same_file, paths))
        while True:
            more = {
                path
                for change in changes
                for path in (change.path, change.origin)
                if {change.path, change.origin} & grown or self._same_file(path) in files
            }
            if more <= grown:
                return frozenset(grown & {path for change in changes for path in (change.path, change.origin)})
            grown |= more
            files |= set(map(self._same_file, more))

    async def _plan(self, standing: Standing, here: WorkingCopy, line: Line, message: str) -> Plan:
        trunk = standing.remote.get(self._trunk, "")
        theirs = await self._trees.tree(trunk)
        merged = await self.merge(fork=line.fork, theirs=theirs, ours=line.ours, unsettled=here.unsettled)
        if (unsettled := merged.conflicts - merged.marked - line.forks.keys()) and line.base and not line.rewritten:
            tips = (here.commit, *(await self._jj.earlier(here) if isinstance(self._jj, Jj) else ()))
            if forks := await own_versions_at(self._trees, trunk, tips, line.base, unsettled):
                fork = await self._side.forked(line.fork, forks)
                line = msgspec.structs.replace(line, fork=fork, forks=line.forks | forks)
                merged = await self.merge(fork=fork, theirs=theirs, ours=line.ours, unsettled=here.unsettled)
        new_trunk = trunk
        if merged.trunk != theirs or not trunk:
            new_trunk = await self._next_trunk(trunk, merged, line, message)
        forks = {path: line.forks.get(path, line.base) for path in merged.conflicts}
        parked = await self._next_parked(standing, merged, line, message) if merged.conflicts else ""
        head = new_trunk
        if merged.home != merged.trunk:
            note = f"what {self._bookmark.removeprefix('gitopsd/')} holds while a change of it is parked\n"
            head = await self._trees.commit(merged.home, (new_trunk, parked), note)
        marked = merged.marked & merged.conflicts
        return Plan(trunk=new_trunk, parked=parked, head=head, ours=line.found, forks=forks, marked=marked)

    async def _next_trunk(self, trunk: str, merged: Reconciled, line: Line, message: str) -> str:
        # A commit of ours may be an ancestor of the trunk only if all of it is in the trunk: else the next merge, by
        # whomever, would take the missing part for something that was removed on purpose.
        below = () if merged.conflicts else line.below
        if not below:
            return await self._trees.commit(merged.trunk, (trunk,) if trunk else (), message)
        ahead = trunk == line.base
        if ahead and len(below) == 1 and await self._trees.tree(below[0]) == merged.trunk:
            return below[0]
        return await self._trees.commit(merged.trunk, below if ahead else (trunk, *below), message)

    async def _next_parked(self, standing: Standing, merged: Reconciled, line: Line, message: str) -> str:
        """The commit for this host's bookmark: the conflicting edits, on a trunk commit that is older than them all."""
        paths = merged.conflicts
        origin = line.base
        for commit in {line.forks[path] for path in paths if path in line.forks}:
            origin = await self._trees.merge_base(origin, commit)
        own = await self._trees.entries(line.ours, paths)
        tree, files = await self._trees.tree(origin), set(map(self._same_file, paths))
        # The older commit may know the file by another name.
        old_names = [path for path in await self._trees.paths(tree) if self._same_file(path) in files]
        tree = await self._trees.replace(tree, {**dict.fromkeys(old_names), **{path: own.get(path) for path in paths}})
        before = self._refs.own_parked(standing)
        grows = bool(line.old_parked) and line.old_parked <= paths
        if grows and await self._trees.tree(before) == tree:
            return before
        named = "\n".join(sorted(path.encode(errors="replace").decode() for path in paths)) if line.listed else "a file"
        text = f"{message}\n\nParked: conflicts with {self._trunk} in\n{named}\n\n{OWNER}{standing.memory.id}\n"
        parent = before if grows else origin
        return await self._trees.commit(tree, (parent,) if parent else (), text)


def holds_secret(found: Mapping[str, tuple[Finding, ...]]) -> Failed:
    """The error of something that may not be published.

    Args:
        found: by path.

    """
    places = ", ".join(f"{each.path}:{each.line} ({each.rule})" for findings in found.values() for each in findings)
    return Failed(
        f"it looks like a secret: {places}",
        meaning="nothing was published",
        advice="take it out; or, if it is none, gitopsctl secrets allow FINGERPRINT --reason TEXT",
    )
