"""One client: its messages in, its answers out, and the limits that keep it from harming anybody else.

asyncvarlink describes, converts and sends; the order of work is ours, because its own protocol class parses whatever
comes, and looks away from the socket while it answers. Here messages wait unparsed in a short queue and a task of its
own answers them one after the other, each answer leaving before the next message is looked at. Thereby a client that
does not read holds nothing but its own few messages, its going away is noticed while a stream is quiet, and what a
stream drains is closed with it.
"""

import asyncio
import contextlib
import json
import select
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import structlog
from asyncvarlink import (
    AnnotatedResult,
    GenericVarlinkErrorReply,
    VarlinkBaseProtocol,
    VarlinkErrorReply,
    VarlinkInterfaceRegistry,
    VarlinkMethodCall,
    VarlinkMethodReply,
    VarlinkMethodSignature,
    VarlinkTransport,
)
from asyncvarlink.conversion import ConversionError
from asyncvarlink.serviceerrors import InvalidParameter

from gitopsd.control import access
from gitopsd.control.access import Peer
from gitopsd.control.feed import Feed, FellBehind
from gitopsd.control.interfaces import as_reply
from gitopsd.control.limits import Limits
from gitopsd.errors import GitopsdError

T = TypeVar("T")

_log = structlog.get_logger()


class _Gone(Exception):
    """The client does not read, or is no longer there."""


