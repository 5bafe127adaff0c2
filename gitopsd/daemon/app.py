"""The daemon's life: start, resume, serve, reload, stop."""

import os
import tempfile
from pathlib import Path

import msgspec
import structlog

from gitopsd import events
from gitopsd.boot.disk import Disk
from gitopsd.boot.profiles import SYSTEM, Profile
from gitopsd.config import Config, load
from gitopsd.control.server import ControlServer
from gitopsd.daemon.assembly import Surroundings, assemble, receivers
from gitopsd.daemon.assessment import Assessment
from gitopsd.daemon.board import Board, at_start
from gitopsd.daemon.clock import SystemClock
from gitopsd.daemon.exposition import Exposition
from gitopsd.daemon.herald import OutboxHerald
from gitopsd.daemon.life import Life
from gitopsd.daemon.loop import Loop
from gitopsd.daemon.metrics import Metrics
from gitopsd.daemon.notify import Notify
from gitopsd.daemon.places import Paths, listener, lock, state_directory
from gitopsd.daemon.standby import StandBy
from gitopsd.daemon.store import SqliteStore
from gitopsd.daemon.store_file import copy_state, restore_state
from gitopsd.daemon.takeover import conclude
from gitopsd.daemon.word import note_word
from gitopsd.errors import Failed
from gitopsd.tools.activation import Switching
from gitopsd.tools.nix import store_path_at
from gitopsd.tools.own_unit import OwnService, OwnUnit
from gitopsd.tools.process import Processes
from gitopsd.tools.systemd import Systemd
from gitopsd.tools.takeover import TakeoverRecord

_STATE = "state.db"  # below the state directory
_WAY_BACK = 900.0  # seconds that one activation of the old system may take


async def run(paths: Paths) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        ConfigError: the configuration cannot be used.
        Failed: another daemon uses the state directory, or the state file cannot be used.

    """
    config = load(paths.config)
    state_directory(paths.state)
    held = lock(paths.state)
    try:
        await _locked(paths, config)
    finally:
        os.close(held)


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
            state_directory(mine.state)
            copy_state(paths.state / _STATE, mine.state / _STATE)
            await _locked(mine, config, rehearsal=True)
    except OSError as error:
        raise Failed(
            f"cannot write to the state directory {paths.state}: {error.strerror}",
            meaning="whether this gitopsd would start is not known, and it is not trusted",
            advice=f"see that {paths.state} is writable and not full: `df {paths.state}`",
        ) from error


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
        raise Failed(
            "it cannot read the state of the daemon that runs",
            meaning="it would begin without the history and the rejections: this gitopsd is not good for this host",
            advice="deploy a gitopsd that is not older than the one that runs",
        )
    if damaged:
        log.error(events.STATE_DAMAGED, message=f"it is kept as {damaged}; history and rejections start anew")
    systemd = Systemd()
    await systemd.start()
    successor = OwnUnit(systemd, clock, paths.config, paths.state, store.keep_copy)
    if not rehearsal:
        await successor.begin()
    around = Surroundings(
        config=paths.config,
        state_dir=paths.state,
        store=store,
        systemd=systemd,
        processes=Processes(),
        clock=clock,
        successor=successor,
    )
    steps = assemble(config, around)
    meter, herald = Metrics(), OutboxHerald(store, clock, config.host)
    herald.use(config.notify, receivers(config, around), config.host)
    if not rehearsal:
        record = TakeoverRecord(paths.state)
        await conclude(record, steps, store=store, herald=herald, successor=successor, clock=clock)
    unfinished = await store.unfinished_cycle()
    memory = await store.memory()
    if memory.trial is not None and memory.trial.boot_id == clock.boot_id():
        await store.note_order(stopped=False)
    board = Board(at_start(config.host, str(paths.config), memory, unfinished, clock.now()))
    if damaged:
        herald.tell(events.STATE_DAMAGED, f"it is kept as {damaged}")
    loop = Loop(
        steps=steps,
        store=store,
        board=board,
        clock=clock,
        notify=notify,
        successor=successor,
        remembered=lambda memory: note_word(life.config, memory),
        meter=meter,
        herald=herald,
    )
    loop.take_up(unfinished, memory.pending)
    meter.show(loop.snapshot)
    exposition = Exposition(meter, board.changes)
    assessment = Assessment(units=systemd, steps=lambda: loop.in_force, store=store, board=board, clock=clock)
    life = Life(
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
    server = ControlServer(loop, lambda: life.config.control, listener(paths.socket), metrics=meter.text)
    try:
        await server.start()
        if rehearsal:
            await systemd.failed()  # that it answers
            return
        note_word(config, memory)
        await assessment.conclude()  # before the first cycle: what was rolled back at boot is not deployed again
        await life.live()
    finally:
        notify.stopping()
        await server.stop()
        await systemd.stop()
        await store.close()
