"""One person's dotfiles, what keeps secrets out of them, and what the person decides about them."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from gitopsd.types import Adopted, Beginning, Candidate, Conflicts, Finding, PersonFacts, Settled, Take


class Dotfiles(Protocol):
    """One person's dotfiles on this host: repository and home. Every command runs as that person.

    Each method takes what this cycle knows about the person and returns it extended. None raises for a conflict.
    """

    @property
    def user(self) -> str:
        """The person's login name."""

    async def fetch(self, facts: PersonFacts) -> PersonFacts:
        """Learn what the remote has. Moves nothing: no working copy, no home. Repeatable."""

    async def capture(self, facts: PersonFacts) -> PersonFacts:
        """Commit what was edited in the home, on top of the revision that it was last applied from. Repeatable."""

    async def publish(self, facts: PersonFacts, message: str) -> PersonFacts:
        """Merge with the trunk what merges, publish everything, prove it by reading the remote back. Repeatable."""

    async def apply(self, facts: PersonFacts) -> PersonFacts:
        """Write what others changed to the home; never over an edit that is not in a commit. Repeatable."""


class Gate(Protocol):
    """What keeps secrets out of one repository: it stands before everything that is committed or published."""

    async def check(self, candidates: Sequence[Candidate]) -> Mapping[str, tuple[Finding, ...]]:
        """Look for secrets in files; returns what was found by path, and nothing for a file that may pass.

        What its published version has already, and what the person allowed, is not reported. Without a scanner, or
        if it fails, every new file is reported, with the rule `no-scanner`.

        Raises:
            Transient: it ran over its time.

        """


class Choices(Protocol):
    """What one person decides about their dotfiles on this host, outside of any cycle.

    Every command runs as that person. None runs while a step of the cycle works on the same repository or home.
    """

    @property
    def user(self) -> str:
        """The person's login name."""

    async def conflicts(self) -> Conflicts:
        """What all hosts have parked beside the trunk; as last seen if the remote cannot be reached.

        Raises:
            Failed: there is no repository yet.

        """

    async def resolve(self, file: str, choice: Take | str, *, host: str = "", seen: str = "") -> Settled:
        """Settle one parked file for all hosts: published and proven on return. Moves no working copy and no home.

        Args:
            file: the target relative to the home, or a name in the repository.
            choice: what to take, or the text that the file is to hold.
            host: whose version is parked; empty is this host's, or else the only one there is.
            seen: the parked commit that the person looked at; another one is refused. Empty takes any.

        Raises:
            Failed: there is no such conflict, or more than one; nothing was changed.
            Transient: the remote cannot be reached; nothing was changed.

        """

    async def initialize(self) -> Beginning:
        """Set up the repository on this host; a sync then writes to the home what is new there. Repeatable.

        Nothing in the home is overwritten; files that were there and differ are named in the notices.

        Raises:
            Failed: something else is in the place of the repository.
            Transient: the remote cannot be reached.

        """

    async def adopt(self, files: Sequence[str], *, mine: bool) -> tuple[Adopted, ...]:
        """Settle files that differ between home and repository.

        Args:
            files: relative to the home.
            mine: the repository takes the home's version (a sync publishes it); else the home's version is moved to a
                backup and the repository's is written. A file that is not in the repository is added to it.

        Raises:
            Failed: a file cannot be taken so; nothing was changed.

        """
