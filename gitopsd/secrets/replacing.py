"""Several files replaced together or not at all, also if we are killed in between.

The new versions are written beside the repository's own data first, then a journal. Then each file gets a second name
there, and its new version takes its place by renaming; what is to be gone goes last, so that at no moment there is
nothing for a file. Whoever comes next finds the journal and moves everything back.
"""

import hashlib
import os
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from gitopsd.errors import Failed

PLACE = ".git/gitopsd/migration"  # of a migration, in the source directory
_JOURNAL = "journal.json"


def is_unfinished(source: Path) -> bool:
    """Whether a migration is under way in a source directory, or was killed in the middle."""
    return (source / PLACE / _JOURNAL).is_file()


class _Step(msgspec.Struct, frozen=True, kw_only=True):
    """What is done with one file.

    Args:
        file: absolute.
        existed: it was there.
        digest: SHA-256 of what it becomes; empty if it is to be gone.

    """

    file: str
    existed: bool
    digest: str


class Replacing:
    """Replaces files, in the account that we run in.

    Args:
        place: a directory of our own, on the same file system as the files.

    """

    def __init__(self, place: Path) -> None:
        self._place = place

    def recover(self) -> bool:
        """Move everything back that a run which was killed has moved; returns whether there was anything.

        Raises:
            Failed: somebody has changed such a file since; nothing is moved then.

        """
        journal = self._place / _JOURNAL
        if not journal.is_file():
            self._clear()
            return False
        steps = msgspec.json.decode(journal.read_bytes(), type=tuple[_Step, ...])
        for number, step in enumerate(steps):
            self._refuse_changed(step, self._place / f"old-{number}")
        for number, step in enumerate(steps):
            file, old = Path(step.file), self._place / f"old-{number}"
            if old.exists():
                old.replace(file)
                _sync(file.parent)
            elif not step.existed:
                file.unlink(missing_ok=True)
        journal.unlink()
        self._clear()
        return True

    def replace(
        self, files: Mapping[Path, bytes], *, gone: Collection[Path] = (), like: Mapping[Path, Path] | None = None
    ) -> None:
        """Give files new contents; all of them or, if anything goes wrong, none.

        Args:
            files: absolute paths; one that is not there is made, for nobody but its owner to read.
            gone: files that are to be there no more.
            like: whose mode a file that is not there gets.

        """
        self.recover()
        self._place.mkdir(parents=True, exist_ok=True)
        steps = []
        for number, (file, content) in enumerate(files.items()):
            model = file if file.exists() else (like or {}).get(file)
            mode = model.stat().st_mode & 0o7777 if model is not None else 0o600
            _write(self._place / f"new-{number}", content, mode)
            steps.append(_Step(file=str(file), existed=file.exists(), digest=_digest(content)))
        steps += [_Step(file=str(file), existed=True, digest="") for file in gone]
        _write(self._place / _JOURNAL, msgspec.json.encode(steps), 0o600)
        try:
            for number, step in enumerate(steps):
                file = Path(step.file)
                file.parent.mkdir(parents=True, exist_ok=True)
                if step.existed:
                    os.link(file, self._place / f"old-{number}")
                    _sync(self._place)
                if step.digest:
                    (self._place / f"new-{number}").replace(file)
                else:
                    file.unlink()
                _sync(file.parent)
        except BaseException:
            self.recover()
            raise
        (self._place / _JOURNAL).unlink()
        _sync(self._place)
        self._clear()

    def _refuse_changed(self, step: _Step, old: Path) -> None:
        file = Path(step.file)
        if not file.is_file() or (not old.exists() and step.existed):
            return  # it is gone, by us or by somebody who may do so; or we have not come to it
        found = _digest(file.read_bytes())
        if found != step.digest and (not old.exists() or found != _digest(old.read_bytes())):
            raise Failed(
                f"{file} was changed since a migration was killed in the middle",
                meaning="nothing was changed: what it was before"
                + (f" is in {old}" if old.exists() else " is not known: it was not there"),
                advice=f"mv {file} elsewhere, then this again; then put your change into {file}",
            )

    def _clear(self) -> None:
        if self._place.is_dir():
            for left in self._place.iterdir():
                left.unlink()
            self._place.rmdir()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(path: Path, content: bytes, mode: int) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix="part-", delete=False) as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    Path(file.name).rename(path)
    _sync(path.parent)


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
