"""Retries of transient failures: the only user of tenacity."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from gitopsd.config import RetrySection
from gitopsd.errors import Transient
from gitopsd.ports import Clock
from gitopsd.types import Attempt

T = TypeVar("T")


async def retrying(
    operation: Callable[[], Awaitable[T]],
    policy: RetrySection,
    clock: Clock,
    on_attempt: Callable[[Attempt | None], None],
) -> T:
    """Run `operation`, and again on `Transient`: exponential with full jitter.

    Args:
        operation: what to run.
        policy: how often and how long.
        clock: sleeps.
        on_attempt: told the coming attempt before each wait, and None once it begins.

    Raises:
        Transient: the last attempt failed too.

    """

    def before_sleep(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        wait = state.next_action.sleep if state.next_action is not None else 0.0
        on_attempt(
            Attempt(
                number=state.attempt_number + 1,
                limit=policy.attempts,
                next_try=clock.now() + wait,
                cause=error.cause.value if isinstance(error, Transient) else "",
                message=str(error),
            )
        )

    attempts = AsyncRetrying(
        stop=stop_after_attempt(policy.attempts),
        wait=wait_random_exponential(multiplier=policy.first, max=policy.longest),
        retry=retry_if_exception_type(Transient),
        before_sleep=before_sleep,
        sleep=clock.sleep,
        reraise=True,
    )

    async def attempt() -> T:
        on_attempt(None)
        return await operation()

    return await attempts(attempt)
