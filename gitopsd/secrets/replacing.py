"""Several files replaced together or not at all, also if we are killed in between.

The new versions are written beside the repository's own data first, then a journal, then each file is moved away and
its new version put in its place, by renaming. Whoever comes next finds the journal and moves everything back.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

_JOURNAL = "journal.json"


class Replacing:
    """Replaces files, in the account that we run in.

    Args:
        place: a directory of our own, on the same file system as the files.

    """

    def __init__(self, place: Path) -> None:
        self._place = place

    def recover(self) -> bool:
        """Move everything back that a run which was killed has moved; returns whether there was anything."""
        journal = self._place / _JOURNAL
        if not journal.is_file():
            self._clear()
            return False
        for number, (name, existed) in enumerate(json.loads(journal.read_text(encoding="utf-8"))):
            file, old = Path(name), self._place / f"old-{number}"
            if old.exists():
                old.replace(file)
            elif not existed:
                file.unlink(missing_ok=True)
        journal.unlink()
        self._clear()
        return True

    def replace(self, files: Mapping[Path, bytes]) -> None:
        """Give files new contents; all of them or, if anything goes wrong, none.

        Args:
            files: absolute paths; one that is not there is made, for nobody but its owner to read.

        """
        self.recover()
        self._place.mkdir(parents=True, exist_ok=True)
        for number, (file, content) in enumerate(files.items()):
            mode = file.stat().st_mode & 0o7777 if file.exists() else 0o600
            _write(self._place / f"new-{number}", content, mode)
        steps = [(str(file), file.exists()) for file in files]
        _write(self._place / _JOURNAL, json.dumps(steps).encode(), 0o600)
        try:
            for number, file in enumerate(files):
                file.parent.mkdir(parents=True, exist_ok=True)
                if file.exists():
                    file.rename(self._place / f"old-{number}")
                (self._place / f"new-{number}").rename(file)
                _sync(file.parent)
        except BaseException:
            self.recover()
            raise
        (self._place / _JOURNAL).unlink()
        _sync(self._place)
        self._clear()

    def _clear(self) -> None:
        if self._place.is_dir():
            for left in self._place.iterdir():
                left.unlink()
            self._place.rmdir()


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
