"""One person's choices, one at a time and never in the middle of a step of the cycle."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from gitopsd.choices.conflicts import ConflictList
from gitopsd.choices.contact import Contact
from gitopsd.choices.turn import Turn
from gitopsd.config import DotfilesConfig
from gitopsd.dotfiles.parts import Parts
from gitopsd.errors import Cause, Failed, Transient
from gitopsd.tools.process import Account, Processes
from gitopsd.types import Adopted, Beginning, Conflicts, Notice, Settled, Take

_LIMIT = 240.0  # seconds; a step of the cycle that waits for its turn must not run out of its own time


class PersonChoices:
    """`ports.Choices` with jj, git and chezmoi.

    Args:
        processes: starts them.
        config: the person's section of the configuration.
        host: the name of this host.
        turn: shared by all that touches this person's repository and home.
        now: the time, seconds since the epoch.
        account: the person; looked up by name if not given.

    """

    def __init__(
        self,
        processes: Processes,
        config: DotfilesConfig,
        *,
        host: str,
        turn: Turn,
        now: Callable[[], float],
        account: Account | None = None,
    ) -> None:
        self._processes = processes
        self._config = config
        self._host = host
        self._turn = turn
        self._now = now
        self._account = account

    @property
    def user(self) -> str:
        """See `ports.Choices`."""
        return self._config.user

    async def conflicts(self) -> Conflicts:
        """See `ports.Choices`."""
        async with self._at_work() as parts:
            return await self._list(parts).read()

    async def resolve(self, file: str, choice: Take | str, *, host: str = "", seen: str = "") -> Settled:
        """See `ports.Choices`."""
        async with self._at_work() as parts:
            return await self._list(parts).settle(file, host, choice, seen)

    async def initialize(self) -> Beginning:
        """See `ports.Choices`."""
        async with self._at_work() as parts:
            return await self._contact(parts).begin()

    async def adopt(self, files: Sequence[str], *, mine: bool) -> tuple[Adopted, ...]:
        """See `ports.Choices`."""
        async with self._at_work() as parts:
            self._check_set_up(parts)
            done = await self._contact(parts).adopt(files, mine=mine)
            self._turn.notes += [_backed_up(each) for each in done if each.backup]
            return done

    @asynccontextmanager
    async def _at_work(self) -> AsyncIterator[Parts]:
        """Take the turn, for so long at most, and look at everything anew."""
        async with self._turn:
            try:
                async with asyncio.timeout(_LIMIT):
                    parts = Parts(self._processes, self._config, host=self._host, account=self._account)
                    if (halt := parts.repair().rewritten()) is not None:
                        raise Failed(halt.what, meaning="nothing was changed", advice=halt.advice)
                    yield parts
            except TimeoutError:
                raise Transient(
                    f"it did not end within {_LIMIT:g} s",
                    cause=Cause.timeout,
                    meaning="what was done is recorded, and the rest was not begun",
                    advice="the same command again: it goes on from there",
                ) from None

    def _list(self, parts: Parts) -> ConflictList:
        self._check_set_up(parts)
        return ConflictList(parts.engine, parts.resolver(), user=self.user, host=self._host)

    def _contact(self, parts: Parts) -> Contact:
        return Contact(self._processes, parts.person, self._config, parts.engine, now=self._now, held=parts.held)

    def _check_set_up(self, parts: Parts) -> None:
        source = Path(parts.source)
        if not ((source / ".git").is_dir() and (source / ".jj").is_dir()):
            raise Failed(
                f"the dotfiles of {self.user} are not set up on this host",
                meaning="nothing was changed",
                advice="gitopsctl dotfiles init",
            )


def _backed_up(adopted: Adopted) -> Notice:
    return Notice(
        what=f"{adopted.file} was replaced by the repository's version; yours is {adopted.backup}",
        path=adopted.file,
        advice=f"diff {adopted.backup} ~/{adopted.file}",
    )
