"""Conflicts that stand parked beside the trunk, of all hosts, and how a person settles one from any of them.

A resolution is a merge commit of the trunk, with what the person chose, and of the parked version, so that the trunk's
history has that version: this is how its host learns of it (`settled`), and how no edit is lost from the history.

- If nothing else stands on the bookmark, the second parent is the parked commit itself.
- Else that commit must not get below the trunk: its other files would count as settled. The second parent is a
  commit with this file alone, and the parked change shrinks at the next sync of its host.

A bookmark is written by its host only, so an offline host, two settlers at once, and a host that parks more at the same
moment cannot undo each other: the push of the trunk goes through for one, and the other is told to look again.
"""

from collections.abc import Callable, Collection, Iterable
from pathlib import PurePosixPath

import msgspec

from gitopsd.errors import Cause, Failed, Transient
from gitopsd.repo.engine import Engine
from gitopsd.repo.reconcile import both_sides
from gitopsd.repo.settled import settled_at
from gitopsd.repo.trees import EMPTY_TREE, Change, Entry

BOOKMARKS = "gitopsd/"  # begins their names
_TEXT_LIMIT = 256 * 1024  # bytes of a file that are shown or merged line by line
_SYMLINK = "120000"
_PLAIN = "100644"


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a file.

    Args:
        path: its name in the repository; empty if there is no such file in this version.
        mode: git's, in octal digits.
        blob: the object that holds its content.
        size: in bytes.
        content: its text; None if it is binary or too long to be merged by lines.

    """

    path: str = ""
    mode: str = ""
    blob: str = ""
    size: int = 0
    content: bytes | None = b""


class Standoff(msgspec.Struct, frozen=True, kw_only=True):
    """One file that a host has parked beside the trunk.

    Args:
        host: whose it is.
        bookmark: where it stands on the remote.
        commit: the parked commit.
        trunk: the trunk that it was compared with.
        paths: the file in the repository, with all names that belong to it (a changed mode renames a file).
        settled: it conflicts no more; its host takes that in at its next sync.
        base: what both come from.
        theirs: the trunk's version.
        ours: the parked version.

    """

    host: str
    bookmark: str
    commit: str
    trunk: str
    paths: tuple[str, ...]
    settled: bool
    base: Side
    theirs: Side
    ours: Side

    @property
    def name(self) -> str:
        """The one of its names that says most: the parked version's."""
        return self.ours.path or self.theirs.path or self.paths[0]

    @property
    def mergeable(self) -> bool:
        """Whether the sides can be merged line by line: texts, and plain files."""
        sides = (self.base, self.theirs, self.ours)
        return all(side.content is not None and side.mode != _SYMLINK for side in sides)


class _Bookmark(msgspec.Struct, frozen=True, kw_only=True):
    """A parked change as its host's next sync would see it.

    Args:
        commit: the parked commit.
        origin: where it leaves the trunk; empty if it never was on it.
        forks: the commit that each path's edit comes from.
        groups: its paths, those together that belong to one file.
        conflicts: the paths that would stay parked.

    """

    commit: str
    origin: str
    forks: dict[str, str]
    groups: tuple[frozenset[str], ...]
    conflicts: frozenset[str]


