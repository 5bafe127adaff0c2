"""The durable record: one SQLite file in the state directory.

WAL with `synchronous=FULL`: a transaction is on the disk when it returns (sqlite.org/pragma.html#pragma_synchronous).
All access happens in one thread of its own, so that an fsync never stops the event loop. A file that is damaged is
moved aside and reported; the daemon starts with an empty memory and learns the rest from the system.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from gitopsd.daemon import store_rows as rows
from gitopsd.daemon.store_file import connect, copy_of, copy_state, move_aside
from gitopsd.errors import Failed
from gitopsd.types import (
    Announcement,
    BootConclusion,
    Cycle,
    CycleDetail,
    CycleEnd,
    CycleSummary,
    Facts,
    Memory,
    Rebooting,
    RebootNeed,
    Rejection,
    Revision,
    StepRecord,
    StorePath,
    Suspension,
    parse_revision,
)

T = TypeVar("T")


class SqliteStore:
    """`ports.Store` on one SQLite file.

    Args:
        path: the database file; its directory exists.
        keep_cycles: how many finished cycles are kept.

    """

    def __init__(self, path: Path, *, keep_cycles: int = 5000) -> None:
        self._path = path
        self._keep = keep_cycles
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._db: sqlite3.Connection

    async def open(self) -> str:
        """Open the file, migrate it, and check it.

        Returns:
            Empty, or where a damaged file was moved to.

        Raises:
            Failed: the file was written by a newer version of gitopsd.

        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._open)

    def _open(self) -> str:
        moved = ""
        try:
            self._db = connect(self._path)
        except sqlite3.DatabaseError:
            moved = str(move_aside(self._path))
            self._db = connect(self._path)
        return moved

    async def close(self) -> None:
        """Close the file; safe to call when it never opened."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _close(self) -> None:
        self._db.close()

    async def next_cycle_id(self) -> int:
        """See `ports.Store`."""

        def work(db: sqlite3.Connection) -> int:
            row = db.execute("UPDATE ids SET last = last + 1 RETURNING last").fetchone()
            return int(row[0])

        return await self._write(work)

    async def save_cycle(self, cycle: Cycle) -> None:
        """See `ports.Store`."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO running VALUES (1, ?)", (rows.encode(cycle),))
            rows.forget(db, f"{rows.PENDING}{cycle.id}")

        await self._write(work)

    async def keep_copy(self) -> None:
        """See `ports.Store`."""

        def work() -> None:
            copy = copy_of(self._path)
            copy.unlink(missing_ok=True)
            copy_state(self._path, copy)

        await self._run(work)

    async def save_pending(self, cycle: Cycle) -> None:
        """See `ports.Store`."""
        await self._write(lambda db: rows.remember(db, f"{rows.PENDING}{cycle.id}", cycle))

    async def suspend(self, suspension: Suspension | None) -> None:
        """See `ports.Store`."""

        def work(db: sqlite3.Connection) -> None:
            if suspension is None:
                rows.forget(db, "suspended")
            else:
                rows.remember(db, "suspended", suspension)

        await self._write(work)

    async def note_reboot(self, need: RebootNeed | None, rebooting: Rebooting | None = None) -> None:
        """See `ports.Store`."""

        def work(db: sqlite3.Connection) -> None:
            if need is None:
                rows.forget(db, "reboot")
            else:
                rows.remember(db, "reboot", need)
            if rebooting is not None:
                rows.remember(db, "rebooting", rebooting)

        await self._write(work)

    async def forget_at_reboot(self) -> None:
        """See `ports.Store`."""
        await self._write(lambda db: rows.forget(db, "at_reboot"))

    async def revision_of(self, toplevel: StorePath) -> Revision | None:
        """See `ports.Store`."""
        question = (
            "SELECT json_extract(summary, '$.revision') FROM cycles WHERE json_extract(summary, '$.toplevel') = ?"
            " AND json_extract(summary, '$.revision') IS NOT NULL ORDER BY id DESC LIMIT 1"
        )
        row = await self._read(lambda db: db.execute(question, (toplevel,)).fetchone())
        return None if row is None else parse_revision(row[0])

    def keep(self, cycles: int) -> None:
        """Keep another number of finished cycles, from the next end of a cycle on."""
        self._keep = cycles

    async def unfinished_cycle(self) -> Cycle | None:
        """See `ports.Store`."""
        return await self._read(rows.running)

    async def finish_cycle(self, end: CycleEnd, channels: Sequence[str] = ()) -> None:
        """See `ports.Store`."""
        await self._write(lambda db: rows.finish(db, end, channels, keep=self._keep))

    async def advance(self, cycle: Cycle, step: StepRecord, rejection: Rejection | None) -> None:
        """See `ports.Store`."""

        def work(db: sqlite3.Connection) -> None:
            rows.add(db, cycle.id, step, *([rejection] if rejection is not None else []))
            db.execute("INSERT OR REPLACE INTO running VALUES (1, ?)", (rows.encode(cycle),))

        await self._write(work)

    async def conclude_boot(self, conclusion: BootConclusion) -> None:
        """See `ports.Store`."""

        def work(db: sqlite3.Connection) -> None:
            if conclusion.rejection is not None:
                rows.reject(db, conclusion.rejection)
            if conclusion.deployed is not None:
                rows.remember(db, "deployed", conclusion.deployed)
                db.execute("DELETE FROM rejected WHERE revision = ?", (conclusion.deployed.revision,))
                rows.forget(db, "gone_back")
            if conclusion.gone_back is not None:
                rows.remember(db, "gone_back", conclusion.gone_back)
            for key, value in (("boot_told", conclusion.told), ("blocked", conclusion.blocked)):
                if value:
                    rows.remember(db, key, value)

        await self._write(work)

    async def history(self, limit: int, before: int | None = None) -> tuple[CycleSummary, ...]:
        """See `ports.Store`."""
        top = before if before is not None else 2**62
        rows = await self._read(
            lambda db: db.execute(
                "SELECT summary FROM cycles WHERE id < ? ORDER BY id DESC LIMIT ?", (top, limit)
            ).fetchall()
        )
        return tuple(msgspec.json.decode(row[0], type=CycleSummary) for row in rows)

    async def detail(self, cycle: int) -> CycleDetail | None:
        """See `ports.Store`."""

        def work(db: sqlite3.Connection) -> tuple[Any, list[Any]]:
            row = db.execute("SELECT summary, facts FROM cycles WHERE id = ?", (cycle,)).fetchone()
            steps = db.execute("SELECT step FROM steps WHERE cycle = ? ORDER BY number", (cycle,)).fetchall()
            return row, steps

        row, steps = await self._read(work)
        if row is None:
            return None
        return CycleDetail(
            summary=msgspec.json.decode(row[0], type=CycleSummary),
            facts=msgspec.json.decode(row[1], type=Facts),
            steps=tuple(msgspec.json.decode(step[0], type=StepRecord) for step in steps),
        )

    async def forgive(self) -> int:
        """See `ports.Store`."""

        def work(db: sqlite3.Connection) -> int:
            rows.forget(db, "blocked")
            # A trial that ended with its boot may begin again, whatever became of the machine meanwhile.
            db.execute("UPDATE memory SET value = json_set(value, '$.boot_id', '', '$.falls', 0) WHERE key = 'trial'")
            return db.execute("DELETE FROM rejected").rowcount

        return await self._write(work)

    async def note_order(self, *, stopped: bool) -> None:
        """See `ports.Store`."""
        change = (
            "UPDATE memory SET value = json_set(value, '$.in_order', json(?)) WHERE key = 'trial'"
            " AND coalesce(json_extract(value, '$.in_order'), 0) != ?"
        )
        await self._write(lambda db: db.execute(change, ("true" if stopped else "false", int(stopped))))

    async def memory(self) -> Memory:
        """See `ports.Store`."""
        return await self._read(rows.memory)

    async def announce(self, announcement: Announcement, channels: Sequence[str], occasion: str = "") -> None:
        """See `ports.Store`."""

        def work(db: sqlite3.Connection) -> None:
            if occasion:
                key = f"{rows.TOLD}{announcement.event}"
                row = db.execute("SELECT value FROM memory WHERE key = ?", (key,)).fetchone()
                if row is not None and row[0] == rows.encode(occasion):
                    return
                rows.remember(db, key, occasion)
            rows.post(db, announcement, channels)

        await self._write(work)

    async def outbox(self, channel: str) -> tuple[int, Announcement] | None:
        """See `ports.Store`."""
        row = await self._read(
            lambda db: db.execute(
                "SELECT number, announcement FROM outbox WHERE channel = ? ORDER BY number LIMIT 1", (channel,)
            ).fetchone()
        )
        return None if row is None else (row[0], msgspec.json.decode(row[1], type=Announcement))

    async def delivered(self, number: int) -> None:
        """See `ports.Store`."""
        await self._write(lambda db: db.execute("DELETE FROM outbox WHERE number = ?", (number,)))

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def transaction() -> T:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                return work(self._db)

        return await self._run(transaction)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._run(lambda: work(self._db))

    async def _run(self, work: Callable[[], T]) -> T:
        # A write that was begun is finished even if the caller is cancelled, or memory and disk would disagree.
        future = asyncio.get_running_loop().run_in_executor(self._thread, work)
        try:
            return await asyncio.shield(future)
        except sqlite3.OperationalError as error:
            raise Failed(
                f"cannot use the state file {self._path}: {error}",
                meaning="nothing is done that could not be recorded first",
                advice=f"see that {self._path.parent} is writable and not full: `df {self._path.parent}`",
            ) from error
