"""Which revision or generation is deployed."""

from collections.abc import Iterable, Mapping

import msgspec

from gitopsd.errors import Failed
from gitopsd.policy.standing import is_drift
from gitopsd.policy.words import short
from gitopsd.types import Deployed, Facts, Outcome, Rejection, Revision, StorePath, SystemFacts, Trial

_FALLS = 2  # how often a machine may go down while a test runs, until that is held against it


def is_of_the_trunk(facts: Facts) -> bool:
    """Whether what a cycle deploys is the branch's head, and not the testing branch's."""
    return facts.candidate is not None and facts.candidate == facts.head


def falls_of(trial: Trial, boot_id: str) -> int:
    """How often the machine has gone down in no orderly way while a test ran, seen from this boot."""
    fell = trial.boot_id not in ("", boot_id) and not trial.in_order
    return trial.falls + fell


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What pull decides about the system.

    Args:
        deploy: the revision to build; None ends the cycle.
        outcome: how it ends then.
        message: why.
        trial: it is the testing branch's: run and verify it, and leave the boot default as it is.

    """

    message: str
    deploy: Revision | None = None
    outcome: Outcome = Outcome.success
    trial: bool = False


def choose(
    head: Revision | None,
    *,
    offline: bool,
    error: str,
    deployed: Deployed | None,
    before: Revision | None,
    system: SystemFacts,
    rejected: Iterable[Rejection],
    descends: bool,
    accept_diverged: bool,
) -> Choice:
    """Which revision to deploy, if any.

    Args:
        head: the branch as the remote has it, or as last seen.
        offline: the remote could not be reached.
        error: why it could not be read otherwise.
        deployed: the last verified deployment.
        before: its revision; known even if the rest was forgotten.
        system: what runs.
        rejected: revisions that failed before.
        descends: `head` has `before` among its ancestors.
        accept_diverged: a person accepts that it has not.

    """
    if error:
        return Choice(outcome=Outcome.failed, message=error)
    if offline or head is None:
        return Choice(
            outcome=Outcome.offline, message="the configuration's remote cannot be reached; nothing new is known"
        )
    if deployed is not None and deployed.revision == head and not is_drift(system, deployed):
        return Choice(outcome=Outcome.up_to_date, message=f"{short(head)} is deployed already")
    for rejection in rejected:
        if rejection.revision == head:
            why = f"{short(head)} is rejected since cycle {rejection.cycle} ({rejection.outcome.value})"
            return Choice(outcome=Outcome.rejected, message=f"{why}; push a new commit, or `gitopsctl retry`")
    if before is not None and not descends and not accept_diverged:
        return Choice(
            outcome=Outcome.diverged,
            message=f"the branch was rewound or rewritten: {short(head)} does not contain the deployed "
            f"{short(before)}; `gitopsctl upgrade --accept-diverged` deploys it all the same",
        )
    return Choice(deploy=head, message=f"deploying {short(head)}")


def prefer_testing(
    trunk: Choice,
    testing: Revision,
    *,
    branch: str,
    on_top: bool,
    system: SystemFacts,
    trial: Trial | None,
    boot_id: str,
    rejected: Iterable[Rejection],
) -> Choice:
    """Whether the testing branch is run instead of what was chosen for the trunk.

    A trial ends with the boot that it was begun in, and does not begin again by itself: a system that takes the machine
    down after it was verified would do so after every boot.

    Args:
        trunk: what was chosen for the trunk.
        testing: the head of the testing branch, which the trunk does not contain.
        branch: its name.
        on_top: it contains the trunk's head.
        system: what runs.
        trial: the last one.
        boot_id: of this boot.
        rejected: revisions that failed before.

    """
    if trunk.outcome in (Outcome.failed, Outcome.offline, Outcome.diverged):
        return trunk
    known = trial if trial is not None and trial.revision == testing else None
    if not on_top:
        return _beside(trunk, f"{branch} is not on top of the trunk and is left alone; rebase it")
    if known is not None and system.current == known.toplevel:
        return Choice(outcome=Outcome.up_to_date, message=f"{short(testing)} of {branch} is being tested already")
    if any(rejection.revision == testing for rejection in rejected):
        beside = _beside(trunk, f"{short(testing)} of {branch} is rejected; push a new commit, or `gitopsctl retry`")
        untouched = beside.outcome is Outcome.up_to_date
        return msgspec.structs.replace(beside, outcome=Outcome.rejected) if untouched else beside
    if known is not None and known.boot_id not in ("", boot_id):
        ended = (
            f"the test of {short(testing)} ended with the reboot; push a new commit to {branch}, or `gitopsctl retry`"
        )
        return _beside(trunk, ended)
    return Choice(deploy=testing, trial=True, message=f"testing {short(testing)} of {branch}")


def tested_only(trunk: Choice, *, system: SystemFacts, trial: Trial | None, boot_id: str) -> Choice:
    """What `switch.mode = "test"` makes of what was chosen for the trunk: it is run, and the boot default stays.

    After a reboot the old system runs, and the next upgrade runs the test again. But a machine that went down twice in no
    orderly way while it ran is not brought down by it for a third time.

    Args:
        trunk: what was chosen.
        system: what runs.
        trial: the last test.
        boot_id: of this boot.

    """
    if trunk.deploy is None:
        return trunk
    head = trunk.deploy
    known = trial if trial is not None and trial.revision == head else None
    if known is not None and system.current == known.toplevel:
        return Choice(outcome=Outcome.up_to_date, message=f"{short(head)} is being tested already")
    if known is not None and falls_of(known, boot_id) >= _FALLS:
        message = (
            f"this machine went down {_FALLS} times, in no orderly way, while {short(head)} was tested: it is not run again;"
            " push a new commit, or `gitopsctl retry`"
        )
        return Choice(outcome=Outcome.rejected, message=message)
    return Choice(deploy=head, trial=True, message=f'testing {short(head)}, since switch.mode is "test"')


def _beside(trunk: Choice, note: str) -> Choice:
    return msgspec.structs.replace(trunk, message=f"{trunk.message}; {note}")


def target_of(
    word: str, generations: Mapping[int, StorePath], system: SystemFacts, golden: StorePath | None
) -> tuple[str, int, StorePath]:
    """What a person wants to go back to: how it is called, its generation (0 if it has none any more), the toplevel.

    Args:
        word: `previous`, `golden`, or a number.
        generations: those of the system profile.
        system: what runs and is the boot default.
        golden: the golden generation.

    Raises:
        Failed: there is no such generation, or it runs and is the boot default already.

    """
    known = ", ".join(map(str, sorted(generations))) or "none, and nothing to go back to"
    advice = f"`sudo gitopsctl rollback N`; of generations there is {known}"
    number = 0
    if word == "golden":
        if golden is None:
            raise Failed("there is no golden generation", meaning="nothing was changed", advice=advice)
        number = max((n for n, path in generations.items() if path == golden), default=0)
    elif word == "previous":
        number = max((n for n in generations if n < system.generation), default=0)
        if not number:
            raise Failed(
                f"there is no generation before {system.generation}",
                meaning="nothing was changed",
                advice=advice,
            )
    elif word.isdecimal() and int(word) in generations:
        number = int(word)
    else:
        raise Failed(f"there is no generation {word}", meaning="nothing was changed", advice=advice)
    toplevel = golden if golden is not None and word == "golden" else generations[number]
    name = ("the golden generation" if word == "golden" else "generation") + (f" {number}" if number else "")
    if toplevel == system.current == system.profile:
        raise Failed(f"{name} runs and is the boot default already", meaning="nothing was changed", advice=advice)
    return name, number, toplevel


def same_system(built: StorePath, system: SystemFacts, mode: str) -> bool:
    """Whether a build changes nothing: it runs already and is the boot default (or, in boot mode, will be)."""
    return built == system.profile and (mode == "boot" or built == system.current)
