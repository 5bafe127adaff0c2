"""What goes on while the daemon runs."""

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from gitopsd import events
from gitopsd.config import Config, load
from gitopsd.daemon.assembly import Surroundings, assemble, receivers
from gitopsd.daemon.assessment import Assessment
from gitopsd.daemon.board import Board
from gitopsd.daemon.exposition import Exposition
from gitopsd.daemon.herald import OutboxHerald
from gitopsd.daemon.loop import Loop
from gitopsd.daemon.notify import Notify
from gitopsd.daemon.places import Paths
from gitopsd.daemon.store import SqliteStore
from gitopsd.errors import ConfigError, Failed


@dataclass(kw_only=True)
class Life:
    """The loop, the watchdog, the herald and signals, from ready to stop.

    Args:
        paths: where things are.
        around: what steps are assembled from.
        loop: runs the cycles.
        board: shows what happens.
        notify: systemd.
        config: in force.
        store: the durable record.
        herald: tells those who want to know.
        exposition: shows the metrics.
        assessment: follows the assessment of this boot.

    """

    paths: Paths
    around: Surroundings
    loop: Loop
    board: Board
    notify: Notify
    config: Config
    store: SqliteStore
    herald: OutboxHerald
    exposition: Exposition
    assessment: Assessment

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
        self.notify.ready()
        working = asyncio.create_task(self.loop.run())
        watching = asyncio.create_task(self.notify.watchdog(self.loop.healthy))
        stopping = asyncio.create_task(stop.wait())
        telling = asyncio.create_task(self.herald.run())
        self.exposition.use(self.config.metrics)
        exposing = asyncio.create_task(self.exposition.run())
        assessing = asyncio.create_task(self.assessment.run())
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
            await self.store.note_order(stopped=True)
        except Failed as error:  # then a test that runs counts as one that a crash has ended
            structlog.get_logger().warning("not recorded that it stops in order", message=error.message)

    def reload(self) -> None:
        """Read the configuration again. A bad file keeps the old one running, and says so."""
        self.notify.reloading()
        try:
            config = load(self.paths.config)
            steps = assemble(config, self.around)
        except ConfigError as error:
            structlog.get_logger().error(events.CONFIG_REFUSED, message=error.explained())  # a person's fault
            self.herald.tell(events.CONFIG_REFUSED, error.message)
            self.board.change(config_error=error.explained())
        else:
            self.config = config
            self.loop.use(steps)
            self.store.keep(config.history.cycles)
            self.herald.use(config.notify, receivers(config, self.around), config.host)
            self.exposition.use(config.metrics)
            self.board.change(config_error="", host=config.host)
            structlog.get_logger().info("configuration reloaded")
        self.notify.ready()
