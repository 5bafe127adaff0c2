"""The daemon's life: start, resume, serve, reload, stop."""

import asyncio
import fcntl
import os
import signal
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from gitopsd import __version__, events
from gitopsd.boot.disk import Disk
from gitopsd.boot.profiles import SYSTEM, Profile
from gitopsd.config import Config, load
from gitopsd.control.server import ControlServer
from gitopsd.daemon.assembly import ROOTS, Surroundings, assemble, receivers
from gitopsd.daemon.assessment import Assessment
from gitopsd.daemon.board import Board
from gitopsd.daemon.clock import SystemClock
from gitopsd.daemon.exposition import Exposition
from gitopsd.daemon.herald import OutboxHerald
from gitopsd.daemon.loop import Loop
from gitopsd.daemon.metrics import Metrics
from gitopsd.daemon.notify import Notify
from gitopsd.daemon.standby import StandBy
from gitopsd.daemon.store import SqliteStore
from gitopsd.daemon.store_file import copy_state, restore_state
from gitopsd.daemon.takeover import conclude
from gitopsd.daemon.word import write_word
from gitopsd.errors import ConfigError, Failed
from gitopsd.machine import RESTING
from gitopsd.tools.activation import Switching
from gitopsd.tools.nix import store_path_at
from gitopsd.tools.own_unit import OwnService, OwnUnit
from gitopsd.tools.process import Processes
from gitopsd.tools.systemd import Systemd
from gitopsd.tools.takeover import TakeoverRecord
from gitopsd.types import Cycle, Memory, Snapshot

_FIRST_FD = 3  # sd_listen_fds(3)
_STATE = "state.db"  # below the state directory
_WAY_BACK = 900.0  # seconds that one activation of the old system may take


class Paths(msgspec.Struct, frozen=True, kw_only=True):
    """Where things are.

    Args:
        config: the configuration file.
        state: the state directory.
        socket: what to listen on where systemd passed no socket.

    """

    config: Path
    state: Path
    socket: Path