class Connection(VarlinkBaseProtocol):
    """Answers one client.

    Args:
        sock: the accepted socket.
        registry: the interfaces for this client; they may ask `peer` and `feed` of us.
        identify: who the client is, asked anew for every call.
        limits: what the client gets.
        complain: called with one sentence if the client breaks a rule.
        on_close: called once the connection is gone.

    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        registry: VarlinkInterfaceRegistry,
        identify: Callable[[], Awaitable[Peer]],
        limits: Limits,
        complain: Callable[[str], None],
        on_close: Callable[["Connection"], None],
    ) -> None:
        self.registry = registry
        self._sock = sock
        self._identify = identify
        self._limits = limits
        self._complain = complain
        self._on_close = on_close
        self._peer: Peer | None = None
        self._transport: VarlinkTransport | None = None
        self._messages: asyncio.Queue[bytes] = asyncio.Queue()
        self._feeds: list[Feed[Any]] = []
        self._unfinished = b""  # the message that has not ended yet
        self._answering = False
        self._half_closed = False
        self._dropped = False
        self._worker: asyncio.Task[None] | None = None

    # What interfaces ask for.

    @property
    def peer(self) -> Peer:
        """Who calls, as of the call that is being answered."""
        assert self._peer is not None, "asked outside of a call"  # noqa: S101 - states what `_answer` guarantees
        return self._peer

    def feed(self, source: AsyncIterator[T], replaces: Callable[[T, T], bool]) -> Feed[T]:
        """Drain `source` until the present call ends."""
        feed = Feed(
            source,
            limit=self._limits.backlog,
            replaces=replaces,
            patience=self._limits.catch_up,
            on_behind=lambda: self.drop("reads too slowly"),
        )
        self._feeds.append(feed)
        return feed

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to answer."""
        assert isinstance(transport, VarlinkTransport)  # noqa: S101 - the server makes no other
        self._transport = transport
        if self._dropped:  # stopped between accept and here
            self._abort()
            return
        self._worker = asyncio.create_task(self._work())

    def message_received(self, data: bytes, fds: object) -> None:  # noqa: ARG002 - the transport closes descriptors
        """Take bytes as they come, and queue the messages that end in them."""
        if self._dropped:
            return
        *messages, self._unfinished = (self._unfinished + data).split(b"\0")
        if len(self._unfinished) > self._limits.message:
            self.drop(f"sent a message of more than {self._limits.message} bytes")
        elif self._messages.qsize() + len(messages) > self._limits.waiting:
            self.drop(f"sent more than {self._limits.waiting} calls ahead")
        else:
            for message in messages:
                self._messages.put_nowait(message)

    def eof_received(self) -> None:
        """Close, unless the client only finished sending and still reads."""
        if self._dropped:  # in the same turn of the loop
            return
        self._half_closed = True
        if self._hung_up() or (not self._answering and self._messages.empty()):
            self.drop()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - however it was lost
        """Stop answering."""
        self._dropped = True
        if self._worker is not None:
            self._worker.cancel()
        self._on_close(self)

    def drop(self, why: str = "") -> None:
        """Close at once.

        Args:
            why: the rule that the client broke; empty if it did nothing wrong.

        """
        if self._dropped:
            return
        self._dropped = True
        if why:
            self._complain(why)
        self._abort()

    async def finished(self) -> None:
        """Wait until nothing is done for this client any more."""
        if self._worker is not None:
            await asyncio.wait({self._worker})

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _hung_up(self) -> bool:
        """Whether the client has closed both directions: end of file alone does not tell."""
        poll = select.poll()
        poll.register(self._sock.fileno(), 0)  # POLLHUP is always reported
        return bool(poll.poll(0))

    # Answering.

    async def _work(self) -> None:
        try:
            while (message := await self._next_message()) is not None:
                self._answering = True
                await self._answer(_call(message))
                self._answering = False
        except (_Gone, FellBehind) as error:
            self.drop(str(error))
        finally:
            self.drop()

    async def _next_message(self) -> bytes | None:
        """The next call as it came; None once the client has no more to ask, or has not asked for long."""
        if self._half_closed and self._messages.empty():
            return None
        try:
            async with asyncio.timeout(self._limits.idle):
                return await self._messages.get()
        except TimeoutError:
            return None

    async def _answer(self, call: VarlinkMethodCall) -> None:
        try:
            method, signature = self.registry.lookup_method(call)
            self._peer = await self._identify()
            access.check(call.method, self._peer, call.parameters.get("user"))
            last = None
            async with contextlib.aclosing(_replies(method(**_parameters(signature, call)), signature)) as replies:
                async for last in replies:
                    if not call.oneway:
                        await self._send(last)
            if last is None or last.continues:
                raise _Gone  # a stream without an end: the daemon stops, and the client asks again after its start
        except VarlinkErrorReply as error:
            await self._send_error(call, error)
        except GitopsdError as error:
            await self._send_error(call, as_reply(error))
        except (_Gone, FellBehind):
            raise
        except Exception as error:  # noqa: BLE001 - a bug in one method must not end the others
            _log.error("a call on the socket failed", method=call.method, peer=str(self._peer), exc_info=error)
            await self._send_error(call, _internal_error(call))
        finally:
            await self._close_feeds()

    async def _send_error(self, call: VarlinkMethodCall, error: VarlinkErrorReply) -> None:
        if not call.oneway:
            await self._send(error.toreply())

    async def _send(self, reply: VarlinkMethodReply) -> None:
        """Send one message and wait until the client's buffer has it.

        Raises:
            _Gone: the client is not there or does not read.

        """
        if self._dropped or self._transport is None:
            raise _Gone
        # A name that is no UTF-8 must not make the whole answer unreadable.
        encoded = json.dumps(reply.tojson(), ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
        sent = self._transport.send_message(encoded + b"\0")
        sent.add_done_callback(_seen)
        # `wait` leaves the future alone when it times out or we are cancelled: the transport still sets it.
        await asyncio.wait({sent}, timeout=self._limits.send)
        if not sent.done():
            raise _Gone(f"did not read for {self._limits.send:g} s")
        if sent.exception() is not None:
            raise _Gone

    async def _close_feeds(self) -> None:
        while self._feeds:
            await self._feeds.pop().aclose()


def _call(message: bytes) -> VarlinkMethodCall:
    """Parse a message.

    Raises:
        _Gone: it is no Varlink call; whoever speaks something else is not answered.

    """
    try:
        return VarlinkMethodCall.fromjson(msgspec.json.decode(message))
    except (msgspec.DecodeError, RecursionError, TypeError, ValueError):
        raise _Gone("sent something that is not a Varlink call") from None


async def _replies(result: Any, signature: VarlinkMethodSignature) -> AsyncGenerator[VarlinkMethodReply, None]:
    """Turn what a method returned, of whichever sort, into messages."""
    if signature.more:
        async with contextlib.aclosing(result):
            async for each in result:
                yield _reply(each, signature)
    else:
        yield _reply(await result if signature.asynchronous else result, signature)


def _reply(result: AnnotatedResult, signature: VarlinkMethodSignature) -> VarlinkMethodReply:
    parameters = signature.return_type.tojson(result.parameters)
    return VarlinkMethodReply(parameters, continues=result.continues)


def _parameters(signature: VarlinkMethodSignature, call: VarlinkMethodCall) -> dict[str, Any]:
    try:
        return dict(signature.parameter_type.fromjson(call.parameters))
    except ConversionError as error:
        raise InvalidParameter(parameter=str(error.location[0])) from error


def _internal_error(call: VarlinkMethodCall) -> VarlinkErrorReply:
    return GenericVarlinkErrorReply(
        f"{call.method_interface}.InternalError",
        {"reason": f"gitopsd failed to answer {call.method}; this is a bug", "advice": "journalctl -u gitopsd"},
    )


def _seen(sent: asyncio.Future[None]) -> None:
    """Fetch the result of a send that nobody waits for any more, or asyncio would report it."""
    if not sent.cancelled():
        sent.exception()
