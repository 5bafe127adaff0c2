"""Conflict markers that jj or git wrote into a file, and that somebody committed as if they were its content.

jj writes them into the working copy when it merges two operations of the same moment; a `git commit` in that moment
takes them for text. The criterion, narrow on purpose, since a file may be *about* conflicts:

- Only a complete set counts: the opening line, at least one line between the sides, and the closing line, all at the
  beginning of a line, in this order and with markers of one length (seven characters or more). jj names its sets
  (`conflict 1 of 2`, `conflict 1 of 2 ends`); git's have a line of `=` alone between `<` and `>`.
- Only a new one counts: the file has more sets than the version that it comes from, and than the trunk's. What was
  published once, with sets or without, is never stopped for them again.
"""

import re
from collections.abc import Iterable

from gitopsd.repo.trees import Change, Entry, Trees

_LEAST = 7  # characters of a marker: git's and jj's default; jj takes more if the file has such lines already
_MARK = re.compile(rb"(?P<mark>([<>=|+%-])\2{6,})(?: (?P<label>.*))?")
_NAMED = re.compile(rb"conflict \d+ of \d+")


def complete_sets(content: bytes) -> int:
    """How many complete sets of conflict markers a text has."""
    found, opening, label, between = 0, b"", b"", False
    for line in content.split(b"\n"):
        if (match := _MARK.fullmatch(line.removesuffix(b"\r"))) is None:
            continue
        mark, said = match["mark"], match["label"]
        if mark[:1] == b"<":
            opening, label, between = mark, said or b"", False
        elif not opening or len(mark) != len(opening):
            continue
        elif mark[:1] == b">":
            named = _NAMED.fullmatch(label.lower()) is not None
            ends = not named or (said or b"").lower() == label.lower() + b" ends"
            found += between and ends
            opening = b""
        else:
            between = between or _separates(mark, said, named=_NAMED.fullmatch(label.lower()) is not None)
    return found


def _separates(mark: bytes, label: bytes | None, *, named: bool) -> bool:
    """Whether a line stands between two sides: `=` alone is git's, one with a name of a side is jj's."""
    return mark[:1] in b"+%-" if named else mark[:1] == b"=" and label is None


async def newly_marked(trees: Trees, *, fork: str, theirs: str, ours: str, edits: Iterable[Change]) -> frozenset[str]:
    """Find the paths of our tree that have more conflicts between markers than what they come from.

    Args:
        trees: where the trees are.
        fork: what both come from, as a tree.
        theirs: the trunk's tree.
        ours: this host's tree.
        edits: what ours changes in `fork`.

    """
    origins = {edit.path: edit.origin for edit in edits if edit.status != "D"}
    # Hardly ever is there one: a single command says so.
    if not (suspects := await trees.with_line(ours, ">" * _LEAST, origins)):
        return frozenset()
    own = await trees.entries(ours, suspects)
    known = await trees.entries(theirs, suspects)
    before = await trees.entries(fork, {origins[path] for path in suspects})
    blobs = {entry.blob for tree in (own, known, before) for entry in tree.values()}
    sets = {blob: complete_sets(content) for blob, content in (await trees.contents(blobs)).items()}

    def count(entry: Entry | None) -> int:
        return sets[entry.blob] if entry else 0

    return frozenset(
        path for path in suspects if count(own[path]) > max(count(known.get(path)), count(before.get(origins[path])))
    )
