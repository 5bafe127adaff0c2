"""A host: a home in which somebody edits files, and the daemon's sync of it, step by step as the engine does it."""

import random
from collections.abc import Callable, Generator

from scale.remote import Edits, Remote
from scale.rules import Rules, World
from scale.timeline import Process, Timeline


class Host:
    """One host of the model.

    Args:
        name: in its bookmark's name.
        timeline: the time.
        remote: whom it syncs with.
        rules: the protocol.
        world: how fast it is.
        rng: draws the waits after a rejected push.
        arrived: called with the time of an edit once it is on the remote.

    """

    def __init__(
        self,
        name: str,
        *,
        timeline: Timeline,
        remote: Remote,
        rules: Rules,
        world: World,
        rng: random.Random,
        arrived: Callable[[float], object] = lambda _: None,
    ) -> None:
        self.name = name
        self.base = 0  # what the home stands on, as a push to the trunk
        self.edits: Edits = {}  # of the home, and nowhere else
        self.parked: Edits = {}
        self.syncs = self.ended = self.failed = 0
        self._own: dict[str, str] = {}  # what is pushed, and not below the home yet
        self._lent: Edits = {}  # what was handed over, and is not on the trunk yet
        self._number = -1  # of that
        self._made: dict[str, float] = {}  # when each of `edits` was made
        self._committed = False  # a person committed the edits by hand
        self._seen = 0  # of the remote's versions
        self._fetched = 0  # the trunk, as last fetched
        self._offers = 0  # how many handed-over edits the last fetch brought
        self._moved = False  # a push did not end well
        self._timeline, self._remote, self._rules, self._world, self._rng = timeline, remote, rules, world, rng
        self._arrived = arrived

    @property
    def unpublished(self) -> bool:
        """Whether anything of its home is not on the remote."""
        return bool(self.edits)

    def edit(self, path: str, value: str, *, committed: bool = False) -> None:
        """What a person does: write the one line of a file, and perhaps commit that by hand."""
        before = self.edits.get(path) or self.parked.get(path) or self._lent.get(path)
        fork = before[1] if before else self._fetched if path in self._own else self.base
        self.edits[path] = (value, fork)
        self._made.setdefault(path, self._timeline.now)
        self._committed |= committed

    def holds(self, path: str) -> str:
        """What a file of the home holds."""
        edit = self.edits.get(path) or self.parked.get(path) or self._lent.get(path)
        return edit[0] if edit else self._own.get(path) or self._remote.trunk.at(path, self.base)

    def sync(self) -> Process:
        """One cycle: fetch, capture, push, pull."""
        self.syncs += 1
        rules = self._rules
        yield from self._fetch()
        yield self._timeline.now + self._world.capture
        captured = dict(self.edits)
        for attempt in range(1, rules.attempts + 1):
            if (yield from self._publish(captured, attempt)):
                self.base, self._own = self._fetched, {}
                self.ended += 1
                return
            wait = self._rng.uniform(
                0, min(rules.longest, rules.first * 2 ** (attempt - 1))
            )  # drawn after the last, too
            if attempt < rules.attempts:
                yield self._timeline.now + wait
        self.ended += 1
        self.failed += 1

    def _fetch(self) -> Process:
        remote = self._remote
        yield from remote.connect(self.name, "question")
        version = remote.version
        yield from remote.back()
        if version != self._seen:
            yield from remote.connect(self.name, "fetch")
            remote.sent(remote.trunk.tip - self._fetched)
            self._seen, self._fetched, self._offers = remote.version, remote.trunk.tip, len(remote.lent)
            yield from remote.back()

    def _publish(self, captured: Edits, attempt: int) -> Generator[float, None, bool]:
        """Merge and push; returns whether that is proven, or nothing was to do."""
        remote, rules = self._remote, self._rules
        if self._moved:
            yield from self._fetch()
        trunk = self._fetched
        if remote.taken.get(self._number, trunk + 1) <= trunk:
            self._lent, self._number = {}, -1
        mine = {**self._lent, **captured}
        merged, parked = self._merge({**self.parked, **mine}, trunk)
        lent = Edits()
        if rules.hand_over and attempt > rules.hand_over and merged:
            lent, merged = {path: mine[path] for path in merged}, {}
        bookmark = parked | lent
        moves = bookmark != remote.bookmarks.get(self.name, {})
        carried = remote.waiting(self._offers, rules.carry, self._number) if rules.hand_over and merged else []
        if merged or moves:
            before = self._world.merge + self._world.merge_one * len(carried)
            yield from remote.connect(self.name, "push", before=before)
            if merged and remote.trunk.tip != trunk:
                remote.totals["rejected"] += 1
                yield from remote.back()
                self._moved = rules.late
                if not rules.late:
                    yield from self._fetch()
                return False
            merges = bool(self._committed and not parked and trunk != self.base)
            self._push(merged, carried, bookmark if moves else None, merges=merges)
            self._settle(captured, parked, lent)
            yield from remote.back()
            yield from remote.connect(self.name, "question")
            found = remote.trunk.tip
            yield from remote.back()
            if found != self._fetched:
                remote.totals["unproven"] += 1
                yield from self._fetch()
                return False
        else:
            self._settle(captured, parked, lent)
        return True

    def _merge(self, edits: Edits, trunk: int) -> tuple[dict[str, str], Edits]:
        """What goes to the trunk, and what conflicts with it."""
        merged, parked = dict[str, str](), Edits()
        history = self._remote.trunk
        for path, (value, fork) in edits.items():
            theirs = history.at(path, trunk)
            if theirs == value:
                continue
            if theirs == history.at(path, fork):
                merged[path] = value
            else:
                parked[path] = (value, fork)
        return merged, parked

    def _push(self, merged: dict[str, str], carried: list[int], bookmark: Edits | None, *, merges: bool) -> None:
        """What the remote does with it, all or nothing."""
        remote, current = self._remote, self._remote.version == self._seen
        if merged:
            taken = 0
            for number in carried:
                clean = self._carry(remote.lent[number], merged)
                merged, taken = merged | clean, taken + bool(clean)
                if clean:
                    remote.take(number, remote.trunk.tip + 1)
            # What a person committed goes along as it is; ours is beside it only if there is something to merge.
            remote.trunk.grow(merged, commits=1 + merges, merges=int(merges or bool(taken)))
            remote.sent(1 + merges)
        if bookmark is not None:
            remote.park(self.name, bookmark)
            remote.sent(1)
        remote.version += 1
        self._seen = remote.version if current else -1
        self._fetched = remote.trunk.tip if merged else self._fetched

    def _carry(self, edits: Edits, merged: dict[str, str]) -> dict[str, str]:
        """Another host's edits, if all of them merge with the trunk and with what goes there already."""
        history, trunk = self._remote.trunk, self._remote.trunk.tip
        clean = {
            path: value for path, (value, fork) in edits.items() if history.at(path, trunk) == history.at(path, fork)
        }
        return clean if clean.keys() == edits.keys() and not clean.keys() & merged.keys() else {}

    def _settle(self, captured: Edits, parked: Edits, lent: Edits) -> None:
        """Note what is where; only what was written meanwhile is an edit still."""
        remote = self._remote
        if self._number >= 0:
            remote.take(self._number, 0)
        self.parked, self._lent = parked, lent
        self._number = remote.lend(lent) if lent else -1
        for path, edit in captured.items():
            if self.edits[path] == edit:
                del self.edits[path]
                self._arrived(self._made.pop(path))
            else:
                self.edits[path] = (self.edits[path][0], self._fetched)
            if path not in parked:
                self._own[path] = edit[0]
        self._committed = self._moved = False
        captured.clear()
