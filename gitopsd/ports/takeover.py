"""The next version of the daemon, and the way back from it."""

from collections.abc import Callable
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

    async def alone(self, progress: Callable[[str], None]) -> None:
        """Wait until no earlier takeover is watched: what would be gone back to must not change under the watch.

        Args:
            progress: hears what is waited for.

        Raises:
            Transient: that watch does not end (`lock_held`).

        """

    async def guard(self, before: StorePath, after: StorePath, default: StorePath | None) -> None:
        """Have this version watch from outside while a system with another gitopsd is activated and proved. Repeatable.

        From the activation on, systemd starts the new version if we die. Nothing is done where both have the same.

        Args:
            before: the toplevel that runs.
            after: the one that is activated next.
            default: what the system profile stands for; None if there is none.

        Raises:
            GitopsdError: nobody watches; nothing may be activated.

        """

    async def settle(self) -> None:
        """Between two cycles: end the watch over a deployment that was undone, let it go on over one that stays.

        Raises:
            GitopsdError: it goes on as it was.

        """

    def came_from(self) -> StorePath | None:
        """The toplevel to go back to from the one that runs; None if it is no NixOS system, or not there any more."""

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
        """Stop it and its socket, and return once it has ended."""

    async def start(self) -> None:
        """Start it, also after it has failed; returns once that is queued."""


class Activates(Protocol):
    """The part of `Activator` that a way back needs."""

    async def activate(self, toplevel: StorePath, action: str, tag: str, *, in_turn: bool = False) -> int:
        """See `Activator`."""
