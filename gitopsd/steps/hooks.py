"""Hooks: the units that a person wants before and after an update, in order, each once in a cycle."""

import msgspec

from gitopsd.config import HookConfig
from gitopsd.ports import Clock, Hooks, Reporter
from gitopsd.types import Facts, HookRun


class HookPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What is run when, and by whom.

    Args:
        hooks: starts units.
        clock: time, and which boot this is.
        pre: before a build.
        post: after the new system has proved good.

    """

    hooks: Hooks
    clock: Clock
    pre: tuple[HookConfig, ...] = ()
    post: tuple[HookConfig, ...] = ()

    def longest(self, wanted: tuple[HookConfig, ...]) -> float:
        """Seconds that some of them take at most."""
        return sum(hook.timeout for hook in wanted)


async def run_hooks(facts: Facts, reporter: Reporter, plan: HookPlan, when: str) -> tuple[Facts, str]:
    """Run them. Looks before it acts: one that was started before a crash is waited for and not started again.

    Args:
        facts: of the cycle.
        reporter: takes checkpoints: before each start, and after each end.
        plan: what to run.
        when: `pre` or `post`.

    Returns:
        The facts, and what went wrong with one that is required, one sentence; empty if nothing did.

    """
    for hook in plan.pre if when == "pre" else plan.post:
        run = _known(facts, when, hook.unit)
        if run is None or (not run.ended and run.boot_id != plan.clock.boot_id()):
            before = await plan.hooks.last(hook.unit)
            now, boot = plan.clock.now(), plan.clock.boot_id()
            run = HookRun(when=when, unit=hook.unit, boot_id=boot, before=before, at=now)
            facts = await _written(facts, run, reporter)
        if not run.ended:
            reporter.progress(f"hook {hook.unit}")
            problem = await plan.hooks.run(hook.unit, before=run.before, since=run.at, limit=hook.timeout)
            run = msgspec.structs.replace(run, ended=True, problem=problem)
            facts = await _written(facts, run, reporter)
        if run.problem and hook.required:
            return facts, run.problem
        if run.problem:
            reporter.line(f"note: {when}-update hook: {run.problem}")
    return facts, ""


def _known(facts: Facts, when: str, unit: str) -> HookRun | None:
    return next((run for run in facts.hooks if (run.when, run.unit) == (when, unit)), None)


async def _written(facts: Facts, run: HookRun, reporter: Reporter) -> Facts:
    others = tuple(known for known in facts.hooks if (known.when, known.unit) != (run.when, run.unit))
    facts = msgspec.structs.replace(facts, hooks=(*others, run))
    await reporter.checkpoint(facts)
    return facts
