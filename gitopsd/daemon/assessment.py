"""The daemon's part in the assessment of a boot: it watches, shows, and draws the conclusions.

The assessment itself is done by the units `gitopsd-boot-*`, which work without us. What a rollback at boot means for
what is deployed and rejected is concluded here, at the start; what a good boot means for a deployment that waited for
it, as soon as there is a verdict.
"""

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from gitopsd import events
from gitopsd.daemon.board import Board
from gitopsd.daemon.step_set import StepSet
from gitopsd.errors import GitopsdError
from gitopsd.policy import after_boot
from gitopsd.ports import Clock, ConfigSource, Store, Units
from gitopsd.types import BootConclusion, Deployed

STAGES = (
    "gitopsd-boot-begin.service",
    "gitopsd-boot-verify.service",
    "boot-complete.target",
    "gitopsd-boot-bless.service",
)
_HISTORY = 500  # cycles that are looked through for where a toplevel came from
_PAUSE = 0.2  # seconds between two looks at most: at boot, every unit changes
_LOOK = 5.0  # seconds between two looks when no signal comes


async def mark_deployed(source: ConfigSource, deployed: Deployed) -> None:
    """Mark it in the mirror, for a host whose record is lost. A mirror that is lost is made again by the next fetch."""
    try:
        await source.mark_deployed(deployed.revision)
    except GitopsdError as error:
        structlog.get_logger().warning("not marked as deployed", revision=deployed.revision, message=error.message)


class Assessment:
    """Watches one boot.

    Args:
        units: systemd.
        steps: those in force.
        store: the durable record.
        board: shows it.
        clock: time.

    """

    def __init__(self, *, units: Units, steps: Callable[[], StepSet], store: Store, board: Board, clock: Clock) -> None:
        self._units = units
        self._steps = steps
        self._store = store
        self._board = board
        self._clock = clock
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Watch until there is a verdict and nothing of the assessment runs any more."""
        while True:
            try:
                if await self._watch():
                    return
            except GitopsdError as error:
                self._log.warning("boot not watched", message=error.message)
                await asyncio.sleep(_LOOK)

    async def conclude(self) -> None:
        """Draw the conclusions from what is known now. Repeatable."""
        facts, steps = self._steps().golden.facts(), self._steps()
        memory, history = await self._store.memory(), await self._store.history(_HISTORY)
        conclusion = after_boot(facts, memory, history, self._clock.now())
        if conclusion is None:
            return
        self._log_conclusion(conclusion)  # first: the reboot that follows may end us at any await, and it is told once
        await self._store.conclude_boot(conclusion)
        memory = await self._store.memory()
        self._board.change(deployed=memory.deployed, rejected=memory.rejected, blocked=memory.blocked)
        if conclusion.deployed is not None and steps.source is not None:
            await mark_deployed(steps.source, conclusion.deployed)

    async def _watch(self) -> bool:
        async with self._units.watch() as watch:
            while True:
                stage, runs = await self._stage()
                facts = msgspec.structs.replace(self._steps().golden.facts(), stage=stage)
                if facts != self._board.snapshot.boot:
                    self._board.change(boot=facts)
                await self.conclude()
                if not runs:
                    return True
                await asyncio.sleep(_PAUSE)
                await watch.wait(_LOOK)

    async def _stage(self) -> tuple[str, bool]:
        """The unit that runs now, and whether the assessment is under way: begun, and not at its end."""
        begin, *later = await self._units.health(STAGES)
        running = next((unit.name for unit in (begin, *later) if unit.active == "activating"), "")
        bless, failed = later[-1], any(unit.active == "failed" for unit in later)
        return running, begin.loaded and (bool(running) or (bless.active != "active" and not failed))

    def _log_conclusion(self, conclusion: BootConclusion) -> None:
        """What the boot itself came to, its own units have told already."""
        if conclusion.rejection is not None:
            rejected = conclusion.rejection
            self._log.warning(events.REJECTED, revision=rejected.revision, message=rejected.reason)
        elif conclusion.deployed is not None:
            deployed = conclusion.deployed
            message = "it booted well"
            self._log.info(events.DEPLOYED, revision=deployed.revision, toplevel=deployed.toplevel, message=message)
        if conclusion.blocked:
            self._log.critical(events.BLOCKED, message=conclusion.blocked)
