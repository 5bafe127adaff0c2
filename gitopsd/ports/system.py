"""The NixOS system: what activates it, what tells how it is, and what is started around it."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from gitopsd.config import ProbeConfig
from gitopsd.types import BootFacts, StorePath, SystemFacts, UnitHealth


class Activator(Protocol):
    """Activates toplevels, in a named transient unit of systemd, outside our own process."""

    def facts(self) -> SystemFacts:
        """What runs, what was booted, what is the boot default. A few links are read; never waits."""

    def generations(self) -> dict[int, StorePath]:
        """The system profile's generations by number. A few links are read; never waits."""

    async def activate(self, toplevel: StorePath, action: str, tag: str, *, in_turn: bool = False) -> int:
        """Run `switch-to-configuration ACTION` to its end, once.

        If the unit of this `tag` is running or has run since boot, its result is taken instead of starting another.

        Args:
            toplevel: what to activate.
            action: `test` or `boot`.
            tag: names this one activation across crashes of the daemon.
            in_turn: wait for somebody else's switch, for as long as one may take.

        Returns:
            The exit status of switch-to-configuration (0, 1, 2, 4, 100 have meanings).

        Raises:
            Transient: somebody else's switch is running (`lock_held`), or it ran over its time (`timeout`).

        """

    async def forget(self) -> None:
        """Free the unit's name, once every result is read and recorded."""

    async def set_profile(self, toplevel: StorePath) -> int:
        """Make it the system profile's newest generation; returns its number. Repeatable."""

    async def restore_profile(self, generation: int) -> None:
        """Point the system profile at an existing generation. Repeatable."""


class Golden(Protocol):
    """The golden generation, the last one that has proved itself; and the assessment of boots that makes it so."""

    def pinned(self) -> StorePath | None:
        """The golden generation; None if there is none. A link is read; never waits."""

    def facts(self) -> BootFacts:
        """The assessment of this boot, without its `stage`. A few small files are read; never waits."""

    def generation(self, number: int) -> StorePath:
        """A generation of the system profile.

        Raises:
            Failed: there is none of this number.

        """

    async def pin(self, toplevel: StorePath) -> str:
        """Make it golden: a GC root and a boot entry. Repeatable.

        Returns:
            Why it has no boot entry yet; empty if it has one.

        Raises:
            Failed: it is no whole NixOS system, or the link cannot be written; golden is what it was.

        """

    async def unpin(self) -> None:
        """Have no golden generation. Nothing is deleted; there is no rollback at boot any more. Repeatable."""

    async def make_default(self, reason: str, tag: str) -> StorePath:
        """Make golden the system profile and the boot default; what runs stays as it is. Repeatable.

        Args:
            reason: for the journal.
            tag: names this one activation across crashes of the daemon.

        Returns:
            The golden generation.

        Raises:
            Failed: there is none, it is not whole, or the boot loader was not installed; the message says which.
            Transient: somebody else's switch is running.

        """

    async def forgive(self) -> int:
        """Forget the bad boots of all generations, and the last rollback; returns how many bad boots there were."""


class Units(Protocol):
    """What systemd says of units."""

    async def failed(self) -> tuple[str, ...]:
        """Names of the units whose ActiveState is failed, sorted."""

    async def health(self, names: Sequence[str]) -> tuple[UnitHealth, ...]:
        """The units' states, in the order asked for."""

    def watch(self) -> AbstractAsyncContextManager["Watch"]:
        """Subscribe to changes; subscribe first, then look."""


class Hooks(Protocol):
    """Starts units that a person wants before and after an update."""

    async def last(self, unit: str) -> str:
        """The InvocationID of the unit's newest start; empty if it has none. Keeps what systemd knows of the unit."""

    async def run(self, unit: str, *, before: str, since: float, limit: float) -> str:
        """Start the unit, unless it was started already since `before`, and wait for its end.

        Args:
            unit: its name.
            before: what `last` said before it was started first.
            since: when that was, seconds since the epoch.
            limit: seconds, after which it is stopped.

        Returns:
            What went wrong, one sentence; empty if nothing.

        """


class Watch(Protocol):
    """A subscription to changes of units."""

    async def wait(self, seconds: float) -> None:
        """Return at the next signal, or after so many seconds: signals get lost when PID 1 re-executes."""


class Prober(Protocol):
    """Asks a service whether it does its work."""

    async def ask(self, probe: ProbeConfig) -> str:
        """Probe once, within the probe's own time; returns what is wrong, empty if nothing is."""


class Power(Protocol):
    """What can reboot this machine, and who would mind."""

    async def sessions(self) -> tuple[str, ...]:
        """Names of the people who are logged in, sorted; empty too where nobody keeps count."""

    async def reboot(self) -> None:
        """Reboot in the orderly way; returns once that is under way.

        Raises:
            Failed: something inhibits it.

        """
