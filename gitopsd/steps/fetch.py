"""fetch: learn what the remotes have. Touches no working copy, no home, no system."""

import asyncio
from collections.abc import Sequence

import msgspec

from gitopsd.errors import Cause, Failed, Transient
from gitopsd.machine import Event
from gitopsd.ports import ConfigSource, Dotfiles, PublishedCheckout, Reporter
from gitopsd.steps.people import each_person, with_checkout
from gitopsd.types import Cycle, CycleKind, Facts, Revision, StepResult, SyncWord


async def fetch(
    cycle: Cycle,
    reporter: Reporter,
    *,
    people: Sequence[Dotfiles],
    source: ConfigSource | None,
    checkout: PublishedCheckout | None = None,
) -> StepResult:
    """Repeatable. Offline is noted, and the cycle goes on."""
    reporter.line("Fetching remote changes...")
    asked = () if cycle.kind is CycleKind.plan else people
    homes = each_person(cycle, asked, reporter, lambda who, known: who.fetch(known), SyncWord.fetch_failed)
    if source is not None and cycle.kind is not CycleKind.sync:
        config, facts = await asyncio.gather(_fetch_config(cycle.facts, reporter, source), homes)
        facts = msgspec.structs.replace(config, people=facts.people)
        if checkout is not None and cycle.kind is CycleKind.upgrade:
            facts = await with_checkout(facts, reporter, checkout.fetch, SyncWord.fetch_failed)
    else:
        facts = await homes
    offline = facts.config_offline or any(person.offline for person in facts.people)
    if offline:
        reporter.line("Warning: Could not fetch (no network?)")
    return StepResult(event=Event.done, facts=facts, message="offline" if offline else "fetched")


async def _fetch_config(facts: Facts, reporter: Reporter, source: ConfigSource) -> Facts:
    try:
        head = await reporter.retrying(source.fetch)
    except Transient as error:
        # A remote that is slow to death is as good as no network; what was fetched before stays known.
        if error.cause not in (
            Cause.network,
            Cause.timeout,
        ):  # it is told, and keeps nobody's dotfiles from being fetched
            return msgspec.structs.replace(facts, config_error=error.message, head=await _known(source))
        return msgspec.structs.replace(facts, config_offline=True, head=await _known(source))
    except Failed as error:
        return msgspec.structs.replace(facts, config_error=error.message, head=await _known(source))
    return msgspec.structs.replace(facts, head=head, testing=await source.testing())


async def _known(source: ConfigSource) -> Revision | None:
    """What was fetched before, as far as it can be read: what the fetch said is told, and not what follows from it."""
    try:
        return await source.head()
    except Failed:
        return None
