"""The durable record: one SQLite file in the state directory.

WAL with `synchronous=FULL`: a transaction is on the disk when it returns (sqlite.org/pragma.html#pragma_synchronous).
All access happens in one thread of its own, so that an fsync never stops the event loop. A file that is damaged is
moved aside and reported; the daemon starts with an empty memory and learns the rest from the system.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from gitopsd.errors import Failed
from gitopsd.machine import State
from gitopsd.types import (
    FINE,
    Announcement,
    AtReboot,
    BootConclusion,
    Cycle,
    CycleDetail,
    CycleEnd,
    CycleKind,
    CycleSummary,
    Deployed,
    Facts,
    GoneBack,
    LastGood,
    Memory,
    Outcome,
    PersonFacts,
    Rebooting,
    RebootNeed,
    Rejection,
    Revision,
    StepRecord,
    StorePath,
    Suspension,
    Trial,
    parse_revision,
)

T = TypeVar("T")

_OUTBOX = 500  # announcements that wait for one receiver; of one that is away for long, the oldest are dropped
_TOLD = "told:"
_PENDING = "pending:"
_GOOD = {name: f"good:{name}" for name in ("sync", "upgrade", "contact")}

# One entry per schema version; `PRAGMA user_version` says how many of them the file has seen.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE running (one INTEGER PRIMARY KEY CHECK (one = 1), cycle TEXT NOT NULL);
    CREATE TABLE ids (one INTEGER PRIMARY KEY CHECK (one = 1), last INTEGER NOT NULL);
    INSERT INTO ids VALUES (1, 0);
    CREATE TABLE cycles (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, summary TEXT NOT NULL, facts TEXT NOT NULL);
    CREATE INDEX cycles_by_kind ON cycles (kind, id);
    CREATE TABLE steps (cycle INTEGER NOT NULL, number INTEGER NOT NULL, step TEXT NOT NULL, PRIMARY KEY (cycle, number))
        WITHOUT ROWID;
    CREATE TABLE rejected (revision TEXT PRIMARY KEY, at REAL NOT NULL, rejection TEXT NOT NULL);
    CREATE TABLE people (user TEXT PRIMARY KEY, facts TEXT NOT NULL);
    CREATE TABLE memory (key TEXT PRIMARY KEY, value TEXT NOT NULL);
    """,
    """
    CREATE TABLE outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT NOT NULL, announcement TEXT NOT NULL);
    CREATE INDEX outbox_by_channel ON outbox (channel, number);
    """,
    "UPDATE memory SET key = 'pending:' || json_extract(value, '$.id') WHERE key = 'pending';",
)


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
            self._db = _connect(self._path)
        except sqlite3.DatabaseError:
            moved = str(_move_aside(self._path))
            self._db = _connect(self._path)
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
            db.execute("INSERT OR REPLACE INTO running VALUES (1, ?)", (_encode(cycle),))
            db.execute("DELETE FROM memory WHERE key = ?", (f"{_PENDING}{cycle.id}",))

        await self._write(work)

    async def keep_copy(self) -> None:
        """See `ports.Store`."""

        def work() -> None:
            copy = _copy_of(self._path)
            copy.unlink(missing_ok=True)
            copy_state(self._path, copy)

        await self._run(work)

    async def save_pending(self, cycle: Cycle) -> None:
        """See `ports.Store`."""
        text = _encode(cycle)
        row = (f"{_PENDING}{cycle.id}", text)
        await self._write(lambda db: db.execute("INSERT OR REPLACE INTO memory VALUES (?, ?)", row))

    async def suspend(self, suspension: Suspension | None) -> None:
        """See `ports.Store`."""

        def work(db: sqlite3.Connection) -> None:
            if suspension is None:
                db.execute("DELETE FROM memory WHERE key = 'suspended'")
            else:
                db.execute("INSERT OR REPLACE INTO memory VALUES ('suspended', ?)", (_encode(suspension),))

        await self._write(work)

    async def note_reboot(self, need: RebootNeed | None, rebooting: Rebooting | None = None) -> None:
        """See `ports.Store`."""

        def work(db: sqlite3.Connection) -> None:
            if need is None:
                db.execute("DELETE FROM memory WHERE key = 'reboot'")
            else:
                db.execute("INSERT OR REPLACE INTO memory VALUES ('reboot', ?)", (_encode(need),))
            if rebooting is not None:
                db.execute("INSERT OR REPLACE INTO memory VALUES ('rebooting', ?)", (_encode(rebooting),))

        await self._write(work)

    async def forget_at_reboot(self) -> None:
        """See `ports.Store`."""
        await self._write(lambda db: db.execute("DELETE FROM memory WHERE key = 'at_reboot'"))

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
        return await self._read(_running)

    async def finish_cycle(self, end: CycleEnd, channels: Sequence[str] = ()) -> None:
        """See `ports.Store`."""

        def work(db: sqlite3.Connection) -> None:
            summary = end.summary
            _add(db, summary.id, end.step, *end.rejections)
            row = (summary.id, summary.kind.value, _encode(summary), _encode(end.facts))
            db.execute("INSERT OR REPLACE INTO cycles VALUES (?, ?, ?, ?)", row)
            db.execute("DELETE FROM running")
            if end.deployed is not None:  # it has proved itself, whatever was thought of it before
                db.execute("DELETE FROM rejected WHERE revision = ?", (end.deployed.revision,))
            rest = _encode([end.state.value, summary.ended])
            db.execute("INSERT OR REPLACE INTO memory VALUES ('resting', ?)", (rest,))
            for person in end.facts.people:
                db.execute("INSERT OR REPLACE INTO people VALUES (?, ?)", (person.user, _encode(person)))
            if end.facts.checkout is not None:
                text = _encode(end.facts.checkout)
                db.execute("INSERT OR REPLACE INTO memory VALUES ('checkout', ?)", (text,))
            if end.deployed is not None:
                db.execute("INSERT OR REPLACE INTO memory VALUES ('deployed', ?)", (_encode(end.deployed),))
                db.execute("DELETE FROM memory WHERE key IN ('trial', 'gone_back')")
            if end.trial is not None:
                db.execute("DELETE FROM rejected WHERE revision = ?", (end.trial.revision,))
                db.execute("INSERT OR REPLACE INTO memory VALUES ('trial', ?)", (_encode(end.trial),))
                db.execute("DELETE FROM memory WHERE key = 'gone_back'")
            if end.gone_back is not None:
                db.execute("INSERT OR REPLACE INTO memory VALUES ('gone_back', ?)", (_encode(end.gone_back),))
            if end.at_reboot is not None:
                db.execute("INSERT OR REPLACE INTO memory VALUES ('at_reboot', ?)", (_encode(end.at_reboot),))
            elif end.facts.switching is not None:  # something else was switched to since
                db.execute("DELETE FROM memory WHERE key = 'at_reboot'")
            if end.blocked:
                db.execute("INSERT OR REPLACE INTO memory VALUES ('blocked', ?)", (_encode(end.blocked),))
            _note_good(db, end)
            for announcement in end.announcements:
                _post(db, announcement, channels)
            oldest = summary.id - self._keep
            db.execute("DELETE FROM cycles WHERE id <= ?", (oldest,))
            db.execute("DELETE FROM steps WHERE cycle <= ?", (oldest,))

        await self._write(work)

    async def advance(self, cycle: Cycle, step: StepRecord, rejection: Rejection | None) -> None:
        """See `ports.Store`."""

        def work(db: sqlite3.Connection) -> None:
            _add(db, cycle.id, step, *([rejection] if rejection is not None else []))
            db.execute("INSERT OR REPLACE INTO running VALUES (1, ?)", (_encode(cycle),))

        await self._write(work)

    async def conclude_boot(self, conclusion: BootConclusion) -> None:
        """See `ports.Store`."""

        def work(db: sqlite3.Connection) -> None:
            if conclusion.rejection is not None:
                _reject(db, conclusion.rejection)
            if conclusion.deployed is not None:
                db.execute("INSERT OR REPLACE INTO memory VALUES ('deployed', ?)", (_encode(conclusion.deployed),))
                db.execute("DELETE FROM rejected WHERE revision = ?", (conclusion.deployed.revision,))
                db.execute("DELETE FROM memory WHERE key = 'gone_back'")
            if conclusion.gone_back is not None:
                db.execute("INSERT OR REPLACE INTO memory VALUES ('gone_back', ?)", (_encode(conclusion.gone_back),))
            for key, value in (("boot_told", conclusion.told), ("blocked", conclusion.blocked)):
                if value:
                    db.execute("INSERT OR REPLACE INTO memory VALUES (?, ?)", (key, _encode(value)))

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
            db.execute("DELETE FROM memory WHERE key = 'blocked'")
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
        return await self._read(_memory)

    async def announce(self, announcement: Announcement, channels: Sequence[str], occasion: str = "") -> None:
        """See `ports.Store`."""

        def work(db: sqlite3.Connection) -> None:
            if occasion:
                key = f"{_TOLD}{announcement.event}"
                row = db.execute("SELECT value FROM memory WHERE key = ?", (key,)).fetchone()
                if row is not None and row[0] == _encode(occasion):
                    return
                db.execute("INSERT OR REPLACE INTO memory VALUES (?, ?)", (key, _encode(occasion)))
            _post(db, announcement, channels)

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


