"""The daemon's end of the socket: accepts clients, counts them, and gives each its interfaces."""

import asyncio
import concurrent.futures
import os
import socket
from collections.abc import Callable

import structlog
from asyncvarlink import VarlinkInterfaceRegistry, VarlinkTransport
from asyncvarlink.serviceinterface import VarlinkServiceInterface

import gitopsd
from gitopsd.config import ControlConfig
from gitopsd.control import access
from gitopsd.control.access import Credentials, Peer
from gitopsd.control.connection import Connection
from gitopsd.control.interfaces import ControlInterface, StatusInterface
from gitopsd.control.limits import Limits
from gitopsd.ports import Supervisor

_ACCEPT_PAUSE = 1.0  # seconds to wait when the process has no descriptors left
_COMPLAINT_PAUSE = 60.0  # seconds between two log lines about one user: nobody may flood the journal through us

_log = structlog.get_logger()


class ControlServer:
    """Serves the Varlink interfaces on a socket.

    Args:
        supervisor: what the clients ask.
        config: gives the `[control]` section in force, for each call anew.
        listener: bound and listening; the server owns it from now on.
        limits: what clients get.
        peer_of: tells who is at the other end of a socket.
        identify: looks up a user's name and whether they are an admin; runs in a thread.
        metrics: gives the figures as text.

    """

    def __init__(
        self,
        supervisor: Supervisor,
        config: Callable[[], ControlConfig],
        listener: socket.socket,
        *,
        limits: Limits | None = None,
        peer_of: Callable[[socket.socket], Credentials] = access.peer_of,
        identify: Callable[[Credentials, str], Peer] = access.identify,
        metrics: Callable[[], str] = str,
    ) -> None:
        self._metrics = metrics
        self._supervisor = supervisor
        self._config = config
        self._listener = listener
        self._limits = limits or Limits()
        self._peer_of = peer_of
        self._identify = identify
        self._connections: dict[Connection, tuple[Credentials, VarlinkTransport]] = {}
        self._complained: dict[int, float] = {}
        self._accepting: asyncio.Task[None] | None = None
        # A name service that hangs must neither stop the loop nor take threads that others need.
        self._names = concurrent.futures.ThreadPoolExecutor(max_workers=2, thread_name_prefix="gitopsd-names")

    async def start(self) -> None:
        """Begin to accept clients. From its return on the socket answers."""
        self._listener.setblocking(False)
        self._accepting = asyncio.create_task(self._accept())

    async def stop(self) -> None:
        """Accept no more clients, close those there are and the listening socket. Streams end without a last reply."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait({self._accepting})
        self._listener.close()
        for connection, (_, transport) in tuple(self._connections.items()):
            connection.drop()
            await transport.closed_future
            await connection.finished()
        self._names.shutdown(wait=False, cancel_futures=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                _log.warning("cannot accept clients on the socket for a moment", error=os.strerror(error.errno or 0))
                await asyncio.sleep(_ACCEPT_PAUSE)
                continue
            self._welcome(sock)
            await asyncio.sleep(0)  # `sock_accept` does not give way while clients are waiting: a flood would stop us

    def _welcome(self, sock: socket.socket) -> None:
        try:
            credentials = self._peer_of(sock)
        except OSError:  # gone already
            sock.close()
            return
        if not self._has_room(credentials.uid):
            self._complain(credentials, "has too many connections open")
            sock.close()
            return
        registry = VarlinkInterfaceRegistry()
        connection = Connection(
            sock,
            registry=registry,
            identify=lambda: self._look_up(credentials),
            limits=self._limits,
            complain=lambda why: self._complain(credentials, why),
            on_close=self._forget,
        )
        registry.register_interface(StatusInterface(self._supervisor, connection, self._metrics))
        registry.register_interface(ControlInterface(self._supervisor, connection))
        registry.register_interface(VarlinkServiceInterface("gitopsd", "gitopsd", gitopsd.__version__, "", registry))
        # Without a predictor of message boundaries the transport reads once per turn of the loop; with one it goes on
        # for as long as a client keeps sending, and nobody else gets a turn.
        transport = VarlinkTransport(asyncio.get_running_loop(), sock, sock, connection, boundary_predictor=None)
        self._connections[connection] = (credentials, transport)

    def _forget(self, connection: Connection) -> None:
        del self._connections[connection]

    def _has_room(self, uid: int) -> bool:
        if uid == 0:
            return True
        others = [each.uid for each, _ in self._connections.values() if each.uid != 0]
        return len(others) < self._limits.connections and others.count(uid) < self._limits.per_user

    async def _look_up(self, credentials: Credentials) -> Peer:
        if credentials.uid == 0:  # root does not depend on the name service
            return Peer(uid=0, user="root", admin=True)
        group = self._config().group
        return await asyncio.get_running_loop().run_in_executor(self._names, self._identify, credentials, group)

    def _complain(self, credentials: Credentials, why: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._complained.get(credentials.uid, -_COMPLAINT_PAUSE) < _COMPLAINT_PAUSE:
            return
        self._complained[credentials.uid] = now
        _log.warning("closed a client's connection", reason=why, uid=credentials.uid, pid=credentials.pid)
