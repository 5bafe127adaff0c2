"""systemd over D-Bus: the only user of pydbus and GLib.

pydbus is synchronous, and its signals need a running GLib loop. So it lives in a thread of its own: calls are handed to
that thread as idle sources on its own `GLib.MainContext`, signals come back with `loop.call_soon_threadsafe`. Every call
has a timeout. A connection that broke (the bus restarted) is made anew by the next call; PID 1 that re-executes keeps
its end of it. Interface: org.freedesktop.systemd1(5).
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

from gi.repository import Gio, GLib
from pydbus.bus import connect

from gitopsd.errors import Cause, Failed, GitopsdError, Transient
from gitopsd.types import UnitHealth

T = TypeVar("T")

_BUS = "org.freedesktop.systemd1"
_MANAGER = "/org/freedesktop/systemd1"
_LOGIN = "org.freedesktop.login1"
_LOGIN_MANAGER = "/org/freedesktop/login1"
_CALL = 25.0  # seconds for one call
_PATIENCE = 30.0  # seconds in which a bus or a PID 1 that restarts is back
_PAUSE = 0.2  # seconds between two tries
_ADDRESS = "unix:path=/run/dbus/system_bus_socket"  # D-Bus specification, "Well-known Message Bus Instances"
_PROPERTIES = "org.freedesktop.DBus.Properties"


class Unit(dict[str, Any]):
    """All properties of a unit and its service part, by name."""


class Systemd:
    """A connection to PID 1; `ports.Units`.

    Use `start` before anything else and `stop` at the end.
    """

    def __init__(self) -> None:
        self._context = GLib.MainContext.new()
        self._glib_loop = GLib.MainLoop.new(self._context, False)
        self._thread = threading.Thread(target=self._run, name="dbus", daemon=True)
        self._loop: asyncio.AbstractEventLoop
        self._connection: Any = None
        self._manager: Any = None
        self._watches: set[_Watch] = set()

    async def start(self) -> None:
        """Start the thread. The bus is connected to by the first call."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """End the thread."""
        self._context.invoke_full(GLib.PRIORITY_DEFAULT, self._glib_loop.quit)
        await self._loop.run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        self._context.push_thread_default()
        self._glib_loop.run()
        self._context.pop_thread_default()

    async def _ask(self, question: Callable[[], T]) -> T:
        """Run in the thread what may be run twice; again, while the bus or PID 1 restarts."""
        give_up = self._loop.time() + _PATIENCE
        while True:
            try:
                return await self._call(question)
            except Transient as error:
                if error.cause is not Cause.timeout or self._loop.time() > give_up:
                    raise
            await asyncio.sleep(_PAUSE)

    async def _call(self, work: Callable[[], T]) -> T:
        """Run `work` in the thread, once; translate what the bus says."""
        future: asyncio.Future[T] = self._loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if future.done():  # the caller was cancelled meanwhile
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # T, since there was no error

        def idle(*_: object) -> Any:
            result: T | None = None
            failure: BaseException | None = None
            try:
                result = work()
            except GLib.Error as error:
                failure = _translated(error)
            except Exception as error:  # noqa: BLE001  # raised again where it is awaited
                failure = error
            self._loop.call_soon_threadsafe(settle, result, failure)
            return GLib.SOURCE_REMOVE

        source = GLib.idle_source_new()
        source.set_priority(GLib.PRIORITY_DEFAULT)
        source.set_callback(idle)
        source.attach(self._context)
        return await future

    def _connect(self) -> Any:
        """In the thread: the manager's proxy, on a connection that is open."""
        if self._connection is None or self._connection.is_closed():
            # A connection of our own: the shared one of GLib stays closed for ever once the bus has restarted.
            bus = connect(os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", _ADDRESS))
            self._connection = bus.con
            self._connection.set_exit_on_close(False)
            self._manager = bus.get(_BUS, _MANAGER)["org.freedesktop.systemd1.Manager"]
            self._subscribe()
        return self._manager

    def _subscribe(self) -> None:
        """In the thread: have every change of a unit and every finished job wake the watchers."""
        self._manager.Subscribe(timeout=_CALL)
        for interface, signal in (
            (_PROPERTIES, "PropertiesChanged"),
            ("org.freedesktop.systemd1.Manager", "JobRemoved"),
            ("org.freedesktop.systemd1.Manager", "Reloading"),
        ):
            self._connection.signal_subscribe(
                _BUS, interface, signal, None, None, Gio.DBusSignalFlags.NONE, self._on_signal
            )

    def _on_signal(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for watch in self._watches:
            watch.event.set()

    def _raw(self, path: str, interface: str, method: str, arguments: Any, *, bus: str = _BUS) -> Any:
        """In the thread: one call without a proxy, whose introspection would cost 8 ms."""
        self._connect()
        reply = self._connection.call_sync(
            bus, path, interface, method, arguments, None, Gio.DBusCallFlags.NONE, int(_CALL * 1000), None
        )
        return reply.unpack()

    def _properties(self, path: str) -> Unit:
        return Unit(self._raw(path, _PROPERTIES, "GetAll", GLib.Variant("(s)", ("",)))[0])

    async def unit(self, name: str) -> Unit | None:
        """All properties of a unit that is loaded; None if systemd has none of that name in memory.

        Args:
            name: with its suffix.

        """

        def work() -> Unit | None:
            try:
                path = self._connect().GetUnit(name, timeout=_CALL)
            except GLib.Error as error:
                if _name_of(error).endswith(".NoSuchUnit"):
                    return None
                raise
            return self._properties(path)

        return await self._ask(work)

    async def failed(self) -> tuple[str, ...]:
        """See `ports.Units`."""
        listed = await self._ask(lambda: self._connect().ListUnitsFiltered(["failed"], timeout=_CALL))
        return tuple(sorted(entry[0] for entry in listed))

    async def health(self, names: Sequence[str]) -> tuple[UnitHealth, ...]:
        """See `ports.Units`. A unit that is not in memory is loaded, so that one that does not exist shows as such."""

        def work() -> tuple[UnitHealth, ...]:
            return tuple(
                _health(name, self._properties(self._connect().LoadUnit(name, timeout=_CALL))) for name in names
            )

        return await self._ask(work)

    @contextlib.asynccontextmanager
    async def watch(self) -> AsyncIterator["_Watch"]:
        """See `ports.Units`."""
        watch = _Watch()
        self._watches.add(watch)
        try:
            await self._ask(self._connect)
            yield watch
        finally:
            self._watches.discard(watch)

    async def start_transient(self, name: str, properties: Sequence[tuple[str, Any]]) -> None:
        """Start a transient unit; returns once the job is queued.

        Args:
            name: with its suffix.
            properties: names and `GLib.Variant`s, see systemd.exec(5) on their D-Bus names.

        Raises:
            Transient: a unit of that name exists (`lock_held`), or nobody answered (`timeout`): it may have started.

        """
        await self._call(lambda: self._connect().StartTransientUnit(name, "fail", list(properties), [], timeout=_CALL))

    async def sessions(self) -> tuple[str, ...]:
        """See `ports.Power`; org.freedesktop.login1(5). Without logind nobody keeps count."""

        def work() -> tuple[str, ...]:
            listed = self._raw(_LOGIN_MANAGER, f"{_LOGIN}.Manager", "ListSessions", None, bus=_LOGIN)[0]
            names = set()
            for _, _, user, _, path in listed:
                question = GLib.Variant("(s)", (f"{_LOGIN}.Session",))
                found = self._raw(path, _PROPERTIES, "GetAll", question, bus=_LOGIN)[0]
                if str(found["Class"]).startswith("user") and found["State"] != "closing":
                    names.add(user)
            return tuple(sorted(names))

        try:
            return await self._call(work)
        except GitopsdError:
            return ()

    async def reboot(self) -> None:
        """See `ports.Power`. logind asks those who inhibit; without it PID 1 is asked."""

        def ask_logind() -> None:
            self._raw(_LOGIN_MANAGER, f"{_LOGIN}.Manager", "Reboot", GLib.Variant("(b)", (False,)), bus=_LOGIN)

        try:
            await self._call(ask_logind)
        except Transient as error:
            if error.cause is not Cause.timeout:
                raise Failed(
                    f"the reboot is refused: {error.message}",
                    meaning="the machine runs on, and the reboot is still required",
                    advice="`systemd-inhibit --list` tells who holds it up",
                ) from error
            await self._call(lambda: self._connect().StartUnit("reboot.target", "replace-irreversibly", timeout=_CALL))

    async def start_unit(self, name: str) -> None:
        """Start a unit; returns once the job is queued."""
        await self._ask(lambda: self._connect().StartUnit(name, "replace", timeout=_CALL))

    async def reload(self) -> None:
        """Have systemd read the unit files again."""
        await self._ask(lambda: self._connect().Reload(timeout=_CALL))

    async def stop_unit(self, name: str) -> None:
        """Stop a unit; returns once the job is queued."""
        await self._ask(lambda: self._connect().StopUnit(name, "replace", timeout=_CALL))

    async def restart_unit(self, name: str) -> None:
        """Restart a unit; returns once the job is queued."""
        await self._ask(lambda: self._connect().RestartUnit(name, "replace", timeout=_CALL))

    async def start_once(self, name: str) -> None:
        """Start a unit, asking once; returns when the job is queued. It may be, even if nobody answers (`timeout`)."""
        await self._call(lambda: self._connect().StartUnit(name, "replace", timeout=_CALL))

    async def load(self, name: str) -> Unit:
        """All properties of a unit, which is read from its file if systemd has it not in memory.

        It then stays in memory, with its last result, for as long as our connection does.
        """

        def work() -> Unit:
            path = self._connect().LoadUnit(name, timeout=_CALL)
            self._raw(path, f"{_BUS}.Unit", "Ref", None)
            return self._properties(path)

        return await self._ask(work)

    async def reset_failed(self, name: str) -> None:
        """Have systemd forget that a unit failed; a transient one is gone then."""
        await self._ask(lambda: self._connect().ResetFailedUnit(name, timeout=_CALL))


class _Watch:
    """`ports.Watch`."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """See `ports.Watch`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.event.wait()
        self.event.clear()


def text(value: str) -> Any:
    """A string property."""
    return GLib.Variant("s", value)


def flag(value: bool) -> Any:
    """A boolean property."""
    return GLib.Variant("b", value)


def microseconds(seconds: float) -> Any:
    """A time span property."""
    return GLib.Variant("t", int(seconds * 1_000_000))


def number(value: int) -> Any:
    """A property that is a small number."""
    return GLib.Variant("i", value)


def exit_statuses(values: Sequence[int]) -> Any:
    """A `SuccessExitStatus` property."""
    return GLib.Variant("(aiai)", (list(values), []))


def texts(values: Sequence[str]) -> Any:
    """A property that is a list of strings."""
    return GLib.Variant("as", list(values))


def command(argv: Sequence[str]) -> Any:
    """An `ExecStart` property of one command; a failing one fails the unit."""
    return GLib.Variant("a(sasb)", [(argv[0], list(argv), False)])


def _health(name: str, unit: Unit) -> UnitHealth:
    return UnitHealth(
        name=name,
        active=str(unit["ActiveState"]),
        sub=str(unit["SubState"]),
        restarts=int(unit.get("NRestarts", 0)),
        main_pid=int(unit.get("MainPID", 0)),
        loaded=unit["LoadState"] == "loaded",
        wanted=bool(unit["WantedBy"] or unit["RequiredBy"]),
    )


def _name_of(error: Any) -> str:
    """The D-Bus name of an error, such as `org.freedesktop.systemd1.NoSuchUnit`."""
    return str(Gio.DBusError.get_remote_error(error) or "")


def _translated(error: Any) -> GitopsdError:
    name = _name_of(error)
    message = f"systemd said: {error.message} ({name or error.domain})"
    if name.endswith((".UnitExists", ".TransactionIsDestructive")):
        return Transient(message, cause=Cause.lock_held)
    if name.endswith((".NoReply", ".Timeout", ".TimedOut", ".Disconnected", ".ServiceUnknown")) or not name:
        return Transient(message, cause=Cause.timeout)
    return Failed(
        message,
        meaning="systemd did not do what was asked",
        advice="`journalctl -b _PID=1 -n 30` has its side of it",
    )
