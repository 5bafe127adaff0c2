"""What the configuration's remote says while a system is proved: that it is there, and whether it has anything newer."""

from gitopsd.errors import Absent, Failed, GitopsdError, Transient
from gitopsd.policy import short
from gitopsd.ports import Reporter
from gitopsd.steps.instruments import Instruments
from gitopsd.types import Revision

_ASK = 10.0  # seconds between two questions to the remote whether there is a newer revision
_LOOK = 1.0  # seconds between two attempts


class Newer:
    """Whether a newer revision has arrived: then there is no point in waiting for a system that is not good yet.

    The remote is asked only while somebody waits for another upgrade: a push alone asks for nothing.

    Args:
        through: what to look through.
        reporter: knows whether somebody waits.
        revision: what is being proved; None if that is no revision of the branch.

    """

    def __init__(self, through: Instruments, reporter: Reporter, revision: Revision | None) -> None:
        self.found: Revision | None = None
        self._through = through
        self._reporter = reporter
        self._revision = revision
        self._asked = -_ASK

    async def arrived(self) -> str:
        """A sentence if it has; empty if not, or if the remote cannot tell."""
        now = self._through.clock.monotonic()
        if self._revision is None or not self._reporter.awaited() or now - self._asked < _ASK:
            return ""
        self._asked = now
        try:
            head = await self._through.source.fetch()
            if head == self._revision or not await self._through.source.descends(head, self._revision):
                return ""
        except GitopsdError:
            return ""
        self.found = head
        return f"given up for {short(head)}, which is newer"


async def cut_off(through: Instruments, reporter: Reporter, limit: float) -> str:
    """Whether the configuration's remote, which could be reached before, cannot be reached any more.

    Args:
        through: what to look through.
        reporter: hears the progress.
        limit: seconds that the network may take to come back.

    Returns:
        What is wrong, one sentence; empty if the remote answers.

    """
    started = through.clock.monotonic()
    while True:
        try:
            await through.source.fetch()
        except Absent:
            return ""  # what it has or has not is no matter of the system's
        except (Transient, Failed) as error:
            if through.clock.monotonic() - started > limit:
                return f"the configuration's remote cannot be reached any more ({error.message})"
            reporter.progress("waiting for the configuration's remote")
            await through.clock.sleep(_LOOK)
        else:
            return ""


async def led_away(through: Instruments, reporter: Reporter, limit: float) -> str:
    """Whether the new system has our configuration name no remote, or one that cannot be read: nothing could be fetched.

    It is asked once the remote of before has answered through the new system: then it is not the network.

    Args:
        through: what to look through.
        reporter: hears the progress.
        limit: seconds that it may take.

    Returns:
        What is wrong, one sentence; empty if it answers, or is the one of before.

    """
    started = through.clock.monotonic()
    while True:
        try:
            await through.ahead()
        except (Transient, Failed) as error:
            if isinstance(error, Failed) or through.clock.monotonic() - started > limit:
                return f"with the new system's config.toml this host would never fetch again: {error.message}"
            reporter.progress("waiting for the remote that config.toml names now")
            await through.clock.sleep(_LOOK)
        else:
            return ""
