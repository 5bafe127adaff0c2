"""Our own unit: after an upgrade of gitopsd itself, the new one runs, and only one that is able to.

A switch leaves the daemon alone (`X-RestartIfChanged=false`), since it drives the switch. So it moves to its new version
by itself, at rest, as soon as the unit that the running system has is not the one it was started from. Before a system
with another unit, or with another configuration of ours, is called good, its gitopsd is rehearsed: started as its unit
says, sandbox and all, on a copy of our state, up to the point where it would be ready.

But from the activation on, systemd starts the new version if this one dies. So before it, this version begins to watch
from a unit of its own (`gitopsd --stand-by`), and goes back if no gitopsd holds: first while the system is activated and
proved, then for a while once the new one has taken over.
"""

import hashlib
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from gitopsd.config import load
from gitopsd.errors import Cause, ConfigError, Failed, Transient
from gitopsd.ports import Clock
from gitopsd.tools.activation import UNIT as ACTIVATION
from gitopsd.tools.nix import store_path_at
from gitopsd.tools.rehearsal import REHEARSAL_LIMIT, rehearsal
from gitopsd.tools.systemd import Systemd, Unit, command, microseconds, number, text, texts
from gitopsd.tools.takeover import TakeoverRecord
from gitopsd.tools.unit_files import UNIT, UNITS, text_of, unit_of
from gitopsd.types import Life, StorePath, Takeover

STAND_BY = "gitopsd-standby.service"
_SYSTEM = Path("/run/current-system")
_SOCKET = "gitopsd.socket"
_REHEARSAL = "gitopsd-rehearsal.service"
_REHEARSAL_FILE = Path("/run/systemd/system") / _REHEARSAL
_SAID = Path("/run/gitopsd-rehearsal.log")
_EITHER = ""  # the unit of a life that began in the middle of an activation: of the old system or of the new one
_LOOK = 0.5  # seconds between two looks when no signal comes
_SHORT = 0.05  # the same, for what takes no time
_STOP = 60.0  # seconds that the end of a gitopsd may take
EARLIER_WATCH = 420.0
"""Seconds that the watch over an earlier takeover may go on; more than `daemon.standby.LIMIT`."""


