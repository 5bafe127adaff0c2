"""The store: durable, migrated, and never in the way of starting."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from unit.fakes import NEW, REV_B, cycle

from gitopsd.daemon.store import SqliteStore
from gitopsd.daemon.store_file import MIGRATIONS
from gitopsd.errors import Failed
from gitopsd.machine import State
from gitopsd.types import (
    CycleEnd,
    CycleKind,
    CycleSummary,
    Deployed,
    Facts,
    Outcome,
    PersonFacts,
    Rejection,
    StepRecord,
)

STEP = StepRecord(state=State.build, started=1.0, ended=2.0, event="done", attempts=1, message="built")
REJECTION = Rejection(revision=REV_B, outcome=Outcome.build_failed, reason="no", cycle=1, at=5.0)


def ending(number: int, kind: CycleKind = CycleKind.upgrade, **more: object) -> CycleEnd:
    summary = CycleSummary(
        id=number, kind=kind, requested_by="test", started=1.0, ended=2.0, outcome=Outcome.success, message="m"
    )
    facts = Facts(people=(PersonFacts(user="rain"),))
    return CycleEnd(summary=summary, facts=facts, state=State.idle, step=STEP, **more)  # type: ignore[arg-type]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "state.db", keep_cycles=10)
    assert await store.open() == ""
    yield store
    await store.close()


async def reopened(store: SqliteStore, tmp_path: Path) -> SqliteStore:
    await store.close()
    again = SqliteStore(tmp_path / "state.db", keep_cycles=10)
    await again.open()
    return again


async def test_bytes_that_are_no_text_are_replaced_and_keep_nothing_from_being_recorded(store: SqliteStore) -> None:
    said = b"caf\xe9 \xff".decode(errors="surrogateescape")
    step = msgspec.structs.replace(STEP, message=said)
    end = msgspec.structs.replace(ending(await store.next_cycle_id()), step=step)
    await store.finish_cycle(end)
    detail = await store.detail(1)
    assert detail is not None
    assert detail.steps[0].message == "caf? ?"


async def test_ids_are_never_given_twice(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    await store.open()
    first = [await store.next_cycle_id() for _ in range(3)]
    store = await reopened(store, tmp_path)
    assert [*first, await store.next_cycle_id()] == [1, 2, 3, 4]
    await store.close()


async def test_the_running_cycle_is_found_after_a_crash(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    await store.open()
    await store.save_cycle(cycle(State.fetch))
    await store.advance(cycle(State.verify), STEP, REJECTION)
    store = await reopened(store, tmp_path)
    assert await store.unfinished_cycle() == cycle(State.verify)
    assert (await store.memory()).rejected == (REJECTION,)
    await store.close()


async def test_the_end_of_a_cycle_is_one_transaction(store: SqliteStore) -> None:
    await store.save_cycle(cycle(State.verify))
    deployed = Deployed(revision=REV_B, toplevel=NEW, at=9.0)
    await store.advance(cycle(State.verify), STEP, REJECTION)
    await store.finish_cycle(ending(1, deployed=deployed))
    memory = await store.memory()
    assert await store.unfinished_cycle() is None
    assert memory.deployed == deployed
    assert memory.rejected == ()  # it has proved itself
    assert memory.people == (PersonFacts(user="rain"),)
    assert memory.last_upgrade is not None
    detail = await store.detail(1)
    assert detail is not None
    assert [step.message for step in detail.steps] == ["built", "built"]


async def test_history_is_newest_first_and_keeps_what_it_should(store: SqliteStore) -> None:
    for number in range(1, 26):
        await store.finish_cycle(ending(number, CycleKind.sync if number % 2 else CycleKind.upgrade))
    assert [entry.id for entry in await store.history(100)] == list(range(25, 15, -1))
    assert [entry.id for entry in await store.history(2, before=20)] == [19, 18]
    memory = await store.memory()
    assert memory.last_sync is not None
    assert memory.last_upgrade is not None
    assert (memory.last_sync.id, memory.last_upgrade.id) == (25, 24)
    assert await store.detail(3) is None


async def test_forgive_forgets_rejections_and_blocked(store: SqliteStore) -> None:
    await store.finish_cycle(ending(1, rejections=(REJECTION,), blocked="why"))
    assert (await store.memory()).blocked == "why"
    assert await store.forgive() == 1
    memory = await store.memory()
    assert (memory.blocked, memory.rejected) == ("", ())


@pytest.mark.parametrize(
    "damage", [b"not a database at all, but long enough to be one" * 40, b"SQLite format 3\0" + b"x" * 4000]
)
async def test_a_damaged_file_is_kept_aside_and_the_daemon_starts(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "state.db").write_bytes(damage)
    store = SqliteStore(tmp_path / "state.db")
    moved = await store.open()
    assert Path(moved).read_bytes() == damage
    assert await store.next_cycle_id() == 1
    await store.close()


async def test_a_record_that_cannot_be_decoded_counts_as_damage(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    await store.open()
    await store.save_cycle(cycle())
    await store.close()
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute('UPDATE running SET cycle = \'{"id": "x"}\'')
    db.close()
    store = SqliteStore(tmp_path / "state.db")
    assert (await store.open()).endswith("state.db.damaged-1")
    assert await store.unfinished_cycle() is None
    await store.close()


async def test_a_request_that_an_older_version_recorded_is_found(tmp_path: Path) -> None:
    asked = cycle(State.idle)
    with sqlite3.connect(tmp_path / "state.db") as db:
        for script in MIGRATIONS[:2]:
            db.executescript(script)
        db.execute("INSERT INTO memory VALUES ('pending', ?)", (msgspec.json.encode(asked).decode(),))
        db.execute("PRAGMA user_version = 2")
    db.close()
    store = SqliteStore(tmp_path / "state.db")
    assert not await store.open()
    assert (await store.memory()).pending == (asked,)
    await store.save_cycle(asked)
    assert (await store.memory()).pending == ()
    await store.close()


async def test_a_file_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(Failed, match="written by a newer gitopsd|knows up to") as caught:
        await SqliteStore(tmp_path / "state.db").open()
    assert "newer gitopsd" in caught.value.advice
    assert (tmp_path / "state.db").exists()


async def test_the_file_is_durable_by_its_own_settings(store: SqliteStore) -> None:
    pragmas = await store._read(
        lambda db: (db.execute("PRAGMA journal_mode").fetchone()[0], db.execute("PRAGMA synchronous").fetchone()[0])
    )
    assert pragmas == ("wal", 2)


async def test_a_value_survives_the_round_trip(store: SqliteStore) -> None:
    full = msgspec.structs.replace(cycle(State.switch), users=("olga", "rain"))
    await store.save_cycle(full)
    assert await store.unfinished_cycle() == full
