"""The next version of the daemon, and the way back from it."""

from typing import Protocol

from gitopsd.types import Life, StorePath


class Successor(Protocol):
    """The next version of ourselves."""

    def waits(self) -> bool:
        """Whether the running system has another version of us than the one that runs. Never waits."""

    def fingerprint(self) -> str:
        """Our unit and our configuration as the running system has them. Never waits."""

    async def rehearse(self, before: str) -> str:
        """Try whether the version that the running system has would start; returns what is wrong, empty if nothing is.

        Args:
            before: the fingerprint before the switch. Nothing is done if it is the same, or if what is wrong with the
                configuration was wrong before.

        """

    def came_from(self) -> StorePath | None:
        """The toplevel that this version was started in; None if it is no NixOS system, or not there any more."""

    async def hand_over(self, spare: StorePath | None) -> None:
        """Have systemd restart us; returns once that is queued.

        Args:
            spare: the system to go back to if the new version does not hold; without one, nobody watches it.

        Raises:
            Failed: the new version would not start; this one goes on.
            Transient: the watch over an earlier takeover has not ended.

        """

    async def watch_on(self) -> None:
        """Have the old version go on watching us, if a reboot has ended its watch.

        Raises:
            GitopsdError: it cannot be started.

        """


class OwnLife(Protocol):
    """Our own unit, seen from outside."""

    async def look(self) -> Life:
        """What systemd says of it now."""

    async def stop(self) -> None:
        """Stop it, and return once it has ended."""

    async def start(self) -> None:
        """Start it, also after it has failed; returns once that is queued."""


class Activates(Protocol):
    """The part of `Activator` that a way back needs."""

    async def activate(self, toplevel: StorePath, action: str, tag: str) -> int:
        """See `Activator`."""
