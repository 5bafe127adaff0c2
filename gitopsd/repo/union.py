"""Union merges: of files that are lists of lines (histories, known hosts), both sides' lines are kept.

Nobody is asked for paths that match the configured patterns. Where git cannot merge, the lines in conflict of the
trunk come first, then those of ours that are not among them already: so merging again adds nothing, and every host
comes to the same file, since all of them merge with the one trunk.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence

import msgspec

from gitopsd.repo.trees import Entry, Trees

_FILES = ("100644", "100755")
_MARKER = 60  # characters of a conflict marker: no line of a file is taken for one
_OURS, _BETWEEN, _THEIRS = "<" * _MARKER, "=" * _MARKER, ">" * _MARKER
_WILD = re.compile(r"(?P<parents>(?:^|(?<=/))\*\*/)|(?P<all>\*\*)|(?P<some>\*)|(?P<one>\?)|(?P<set>\[[^]]+\])")


class United(msgspec.Struct, frozen=True, kw_only=True):
    """One file that was merged as a union.

    Args:
        theirs: as the trunk has it.
        merged: with our lines.

    """

    theirs: Entry
    merged: Entry


class Union:
    """Decides which paths are merged so, and merges them.

    Args:
        patterns: globs on whole repository paths: `*` and `?` stay within one name, `**` does not.
        no_lines: whether a path holds something else than lines, whatever the patterns say.

    """

    def __init__(self, patterns: Collection[str] = (), no_lines: Callable[[str], bool] = lambda _: False) -> None:
        self._no_lines = no_lines
        self._patterns = re.compile("|".join(map(_translate, patterns))) if patterns else None

    def matches(self, path: str) -> bool:
        """Whether a path is to be merged as a union."""
        fits = self._patterns is not None and self._patterns.fullmatch(path) is not None
        return fits and not self._no_lines(path)

    async def merge(
        self, trees: Trees, *, fork: str, theirs: str, ours: str, paths: Collection[str]
    ) -> dict[str, United]:
        """Merge these paths of two trees that come from `fork`.

        Those that do not match, that one side deleted, or that are no regular files of text are left out.
        """
        wanted = {path for path in paths if self.matches(path)}
        if not wanted:
            return {}
        old, left, right = [await trees.entries(tree, wanted) for tree in (fork, theirs, ours)]
        done = {}
        for path in sorted(wanted & left.keys() & right.keys()):
            entries = [left[path], right[path], *([old[path]] if path in old else [])]
            if any(entry.mode not in _FILES for entry in entries):
                continue
            base = old[path].blob if path in old else ""
            if (blob := await _unite(trees, base, left[path].blob, right[path].blob)) is not None:
                done[path] = United(theirs=left[path], merged=Entry(right[path].mode, blob))
        return done


NO_UNION = Union()


async def _unite(trees: Trees, base: str, theirs: str, ours: str) -> str | None:
    """The blob that holds the lines of both; None if one of them is no text."""
    marked = await trees.merge_file(base, theirs, ours, marker=_MARKER)
    return None if marked is None else await trees.store(unite(marked))


def unite(marked: bytes) -> bytes:
    """Settle each conflict between markers of `_MARKER` characters: first the upper lines, then what is new below."""
    out: list[bytes] = []
    upper: list[bytes] | None = None
    lower: list[bytes] | None = None
    for line in marked.splitlines(keepends=True):
        mark = line[: _MARKER + 1].rstrip().decode(errors="replace")
        if upper is None and mark == _OURS:
            upper = []
        elif upper is not None and lower is None and mark == _BETWEEN:
            lower = []
        elif upper is not None and lower is not None and mark == _THEIRS:
            out += [*upper, *_missing(lower, upper)]
            upper = lower = None
        elif lower is not None:
            lower.append(line)
        elif upper is not None:
            upper.append(line)
        else:
            out.append(line)
    return b"".join(out)


def _missing(lines: Sequence[bytes], there: Sequence[bytes]) -> list[bytes]:
    """The lines that are not in `there` already; one that stands here more often is added as often as it lacks."""
    have = Counter(there)
    new = []
    for line in lines:
        if have[line] > 0:
            have[line] -= 1
        else:
            new.append(line)
    return new


def _translate(pattern: str) -> str:
    """A glob as a regular expression."""
    out, end = "", 0
    for found in _WILD.finditer(pattern):
        out += re.escape(pattern[end : found.start()])
        match found.lastgroup:
            case "parents":
                out += "(?:.*/)?"
            case "all":
                out += ".*"
            case "some":
                out += "[^/]*"
            case "one":
                out += "[^/]"
            case _:
                inner = found.group()[1:-1].replace("\\", r"\\").replace("[", r"\[")
                out += f"[^{inner[1:]}]" if inner.startswith("!") and len(inner) > 1 else f"[{inner}]"
        end = found.end()
    return f"(?s:{out}{re.escape(pattern[end:])})"
