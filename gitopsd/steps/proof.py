"""The proof that a system is good, the same for a new one and for one that was rolled back to."""

from gitopsd.config import VerifyConfig
from gitopsd.policy import broken, newly_failed, still_starting, unsteady
from gitopsd.ports import Clock, Reporter, Units

_LOOK = 1.0  # seconds between two looks when no signal comes


async def prove(
    units: Units, clock: Clock, reporter: Reporter, wanted: VerifyConfig, failed_before: tuple[str, ...]
) -> str:
    """Watch the units until they are active, and then that they stay so.

    Args:
        units: systemd.
        clock: time.
        reporter: hears the progress.
        wanted: which units, how long.
        failed_before: units that had failed before the switch; activation clears the failed state, so this is older.

    Returns:
        What is wrong, one sentence; empty if the system proved itself.

    """
    names = wanted.validate_units
    async with units.watch() as watch:
        started = clock.monotonic()
        while True:
            seen = await units.health(names)
            problem = broken(seen) or newly_failed(failed_before, await units.failed())
            if problem:
                return problem
            late = still_starting(seen)
            if not late:
                break
            if clock.monotonic() - started > wanted.deadline:
                return f"{', '.join(late)} not active after {wanted.deadline:g} s"
            reporter.progress(f"waiting for {', '.join(late)}")
            await watch.wait(_LOOK)
        steady = seen
        started = clock.monotonic()
        while (elapsed := clock.monotonic() - started) < wanted.soak:
            reporter.progress(f"soaking, {wanted.soak - elapsed:.0f} s left")
            await watch.wait(min(_LOOK, wanted.soak - elapsed))
            seen = await units.health(names)
            problem = unsteady(steady, seen) or newly_failed(failed_before, await units.failed())
            if problem:
                return problem
    return ""
