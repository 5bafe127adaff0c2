"""Virtual time: what happens when, in one order, whether hosts are modelled or real."""

import heapq
import itertools
from collections.abc import Callable, Generator


class Timeline:
    """Events in the order of their times; those of one time, in the order in which they were asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._count = itertools.count()

    def at(self, time: float, call: Callable[[], object]) -> None:
        """Have `call` called at a time, in seconds."""
        heapq.heappush(self._events, (time, next(self._count), call))

    def step(self) -> bool:
        """Let the next event happen; False if there is none."""
        if not self._events:
            return False
        self.now, _, call = heapq.heappop(self._events)
        call()
        return True

    def run(self, until: Callable[[], bool]) -> None:
        """Go on until something holds, or nothing is left to happen."""
        while not until() and self.step():
            pass

    def start(self, process: "Process") -> None:
        """Run a process: it yields the times at which it goes on."""
        time = next(process, None)
        if time is not None:
            self.at(time, lambda: self.start(process))


Process = Generator[float, None, None]
