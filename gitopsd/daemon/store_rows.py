"""What the rows of the state file mean: from values to rows and back."""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from gitopsd.machine import State
from gitopsd.types import (
    FINE,
    Announcement,
    AtReboot,
    Cycle,
    CycleEnd,
    CycleKind,
    CycleSummary,
    Deployed,
    GoneBack,
    LastGood,
    Memory,
    Outcome,
    PersonFacts,
    Rebooting,
    RebootNeed,
    Rejection,
    StepRecord,
    Suspension,
    Trial,
)

T = TypeVar("T")

_OUTBOX = 500  # announcements that wait for one receiver; of one that is away for long, the oldest are dropped
TOLD = "told:"
PENDING = "pending:"
_GOOD = {name: f"good:{name}" for name in ("sync", "upgrade", "contact")}


def finish(db: sqlite3.Connection, end: CycleEnd, channels: Iterable[str], *, keep: int) -> None:
    """Write the end of a cycle.

    Args:
        db: in a transaction.
        end: of it.
        channels: the receivers that its announcements wait for.
        keep: how many finished cycles are kept.

    """
    summary = end.summary
    add(db, summary.id, end.step, *end.rejections)
    row = (summary.id, summary.kind.value, encode(summary), encode(end.facts))
    db.execute("INSERT OR REPLACE INTO cycles VALUES (?, ?, ?, ?)", row)
    db.execute("DELETE FROM running")
    if end.deployed is not None:  # it has proved itself, whatever was thought of it before
        db.execute("DELETE FROM rejected WHERE revision = ?", (end.deployed.revision,))
    remember(db, "resting", [end.state.value, summary.ended])
    for person in end.facts.people:
        db.execute("INSERT OR REPLACE INTO people VALUES (?, ?)", (person.user, encode(person)))
    if end.facts.checkout is not None:
        remember(db, "checkout", end.facts.checkout)
    if end.deployed is not None:
        remember(db, "deployed", end.deployed)
        forget(db, "trial", "gone_back")
    if end.trial is not None:
        db.execute("DELETE FROM rejected WHERE revision = ?", (end.trial.revision,))
        remember(db, "trial", end.trial)
        forget(db, "gone_back")
    if end.gone_back is not None:
        remember(db, "gone_back", end.gone_back)
    if end.at_reboot is not None:
        remember(db, "at_reboot", end.at_reboot)
    elif end.facts.switching is not None:  # something else was switched to since
        forget(db, "at_reboot")
    if end.blocked:
        remember(db, "blocked", end.blocked)
    _note_good(db, end)
    for announcement in end.announcements:
        post(db, announcement, channels)
    oldest = summary.id - keep
    db.execute("DELETE FROM cycles WHERE id <= ?", (oldest,))
    db.execute("DELETE FROM steps WHERE cycle <= ?", (oldest,))


def remember(db: sqlite3.Connection, key: str, value: object) -> None:
    """Write something that there is one of."""
    db.execute("INSERT OR REPLACE INTO memory VALUES (?, ?)", (key, encode(value)))


def forget(db: sqlite3.Connection, *keys: str) -> None:
    """Take it away, if it is there."""
    db.executemany("DELETE FROM memory WHERE key = ?", [(key,) for key in keys])


def memory(db: sqlite3.Connection) -> Memory:
    """All that is remembered beside the cycles."""
    values = dict(db.execute("SELECT key, value FROM memory").fetchall())
    state, since = _value(values, "resting", tuple[State, float]) or (State.idle, 0.0)
    rejected = db.execute("SELECT rejection FROM rejected ORDER BY at DESC").fetchall()
    people = db.execute("SELECT facts FROM people ORDER BY user").fetchall()
    return Memory(
        resting=state,
        since=since,
        deployed=_value(values, "deployed", Deployed),
        rejected=tuple(msgspec.json.decode(row[0], type=Rejection) for row in rejected),
        blocked=_value(values, "blocked", str) or "",
        boot_told=_value(values, "boot_told", str) or "",
        people=tuple(msgspec.json.decode(row[0], type=PersonFacts) for row in people),
        checkout=_value(values, "checkout", PersonFacts),
        trial=_value(values, "trial", Trial),
        suspended=_value(values, "suspended", Suspension),
        pending=tuple(
            msgspec.json.decode(value, type=Cycle) for key, value in values.items() if key.startswith(PENDING)
        ),
        at_reboot=_value(values, "at_reboot", AtReboot),
        reboot=_value(values, "reboot", RebootNeed),
        rebooting=_value(values, "rebooting", Rebooting),
        gone_back=_value(values, "gone_back", GoneBack),
        last_sync=_last(db, (CycleKind.sync, CycleKind.upgrade)),
        last_upgrade=_last(db, (CycleKind.upgrade,)),
        last_good=LastGood(
            **{name: msgspec.json.decode(values[key], type=float) for name, key in _GOOD.items() if key in values}
        ),
    )


def _value(values: Mapping[str, str], key: str, kind: type[T]) -> T | None:
    return msgspec.json.decode(values[key], type=kind) if key in values else None


def add(db: sqlite3.Connection, cycle: int, step: StepRecord, *rejections: Rejection) -> None:
    """Write a finished step, and what it rejects."""
    db.execute(
        "INSERT INTO steps SELECT ?, 1 + coalesce(max(number), 0), ? FROM steps WHERE cycle = ?",
        (cycle, encode(step), cycle),
    )
    for rejection in rejections:
        reject(db, rejection)


def reject(db: sqlite3.Connection, rejection: Rejection) -> None:
    """Write a rejection."""
    row = (rejection.revision, rejection.at, encode(rejection))
    db.execute("INSERT OR REPLACE INTO rejected VALUES (?, ?, ?)", row)


def _note_good(db: sqlite3.Connection, end: CycleEnd) -> None:
    """When things last went well. Offline is fine, and yet nothing that went well."""
    went_well = end.summary.outcome in FINE and end.summary.outcome is not Outcome.offline
    upgrade = end.summary.kind is CycleKind.upgrade
    for name, is_so in (("sync", went_well), ("upgrade", went_well and upgrade), ("contact", end.contact)):
        if is_so:
            remember(db, _GOOD[name], end.summary.ended)


def post(db: sqlite3.Connection, announcement: Announcement, channels: Iterable[str]) -> None:
    """Have an announcement wait for each receiver."""
    for channel in channels:
        db.execute("INSERT INTO outbox (channel, announcement) VALUES (?, ?)", (channel, encode(announcement)))
        db.execute(
            "DELETE FROM outbox WHERE channel = ? AND number <= (SELECT number FROM outbox WHERE channel = ?"
            " ORDER BY number DESC LIMIT 1 OFFSET ?)",
            (channel, channel, _OUTBOX),
        )


def running(db: sqlite3.Connection) -> Cycle | None:
    """The cycle under way; None if there is none."""
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


def encode(value: object) -> str:
    """A value as it is written. What a program has printed may be no text: such bytes are replaced, and stop nothing."""
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        return msgspec.json.encode(_as_text(msgspec.to_builtins(value))).decode()


def _as_text(value: object) -> object:
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case dict():
            return {_as_text(key): _as_text(each) for key, each in value.items()}
        case list() | tuple():
            return [_as_text(each) for each in value]
    return value
