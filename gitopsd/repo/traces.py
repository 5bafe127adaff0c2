"""What the files below `.git` tell without a command: an interrupted one, a lock left behind, a ref that is no ref.

Read by the daemon itself, from a directory that belongs to somebody else: nothing is followed, nothing is waited for,
and nothing of the content is passed on unless it has the form that git gives it.
"""

import hashlib
import os
import re
import stat
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

_LIMIT = 64 * 1024 * 1024  # bytes; packed-refs of a big repository
_OBJECT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_REF = re.compile(r"(?:[0-9a-f]{40}(?:[0-9a-f]{24})?|ref: refs/\S+)\s*")
_PACKED = re.compile(r"#.*|\^?[0-9a-f]{40}(?:[0-9a-f]{24})?(?: refs/\S+)?")
DAMAGED = "gitopsd-damaged-"  # with a number: a directory below .git
RESCUED = "refs/gitopsd/rescued-"  # with a number
KEPT = "gitopsd/kept"  # below .git: versions of files that the gate held back, and that clashed with newer ones
WITHHELD = "refs/gitopsd/withheld-"  # with a commit of the person that holds a secret, and what is in it only
_DAMAGED_NAME = re.compile(rf"{DAMAGED}\d+")
_KEPT_NAME = re.compile(rf"{RESCUED}\d+|{WITHHELD}[0-9a-f]+")
SCRUB = "gitopsd-scrub"  # below .git: there from the beginning of `gitopsctl secrets scrub --rewrite` to its end
_PROGRAMS = ("git", "jj")  # and all whose names begin so: git-remote-https

# What git leaves in `.git` while it waits for a person, and what ends it (git's own wt-status.c asks the same).
_WAITING = (
    ("rebase-merge", "rebase", "git rebase --abort"),
    ("rebase-apply", "rebase or am", "git rebase --abort  # or git am --abort"),
    ("MERGE_HEAD", "merge", "git merge --abort"),
    ("CHERRY_PICK_HEAD", "cherry-pick", "git cherry-pick --abort"),
    ("REVERT_HEAD", "revert", "git revert --abort"),
    ("BISECT_START", "bisect", "git bisect reset"),
)


