"""The proof that a system is good, the same for a new one and for one that was rolled back to."""

import msgspec

from gitopsd.config import VerifyConfig
from gitopsd.errors import Absent, Failed, GitopsdError, Transient
from gitopsd.policy import broken, newly_failed, short, still_starting, unsteady
from gitopsd.ports import Clock, ConfigSource, Prober, Reporter, Units, Watch
from gitopsd.types import Revision, UnitHealth

_ASK = 10.0  # seconds between two questions to the remote whether there is a newer revision
_LOOK = 1.0  # seconds between two looks when no signal comes


class Instruments(msgspec.Struct, frozen=True, kw_only=True):
    """What a proof looks through.

    Args:
        units: systemd.
        prober: asks services.
        source: the configuration's remote.
        clock: time.

    """

    units: Units
    prober: Prober
    source: ConfigSource
    clock: Clock


class Newer:
    """Whether a newer revision has arrived: then there is no point in waiting for a system that is not good yet.

    The remote is asked only while somebody waits for another upgrade: a push alone asks for nothing.

    Args:
        through: what to look through.
        reporter: knows whether somebody waits.
        revision: what is being proved; None if that is no revision of the branch.

    """

    def __init__(self, through: Instruments, reporter: Reporter, revision: Revision | None) -> None:
        self.found: Revision | None = None
        self._through = through
        self._reporter = reporter
        self._revision = revision
        self._asked = -_ASK

    async def arrived(self) -> str:
        """A sentence if it has; empty if not, or if the remote cannot tell."""
        now = self._through.clock.monotonic()
        if self._revision is None or not self._reporter.awaited() or now - self._asked < _ASK:
            return ""
        self._asked = now
        try:
            head = await self._through.source.fetch()
            if head == self._revision or not await self._through.source.descends(head, self._revision):
                return ""
        except GitopsdError:
            return ""
        self.found = head
        return f"given up for {short(head)}, which is newer"


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


async def cut_off(through: Instruments, reporter: Reporter, limit: float) -> str:
    """Whether the configuration's remote, which could be reached before, cannot be reached any more.

    Args:
        through: what to look through.
        reporter: hears the progress.
        limit: seconds that the network may take to come back.

    Returns:
        What is wrong, one sentence; empty if the remote answers.

    """
    started = through.clock.monotonic()
    while True:
        try:
            await through.source.fetch()
        except Absent:
            return ""  # what it has or has not is no matter of the system's
        except (Transient, Failed) as error:
            if through.clock.monotonic() - started > limit:
                return f"the configuration's remote cannot be reached any more ({error.message})"
            reporter.progress("waiting for the configuration's remote")
            await through.clock.sleep(_LOOK)
        else:
            return ""


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
