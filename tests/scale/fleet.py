"""Many hosts on one remote, from a first edit until all of them have all."""

import dataclasses
import math
import random
from collections.abc import Callable, Iterator
from functools import partial

from scale.host import Host
from scale.remote import Line, Remote
from scale.rules import Rules, World
from scale.timeline import Process, Timeline


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What a person does once: write the one line of a file, and perhaps commit that by hand."""

    when: float
    host: int
    path: str
    value: str
    committed: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What happens to a fleet.

    Attributes:
        name: what it is about.
        edits: what people do.
        begin: before that second no host syncs, since the remote or all the hosts are off.
        end: until that second hosts sync at least, in seconds; later only until all have all.
    """

    name: str
    edits: tuple[Edit, ...]
    begin: float = 0.0
    end: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The figures of one story.

    Attributes:
        hosts, edits: how many.
        converged: seconds from the first edit (or the begin) until every home has the same; infinite if it gave up.
        rounds: the most syncs that a host needed for that.
        half, most: seconds until half, and 99 of 100 edits were on the remote.
        syncs, failed: of all hosts; a failed one is repeated at the next interval.
        pushes, rejected, unproven: pushes that reached the remote, those that it refused, and those that had to be
            repeated since the trunk had moved on before it was read back.
        questions, fetches: other connections.
        peak: the most connections in one second.
        longest_wait: seconds that one waited for the remote.
        advertised, objects: bytes.
        commits, merges: on the trunk, and those of them with several parents.
        parked: bookmarks at the end.
    """

    hosts: int
    edits: int
    converged: float
    rounds: int
    half: float
    most: float
    syncs: int
    failed: int
    pushes: int
    rejected: int
    unproven: int
    questions: int
    fetches: int
    peak: int
    longest_wait: float
    advertised: int
    objects: int
    commits: int
    merges: int
    parked: int

    def per_edit(self, number: float) -> float:
        """How many of something there were for each edit."""
        return number / max(1, self.edits)

    def per_sync(self, number: float) -> float:
        """How many of something there were for each sync."""
        return number / max(1, self.syncs)


class Fleet:
    """Hosts that sync along their timers.

    Args:
        size: how many.
        story: what happens.
        rules: the protocol.
        world: how fast everything is.
        seed: of all that is random.
        log: gets a line for each connection, if given.
        longest: seconds after which it gives up.

    """

    def __init__(
        self,
        size: int,
        story: Story,
        *,
        rules: Rules,
        world: World,
        seed: int,
        log: list[Line] | None = None,
        longest: float = 86400.0,
    ) -> None:
        self.timeline = Timeline()
        self.remote = Remote(self.timeline, rules, world, log)
        waits = random.Random(seed)
        self.hosts = [
            Host(
                host_name(number),
                timeline=self.timeline,
                remote=self.remote,
                rules=rules,
                world=world,
                rng=waits,
                arrived=self._arrived,
            )
            for number in range(size)
        ]
        self._story, self._rules, self._longest = story, rules, longest
        self._left = len(story.edits)  # edits that are not on the remote yet
        self._took: list[float] = []
        self._behind: set[int] | None = None  # the hosts that lack something, once all that is to come has come
        self._converged = self._since = math.inf
        for edit in story.edits:
            self.timeline.at(edit.when, partial(self._edit, edit))
        for number in range(size):
            self.timeline.start(self._lives(number, random.Random(f"{seed} {host_name(number)}")))

    def run(self) -> Outcome:
        """Let it all happen."""
        start = self._story.begin or min((edit.when for edit in self._story.edits), default=0.0)
        self._since = start
        limit = start + self._longest
        self.timeline.run(lambda: self._converged < math.inf or self.timeline.now > limit)
        remote, took = self.remote, sorted(self._took)
        share = (len(took) or 1) / max(1, len(self._story.edits))
        return Outcome(
            hosts=len(self.hosts),
            edits=len(self._story.edits),
            converged=self._converged - start,
            rounds=max(host.syncs for host in self.hosts),
            half=_quantile(took, 0.5 / share),
            most=_quantile(took, 0.99 / share),
            syncs=sum(host.syncs for host in self.hosts),
            failed=sum(host.failed for host in self.hosts),
            pushes=remote.totals["push"],
            rejected=remote.totals["rejected"],
            unproven=remote.totals["unproven"],
            questions=remote.totals["question"],
            fetches=remote.totals["fetch"],
            peak=max(remote.seconds.values(), default=0),
            longest_wait=remote.longest_wait,
            advertised=remote.totals["advertised"],
            objects=remote.totals["objects"],
            commits=remote.trunk.commits,
            merges=remote.trunk.merges,
            parked=len(remote.bookmarks),
        )

    def _edit(self, edit: Edit) -> None:
        self.hosts[edit.host].edit(edit.path, edit.value, committed=edit.committed)

    def _arrived(self, made: float) -> None:
        self._left -= 1
        self._took.append(self.timeline.now - max(made, self._story.begin))

    def _lives(self, number: int, rng: random.Random) -> Process:
        host, rules = self.hosts[number], self._rules
        for start in starts(rules, self._story, rng, lambda: self.timeline.now):
            yield start
            yield from host.sync()
            self._look(number)

    def _look(self, number: int) -> None:
        """See whether this was the last host that lacked something."""
        if self._left or self.remote.lent_open or self.timeline.now < self._story.end:
            self._behind = None
            return
        tip = self.remote.trunk.tip
        if self._behind is None:
            self._behind = {other for other, host in enumerate(self.hosts) if host.base != tip}
        if self.hosts[number].base == tip:
            self._behind.discard(number)
        if not self._behind:
            self._converged = self.timeline.now


def starts(rules: Rules, story: Story, rng: random.Random, now: Callable[[], float]) -> Iterator[float]:
    """When a host's timer starts a sync: `OnCalendar` with `RandomizedDelaySec`, and not while one is under way."""
    turn = math.ceil(story.begin / rules.interval)
    delay = rng.uniform(0, rules.delay)
    while True:
        yield max(turn * rules.interval + delay, now())
        turn = max(turn + 1, math.floor((now() - delay * rules.fixed) / rules.interval) + 1)
        delay = delay if rules.fixed else rng.uniform(0, rules.delay)


def host_name(number: int) -> str:
    """Names of one length, so that all bookmarks have the same."""
    return f"host-{number:05}"


def _quantile(values: list[float], share: float) -> float:
    """The value that so large a share does not exceed; infinite if there are not so many."""
    at = math.ceil(share * len(values)) - 1
    return values[max(0, at)] if at < len(values) else math.inf
