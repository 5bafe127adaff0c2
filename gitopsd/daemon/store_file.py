"""The state file itself: opened, brought to this version, copied, put back, and moved aside if it is damaged."""

import contextlib
import sqlite3
from pathlib import Path

import msgspec

from gitopsd.daemon import store_rows as rows
from gitopsd.errors import Failed

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


def connect(path: Path) -> sqlite3.Connection:
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
        rows.memory(db)  # what cannot be decoded is as good as damaged
        rows.running(db)
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
        raise Failed(
            f"cannot read the state file {path}: {error}",
            meaning="it is left as it is, and no copy was made",
            advice=f"see that {path.parent} is readable and not full: `df {path.parent}`",
        ) from error


def restore_state(path: Path) -> str:
    """Give this version a state file that it can read: the copy that it kept, if a newer one has changed the file since.

    Args:
        path: the state file. Nobody uses it.

    Returns:
        Where the newer file was moved to; empty if it can be read, or if there is no copy.

    """
    copy = copy_of(path)
    if not copy.exists() or (path.exists() and _can_be_read(path)):
        return ""
    moved = str(move_aside(path, "newer")) if path.exists() else ""
    copy.rename(path)
    return moved


def _can_be_read(path: Path) -> bool:
    try:
        connect(path).close()
    except (sqlite3.DatabaseError, Failed):
        return False
    return True


def copy_of(path: Path) -> Path:
    """Where this version keeps a copy for when it comes back after a newer one."""
    return path.with_name(f"{path.name}.before-takeover")


def move_aside(path: Path, why: str = "damaged") -> Path:
    """Take a state file out of the way, with what belongs to it; returns where it is now."""
    number = 1
    while (target := path.with_name(f"{path.name}.{why}-{number}")).exists():
        number += 1
    path.rename(target)
    for suffix in ("-wal", "-shm"):
        leftover = path.with_name(path.name + suffix)
        if leftover.exists():
            leftover.rename(target.with_name(target.name + suffix))
    return target
