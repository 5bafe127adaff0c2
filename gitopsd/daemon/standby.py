"""`gitopsd --stand-by`: the old version watches the new one that has taken over, and goes back if it does not hold.

It runs in a transient unit of its own, from the program files of the old system, and trusts nothing of the new one: not
its gitopsd, not its configuration, not the version of its state. What a rehearsal cannot show, shows here: a gitopsd that
ends once it really works.
"""

from collections.abc import Callable

import msgspec
import structlog

from gitopsd import events
from gitopsd.errors import Cause, GitopsdError, Transient
from gitopsd.ports import Activates, Clock, OwnLife
from gitopsd.tools.takeover import TakeoverRecord
from gitopsd.types import StorePath, Takeover

HOLD = 90.0  # seconds that it must run on; longer than the watchdog of our unit, which ends what hangs from the start
LIMIT = 300.0  # seconds within which such a time must have begun and ended
LIVES = 3  # a new one that had to be started more often than this does not hold
_LOOK = 1.0  # seconds between two looks
_BUSY = 900.0  # seconds that somebody else's activation may hold us up


class StandBy:
    """The watch over one takeover.

    Args:
        record: of the takeover.
        own: gitopsd's own unit.
        switching: activates the old system.
        clock: time.
        running: the toplevel that runs.
        make_default: makes a toplevel what the system profile stands for.
        restore: gives the old version a state that it can read; returns what was put aside for that.

    """

    def __init__(
        self,
        record: TakeoverRecord,
        own: OwnLife,
        switching: Activates,
        clock: Clock,
        *,
        running: Callable[[], StorePath | None],
        make_default: Callable[[StorePath], object],
        restore: Callable[[], str],
    ) -> None:
        self._record = record
        self._own = own
        self._switching = switching
        self._clock = clock
        self._running = running
        self._make_default = make_default
        self._restore = restore
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Looks before it acts: a way back that was cut off is finished."""
        takeover = self._record.read()
        if takeover is None:
            return
        if not takeover.reason:
            problem = await self._problem(takeover)
            if problem and self._running() != takeover.after:
                problem = ""  # it is no matter of that system any more
            if not problem:
                self._record.remove()
                return
            takeover = msgspec.structs.replace(takeover, reason=problem)
            self._record.write(takeover)
        await self._go_back(takeover)

    async def _problem(self, takeover: Takeover) -> str:
        """Watch until it has held, or will not; returns why not, empty if it has, or if a person has stopped it."""
        began = since = self._clock.monotonic()
        seen: set[str] = set()
        last = takeover.invocation
        while True:
            life = await self._own.look()
            now = self._clock.monotonic()
            if life.invocation not in (takeover.invocation, last):
                seen.add(life.invocation)
                last, since = life.invocation, now
            if life.active != "active":
                since = now
            elif last != takeover.invocation and now - since >= HOLD:
                return ""
            if seen and life.sub == "failed":
                return f"it failed ({life.result})"
            if seen and life.sub == "dead":
                return ""
            if len(seen) > LIVES:
                return f"it had to be started {len(seen)} times"
            if now - began > LIMIT:
                return f"it has not run on for {HOLD:g} s within {LIMIT:g} s" if seen else ""
            await self._clock.sleep(_LOOK)

    async def _go_back(self, takeover: Takeover) -> None:
        message = f"the gitopsd of {takeover.after} does not hold: {takeover.reason}; going back to {takeover.before}"
        self._log.error("going back", message=message, toplevel=takeover.after)
        await self._own.stop()
        if kept := self._restore():
            self._log.warning("state restored", message=f"the state of the new version is kept as {kept}")
        try:
            self._make_default(takeover.before)
        except OSError as error:
            self._log.error("boot default not set", message=f"{error.filename}: {error.strerror}")
        for action in ("boot", "test"):
            try:
                status = await self._activated(takeover, action)
            except GitopsdError as error:
                self._log.error("not activated", message=f"{action}: {error.message}")
            else:
                if status not in (0, 4):
                    self._log.error("not activated", message=f"{action}: status {status}")
        if self._running() != takeover.before:
            message = f"{takeover.before} could not be gone back to; a person is needed"
            self._log.critical(events.BLOCKED, message=message)
        await self._own.start()

    async def _activated(self, takeover: Takeover, action: str) -> int:
        give_up = self._clock.monotonic() + _BUSY
        while True:
            try:
                return await self._switching.activate(
                    takeover.before, action, f"takeover {takeover.invocation[:8]} {action}"
                )
            except Transient as error:
                if error.cause is not Cause.lock_held or self._clock.monotonic() > give_up:
                    raise
            await self._clock.sleep(_LOOK)
