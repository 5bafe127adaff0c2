"""Files of a source directory that jj does not take in: too big, ignored, or with a name that it cannot write."""

from gitopsd.dotfiles import notices as say
from gitopsd.dotfiles.parts import Parts
from gitopsd.repo.engine import Engine
from gitopsd.secrets.held import Held
from gitopsd.tools.chezmoi import Home
from gitopsd.tools.jj import NEW_FILE_LIMIT, WorkingCopy
from gitopsd.types import Notice


class Outside:
    """Remembers what was looked at, so that a sync with nothing new asks no program.

    Args:
        parts: of the person's dotfiles.

    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._no_news: dict[str, tuple[int, ...]] = {}  # big files that are captured or ignored
        self._tracked: frozenset[str] | None = None  # the files of the source directory, all of which jj takes in

    async def notices(self, home: Home, here: WorkingCopy) -> list[Notice]:
        """Say of each such file why no other host has it.

        Args:
            home: the person's.
            here: the working copy.

        """
        engine, held = self._parts.engine, self._parts.held
        too_big = [say.too_big(path) for path in await self._left_out(engine, held, here)]
        return too_big + await self._not_tracked(engine, home, held, here)

    async def _left_out(self, engine: Engine, held: Held, here: WorkingCopy) -> list[str]:
        """The files that are too big to be captured. Git is asked only if there is one that may be."""
        big = {path: sign for path, sign in held.bigger_than(NEW_FILE_LIMIT).items() if not held.holds(path)}
        if here.empty and all(self._no_news.get(path) == sign for path, sign in big.items()):
            return []  # what is taken in stays so, and what is ignored does until a file here says otherwise
        left = [path for path in await engine.left_out(here) if path in big] if big else []
        self._no_news = {path: sign for path, sign in big.items() if path not in left}
        return left

    async def _not_tracked(self, engine: Engine, home: Home, held: Held, here: WorkingCopy) -> list[Notice]:
        """What chezmoi manages and jj does not take in. They are asked only if the names of the files changed."""
        names = held.names()
        if names != self._tracked:
            left = {path for path in await engine.not_tracked(here) if not held.holds(path)} - held.bigger_than(
                NEW_FILE_LIMIT
            ).keys()
            managed = set((await home.sources()).values()) if left else set()
            odd = {path for path in left if not say.is_text(path)}
            if left & managed or odd:
                return [say.ignored(path) for path in sorted(left & managed | odd)]
            self._tracked = names
        return []
