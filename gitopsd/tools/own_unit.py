"""Our own unit: after an upgrade of gitopsd itself, the new one runs.

A switch leaves the daemon alone (`X-RestartIfChanged=false`), since it drives the switch. So it moves to its new version
by itself, at rest, as soon as the unit that the running system has is not the one it was started from.
"""

import os
from pathlib import Path

from gitopsd.tools.systemd import Systemd

UNIT = "gitopsd.service"
_FILE = Path("/run/current-system/etc/systemd/system") / UNIT


class OwnUnit:
    """`ports.Successor`.

    Args:
        systemd: the connection to PID 1.

    """

    def __init__(self, systemd: Systemd) -> None:
        self._systemd = systemd
        self._started_from = _text()

    def waits(self) -> bool:
        """See `ports.Successor`. A system that does not run us as a unit has no successor for us."""
        now = _text()
        return now is not None and now != self._started_from

    async def hand_over(self) -> None:
        """See `ports.Successor`."""
        unit = await self._systemd.unit(UNIT)
        if unit is not None and unit["MainPID"] == os.getpid():
            await self._systemd.restart_unit(UNIT)


def _text() -> str | None:
    try:
        return _FILE.read_text(encoding="utf-8")
    except OSError:
        return None
