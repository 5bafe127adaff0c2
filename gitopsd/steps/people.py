"""What the four dotfiles steps share: the same verb for each person, one never held up by another."""

from collections.abc import Awaitable, Callable, Sequence

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
    for dotfiles in everybody:
        if cycle.users and dotfiles.user not in cycle.users:
            continue
        before = known.get(dotfiles.user, PersonFacts(user=dotfiles.user))
        if before.word is SyncWord.not_initialized:
            continue
        known[dotfiles.user] = await _one(dotfiles, before, reporter, verb, failure)
    return msgspec.structs.replace(cycle.facts, people=tuple(known.values()))


async def _one(
    dotfiles: Dotfiles, before: PersonFacts, reporter: Reporter, verb: Verb, failure: SyncWord
) -> PersonFacts:
    try:
        return await reporter.retrying(lambda: verb(dotfiles, before))
    except Transient as error:
        if error.cause is Cause.network:
            return msgspec.structs.replace(before, offline=True, word=SyncWord.fetch_failed)
        return _noted(before, failure, error)
    except GitopsdError as error:
        return _noted(before, failure, error)


def _noted(before: PersonFacts, failure: SyncWord, error: GitopsdError) -> PersonFacts:
    notice = Notice(what=error.message, advice=error.advice)
    return msgspec.structs.replace(before, word=failure, notices=(*before.notices, notice))
