"""Our own unit: after an upgrade of gitopsd itself, the new one runs, and only one that is able to.

A switch leaves the daemon alone (`X-RestartIfChanged=false`), since it drives the switch. So it moves to its new version
by itself, at rest, as soon as the unit that the running system has is not the one it was started from. Before a system
with another unit, or with another configuration of ours, is called good, its gitopsd is rehearsed: started as its unit
says, sandbox and all, on a copy of our state, up to the point where it would be ready. Once it has taken over for real,
this version watches it from a unit of its own (`gitopsd --stand-by`), and goes back if it does not hold.
"""

import hashlib
import os
import sys
from pathlib import Path

from gitopsd.config import load
from gitopsd.errors import Cause, ConfigError, Failed, Transient
from gitopsd.ports import Clock
from gitopsd.tools.nix import store_path_at
from gitopsd.tools.rehearsal import REHEARSAL_LIMIT, rehearsal
from gitopsd.tools.systemd import Systemd, Unit, command, microseconds, text, texts
from gitopsd.tools.takeover import TakeoverRecord
from gitopsd.types import Life, StorePath, Takeover

UNIT = "gitopsd.service"
STAND_BY = "gitopsd-standby.service"
_SYSTEM = Path("/run/current-system")
_FILE = _SYSTEM / "etc/systemd/system" / UNIT
_REHEARSAL = "gitopsd-rehearsal.service"
_REHEARSAL_FILE = Path("/run/systemd/system") / _REHEARSAL
_SAID = Path("/run/gitopsd-rehearsal.log")
_LOOK = 0.5  # seconds between two looks when no signal comes
_STOP = 60.0  # seconds that the end of a gitopsd may take


class OwnUnit:
    """`ports.Successor`.

    Args:
        systemd: the connection to PID 1.
        clock: time.
        config: our configuration file.
        state: our state directory.

    """

    def __init__(self, systemd: Systemd, clock: Clock, config: Path, state: Path) -> None:
        self._systemd = systemd
        self._clock = clock
        self._config = config
        self._state = state
        self._started_from = _text(_FILE)
        self._started_in = store_path_at(_SYSTEM)

    def waits(self) -> bool:
        """See `ports.Successor`. A system that does not run us as a unit has no successor for us."""
        now = _text(_FILE)
        return now is not None and now != self._started_from

    def fingerprint(self) -> str:
        """See `ports.Successor`."""
        return f"{_digest(_text(_FILE))} {_digest(_text(self._config))}"

    async def rehearse(self, before: str) -> str:
        """See `ports.Successor`."""
        if self._started_from is None:
            return ""
        unit = _text(_FILE)
        if unit is None:
            return f"the new system has no {UNIT}: this host would never fetch again"
        now = self.fingerprint()
        if now == before or (now.split()[1] == before.rsplit(maxsplit=1)[-1] and not _is_right(self._config)):
            return ""  # a file that a person has spoilt before is no fault of the new system's
        problem = await self._rehearsed(unit)
        return f"the gitopsd of the new system does not start: {problem}" if problem else ""

    def came_from(self) -> StorePath | None:
        """See `ports.Successor`."""
        came_from = self._started_in
        return came_from if came_from is not None and Path(came_from).exists() else None

    async def hand_over(self, spare: StorePath | None) -> None:
        """See `ports.Successor`."""
        problem = await self._rehearsed(_text(_FILE) or "")
        if problem:
            raise Failed(f"the gitopsd of the running system does not start: {problem}")
        unit = await self._systemd.unit(UNIT)
        if unit is not None and unit["MainPID"] == os.getpid():
            after = store_path_at(_SYSTEM)
            if spare is not None and after not in (None, spare):
                await self._stand_by(spare, after, _invocation(unit))
            await self._systemd.restart_unit(UNIT)

    async def watch_on(self) -> None:
        """See `ports.Successor`."""
        takeover = TakeoverRecord(self._state).read()
        if takeover is not None and await self._systemd.unit(STAND_BY) is None:
            await self._start_watch(takeover)

    async def _stand_by(self, before: StorePath, after: StorePath, invocation: str) -> None:
        """Record it, then have this version watch from outside."""
        if await self._systemd.unit(STAND_BY) is not None:
            raise Transient("the watch over an earlier takeover has not ended", cause=Cause.lock_held)
        program = str(Path(sys.argv[0]).resolve())  # noqa: ASYNC240  # a link or two
        takeover = Takeover(before=before, after=after, invocation=invocation, program=program)
        try:
            TakeoverRecord(self._state).write(takeover)
        except OSError as error:
            raise Failed(f"the takeover cannot be recorded: {error.filename}: {error.strerror}") from error
        await self._start_watch(takeover)

    async def _start_watch(self, takeover: Takeover) -> None:
        """A transient unit, so that no switch stops it."""
        argv = [takeover.program, "--stand-by", "--state-dir", str(self._state)]
        properties: list[tuple[str, object]] = [
            ("Description", text("The old gitopsd watches the new one")),
            ("Type", text("exec")),
            ("ExecStart", command(argv)),
            ("Environment", texts([f"PATH={os.environ.get('PATH', '')}"])),
            ("CollectMode", text("inactive-or-failed")),
            # It finishes what it has begun: the record tells it where it was.
            ("Restart", text("on-failure")),
            ("RestartUSec", microseconds(1)),
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
                    said = (_text(_SAID) or "").strip().removeprefix("gitopsd: ")
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
        if await self._systemd.unit(UNIT) is None:
            return
        await self._systemd.stop_unit(UNIT)
        give_up = self._clock.monotonic() + _STOP
        while (await self.look()).sub not in ("dead", "failed") and self._clock.monotonic() < give_up:
            await self._clock.sleep(_LOOK)

    async def start(self) -> None:
        """See `ports.OwnLife`."""
        if (await self.look()).sub == "failed":  # it may have been started too often
            await self._systemd.reset_failed(UNIT)
        await self._systemd.start_unit(UNIT)


def _invocation(unit: Unit) -> str:
    """Systemd's id of this life of a unit, in hexadecimal (systemd.exec(5), $INVOCATION_ID)."""
    return bytes(unit["InvocationID"]).hex()


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


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