async def run(paths: Paths) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        ConfigError: the configuration cannot be used.
        Failed: another daemon uses the state directory, or the state file cannot be used.

    """
    config = load(paths.config)
    _state_directory(paths.state)
    lock = _lock(paths.state)
    try:
        await _locked(paths, config)
    finally:
        os.close(lock)


async def rehearse(paths: Paths) -> None:
    """Start as far as being ready, on a copy of the state, beside the daemon that runs; then end.

    Raises:
        ConfigError: the configuration cannot be used.
        Failed: the state directory or the state file cannot be used.
        Transient: systemd cannot be reached.

    """
    config = load(paths.config)
    try:
        with tempfile.TemporaryDirectory(prefix="rehearsal-", dir=paths.state) as place:
            mine = msgspec.structs.replace(paths, state=Path(place), socket=Path(place) / "io.gitopsd")
            _state_directory(mine.state)
            copy_state(paths.state / _STATE, mine.state / _STATE)
            await _locked(mine, config, rehearsal=True)
    except OSError as error:
        raise Failed(f"cannot write to the state directory {paths.state}: {error.strerror}") from error


async def stand_by(paths: Paths) -> None:
    """Watch the version that has taken over from this one, and go back if need be; see `StandBy`.

    It reads no configuration and opens no store: those are the other version's.

    Raises:
        GitopsdError: systemd cannot be reached.

    """
    systemd, clock = Systemd(), SystemClock()
    await systemd.start()
    try:
        await StandBy(
            TakeoverRecord(paths.state),
            OwnService(systemd, clock),
            Switching(systemd, clock, timeout=_WAY_BACK),
            clock,
            running=lambda: store_path_at(Path("/run/current-system")),
            make_default=lambda toplevel: Profile(SYSTEM, Disk()).set(toplevel),
            restore=lambda: restore_state(paths.state / _STATE),
        ).run()
    finally:
        await systemd.stop()


async def _locked(paths: Paths, config: Config, *, rehearsal: bool = False) -> None:
    log, notify, clock = structlog.get_logger(), Notify(), SystemClock()
    store = SqliteStore(paths.state / _STATE, keep_cycles=config.history.cycles)
    damaged = await store.open()
    if damaged and rehearsal:
        raise Failed("it cannot read the state of the daemon that runs")
    if damaged:
        log.error(events.STATE_DAMAGED, message=f"it is kept as {damaged}; history and rejections start anew")
    systemd = Systemd()
    await systemd.start()
    successor = OwnUnit(systemd, clock, paths.config, paths.state)
    around = Surroundings(
        state_dir=paths.state,
        store=store,
        systemd=systemd,
        processes=Processes(),
        clock=clock,
        successor=successor,
    )
    steps, problems = assemble(config, around)
    for problem in problems:
        log.error("left out", message=problem)
    meter, herald = Metrics(), OutboxHerald(store, clock, config.host)
    herald.use(config.notify, receivers(config, around), config.host)
    if not rehearsal:
        record = TakeoverRecord(paths.state)
        await conclude(record, steps, store=store, herald=herald, successor=successor, clock=clock)
    unfinished = await store.unfinished_cycle()
    memory = await store.memory()
    if memory.trial is not None and memory.trial.boot_id == clock.boot_id():
        await store.note_order(stopped=False)
    board = Board(_snapshot(config, paths, memory, unfinished, clock.now()))
    board.change(left_out=problems)
    if damaged:
        herald.tell(events.STATE_DAMAGED, f"it is kept as {damaged}")
    loop = Loop(
        steps=steps,
        store=store,
        board=board,
        clock=clock,
        notify=notify,
        successor=successor,
        remembered=lambda memory: _write_word(life.config, memory),
        meter=meter,
        herald=herald,
    )
    loop.take_up(unfinished, memory.pending)
    meter.show(loop.snapshot)
    exposition = Exposition(meter, board.changes)
    assessment = Assessment(units=systemd, steps=lambda: loop.in_force, store=store, board=board, clock=clock)
    life = _Life(
        paths=paths,
        around=around,
        loop=loop,
        board=board,
        notify=notify,
        config=config,
        herald=herald,
        exposition=exposition,
        store=store,
        assessment=assessment,
    )
    server = ControlServer(loop, lambda: life.config.control, _listener(paths.socket), metrics=meter.text)
    try:
        await server.start()
        if rehearsal:
            await systemd.failed()  # that it answers
            return
        _write_word(config, memory)
        await assessment.conclude()  # before the first cycle: what was rolled back at boot is not deployed again
        await life.live()
    finally:
        notify.stopping()
        await server.stop()
        await systemd.stop()
        await store.close()


def _write_word(config: Config, memory: Memory) -> None:
    """The file for scripts. It is a copy of what the store has, and must not end a cycle."""
    if not config.files.sync_status:
        return
    try:
        write_word(Path(config.files.sync_status), memory.people)
    except OSError as error:
        structlog.get_logger().warning("file not written", message=f"{config.files.sync_status}: {error.strerror}")


class _Life:
    """What goes on while the daemon runs: the loop, the watchdog, and signals."""

    def __init__(
        self,
        *,
        paths: Paths,
        around: Surroundings,
        loop: Loop,
        board: Board,
        notify: Notify,
        config: Config,
        store: SqliteStore,
        herald: OutboxHerald,
        exposition: Exposition,
        assessment: Assessment,
    ) -> None:
        self._herald = herald
        self._exposition = exposition
        self.config = config
        self._store = store
        self._paths = paths
        self._around = around
        self._loop = loop
        self._board = board
        self._notify = notify
        self._assessment = assessment
        self._log = structlog.get_logger()

    async def live(self) -> None:
        """Run the loop until a signal says stop."""
        stop = asyncio.Event()
        on_signal: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGTERM: stop.set,
            signal.SIGINT: stop.set,
            signal.SIGHUP: self.reload,
        }
        for number, action in on_signal.items():
            asyncio.get_running_loop().add_signal_handler(number, action)
        self._notify.ready()
        working = asyncio.create_task(self._loop.run())
        watching = asyncio.create_task(self._notify.watchdog(self._loop.healthy))
        stopping = asyncio.create_task(stop.wait())
        telling = asyncio.create_task(self._herald.run())
        self._exposition.use(self.config.metrics)
        exposing = asyncio.create_task(self._exposition.run())
        assessing = asyncio.create_task(self._assessment.run())
        tasks = {working, watching, stopping, telling, exposing, assessing}
        try:
            # Whichever ends first: stop, or the loop by an error, which then ends the daemon loudly.
            while not stopping.done() and not working.done():
                await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not working.cancelled():
            working.result()
        try:
            await self._store.note_order(stopped=True)
        except Failed as error:  # then a test that runs counts as one that a crash has ended
            self._log.warning("not recorded that it stops in order", message=error.message)

    def reload(self) -> None:
        """Read the configuration again. A bad file keeps the old one running, and says so."""
        self._notify.reloading()
        try:
            config = load(self._paths.config)
            steps, problems = assemble(config, self._around)
        except ConfigError as error:
            self._log.error(events.CONFIG_REFUSED, message=error.explained())  # a person's fault
            self._herald.tell(events.CONFIG_REFUSED, error.message)
            self._board.change(config_error=error.explained())
        else:
            self.config = config
            self._loop.use(steps)
            self._store.keep(config.history.cycles)
            self._herald.use(config.notify, receivers(config, self._around), config.host)
            self._exposition.use(config.metrics)
            self._board.change(config_error="", left_out=problems, host=config.host)
            self._log.info("configuration reloaded")
        self._notify.ready()


def _snapshot(config: Config, paths: Paths, memory: Memory, unfinished: Cycle | None, now: float) -> Snapshot:
    under_way = unfinished if unfinished is not None and unfinished.state not in RESTING else None
    return Snapshot(
        version=__version__,
        host=config.host,
        state=under_way.state if under_way else memory.resting,
        since=under_way.state_since if under_way else memory.since or now,
        cycle=under_way,
        last_sync=memory.last_sync,
        last_upgrade=memory.last_upgrade,
        people=memory.people,
        deployed=memory.deployed,
        rejected=memory.rejected,
        blocked=memory.blocked,
        trial=memory.trial,
        checkout=memory.checkout,
        suspended=memory.suspended,
        gone_back=memory.gone_back,
        config_path=str(paths.config),
    )


def _state_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (path / ROOTS).mkdir(exist_ok=True)
    except OSError as error:
        raise Failed(f"cannot create the state directory {path}: {error.strerror}") from error


def _lock(state: Path) -> int:
    """Hold the state directory: two daemons on it would both switch."""
    try:
        fd = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Failed(
            f"cannot write to the state directory {state}: {error.strerror}",
            meaning="gitopsd does nothing that it cannot record first",
            advice=f"see that {state} is writable and not full",
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Failed(
            f"another gitopsd uses the state directory {state}",
            meaning="this one ends; the other goes on undisturbed",
            advice="`systemctl status gitopsd.service`",
        ) from None
    return fd


def _listener(path: Path) -> socket.socket:
    """The socket that systemd passed (sd_listen_fds(3)), or one of our own."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        return socket.socket(fileno=_FIRST_FD)
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.bind(str(path))
    path.chmod(0o666)  # who may do what is decided per method, by peer credentials
    listener.listen(128)
    return listener
