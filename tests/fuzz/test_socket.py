"""Whatever a local user sends, the daemon answers or hangs up, and answers everybody else as before."""

import asyncio
import contextlib
import json
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import structlog
from hypothesis import given
from hypothesis import strategies as st
from unit.test_control_fakes import RAIN, Daemon

from gitopsd.control.access import TABLE

METHODS = sorted(TABLE)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=10,
)
WORDS = "user cycle limit before file take content host seen files requested_by target accept_diverged duration which"
NAMES = st.sampled_from(WORDS.split())
CALLS = st.fixed_dictionaries(
    {},
    optional={
        "method": st.sampled_from(METHODS) | JSON,
        "parameters": st.dictionaries(NAMES, JSON, max_size=4) | JSON,
        "more": JSON,
        "oneway": JSON,
        "upgrade": JSON,
    },
)
MESSAGES = st.lists(CALLS.map(lambda call: json.dumps(call).encode()) | st.binary(max_size=200), min_size=1, max_size=4)


async def send(path: str, raw: bytes) -> bytes:
    """Send it, finish sending, and take what comes for a moment: a stream may never end."""
    reader, writer = await asyncio.open_unix_connection(path)
    answer = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        writer.write(raw)
        await writer.drain()
        writer.write_eof()
        async with asyncio.timeout(0.3):
            while chunk := await reader.read(65536):
                answer += chunk
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return answer


async def survives(place: Path, raw: bytes) -> None:
    errors: list[MutableMapping[str, Any]] = []

    def note(_: object, __: str, event: MutableMapping[str, Any]) -> str:
        if event.get("exc_info"):
            errors.append(event)
        raise structlog.DropEvent

    structlog.configure(processors=[note], cache_logger_on_first_use=False)
    async with Daemon(place / "socket") as daemon:
        daemon.peer = RAIN
        answer = await send(daemon.path, raw)
        for message in answer.split(b"\0")[:-1]:
            json.loads(message)
        healthy = await send(daemon.path, b'{"method":"io.gitopsd.Status.Get"}\0')
        assert b'"malphas"' in healthy
    (place / "socket").unlink(missing_ok=True)
    assert not errors, errors


@given(MESSAGES)
def test_whatever_is_sent(tmp_path_factory: Any, messages: list[bytes]) -> None:
    asyncio.run(survives(tmp_path_factory.mktemp("fuzz"), b"\0".join(messages) + b"\0"))


@given(st.binary(max_size=400))
def test_any_bytes(tmp_path_factory: Any, raw: bytes) -> None:
    asyncio.run(survives(tmp_path_factory.mktemp("fuzz"), raw))