class Resolver:
    """Lists and settles what is parked in one repository.

    Args:
        engine: of this host.
        trunk: the branch that all hosts share.
        same_file: see `reconcile`.

    """

    def __init__(self, engine: Engine, *, trunk: str, same_file: Callable[[str], str]) -> None:
        self._engine = engine
        self._trees = engine.trees
        self._trunk = trunk
        self._same_file = same_file

    async def standoffs(self, of: Collection[str] | None = None) -> tuple[Standoff, ...]:
        """Everything that is parked on the remote, as last fetched, by file and host; or only what these bookmarks have."""
        heads = await self._engine.heads()
        trunk = heads.get(self._trunk, "")
        found = []
        for name, commit in heads.items():
            if name.startswith(BOOKMARKS) and trunk and (of is None or name in of):
                parked = await self._bookmark(trunk, commit)
                found += [await self._standoff(name, trunk, parked, group) for group in parked.groups]
        return tuple(sorted(found, key=lambda each: (each.paths, each.host)))

    async def settle(self, standoff: Standoff, chosen: "str | bytes", message: str) -> str:
        """Put a resolution on the trunk and publish it; returns its commit. Moves no working copy.

        Args:
            standoff: as `standoffs` tells it.
            chosen: `ours`, `theirs`, `union`, or what the file is to hold.
            message: of the commit.

        Raises:
            Transient: trunk or bookmark are not what `standoff` says any more, or the remote cannot be reached.
            Failed: the file cannot be merged by lines.

        """
        trunk, group = standoff.trunk, frozenset(standoff.paths)
        heads = await self._engine.heads()
        if (heads.get(self._trunk), heads.get(standoff.bookmark)) != (trunk, standoff.commit):
            raise Transient(
                f"{self._trunk} or {standoff.bookmark} moved meanwhile",
                cause=Cause.remote_moved,
                meaning="nothing was changed",
                advice="look again, then ask again: `gitopsctl dotfiles conflicts`",
            )
        entries = await self._entries(standoff, chosen)
        tree = await self._trees.replace(await self._trees.tree(trunk), {path: entries.get(path) for path in group})
        side = await self._second_parent(await self._bookmark(trunk, standoff.commit), group, standoff.bookmark)
        commit = await self._trees.commit(tree, (trunk, side), message)
        await self._engine.advance(trunk, commit)
        return commit

    async def marked(self, standoff: Standoff) -> bytes:
        """The file with both sides between conflict markers, for an editor."""
        labels = (self._trunk, "what both come from", standoff.bookmark)
        return await self._lines(standoff, labels)

    async def _bookmark(self, trunk: str, commit: str) -> _Bookmark:
        origin = await self._trees.merge_base(trunk, commit)
        changes, others, _ = await both_sides(
            self._trees, fork=origin or EMPTY_TREE, theirs=trunk, ours=commit, same_file=self._same_file
        )
        forks = dict.fromkeys((path for change in changes for path in (change.path, change.origin)), origin)
        forks |= await settled_at(self._trees, trunk, commit, forks, self._same_file)
        fork = await self._trees.tree(origin)
        for source in set(forks.values()):
            paths = [path for path, found in forks.items() if found == source]
            entries = await self._trees.entries(source or EMPTY_TREE, paths)
            fork = await self._trees.replace(fork, {path: entries.get(path) for path in paths})
        own = await self._trees.entries(commit, forks)
        ours = await self._trees.replace(fork, {path: own.get(path) for path in forks})
        theirs = await self._trees.tree(trunk)
        merged = await self._engine.merge(fork=fork, theirs=theirs, ours=ours)
        groups = _groups(forks, (*changes, *others), self._same_file)
        return _Bookmark(commit=commit, origin=origin, forks=forks, groups=groups, conflicts=merged.conflicts)

    async def _standoff(self, name: str, trunk: str, parked: _Bookmark, group: frozenset[str]) -> Standoff:
        bases = [await self._side(parked.forks.get(path, parked.origin), {path}) for path in sorted(group)]
        return Standoff(
            host=name.removeprefix(BOOKMARKS),
            bookmark=name,
            commit=parked.commit,
            trunk=trunk,
            paths=tuple(sorted(group)),
            settled=not group & parked.conflicts,
            base=next((side for side in bases if side.path), Side()),
            theirs=await self._side(trunk, group),
            ours=await self._side(parked.commit, group),
        )

    async def _side(self, commit: str, group: Collection[str]) -> Side:
        entries = await self._trees.entries(commit or EMPTY_TREE, group)
        if not entries:
            return Side()
        path, entry = min(entries.items())
        size = await self._trees.size(entry.blob)
        content = None
        if size <= _TEXT_LIMIT and len(entries) == 1 and _is_text(read := await self._trees.content(entry.blob)):
            content = read
        return Side(path=path, mode=entry.mode, blob=entry.blob, size=size, content=content)

    async def _entries(self, standoff: Standoff, chosen: str | bytes) -> dict[str, Entry]:
        if chosen == "ours":
            return await self._trees.entries(standoff.commit, standoff.paths)
        if chosen == "theirs":
            return await self._trees.entries(standoff.trunk, standoff.paths)
        base, theirs, ours = standoff.base, standoff.theirs, standoff.ours
        content = await self._lines(standoff) if isinstance(chosen, str) else chosen
        # A name or a mode that one side changed is what that side is about.
        path = theirs.path if theirs.path and (theirs.path != base.path or not ours.path) else ours.path
        mode = theirs.mode if theirs.mode and (theirs.mode != base.mode or not ours.mode) else ours.mode
        return {path or standoff.paths[0]: Entry(mode or _PLAIN, await self._trees.store(content))}

    async def _lines(self, standoff: Standoff, labels: tuple[str, ...] = ()) -> bytes:
        if not standoff.mergeable:
            raise Failed(
                f"{standoff.paths[0]} cannot be merged line by line: it is no text, or too long",
                meaning="nothing was changed",
                advice="take one side: ours or theirs",
            )
        blobs = [side.blob or await self._trees.store(b"") for side in (standoff.base, standoff.theirs, standoff.ours)]
        return await self._trees.merge_lines(*blobs, labels=labels)

    async def _second_parent(self, parked: _Bookmark, group: frozenset[str], bookmark: str) -> str:
        if not parked.conflicts - group:
            return parked.commit
        own = await self._trees.entries(parked.commit, group)
        before = await self._trees.tree(parked.origin)
        tree = await self._trees.replace(before, {path: own.get(path) for path in group})
        listed = "\n".join(sorted(path.encode(errors="replace").decode() for path in group))
        parents = (parked.origin,) if parked.origin else ()
        return await self._trees.commit(tree, parents, f"A part of {bookmark} that is settled\n\n{listed}\n")


def _groups(
    paths: Iterable[str], changes: Iterable[Change], same_file: Callable[[str], str]
) -> tuple[frozenset[str], ...]:
    """The paths, those together that are names of one file or were renamed to each other, with the trunk's names."""
    links = [{change.path, change.origin} for change in changes]
    known = set(paths).union(*links)
    by_file: dict[str, set[str]] = {}
    for path in known:
        by_file.setdefault(same_file(path), set()).add(path)
    links += by_file.values()
    # A file on one side and a directory on the other are one question.
    links += [{path, str(above)} for path in known for above in PurePosixPath(path).parents if str(above) in known]
    groups: list[frozenset[str]] = []
    left = set(paths)
    while left:
        group = {min(left)}
        while grown := set().union(*(link for link in links if link & group)) - group:
            group |= grown
        groups.append(frozenset(group))
        left -= group
    return tuple(groups)


def _is_text(content: bytes) -> bool:
    if b"\0" in content:
        return False
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
