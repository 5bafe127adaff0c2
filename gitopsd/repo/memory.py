"""What the engine remembers about one repository between two syncs.

It is the message of a commit that the ref `refs/gitopsd/memory` points to: it moves in the same transaction as the
refs that it speaks of, jj does not see it, and a clone does not have it. Everything in it can be lost without losing
an edit: then the parked changes are read from the remote's bookmark, and the fork from the histories.
"""

import os
import urllib.parse
from collections.abc import Mapping

import msgspec

from gitopsd.errors import Failed

REF = "refs/gitopsd/memory"


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """The last plan: what was merged, and where the working copy belongs.

    Args:
        head: the commit that the working copy belongs on; empty before the first sync.
        trunk: the trunk that it was made with.
        parked: the commit on this host's bookmark on the remote, if anything is parked.
        held: the commit that belongs on that bookmark, if it is not to be published.
        ours: the tree of the working copy that went into it.
        captured: the working copy's commit that went into it.
        stood: the commit whose files stood in the place of what the gate stopped, when it was captured.
        pushed: it was published.
        synthetic: `head` is the trunk with our parked versions put over it; it must never become part of the trunk.
        forks: for paths whose edit does not come from where the working copy forked off: the commit whose version it
            does come from. Paths are percent-encoded, since they need not be text.
        conflicts: the parked paths, percent-encoded.
        marked: those of them that have conflict markers in them, percent-encoded.
        next: what is to be remembered once the push that is under way has arrived: if we die before we can write it
            down, the remote tells whether it has.
        stayed: for paths whose edit stays in the home: the commit whose version it was made on, percent-encoded likewise.
        id: a random name of this repository, that the commits on this host's bookmark bear (`engine.OWNER`).

    """

    head: str = ""
    trunk: str = ""
    parked: str = ""
    held: str = ""
    ours: str = ""
    captured: str = ""
    stood: str = ""
    pushed: bool = False
    synthetic: bool = False
    forks: dict[str, str] = {}
    conflicts: tuple[str, ...] = ()
    marked: tuple[str, ...] = ()
    next: "Memory | None" = None
    stayed: dict[str, str] = {}
    id: str = ""

    def fork_commits(self) -> dict[str, str]:
        """`forks` by path."""
        return {decode_path(path): commit for path, commit in self.forks.items()}

    def conflict_paths(self) -> frozenset[str]:
        """`conflicts` as paths."""
        return frozenset(map(decode_path, self.conflicts))

    def marked_paths(self) -> frozenset[str]:
        """`marked` as paths."""
        return frozenset(map(decode_path, self.marked))

    def encode(self) -> str:
        """As the message of a commit."""
        return msgspec.json.encode(self).decode()


def decode(message: str) -> Memory:
    """Read the message of the commit.

    Raises:
        Failed: it is not ours.

    """
    try:
        return msgspec.json.decode(message.strip(), type=Memory)
    except msgspec.DecodeError as error:
        raise Failed(
            f"{REF} holds something else: {error}",
            meaning="the dotfiles are left as they are",
            advice=f"git update-ref -d {REF}",
        ) from error


def encode_paths(forks: Mapping[str, str]) -> dict[str, str]:
    """Forks by path, as they are remembered."""
    return {encode_path(path): commit for path, commit in forks.items()}


def encode_path(path: str) -> str:
    """A path as text that JSON can hold."""
    return urllib.parse.quote_from_bytes(os.fsencode(path))


def decode_path(text: str) -> str:
    """The path that `encode_path` was given."""
    return os.fsdecode(urllib.parse.unquote_to_bytes(text))
