"""What the four dotfiles steps share: the same verb for each person, one never held up by another."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import msgspec

from gitopsd.errors import Cause, GitopsdError, Transient
from gitopsd.ports import Dotfiles, Reporter
from gitopsd.types import Cycle, Facts, Notice, PersonFacts, SyncWord

Verb = Callable[[Dotfiles, PersonFacts], Awaitable[PersonFacts]]


async def each_person(
    cycle: Cycle, everybody: Sequence[Dotfiles], reporter: Reporter, verb: Verb, failure: SyncWord
) -> Facts:
    """Do one verb for each person of the cycle.

    Args:
        cycle: its `users` select the people; its facts are extended.
        everybody: all people of this host.
        reporter: retries what is transient.
        verb: what to do.
        failure: the word of a person for whom it failed for good.

    Returns:
        The cycle's facts with the people's facts replaced.

    """
    known = {person.user: person for person in cycle.facts.people}
    chosen = [dotfiles for dotfiles in everybody if not cycle.users or dotfiles.user in cycle.users]
    first = failure is SyncWord.fetch_failed

    async def one(dotfiles: Dotfiles) -> None:
        before = known.get(dotfiles.user) or _unheard_of(dotfiles.user, first=first)
        if before.word is not SyncWord.not_initialized:
            known[dotfiles.user] = await _one(partial(verb, dotfiles, before), before, reporter, failure)

    if first:  # remotes are asked at once: one that hangs holds up nobody else
        known |= {dotfiles.user: known.get(dotfiles.user, PersonFacts(user=dotfiles.user)) for dotfiles in chosen}
        async with asyncio.TaskGroup() as asking:
            for dotfiles in chosen:
                asking.create_task(one(dotfiles))
    else:
        for dotfiles in chosen:
            await one(dotfiles)
    return msgspec.structs.replace(cycle.facts, people=tuple(known.values()))


def _unheard_of(user: str, *, first: bool) -> PersonFacts:
    """Who is not in the facts after fetch had a remote that hung until the step was ended: as good as no network."""
    if first:
        return PersonFacts(user=user)
    return PersonFacts(user=user, offline=True, word=SyncWord.fetch_failed)


async def with_checkout(
    facts: Facts,
    reporter: Reporter,
    verb: Callable[[PersonFacts], Awaitable[PersonFacts]],
    failure: SyncWord,
) -> Facts:
    """Do one verb for the person's checkout of the configuration; see `each_person`."""
    before = facts.checkout if facts.checkout is not None else PersonFacts(user="")
    before = msgspec.structs.replace(before, trunk=facts.head or "")
    return msgspec.structs.replace(facts, checkout=await _one(partial(verb, before), before, reporter, failure))


async def _one(
    verb: Callable[[], Awaitable[PersonFacts]], before: PersonFacts, reporter: Reporter, failure: SyncWord
) -> PersonFacts:
    try:
        return await reporter.retrying(verb)
    except Transient as error:
        if error.cause is Cause.network:
            return msgspec.structs.replace(before, offline=True, word=SyncWord.fetch_failed)
        return _noted(before, failure, error)
    except GitopsdError as error:
        return _noted(before, failure, error)


def _noted(before: PersonFacts, failure: SyncWord, error: GitopsdError) -> PersonFacts:
    notice = Notice(what=error.message, advice=error.advice)
    return msgspec.structs.replace(before, word=failure, notices=(*before.notices, notice))
