"""The same stories with the real thing: the steps, jj, git, chezmoi and a bare remote, on the model's clock.

Each command that talks to the remote waits for its turn on the timeline, with the seconds that the model gives it, and
only one host runs at a time. So model and engine meet the same races in the same order, and must leave the same log.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
from people import Host, Remote, Unheard, Watched, git
from scale.fleet import Edit, Story, host_name, starts
from scale.remote import Line
from scale.rules import Rules, World
from scale.timeline import Timeline

from gitopsd.config import RetryConfig, RetrySection
from gitopsd.daemon.retry import retrying
from gitopsd.machine import State
from gitopsd.steps.capture import capture
from gitopsd.steps.fetch import fetch
from gitopsd.steps.pull import pull
from gitopsd.steps.push import push
from gitopsd.tools.process import Result
from gitopsd.types import Cycle, CycleKind, SyncWord

T = TypeVar("T")

_VERBS = {"ls-remote": "question", "fetch": "fetch", "push": "push"}
MISSING = "nothing of it yet"  # what a file holds before the first edit


class Turns:
    """Lets coroutines wait for times of the timeline, one of them at a time."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self._running = 0
        self._resting = asyncio.Event()

    async def until(self, when: float) -> None:
        """Wait for a time."""
        come = asyncio.get_running_loop().create_future()

        def call() -> None:
            self._run(1)
            come.set_result(None)

        self.timeline.at(when, call)
        self._run(-1)
        await come

    async def play(self, lives: Sequence[Coroutine[Any, Any, None]], over: Callable[[], bool]) -> None:
        """Let all of them live until it is over."""
        self._run(len(lives))
        tasks = [asyncio.create_task(life) for life in lives]
        try:
            await self._quiet(tasks)
            while not over() and self.timeline.step():
                await self._quiet(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _quiet(self, tasks: Sequence["asyncio.Task[None]"]) -> None:
        resting = asyncio.create_task(self._resting.wait())
        await asyncio.wait([resting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
        await resting

    def _run(self, more: int) -> None:
        self._running += more
        if self._running:
            self._resting.clear()
        else:
            self._resting.set()


class Slow(Watched):
    """Starts the programs of one host; those that talk to the remote when their time has come."""

    def __init__(self, name: str, turns: Turns, world: World, log: list[Line], totals: "Counter[str]") -> None:
        super().__init__()
        self._name, self._turns, self._world, self._log, self._totals = name, turns, world, log, totals
        self.on = False

    async def run(self, argv: Sequence[str], **options: Any) -> Result:
        verb = next((_VERBS[word] for word in argv if word in _VERBS), "") if argv[0] == "git" and self.on else ""
        if not verb:
            return await super().run(argv, **options)
        timeline = self._turns.timeline
        await self._turns.until(timeline.now + self._world.merge * (verb == "push") + self._world.way / 2)
        self._log.append((round(timeline.now, 6), self._name, verb))
        self._totals[verb] += 1
        result = await super().run(argv, **options)
        self._totals["rejected"] += verb == "push" and result.status != 0
        await self._turns.until(timeline.now + self._world.way / 2)
        return result


class Waiting(Unheard):
    """`ports.Reporter` and `ports.Clock` of a step: tries again as the daemon does, on the timeline."""

    def __init__(self, turns: Turns, policy: RetrySection) -> None:
        self._turns, self._policy = turns, policy

    def now(self) -> float:
        return self._turns.timeline.now

    def monotonic(self) -> float:
        return self._turns.timeline.now

    async def sleep(self, seconds: float) -> None:
        await self._turns.until(self._turns.timeline.now + seconds)

    def boot_id(self) -> str:
        return ""

    async def retrying(self, operation: Callable[[], Awaitable[T]]) -> T:
        return await retrying(operation, self._policy, self, lambda _: None)


class RealFleet:
    """Real hosts that live through a story.

    Args:
        place: where they are; every user may enter it.
        size: how many.
        story: what happens.
        rules: the timer and the retries; the rest is what the engine does.
        world: how long everything takes on the timeline.
        seed: as in the model.

    """

    def __init__(self, place: Path, size: int, story: Story, *, rules: Rules, world: World, seed: int) -> None:
        self.timeline = Timeline()
        self.log: list[Line] = []
        self.totals: Counter[str] = Counter()
        self.failed = 0
        self.seconds = 0.0  # of the wall's clock, that the syncs took
        self.syncs = 0
        self._turns = Turns(self.timeline)
        self._story, self._rules, self._world, self._seed = story, rules, world, seed
        self.paths = sorted({edit.path for edit in story.edits})
        self.remote = Remote.create(place / "remote.git")
        self.hosts = [
            Host.create(host_name(number), "rain", place / str(number), self.remote) for number in range(size)
        ]
        first, *others = self.hosts
        first.begin(dict.fromkeys(self.paths, f"{MISSING}\n"))
        for host in others:
            host.join()
        for host in self.hosts:
            host.processes = Slow(host.name, self._turns, world, self.log, self.totals)
            host.start()
        self._begin = ""

    async def live(self, rounds: int) -> None:
        """Let it happen: until every host has synced so often."""
        for host in self.hosts:  # what their first sync finds out, the model's hosts know
            await host.sync()
        self._begin = self.remote.heads()["main"]
        for host in self.hosts:
            assert isinstance(host.processes, Slow)
            host.processes.on = True
        random.seed(self._seed)  # tenacity draws from there
        counts = [0] * len(self.hosts)
        for edit in self._story.edits:
            self.timeline.at(edit.when, partial(self._edit, edit))
        begin = time.monotonic()
        await self._turns.play(
            [self._lives(number, counts) for number in range(len(self.hosts))], lambda: min(counts) >= rounds
        )
        self.seconds, self.syncs = time.monotonic() - begin, sum(counts)

    def commits(self, *arguments: str) -> int:
        """How many commits the trunk has that it did not begin with."""
        found = git("-C", str(self.remote.path), "rev-list", "--count", *arguments, f"{self._begin}..main")
        return int(found)

    def _edit(self, edit: Edit) -> None:
        host = self.hosts[edit.host]
        host.write(edit.path, f"{edit.value}\n")
        if edit.committed:
            host.run("chezmoi", "re-add", str(host.home / edit.path))
            host.run("jj", "commit", "--quiet", "-m", "by hand", where=host.source)

    async def _lives(self, number: int, counts: list[int]) -> None:
        rng = random.Random(f"{self._seed} {host_name(number)}")
        for start in starts(self._rules, self._story, rng, lambda: self.timeline.now):
            await self._turns.until(start)
            await self._sync(self.hosts[number])
            counts[number] += 1

    async def _sync(self, host: Host) -> None:
        """One cycle, as the daemon's loop runs it."""
        retry, rules, people = RetryConfig(), self._rules, (host.dotfiles,)
        hasty = RetrySection(attempts=rules.attempts, first=rules.first, longest=rules.longest)
        cycle = Cycle(
            id=1, kind=CycleKind.sync, requested_by="test", boot_id="", started=0.0, state=State.fetch, state_since=0.0
        )
        facts = (await fetch(cycle, self._reporter(retry.fetch), people=people, source=None)).facts
        cycle = msgspec.structs.replace(cycle, facts=facts)
        facts = (await capture(cycle, self._reporter(retry.capture), people=people)).facts
        await self._turns.until(self.timeline.now + self._world.capture)
        cycle = msgspec.structs.replace(cycle, facts=facts)
        facts = (await push(cycle, self._reporter(hasty), people=people, host=host.name)).facts
        cycle = msgspec.structs.replace(cycle, facts=facts)
        none = cast("Any", None)  # a sync chooses no system
        step = await pull(
            cycle, self._reporter(retry.pull), people=people, source=None, activator=none, store=none, clock=none
        )
        (person,) = step.facts.people
        self.failed += person.word is SyncWord.push_failed
        assert person.word in (SyncWord.success, SyncWord.conflicts_preserved, SyncWord.push_failed), person

    def _reporter(self, policy: RetrySection) -> Waiting:
        return Waiting(self._turns, policy)
