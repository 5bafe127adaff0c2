"""A person's files, read and written as that person: what is a file at one moment is a link to another's at the next."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from gitopsd.tools.process import Account, Processes

UNFINISHED = ".gitopsd-"  # how the name of a file begins that is being written
_TIMEOUT = 120.0  # seconds
_LIMIT = 1024 * 1024 * 1024  # bytes read at once


class Files:
    """Runs tar and coreutils for one person.

    Args:
        processes: starts them.
        account: the person; None is the caller itself.

    """

    def __init__(self, processes: Processes, account: Account | None = None) -> None:
        self._processes = processes
        self._account = account

    async def read(self, directory: str, paths: Iterable[str]) -> dict[str, bytes]:
        """What files hold, with one command; a link holds where it leads to.

        Args:
            directory: what `paths` are relative to.
            paths: those that are not there, cannot be read or are no files are left out.

        """
        names = "".join(f"{path}\0" for path in paths)
        if not names:
            return {}
        result = await self._processes.run(
            (
                *("tar", "--create", "--file=-", f"--directory={directory}", "--format=posix", "--no-recursion"),
                *("--hard-dereference", "--ignore-failed-read", "--null", "--verbatim-files-from", "--files-from=-"),
            ),
            timeout=_TIMEOUT,
            account=self._account,
            cwd="/",
            stdin=names.encode(errors="surrogateescape"),
            check=False,  # 1 and 2 stand for files that could not be read, and those are not among the result
            output_limit=_LIMIT,
        )
        raw, found = result.stdout.encode(errors="surrogateescape"), {}
        if not raw:
            return {}
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:", errors="surrogateescape") as archive:
            for member in archive:
                if member.isreg() and (file := archive.extractfile(member)) is not None:
                    found[member.name] = file.read()
                elif member.issym():
                    found[member.name] = member.linkname.encode(errors="surrogateescape")
        return found

    async def write(self, path: str, content: bytes, *, like: str = "", through: str = "") -> None:
        """Write a file whole or not at all, with the directories above it.

        Args:
            path: absolute.
            content: what it is to hold.
            like: a file whose mode it gets; else nobody but the person can read it.
            through: the directory on the same file system that it is written in at first; else its own.

        """
        parent = str(Path(path).parent)
        await self._run("mkdir", "-p", "--", parent, through or parent)
        fresh = (await self._run("mktemp", f"--tmpdir={through or parent}", f"{UNFINISHED}XXXXXXXX")).strip()
        await self._run("dd", f"of={fresh}", "status=none", "conv=fsync", stdin=content)
        if like:
            await self._run("chmod", f"--reference={like}", "--", fresh)
        await self._run("mv", "--force", "--no-target-directory", "--", fresh, path)

    async def make_directory(self, path: str) -> None:
        """Make a directory, and those above it."""
        await self._run("mkdir", "-p", "--", path)

    async def move(self, source: str, target: str) -> None:
        """Rename a file; one that is there is replaced."""
        await self._run("mkdir", "-p", "--", str(Path(target).parent))
        await self._run("mv", "--force", "--no-target-directory", "--", source, target)

    async def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        await self._run("rm", "--force", "--", path)

    async def _run(self, *argv: str, stdin: bytes | None = None) -> str:
        result = await self._processes.run(
            argv, timeout=_TIMEOUT, account=self._account, cwd="/", stdin=stdin, output_limit=_LIMIT
        )
        return result.stdout
