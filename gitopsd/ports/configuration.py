"""The repository of the configuration: its mirror, its signatures, and the checkout of a person."""

from typing import Protocol

from gitopsd.types import PersonFacts, Revision


class Checkout(Protocol):
    """A person's checkout of the configuration. Every command runs as its owner; nothing in it is ever lost.

    What is deployed does not come from here. A method takes what this cycle knows and returns it extended; `trunk` is
    the head of the branch that is followed.
    """

    async def apply(self, facts: PersonFacts) -> PersonFacts:
        """Bring the checkout to the trunk if that loses nothing. Repeatable."""


class PublishedCheckout(Checkout, Protocol):
    """A checkout whose edits are published. None of its methods raises for a conflict: it is parked."""

    async def fetch(self, facts: PersonFacts) -> PersonFacts:
        """Learn what the remote has. Moves nothing. Repeatable."""

    async def capture(self, facts: PersonFacts) -> PersonFacts:
        """Take what was edited into a commit. Repeatable."""

    async def publish(self, facts: PersonFacts, message: str) -> PersonFacts:
        """Merge with the trunk what merges, publish everything, prove it by reading the remote back. Repeatable."""


class ConfigSource(Protocol):
    """The daemon's own bare mirror of the configuration repository."""

    async def fetch(self) -> Revision:
        """Bring the mirror up to date; returns the branch's head. Transfers nothing if nothing is new.

        Raises:
            Transient: the remote cannot be reached.
            Absent: the remote answers, and has no such branch.
            Failed: the remote cannot be read.

        """

    async def reach(self) -> None:
        """Ask the remote for the branch, and bring nothing.

        Raises:
            Transient: the remote cannot be reached.
            Absent: the remote answers, and has no such branch.
            Failed: the remote cannot be read.

        """

    async def sound(self) -> bool:
        """Whether all that the mirror should have can be read. If not, the next `fetch` makes it anew."""

    async def head(self) -> Revision | None:
        """The branch's head as last fetched; None before the first fetch."""

    async def testing(self) -> Revision | None:
        """The head of this host's testing branch as last fetched; None if there is none."""

    async def descends(self, revision: Revision, ancestor: Revision) -> bool:
        """Whether `ancestor` is `revision` or one of its ancestors.

        Raises:
            Failed: the mirror is damaged and cannot tell.

        """

    async def subject(self, revision: Revision) -> str:
        """The first line of its commit message, control characters removed."""

    async def mark_deployed(self, revision: Revision) -> None:
        """Remember beside the mirror what was deployed last, so that a lost state file does not lose it. Repeatable."""

    async def marked_deployed(self) -> Revision | None:
        """What `mark_deployed` was told last."""


class Signatures(Protocol):
    """Whose commits may be deployed."""

    async def check(self, revision: Revision, since: Revision | None) -> None:
        """Check that each commit of `revision` which `since` does not have is signed by somebody who is allowed to.

        Nothing of the revision is evaluated for that. Without `since`, or if the mirror has lost it, `revision` itself
        is checked: its signature covers its whole history, though nobody signed the single steps.

        Raises:
            Rejected: one is not; the message names it.
            Failed: it cannot be found out.

        """
