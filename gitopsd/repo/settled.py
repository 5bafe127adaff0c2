"""Which files of a parked change the trunk has taken in.

The rule, the same on every host: a parked file is settled once the trunk's history has the parked version of it.
Whatever the trunk made of it then was made by somebody who had both, and is the answer. It needs no message between
hosts: whoever settles a file puts the parked version below the trunk, and its host finds it there, whenever it comes.
"""

from collections.abc import Callable, Collection, Mapping

from gitopsd.repo.trees import Entry, Trees


async def settled_at(
    trees: Trees, trunk: str, parked: str, forks: Mapping[str, str], same_file: Callable[[str], str]
) -> dict[str, str]:
    """Find the settled files of a parked change.

    Args:
        trees: where the commits are.
        trunk: the trunk's commit; empty if there is none.
        parked: the commit on the bookmark. It may have grown since a file was settled: the newest version counts that
            the trunk knows, and what was edited after it is an edit of that version.
        forks: the commit that the parked edit comes from, by path.
        same_file: see `reconcile`.

    Returns:
        By path, a commit of the trunk's history that has the parked version.

    """
    found: dict[str, str] = {}
    for fork in set(forks.values()):
        paths = {path for path, commit in forks.items() if commit == fork}
        files = {same_file(path) for path in paths}
        names = {path for path in forks if same_file(path) in files}
        own = await _versions(trees, parked, fork, names, same_file)
        if not own:
            continue
        known = {(path, entry): commit for commit, path, entry in await _versions(trees, trunk, fork, names, same_file)}
        for _, path, entry in own:
            if path in paths and path not in found and (path, entry) in known:
                found[path] = known[path, entry]
    return found


async def own_versions_at(
    trees: Trees, trunk: str, tips: Collection[str], base: str, paths: Collection[str]
) -> dict[str, str]:
    """Find the paths of which the trunk has taken in a version that our present one was made from.

    Two jj processes at one moment, or a `git commit` at a bad one, can leave the working copy on an older commit than
    what was published from it: then its edits would conflict with their own earlier state.

    Args:
        trees: where the commits are.
        trunk: the trunk's commit.
        tips: the working copy's commit, and those that it was before on the same parents.
        base: the newest trunk commit below it.
        paths: which ones.

    Returns:
        By path, the commit of the trunk's history that has the newest such version.

    """
    if not trunk or not (own := await trees.history(tips, base, paths)):
        return {}
    # That a file is gone on both sides says nothing about where the one that is there came from.
    taken = await trees.history([trunk], base, paths)
    known = {(path, entry): commit for commit, path, entry in taken if entry is not None}
    found: dict[str, str] = {}
    for _, path, entry in own:
        if entry is not None and path not in found and (path, entry) in known:
            found[path] = known[path, entry]
    return found


async def _versions(
    trees: Trees, tip: str, since: str, paths: Collection[str], same_file: Callable[[str], str]
) -> tuple[tuple[str, str, Entry | None], ...]:
    """`Trees.history` without the old names of renamed files: that one is gone on both sides settles nothing."""
    found = await trees.history([tip] if tip else [], since, paths)
    written = {(commit, same_file(path)) for commit, path, entry in found if entry is not None}
    return tuple(row for row in found if row[2] is not None or (row[0], same_file(row[1])) not in written)