class OwnUnit:
    """`ports.Successor`.

    Args:
        systemd: the connection to PID 1.
        clock: time.
        config: our configuration file.
        state: our state directory.
        keep_copy: of the state, which this version can read whatever a newer one makes of it.

    """

    def __init__(
        self, systemd: Systemd, clock: Clock, config: Path, state: Path, keep_copy: Callable[[], Awaitable[None]]
    ) -> None:
        self._systemd = systemd
        self._clock = clock
        self._config = config
        self._state = state
        self._keep_copy = keep_copy
        self._record = TakeoverRecord(state)
        self._started_from = unit_of(_SYSTEM)
        self._started_in = store_path_at(_SYSTEM)

    async def begin(self) -> None:
        """Find out whether this life may have begun from the old unit although the new system runs already.

        systemd reads its units again only some time after that.

        Raises:
            GitopsdError: systemd cannot be reached.

        """
        takeover = self._record.read()
        if takeover is None or not takeover.deploying or takeover.after != self._started_in:
            return
        activation, own = await self._systemd.unit(ACTIVATION), await self._systemd.unit(UNIT)
        if activation is None or own is None:
            return
        ended = int(activation["ExecMainExitTimestampMonotonic"])  # 0: it has not
        if not ended or ended > int(own["ExecMainStartTimestampMonotonic"]):
            self._started_from = _EITHER

    def waits(self) -> bool:
        """See `ports.Successor`. A system that does not run us as a unit has no successor for us."""
        now = unit_of(_SYSTEM)
        return now is not None and now != self._started_from

    def fingerprint(self) -> str:
        """See `ports.Successor`."""
        return f"{_digest(unit_of(_SYSTEM))} {_digest(text_of(self._config))}"

    async def rehearse(self, before: str) -> str:
        """See `ports.Successor`."""
        if self._started_from is None:
            return ""
        unit = unit_of(_SYSTEM)
        if unit is None:
            return f"the new system has no {UNIT}: this host would never fetch again"
        now = self.fingerprint()
        if now == before or (now.split()[1] == before.rsplit(maxsplit=1)[-1] and not _is_right(self._config)):
            return ""  # a file that a person has spoilt before is no fault of the new system's
        problem = await self._rehearsed(unit)
        return f"the gitopsd of the new system does not start: {problem}" if problem else ""

    def came_from(self) -> StorePath | None:
        """See `ports.Successor`."""
        takeover = self._record.read()
        guarded = takeover is not None and takeover.deploying and takeover.after == store_path_at(_SYSTEM)
        came_from = takeover.before if takeover is not None and guarded else self._started_in
        return came_from if came_from is not None and Path(came_from).exists() else None

    async def alone(self, progress: Callable[[str], None]) -> None:
        """See `ports.Successor`. A guard of our own is no watch over an earlier takeover: we have not handed over."""
        give_up = self._clock.monotonic() + EARLIER_WATCH
        while (takeover := self._record.read()) is not None and not await self._is_our_guard(takeover):
            if self._clock.monotonic() > give_up:
                raise _watched_already()
            progress("waiting until the gitopsd that has taken over has proved itself")
            await self.watch_on()
            await self._clock.sleep(_LOOK)

    async def guard(self, before: StorePath, after: StorePath, default: StorePath | None) -> None:
        """See `ports.Successor`. The record comes before the watch: whoever starts next has it begin."""
        found = self._record.read()
        invocation = "" if self._same(before, after) else await self._our_invocation()
        if found is not None and found.deploying and found.after == after:
            if invocation and self._started_from != unit_of(
                Path(after)
            ):  # another life of the old version drives it now
                self._change(found, msgspec.structs.replace(found, invocation=invocation))
            await self.watch_on()
            return
        if not invocation:
            return
        takeover = Takeover(
            before=before,
            default=default or before,
            after=after,
            invocation=invocation,
            boot_id=self._clock.boot_id(),
            program=_program(),
            deploying=True,
        )
        await self._watch(takeover)

    async def settle(self) -> None:
        """See `ports.Successor`. Looks at what runs: it matters not how the cycle has ended."""
        takeover = self._record.read()
        if takeover is None or not takeover.deploying or takeover.reason:
            return
        ours = await self._is_our_guard(takeover)
        if takeover.after == store_path_at(_SYSTEM) and not (ours and not self.waits()):
            if not ours:  # it is the new one already that has brought the deployment to its end
                self._change(takeover, msgspec.structs.replace(takeover, deploying=False))
            return  # else it hands over next
        if self._change(takeover, None):
            await self._end_watch()

    async def hand_over(self, spare: StorePath | None) -> None:
        """See `ports.Successor`."""
        problem = await self._rehearsed(unit_of(_SYSTEM) or "")
        if problem:
            raise Failed(
                f"the gitopsd of the running system does not start: {problem}",
                meaning="the one that runs goes on, and hands over once it would start",
                advice="`gitopsd --rehearse` of that system tells it anew; push a fix or a revert",
            )
        invocation = await self._our_invocation()
        if invocation:
            await self._handing_over(spare, store_path_at(_SYSTEM), invocation)
            await self._systemd.restart_unit(UNIT)

    async def watch_on(self) -> None:
        """See `ports.Successor`."""
        takeover = self._record.read()
        if takeover is not None and await self._systemd.unit(STAND_BY) is None:
            await self._start_watch(takeover)

    async def _handing_over(self, spare: StorePath | None, after: StorePath | None, invocation: str) -> None:
        """Have the new version watched from here on, or nobody."""
        found = self._record.read()
        if found is not None and not found.deploying and found.invocation != invocation:
            raise _watched_already()  # else we have handed over already, and were not restarted
        if spare is None or after in (None, spare):
            if found is not None and self._change(found, None):
                await self._end_watch()
            return
        await self._keep_copy()
        if found is not None and found.after == after:
            self._change(found, msgspec.structs.replace(found, deploying=False, invocation=invocation))
            await self.watch_on()
            return
        takeover = Takeover(
            before=spare,
            default=spare,
            after=after,
            invocation=invocation,
            boot_id=self._clock.boot_id(),
            program=_program(),
        )
        await self._watch(takeover)

    async def _watch(self, takeover: Takeover) -> None:
        """Record a takeover, then have this version watch it from outside."""
        await self._end_watch()  # one that is about to end would not look again
        try:
            await self._keep_copy()
            self._record.write(takeover)
        except Failed as error:
            raise _unguarded(error.message) from error
        except OSError as error:
            raise _unguarded(f"{error.filename}: {error.strerror}") from error
        await self._start_watch(takeover)

    def _change(self, seen: Takeover, into: Takeover | None) -> bool:
        """Change the record, unless who watches has changed it meanwhile; whether it is as wanted now."""
        try:
            return self._record.change(lambda found: into if found == seen else found) == into
        except OSError as error:
            raise _unguarded(f"{error.filename}: {error.strerror}") from error

    async def _our_invocation(self) -> str:
        """Systemd's id of this life; empty if this is not the unit's main process."""
        unit = await self._systemd.unit(UNIT)
        return _invocation(unit) if unit is not None and unit["MainPID"] == os.getpid() else ""

    async def _is_our_guard(self, takeover: Takeover) -> bool:
        return takeover.deploying and takeover.invocation == await self._our_invocation()

    def _same(self, before: StorePath, after: StorePath) -> bool:
        """Whether both systems have the same gitopsd, started in the same way, with the same configuration."""
        return _whole(Path(before), self._config) == _whole(Path(after), self._config)

    async def _end_watch(self) -> None:
        """Returns once nobody watches; what was recorded stays."""
        if await self._systemd.unit(STAND_BY) is None:
            return
        await self._systemd.stop_unit(STAND_BY)
        give_up = self._clock.monotonic() + _STOP
        while await self._systemd.unit(STAND_BY) is not None:
            if self._clock.monotonic() > give_up:
                raise Transient(f"{STAND_BY} does not end", cause=Cause.lock_held)
            await self._clock.sleep(_SHORT)

    async def _start_watch(self, takeover: Takeover) -> None:
        """A transient unit, so that no switch stops it."""
        argv = [takeover.program, "--stand-by", "--state-dir", str(self._state)]
        properties: list[tuple[str, object]] = [
            ("Description", text("The old gitopsd watches the new one")),
            ("Type", text("exec")),
            ("ExecStart", command(argv)),
            ("Environment", texts([f"PATH={os.environ.get('PATH', '')}"])),
            ("CollectMode", text("inactive-or-failed")),
            # It finishes what it has begun, however often it is killed: the record tells it where it was.
            ("Restart", text("on-failure")),
            ("RestartUSec", microseconds(1)),
            ("StartLimitIntervalUSec", microseconds(0)),
            # When memory is short it is what should be left: it is small, and all that watches.
            ("OOMScoreAdjust", number(-900)),
        ]
        await self._systemd.start_transient(STAND_BY, properties)

    async def _rehearsed(self, unit: str) -> str:
        """Run the rehearsal as a unit of its own; returns what is wrong."""
        _write(rehearsal(unit, errors_to=str(_SAID)))
        try:
            await self._systemd.reload()
            return await self._result()
        finally:
            found = await self._systemd.unit(_REHEARSAL)
            if found is not None and found["ActiveState"] == "failed":
                await self._systemd.reset_failed(_REHEARSAL)
            elif found is not None:
                await self._systemd.stop_unit(_REHEARSAL)
            _clear()
            await self._systemd.reload()

    async def _result(self) -> str:
        async with self._systemd.watch() as watch:
            await self._systemd.start_unit(_REHEARSAL)
            deadline = self._clock.monotonic() + REHEARSAL_LIMIT + 10
            while self._clock.monotonic() < deadline:
                found = await self._systemd.unit(_REHEARSAL)
                if found is not None and found["SubState"] == "exited":
                    return ""
                if found is not None and found["ActiveState"] == "failed":
                    said = (text_of(_SAID) or "").strip().removeprefix("gitopsd: ")
                    return said or f"{found['Result']}, status {found['ExecMainStatus']}"
                await watch.wait(_LOOK)
        return f"it was not ready within {REHEARSAL_LIMIT:g} s"


