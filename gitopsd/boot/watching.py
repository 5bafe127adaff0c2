"""What a boot must prove, over time."""

from collections.abc import Callable, Sequence

from gitopsd.config import ProbeConfig
from gitopsd.errors import Transient
from gitopsd.policy import broken, still_starting, unsteady
from gitopsd.ports import Prober, Units, Watch
from gitopsd.types import UnitHealth

_LOOK = 1.0  # seconds between two looks when no signal comes


class Watching:
    """Watches a boot.

    Args:
        units: systemd.
        prober: asks services.
        monotonic: seconds of a clock that never jumps.
        names: units that must become active and stay so.
        own: the unit that keeps this host in touch; so must it, where the system has it and something wants it.
        probes: what must answer.
        deadline: seconds that both may take.
        soak: seconds that the units must stay active.

    """

    def __init__(
        self,
        units: Units,
        prober: Prober,
        monotonic: Callable[[], float],
        *,
        names: Sequence[str],
        own: str,
        probes: Sequence[ProbeConfig],
        deadline: float,
        soak: float,
    ) -> None:
        self._units = units
        self._prober = prober
        self._monotonic = monotonic
        self._names = names
        self._own = own
        self._probes = probes
        self._deadline = deadline
        self._soak = soak

    async def problem(self) -> str:
        """What is wrong, one sentence; empty once the boot has proved itself.

        Raises:
            GitopsdError: systemd cannot be asked.

        """
        async with self._units.watch() as watch:
            steady, problem = await self._becoming(watch)
            problem = problem or await self._staying(watch, steady)
        return problem or await self._unanswered()

    async def _becoming(self, watch: Watch) -> tuple[tuple[UnitHealth, ...], str]:
        started = self._monotonic()
        while True:
            waiting = ""
            seen: tuple[UnitHealth, ...] = ()
            try:
                seen = await self._health()
            except Transient as error:  # the bus is not up yet
                waiting = error.message
            if problem := broken(seen):
                return seen, problem
            if late := still_starting(seen):
                waiting = f"{', '.join(late)} not active"
            waiting = waiting or await self._unanswered()
            if not waiting:
                return seen, ""
            if self._monotonic() - started > self._deadline:
                return seen, f"{waiting} after {self._deadline:g} s"
            await watch.wait(_LOOK)

    async def _staying(self, watch: Watch, steady: tuple[UnitHealth, ...]) -> str:
        started, names = self._monotonic(), tuple(each.name for each in steady)
        while (elapsed := self._monotonic() - started) < self._soak:
            await watch.wait(min(_LOOK, self._soak - elapsed))
            if problem := unsteady(steady, await self._units.health(names)):
                return problem
        return ""

    async def _health(self) -> tuple[UnitHealth, ...]:
        """Of the units that this boot must prove; a person may have disabled the daemon, or masked it."""
        if self._own in self._names:
            return await self._units.health(self._names)
        *seen, own = await self._units.health((*self._names, self._own))
        return (*seen, own) if own.loaded and own.wanted else tuple(seen)

    async def _unanswered(self) -> str:
        """The first probe that does not pass now; empty if all do."""
        for probe in self._probes:
            if problem := await self._prober.ask(probe):
                return problem
        return ""
