"""The record of a takeover: a new gitopsd is being watched, and which system to go back to if it does not hold.

One small file in the state directory, beside the store and not in it: a new gitopsd may have brought the store to a
version that the old one cannot read.
"""

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

    def write(self, takeover: Takeover) -> None:
        """Record it; durable on return.

        Raises:
            OSError: it cannot be written.

        """
        self._disk.directory(str(Path(self._root).parent), 0o755)
        self._disk.point(self._root, takeover.before)
        self._disk.replace(str(self._path), msgspec.json.encode(takeover))

    def remove(self) -> None:
        """Forget it; durable on return. Nothing if there is none."""
        self._disk.remove(str(self._path))
        self._disk.remove(self._root)
