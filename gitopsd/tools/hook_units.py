"""Hooks: a person's units, started over D-Bus and waited for, each once in a cycle whatever dies meanwhile.

systemd forgets a unit that ended well and that nobody refers to, and with it the InvocationID. Our reference ends with
our connection; so a daemon that was killed asks the journal whether PID 1 has started the unit (systemd.journal-fields(7)).
"""

from gitopsd.errors import Cause, GitopsdError, Transient
from gitopsd.ports import Clock
from gitopsd.tools.process import Processes
from gitopsd.tools.systemd import Systemd, Unit

_LOOK = 1.0  # seconds between two looks when no signal comes
_QUICK = 30.0  # seconds for the journal
_UNDER_WAY = ("activating", "reloading", "deactivating", "refreshing")


class HookUnits:
    """`ports.Hooks`.

    Args:
        systemd: the connection to PID 1.
        processes: starts journalctl.
        clock: time.

    """

    def __init__(self, systemd: Systemd, processes: Processes, clock: Clock) -> None:
        self._systemd = systemd
        self._processes = processes
        self._clock = clock

    async def last(self, unit: str) -> str:
        """See `ports.Hooks`."""
        return _invocation(await self._systemd.load(unit))

    async def run(self, unit: str, *, before: str, since: float, limit: float) -> str:
        """See `ports.Hooks`."""
        try:
            async with self._systemd.watch() as watch:
                loaded = await self._systemd.load(unit)
                if loaded["LoadState"] != "loaded":
                    return f"{unit} does not exist on this host ({loaded['LoadState']})"
                started_here = not await self._was_started(unit, loaded, before, since)
                if started_here:
                    await self._start(unit, before)
                deadline = self._clock.monotonic() + limit
                while _busy(seen := await self._systemd.load(unit)):
                    if self._clock.monotonic() > deadline:
                        await self._systemd.stop_unit(unit)
                        return f"{unit} did not end within {limit:g} s and was stopped"
                    await watch.wait(_LOOK)
        except GitopsdError as error:
            return f"{unit}: {error.message}"
        return _problem(unit, seen, before if started_here else None)

    async def _start(self, unit: str, before: str) -> None:
        """Start it, once: a start that nobody answered may have been one."""
        try:
            await self._systemd.start_once(unit)
        except Transient as error:
            if error.cause is not Cause.timeout:
                raise
            seen = await self._systemd.load(unit)
            if _invocation(seen) == before and not _busy(seen):
                await self._systemd.start_once(unit)

    async def _was_started(self, unit: str, loaded: Unit, before: str, since: float) -> bool:
        """Whether it was started by us before we died."""
        known = _invocation(loaded)
        if _busy(loaded) or (known and known != before):
            return True
        asked = ["journalctl", "--quiet", "--boot", "--output=cat", "--lines=1", f"--since=@{since:.6f}"]
        matches = ["_PID=1", f"UNIT={unit}", "JOB_TYPE=start"]
        answer = await self._processes.run([*asked, *matches], timeout=_QUICK, check=False)
        return bool(answer.stdout.strip())


def _busy(unit: Unit) -> bool:
    job = unit.get("Job", (0, ""))
    return job[0] != 0 or unit["ActiveState"] in _UNDER_WAY


def _invocation(unit: Unit) -> str:
    return bytes(unit.get("InvocationID", ())).hex()


def _problem(unit: str, seen: Unit, before: str | None) -> str:
    """What went wrong with it, now that it has ended.

    Args:
        unit: its name.
        seen: its properties.
        before: its InvocationID before we started it; None if that was another daemon's start.

    """
    if seen["ActiveState"] == "failed":
        return f"{unit} failed ({seen.get('Result', 'no result')}): `journalctl -u {unit}`"
    never_ran = before is not None and seen["ActiveState"] == "inactive" and _invocation(seen) == before
    skipped = seen.get("ConditionTimestampMonotonic", 0) != 0 and not seen.get("ConditionResult", True)
    if never_ran and not skipped:  # a condition that does not hold is how a unit says that there is nothing to do
        return f"{unit} was not started: something that it requires failed, see `journalctl -u {unit}`"
    return ""