def _connect(path: Path) -> sqlite3.Connection:
    """Open, check and migrate.

    Raises:
        sqlite3.DatabaseError: the file is damaged.
        Failed: it is from a newer version.

    """
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        if db.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("quick_check failed")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise Failed(
                f"the state file {path} has version {version}; this gitopsd knows up to {len(MIGRATIONS)}",
                meaning="it was written by a newer gitopsd; starting would lose what it recorded",
                advice=f"install the newer gitopsd again, or move {path} aside",
            )
        for number, migration in enumerate(MIGRATIONS[version:], start=version + 1):
            db.executescript(f"BEGIN IMMEDIATE; {migration} PRAGMA user_version = {number}; COMMIT;")
        _memory(db)  # what cannot be decoded is as good as damaged
        _running(db)
    except sqlite3.OperationalError as error:
        db.close()
        raise Failed(
            f"cannot open the state file {path}: {error}",
            meaning="gitopsd does nothing that it cannot record first",
            advice=f"see that {path.parent} is writable and not full: `df {path.parent}`",
        ) from error
    except msgspec.MsgspecError as error:
        db.close()
        raise sqlite3.DatabaseError(f"undecodable record: {error}") from error
    except BaseException:
        db.close()
        raise
    return db


def copy_state(path: Path, to: Path) -> None:
    """Copy a state file as it stands, also one that is in use (sqlite.org/backup.html). None stays none.

    Raises:
        Failed: it cannot be read.

    """
    if not path.exists():
        return
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as source,
            contextlib.closing(sqlite3.connect(to)) as target,
        ):
            source.backup(target)
    except sqlite3.Error as error:
        raise Failed(f"cannot read the state file {path}: {error}") from error


