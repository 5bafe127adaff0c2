"""A working-copy commit in conflict, as git can take it: what jj settled goes on, what it did not is named.

jj keeps a conflict as several trees, and writes them into git's commit as directories `.jjconflict-side-N` and
`.jjconflict-base-N` (jj's technical documentation, "Git compatibility"; seen with jj 0.46). Every path that is settled
is the same in all of them. So the tree of the first side, with each path in conflict replaced, is what the commit would
be. A file in conflict becomes a text with both sides between git's markers, so that it is parked like any other file
with markers that nobody settled (`markers`). That text is made of the sides alone, sorted: jj names and orders them
anew whenever it moves a conflict, and that must not look like an edit. What is no text has no such form: it stays in
the working copy, `apart`.
"""

import msgspec

from gitopsd.errors import Failed
from gitopsd.repo.trees import Entry, Trees
from gitopsd.tools.jj import Jj, WorkingCopy

NOISE = (".jjconflict-", "JJ-CONFLICT-README")  # what the names of jj's own entries begin with
_SIDE, _BASE = ".jjconflict-side-", ".jjconflict-base-"
_FILES = ("100644", "100755")
_MARKER, _LONGER = 7, 15  # characters


class Unsettled:
    """Makes working copies in conflict fit for git.

    Args:
        jj: says which paths are in conflict.
        trees: the objects of the same repository.

    """

    def __init__(self, jj: Jj, trees: Trees) -> None:
        self._jj = jj
        self._trees = trees
        self._known: dict[tuple[str, str], WorkingCopy] = {}  # the last one

    async def fit(self, here: WorkingCopy, base: str) -> WorkingCopy:
        """The same working copy, with a commit that has no conflict in git's eyes.

        Args:
            here: as jj has it, in conflict.
            base: the commit that has the paths which stay apart as they are without the conflict; empty for none.

        Raises:
            Failed: git does not have the conflict in the form that is known.

        """
        if (known := self._known.get((here.commit, base))) is None:
            known = await self._fit(here, base)
            self._known = {(here.commit, base): known}
        # What the person wrote about it is no part of git's tree.
        return msgspec.structs.replace(known, description=here.description, change=here.change)

    async def _fit(self, here: WorkingCopy, base: str) -> WorkingCopy:
        paths = await self._jj.conflicts(here.commit)
        terms = await self._trees.names(here.commit)
        sides = sorted(name for name in terms if name.startswith(_SIDE))
        bases = sorted(name for name in terms if name.startswith(_BASE))
        if not paths or len(sides) != len(bases) + 1:
            raise Failed(
                "a conflict is being resolved in the working copy, and git has it in an unknown form",
                meaning="nothing is published before it is resolved; all of it stays where it is",
                advice="jj resolve --list",
            )
        tree = await self._trees.tree_at(here.commit, sides[0])
        texts, apart = dict[str, Entry](), set[str]()
        found = {name: await self._trees.under(f"{here.commit}:{name}", paths) for name in (*sides, *bases)}
        for path in paths:
            text = await self._text([found[name] for name in sides], [found[name] for name in bases], path)
            if text is None:
                apart.add(path)
            else:
                texts[path] = text
        gone = [each for entries in found.values() for each in entries]
        stays = await self._trees.under(base, apart) if base and apart else {}
        tree = await self._trees.replace(tree, {**dict.fromkeys(gone), **stays, **texts})
        commit = await self._trees.commit(
            tree, here.parents, "what is in the working copy, with its conflicts as text\n"
        )
        return msgspec.structs.replace(
            here,
            commit=commit,
            raw=here.commit,
            empty=len(here.parents) == 1 and tree == await self._trees.tree(here.parents[0]),
            unsettled=frozenset(texts),
            apart=frozenset(apart),
        )

    async def _text(self, sides: list[dict[str, Entry]], bases: list[dict[str, Entry]], path: str) -> Entry | None:
        """A file in conflict as text between markers; None if it cannot be one."""
        below = f"{path}/"
        if any(name.startswith(below) for entries in (*sides, *bases) for name in entries):
            return None  # a directory on one side
        there = [entry for entries in (*sides, *bases) if (entry := entries.get(path)) is not None]
        if any(entry.mode not in _FILES for entry in there):
            return None
        nothing = await self._trees.store(b"")
        merged, *others = sorted(entries[path].blob if path in entries else nothing for entries in sides)
        origins = sorted(entries[path].blob if path in entries else nothing for entries in bases)
        contents = await self._trees.contents({merged, *others, *origins})
        marker = _LONGER if any(b"<" * _MARKER in content for content in contents.values()) else _MARKER
        for base, other in zip(origins, others, strict=True):
            text = await self._trees.merge_file(base, merged, other, marker=marker)
            if text is None:
                return None  # binary
            merged, marker = await self._trees.store(text), marker + _LONGER
        return Entry(min(entry.mode for entry in there), merged)
