"""What may be asked for now, and in which order it begins."""

from collections.abc import Sequence

import msgspec

from gitopsd.errors import Failed, PersonNeeded, Suspended
from gitopsd.policy.words import local_time
from gitopsd.types import Cycle, CycleKind, Suspension

TIMER = "timer"  # who asks for a cycle when it is nobody


def merge_requests(waiting: Cycle, wanted: Cycle) -> Cycle:
    """One cycle that satisfies both; it keeps the id of the one that waits. A dry run waits for itself alone."""
    kinds = {waiting.kind, wanted.kind}
    everybody = not waiting.users or not wanted.users
    return msgspec.structs.replace(
        waiting,
        kind=CycleKind.upgrade if CycleKind.upgrade in kinds else wanted.kind,
        users=() if everybody else tuple(sorted({*waiting.users, *wanted.users})),
        accept_diverged=waiting.accept_diverged or wanted.accept_diverged,
    )


def precedence(cycle: Cycle) -> tuple[int, int]:
    """Sorts what waits into the order in which it begins: what was booted proves itself before anything else changes."""
    if cycle.facts.switching is not None:
        rank = 0
    elif cycle.facts.chosen:
        rank = 1
    else:
        rank = 3 if cycle.kind is CycleKind.plan else 2
    return rank, cycle.id


def joins(kind: CycleKind, waiting: Cycle) -> bool:
    """Whether a request is satisfied by a cycle that waits, once merged into it.

    Not by a way back, or the proof of what was booted: neither asks a remote.
    """
    if waiting.facts.chosen or waiting.facts.switching is not None:
        return False
    return (kind is CycleKind.plan) == (waiting.kind is CycleKind.plan)


def is_suspended(suspension: Suspension | None, now: float) -> bool:
    """Whether this host is to be left alone now."""
    return suspension is not None and (suspension.until == 0 or now < suspension.until)


def heeds(suspension: Suspension | None, now: float, kind: CycleKind, requested_by: str) -> None:
    """Whether a cycle may begin on a host that may be suspended. A person may still sync, and ask for a dry run.

    Raises:
        Suspended: it may not.

    """
    if suspension is None or not is_suspended(suspension, now) or kind is CycleKind.plan:
        return
    if kind is CycleKind.sync and requested_by != TIMER:
        return
    until = f"until {local_time(suspension.until)}" if suspension.until else "until somebody resumes"
    reason = f": {suspension.reason}" if suspension.reason else ""
    raise Suspended(
        f"suspended {until} by {suspension.by}{reason}",
        meaning="nothing was begun; the system stays as it is",
        advice="sudo gitopsctl resume",
    )


def admits(kind: CycleKind, asked: Sequence[str], known: Sequence[str], blocked: str) -> None:
    """Whether a cycle may start.

    Args:
        kind: what is asked for.
        asked: whose dotfiles; empty is everybody.
        known: the people whose dotfiles are kept in step here.
        blocked: why a person is needed; empty if not.

    Raises:
        PersonNeeded: the system half waits for a person. The dotfiles half goes on meanwhile.
        Failed: there are no such dotfiles here.

    """
    if blocked and kind is not CycleKind.sync:
        raise PersonNeeded(
            f"blocked: {blocked}",
            meaning="no system is deployed until a person has looked; dotfiles go on",
            advice="`gitopsctl status` shows what runs; when it is right, `gitopsctl retry`",
        )
    unknown = sorted(set(asked) - set(known))
    if unknown or (kind is CycleKind.sync and not known):
        whose = f"the dotfiles of {', '.join(unknown)} are" if unknown else "nobody's dotfiles are"
        raise Failed(
            f"{whose} not kept in step on this host",
            meaning="nothing was done",
            advice="add a [[dotfiles]] section to the configuration, then `systemctl reload gitopsd.service`",
        )
