"""Moving damaged files out of the way, as the person whose they are: nothing is deleted."""

from collections.abc import Sequence
from pathlib import Path

from gitopsd.repo.traces import DAMAGED
from gitopsd.tools.files import Files
from gitopsd.tools.process import Account, Processes

_QUICK = 30.0  # seconds


class Aside:
    """Moves and writes files of one repository.

    They are moved to `.git/gitopsd-damaged-N`: git and jj do not look there, and beside the files of the working copy
    they would be captured. They stay there until the person removes them, and each sync names them. The daemon does not touch them itself: what is a directory at one moment is a link
    somewhere else at the next, if the person wants it so.

    Args:
        processes: starts the programs.
        directory: the working copy.
        account: the person.

    """

    def __init__(self, processes: Processes, directory: str, account: Account) -> None:
        self._processes = processes
        self._account = account
        self._files = Files(processes, account)
        self.root = Path(directory, ".git")

    def free(self) -> Path:
        """A place for damaged files that nothing has been moved to yet."""
        number = 1
        while (place := self.root / f"{DAMAGED}{number}").exists():
            number += 1
        return place

    async def keep(self, names: Sequence[str]) -> str:
        """Move files below `.git` to a new place; returns where they are, for a person."""
        place = self.free()
        for name in names:
            await self.move(self.root / name, place / name)
        return f".git/{place.name}"

    async def move(self, source: Path, target: Path) -> None:
        """Rename a file or directory; a file that is there is replaced."""
        await self._files.move(str(source), str(target))

    async def write(self, name: str, content: str) -> None:
        """Write a file below `.git`."""
        await self._run("tee", "--", str(self.root / name), stdin=content.encode(errors="surrogateescape"))

    async def _run(self, *argv: str, stdin: bytes | None = None) -> None:
        await self._processes.run(argv, timeout=_QUICK, account=self._account, cwd="/", stdin=stdin)
