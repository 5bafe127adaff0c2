"""Merge what one host changed with the trunk, file by file: what conflicts is set aside, the rest goes on."""

from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

import msgspec

from gitopsd.repo.markers import newly_marked
from gitopsd.repo.trees import Change, Trees
from gitopsd.repo.union import NO_UNION, Union, United


class Reconciled(msgspec.Struct, frozen=True, kw_only=True):
    """The two trees that come out of a merge.

    Args:
        trunk: the trunk with everything of ours that merges, and nothing of what conflicts.
        home: the same, with our own version of each path that conflicts.
        conflicts: those paths.
        marked: those of them that conflict since they have conflict markers in them, see `markers`.

    """

    trunk: str
    home: str
    conflicts: frozenset[str]
    marked: frozenset[str] = frozenset()


async def reconcile(
    trees: Trees,
    *,
    fork: str,
    theirs: str,
    ours: str,
    same_file: Callable[[str], str],
    union: Union = NO_UNION,
    unsettled: frozenset[str] = frozenset(),
) -> Reconciled:
    """Merge two trees that come from `fork`.

    A path that conflicts is taken out of ours (with the other name of a renamed file) and the rest is merged again,
    until nothing conflicts: so one conflict never holds back another file, and half of a rename never travels alone.
    Before that, what can be merged as a union is: then it counts as an edit of the trunk's version. A file of ours with
    new conflict markers in it is a conflict that nobody has settled yet, wherever it arose.

    Args:
        trees: where the trees are.
        fork: what both come from, as a tree.
        theirs: the trunk's tree.
        ours: this host's tree.
        same_file: two paths for which it returns the same are names of one file, and must not both exist.
        union: merges line files.
        unsettled: the paths of ours that are conflicts which nobody has settled yet, whatever they look like.

    """
    edits, others, follow = await both_sides(trees, fork=fork, theirs=theirs, ours=ours, same_file=same_file)
    groups = _Groups(edits, same_file)
    marked = await newly_marked(trees, fork=fork, theirs=theirs, ours=ours, edits=edits)
    marked |= unsettled & {edit.path for edit in edits if edit.status != "D"}
    parked: frozenset[str] = frozenset()
    united: dict[str, United] = {}
    base, kept = fork, ours
    while True:
        merge = await trees.merge(base, kept, theirs, renames=follow)
        conflicts = merge.conflicts or marked - parked or await _clashes(trees, merge.tree, edits, parked, same_file)
        if not conflicts:
            break
        paths = conflicts - united.keys() - parked - marked
        if found := await union.merge(trees, fork=fork, theirs=theirs, ours=ours, paths=paths):
            united |= found
            base = await trees.replace(base, {path: file.theirs for path, file in found.items()})
            kept = await trees.replace(kept, {path: file.merged for path, file in found.items()})
            continue
        if not parked:
            groups.add(others)
        # Should a conflict have a name that nobody knows, all our edits step back.
        parked = groups.grow(parked, conflicts) or parked | groups.edited
        original = await trees.entries(fork, parked)
        stay = {path: file for path, file in united.items() if path not in parked}
        back = {path: original.get(path) for path in parked}
        base = await trees.replace(fork, {path: file.theirs for path, file in stay.items()})
        kept = await trees.replace(ours, {path: file.merged for path, file in stay.items()} | back)
    own = await trees.entries(ours, parked)
    home = await trees.replace(merge.tree, {path: own.get(path) for path in parked})
    return Reconciled(trunk=merge.tree, home=home, conflicts=parked, marked=marked)


async def both_sides(
    trees: Trees, *, fork: str, theirs: str, ours: str, same_file: Callable[[str], str]
) -> tuple[tuple[Change, ...], tuple[Change, ...], bool]:
    """What each side changed: ours, the trunk's, and whether renames can be followed.

    Git pairs what is gone with what is new by content alone. Where files are the same it takes one for another, and an
    edit of the one would be merged into the other: then no rename is followed, and what meets an edit conflicts.

    """
    edits, others = await trees.changes(fork, ours), await trees.changes(fork, theirs)
    if not (_crossed(edits, same_file) or _crossed(others, same_file)):
        return edits, others, True
    return (
        await trees.changes(fork, ours, renames=False),
        await trees.changes(fork, theirs, renames=False),
        False,
    )


def _crossed(changes: Iterable[Change], same_file: Callable[[str], str]) -> bool:
    """Whether a file is said to be renamed to another one although it is there itself under a new name."""
    changes = tuple(changes)
    there = {same_file(change.path) for change in changes if change.status != "D"}
    moved = (change for change in changes if change.status[0] in "RC" and change.path != change.origin)
    return any(same_file(each.origin) != same_file(each.path) and same_file(each.origin) in there for each in moved)


class _Groups:
    """Which paths must travel together."""

    def __init__(self, edits: Iterable[Change], same_file: Callable[[str], str]) -> None:
        self.edited = frozenset(path for edit in edits for path in (edit.path, edit.origin))
        self._same_file = same_file
        self._pairs: list[frozenset[str]] = []
        self._known: set[str] = set()
        self.add(edits)

    def add(self, changes: Iterable[Change]) -> None:
        """Take in one side's changes."""
        for change in changes:
            self._pairs.append(frozenset((change.path, change.origin)))
            self._known |= {change.path, change.origin}

    def grow(self, parked: frozenset[str], conflicts: frozenset[str]) -> frozenset[str] | None:
        """The parked paths with those in conflict and all that belongs to them; None if no edit of ours is among it."""
        grown = parked | (conflicts & self._known) | self._crossing(conflicts - self._known)
        while True:
            files = {self._same_file(path) for path in grown}
            more = grown.union(*(pair for pair in self._pairs if pair & grown))
            more |= {path for path in self._known if self._same_file(path) in files}
            if more == grown:
                break
            grown = more
        return grown if (grown - parked) & self.edited else None

    def _crossing(self, names: frozenset[str]) -> frozenset[str]:
        """The paths of a file on one side and a directory on the other: git names the file `path~side`."""
        files = {name.rpartition("~")[0] for name in names}
        return frozenset(path for path in self._known if files & {path, *map(str, PurePosixPath(path).parents)})


async def _clashes(
    trees: Trees, tree: str, edits: Iterable[Change], parked: frozenset[str], same_file: Callable[[str], str]
) -> frozenset[str]:
    """Paths of ours that merged cleanly, and yet are a second name of a file that the tree has already."""
    added = {edit.path for edit in edits if edit.status in "ARC"} - parked
    if not added:
        return frozenset()
    names: dict[str, set[str]] = {}
    for path in await trees.paths(tree):
        names.setdefault(same_file(path), set()).add(path)
    doubled = (names.get(same_file(path), set()) for path in added)
    return frozenset(path for paths in doubled if len(paths) > 1 for path in paths)
