"""The golden generation and the record of boots, for the daemon. The programs of `gitopsd.boot` write them too."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import structlog

from gitopsd.boot.disk import Disk
from gitopsd.boot.profiles import GOLDEN, SYSTEM, Profile, whole
from gitopsd.boot.record import Damaged, Generation, Record
from gitopsd.errors import Failed
from gitopsd.policy import reads_switch
from gitopsd.ports import Activator, Clock
from gitopsd.tools.nix import store_path_at
from gitopsd.types import BootFacts, BootRollback, StorePath, parse_store_path

T = TypeVar("T")


class GoldenGeneration:
    """`ports.Golden`.

    Args:
        activator: sets the profile and installs the boot loader.
        clock: tells which boot this is.
        directory: of the record.
        max_attempts: for status.
        system: path of the system profile.
        golden: path of the golden one.

    """

    def __init__(
        self,
        activator: Activator,
        clock: Clock,
        directory: Path,
        *,
        max_attempts: int,
        system: str = SYSTEM,
        golden: str = GOLDEN,
    ) -> None:
        self._activator = activator
        self._clock = clock
        self._record = str(directory)
        self._max_attempts = max_attempts
        self._disk = Disk()
        self._system = Profile(system, self._disk)
        self._golden = Profile(golden, self._disk)

    def pinned(self) -> StorePath | None:
        """See `ports.Golden`."""
        try:
            return parse_store_path(self._golden.target())
        except ValueError:
            return None

    def facts(self) -> BootFacts:
        """See `ports.Golden`."""
        record = Record(self._record, self._disk)
        booted, golden = store_path_at(Path("/run/booted-system")), self.pinned()
        generation = record.generation(booted) if booted is not None else Generation("")
        boot = self._clock.boot_id()
        attempt = generation.attempt(boot)
        try:
            last = record.rollback()
        except Damaged:  # told in its troubles
            last = None
        troubles = list(record.troubles)
        if golden is not None and not whole(golden):
            troubles.append(f"golden is gone or not whole: {golden}; there is no rollback at boot")
        return BootFacts(
            toplevel=booted,
            verdict=attempt.verdict if attempt is not None else "unknown",
            reason=attempt.reason if attempt is not None else "",
            failures=len(generation.failed(boot)),
            max_attempts=self._max_attempts,
            on_trial=not generation.blessed,
            golden=golden,
            golden_generation=self._number(golden),
            rollback=None
            if last is None
            else BootRollback(
                left=StorePath(last.left), to=StorePath(last.to), reason=last.reason, at=last.at, how=last.how
            ),
            troubles=tuple(troubles),
        )

    async def pin(self, toplevel: StorePath) -> None:
        """See `ports.Golden`."""
        if not whole(toplevel):
            raise Failed(
                f"{toplevel} cannot be golden: it is no whole NixOS system",
                meaning="golden is what it was",
                advice="`gitopsctl golden pin` pins what runs",
            )
        await self._locked(f"pin {toplevel} as golden", lambda _: self._pin(toplevel))

    def _pin(self, toplevel: StorePath) -> None:
        self._golden.set(toplevel)
        self._golden.keep_only_current()

    async def unpin(self) -> None:
        """See `ports.Golden`."""
        await self._locked("unpin golden", lambda _: self._golden.remove())

    async def make_default(self, reason: str, tag: str) -> StorePath:
        """See `ports.Golden`."""
        golden = self.pinned()
        if golden is None:
            raise Failed(
                "there is no golden generation",
                meaning="there is nothing to fall back to; the boot default is what it was",
                advice="boot or switch to a good generation, then `gitopsctl golden pin`",
            )
        if not whole(golden):
            raise Failed(
                f"golden is gone or not whole: {golden}",
                meaning="it cannot be fallen back to; the boot default is what it was",
                advice="boot or switch to a good generation, then `gitopsctl golden pin`",
            )
        structlog.get_logger().warning("golden made default", toplevel=golden, message=reason)
        await self._activator.set_profile(golden)
        status = await self._activator.activate(golden, "boot", tag)
        if status != 0:
            raise Failed(f"the boot loader was not installed for golden: {reads_switch(status)}")
        return golden

    async def forgive(self) -> int:
        """See `ports.Golden`."""
        return await self._locked("forget the bad boots", lambda record: record.forgive())

    def _number(self, golden: StorePath | None) -> int:
        found = self._system.generations()
        return max((number for number, target in found.items() if target == golden), default=0)

    async def _locked(self, what: str, work: Callable[[Record], T]) -> T:
        """Write in a thread: an fsync must not stop the event loop."""

        def locked() -> T:
            record = Record(self._record, self._disk)
            fd = record.lock()
            try:
                return work(record)
            finally:
                os.close(fd)

        try:
            return await asyncio.to_thread(locked)
        except OSError as error:
            raise Failed(
                f"cannot {what}: {error.strerror}",
                meaning="it is as it was before, or partly so",
                advice=f"see that {self._record} and {Path(self._golden.path).parent} are writable and not full",
            ) from error