def restore_state(path: Path) -> str:
    """Give this version a state file that it can read: the copy that it kept, if a newer one has changed the file since.

    Args:
        path: the state file. Nobody uses it.

    Returns:
        Where the newer file was moved to; empty if it can be read, or if there is no copy.

    """
    copy = _copy_of(path)
    if not copy.exists() or (path.exists() and _can_be_read(path)):
        return ""
    moved = str(_move_aside(path, "newer")) if path.exists() else ""
    copy.rename(path)
    return moved


def _can_be_read(path: Path) -> bool:
    try:
        _connect(path).close()
    except (sqlite3.DatabaseError, Failed):
        return False
    return True


def _copy_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.before-takeover")


def _move_aside(path: Path, why: str = "damaged") -> Path:
    number = 1
    while (target := path.with_name(f"{path.name}.{why}-{number}")).exists():
        number += 1
    path.rename(target)
    for suffix in ("-wal", "-shm"):
        leftover = path.with_name(path.name + suffix)
        if leftover.exists():
            leftover.rename(target.with_name(target.name + suffix))
    return target


def _memory(db: sqlite3.Connection) -> Memory:
    values = dict(db.execute("SELECT key, value FROM memory").fetchall())
    resting = (
        msgspec.json.decode(values["resting"], type=tuple[State, float]) if "resting" in values else (State.idle, 0.0)
    )
    deployed = msgspec.json.decode(values["deployed"], type=Deployed) if "deployed" in values else None
    rejected = db.execute("SELECT rejection FROM rejected ORDER BY at DESC").fetchall()
    people = db.execute("SELECT facts FROM people ORDER BY user").fetchall()
    return Memory(
        resting=resting[0],
        since=resting[1],
        deployed=deployed,
        rejected=tuple(msgspec.json.decode(row[0], type=Rejection) for row in rejected),
        blocked=msgspec.json.decode(values["blocked"], type=str) if "blocked" in values else "",
        boot_told=msgspec.json.decode(values["boot_told"], type=str) if "boot_told" in values else "",
        people=tuple(msgspec.json.decode(row[0], type=PersonFacts) for row in people),
        checkout=msgspec.json.decode(values["checkout"], type=PersonFacts) if "checkout" in values else None,
        trial=msgspec.json.decode(values["trial"], type=Trial) if "trial" in values else None,
        suspended=msgspec.json.decode(values["suspended"], type=Suspension) if "suspended" in values else None,
        pending=tuple(
            msgspec.json.decode(value, type=Cycle) for key, value in values.items() if key.startswith(_PENDING)
        ),
        at_reboot=msgspec.json.decode(values["at_reboot"], type=AtReboot) if "at_reboot" in values else None,
        reboot=msgspec.json.decode(values["reboot"], type=RebootNeed) if "reboot" in values else None,
        rebooting=msgspec.json.decode(values["rebooting"], type=Rebooting) if "rebooting" in values else None,
        gone_back=msgspec.json.decode(values["gone_back"], type=GoneBack) if "gone_back" in values else None,
        last_sync=_last(db, (CycleKind.sync, CycleKind.upgrade)),
        last_upgrade=_last(db, (CycleKind.upgrade,)),
        last_good=LastGood(
            **{name: msgspec.json.decode(values[key], type=float) for name, key in _GOOD.items() if key in values}
        ),
    )


