"""Turns at one person's repository and home: the steps of the cycle, and what the person decides in between."""

import asyncio

import msgspec

from gitopsd.ports import Dotfiles
from gitopsd.types import Notice, PersonFacts


class Turn(asyncio.Lock):
    """Held by whoever works on the repository or the home.

    `notes` is what was decided since the last sync, for that to tell once more.
    """

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[Notice] = []


class InTurn:
    """`ports.Dotfiles` whose verbs wait for their turn.

    Each verb leaves repository and home so that a choice may come next: what a choice commits, the following verb or
    the next sync takes in. So the turn is given back between verbs, and a person does not wait for a network or a
    build.

    Args:
        dotfiles: does the work.
        turn: shared by all that touches this person's repository and home.

    """

    def __init__(self, dotfiles: Dotfiles, turn: Turn) -> None:
        self._dotfiles = dotfiles
        self._turn = turn

    @property
    def user(self) -> str:
        """See `ports.Dotfiles`."""
        return self._dotfiles.user

    async def fetch(self, facts: PersonFacts) -> PersonFacts:
        """See `ports.Dotfiles`."""
        async with self._turn:
            return await self._dotfiles.fetch(facts)

    async def capture(self, facts: PersonFacts) -> PersonFacts:
        """See `ports.Dotfiles`."""
        async with self._turn:
            told = await self._dotfiles.capture(facts)
            noted = msgspec.structs.replace(told, notices=(*told.notices, *self._turn.notes))
            self._turn.notes.clear()
            return noted

    async def publish(self, facts: PersonFacts, message: str) -> PersonFacts:
        """See `ports.Dotfiles`."""
        async with self._turn:
            return await self._dotfiles.publish(facts, message)

    async def apply(self, facts: PersonFacts) -> PersonFacts:
        """See `ports.Dotfiles`."""
        async with self._turn:
            return await self._dotfiles.apply(facts)
