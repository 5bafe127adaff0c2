"""The loop: record, step, apply. It is what the socket asks (`ports.Supervisor`) and what drives the machine.

The record is written before the step begins, so that after a crash at any instruction the next start knows which step
was under way and what it had decided.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import msgspec
import structlog

from gitopsd import events
from gitopsd.config import RetrySection
from gitopsd.daemon.board import Board
from gitopsd.daemon.notify import Notify
from gitopsd.daemon.reboots import Reboots
from gitopsd.daemon.requests import Requests
from gitopsd.daemon.retry import retrying
from gitopsd.errors import Failed, GitopsdError, Suspended
from gitopsd.machine import RESTING, RESUME, Event, Machine, Resume, State
from gitopsd.policy import (
    CANCELLABLE,
    admits,
    after_error,
    falls_of,
    first_line,
    heeds,
    is_back,
    is_drift,
    is_of_the_trunk,
    is_suspended,
    left_by,
    local_time,
    made_contact,
    merge_requests,
    rest,
    runs,
    sum_up,
    takes_the_machine_down,
    target_of,
)
from gitopsd.ports import Activator, Choices, Clock, ConfigSource, Golden, Herald, Meter, Store, Successor
from gitopsd.steps import Step
from gitopsd.types import (
    BOOTED,
    FINE,
    Announcement,
    AtReboot,
    Attempt,
    Built,
    Cycle,
    CycleDetail,
    CycleEnd,
    CycleKind,
    CycleSummary,
    Deployed,
    Facts,
    GoneBack,
    Memory,
    Outcome,
    PersonFacts,
    Rebooting,
    RebootNeed,
    Rejection,
    Revision,
    Snapshot,
    StepRecord,
    StepResult,
    StorePath,
    Suspension,
    SystemFacts,
    Trial,
    Update,
)

T = TypeVar("T")
_ASSESSED = 600.0  # seconds that the assessment of a boot may take before nothing waits for it any more
_MARGIN = 60.0  # seconds that a step may exceed its limit before the watchdog gives up on us


class StepSet(msgspec.Struct, frozen=True, kw_only=True):
    """What the loop runs, as one configuration says.

    Args:
        steps: one for each state that is no resting state.
        limits: how long each may take, in seconds.
        retry: of the states whose transient failures are tried again; never switch, verify or rollback.
        activator: tells what runs, for status; frees the activation's unit at a cycle's end.
        golden: tells how the boot is assessed, for status.
        reboots: decides whether this host is to reboot by itself.
        users: the people whose dotfiles are kept in step here.
        choices: what each of them may decide.
        offline_after: seconds without an answer of any remote, after which somebody should know.
        source: the configuration repository; None if none is followed.

    """

    steps: Mapping[State, Step]
    limits: Mapping[State, float]
    retry: Mapping[State, RetrySection]
    activator: Activator
    golden: Golden
    reboots: Reboots
    users: tuple[str, ...]
    choices: Mapping[str, Choices] = {}
    offline_after: float = 86400.0
    source: ConfigSource | None = None


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
        self._unfinished: Cycle | None = None
        self._wanted = asyncio.Event()
        self._started = clock.now()
        self._offline_since: float | None = None  # what was told already
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
        """Have it wait, and return once it is in the record. The store keeps its order: it is there before it begins."""
        self._await(cycle)
        await self._store.save_pending(cycle)

    def _await(self, cycle: Cycle) -> None:
        self._requests.put(cycle)
        self._board.expect(cycle.id)
        self._show_waiting()
        self._wanted.set()

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
        await self._take_up_what_was_booted()
        while True:
            self._rest()
            self._tell_of_boot()
            if not self._requests:
                await self._renew()
            while not self._requests:
                self._wanted.clear()
                look = await self._reboot_if_due()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(look):
                        await self._wanted.wait()
            self._steps = self._next_steps
            cycle = self._requests.take()
            machine = Machine(self._board.snapshot.state)
            begin = Event.back if cycle.facts.chosen else Event.start
            if cycle.facts.switching is not None:
                begin = Event.booted
            cycle = self._moved(cycle, cycle.facts, machine.apply(begin))
            await self._store.save_cycle(cycle)
            await self._cycle(cycle, machine)

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
        reporter = _StepReporter(
            cycle,
            policy,
            store=self._store,
            board=self._board,
            clock=self._clock,
            awaited=self._requests.upgrade_is_awaited,
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
        rejection = self._rejection(cycle, result) if reject and cycle.kind is not CycleKind.plan else None
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
            await self._store.advance(cycle, record, rejection)
            self._meter.stepped(record)
        return cycle

    def _moved(self, cycle: Cycle, facts: Facts, state: State) -> Cycle:
        return msgspec.structs.replace(cycle, facts=facts, state=state, state_since=self._clock.now())

    async def _interrupted_before(self, cycle: Cycle) -> bool:
        candidate = cycle.facts.candidate
        return candidate is not None and takes_the_machine_down(await self._store.history(100), candidate)

    def _rejection(self, cycle: Cycle, result: StepResult) -> Rejection | None:
        candidate = result.facts.candidate
        if candidate is None:
            return None
        return Rejection(
            revision=candidate,
            outcome=result.outcome or Outcome.failed,
            reason=result.message,
            cycle=cycle.id,
            at=self._clock.now(),
        )

    async def _finish(
        self, cycle: Cycle, result: StepResult, record: StepRecord, rejection: Rejection | None = None
    ) -> None:
        outcome, message = sum_up(result.outcome or Outcome.failed, result.message, cycle.facts.people, cycle.kind)
        now, built = self._clock.now(), cycle.facts.built
        summary = CycleSummary(
            id=cycle.id,
            kind=cycle.kind,
            requested_by=cycle.requested_by,
            started=cycle.started,
            ended=now,
            outcome=outcome,
            message=message,
            revision=cycle.facts.candidate,
            toplevel=built.toplevel if built is not None else None,
        )
        rejections: tuple[Rejection, ...] = (rejection,) if rejection is not None else ()
        went_back = result.outcome is Outcome.success and bool(cycle.facts.chosen)
        if went_back:
            rejections = tuple(self._left(cycle, revision) for revision in cycle.facts.left)
        verified = (
            cycle.kind is CycleKind.upgrade
            and result.event is Event.settled
            and result.outcome in (Outcome.success, Outcome.up_to_date)
        )
        deployed, trial = self._verified(built, cycle.facts, now) if verified and built else (None, None)
        gone_back = None
        if went_back and built is not None and not built.revision:
            gone_back = GoneBack(
                toplevel=built.toplevel, name=cycle.facts.chosen, by=cycle.requested_by, cycle=cycle.id, at=now
            )
        blocked = message if result.event is Event.block else ""
        news, acts = self._news(summary, cycle), cycle.kind is not CycleKind.plan
        at_reboot = None
        if result.outcome is Outcome.at_reboot and cycle.facts.switching is not None:
            why = cycle.facts.switching.reason or "a deployed system waits for it"
            at_reboot = AtReboot(cycle=cycle.id, facts=cycle.facts, why=why)
        await self._store.finish_cycle(
            CycleEnd(
                summary=summary,
                facts=cycle.facts,
                state=cycle.state,
                step=record,
                rejections=rejections,
                deployed=deployed,
                blocked=blocked,
                trial=trial,
                gone_back=gone_back,
                contact=made_contact(cycle),
                announcements=tuple(each for _, each in news if self._herald.wants(each.event)) if acts else (),
                at_reboot=at_reboot,
            ),
            self._herald.channels,
        )
        self._meter.stepped(record)
        self._meter.finished(summary)
        self._herald.wake()
        await self._tidy()
        for level, each in news:
            self._log_news(level, each)
        memory = await self._store.memory()
        self._remember(memory)
        self._remembered(memory)
        self._tell_if_offline(memory.last_good.contact)
        self._board.say(Update(cycle=cycle.id, state=cycle.state, at=now, line=first_line(message), outcome=outcome))

    def _left(self, cycle: Cycle, revision: Revision) -> Rejection:
        """A revision that a person went back from is not deployed again by the next timer."""
        reason = f"{cycle.requested_by} went back to {cycle.facts.chosen}"
        return Rejection(
            revision=revision, outcome=Outcome.rolled_back, reason=reason, cycle=cycle.id, at=self._clock.now()
        )

    def _verified(self, built: Built, facts: Facts, now: float) -> tuple[Deployed | None, Trial | None]:
        if not built.revision:  # a generation that no cycle of the history has made
            return None, None
        if not facts.trial:
            return Deployed(revision=built.revision, toplevel=built.toplevel, at=now), None
        boot, last = self._clock.boot_id(), self._board.snapshot.trial
        again = last is not None and last.revision == built.revision
        trial = Trial(
            revision=built.revision,
            toplevel=built.toplevel,
            at=now,
            boot_id=boot,
            trunk=is_of_the_trunk(facts),
            falls=falls_of(last, boot) if again and last is not None else 0,
        )
        return None, trial

    async def _tidy(self) -> None:
        """Free the activation's unit. If that fails, the next activation makes room for itself."""
        try:
            await self._steps.activator.forget()
        except GitopsdError as error:
            self._log.warning("left behind", message=error.message)

    def _news(self, summary: CycleSummary, cycle: Cycle) -> list[tuple[str, Announcement]]:
        """What the end of a cycle is the news of, each with its level in the log."""
        news = [
            (
                "warning",
                self._announcement(events.PARKED, ", ".join(each.path for each in person.parked), cycle, person),
            )
            for person in cycle.facts.people
            if person.parked
        ]
        match summary.outcome:
            case Outcome.rolled_back:
                level, event = "error", events.ROLLED_BACK
            case Outcome.blocked:
                level, event = "critical", events.BLOCKED
            case Outcome.build_failed | Outcome.check_failed:
                level, event = "error", events.BUILD_FAILED
            case Outcome.success if summary.toplevel is not None and summary.kind is CycleKind.upgrade:
                level, event = "info", events.DEPLOYED
            case outcome:
                fine = outcome in FINE
                level, event = ("info", events.CYCLE_FINISHED) if fine else ("error", events.CYCLE_FAILED)
        end = msgspec.structs.replace(
            self._announcement(event, first_line(summary.message), cycle),
            detail=summary.message if summary.message != first_line(summary.message) else "",
            outcome=summary.outcome.value,
            revision=summary.revision,
            toplevel=summary.toplevel,
        )
        return [*news, (level, end)]

    def _announcement(self, event: str, message: str, cycle: Cycle, person: PersonFacts | None = None) -> Announcement:
        return Announcement(
            id=f"{self._board.snapshot.host}-{cycle.id}-{event}{f'-{person.user}' if person else ''}",
            event=event,
            message_id=events.MESSAGE_IDS[event],
            host=self._board.snapshot.host,
            at=self._clock.now(),
            cycle=cycle.id,
            message=message,
            user=person.user if person else "",
        )

    def _log_news(self, level: str, news: Announcement) -> None:
        facts = ("user", "outcome", "message", "detail", "revision", "toplevel")
        getattr(self._log, level)(news.event, **{name: value for name in facts if (value := getattr(news, name))})

    def _tell_if_offline(self, contact: float) -> None:
        since = contact or self._started
        if self._clock.now() - since <= self._steps.offline_after or since == self._offline_since:
            return
        self._offline_since = since
        hours = (self._clock.now() - since) / 3600
        message = f"no remote has answered for {hours:.0f} hours"
        self._log.warning(events.OFFLINE, message=message)
        self._herald.tell(events.OFFLINE, message, occasion=str(since))

    def _tell_of_boot(self) -> None:
        """The assessment of boots works without us; what it found is announced once, by whoever runs next."""
        boot = self._steps.golden.facts()
        if boot.golden is not None:
            self._herald.tell(events.GOLDEN_PINNED, boot.golden, occasion=boot.golden, toplevel=boot.golden)
        if boot.failures and boot.toplevel is not None:
            reason = boot.reason or f"{boot.failures} of {boot.max_attempts} boots of this generation were bad"
            self._herald.tell(
                events.BOOT_BAD, reason, occasion=f"{boot.toplevel} {boot.failures}", toplevel=boot.toplevel
            )
        if boot.rollback is not None:
            self._herald.tell(
                events.BOOT_ROLLBACK,
                boot.rollback.reason,
                occasion=str(boot.rollback.at),
                toplevel=boot.rollback.left,
            )

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
        self._board.change(
            state=memory.resting,
            since=memory.since,
            cycle=None,
            activity="",
            last_sync=memory.last_sync,
            last_upgrade=memory.last_upgrade,
            people=memory.people,
            deployed=memory.deployed,
            rejected=memory.rejected,
            blocked=memory.blocked,
            trial=memory.trial,
            gone_back=memory.gone_back,
            checkout=memory.checkout,
            suspended=memory.suspended,
            last_good=memory.last_good,
        )

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

    async def _take_up_what_was_booted(self) -> None:
        """A deployment that waited for the reboot runs now: have it prove itself, before anything else."""
        waits = (await self._store.memory()).at_reboot
        if waits is None or waits.facts.built is None or waits.facts.switching is None:
            return
        system, boot = self._steps.activator.facts(), self._clock.boot_id()
        if waits.facts.switching.boot_id == boot:
            return
        if system.current == waits.facts.built.toplevel:
            if not await self._boot_is_not_bad():
                return
            now = self._clock.now()
            number = await self._store.next_cycle_id()
            self._log.info(
                "booted", message="what waited for the reboot runs, and is verified now", revision=waits.facts.candidate
            )
            booted = Cycle(
                id=number,
                kind=CycleKind.upgrade,
                requested_by=BOOTED,
                boot_id=boot,
                started=now,
                state=State.idle,
                state_since=now,
                facts=waits.facts,
            )
            self._await(booted)  # before whatever was asked for; found again by the next start, until it has begun
        elif system.profile != waits.facts.built.toplevel:  # something else was made the boot default since
            await self._store.forget_at_reboot()

    async def _boot_is_not_bad(self) -> bool:
        """Wait for the assessment of this boot, where there is one: a bad boot is its business, and not ours."""
        give_up = self._clock.monotonic() + _ASSESSED
        while (verdict := self._steps.golden.facts().verdict) == "pending" and self._clock.monotonic() < give_up:
            await self._clock.sleep(1.0)
        return verdict in ("good", "unknown")

    async def _reboot_if_due(self) -> float | None:
        """Note whether a reboot is required, and reboot if it is due. Seconds until the next look; None is none."""
        memory, reboots = await self._store.memory(), self._next_steps.reboots
        system = self._next_steps.activator.facts()
        need = reboots.need(system, memory)
        if need != memory.reboot:
            await self._store.note_reboot(need)
        if need is None:
            self._board.change(reboot=None)
            return None
        plan = await reboots.plan(need, system, memory)
        if is_suspended(memory.suspended, self._clock.now()) or memory.blocked:
            plan = msgspec.structs.replace(plan, now=False, look=_MARGIN, words="not while it is suspended or blocked")
        need = msgspec.structs.replace(need, plan=plan.words)
        self._board.change(reboot=need)
        if plan.now and not self._requests:
            await self._reboot(need, system)
        return plan.look

    async def _reboot(self, need: RebootNeed, system: SystemFacts) -> None:
        assert system.profile is not None  # noqa: S101  # no plan says `now` without it
        record = Rebooting(
            boot_id=self._clock.boot_id(), toplevel=system.profile, at=self._clock.now(), reasons=need.reasons
        )
        await self._store.note_reboot(need, record)
        self._log.warning("rebooting", message=f"required since {local_time(need.since)}: {', '.join(need.reasons)}")
        self._notify.status("rebooting")
        try:
            await self._next_steps.reboots.power.reboot()
        except GitopsdError as error:
            self._log.error("not rebooted", message=error.message)

    async def _renew(self) -> None:
        """After an upgrade of gitopsd itself the new one runs: here, between two cycles, nothing is under way."""
        if not self._successor.waits():
            return
        message = "the running system has another version of gitopsd"
        self._log.info(events.RESTARTING, message=message)
        self._herald.tell(events.RESTARTING, message)
        try:
            await self._store.keep_copy()
            await self._successor.hand_over(await self._spare())
        except GitopsdError as error:  # this version goes on, and tries again after the next cycle
            self._log.warning("not restarted", message=error.message)

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


