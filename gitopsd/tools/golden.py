"""The golden generation and the record of boots, for the daemon. The programs of `gitopsd.boot` write them too."""

import asyncio
import os
from collections.abc import Callable
from typing import TypeVar

import msgspec
import structlog

from gitopsd.boot.place import Machine
from gitopsd.boot.view import view
from gitopsd.errors import Failed, GitopsdError
from gitopsd.policy import reads_switch
from gitopsd.ports import Activator
from gitopsd.tools.process import Processes
from gitopsd.types import BootFacts, StorePath, parse_store_path

T = TypeVar("T")
_INSTALL = 240.0  # seconds for switch-to-configuration boot
_GRACE = 10.0  # seconds in which systemd ends it
_UNIT = (
    *("systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--service-type=exec"),
    *(f"--property=RuntimeMaxSec={_INSTALL:g}", "--setenv=NIXOS_INSTALL_BOOTLOADER=0"),
)


class GoldenGeneration:
    """`ports.Golden`.

    Args:
        machine: its record and profiles.
        activator: makes golden the boot default.
        processes: installs the boot loader.
        max_attempts: for status.

    """

    def __init__(self, machine: Machine, activator: Activator, processes: Processes, *, max_attempts: int) -> None:
        self._machine = machine
        self._activator = activator
        self._processes = processes
        self._max_attempts = max_attempts

    def pinned(self) -> StorePath | None:
        """See `ports.Golden`."""
        try:
            return parse_store_path(self._machine.golden.target())
        except ValueError:
            return None

    def facts(self) -> BootFacts:
        """See `ports.Golden`."""
        return msgspec.convert(view(self._machine, self._max_attempts), BootFacts)

    def generation(self, number: int) -> StorePath:
        """See `ports.Golden`."""
        try:
            return parse_store_path(self._machine.system.generations().get(number, ""))
        except ValueError:
            raise Failed(
                f"there is no generation {number} of the system profile",
                meaning="nothing was changed",
                advice="`nix-env --list-generations -p /nix/var/nix/profiles/system` lists them",
            ) from None

    async def pin(self, toplevel: StorePath) -> str:
        """See `ports.Golden`."""
        if not self._machine.whole(toplevel):
            raise Failed(
                f"{toplevel} cannot be golden: it is no whole NixOS system",
                meaning="golden is what it was",
                advice="`gitopsctl golden pin` pins what runs",
            )
        await self._locked(f"pin {toplevel} as golden", lambda: self._pin(toplevel))
        return await self._boot_entry()

    def _pin(self, toplevel: StorePath) -> None:
        """Whether it has a boot entry is not known until the boot loader is installed: bless does that if we cannot."""
        record = self._machine.record
        generation = record.generation(toplevel, mend=True)
        if generation.entry and self._machine.golden.target() != toplevel:
            generation.entry = False
            record.save(generation)
        self._machine.golden.set(toplevel)
        self._machine.golden.keep_only_current()

    async def unpin(self) -> None:
        """See `ports.Golden`."""
        await self._locked("unpin golden", self._machine.golden.remove)

    async def make_default(self, reason: str, tag: str) -> StorePath:
        """See `ports.Golden`."""
        golden = self.pinned()
        if golden is None or not self._machine.whole(golden):
            what = "there is no golden generation" if golden is None else f"golden is gone or not whole: {golden}"
            raise Failed(
                what,
                meaning="there is nothing to fall back to; the boot default is what it was",
                advice="boot or switch to a good generation, then `gitopsctl golden pin`",
            )
        structlog.get_logger().warning("golden made default", toplevel=golden, message=reason)
        await self._activator.set_profile(golden)
        status = await self._activator.activate(golden, "boot", tag)
        if status != 0:
            raise Failed(
                f"the boot loader was not installed for golden: {reads_switch(status)}",
                meaning="the system profile names golden, and the boot loader boots what it booted before",
                advice=f"`sudo {golden}/bin/switch-to-configuration boot` tells why",
            )
        return golden

    async def forgive(self) -> int:
        """See `ports.Golden`."""
        return await self._locked("forget the bad boots", self._machine.record.forgive)

    async def _boot_entry(self) -> str:
        """Have the boot loader list golden; what it boots by default stays what the system profile says.

        In a unit of its own, since /boot is read-only for us. Not in the activation's: that may hold the result of a cycle
        under way. switch-to-configuration has a lock of its own.
        """
        done = ""
        while (default := self._machine.system.target()) not in ("", done):
            try:
                await self._processes.run(
                    [*_UNIT, f"{default}/bin/switch-to-configuration", "boot"],
                    timeout=_INSTALL + _GRACE,
                )
            except GitopsdError as error:
                return f"it has no boot entry of its own yet: {error.message}"
            done = default  # unless somebody has deployed meanwhile
        return ""

    async def _locked(self, what: str, work: Callable[[], T]) -> T:
        """Write in a thread: an fsync must not stop the event loop."""

        def locked() -> T:
            fd = self._machine.record.lock()
            try:
                return work()
            finally:
                os.close(fd)

        try:
            return await asyncio.to_thread(locked)
        except OSError as error:
            raise Failed(
                f"cannot {what}: {error.strerror}",
                meaning="it is as it was before, or partly so",
                advice=f"see that {self._machine.record.directory} and /nix/var/nix/profiles are writable and not full",
            ) from error
