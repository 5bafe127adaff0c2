"""git's object store: trees are compared, merged and edited without a working copy, an index or a ref.

Nothing here can be lost or half done: objects are only ever added, and nothing points to them until the engine says
so in one transaction of refs.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from gitopsd.tools.git import Git
from gitopsd.tools.process import Account

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"  # git knows it without having it stored
_FEW = 100  # paths; more of them cost more to look for than to look at all of the history
_IDENTITY = re.compile(r"(?P<name>.*) <(?P<email>.*)> \d+ [+-]\d{4}")


class Entry(msgspec.Struct, frozen=True):
    """One file of a tree.

    Args:
        mode: git's, in octal digits.
        blob: the object that holds its content.

    """

    mode: str
    blob: str


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference between two trees.

    Args:
        status: git's letter: A, D, M, T, R or C.
        path: where it is in the second tree (or was, if deleted).
        origin: the path that it was renamed from; else the same as `path`.

    """

    status: str
    path: str
    origin: str


class Merge(msgspec.Struct, frozen=True, kw_only=True):
    """What `git merge-tree` made of three trees.

    Args:
        tree: the result; of no use if there are conflicts.
        conflicts: the paths that could not be merged.

    """

    tree: str
    conflicts: frozenset[str]


class Trees:
    """Reads and writes objects in one repository.

    Args:
        git: runs in it.
        directory: its work tree.
        account: whose it is.
        host: named in a commit of a person who told git no name.

    """

    def __init__(self, git: Git, directory: str, account: Account, host: str) -> None:
        self._git = git
        self._index = f"{directory}/.git/gitopsd-index"
        self._account = account
        self._host = host
        self._known: dict[str, str] = {}  # trees by commit, which never change
        self._author: dict[str, str] | None = None

    async def tree(self, commit: str) -> str:
        """The tree of a commit; the empty tree for an empty name."""
        if not commit:
            return EMPTY_TREE
        if commit not in self._known:
            result = await self._git.run("cannot read a commit", "rev-parse", "--verify", f"{commit}^{{tree}}")
            self._known[commit] = result.stdout.strip()
        return self._known[commit]

    async def parents(self, commit: str) -> tuple[str, ...]:
        """The commits that a commit stands on; none if it is not here any more."""
        arguments = ("rev-list", "--parents", "--max-count=1", commit)
        result = await self._git.run("cannot read a commit", *arguments, fine=(0, 128))
        return tuple(result.stdout.split()[1:])

    async def merge_base(self, one: str, other: str) -> str:
        """The newest commit that both contain; empty if their histories are unrelated, or if one name is empty."""
        if not (one and other):
            return ""
        result = await self._git.run("cannot compare two commits", "merge-base", one, other, fine=(0, 1))
        return result.stdout.strip()

    async def changes(self, old: str, new: str, *, renames: bool = True) -> tuple[Change, ...]:
        """The differences between two trees or commits, renames found unless they are not wanted."""
        arguments = (
            "diff-tree",
            "-r",
            "-M" if renames else "--no-renames",
            "-z",
            "--name-status",
            "--no-commit-id",
            old,
            new,
        )
        fields = iter((await self._git.run("cannot compare two trees", *arguments)).stdout.split("\0"))
        found = []
        for status in fields:
            if not status:
                break
            origin = next(fields)
            path = next(fields) if status[0] in "RC" else origin
            found.append(Change(status=status[0], path=path, origin=origin))
        return tuple(found)

    async def entries(self, treeish: str, paths: Collection[str]) -> dict[str, Entry]:
        """The files that a tree or commit has at these paths; those it does not have are left out."""
        wanted = frozenset(paths)
        return {path: entry for path, entry in await self._listed(treeish) if path in wanted} if wanted else {}

    async def under(self, treeish: str, paths: Collection[str]) -> dict[str, Entry]:
        """The files that a tree or commit has at these paths and, where one is a directory, all that it holds."""
        wanted, folders = frozenset(paths), tuple(f"{path}/" for path in paths)
        if not wanted:
            return {}
        listed = await self._listed(treeish)
        return {path: entry for path, entry in listed if path in wanted or path.startswith(folders)}

    async def _listed(self, treeish: str) -> list[tuple[str, Entry]]:
        # All of the tree: git-ls-tree(1) takes names from its arguments only, and every user of the host can read those.
        listed = await self._git.run("cannot read a tree", "ls-tree", "-r", "-z", "--full-tree", treeish)
        found = []
        for line in filter(None, listed.stdout.split("\0")):
            meta, _, path = line.partition("\t")
            mode, _, blob = meta.split(" ")
            found.append((path, Entry(mode, blob)))
        return found

    async def names(self, treeish: str) -> tuple[str, ...]:
        """The names at the top of a tree or commit, those of directories among them."""
        result = await self._git.run("cannot read a tree", "ls-tree", "-z", "--name-only", "--full-tree", treeish)
        return tuple(filter(None, result.stdout.split("\0")))

    async def tree_at(self, treeish: str, path: str) -> str:
        """The tree of a directory."""
        result = await self._git.run("cannot read a tree", "rev-parse", "--verify", f"{treeish}:{path}")
        return result.stdout.strip()

    async def paths(self, treeish: str) -> tuple[str, ...]:
        """All files of a tree or commit."""
        result = await self._git.run("cannot read a tree", "ls-tree", "-r", "-z", "--name-only", "--full-tree", treeish)
        return tuple(filter(None, result.stdout.split("\0")))

    async def content(self, blob: str) -> bytes:
        """What a blob holds."""
        result = await self._git.run("cannot read a file of a commit", "cat-file", "blob", blob)
        return result.stdout.encode(errors="surrogateescape")

    async def merge_file(self, base: str, theirs: str, ours: str, *, marker: int) -> bytes | None:
        """Merge three blobs (git-merge-file(1)), conflicts between markers; None if one of them is binary.

        Args:
            base: what both come from; empty if there was nothing.
            theirs: stands above in a conflict.
            ours: stands below.
            marker: how many characters a marker has.

        """
        result = await self._git.run(
            *("cannot merge a file", "merge-file", "--stdout", "--object-id", "--quiet", f"--marker-size={marker}"),
            *(theirs, base or await self.store(b""), ours),
            # The number of conflicts, at most 127; 255 for binary files and for whatever went wrong.
            fine=(*range(128), 255),
        )
        return None if result.status == 255 else result.stdout.encode(errors="surrogateescape")

    async def versions(self, path: str, commits: Sequence[str], limit: int = 100) -> tuple[tuple[str, str], ...]:
        """The versions that a path had in the histories of `commits`, newest first, as pairs of commit and blob."""
        if not commits:
            return ()
        arguments, asked = ("rev-list", f"--max-count={limit}", "--stdin"), _limited(commits, (path,))
        revisions = (await self._git.run("cannot read a file's history", *arguments, stdin=asked)).stdout.split()
        asked = "".join(f"{revision}:{path}\0" for revision in revisions).encode(errors="surrogateescape")
        arguments = ("cat-file", "-Z", "--batch-check=%(objecttype) %(objectname)")
        answers = (await self._git.run("cannot read a file's history", *arguments, stdin=asked)).stdout.split("\0")
        pairs = zip(revisions, answers, strict=False)
        return tuple((revision, answer[5:]) for revision, answer in pairs if answer.startswith("blob "))

    async def deleted_once(self, paths: Collection[str], commit: str) -> frozenset[str]:
        """Those of these paths that a commit in the history of `commit` deleted, whether they exist again or not."""
        how = (
            "--format=",
            "--no-renames",
            "--no-follow",
            "--full-history",
            "-m",
            "--diff-filter=D",
            "--name-only",
            "-z",
        )
        asked = _limited((commit,), paths)
        result = await self._git.run("cannot read the history of files", "log", *how, "--stdin", stdin=asked)
        return frozenset(paths) & set(result.stdout.split("\0"))

    async def history(
        self, tips: Collection[str], since: str, paths: Collection[str]
    ) -> tuple[tuple[str, str, Entry | None], ...]:
        """The versions that paths got in the commits of `tips` that `since` does not have, newest first.

        Returns:
            Commit, path, and the file, which is None if it was deleted there. What a merge commit made of a file on
            its own is left out.

        """
        if not (tips and paths):
            return ()
        span = _limited((*tips, f"^{since}") if since else tips, paths)
        arguments: tuple[str, ...] = ("rev-list", "--topo-order", "--full-history", "--stdin")
        commits = (await self._git.run("cannot read a file's history", *arguments, stdin=span)).stdout
        if not commits:
            return ()
        found: list[tuple[str, str, Entry | None]] = []
        arguments = ("diff-tree", "--stdin", "--root", "-r", "-z", "--no-renames")
        result = await self._git.run("cannot read a file's history", *arguments, stdin=commits.encode())
        fields, commit = iter(result.stdout.split("\0")), ""
        for field in fields:
            if field.startswith(":"):
                _, mode, _, blob, status = field.split(" ")
                path = next(fields)
                if path in paths:
                    found.append((commit, path, None if status == "D" else Entry(mode, blob)))
            else:
                commit = field
        return tuple(found)

    async def touched(self, since: str, tip: str) -> frozenset[str]:
        """All paths that any commit of `tip` changed that `since` does not have, on either side of merges."""
        arguments = ("log", "-m", "-z", "--name-only", "--no-renames", "--format=", f"{since}..{tip}")
        found = (await self._git.run("cannot read what has changed", *arguments)).stdout.split("\0")
        return frozenset(filter(None, found))

    async def with_line(self, treeish: str, beginning: str, paths: Collection[str]) -> frozenset[str]:
        """Those of these paths that have a line with this beginning, which is text of one line."""
        if not (entries := await self.entries(treeish, paths)):
            return frozenset()
        contents = await self.contents({entry.blob for entry in entries.values() if entry.mode != "160000"})
        wanted = beginning.encode()
        having = {blob for blob, content in contents.items() if content.startswith(wanted) or b"\n" + wanted in content}
        return frozenset(path for path, entry in entries.items() if entry.blob in having)

    async def size(self, blob: str) -> int:
        """How many bytes a blob holds."""
        return int((await self._git.run("cannot read a file of a commit", "cat-file", "-s", blob)).stdout)

    async def contents(self, blobs: Collection[str]) -> dict[str, bytes]:
        """What many blobs hold, with one command."""
        return await self._git.contents(blobs)

    async def store(self, content: bytes) -> str:
        """Make a blob."""
        result = await self._git.run("cannot store a file", "hash-object", "-w", "--stdin", stdin=content)
        return result.stdout.strip()

    async def merge_lines(self, base: str, theirs: str, ours: str, *, labels: Sequence[str] = ()) -> bytes:
        """Merge three blobs line by line: both sides of a conflict one after the other, or between markers.

        Args:
            base: what both come from.
            theirs: comes first.
            ours: comes second.
            labels: of theirs, base and ours, for the markers; without them there are none (a union).

        """
        how = [option for label in labels for option in ("-L", label)] if labels else ["--union"]
        result = await self._git.run(
            *("cannot merge two files", "merge-file", "--stdout", "--object-id", *how, theirs, base, ours),
            fine=tuple(range(128)),  # the number of conflicts
        )
        return result.stdout.encode(errors="surrogateescape")

    async def merge(self, base: str, ours: str, theirs: str, *, renames: bool = True) -> Merge:
        """Merge two trees that both come from `base`. Renames are followed, so a changed mode merges with an edit."""
        result = await self._git.run(
            "cannot merge",
            # A guess that a whole directory was renamed would move another host's new files.
            *("-c", "merge.directoryRenames=false", "-c", f"merge.renames={str(renames).lower()}"),
            *("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", f"--merge-base={base}"),
            *(theirs, ours),
            fine=(0, 1),
        )
        tree, *conflicts = result.stdout.split("\0")
        return Merge(tree=tree, conflicts=frozenset(filter(None, conflicts)) if result.status == 1 else frozenset())

    async def replace(self, tree: str, entries: Mapping[str, Entry | None]) -> str:
        """The tree with these files put in place, or taken out where the entry is None."""
        if not entries:
            return tree
        gone = [f"0 {'0' * 40}\t{path}\0" for path in entries]
        put = [f"{entry.mode} {entry.blob}\t{path}\0" for path, entry in entries.items() if entry is not None]
        env = {"GIT_INDEX_FILE": self._index}
        await self._git.run("cannot edit a tree", "read-tree", tree, env=env)
        # Taken out first: a file may stand where a directory was.
        lines = "".join(gone + put).encode(errors="surrogateescape")
        await self._git.run("cannot edit a tree", "update-index", "-z", "--index-info", stdin=lines, env=env)
        return (await self._git.run("cannot edit a tree", "write-tree", env=env)).stdout.strip()

    async def commit(self, tree: str, parents: Iterable[str], message: str) -> str:
        """Make a commit in the person's name; nothing points to it yet."""
        chain = [option for parent in parents for option in ("-p", parent)]
        result = await self._git.run(
            *("cannot commit", "commit-tree", *chain, tree),
            stdin=message.encode(errors="replace"),
            env=await self.identity(),
        )
        commit = result.stdout.strip()
        self._known[commit] = tree
        return commit

    async def identity(self) -> dict[str, str]:
        """The environment that names an author if git knows none."""
        if self._author is not None:
            return self._author
        self._author = {}
        result = await self._git.run(
            *("cannot read who commits", "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT"), fine=(0, 128)
        )
        if (found := _IDENTITY.match(result.stdout)) and found["name"] and found["email"]:
            return self._author
        email = f"{self._account.name}@{self._host}"
        self._author = {
            f"GIT_{role}_{key}": value
            for role in ("AUTHOR", "COMMITTER")
            for key, value in (("NAME", self._account.name), ("EMAIL", email))
        }
        return self._author


def _limited(revisions: Collection[str], paths: Collection[str]) -> bytes:
    """What `--stdin` of git-rev-list(1) reads: commits, and the paths whose history it is; too many are left out.

    A line is a pattern. So a path is written as one that matches it, where a newline is any character.
    """
    escaped = (re.sub(r"([*?\[\\])", r"\\\1", path).replace("\n", "?") for path in sorted(paths))
    limits = ("--", *(f":(glob){path}" for path in escaped)) if len(paths) <= _FEW else ()
    return "".join(f"{line}\n" for line in (*revisions, *limits)).encode(errors="surrogateescape")
