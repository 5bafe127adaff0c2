"""What may happen to a fleet: the stories that the figures are about."""

import random

from scale.fleet import Edit, Story

HOUR = 3600.0
INTERVAL = 900.0


def one_edit(size: int, seed: int) -> Story:
    """One host edits one file."""
    rng = random.Random(seed)
    edit = Edit(when=rng.uniform(0, INTERVAL) + INTERVAL, host=rng.randrange(size), path="f", value="v")
    return Story(name="one edit on one host", edits=(edit,))


def everybody(size: int, seed: int) -> Story:
    """Every host edits another file within one interval."""
    rng = random.Random(seed)
    edits = (
        Edit(when=rng.uniform(0, INTERVAL) + INTERVAL, host=host, path=f"f{host}", value="v") for host in range(size)
    )
    return Story(name="every host edits another file", edits=tuple(edits))


def same_line(size: int, seed: int) -> Story:
    """A tenth of the hosts, and two at least, edit the same line within one interval."""
    rng = random.Random(seed)
    chosen = rng.sample(range(size), max(2, size // 10))
    edits = (Edit(when=rng.uniform(0, INTERVAL) + INTERVAL, host=host, path="f", value=f"v{host}") for host in chosen)
    return Story(name="a tenth edits the same line", edits=tuple(edits))


def outage(size: int, seed: int) -> Story:
    """The remote comes back after six hours, in which every fourth host has edited a file of its own."""
    rng = random.Random(seed)
    chosen = rng.sample(range(size), max(1, size // 4))
    edits = (Edit(when=rng.uniform(0, 6 * HOUR), host=host, path=f"f{host}", value="v") for host in chosen)
    return Story(name="all return from an outage", edits=tuple(edits), begin=6 * HOUR)


def steady(size: int, seed: int) -> Story:
    """Four hours, in which each host edits files at random, four times in a day."""
    rng = random.Random(seed)
    number = max(1, size * 4 * 4 // 24)
    edits = (
        Edit(
            when=rng.uniform(0, 4 * HOUR),
            host=(host := rng.randrange(size)),
            path=f"f{host} {count}",
            value="v",
            committed=rng.random() < 0.1,
        )
        for count in range(number)
    )
    return Story(name="four edits a day and host, for 4 h", edits=tuple(edits), end=4 * HOUR)


STORIES = (one_edit, everybody, same_line, outage, steady)
