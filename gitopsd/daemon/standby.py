"""`gitopsd --stand-by`: the old version watches the new one, and goes back if no gitopsd holds.

It runs in a transient unit of its own, from the program files of the old system, and trusts nothing of the new one: not
its gitopsd, not its configuration, not the version of its state. It begins before the new system is activated, since from
then on systemd starts the new one if the old one dies. While the old one lives it drives the deployment, and there is
nothing to be judged. What a rehearsal cannot show, shows here: a gitopsd that ends once it really works.
"""

from collections.abc import Callable, Collection
from functools import partial

import msgspec
import structlog

from gitopsd import events
from gitopsd.errors import GitopsdError
from gitopsd.ports import Activates, Clock, OwnLife
from gitopsd.tools.takeover import TakeoverRecord
from gitopsd.types import Life, StorePath, Takeover

HOLD = 90.0  # seconds that it must run on; longer than the watchdog of our unit, which ends what hangs from the start
LIMIT = 300.0  # seconds within which such a time must have begun and ended
LIVES = 3  # a new one that had to be started more often than this does not hold
_LOOK = 1.0  # seconds between two looks


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
        if takeover is None or takeover.stuck:
            return
        if not takeover.reason:
            takeover = await self._judged()
        if takeover is not None and takeover.reason:
            await self._go_back(takeover)

    async def _judged(self) -> Takeover | None:
        """Watch until it is known how it goes on; returns what is recorded then."""
        while True:
            takeover = self._record.read()
            if takeover is None:
                return None
            problem = await self._problem(takeover)
            if problem is None:
                continue  # the daemon has changed the record: another time begins
            # While it is activated, the old one may still be what runs.
            ours = (takeover.after, takeover.before) if takeover.deploying else (takeover.after,)
            if problem and self._running() not in ours:
                problem = ""  # it is no matter of that system any more
            into = msgspec.structs.replace(takeover, reason=problem) if problem else None
            if (found := self._record.change(partial(_unless_changed, takeover, into))) == into:
                return found

    async def _problem(self, takeover: Takeover) -> str | None:
        """Watch until it has held, or will not.

        Returns:
            Why not; empty if it has, or if a person has stopped it; None once something else is recorded.

        """
        began = since = self._clock.monotonic()
        seen: set[str] = set()
        last = takeover.invocation
        while self._record.read() == takeover:
            life, now = await self._own.look(), self._clock.monotonic()
            if life.invocation not in (takeover.invocation, last, ""):
                seen.add(life.invocation)
                last, since = life.invocation, now
            if life.active != "active":
                since = now
            held = life.active == "active" and now - since >= HOLD
            if held and seen and not takeover.deploying:
                return ""
            if takeover.deploying and (held or _is_driven(life, takeover)):
                began, seen = now, set()  # the deployment may take its time
            problem = _does_not_hold(life, takeover, seen)
            if problem is not None:
                return problem
            if now - began > LIMIT:
                return f"it has not run on for {HOLD:g} s within {LIMIT:g} s" if seen or takeover.deploying else ""
            await self._clock.sleep(_LOOK)
        return None

    async def _go_back(self, takeover: Takeover) -> None:
        message = f"the gitopsd of {takeover.after} does not hold: {takeover.reason}; going back to {takeover.before}"
        self._log.error("going back", message=message, toplevel=takeover.after)
        await self._own.stop()
        try:
            self._make_default(takeover.default)
        except OSError as error:
            self._log.error("boot default not set", message=f"{error.filename}: {error.strerror}")
        await self._activated(takeover, takeover.default, "boot")
        await self._own.stop()  # an activation that was waited for may have started it
        if kept := self._restore():
            self._log.warning("state restored", message=f"the state of the new version is kept as {kept}")
        await self._activated(takeover, takeover.before, "test")
        if self._running() != takeover.before:
            message = f"{takeover.before} could not be gone back to; a person is needed"
            self._log.critical(events.BLOCKED, message=message)
            self._record.write(msgspec.structs.replace(takeover, stuck=True))
        await self._own.start()

    async def _activated(self, takeover: Takeover, toplevel: StorePath, action: str) -> None:
        tag = f"takeover {takeover.invocation[:8]} {action}"
        try:
            status = await self._switching.activate(toplevel, action, tag, in_turn=True)
        except GitopsdError as error:
            self._log.error("not activated", message=f"{action}: {error.message}")
        else:
            if status not in (0, 4):
                self._log.error("not activated", message=f"{action}: status {status}")


def _is_driven(life: Life, takeover: Takeover) -> bool:
    """Whether the one that began the deployment goes on with it, or a person has stopped it: then it waits."""
    stopped = life.sub == "dead" and life.result == "success"
    return stopped or (life.active == "active" and life.invocation == takeover.invocation)


def _does_not_hold(life: Life, takeover: Takeover, seen: Collection[str]) -> str | None:
    """What is known at once: why it does not hold; empty if a person has stopped it; None if it is to be waited."""
    if (seen or takeover.deploying) and life.sub == "failed":
        return f"it failed ({life.result})"
    if takeover.deploying and life.sub == "dead" and life.result != "success":
        return f"it ended ({life.result}), and was not started again"
    if seen and not takeover.deploying and life.sub == "dead":
        return ""
    return f"it had to be started {len(seen)} times" if len(seen) > LIVES else None


def _unless_changed(seen: Takeover, into: Takeover | None, found: Takeover | None) -> Takeover | None:
    return into if found == seen else found