def _add(db: sqlite3.Connection, cycle: int, step: StepRecord, *rejections: Rejection) -> None:
    db.execute(
        "INSERT INTO steps SELECT ?, 1 + coalesce(max(number), 0), ? FROM steps WHERE cycle = ?",
        (cycle, _encode(step), cycle),
    )
    for rejection in rejections:
        _reject(db, rejection)


def _reject(db: sqlite3.Connection, rejection: Rejection) -> None:
    row = (rejection.revision, rejection.at, _encode(rejection))
    db.execute("INSERT OR REPLACE INTO rejected VALUES (?, ?, ?)", row)


def _note_good(db: sqlite3.Connection, end: CycleEnd) -> None:
    """When things last went well. Offline is fine, and yet nothing that went well."""
    went_well = end.summary.outcome in FINE and end.summary.outcome is not Outcome.offline
    upgrade = end.summary.kind is CycleKind.upgrade
    for name, is_so in (("sync", went_well), ("upgrade", went_well and upgrade), ("contact", end.contact)):
        if is_so:
            db.execute("INSERT OR REPLACE INTO memory VALUES (?, ?)", (_GOOD[name], _encode(end.summary.ended)))


def _post(db: sqlite3.Connection, announcement: Announcement, channels: Iterable[str]) -> None:
    for channel in channels:
        db.execute("INSERT INTO outbox (channel, announcement) VALUES (?, ?)", (channel, _encode(announcement)))
        db.execute(
            "DELETE FROM outbox WHERE channel = ? AND number <= (SELECT number FROM outbox WHERE channel = ?"
            " ORDER BY number DESC LIMIT 1 OFFSET ?)",
            (channel, channel, _OUTBOX),
        )


def _running(db: sqlite3.Connection) -> Cycle | None:
    row = db.execute("SELECT cycle FROM running").fetchone()
    return None if row is None else msgspec.json.decode(row[0], type=Cycle)


def _last(db: sqlite3.Connection, kinds: tuple[CycleKind, ...]) -> CycleSummary | None:
    """The newest finished cycle of one of the kinds; each kind is one step down the index."""
    found = (
        db.execute("SELECT id, summary FROM cycles WHERE kind = ? ORDER BY id DESC LIMIT 1", (kind.value,)).fetchone()
        for kind in kinds
    )
    newest = max((row for row in found if row is not None), default=None)
    return None if newest is None else msgspec.json.decode(newest[1], type=CycleSummary)


def _encode(value: object) -> str:
    return msgspec.json.encode(value).decode()
