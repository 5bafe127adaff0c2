"""The model against the real engine: the same hosts, edits, timers and waits must leave the same log, event by event.

`SCALE_HOSTS` runs one story more, with so many real hosts.
"""

import asyncio
import dataclasses
import math
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from people import git
from scale.fleet import Edit, Fleet, Story, host_name
from scale.remote import Line
from scale.rules import GREETING, REF_BYTES, Rules, World

from gitopsd.tools.git import Git
from gitopsd.tools.process import Processes

# No queue: git does at once what it does. All hosts sync within seconds, so that a few of them meet in many races.
WORLD = World(workers=0)
RULES = Rules(interval=100.0, delay=1.5)
MISSING = "nothing of it yet"  # what a file holds before the first edit


def _own_files(size: int, seed: int) -> Story:
    edits = (Edit(when=90.0 + host / 100, host=host, path=f"file-{host}", value=f"v{host}") for host in range(size))
    return Story(name="own files", edits=tuple(edits))


def _one_line(size: int, seed: int) -> Story:
    edits = (Edit(when=90.0 + host / 100, host=host, path="shared", value=f"v{host}") for host in range(size))
    return Story(name="one line", edits=tuple(edits))


def _mixed(size: int, seed: int) -> Story:
    """Own files and a shared one, some committed by hand, in three intervals; none in the middle of a sync."""
    rng = random.Random(seed)
    edits = []
    for turn in range(3):
        for host in range(size):
            if rng.random() < 0.7:
                path = "shared" if rng.random() < 0.25 else f"file-{host}"
                when = turn * 100.0 + 90.0 + host / 100
                committed = path != "shared" and rng.random() < 0.3
                edits.append(Edit(when=when, host=host, path=path, value=f"v{host}.{turn}", committed=committed))
    return Story(name="mixed", edits=tuple(edits))


@pytest.mark.parametrize(
    ("size", "story", "seed", "attempts"),
    [(2, _own_files, 1, 5), (8, _own_files, 2, 2), (5, _one_line, 3, 5), (6, _mixed, 5, 5)],
    ids=lambda value: value.__name__.strip("_") if callable(value) else str(value),
)
async def test_the_model_does_what_the_engine_does(
    place: Path, size: int, story: Callable[[int, int], Story], seed: int, attempts: int
) -> None:
    model = await _compare(place, size, story(size, seed), seed, dataclasses.replace(RULES, attempts=attempts))
    assert model.remote.totals["rejected"]  # else there was nothing to see
    assert (sum(host.failed for host in model.hosts) > 0) is (attempts < 5)


@pytest.mark.skipif("SCALE_HOSTS" not in os.environ, reason="SCALE_HOSTS is not set")
async def test_many_real_hosts(place: Path) -> None:
    size = int(os.environ["SCALE_HOSTS"])
    await _compare(place, size, _own_files(size, 1), 1, RULES)


async def _compare(place: Path, size: int, story: Story, seed: int, rules: Rules) -> Fleet:
    from scale.real import RealFleet  # noqa: PLC0415  # needs the path of conftest.py

    real = RealFleet(place, size, story, rules=rules, world=WORLD, seed=seed)
    rounds = 3 + math.ceil(max(edit.when for edit in story.edits) / RULES.interval)
    await real.live(rounds)

    log: list[Line] = []
    model = Fleet(size, story, rules=rules, world=WORLD, seed=seed, log=log)
    model.timeline.run(lambda: min(host.ended for host in model.hosts) >= rounds)

    assert real.log == log
    totals = model.remote.totals
    assert {verb: real.totals[verb] for verb in ("question", "fetch", "push", "rejected")} == {
        verb: totals[verb] for verb in ("question", "fetch", "push", "rejected")
    }
    assert real.failed == sum(host.failed for host in model.hosts)
    assert (real.commits(), real.commits("--min-parents=2")) == (model.remote.trunk.commits, model.remote.trunk.merges)
    heads = real.remote.heads()
    assert {name.removeprefix("gitopsd/") for name in heads if name != "main"} == model.remote.bookmarks.keys()
    for path in real.paths:
        assert real.remote.show("main", path) == f"{model.remote.trunk.files().get(path, MISSING)}\n"
        for there, here in zip(real.hosts, model.hosts, strict=True):
            assert there.read(path) == f"{here.holds(path) or MISSING}\n"
    for host, edits in model.remote.bookmarks.items():
        for path, (value, _) in edits.items():
            assert git("-C", str(real.remote.path), "show", f"gitopsd/{host}:{path}") == f"{value}\n"
    print(f"{size} hosts, {story.name}: {real.syncs} syncs in {real.seconds:.0f} s, {dict(real.totals)}")
    return model


def test_the_model_counts_the_bytes_of_an_answer(place: Path) -> None:
    """What a remote sends for `ls-remote`: the model's bytes for each branch, and none for a tag or a pull request."""
    processes, remote, here = Processes(), place / "remote.git", place / "here"
    git("init", "--quiet", "--bare", str(remote))
    git("init", "--quiet", str(here))
    identity = ("-c", "user.name=o", "-c", "user.email=o@example.org")
    git("-C", str(here), *identity, "commit", "--quiet", "--allow-empty", "-m", "first")
    git("-C", str(here), "remote", "add", "origin", str(remote))
    sent = place / "sent"
    (place / "upload-pack").write_text(f'#!/bin/sh\ngit-upload-pack "$@" | tee {sent}\n')
    (place / "upload-pack").chmod(0o755)
    git("-C", str(here), "config", "remote.origin.uploadpack", str(place / "upload-pack"))

    def answer(*refs: str) -> int:
        git("-C", str(here), "push", "--quiet", "origin", *(f"HEAD:{ref}" for ref in refs))
        asyncio.run(Git(processes, str(here)).ls_remote_refs("origin", "refs/heads/*"))
        return len(sent.read_bytes())

    least = answer("refs/heads/main")
    names = [f"refs/heads/gitopsd/{host_name(number)}" for number in range(20)]
    assert answer("refs/tags/v1", "refs/pull/1/head", *names) == least + sum(REF_BYTES + len(name) for name in names)
    assert b"refs/tags" not in sent.read_bytes()
    assert abs(least - GREETING - REF_BYTES - len("refs/heads/main")) < GREETING
