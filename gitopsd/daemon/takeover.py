"""What a takeover that was gone back from means; concluded by the version that runs again, at its start."""

import structlog

from gitopsd import events
from gitopsd.daemon.step_set import StepSet
from gitopsd.errors import GitopsdError
from gitopsd.policy import after_takeover
from gitopsd.ports import Clock, Herald, Store, Successor
from gitopsd.tools.takeover import TakeoverRecord
from gitopsd.types import Takeover

_HISTORY = 500  # cycles that are looked through for where a toplevel came from


async def conclude(
    record: TakeoverRecord, steps: StepSet, *, store: Store, herald: Herald, successor: Successor, clock: Clock
) -> None:
    """Reject the revision whose gitopsd did not hold, and remember which one runs again. Repeatable; never raises.

    A takeover that is still under way goes on being watched.
    """
    takeover, log = record.read(), structlog.get_logger()
    if takeover is None:
        return
    try:
        if not takeover.reason or steps.activator.facts().current != takeover.before:
            await successor.watch_on()
            return
        await _conclude(takeover, steps, store=store, herald=herald, clock=clock)
        record.remove()
    except GitopsdError as error:
        log.warning("takeover not concluded", message=error.message)
    except OSError as error:
        log.warning("takeover not concluded", message=f"{error.filename}: {error.strerror}")


async def _conclude(takeover: Takeover, steps: StepSet, *, store: Store, herald: Herald, clock: Clock) -> None:
    conclusion = after_takeover(takeover, await store.memory(), await store.history(_HISTORY), clock.now())
    await store.conclude_boot(conclusion)
    if conclusion.deployed is not None and steps.source is not None:
        await steps.source.mark_deployed(conclusion.deployed.revision)
    rejected = conclusion.rejection
    message = f"the gitopsd of {takeover.after} did not hold once it had taken over: {takeover.reason}"
    more = {"revision": rejected.revision if rejected is not None else None, "toplevel": takeover.after}
    structlog.get_logger().error(events.ROLLED_BACK, message=message, **more)
    herald.tell(events.ROLLED_BACK, message, occasion=takeover.invocation, **more)
