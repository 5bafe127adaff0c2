"""What a push would publish, looked at by the gate: every version of every file that the remote does not have yet.

It does not matter how a version got there: by a capture, by a commit that a person made weeks ago, by a merge.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from gitopsd.ports import Gate
from gitopsd.repo.trees import EMPTY_TREE, Trees
from gitopsd.tools.git import Git
from gitopsd.types import Candidate, Finding

MESSAGE = "(commit message)"  # stands for the path of what is in no file


class Vet:
    """Looks at commits before they are published.

    Args:
        git: runs in the repository.
        trees: its objects.
        gate: decides.
        remote: the remote, whose branches as last seen are published.

    """

    def __init__(self, git: Git, trees: Trees, gate: Gate, remote: str) -> None:
        self._git = git
        self._trees = trees
        self._gate = gate
        self._remote = remote
        self._passed: set[tuple[str, str]] = set()  # of path and blob

    async def look(self, commits: Iterable[str], trunk: str) -> Mapping[str, tuple[Finding, ...]]:
        """Look at what these commits would bring to the remote; returns what was found by path.

        Args:
            commits: to be published; empty names are left out.
            trunk: the commit that has the published version of each file; empty if there is none.

        """
        tips = [commit for commit in commits if commit]
        if not tips:
            return {}
        versions = await self._versions(tips) - self._passed
        published = await self._published(trunk or EMPTY_TREE, {path for path, _ in versions})
        contents = await self._trees.contents({blob for _, blob in versions})
        candidates = [
            Candidate(
                path=path, content=contents[blob], published=published.get(path, b""), is_new=path not in published
            )
            for path, blob in sorted(versions)
            if published.get(path) != contents[blob]  # a commit that takes a published file over brings nothing
        ]
        found = dict(await self._gate.check(candidates))
        self._passed |= {version for version in versions if version[0] not in found}
        if (text := await self._messages(tips)) and (
            said := await self._gate.check([Candidate(path=MESSAGE, content=text, is_new=False)])
        ):
            found |= said
        return found

    async def _versions(self, tips: list[str]) -> set[tuple[str, str]]:
        span = (*tips, "--not", f"--remotes={self._remote}")
        listed = (await self._git.run("cannot list what is new", "rev-list", "--objects", *span)).stdout
        asked = listed.encode(errors="surrogateescape")
        if not asked:
            return set()
        form = "--batch-check=%(objecttype) %(objectname) %(rest)"
        answers = (await self._git.run("cannot list what is new", "cat-file", form, stdin=asked)).stdout
        rows = (line.split(" ", 2) for line in answers.split("\n"))
        return {(row[2], row[1]) for row in rows if len(row) == 3 and row[0] == "blob"} | await self._named(span)

    async def _named(self, span: Sequence[str]) -> set[tuple[str, str]]:
        """What has a new name: git lists an object once, under one of its names, and not at all if the remote has it.

        A merge is asked for what it has from no side; what it has from one is in the commits of that side.
        """
        form = ("-c", "log.showRoot=true", "log", "--format=", "--raw", "-z", "-c", "--no-abbrev", "--no-renames")
        arguments = (*form, "--diff-filter=A", *span)
        listed = (await self._git.run("cannot list what is new", *arguments)).stdout
        fields = iter(listed.split("\0"))
        found = set()
        for row in fields:
            if meta := row.strip("\n"):
                path, words = next(fields), meta.split(" ")
                # One colon, one mode and one object for each parent, then those of the commit itself.
                parents = words[0].count(":")
                if not words[parents].startswith("16"):  # a submodule is no object of ours
                    found.add((path, words[2 * parents + 1]))
        return found

    async def _published(self, trunk: str, paths: Collection[str]) -> dict[str, bytes]:
        entries = await self._trees.entries(trunk, paths)
        contents = await self._trees.contents({entry.blob for entry in entries.values() if entry.mode != "160000"})
        return {path: contents[entry.blob] for path, entry in entries.items() if entry.blob in contents}

    async def _messages(self, tips: list[str]) -> bytes:
        arguments = ("log", "--format=%B", *tips, "--not", f"--remotes={self._remote}")
        return (await self._git.run("cannot read what is new", *arguments)).stdout.encode(errors="surrogateescape")
