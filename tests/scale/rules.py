"""What the protocol says, and what the model assumes of networks and machines."""

import dataclasses

from gitopsd.config import RetryConfig
from gitopsd.tools.git import NETWORK

RETRY = RetryConfig().push


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The protocol of one sync. The defaults are what the units, the configuration and the engine do.

    Attributes:
        interval: seconds between two syncs of a host, as in `gitopsd-sync.timer`.
        delay: up to so many seconds later, at random each time.
        fixed: each host draws its delay once (`FixedRandomDelay`).
        attempts: of a push, in one sync.
        first: the upper bound of the first wait between two of them; it doubles.
        longest: the upper bound of any wait.
        late: after a rejected push the trunk is fetched after the wait, not before it.
        heads_only: a question is answered with branches only; else with tags, pull requests and all other refs, too.
        hand_over: after so many rejected pushes a host leaves its edits on its own bookmark, for others to take along;
            0 is never. Nothing in the engine does that: it is a proposal.
        carry: how many of those another host takes along with a push of its own.
    """

    interval: float = 900.0
    delay: float = 300.0
    fixed: bool = False
    attempts: int = RETRY.attempts
    first: float = RETRY.first
    longest: float = RETRY.longest
    late: bool = True
    heads_only: bool = True
    hand_over: int = 0
    carry: int = 50


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a sync takes, in seconds, and what the remote can do.

    Attributes:
        way: from a host to the remote, with everything until the remote begins to work (ssh's handshake), and back.
        capture: `chezmoi status`, `re-add` and the secrets gate.
        merge: from the fetched trunk to a commit that can be pushed.
        merge_one: more, for each handed-over bookmark that is taken along.
        workers: how many connections the remote works on at once; 0 is any number of them.
        question, fetch, push: how long it works on one of each.
        other_refs: tags, pull requests and the like, beside the branches.
    """

    way: float = 0.1
    capture: float = 0.5
    merge: float = 0.3
    merge_one: float = 0.03
    workers: int = 4
    question: float = 0.015
    fetch: float = 0.025
    push: float = 0.040
    other_refs: int = 0

    @property
    def works(self) -> dict[str, float]:
        """How long the remote works, by what it is asked for."""
        return {"question": self.question, "fetch": self.fetch, "push": self.push}


PATIENCE = NETWORK  # seconds after which git is ended: the model knows no answer that comes later
REF_BYTES = 46  # of an advertised ref beside its name: length, object name, blank, line feed (gitprotocol-v2(5))
GREETING = 200  # about; bytes of an answer beside the refs
COMMIT_BYTES = 700  # about: a commit, its trees and one small file, packed
