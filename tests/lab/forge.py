"""The machine that plays GitHub: bare repositories over ssh, and a way to push without a host."""

from __future__ import annotations

import time
from collections.abc import Mapping

from .machine import Machine


class Forge(Machine):
    """Serves `git@forge:NAME.git` to everybody in the lab who has the lab's key (root, rain and olga have)."""

    def url(self, name: str) -> str:
        """Return what a host clones."""
        return f"git@forge:{name}.git"

    def directory(self, name: str) -> str:
        """Return where the repository lies on the forge."""
        return f"/srv/git/{name}.git"

    def create_repo(self, name: str) -> str:
        """Create an empty bare repository and return its URL."""
        self.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", self.directory(name)], user="git")
        return self.url(name)

    def git(self, name: str, *arguments: str, check: bool = True) -> str:
        """Run git in a repository and return its output without the last newline."""
        return self.run(["git", "-C", self.directory(name), *arguments], user="git", check=check).stdout.rstrip("\n")

    def head(self, name: str, branch: str = "main") -> str:
        """Return the revision of a branch, or "" if there is none."""
        return self.git(name, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}", check=False)

    def branches(self, name: str) -> dict[str, str]:
        """Return every branch with its revision."""
        lines = self.git(name, "for-each-ref", "--format=%(refname:strip=2) %(objectname)", "refs/heads").splitlines()
        return dict(line.rsplit(" ", 1) for line in lines)

    def show(self, name: str, path: str, revision: str = "main") -> str:
        """Return a file of a revision."""
        repository = self.directory(name)
        return self.run(["git", "-C", repository, "cat-file", "blob", f"{revision}:{path}"], user="git").stdout

    def push_tree(self, name: str, files: Mapping[str, str], message: str, *, branch: str = "main") -> str:
        """Add a commit whose tree is exactly `files` (path → text), and return its revision."""
        return self._push(name, {**files}, message, branch, keep=False)

    def push_change(self, name: str, changes: Mapping[str, str | None], message: str, *, branch: str = "main") -> str:
        """Add a commit that writes or removes (None) some files, and return its revision."""
        return self._push(name, changes, message, branch, keep=True)

    def revert(self, name: str, *, branch: str = "main") -> str:
        """Add a commit that undoes the newest one of a branch, as `git revert` does, and return its revision."""
        before = self.git(name, "rev-parse", f"refs/heads/{branch}~1^{{tree}}")
        revision = self.head(name, branch)
        message = f"Revert {revision}"
        commit = self.git(name, *IDENTITY, "commit-tree", before, "-p", revision, "-m", message)
        self.git(name, "update-ref", f"refs/heads/{branch}", commit, revision)
        return commit

    def rewrite(self, name: str, revision: str, *, branch: str = "main") -> None:
        """Move a branch to any revision, as a push with --force does."""
        self.git(name, "update-ref", f"refs/heads/{branch}", revision)

    def _push(self, name: str, changes: Mapping[str, str | None], message: str, branch: str, *, keep: bool) -> str:
        reference = f"refs/heads/{branch}"
        stream = [f"commit {reference}\ncommitter Lab <lab@example.org> {int(time.time())} +0000\n{_text(message)}"]
        if self.head(name, branch):
            stream.append(f"from {reference}^0\n")
        if not keep:
            stream.append("deleteall\n")
        for path, text in changes.items():
            stream.append(f"D {path}\n" if text is None else f"M 100644 inline {path}\n{_text(text)}")
        argv = ["git", "-C", self.directory(name), "fast-import", "--quiet", "--date-format=raw"]
        self.run(argv, user="git", input="".join(stream))
        return self.head(name, branch)


IDENTITY = ("-c", "user.name=Lab", "-c", "user.email=lab@example.org")


def _text(text: str) -> str:
    """Return text the way `git fast-import` reads it: its length in bytes, then itself."""
    return f"data {len(text.encode())}\n{text}\n"
