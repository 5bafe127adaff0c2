"""Our own unit: after an upgrade of gitopsd itself, the new one runs, and only one that is able to.

A switch leaves the daemon alone (`X-RestartIfChanged=false`), since it drives the switch. So it moves to its new version
by itself, at rest, as soon as the unit that the running system has is not the one it was started from. Before a system
with another unit, or with another configuration of ours, is called good, its gitopsd is rehearsed: started as its unit
says, sandbox and all, on a copy of our state, up to the point where it would be ready.
"""

import hashlib
import os
from pathlib import Path

from gitopsd.config import load
from gitopsd.errors import ConfigError, Failed
from gitopsd.ports import Clock
from gitopsd.tools.rehearsal import REHEARSAL_LIMIT, rehearsal
from gitopsd.tools.systemd import Systemd

UNIT = "gitopsd.service"
_FILE = Path("/run/current-system/etc/systemd/system") / UNIT
_REHEARSAL = "gitopsd-rehearsal.service"
_REHEARSAL_FILE = Path("/run/systemd/system") / _REHEARSAL
_SAID = Path("/run/gitopsd-rehearsal.log")
_LOOK = 0.5  # seconds between two looks when no signal comes


class OwnUnit:
    """`ports.Successor`.

    Args:
        systemd: the connection to PID 1.
        clock: time.
        config: our configuration file.

    """

    def __init__(self, systemd: Systemd, clock: Clock, config: Path) -> None:
        self._systemd = systemd
        self._clock = clock
        self._config = config
        self._started_from = _text(_FILE)

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

    async def hand_over(self) -> None:
        """See `ports.Successor`."""
        problem = await self._rehearsed(_text(_FILE) or "")
        if problem:
            raise Failed(f"the gitopsd of the running system does not start: {problem}")
        unit = await self._systemd.unit(UNIT)
        if unit is not None and unit["MainPID"] == os.getpid():
            await self._systemd.restart_unit(UNIT)

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