class _StepReporter:
    """`ports.Reporter` of one step of one cycle.

    Args:
        cycle: as recorded before the step.
        policy: how often what is transient is tried again.
        store: takes checkpoints.
        board: shows lines, progress and attempts.
        clock: time.
        awaited: whether somebody has asked for another upgrade.

    """

    def __init__(
        self,
        cycle: Cycle,
        policy: RetrySection,
        *,
        store: Store,
        board: Board,
        clock: Clock,
        awaited: Callable[[], bool],
    ) -> None:
        self.awaited = awaited
        self.facts = cycle.facts
        self.attempts = 1
        self._cycle = cycle
        self._policy = policy
        self._store = store
        self._board = board
        self._clock = clock

    async def checkpoint(self, facts: Facts) -> None:
        """See `ports.Reporter`."""
        self.facts = facts
        self._cycle = msgspec.structs.replace(self._cycle, facts=facts)
        await self._store.save_cycle(self._cycle)

    def line(self, text: str) -> None:
        """See `ports.Reporter`."""
        self._say(text, progress=False)
        structlog.get_logger().info(text, state=self._cycle.state.value)

    def progress(self, text: str) -> None:
        """See `ports.Reporter`."""
        self._board.change(activity=f"{self._cycle.state.value}: {text}")
        self._say(text, progress=True)

    def _say(self, text: str, *, progress: bool) -> None:
        self._board.say(
            Update(cycle=self._cycle.id, state=self._cycle.state, at=self._clock.now(), line=text, progress=progress)
        )

    async def retrying(self, operation: Callable[[], Awaitable[T]]) -> T:
        """See `ports.Reporter`."""
        return await retrying(operation, self._policy, self._clock, self._attempt)

    def _attempt(self, attempt: Attempt | None) -> None:
        self._board.change(attempt=attempt)
        if attempt is not None:
            self.attempts = max(self.attempts, attempt.number)
            text = f"attempt {attempt.number} of {attempt.limit} soon: {attempt.message}"
            self.progress(text)
            # The end of the cycle may be a success, and would not tell that it took more than one attempt, or why.
            structlog.get_logger().warning(text, state=self._cycle.state.value)


def _unforeseen(error: Exception) -> Exception | None:
    """An error that gitopsd did not foresee is logged with its traceback."""
    return None if isinstance(error, GitopsdError | TimeoutError) else error
