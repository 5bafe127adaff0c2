"""How what runs relates to what was deployed, tested or gone back to."""

from gitopsd.types import Deployed, GoneBack, Memory, Revision, StorePath, SystemFacts, Trial


def is_drift(system: SystemFacts, deployed: Deployed | None, trial: Trial | None = None) -> bool:
    """Whether something else runs than what was deployed last, or is on trial. Unknown is no drift."""
    if deployed is None or system.current is None:
        return False
    return system.current != deployed.toplevel and not (trial is not None and runs(trial, system))


def is_back(gone_back: GoneBack | None, system: SystemFacts) -> bool:
    """Whether what runs was brought back on purpose: it was never deployed, and is no drift all the same."""
    return gone_back is not None and system.current == gone_back.toplevel


def left_by(toplevel: StorePath, memory: Memory, system: SystemFacts) -> tuple[Revision, ...]:
    """The revisions that a person goes back from: of what is deployed, of the test that runs, of what waits for a reboot.

    Args:
        toplevel: what they go back to.
        memory: what is remembered.
        system: what runs.

    """
    deployed, trial, waits = memory.deployed, memory.trial, memory.at_reboot
    left = []
    if deployed is not None and deployed.toplevel != toplevel:
        left.append(deployed.revision)
    if trial is not None and trial.toplevel != toplevel and trial.toplevel == system.current:
        left.append(trial.revision)
    if waits is not None and waits.facts.built is not None and waits.facts.built.toplevel != toplevel:
        left.append(waits.facts.built.revision)
    return tuple(dict.fromkeys(left))


def runs(trial: Trial, system: SystemFacts) -> bool:
    """Whether the system that is on trial runs, and is another one than the boot default."""
    return system.current == trial.toplevel != system.profile


def last_deployed(memory: Memory) -> StorePath | None:
    """The toplevel that was deployed last."""
    return memory.deployed.toplevel if memory.deployed is not None else None
