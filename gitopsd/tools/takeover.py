"""The record of a takeover: a new gitopsd is being watched, and which system to go back to if it does not hold.

One small file in the state directory, beside the store and not in it: a new gitopsd may have brought the store to a
version that the old one cannot read.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from gitopsd.boot.disk import Disk
from gitopsd.types import Takeover

_FILE = "takeover.json"
_ROOT = "/nix/var/nix/gcroots/gitopsd-takeover"  # what links here point to is kept (nix manual, "Garbage Collection")


class TakeoverRecord:
    """The file, and the link that keeps the old system from the garbage collector for as long as there is one.

    Args:
        state: the state directory.
        root: the link.

    """

    def __init__(self, state: Path, root: str = _ROOT) -> None:
        self._path = state / _FILE
        self._root = root
        self._disk = Disk()

    def read(self) -> Takeover | None:
        """What is recorded; None if nothing is, or nothing that this version understands."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Takeover)
        except (OSError, msgspec.DecodeError):
            return None

    def change(self, into: Callable[[Takeover | None], Takeover | None]) -> Takeover | None:
        """Write what is made of it, while nobody else does: both the daemon and who watches it write. Durable on return.

        Args:
            into: gets what is recorded and returns what is to be; None is no record.

        Returns:
            What is recorded now.

        Raises:
            OSError: it cannot be written.

        """
        held = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            found = self.read()
            wanted = into(found)
            if wanted is None:
                self._disk.remove(str(self._path))
                self._disk.remove(self._root)
            elif wanted != found:
                # First what keeps the system, then what says that it is to be gone back to.
                self._disk.directory(str(Path(self._root).parent), 0o755)
                self._disk.point(self._root, wanted.before)
                self._disk.replace(str(self._path), msgspec.json.encode(wanted))
        finally:
            os.close(held)
        return wanted

    def write(self, takeover: Takeover) -> None:
        """Record it; durable on return.

        Raises:
            OSError: it cannot be written.

        """
        self.change(lambda _: takeover)

    def remove(self) -> None:
        """Forget it; durable on return. Nothing if there is none.

        Raises:
            OSError: it cannot be removed.

        """
        self.change(lambda _: None)
