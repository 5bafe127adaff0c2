"""Many cycles, and a long history: with the real loop, board, store, metrics and herald; only the steps are fakes.

`LOAD_CYCLES` says how many cycles (1,000); the soak runs 10,000.
"""

import gc
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from unit.world import World

from gitopsd.config import NotifyConfig
from gitopsd.daemon.herald import OutboxHerald
from gitopsd.daemon.metrics import Metrics
from gitopsd.daemon.store import SqliteStore
from gitopsd.events import MESSAGE_IDS
from gitopsd.machine import State
from gitopsd.types import Announcement, CycleEnd, CycleKind, CycleSummary, Facts, Outcome, StepRecord

CYCLES = int(os.environ.get("LOAD_CYCLES", "1000"))
HISTORY = 100_000
KEPT = 100


@pytest.fixture(autouse=True)
def _silence() -> None:
    structlog.configure(processors=[_drop], cache_logger_on_first_use=False)


def _drop(*_: object) -> str:
    raise structlog.DropEvent


def memory() -> int:
    """Resident KiB that are ours alone."""
    gc.collect()
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1])
    raise LookupError


def test_the_measure_of_memory_sees_what_is_kept() -> None:
    kept = [bytes(range(256)) * 16 * (number % 2 + 1) for number in range(64)]  # what is free already is used up
    before = memory()
    kept += [bytes(range(256)) * 1024 * (number % 2 + 1) for number in range(32)]  # 12 MiB
    assert 8 * 1024 < memory() - before < 16 * 1024
    assert kept


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def on_disk(path: Path) -> int:
    return sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*"))


async def test_cycles_leave_nothing_behind(tmp_path: Path, figure: Callable[[str], None]) -> None:
    world, meter = World(tmp_path), Metrics()
    world.meter = meter
    daemon = await world.start()
    daemon.store.keep(KEPT)
    meter.show(daemon.loop.snapshot)

    async def nobody(_: Announcement) -> None:
        raise AssertionError

    herald = OutboxHerald(daemon.store, world.clock, "malphas")
    herald.use(NotifyConfig(events=tuple(MESSAGE_IDS)), {"webhook": nobody}, "malphas")  # one that is never there
    daemon.loop._herald = daemon.loop._news._herald = herald

    async def run(cycles: int) -> None:
        for number in range(cycles):
            kind = CycleKind.upgrade if number % 2 else CycleKind.sync
            await daemon.end_of(await daemon.ask(kind))
            world.clock.time += 900
            meter.text()

    await run(max(600, CYCLES // 10))  # until everything that is bounded has reached its bound
    before = (memory(), descriptors(), on_disk(world.path))
    began = time.monotonic()
    await run(CYCLES)
    each = (time.monotonic() - began) / CYCLES * 1000
    after = (memory(), descriptors(), on_disk(world.path))
    figure(
        f"{CYCLES} cycles, {each:.1f} ms each: memory {before[0]} -> {after[0]} KiB, descriptors {before[1]} -> "
        f"{after[1]}, disk {before[2] // 1024} -> {after[2] // 1024} KiB"
    )
    assert after[0] - before[0] < 2048
    assert after[1] <= before[1]
    assert after[2] - before[2] < 512 * 1024
    assert len(await daemon.store.history(10_000)) == KEPT
    await daemon.stop()


def ending(number: int) -> CycleEnd:
    kind = CycleKind.upgrade if number % 10 == 0 else CycleKind.sync
    summary = CycleSummary(
        id=number,
        kind=kind,
        requested_by="timer",
        started=number * 900.0,
        ended=number * 900.0 + 3,
        outcome=Outcome.success,
        message="nothing to do",
    )
    step = StepRecord(state=State.pull, started=1.0, ended=2.0, event="settled", attempts=1, message="applied")
    return CycleEnd(summary=summary, facts=Facts(), state=State.idle, step=step)


async def test_a_long_history_is_asked_in_milliseconds(tmp_path: Path, figure: Callable[[str], None]) -> None:
    store = SqliteStore(tmp_path / "state.db", keep_cycles=HISTORY)
    await store.open()
    # All in few transactions: a disk that syncs 100,000 times is not what is measured.
    real = store._write

    async def one_by_one(work: Callable[..., object]) -> object:
        return await store._run(lambda: work(store._db))

    store._write = one_by_one  # type: ignore[assignment,method-assign]
    for first in range(1, HISTORY, 10_000):
        await store._run(lambda: store._db.execute("BEGIN"))
        for number in range(first, first + 10_000):
            await store.finish_cycle(ending(number))
        await store._run(lambda: store._db.execute("COMMIT"))
    store._write = real  # type: ignore[method-assign]

    async def timed(name: str, ask: Callable[[], object]) -> float:
        times = []
        for _ in range(30):
            began = time.perf_counter()
            await ask()  # type: ignore[misc]
            times.append((time.perf_counter() - began) * 1000)
        median = sorted(times)[len(times) // 2]
        figure(f"of {HISTORY} cycles, {name}: {median:.2f} ms")
        return median

    assert await timed("the newest 20", lambda: store.history(20)) < 50
    assert await timed("20 from the middle", lambda: store.history(20, before=HISTORY // 2)) < 50
    assert await timed("one in full", lambda: store.detail(HISTORY // 3)) < 50
    assert await timed("what is remembered", store.memory) < 50
    assert await timed("one more", lambda: store.finish_cycle(ending(HISTORY + 1))) < 500  # waits for the disk
    await store.close()
    began = time.monotonic()
    again = SqliteStore(tmp_path / "state.db", keep_cycles=HISTORY)
    assert await again.open() == ""
    figure(f"opened and checked in {time.monotonic() - began:.2f} s, {on_disk(tmp_path / 'state.db') // 1024**2} MiB")
    await again.close()
