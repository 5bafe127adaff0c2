"""Work beside the loop: if it fails for a reason that nobody foresaw, that is told, and everything else goes on."""

from collections.abc import Coroutine
from typing import Any

import structlog


async def aside(name: str, work: Coroutine[Any, Any, None]) -> None:
    """Do it.

    Args:
        name: in a person's words, for the log.
        work: what is done.

    """
    try:
        await work
    except Exception:  # noqa: BLE001  # metrics and notifications must never end the daemon
        structlog.get_logger().error("stopped", message=f"{name}, by a bug; everything else goes on", exc_info=True)
