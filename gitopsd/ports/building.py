"""From a revision to a toplevel that may be switched to."""

from collections.abc import Callable
from typing import Protocol

from gitopsd.types import Built, Check, Review, Revision, StorePath


class Builder(Protocol):
    """Builds an exact revision."""

    async def build(self, revision: Revision, progress: Callable[[str], None]) -> Built:
        """Build the toplevel of this host; it is a GC root from the moment it exists. Repeatable.

        Raises:
            Transient: a download or a cache failed.
            Rejected: evaluation or a derivation failed; the message ends with the end of its log.

        """

    async def release(self, revision: Revision) -> None:
        """Drop the GC root of a build that was deployed or rejected."""

    async def release_others(self, *kept: Revision) -> None:
        """Drop the GC roots of all other builds: of what was interrupted, and then overtaken. And that of `hold`."""

    def hold(self, toplevel: StorePath) -> None:
        """Keep a system that may have to be gone back to from the garbage collector, until the next build. Durable.

        What runs is a root only for as long as it does, and not everything that runs is a generation.

        Raises:
            Transient: it cannot be kept (`lock_held`: nothing may be activated then).

        """


class Inspector(Protocol):
    """Looks at what was built, before anything is switched to it. Changes nothing."""

    async def room(self) -> Check:
        """Whether there is room for a build."""

    async def inspect(self, toplevel: StorePath, progress: Callable[[str], None]) -> Review:
        """Make all checks, up to the first that fails, and compare it with what runs. Repeatable.

        Args:
            toplevel: what was built.
            progress: hears which check is made.

        """
