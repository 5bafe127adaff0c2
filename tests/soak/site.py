"""One host of the fleet: a home, its daemon's cycle as the real steps run it, and what may come between two commands."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
from people import Host, Killed, Remote, Unheard, Watched
from soak.views import Files, home_files, source_files

from gitopsd.errors import Transient
from gitopsd.machine import State
from gitopsd.ports import Dotfiles
from gitopsd.steps.capture import capture
from gitopsd.steps.fetch import fetch
from gitopsd.steps.pull import pull
from gitopsd.steps.push import push
from gitopsd.tools.process import Result
from gitopsd.types import Cycle, CycleKind, PersonFacts, StepResult

T = TypeVar("T")

TARGETS = (".bashrc", ".config/app.conf", "bin/tool", ".toolrc", ".config/n\u00e4me x", ".new", "bin/new tool")
TEMPLATES = frozenset([".toolrc"])
_ATTEMPTS = 5
_NOWHERE = "http://127.0.0.1:1/"  # nothing listens: git's own words for a network that is down
_LONGEST = 120.0  # seconds for one sync: longer than that is waiting for somebody


class Interrupted(Watched):
    """Lets something happen before the command with number `at`, once."""

    def __init__(self) -> None:
        super().__init__()
        self.at: int | None = None
        self.strike: Callable[[], Awaitable[None]] | None = None
        self.struck = ""
        self.total = 0

    async def run(self, argv: Sequence[str], **options: Any) -> Result:
        if self.at is not None and self.strike is not None and len(self.ran) >= self.at:
            self.at = None
            self.struck = (
                f"before command {len(self.ran)}: {' '.join(word for word in argv if word[0] not in '-/')[:60]}"
            )
            await self.strike()
        self.total += 1
        return await super().run(argv, **options)


def _killed(died: BaseException) -> bool:
    """Whether it was the daemon's end, which leaves a step's group of tasks in a group."""
    if isinstance(died, BaseExceptionGroup):
        return all(_killed(each) for each in died.exceptions)
    return isinstance(died, Killed)


class Hasty(Unheard):
    """`ports.Reporter` that tries again at once, as often as the daemon does at most."""

    async def retrying(self, operation: Callable[[], Awaitable[T]]) -> T:
        for _ in range(_ATTEMPTS - 1):
            try:
                return await operation()
            except Transient:
                await asyncio.sleep(0)
        return await operation()


class Site(Host):
    """A host whose daemon may be any `ports.Dotfiles`."""

    def __init__(
        self, name: str, user: str, home: Path, remote: Remote, make: Callable[["Site"], Dotfiles] | None = None
    ) -> None:
        super().__init__(name, user, home, remote)
        self.processes: Interrupted = Interrupted()
        self._make = make or (lambda site: site.start())
        self.restart()
        self.facts: PersonFacts | None = None  # of the last sync that came to its end

    def restart(self) -> None:
        """The daemon is started anew, and remembers nothing."""
        self.person = self._make(self)

    async def cycle(
        self, at: int | None = None, strike: Callable[[], Awaitable[None]] | None = None
    ) -> PersonFacts | None:
        """One sync; None if it was killed.

        Args:
            at: the command before which something happens.
            strike: what happens.

        """
        self.processes.ran.clear()
        self.processes.at, self.processes.strike, self.processes.struck = at, strike, ""
        try:
            async with asyncio.timeout(_LONGEST):
                self.facts = await self._steps()
        except BaseException as died:
            if not _killed(died):
                raise
            self.restart()
            return None
        else:
            return self.facts
        finally:
            self.processes.at = None

    async def _steps(self) -> PersonFacts:
        reporter, people = Hasty(), (self.person,)
        cycle = Cycle(
            id=1, kind=CycleKind.sync, requested_by="test", boot_id="", started=0.0, state=State.fetch, state_since=0.0
        )
        none = cast("Any", None)  # a sync chooses no system

        def learned(result: StepResult) -> Cycle:
            return msgspec.structs.replace(cycle, facts=result.facts)

        cycle = learned(await fetch(cycle, reporter, people=people, source=None))
        cycle = learned(await capture(cycle, reporter, people=people))
        cycle = learned(await push(cycle, reporter, people=people, host=self.name))
        cycle = learned(await pull(cycle, reporter, people=people, source=None, activator=none, store=none, clock=none))
        return cycle.facts.people[0]

    @property
    def _off_switch(self) -> Path:
        return self.home / ".config/git/config"

    @property
    def online(self) -> bool:
        return not self._off_switch.exists()

    def connect(self, online: bool) -> None:
        """Let the network come or go, for this host only."""
        if online:
            self._off_switch.unlink(missing_ok=True)
        else:
            self.write(".config/git/config", f'[url "{_NOWHERE}"]\n\tinsteadOf = {self.remote.path.parent}/\n')

    def files(self) -> Files:
        """What the home has."""
        return home_files(self.home, TARGETS)

    def managed(self) -> Files:
        """What the source directory has."""
        return source_files(self.source)
