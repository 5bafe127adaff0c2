"""The remote: a trunk, a bookmark for each host that has something parked, and a queue before them."""

import bisect
import heapq
from collections import Counter
from collections.abc import Mapping

from scale.rules import COMMIT_BYTES, GREETING, PATIENCE, REF_BYTES, Rules, World
from scale.timeline import Process, Timeline

Edits = dict[str, tuple[str, int]]  # path → what it holds now, and the trunk commit that it comes from
Line = tuple[float, str, str]  # of a log: when, which host, and what it asked for


class Trunk:
    """The history of the trunk: pushes are counted from 0, and each path has one line."""

    def __init__(self) -> None:
        self.tip = 0
        self.commits = 0
        self.merges = 0
        self._versions: dict[str, tuple[list[int], list[str]]] = {}

    def at(self, path: str, push: int) -> str:
        """What a path holds after a push to the trunk; empty if it is as in the beginning."""
        pushes, values = self._versions.get(path, ([], []))
        found = bisect.bisect_right(pushes, push)
        return values[found - 1] if found else ""

    def files(self) -> dict[str, str]:
        """What the newest commit has that the first has not."""
        return {path: values[-1] for path, (_, values) in self._versions.items()}

    def grow(self, edits: Mapping[str, str], *, commits: int, merges: int) -> None:
        """Put a push on top: `commits` of them new, `merges` of those with several parents."""
        self.tip += 1
        self.commits += commits
        self.merges += merges
        for path, value in edits.items():
            pushes, values = self._versions.setdefault(path, ([], []))
            pushes.append(self.tip)
            values.append(value)


class Remote:
    """Answers questions, fetches and pushes; each is one connection.

    Args:
        timeline: the time.
        rules: the protocol.
        world: how fast it is.
        log: gets a line for each connection, if given.

    """

    def __init__(self, timeline: Timeline, rules: Rules, world: World, log: list[Line] | None = None) -> None:
        self.trunk = Trunk()
        self.bookmarks: dict[str, Edits] = {}
        self.version = 0  # counts every change of any ref
        self.lent: list[Edits] = []  # all that were ever handed over
        self.taken: dict[int, int] = {}  # the numbers of those that wait no more → the push that took them along
        self.totals: Counter[str] = Counter()
        self.seconds: Counter[int] = Counter()  # connections that came, by second
        self.longest_wait = 0.0
        self._first = 0  # all that were lent before are taken
        self._timeline, self._rules, self._world, self._log = timeline, rules, world, log
        self._free = [0.0] * world.workers
        self._names = 0  # bytes of all bookmarks, as advertised

    def connect(self, host: str, verb: str, *, before: float = 0.0) -> Process:
        """Be connected to, and work: ends at the moment at which refs are read or written.

        Args:
            host: by whom.
            verb: `question`, `fetch` or `push`.
            before: seconds that the host works before.

        """
        world = self._world
        yield self._timeline.now + before + world.way / 2
        now = self._timeline.now
        self.seconds[int(now)] += 1
        self.totals[verb] += 1
        self.totals["advertised"] += self._advertised(verb)
        if self._log is not None:
            self._log.append((round(now, 6), host, verb))
        if world.workers:
            done = max(now, heapq.heappop(self._free)) + world.works[verb]
            heapq.heappush(self._free, done)
            self.longest_wait = max(self.longest_wait, done - now)
            if done - now > PATIENCE:
                raise AssertionError(f"a connection waited for {done - now:.0f} s: git would have been ended before")
            yield done

    def back(self) -> Process:
        """The answer's way back."""
        yield self._timeline.now + self._world.way / 2

    def sent(self, commits: int) -> None:
        """Count what a fetch or push carries beside refs."""
        self.totals["objects"] += commits * COMMIT_BYTES

    def park(self, host: str, edits: Edits) -> None:
        """Set a host's bookmark, or delete it if there is nothing to park."""
        size = REF_BYTES + len(f"refs/heads/gitopsd/{host}")
        self._names += size * (bool(edits) - (host in self.bookmarks))
        self.bookmarks.pop(host, None)
        if edits:
            self.bookmarks[host] = edits

    @property
    def lent_open(self) -> int:
        """How many of those that were lent wait still."""
        return len(self.lent) - len(self.taken)

    def lend(self, edits: Edits) -> int:
        """Offer edits to whoever pushes next; returns their number."""
        self.lent.append(edits)
        return len(self.lent) - 1

    def take(self, number: int, push: int) -> None:
        """Note with which push what was lent came to the trunk; 0 if its owner took it back."""
        self.taken.setdefault(number, push)

    def waiting(self, until: int, most: int, own: int) -> list[int]:
        """The first `most` of the numbers below `until` that are lent and not taken, without our own."""
        while self._first in self.taken:
            self._first += 1
        found = list[int]()
        number = self._first
        while number < until and len(found) < most:
            if number not in self.taken and number != own:
                found.append(number)
            number += 1
        return found

    def _advertised(self, verb: str) -> int:
        # A push is answered with all refs, whatever it is about: protocol v2 has no pushes.
        everything = verb == "push" or (verb == "question" and not self._rules.heads_only)
        other = self._world.other_refs * (REF_BYTES + len("refs/pull/1000/head")) if everything else 0
        return GREETING + REF_BYTES + len("refs/heads/main") + self._names + other