class OwnService:
    """`ports.OwnLife`.

    Args:
        systemd: the connection to PID 1.
        clock: time.

    """

    def __init__(self, systemd: Systemd, clock: Clock) -> None:
        self._systemd = systemd
        self._clock = clock

    async def look(self) -> Life:
        """See `ports.OwnLife`. A unit that systemd has not in memory is inactive."""
        unit = await self._systemd.unit(UNIT)
        if unit is None:
            return Life(active="inactive", sub="dead", result="", invocation="")
        return Life(
            active=str(unit["ActiveState"]),
            sub=str(unit["SubState"]),
            result=str(unit["Result"]),
            invocation=_invocation(unit),
        )

    async def stop(self) -> None:
        """See `ports.OwnLife`."""
        for each in (_SOCKET, UNIT):  # whoever asks it something would have it started again
            if await self._systemd.unit(each) is not None:
                await self._systemd.stop_unit(each)
        give_up = self._clock.monotonic() + _STOP
        while (await self.look()).sub not in ("dead", "failed") and self._clock.monotonic() < give_up:
            await self._clock.sleep(_LOOK)

    async def start(self) -> None:
        """See `ports.OwnLife`. It brings its socket with it."""
        if (await self.look()).sub == "failed":  # it may have been started too often
            await self._systemd.reset_failed(UNIT)
        await self._systemd.start_unit(UNIT)


def _invocation(unit: Unit) -> str:
    """Systemd's id of this life of a unit, in hexadecimal (systemd.exec(5), $INVOCATION_ID)."""
    return bytes(unit["InvocationID"]).hex()


def _whole(toplevel: Path, config: Path) -> tuple[str | None, ...]:
    """What of a system decides whether our unit starts there, as far as it is ours."""
    settings = toplevel / config.relative_to("/") if config.is_absolute() else config
    return unit_of(toplevel), text_of(toplevel / UNITS / _SOCKET), text_of(settings)


def _program() -> str:
    return str(Path(sys.argv[0]).resolve())


def _watched_already() -> Transient:
    return Transient(
        "the watch over an earlier takeover has not ended",
        cause=Cause.lock_held,
        advice=f"`systemctl status {STAND_BY}`",
    )


def _unguarded(why: str) -> Transient:
    """It is raised before anything is activated, and says so by its cause, as for an activation that may not begin."""
    return Transient(f"the takeover cannot be recorded: {why}", cause=Cause.lock_held)


def _write(text: str) -> None:
    _REHEARSAL_FILE.parent.mkdir(parents=True, exist_ok=True)
    _REHEARSAL_FILE.write_text(text, encoding="utf-8")


def _clear() -> None:
    _REHEARSAL_FILE.unlink(missing_ok=True)
    _SAID.unlink(missing_ok=True)


def _digest(text: str | None) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest() if text is not None else "none"


def _is_right(config: Path) -> bool:
    try:
        load(config)
    except ConfigError:
        return False
    return True
