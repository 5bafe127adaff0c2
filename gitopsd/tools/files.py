"""A person's files, read and written as that person: what is a file at one moment is a link to another's at the next.

No name is in an argument list, where every user of the host could read it: a name can hold a secret.
"""

import io
import os
import sys
import tarfile
from collections.abc import Iterable

from gitopsd.errors import Failed
from gitopsd.tools.process import Account, Processes

UNFINISHED = ".gitopsd-"  # how the name of a file begins that is being written
_TIMEOUT = 120.0  # seconds
_LIMIT = 1024 * 1024 * 1024  # bytes read at once

# Reads a verb and the lengths of its words in one line, then the words. What fails is told without a name.
_HANDS = """
import os, sys

def room(path):
    os.makedirs(os.path.dirname(path), exist_ok=True)

def put(source, target):
    try:
        os.replace(source, target)
    except OSError as error:
        import errno, shutil
        if error.errno != errno.EXDEV:
            raise
        shutil.move(source, target)

def write(path, through, like, beginning, content):
    room(path)
    folder = through or os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    fresh = os.path.join(folder, beginning + os.urandom(8).hex().encode())
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        if like:
            os.fchmod(file.fileno(), os.stat(like).st_mode & 0o7777)
        file.flush()
        os.fsync(file.fileno())
    put(fresh, path)

def move(source, target):
    room(target)
    put(source, target)

def give(source, target):
    if not os.path.lexists(target):
        move(source, target)

def remove(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass

def make(path, mode):
    os.makedirs(path, mode=int(mode, 8), exist_ok=True)

verb, *lengths = sys.stdin.buffer.readline().decode().split()
words = [sys.stdin.buffer.read(int(length)) for length in lengths]
try:
    {"write": write, "move": move, "give": give, "remove": remove, "make": make}[verb](*words)
except OSError as error:
    sys.exit(error.strerror or type(error).__name__)
"""


class Files:
    """Reads, moves and writes files for one person.

    Args:
        processes: starts the programs that do so: tar, and Python.
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

        Raises:
            Failed: it cannot be written.

        """
        await self._do("written", "write", path, through, like, UNFINISHED, content)

    async def make_directory(self, path: str, *, mode: int = 0o777) -> None:
        """Make a directory, and those above it.

        Args:
            path: absolute; one that is there stays as it is.
            mode: of a new one, less the umask.

        Raises:
            Failed: it cannot be made.

        """
        await self._do("made", "make", path, f"{mode:o}")

    async def move(self, source: str, target: str, *, replace: bool = True) -> None:
        """Rename a file, with the directories above its new name.

        Args:
            source: absolute.
            target: absolute.
            replace: a file that is there is replaced; else nothing is done.

        Raises:
            Failed: it cannot be moved.

        """
        await self._do("moved", "move" if replace else "give", source, target)

    async def remove(self, path: str) -> None:
        """Remove a file, if it is there.

        Raises:
            Failed: it cannot be removed.

        """
        await self._do("removed", "remove", path)

    async def _do(self, done: str, verb: str, *words: str | bytes) -> None:
        raw = [os.fsencode(word) for word in words]
        header = " ".join((verb, *(str(len(word)) for word in raw)))
        result = await self._processes.run(
            (sys.executable, "-I", "-S", "-c", _HANDS),
            timeout=_TIMEOUT,
            account=self._account,
            cwd="/",
            stdin=b"\n".join((header.encode(), b"".join(raw))),
            check=False,
        )
        if result.status != 0:
            raise Failed(
                f"a file of {self._owner} could not be {done}: {result.tail() or f'status {result.status}'}",
                meaning="the step that needs it cannot go on",
                advice=f"see that the home of {self._owner} is writable and not full: `df ~{self._owner}`",
            )

    @property
    def _owner(self) -> str:
        return self._account.name if self._account is not None else "root"
