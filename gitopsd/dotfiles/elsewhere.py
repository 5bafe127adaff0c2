"""What other hosts have parked beside the trunk, looked at again only where there is news.

To look at one bookmark takes some forty commands, and every host does it. So with many parked changes it must not be done
for all of them whenever the trunk has moved: only for those whose files it has touched.
"""

from pathlib import PurePosixPath

import msgspec

from gitopsd.dotfiles.outcome import as_parked
from gitopsd.repo.engine import Engine
from gitopsd.repo.resolve import BOOKMARKS, Resolver
from gitopsd.tools.chezmoi_names import same_target
from gitopsd.types import Parked


class _Found(msgspec.Struct, frozen=True, kw_only=True):
    """One file on a bookmark.

    Args:
        paths: all its names.
        parked: as it is told; None if it is settled.

    """

    paths: tuple[str, ...]
    parked: Parked | None


class Elsewhere:
    """What the last look found.

    Args:
        trunk: the branch that all hosts share.

    """

    def __init__(self, trunk: str) -> None:
        self._trunk = trunk
        self._refs: dict[str, str] = {}
        self._found: dict[str, tuple[_Found, ...]] = {}

    async def look(self, engine: Engine, resolver: Resolver, heads: dict[str, str]) -> tuple[Parked, ...]:
        """What is parked by other hosts, by file and host.

        Args:
            engine: of this host.
            resolver: likewise.
            heads: the remote's branches.

        """
        refs = {name: commit for name, commit in heads.items() if name != engine.bookmark}
        if refs != self._refs:
            again = await self._again(engine, refs)
            found: dict[str, tuple[_Found, ...]] = dict.fromkeys(again, ())
            for each in await resolver.standoffs(again):
                parked = None if each.settled else as_parked(each.name, each.bookmark, each.commit)
                found[each.bookmark] += (_Found(paths=each.paths, parked=parked),)
            self._found = {name: files for name, files in (self._found | found).items() if name in refs}
            self._refs = refs
        rows = ((each.paths, name, each.parked) for name, files in self._found.items() for each in files)
        return tuple(parked for _, _, parked in sorted(rows, key=lambda row: row[:2]) if parked is not None)

    async def _again(self, engine: Engine, refs: dict[str, str]) -> frozenset[str]:
        """The bookmarks that have moved, and those with a file that the trunk has touched since."""
        bookmarks = {name for name in refs if name.startswith(BOOKMARKS)}
        moved = frozenset(name for name in bookmarks if self._refs.get(name) != refs[name])
        before, now = self._refs.get(self._trunk, ""), refs.get(self._trunk, "")
        if before == now or moved == bookmarks:
            return moved
        if not (before and now and await engine.git.is_ancestor(before, now)):
            return frozenset(bookmarks)
        touched = frozenset(map(same_target, await engine.trees.touched(before, now)))
        above = touched.union(*map(_above, touched))
        return moved | frozenset(
            name
            for name, files in self._found.items()
            for each in files
            for target in map(same_target, each.paths)
            if name in bookmarks and (target in above or touched & _above(target))
        )


def _above(target: str) -> frozenset[str]:
    """The directories that a target is in: the trunk may have put a file in the place of one."""
    return frozenset(map(str, PurePosixPath(target).parents))
