"""An upgrade with nothing to do, against asking the remotes that it must ask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from bench.figure import Figure, Measure, Want
from bench.place import INSIDE, Command, Place
from e2e.scene import USER

from gitopsd.tools.process import BASE_ENV

RUNS = 20
FILE = "/etc/gitopsd/config.toml"
PERSON = '[[dotfiles]]\nuser = "rain"\nrepo_url = "git@forge:dotfiles.git"\n'

CONFIG = "git ls-remote git@forge:nix-config.git refs/heads/main"
SYNC = f"setpriv --reuid={USER} --regid={USER} --init-groups env HOME=/home/{USER} sh {INSIDE}/empty_sync.sh"
DOTFILES = "git ls-remote git@forge:dotfiles.git refs/heads/main"


def figures(place: Place) -> list[Figure]:
    """Measure it as root: of a system alone, which is what the requirement is about, and with a person's dotfiles."""
    upgrade = Command(argv=["gitopsctl", "upgrade"], env={})
    one = Command(argv=["sh", "-c", f"exec {CONFIG}"], env=BASE_ENV)
    both = Command(argv=["sh", "-c", f"{CONFIG} & {DOTFILES}; wait"], env=BASE_ENV)
    synced = Command(argv=["sh", "-c", f"{CONFIG} & {SYNC}; wait"], env=BASE_ENV)
    with_dotfiles = place.race({"upgrade": upgrade, "both": both, "synced": synced}, runs=RUNS, user="root")
    with system_only(place):
        alone = place.race({"upgrade": upgrade, "one": one}, runs=RUNS, user="root")
        cycles = _cycles(place)
    wanted = Want(measure=Measure.ratio, limit=2)
    reported = Want(measure=Measure.ratio, limit=2, required=False, remark="it captures and compares a home, too")
    rows = {"an upgrade with nothing to do, as typed": (alone["upgrade"], (wanted,)), "the cycle of it": (cycles, ())}
    return [
        *(
            Figure(name=name, unit="ms", values=values, floor_name="git ls-remote", floor=alone["one"], wants=wants)
            for name, (values, wants) in rows.items()
        ),
        Figure(
            name="the same, with a person's dotfiles",
            unit="ms",
            values=with_dotfiles["upgrade"],
            floor_name="git ls-remote of both, at once",
            floor=with_dotfiles["both"],
            wants=(reported,),
        ),
        Figure(
            name="the same",
            unit="ms",
            values=with_dotfiles["upgrade"],
            floor_name="git ls-remote, and the bare commands of a sync, at once",
            floor=with_dotfiles["synced"],
            wants=(Want(measure=Measure.ratio, limit=2, required=False),),
        ),
    ]


@contextmanager
def system_only(place: Place) -> Iterator[None]:
    """A host that keeps nobody's dotfiles in step while this lasts."""
    whole = place.host.read(FILE)
    assert PERSON in whole
    try:
        _configure(place, whole.replace(PERSON, ""))
        yield
    finally:
        _configure(place, whole)


def _configure(place: Place, text: str) -> None:
    place.host.run(["rm", FILE])  # a link into the store
    place.host.write(FILE, text)
    place.host.run(["systemctl", "reload", "gitopsd.service"])


def _cycles(place: Place) -> list[float]:
    history = json.loads(place.host.run(["gitopsctl", "history", "--json", "-n", str(RUNS)]).stdout)
    return [(cycle["ended"] - cycle["started"]) * 1000 for cycle in history]
