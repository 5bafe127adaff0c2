"""Before and after a reboot: what was deployed for it is taken up, and a required one is brought about."""

from collections.abc import Callable
from functools import partial

import msgspec
import structlog

from gitopsd.daemon.board import Board
from gitopsd.daemon.notify import Notify
from gitopsd.daemon.recording import Recording
from gitopsd.daemon.step_set import StepSet
from gitopsd.errors import GitopsdError
from gitopsd.machine import State
from gitopsd.policy import is_suspended, local_time
from gitopsd.ports import Clock, Golden, Power, Store
from gitopsd.types import BOOTED, Cycle, CycleKind, Rebooting, RebootNeed, SystemFacts

_ASSESSED = 600.0  # seconds that the assessment of a boot may take before nothing waits for it any more
_HELD = 60.0  # seconds between two looks while a suspension or a blocked host holds a reboot up


class AroundReboots:
    """Acts at the start, and between two cycles, where nothing is under way.

    Args:
        store: the durable record.
        board: shows that a reboot is required.
        clock: time.
        notify: systemd.
        recording: waits for a disk that is full.

    """

    def __init__(self, store: Store, board: Board, clock: Clock, notify: Notify, recording: Recording) -> None:
        self._store = store
        self._recording = recording
        self._board = board
        self._clock = clock
        self._notify = notify
        self._log = structlog.get_logger()

    async def booted(self, steps: StepSet) -> Cycle | None:
        """The cycle in which a deployment that waited for the reboot, and runs now, proves itself; None if there is none."""
        waits = (await self._store.memory()).at_reboot
        if waits is None or waits.facts.built is None or waits.facts.switching is None:
            return None
        system, boot = steps.activator.facts(), self._clock.boot_id()
        if waits.facts.switching.boot_id == boot:
            return None
        if system.current == waits.facts.built.toplevel:
            if not await self._boot_is_not_bad(steps.golden):
                return None
            now = self._clock.now()
            number = await self._recording.lasting(self._store.next_cycle_id)
            self._log.info(
                "booted", message="what waited for the reboot runs, and is verified now", revision=waits.facts.candidate
            )
            return Cycle(
                id=number,
                kind=CycleKind.upgrade,
                requested_by=BOOTED,
                boot_id=boot,
                started=now,
                state=State.idle,
                state_since=now,
                facts=waits.facts,
            )
        if system.profile != waits.facts.built.toplevel:  # something else was made the boot default since
            await self._recording.lasting(self._store.forget_at_reboot)
        return None

    async def _boot_is_not_bad(self, golden: Golden) -> bool:
        """Wait for the assessment of this boot, where there is one: a bad boot is its business, and not ours."""
        give_up = self._clock.monotonic() + _ASSESSED
        while (verdict := golden.facts().verdict) == "pending" and self._clock.monotonic() < give_up:
            await self._clock.sleep(1.0)
        return verdict in ("good", "unknown")

    async def reboot_if_due(self, steps: StepSet, idle: Callable[[], bool]) -> float | None:
        """Note whether a reboot is required, and reboot if it is due.

        Args:
            steps: what is in force.
            idle: whether nothing waits to be begun.

        Returns:
            Seconds until the next look; None is none.

        """
        memory, reboots = await self._store.memory(), steps.reboots
        system = steps.activator.facts()
        need = reboots.need(system, memory)
        if need != memory.reboot:
            await self._recording.lasting(partial(self._store.note_reboot, need))
        if need is None:
            self._board.change(reboot=None)
            return None
        plan = await reboots.plan(need, system, memory)
        if is_suspended(memory.suspended, self._clock.now()) or memory.blocked:
            plan = msgspec.structs.replace(plan, now=False, look=_HELD, words="not while it is suspended or blocked")
        need = msgspec.structs.replace(need, plan=plan.words)
        self._board.change(reboot=need)
        if plan.now and idle():
            await self._reboot(steps.reboots.power, need, system)
        return plan.look

    async def _reboot(self, power: Power, need: RebootNeed, system: SystemFacts) -> None:
        assert system.profile is not None  # noqa: S101  # no plan says `now` without it
        record = Rebooting(
            boot_id=self._clock.boot_id(), toplevel=system.profile, at=self._clock.now(), reasons=need.reasons
        )
        await self._recording.lasting(partial(self._store.note_reboot, need, record))
        self._log.warning("rebooting", message=f"required since {local_time(need.since)}: {', '.join(need.reasons)}")
        self._notify.status("rebooting")
        try:
            await power.reboot()
        except GitopsdError as error:
            self._log.error("not rebooted", message=error.message)
