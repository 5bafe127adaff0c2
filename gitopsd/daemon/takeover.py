"""What a takeover that was gone back from means; concluded by the version that runs again, at its start."""

import msgspec
import structlog

from gitopsd import events
from gitopsd.daemon.assessment import mark_deployed
from gitopsd.daemon.step_set import StepSet
from gitopsd.errors import GitopsdError
from gitopsd.machine import Event, Machine
from gitopsd.policy import after_guard, after_takeover
from gitopsd.ports import Clock, Herald, Store, Successor
from gitopsd.tools.takeover import TakeoverRecord
from gitopsd.types import Cycle, StepRecord, Takeover

_HISTORY = 500  # cycles that are looked through for where a toplevel came from


async def conclude(
    record: TakeoverRecord, steps: StepSet, *, store: Store, herald: Herald, successor: Successor, clock: Clock
) -> None:
    """Reject the revision whose gitopsd did not hold, and remember which one runs again. Repeatable; never raises.

    It comes before the cycle that was under way is taken up: that goes on with its way back then.

    A takeover that is still under way goes on being watched.
    """
    takeover, log = record.read(), structlog.get_logger()
    if takeover is None:
        return
    current = steps.activator.facts().current
    try:
        if takeover.stuck or (takeover.reason and current == takeover.before):
            await _conclude(takeover, steps, store=store, herald=herald, clock=clock)
            record.remove()
        elif takeover.boot_id != clock.boot_id() and current != takeover.after:
            record.remove()  # another system was booted
        else:
            await successor.watch_on()
    except GitopsdError as error:
        log.warning("takeover not concluded", message=error.message)
    except OSError as error:
        log.warning("takeover not concluded", message=f"{error.filename}: {error.strerror}")


async def _conclude(takeover: Takeover, steps: StepSet, *, store: Store, herald: Herald, clock: Clock) -> None:
    cycle = await store.unfinished_cycle()
    if cycle is not None and cycle.facts.built is not None and cycle.facts.built.toplevel == takeover.after:
        await _undo(takeover, cycle, store=store, herald=herald, clock=clock)  # it tells of its end itself
        return
    conclusion = after_takeover(takeover, await store.memory(), await store.history(_HISTORY), clock.now())
    await store.conclude_boot(conclusion)
    if conclusion.deployed is not None and steps.source is not None:
        await mark_deployed(steps.source, conclusion.deployed)
    rejected = conclusion.rejection
    message = f"the gitopsd of {takeover.after} did not hold once it had taken over: {takeover.reason}"
    more = {"revision": rejected.revision if rejected is not None else None, "toplevel": takeover.after}
    event = events.BLOCKED if takeover.stuck else events.ROLLED_BACK
    structlog.get_logger().error(event, message=conclusion.blocked or message, **more)
    herald.tell(event, conclusion.blocked or message, occasion=takeover.invocation, **more)


async def _undo(takeover: Takeover, cycle: Cycle, *, store: Store, herald: Herald, clock: Clock) -> None:
    """Have the cycle go on with its way back, which proves what runs again and tells what has happened."""
    undone = after_guard(takeover, cycle, clock.now())
    if undone is None or takeover.stuck:
        return
    facts, rejection = undone
    now, machine = clock.now(), Machine(cycle.state)
    reason = facts.switching.reason if facts.switching is not None else ""
    record = StepRecord(
        state=cycle.state,
        started=cycle.state_since,
        ended=now,
        event=Event.undo.value,
        attempts=1,
        message=reason,
    )
    state = machine.apply(Event.undo)
    await store.advance(msgspec.structs.replace(cycle, facts=facts, state=state, state_since=now), record, rejection)
    structlog.get_logger().error(cycle.state.value, state=cycle.state.value, cycle=cycle.id, message=reason)
    if rejection is not None:
        herald.tell(events.REJECTED, reason, cycle=cycle.id, revision=rejection.revision)
