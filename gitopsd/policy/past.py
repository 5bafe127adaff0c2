"""What happened without the daemon: a rollback at boot, a takeover that failed."""

from collections.abc import Iterable, Sequence

import msgspec

from gitopsd.machine import State
from gitopsd.policy.standing import last_deployed
from gitopsd.types import (
    BootConclusion,
    BootFacts,
    BootRollback,
    Cycle,
    CycleSummary,
    Deployed,
    Facts,
    GoneBack,
    Memory,
    Outcome,
    Rejection,
    Revision,
    StorePath,
    Takeover,
)

# How far a rollback at boot has got when something follows from it.
_ROLLED_BACK = frozenset({"rebooting", "landed", "golden-failed"})


def after_boot(boot: BootFacts, memory: Memory, history: Sequence[CycleSummary], now: float) -> BootConclusion | None:
    """What the assessment of boots means for what is deployed and what is rejected; None if nothing new.

    Args:
        boot: the assessment.
        memory: what is remembered.
        history: finished cycles, newest first: which revision a toplevel was built from.
        now: seconds since the epoch.

    """
    last = boot.rollback
    conclusion = BootConclusion()
    if last is not None and last.how in (*_ROLLED_BACK, "failed"):
        conclusion = _of_rollback(last, memory, history, now)
    if boot.verdict == "good" and boot.toplevel is not None and last_deployed(memory) != boot.toplevel:
        waited = next((cycle for cycle in history if cycle.outcome is Outcome.at_reboot), None)
        if waited is not None and waited.toplevel == boot.toplevel and waited.revision is not None:
            deployed = Deployed(revision=waited.revision, toplevel=boot.toplevel, at=now)
            conclusion = msgspec.structs.replace(conclusion, deployed=deployed)
    return None if conclusion == BootConclusion() else conclusion


def _of_rollback(last: BootRollback, memory: Memory, history: Sequence[CycleSummary], now: float) -> BootConclusion:
    which = f"{last.left} {last.at} "
    told = memory.boot_told.removeprefix(which) if memory.boot_told.startswith(which) else ""
    if told == last.how:
        return BootConclusion()
    reason = f"rolled back at boot: {last.reason}"
    blocked = reason if last.how in ("golden-failed", "failed") else ""
    conclusion = BootConclusion(told=which + last.how, blocked=blocked)
    # What follows from having gone back follows once, though it got further since: a person may have said `retry`.
    if last.how not in _ROLLED_BACK or told in _ROLLED_BACK:
        return conclusion
    rejection, deployed, gone_back = None, None, None
    if (came_from := _built_from(last.left, memory, history)) is not None:
        revision, cycle = came_from
        rejection = Rejection(revision=revision, outcome=Outcome.rolled_back, reason=reason, cycle=cycle, at=now)
    if (golden := _built_from(last.to, memory, history)) is not None:
        deployed = Deployed(revision=golden[0], toplevel=last.to, at=now)
    else:
        gone_back = _fallen_back(last.to, "the golden generation", now)
    return msgspec.structs.replace(conclusion, rejection=rejection, deployed=deployed, gone_back=gone_back)


def after_takeover(takeover: Takeover, memory: Memory, history: Sequence[CycleSummary], now: float) -> BootConclusion:
    """What it means that a new version of ourselves did not hold, and the system of before runs again.

    Args:
        takeover: which one, and why it was gone back from.
        memory: what is remembered.
        history: finished cycles, newest first: which revision a toplevel was built from.
        now: seconds since the epoch.

    """
    left, runs_again = (_built_from(each, memory, history) for each in (takeover.after, takeover.before))
    rejection = None
    if left is not None:
        reason = f"its gitopsd did not hold once it had taken over: {takeover.reason}"
        rejection = Rejection(revision=left[0], outcome=Outcome.rolled_back, reason=reason, cycle=left[1], at=now)
    deployed = None
    if runs_again is not None:
        deployed = Deployed(revision=runs_again[0], toplevel=takeover.before, at=now)
    if takeover.stuck:
        blocked = f"the gitopsd of {takeover.after} does not hold: {takeover.reason}"
        return BootConclusion(rejection=rejection, blocked=f"{blocked}; {takeover.before} could not be activated")
    gone_back = _fallen_back(takeover.before, "the system of before", now) if runs_again is None else None
    return BootConclusion(rejection=rejection, deployed=deployed, gone_back=gone_back)


def after_guard(takeover: Takeover, cycle: Cycle, now: float) -> tuple[Facts, Rejection | None] | None:
    """What it means for the cycle that deployed a system while no gitopsd held, and that its guard has gone back.

    Args:
        takeover: which system, and why it was gone back from.
        cycle: what was under way.
        now: seconds since the epoch.

    Returns:
        Its facts for the rollback that is left to do, and what is rejected; None if it was on its way back already, or
        is about something else.

    """
    built, switching = cycle.facts.built, cycle.facts.switching
    if cycle.state not in (State.switch, State.verify) or built is None or switching is None:
        return None
    if built.toplevel != takeover.after:
        return None
    reason = f"no gitopsd held while it was deployed: {takeover.reason}"
    facts = msgspec.structs.replace(cycle.facts, switching=msgspec.structs.replace(switching, reason=reason))
    revision = cycle.facts.candidate
    if revision is None:
        return facts, None
    return facts, Rejection(revision=revision, outcome=Outcome.rolled_back, reason=reason, cycle=cycle.id, at=now)


def _fallen_back(toplevel: StorePath, name: str, now: float) -> GoneBack:
    return GoneBack(toplevel=toplevel, name=name, by="gitopsd", cycle=0, at=now)


def _built_from(toplevel: StorePath, memory: Memory, history: Iterable[CycleSummary]) -> tuple[Revision, int] | None:
    """The revision that a toplevel was built from last, and in which cycle."""
    for cycle in history:
        if cycle.toplevel == toplevel and cycle.revision is not None:
            return cycle.revision, cycle.id
    if memory.deployed is not None and memory.deployed.toplevel == toplevel:
        return memory.deployed.revision, 0
    return None
