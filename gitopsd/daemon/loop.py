"""The loop: record, step, apply. It is what the socket asks (`ports.Supervisor`) and what drives the machine.

The record is written before the step begins, so that after a crash at any instruction the next start knows which step
was under way and what it had decided.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

import msgspec
import structlog

from gitopsd import events
from gitopsd.config import RetrySection
from gitopsd.daemon.board import Board, of_memory
from gitopsd.daemon.news import News
from gitopsd.daemon.notify import Notify
from gitopsd.daemon.rebooting import AroundReboots
from gitopsd.daemon.recording import Recording
from gitopsd.daemon.reporter import StepReporter
from gitopsd.daemon.requests import Requests
from gitopsd.daemon.step_set import StepSet
from gitopsd.errors import Failed, GitopsdError, Suspended
from gitopsd.machine import RESTING, RESUME, Event, Machine, Resume, State
from gitopsd.policy import (
    CANCELLABLE,
    admits,
    after_error,
    end_of,
    first_line,
    heeds,
    is_back,
    is_drift,
    is_suspended,
    left_by,
    merge_requests,
    rejection_of,
    rest,
    runs,
    takes_the_machine_down,
    target_of,
)
from gitopsd.ports import Choices, Clock, Golden, Herald, Meter, Store, Successor
from gitopsd.types import (
    Built,
    Cycle,
    CycleDetail,
    CycleKind,
    CycleSummary,
    Facts,
    Memory,
    Outcome,
    Rejection,
    Revision,
    Snapshot,
    StepRecord,
    StepResult,
    StorePath,
    Suspension,
    Update,
)

_RENEW_FIRST, _RENEW_LAST = 60.0, 3600.0  # seconds between two attempts to hand over to the next version of ourselves
_MARGIN = 60.0  # seconds that a step may exceed its limit before the watchdog gives up on us


class Loop:
    """Runs cycles, one at a time.

    Args:
        steps: what to run in which state, as the configuration in force says.
        store: the durable record.
        board: shows what happens.
        clock: time.
        notify: systemd.
        successor: the next version of the daemon.
        remembered: called with the memory after each cycle, before those who follow it hear of its end; it neither
            waits nor raises.
        meter: counts and measures.
        herald: tells those who want to know.

    """

    def __init__(
        self,
        *,
        steps: StepSet,
        store: Store,
        board: Board,
        clock: Clock,
        notify: Notify,
        successor: Successor,
        remembered: Callable[[Memory], None] = lambda _: None,
        meter: Meter,
        herald: Herald,
    ) -> None:
        self._remembered = remembered
        self._meter = meter
        self._herald = herald
        self._successor = successor
        self._steps = steps
        self._next_steps = steps
        self._store = store
        self._board = board
        self._clock = clock
        self._notify = notify
        self._log = structlog.get_logger()
        self._requests = Requests()
        self._news = News(board, clock, herald)
        self._recording = Recording(board, clock, notify)
        self._reboots = AroundReboots(store, board, clock, notify, self._recording)
        self._unfinished: Cycle | None = None
        self._wanted = asyncio.Event()
        self._deadline: float | None = None  # of the step under way, on the monotonic clock

    # What the socket asks.

    def snapshot(self) -> Snapshot:
        """See `ports.Supervisor`. What runs is read anew: a person may have switched by hand."""
        system = self._steps.activator.facts()
        shown = self._board.snapshot
        trial = shown.trial if shown.trial is not None and runs(shown.trial, system) else None
        gone_back = shown.gone_back if is_back(shown.gone_back, system) else None
        drift = is_drift(system, shown.deployed, trial) and gone_back is None
        boot = msgspec.structs.replace(self._steps.golden.facts(), stage=shown.boot.stage)
        suspended = shown.suspended if is_suspended(shown.suspended, self._clock.now()) else None
        return msgspec.structs.replace(
            shown,
            system=msgspec.structs.replace(system, drift=drift),
            boot=boot,
            trial=trial,
            gone_back=gone_back,
            suspended=suspended,
        )

    def recorded(self) -> Snapshot:
        """See `ports.Supervisor`."""
        return self._board.snapshot

    async def changes(self) -> AsyncIterator[Snapshot]:
        """See `ports.Supervisor`."""
        async for _ in self._board.changes():
            yield self.snapshot()

    async def request(
        self, kind: CycleKind, *, requested_by: str, users: Sequence[str] = (), accept_diverged: bool = False
    ) -> int:
        """See `ports.Supervisor`."""
        shown = self._board.snapshot
        admits(kind, tuple(users), self._next_steps.users, shown.blocked)
        heeds(shown.suspended, self._clock.now(), kind, requested_by)
        waiting = self._requests.joined(kind)
        number = waiting.id if waiting is not None else await self._store.next_cycle_id()
        now = self._clock.now()
        wanted = Cycle(
            id=number,
            kind=kind,
            users=tuple(users),
            requested_by=requested_by,
            accept_diverged=accept_diverged,
            boot_id=self._clock.boot_id(),
            started=now,
            state=State.idle,
            state_since=now,
        )
        waiting = self._requests.joined(kind)  # somebody may have asked while the id was fetched
        wanted = wanted if waiting is None else merge_requests(waiting, wanted)
        await self._accept(wanted)
        return wanted.id

    async def _accept(self, cycle: Cycle) -> None:
        """Have it wait, and return once it is in the record: it does not begin before, and never if it cannot be there."""
        merged_into = self._requests.put(cycle)
        self._board.expect(cycle.id)
        self._show_waiting()
        try:
            await self._store.save_pending(cycle)
        except Failed:
            self._requests.withdraw(cycle, merged_into)
            self._show_waiting()
            raise
        self._requests.recorded(cycle.id)
        self._wanted.set()

    def _await(self, cycle: Cycle) -> None:
        """Have wait what is in the record, or follows from it."""
        self._requests.put(cycle)
        self._requests.recorded(cycle.id)
        self._board.expect(cycle.id)
        self._show_waiting()

    async def roll_back(self, target: str, *, requested_by: str) -> int:
        """See `ports.Supervisor`. It begins at once or not at all: it is never merged with what others ask for."""
        steps, shown = self._next_steps, self._board.snapshot
        system = steps.activator.facts()
        if target == "previous" and shown.trial is not None and runs(shown.trial, system):
            target = str(system.generation)  # a test is gone back from to what the next boot would run
        name, generation, toplevel = target_of(target, steps.activator.generations(), system, steps.golden.pinned())
        revision = await self._store.revision_of(toplevel)
        number, now = await self._store.next_cycle_id(), self._clock.now()
        if shown.cycle is not None or self._requests.changing is not None:
            raise Failed(
                "a cycle is under way",
                meaning="nothing was begun",
                advice="gitopsctl watch, then ask again when it has ended",
            )
        left = left_by(toplevel, await self._store.memory(), system)
        built = Built(revision=revision or Revision(""), toplevel=toplevel)
        wanted = Cycle(
            id=number,
            kind=CycleKind.upgrade,
            requested_by=requested_by,
            boot_id=self._clock.boot_id(),
            started=now,
            state=State.idle,
            state_since=now,
            facts=Facts(chosen=name, generation=generation, built=built, left=left),
        )
        await self._accept(wanted)
        return number

    async def suspend(self, seconds: float, *, reason: str, requested_by: str) -> Suspension:
        """See `ports.Supervisor`."""
        now = self._clock.now()
        suspension = Suspension(since=now, until=now + seconds if seconds else 0.0, reason=reason, by=requested_by)
        await self._store.suspend(suspension)
        self._board.change(suspended=suspension)
        self._log.warning("suspended", message=f"by {requested_by}" + (f": {reason}" if reason else ""))
        self._rest()
        return suspension

    async def resume(self) -> bool:
        """See `ports.Supervisor`."""
        was = is_suspended(self._board.snapshot.suspended, self._clock.now())
        await self._store.suspend(None)
        self._board.change(suspended=None)
        self._wanted.set()
        if was:
            self._log.info("resumed")
            self._rest()
        return was

    def choices(self, user: str) -> Choices:
        """See `ports.Supervisor`."""
        try:
            return self._next_steps.choices[user]
        except KeyError:
            raise Failed(
                f"the dotfiles of {user} are not kept in step on this host",
                meaning="nothing was done",
                advice="add a [[dotfiles]] section to the configuration, or name another user",
            ) from None

    def golden(self) -> Golden:
        """See `ports.Supervisor`."""
        return self._next_steps.golden

    async def retry(self, *, requested_by: str) -> int:
        """See `ports.Supervisor`."""
        await self._next_steps.golden.forgive()
        await self._store.forgive()
        self._board.change(blocked="", rejected=())
        return await self.request(CycleKind.upgrade, requested_by=requested_by)

    async def follow(self, cycle: int) -> AsyncIterator[Update]:
        """See `ports.Supervisor`."""
        if self._board.knows(cycle):
            async for update in self._board.follow(cycle):
                yield update
            return
        detail = await self._store.detail(cycle)
        if detail is not None:
            end = detail.summary
            yield Update(cycle=cycle, state=State.idle, at=end.ended, line=end.message, outcome=end.outcome)

    async def history(self, limit: int, before: int | None = None) -> tuple[CycleSummary, ...]:
        """See `ports.Supervisor`."""
        return await self._store.history(limit, before)

    async def detail(self, cycle: int) -> CycleDetail | None:
        """See `ports.Supervisor`."""
        return await self._store.detail(cycle)

    @property
    def in_force(self) -> StepSet:
        """What the next cycle runs."""
        return self._next_steps

    def use(self, steps: StepSet) -> None:
        """Take another configuration's steps from the next cycle on; the one under way keeps its own."""
        self._next_steps = steps
        self._wanted.set()  # whether a reboot is due may have changed

    # The loop.

    def healthy(self) -> bool:
        """Whether we rest, or the step under way is within its time; the watchdog is fed by this."""
        return self._deadline is None or self._clock.monotonic() < self._deadline

    def take_up(self, unfinished: Cycle | None, pending: Sequence[Cycle]) -> None:
        """Take over what an earlier life of the daemon has left, before anybody may ask: it can be followed at once.

        Args:
            unfinished: the cycle that was under way when the daemon ended, from the store.
            pending: what was asked for and had not begun, from the store.

        """
        if unfinished is not None and RESUME[unfinished.state] is not Resume.rest:
            self._unfinished = unfinished
            self._board.expect(unfinished.id)
        for accepted in pending:
            self._await(accepted)

    async def run(self) -> None:
        """Run cycles for ever: first what was taken up."""
        unfinished = self._unfinished
        if unfinished is not None:
            self._log.warning(
                events.CYCLE_RESUMED,
                cycle=unfinished.id,
                state=unfinished.state.value,
                message=f"the daemon ended in {unfinished.state.value}",
            )
            self._herald.tell(
                events.CYCLE_RESUMED, f"the daemon ended in {unfinished.state.value}", cycle=unfinished.id
            )
            await self._cycle(unfinished, Machine(unfinished.state))
        else:
            await self._tidy()  # what a daemon that died between a cycle's end and its tidying has left
        if (booted := await self._reboots.booted(self._steps)) is not None:
            self._await(booted)  # before whatever was asked for; found again by the next start, until it has begun
        while True:
            self._rest()
            self._news.tell_of_boot(self._steps.golden.facts())
            await self._settle()
            due, pause, told = self._clock.monotonic(), _RENEW_FIRST, False
            while not self._requests.ready:
                self._wanted.clear()
                if not self._requests and self._clock.monotonic() >= due:
                    told = await self._renew(told=told)
                    due = self._clock.monotonic() + pause if told else math.inf
                    pause = min(2 * pause, _RENEW_LAST)
                look = await self._reboots.reboot_if_due(self._next_steps, lambda: not self._requests)
                await self._woken(min(due - self._clock.monotonic(), math.inf if look is None else look))
            self._steps = self._next_steps
            cycle = self._requests.take()
            machine = Machine(self._board.snapshot.state)
            begin = Event.back if cycle.facts.chosen else Event.start
            if cycle.facts.switching is not None:
                begin = Event.booted
            cycle = self._moved(cycle, cycle.facts, machine.apply(begin))
            await self._recording.lasting(partial(self._store.save_cycle, cycle))
            await self._cycle(cycle, machine)

    async def _woken(self, seconds: float) -> None:
        """Wait until something is wanted, or for so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds if seconds < math.inf else None):
                await self._wanted.wait()

    async def _cycle(self, cycle: Cycle, machine: Machine) -> None:
        """Record, step, apply, until the machine rests."""
        structlog.contextvars.bind_contextvars(cycle=cycle.id)
        try:
            if (refusal := self._suspended(cycle)) and machine.state is State.fetch:
                await self._drop(cycle, machine, refusal, Outcome.suspended)
            while machine.state not in RESTING:
                self._show(cycle)
                result, record = await self._step(cycle)
                cycle = await self._apply(cycle, machine, result, record)
        except asyncio.CancelledError:
            if machine.state in CANCELLABLE:
                await self._cancel(cycle, machine)
            raise  # from switch on, the record stays, and the next start picks it up
        finally:
            self._deadline = None
            structlog.contextvars.unbind_contextvars("cycle")

    async def _step(self, cycle: Cycle) -> tuple[StepResult, StepRecord]:
        """Run the step of the cycle's state. The one place where every error is caught, and logged once."""
        state = cycle.state
        limit = self._steps.limits[state]
        self._deadline = self._clock.monotonic() + limit + _MARGIN
        policy = self._steps.retry.get(state, RetrySection(attempts=1))
        reporter = StepReporter(
            cycle,
            policy,
            store=self._store,
            board=self._board,
            clock=self._clock,
            awaited=self._requests.upgrade_is_awaited,
            recording=self._recording,
        )
        try:
            async with asyncio.timeout(limit):
                result = await self._steps.steps[state](cycle, reporter)
        except Exception as error:  # noqa: BLE001  # whatever it is, the machine must go on
            result = after_error(state, reporter.facts, error)
            self._log.error("step failed", state=state.value, message=result.message, exc_info=_unforeseen(error))
        record = StepRecord(
            state=state,
            started=cycle.state_since,
            ended=self._clock.now(),
            event=result.event.value,
            attempts=reporter.attempts,
            message=result.message,
        )
        self._board.change(attempt=None)
        return result, record

    async def _apply(self, cycle: Cycle, machine: Machine, result: StepResult, record: StepRecord) -> Cycle:
        """Record what the step did and where it leads, in one transaction: the next step's record is written then."""
        reject = result.reject or (result.outcome is Outcome.interrupted and await self._interrupted_before(cycle))
        # A dry run is a question: it changes nothing, not even what is remembered.
        rejection = (
            rejection_of(cycle, result, self._clock.now()) if reject and cycle.kind is not CycleKind.plan else None
        )
        state = machine.apply(rest(result.event, machine.state, self._board.snapshot.blocked, result.facts.people))
        if state not in RESTING:  # how a cycle ends is told once, by its end
            self._log.info(
                record.state.value, state=record.state.value, machine_event=record.event, message=record.message
            )
        if rejection is not None:
            reason = first_line(rejection.reason)
            self._log.warning(events.REJECTED, revision=rejection.revision, message=reason)
            self._herald.tell(events.REJECTED, reason, cycle=cycle.id, revision=rejection.revision)
        cycle = self._moved(cycle, result.facts, state)
        if state in RESTING:
            await self._finish(cycle, result, record, rejection)
        else:
            self._deadline = None  # a full disk is no hang
            await self._recording.lasting(partial(self._store.advance, cycle, record, rejection))
            self._meter.stepped(record)
        return cycle

    def _moved(self, cycle: Cycle, facts: Facts, state: State) -> Cycle:
        return msgspec.structs.replace(cycle, facts=facts, state=state, state_since=self._clock.now())

    async def _interrupted_before(self, cycle: Cycle) -> bool:
        candidate = cycle.facts.candidate
        return candidate is not None and takes_the_machine_down(await self._store.history(100), candidate)

    async def _finish(
        self, cycle: Cycle, result: StepResult, record: StepRecord, rejection: Rejection | None = None
    ) -> None:
        boot_id, last_trial = self._clock.boot_id(), self._board.snapshot.trial
        end = end_of(cycle, result, record, rejection, now=self._clock.now(), boot_id=boot_id, last_trial=last_trial)
        summary, news = end.summary, self._news.of_end(end.summary, cycle)
        if cycle.kind is not CycleKind.plan:
            wanted = tuple(each for _, each in news if self._herald.wants(each.event))
            end = msgspec.structs.replace(end, announcements=wanted)
        finish = partial(self._store.finish_cycle, end, self._herald.channels)
        self._deadline = None
        # A daemon that is stopped does not wait: the record says what was under way.
        await (finish() if result.event is Event.cancel else self._recording.lasting(finish))
        self._meter.stepped(record)
        self._meter.finished(summary)
        self._herald.wake()
        if cycle.facts.switching is not None:
            await self._tidy()
        for level, each in news:
            self._news.log(level, each)
        memory = await self._store.memory()
        self._remember(memory)
        self._remembered(memory)
        self._news.tell_if_offline(memory.last_good.contact, self._steps.offline_after)
        line = first_line(summary.message)
        self._board.say(Update(cycle=cycle.id, state=cycle.state, at=summary.ended, line=line, outcome=summary.outcome))

    async def _tidy(self) -> None:
        """Free the activation's unit. If that fails, the next activation makes room for itself."""
        try:
            await self._steps.activator.forget()
        except GitopsdError as error:
            self._log.warning("left behind", message=error.message)

    def _suspended(self, cycle: Cycle) -> str:
        """Why a cycle that was asked for before a person suspended this host does not begin; empty if it does."""
        try:
            heeds(self._board.snapshot.suspended, self._clock.now(), cycle.kind, cycle.requested_by)
        except Suspended as error:
            return error.message
        return ""

    async def _cancel(self, cycle: Cycle, machine: Machine) -> None:
        message = f"the daemon was stopped in {machine.state.value}; nothing had changed"
        await self._drop(cycle, machine, message, Outcome.cancelled)

    async def _drop(self, cycle: Cycle, machine: Machine, message: str, outcome: Outcome) -> None:
        """End a cycle that has changed nothing yet."""
        record = StepRecord(
            state=cycle.state,
            started=cycle.state_since,
            ended=self._clock.now(),
            event=Event.cancel.value,
            attempts=1,
            message=message,
        )
        result = StepResult(event=Event.cancel, facts=cycle.facts, message=message, outcome=outcome)
        await self._finish(self._moved(cycle, cycle.facts, machine.apply(Event.cancel)), result, record)

    # What is shown.

    def _remember(self, memory: Memory) -> None:
        """Show what the store remembers now that a cycle has ended."""
        shown = of_memory(memory)
        self._board.change(state=memory.resting, since=memory.since, cycle=None, activity="", **shown)

    def _show(self, cycle: Cycle) -> None:
        self._board.change(
            state=cycle.state,
            since=cycle.state_since,
            cycle=cycle,
            activity=cycle.state.value,
        )
        self._show_waiting()
        self._board.say(Update(cycle=cycle.id, state=cycle.state, at=cycle.state_since))
        self._notify.status(f"{cycle.kind.value} {cycle.id}: {cycle.state.value}")

    def _show_waiting(self) -> None:
        changing, question = self._requests.changing, self._requests.question
        self._board.change(
            pending=changing.id if changing is not None else 0,
            pending_kind=changing.kind if changing is not None else None,
            pending_plan=question.id if question is not None else 0,
            waiting=self._requests.ids,
        )

    async def _settle(self) -> None:
        """What was guarded while it was deployed is undone, or stays; until that is told, the guard goes on."""
        try:
            await self._successor.settle()
        except GitopsdError as error:
            self._log.warning("still guarded", message=error.message)

    async def _renew(self, *, told: bool) -> bool:
        """After an upgrade of gitopsd itself the new one runs: here, between two cycles, nothing is under way.

        Args:
            told: it is not the first attempt since something was under way.

        Returns:
            Whether it was tried. Unless we are ended first, it is to be tried again.

        """
        if not self._successor.waits():
            return False
        message = "the running system has another version of gitopsd"
        if not told:
            self._log.info(events.RESTARTING, message=message)
            self._herald.tell(events.RESTARTING, message)
        try:
            await self._successor.hand_over(await self._spare())
        except GitopsdError as error:  # this version goes on meanwhile
            self._log.warning("not restarted", message=error.message)
        return True

    async def _spare(self) -> StorePath | None:
        """The system to go back to if the next version does not hold: this version's, unless it is rejected itself."""
        spare = self._successor.came_from()
        if spare is None:
            return None
        revision, memory = await self._store.revision_of(spare), await self._store.memory()
        return None if revision in {each.revision for each in memory.rejected} else spare

    def _rest(self) -> None:
        snapshot = self._board.snapshot
        words = f"blocked: {snapshot.blocked}" if snapshot.blocked else snapshot.state.value
        if is_suspended(snapshot.suspended, self._clock.now()):
            words = f"suspended, {words}"
        self._notify.status(words)


def _unforeseen(error: Exception) -> Exception | None:
    """An error that gitopsd did not foresee is logged with its traceback."""
    return None if isinstance(error, GitopsdError | TimeoutError) else error
