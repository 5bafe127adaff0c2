"""jj's half of a colocated repository, made again from git's.

A power cut can leave `.jj` without its newest operations (jj-vcs/jj#4423): then no jj command works any more. All
content is in git, though: what is published and what the person committed is reachable from `HEAD` and the branches,
and what only jj knew is kept by refs below `refs/jj/keep`. What was not yet in a commit is in the files, and the new
`.jj` takes it for edits on top of `HEAD`, which it was.

Steps, each of which can be repeated after a kill: keep what only jj knew under a ref of ours; move `.jj` away; take
back files that the power cut emptied; `jj git init --colocate`; move the old one to its last place.
"""

import os
import re
import stat
from pathlib import Path

from gitopsd.errors import GitopsdError
from gitopsd.repo.aside import Aside
from gitopsd.repo.traces import RESCUED
from gitopsd.repo.trees import EMPTY_TREE
from gitopsd.tools.git import Git, printable
from gitopsd.tools.jj import Jj
from gitopsd.types import Notice

_PLACE = "gitopsd-rebuilding"  # below .git, while a rebuild is under way
_CONFIG_ID = re.compile(r"[0-9a-f]{20}")
_ENTRY = re.compile(r"(?P<mode>100644|100755) blob (?P<blob>[0-9a-f]+) +(?P<size>\d+)\t(?P<path>.*)", re.DOTALL)


class Rebuild:
    """Makes `.jj` again.

    Args:
        git: runs in the repository.
        jj: likewise.
        aside: moves the old one away.
        directory: the working copy.
        trunk: the branch that all hosts share.

    """

    def __init__(self, git: Git, jj: Jj, aside: Aside, directory: str, *, trunk: str) -> None:
        self._git = git
        self._jj = jj
        self._aside = aside
        self._root = Path(directory)
        self._place = self._root / ".git" / _PLACE
        self._trunk = trunk

    def unfinished(self) -> bool:
        """Whether a rebuild was killed."""
        return (self._place / ".jj").is_dir()

    def forgotten(self) -> bool:
        """Whether jj would take the working copy for an empty one, and drop tracked files that are ignored now."""
        state = self._root / ".jj/working_copy"
        return state.is_dir() and not (state / "tree_state").exists()

    async def run(self) -> Notice:
        """Make `.jj` again; says what was done, and where everything is."""
        rescued = await self._rescue()
        new, old = self._root / ".jj", self._place / ".jj"
        if not self.unfinished():
            await self._aside.move(new, old)
        elif new.exists():
            await self._aside.move(new, self._place / f"half-{len(list(self._place.iterdir()))}")
        restored = await self._take_back(rescued)
        try:
            await self._jj.init()
        except GitopsdError:
            if not new.exists():
                await self._aside.move(old, new)
            raise
        await self._keep_settings(old, new)
        await self._follow_trunk()
        place = self._aside.free()
        await self._aside.move(self._place, place)
        what = f"jj's part of {self._root} (.jj) was damaged and is made again from git's; the old one is in .git/{place.name}"
        if restored:
            what += f"; files that were empty were taken back: {', '.join(map(printable, restored[:5]))}"
        advice = f"git -C {self._root} log -p {rescued}  # commits that only jj knew" if rescued else ""
        return Notice(what=what, advice=advice)

    async def _rescue(self) -> str:
        """Keep what only jj knew; returns the ref, empty if there was nothing."""
        kept = (
            await self._git.run("cannot read the refs", "for-each-ref", "--format=%(objectname)", "refs/jj/keep")
        ).stdout
        asked = [*kept.split(), "--not", "HEAD", "--branches", "--remotes", f"--glob={RESCUED}*"]
        lines = "".join(f"{line}\n" for line in asked).encode()
        arguments = ("rev-list", "--parents", "--ignore-missing", "--stdin")
        # What git cannot walk is nothing that could be kept.
        found = await self._git.run("cannot list what only jj knew", *arguments, stdin=lines, fine=(0, 128))
        commits = [line.split(" ") for line in found.stdout.splitlines()]
        below = {parent for _, *parents in commits for parent in parents}
        tips = [commit for commit, *_ in commits if commit not in below]
        if not tips:
            return ""
        number = 1
        while await self._git.rev_parse(f"{RESCUED}{number}"):
            number += 1
        parents = [option for tip in tips for option in ("-p", tip)]
        who = {f"GIT_{role}_{key}": "gitopsd" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
        message = b"Commits that only jj knew when its .jj was damaged\n"
        made = await self._git.run("cannot keep commits", "commit-tree", *parents, EMPTY_TREE, stdin=message, env=who)
        await self._git.update_ref(f"{RESCUED}{number}", made.stdout.strip())
        return f"{RESCUED}{number}"

    async def _take_back(self, rescued: str) -> tuple[str, ...]:
        """Take back tracked files that are empty now and were not: that is what a power cut makes of a new file.

        Their content is the newest snapshot's on top of `HEAD`, else that of `HEAD`. An empty file holds no edit.
        """
        sources = ["HEAD"]
        if rescued:
            arguments = ("log", "-1", "--format=%H", "--no-merges", rescued, "--not", "HEAD", "--branches", "--remotes")
            newest = (await self._git.run("cannot read the history", *arguments)).stdout.strip()
            base = await self._git.rev_parse(f"{newest}^") if newest else None
            if base is not None and base == await self._git.rev_parse("HEAD"):
                sources = [newest, "HEAD"]
        done: list[str] = []
        for source in sources:
            listed = await self._git.run("cannot read a tree", "ls-tree", "-r", "-l", "-z", "--full-tree", source)
            entries = filter(None, map(_ENTRY.fullmatch, listed.stdout.split("\0")))
            empty = [entry["path"] for entry in entries if entry["size"] != "0" and self._is_empty(entry["path"])]
            if empty:
                paths = "".join(f"{path}\0" for path in empty).encode(errors="surrogateescape")
                what = ("--literal-pathspecs", "restore", "--worktree", f"--source={source}")
                files = ("--pathspec-from-file=-", "--pathspec-file-nul")
                await self._git.run("cannot take files back", *what, *files, stdin=paths)
                done += empty
        return tuple(done)

    def _is_empty(self, path: str) -> bool:
        try:
            found = os.lstat(self._root / path)
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_size == 0

    async def _keep_settings(self, old: Path, new: Path) -> None:
        """Give the new `.jj` the person's settings for this repository, which jj finds by an id."""
        file = old / "repo/config-id"
        if file.is_file() and not file.is_symlink() and _CONFIG_ID.fullmatch(file.read_text(errors="replace").strip()):
            await self._aside.move(file, new / "repo/config-id")

    async def _follow_trunk(self) -> None:
        local, remote = [
            await self._git.rev_parse(f"refs/{kind}/{self._trunk}") for kind in ("heads", "remotes/origin")
        ]
        if local is not None and local == remote:
            await self._jj.track(self._trunk, "origin")