def _uptime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Traces:
    """The files below one `.git` directory.

    Args:
        directory: the `.git` directory.
        now: the time in seconds since the epoch.
        uptime: for how many seconds this machine has been up, sleep included.

    """

    def __init__(
        self, directory: Path, now: Callable[[], float] = time.time, uptime: Callable[[], float] = _uptime
    ) -> None:
        self._directory = directory
        self._now = now
        self._uptime = uptime

    def is_rewritten(self) -> bool:
        """Whether the history is being rewritten, or that was ended in the middle."""
        return os.path.lexists(self._directory / SCRUB)

    def waiting(self) -> tuple[str, str] | None:
        """What git was told and has not finished, and the command that ends it; None if there is nothing."""
        for name, what, command in _WAITING:
            if os.path.lexists(self._directory / name):
                return what, command
        return None

    def text(self, name: str) -> str | None:
        """A file's content as text; None if there is no such regular file."""
        content = self.content(name)
        return None if content is None else content.decode(errors="replace")

    def content(self, name: str) -> bytes | None:
        """A file's content; None if there is no such regular file."""
        try:
            fd = os.open(self._directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return None
            return file.read(_LIMIT)

    def head_is_sound(self) -> bool:
        """Whether `HEAD` has the form of a ref; without one, git says that this is no repository at all."""
        return _REF.fullmatch(self.text("HEAD") or "") is not None

    def index_is_sound(self) -> bool:
        """Whether there is no index, or one that ends with its own checksum (gitformat-index(5))."""
        content = self.content("index")
        if content is None or not content.strip(b"\0"):
            return content is None
        for length, kind in ((20, hashlib.sha1), (32, hashlib.sha256)):
            if content[-length:] in (bytes(length), kind(content[:-length]).digest()):
                return True
        return False

    def broken_refs(self) -> tuple[str, ...]:
        """The refs whose files hold no ref, as after a power cut."""
        found = []
        for path in self._files("refs"):
            name = str(path.relative_to(self._directory))
            if not (name.endswith(".lock") or _REF.fullmatch(self.text(name) or "")):
                found.append(name)
        return tuple(sorted(found))

    def packed_refs(self) -> tuple[str, bool]:
        """The lines of `packed-refs` that are whole, and whether that is all of it."""
        lines = (self.text("packed-refs") or "").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n") and _PACKED.fullmatch(line[:-1])]
        return "".join(whole), whole == lines

    def kept(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What is kept for the person: the places below `.git` with damaged files, and the refs of commits."""
        places = [path.name for path in self._directory.glob(f"{DAMAGED}*") if path.is_dir() and not path.is_symlink()]
        found = (path for prefix in (RESCUED, WITHHELD) for path in self._directory.glob(f"{prefix}*"))
        loose = (str(path.relative_to(self._directory)) for path in found)
        packed = (line.rstrip().partition(" ")[2] for line in self.packed_refs()[0].splitlines())
        refs = {name for name in (*loose, *packed) if _KEPT_NAME.fullmatch(name)}
        return tuple(sorted(place for place in places if _DAMAGED_NAME.fullmatch(place))), tuple(sorted(refs))

    def has_kept(self) -> bool:
        """Whether there are versions of files below `KEPT`."""
        place = self._directory / KEPT
        return place.is_dir() and not place.is_symlink() and any(place.iterdir())

    def earlier(self, ref: str) -> tuple[str, ...]:
        """The commits that a ref pointed to by its log, newest first, each once."""
        lines = (self.text(f"logs/{ref}") or "").splitlines()
        commits = (line.split(" ", 2)[1] for line in reversed(lines) if line.count(" ") >= 2)
        return tuple(dict.fromkeys(commit for commit in commits if _OBJECT.fullmatch(commit) and set(commit) != {"0"}))

    def bad_objects(self) -> tuple[str, ...]:
        """Loose objects that are not what their name says (a name is the digest of the content). Reads them all."""
        places = (path for path in self._files("objects") if len(path.parent.name) == 2)
        names = (str(path.relative_to(self._directory)) for path in places)
        return tuple(sorted(name for name in names if not _is_object(name, self.content(name))))

    def old_locks(self, uid: int, age: float) -> tuple[str, ...]:
        """Lock files that nobody holds.

        git's locks are files that exist: one that a power cut or a SIGKILL left behind stays for ever. Nobody holds it
        if it is from before the boot, or older than `age` seconds while no git or jj of that user is running.
        """
        locks = [*self._directory.glob("*.lock"), *(path for path in self._files("refs") if path.suffix == ".lock")]
        found = []
        for path in locks:
            written = path.lstat().st_mtime
            booted = self._now() - self._uptime()
            # A clock that was put back makes a lock seem to come from the future.
            old = written < booted or abs(self._now() - written) > age
            if old and (written < booted or not _running(uid)):
                found.append(str(path.relative_to(self._directory)))
        return tuple(sorted(found))

    def _files(self, below: str) -> Iterator[Path]:
        top = self._directory / below
        for place, _, names in () if top.is_symlink() else os.walk(top):
            yield from (Path(place, name) for name in names)


def _is_object(name: str, packed: bytes | None) -> bool:
    digest = "".join(name.split("/")[-2:])
    if packed is None or not _OBJECT.fullmatch(digest):
        return True  # a file of some other kind: not ours to judge
    try:
        content = zlib.decompress(packed)
    except zlib.error:
        return False
    kind = hashlib.sha1 if len(digest) == 40 else hashlib.sha256
    return kind(content).hexdigest() == digest


def _running(uid: int) -> bool:
    """Whether a user has git or jj running (proc_pid_comm(5))."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid == uid and (process / "comm").read_text().startswith(_PROGRAMS):
                return True
        except OSError:  # it has ended meanwhile
            continue
    return False
