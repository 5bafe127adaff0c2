"""The proof that a system is good, the same for a new one and for one that was rolled back to."""

from gitopsd.config import VerifyConfig
from gitopsd.policy import broken, newly_failed, still_starting, unsteady
from gitopsd.ports import Prober, Reporter, Watch
from gitopsd.steps.instruments import Instruments
from gitopsd.steps.reach import Newer
from gitopsd.types import UnitHealth

_LOOK = 1.0  # seconds between two looks when no signal comes


async def prove(
    through: Instruments,
    reporter: Reporter,
    wanted: VerifyConfig,
    failed_before: tuple[str, ...],
    newer: Newer | None = None,
) -> str:
    """Watch the units and probes until they are good, and then that they stay so.

    Args:
        through: what to look through.
        reporter: hears the progress.
        wanted: which units, how long.
        failed_before: units that had failed before the switch; activation clears the failed state, so this is older.
        newer: ends the waiting for a system that is not good yet; a soak that goes well is never cut short.

    Returns:
        What is wrong, one sentence; empty if the system proved itself.

    """
    async with through.units.watch() as watch:
        steady, problem = await _become_good(through, reporter, wanted, failed_before, watch=watch, newer=newer)
        if not problem:
            problem = await _stay_good(through, reporter, wanted, failed_before, watch=watch, steady=steady)
    return problem or await _failing(through.prober, wanted)


async def _become_good(
    through: Instruments,
    reporter: Reporter,
    wanted: VerifyConfig,
    failed_before: tuple[str, ...],
    *,
    watch: Watch,
    newer: Newer | None,
) -> tuple[tuple[UnitHealth, ...], str]:
    started = through.clock.monotonic()
    while True:
        seen = await through.units.health(wanted.validate_units)
        problem = broken(seen) or newly_failed(failed_before, await through.units.failed())
        if problem:
            return seen, problem
        late = still_starting(seen)
        waiting = f"{', '.join(late)} not active" if late else await _failing(through.prober, wanted)
        if not waiting:
            return seen, ""
        if through.clock.monotonic() - started > wanted.deadline:
            return seen, f"{waiting} after {wanted.deadline:g} s"
        overtaken = await newer.arrived() if newer is not None else ""
        if overtaken:
            return seen, f"{waiting}; {overtaken}"
        reporter.progress(f"waiting: {waiting}")
        await watch.wait(_LOOK)


async def _stay_good(
    through: Instruments,
    reporter: Reporter,
    wanted: VerifyConfig,
    failed_before: tuple[str, ...],
    *,
    watch: Watch,
    steady: tuple[UnitHealth, ...],
) -> str:
    started = through.clock.monotonic()
    while (elapsed := through.clock.monotonic() - started) < wanted.soak:
        reporter.progress(f"soaking, {wanted.soak - elapsed:.0f} s left")
        await watch.wait(min(_LOOK, wanted.soak - elapsed))
        seen = await through.units.health(wanted.validate_units)
        problem = unsteady(steady, seen) or newly_failed(failed_before, await through.units.failed())
        if problem:
            return problem
    return ""


async def _failing(prober: Prober, wanted: VerifyConfig) -> str:
    """The first probe that does not pass now; empty if all do."""
    for probe in wanted.probes:
        problem = await prober.ask(probe)
        if problem:
            return problem
    return ""
