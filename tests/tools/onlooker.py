"""Another user of the host, who reads what everybody may read of processes."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def onlooker(needles: Sequence[str]) -> Iterator[set[str]]:
    """While this lasts, the arguments and the environment of every process are read.

    Args:
        needles: what is looked for.

    Yields:
        Where one was seen, and in which process.

    """
    wanted, seen, done = [needle.encode() for needle in needles], set[str](), threading.Event()

    def look() -> None:
        while not done.is_set():
            for process in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        raw = (process / name).read_bytes()
                    except OSError:
                        continue
                    if any(needle in raw for needle in wanted):
                        seen.add(f"{name} of {process.name}")
            time.sleep(0.002)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()
