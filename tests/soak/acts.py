"""One act of an example as a value: it can be drawn, done, left out, and done again on another fleet."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from soak import invariants
from soak.fleet import Fleet
from soak.site import TARGETS, Site

from gitopsd.ports import Dotfiles

BY_HAND: dict[str, tuple[tuple[str, ...], ...]] = {
    "jj new": (("jj", "new", "--quiet"),),
    "jj commit": (("jj", "commit", "--quiet", "-m", "by hand"),),
    "jj describe": (("jj", "describe", "--quiet", "-m", "half a sentence"),),
    "git commit": (("git", "add", "-A"), ("git", "commit", "--quiet", "--allow-empty", "-m", "by git")),
    "git fetch": (("git", "fetch", "--quiet"),),
    "jj rebase": (("jj", "git", "fetch", "--quiet"), ("jj", "rebase", "--quiet", "-d", "main@origin")),
}
_HOT = (".bashrc", ".bashrc", ".config/app.conf")  # conflicts need hosts that meet
_ROUNDS = 5  # after the two that are promised, until a chain of conflicts has come undone


class Act(NamedTuple):
    """What happens, where.

    Args:
        verb: see `perform`.
        host: the number of the host, modulo how many there are.
        pick: the number of the file, modulo how many it is possible with.
        how: a way of editing, or what is done by hand.
        line: of the file, modulo how many it has.
        number: the command before which something comes in between, or a mode.
        other: the number of another host.
        flag: the source instead of the home; online.

    """

    verb: str
    host: int = 0
    pick: int = 0
    how: str = ""
    line: int = 0
    number: int = 0
    other: int = 0
    flag: bool = False


def perform(fleet: Fleet, act: Act) -> None:
    """Do it; nothing happens if it is not possible."""
    names = list(fleet.sites)
    name, other = names[act.host % len(names)], names[act.other % len(names)]
    site = fleet.sites[name]
    match act.verb:
        case "edit":
            _edit(fleet, name, act)
        case "edit on two hosts":
            for each in (name, other):
                _edit(fleet, each, act)
        case "plant a secret":
            present = (*_HOT, *(site.managed() if act.flag else site.files()))
            _with(act, present, lambda target: fleet.plant(name, target, act.line, source=act.flag))
        case "take secrets out":
            fleet.take_out(name)
        case "add":
            _with(act, [t for t in TARGETS if t not in site.managed()], lambda target: fleet.add(name, target))
        case "write":
            missing = [t for t in TARGETS if t not in site.files()]
            _with(act, missing, lambda target: fleet.write_again(name, target) or fleet.write_unmanaged(name, target))
        case "chmod":
            _with(act, (*_HOT, *site.files()), lambda target: fleet.chmod(name, target, act.number))
        case "unlink":
            _with(act, list(site.files()), lambda target: fleet.unlink(name, target))
        case "destroy":
            _with(act, list(site.managed()), lambda target: fleet.destroy(name, target))
        case "forget":
            _with(act, list(site.managed()), lambda target: fleet.forget(name, target))
        case "follow the advice":
            with_reason = sorted(fleet.ledger.reasons[name])
            _with(act, with_reason, lambda target: fleet.settle_notice(name, target, keep_home=act.flag))
        case "step back":
            fleet.step_back(name)
        case "by hand":
            commands = BY_HAND[act.how]
            if site.online or not any("fetch" in command for command in commands):
                fleet.by_hand(name, commands)
        case "network":
            fleet.connect(name, online=act.flag)
        case "sync":
            fleet.sync(name)
        case "sync, killed":
            fleet.sync(name, act.number)
        case "sync, edit":
            fleet.sync(name, act.number, lambda: _edit(fleet, name, act))
        case "sync, sync" if name != other:
            fleet.sync(name, act.number, lambda: fleet.sync_inside(other))
        case "sync, network":
            fleet.sync(name, act.number, lambda: fleet.connect(name, online=not site.online))
        case _:
            return
    invariants.always(fleet)


def come_to_rest(fleet: Fleet) -> None:
    """Edits stop, all hosts come online and sync twice: the promise is then that they agree.

    What is parked, or was left alone and named in the first of these syncs, may need more rounds, but not for ever.
    """
    fleet.script.append("# edits stop")
    for name in fleet.sites:
        fleet.connect(name, online=True)
    calm = True
    for name in (*fleet.sites, *fleet.sites):
        facts = fleet.sync(name)
        calm = calm and facts is not None and not facts.parked and not facts.notices and not facts.quarantined
    if calm:
        invariants.converged(fleet)
        return
    for _ in range(_ROUNDS):
        heads = fleet.remote.heads
        for name in fleet.sites:
            fleet.sync(name)
        if fleet.remote.heads == heads:
            break
    else:
        raise invariants.fail(fleet, "3 convergent", "the remote does not come to rest")
    invariants.converged(fleet)


def story(
    copy: Path, size: int, acts: Sequence[Act], make: Callable[[Site], Dotfiles] | None = None
) -> invariants.Violated | None:
    """Do the acts on a new fleet; returns what they violate."""
    fleet = Fleet(copy, size, make)
    try:
        for act in acts:
            perform(fleet, act)
        come_to_rest(fleet)
    except invariants.Violated as violated:
        return violated
    finally:
        fleet.close()
    return None


def shorten(
    copy: Path,
    size: int,
    acts: Sequence[Act],
    make: Callable[[Site], Dotfiles] | None = None,
    *,
    seconds: float,
) -> tuple[list[Act], invariants.Violated | None]:
    """Leave out acts as long as something is violated: from halves down to single ones.

    Args:
        copy: see `Fleet`.
        size: how many hosts.
        acts: what violates an invariant.
        make: see `Fleet`.
        seconds: how long to try.

    Returns:
        The acts that are left, and what they violate; None if they did not do it a second time.

    """
    end = time.monotonic() + seconds
    kept, found = list(acts), story(copy, size, acts, make)
    width = len(kept) // 2
    while found is not None and width:
        start = 0
        while start < len(kept) and time.monotonic() < end:
            fewer = kept[:start] + kept[start + width :]
            again = story(copy, size, fewer, make)
            if again is not None and again.invariant == found.invariant:
                kept, found = fewer, again
            else:
                start += width
        width //= 2
    return kept, found


def _edit(fleet: Fleet, name: str, act: Act) -> None:
    site = fleet.sites[name]
    present = (*_HOT, *(site.managed() if act.flag else site.files()))
    _with(act, present, lambda target: fleet.edit(name, target, act.how, act.line, source=act.flag))


def _with(act: Act, targets: Sequence[str], do: Callable[[str], object]) -> None:
    if targets:
        do(targets[act.pick % len(targets)])
