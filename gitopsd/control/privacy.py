"""What is left out for whom: what concerns a person's home is for that person and the admins. Pure.

Paths, notices and parked changes name files in a home. So may every free text that was written while the homes were
worked on; values do not say whose home such a text is about, so others are not shown any of it, unless there is
nobody else on this host whose home it could be about.
"""

import msgspec

from gitopsd.control.access import Peer
from gitopsd.machine import State
from gitopsd.types import (
    Attempt,
    Cycle,
    CycleDetail,
    CycleKind,
    CycleSummary,
    Facts,
    PersonFacts,
    Snapshot,
    StepRecord,
    Update,
)

# The states that work on homes.
_HOMES = frozenset({State.fetch, State.capture, State.push, State.pull})


class View:
    """What one peer gets to see.

    Args:
        peer: who looks.
        snapshot: the daemon's present one; tells whose homes there are.

    """

    def __init__(self, peer: Peer, snapshot: Snapshot) -> None:
        self._peer = peer
        self._cycle = snapshot.cycle
        owners = (snapshot.checkout.user,) if snapshot.checkout is not None else ()
        users = (*(person.user for person in snapshot.people), *filter(None, owners))
        self._everything = peer.admin or self._only_peer(users)

    def snapshot(self, value: Snapshot) -> Snapshot:
        """All that status shows."""
        if self._everything:
            return value
        texts = self._reads_texts_of(value.cycle)
        working_on_homes = value.state in _HOMES
        return msgspec.structs.replace(
            value,
            activity=value.activity if texts or not working_on_homes else "",
            attempt=_without_message(value.attempt) if working_on_homes and not texts else value.attempt,
            cycle=None
            if value.cycle is None
            else msgspec.structs.replace(value.cycle, facts=self._facts(value.cycle.facts)),
            people=self._people(value.people),
            checkout=self._checkout(value.checkout),
            last_sync=None if value.last_sync is None else self.summary(value.last_sync),
            last_upgrade=None if value.last_upgrade is None else self.summary(value.last_upgrade),
        )

    def summary(self, value: CycleSummary) -> CycleSummary:
        """One line of the history."""
        if self._everything or value.kind is not CycleKind.sync:
            return value
        return msgspec.structs.replace(value, message="")

    def detail(self, value: CycleDetail) -> CycleDetail:
        """A finished cycle."""
        if self._everything:
            return value
        return CycleDetail(
            summary=self.summary(value.summary),
            steps=tuple(_without_text(step) for step in value.steps),
            facts=self._facts(value.facts),
        )

    def update(self, value: Update) -> Update:
        """One thing that happened in a cycle."""
        if self._everything or value.state not in _HOMES:
            return value
        if self._cycle is not None and self._cycle.id == value.cycle and self._reads_texts_of(self._cycle):
            return value
        return msgspec.structs.replace(value, line="")

    def _only_peer(self, users: tuple[str, ...]) -> bool:
        return bool(self._peer.user) and bool(users) and set(users) == {self._peer.user}

    def _reads_texts_of(self, cycle: Cycle | None) -> bool:
        return cycle is not None and self._only_peer(cycle.users)

    def _facts(self, facts: Facts) -> Facts:
        checkout = self._checkout(facts.checkout)
        return msgspec.structs.replace(facts, people=self._people(facts.people), checkout=checkout)

    def _checkout(self, checkout: PersonFacts | None) -> PersonFacts | None:
        return None if checkout is None else self._people((checkout,))[0]

    def _people(self, people: tuple[PersonFacts, ...]) -> tuple[PersonFacts, ...]:
        return tuple(person if person.user == self._peer.user else _in_public(person) for person in people)


def _in_public(person: PersonFacts) -> PersonFacts:
    """How their sync went, and nothing of what is in their home or repository."""
    return PersonFacts(
        user=person.user, word=person.word, offline=person.offline, published=person.published, sent=person.sent
    )


def _without_message(attempt: Attempt | None) -> Attempt | None:
    return None if attempt is None else msgspec.structs.replace(attempt, message="")


def _without_text(step: StepRecord) -> StepRecord:
    return msgspec.structs.replace(step, message="") if step.state in _HOMES else step
