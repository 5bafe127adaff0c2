"""One person's dotfiles, as a cycle leaves them. Pure."""

import enum
from typing import Self

from msgspec.structs import replace

from gitopsd.types.secrets import Finding
from gitopsd.types.values import Value


class SyncWord(enum.Enum):
    """How one person's sync ended."""

    success = "success"
    success_local_only = "success-local-only"  # something is on this host only: publishing is off, or an edit is kept
    fetch_failed = "fetch-failed"  # offline: captured locally, published by the next sync with a network
    push_failed = "push-failed"
    conflicts_preserved = "conflicts-preserved"  # something is parked; everything else went on
    not_initialized = "not-initialized"
    failed = "failed"  # something else; the notices say what


class Notice(Value, frozen=True, kw_only=True):
    """Something a person should know; nothing stopped because of it.

    Args:
        what: one sentence.
        path: the file it is about, relative to the home; empty if none.
        advice: the next command to type; empty if none.

    """

    what: str
    path: str = ""
    advice: str = ""


class Parked(Value, frozen=True, kw_only=True):
    """A change that conflicts with the trunk and is published beside it.

    Args:
        path: the file in the repository.
        bookmark: where it stands on the remote, `gitopsd/<host>`.
        commit: the git commit that holds it.
        file: what people call it: the target, relative to the home.

    """

    path: str
    bookmark: str
    commit: str
    file: str = ""


class PersonFacts(Value, frozen=True, kw_only=True):
    """What one cycle learned and did about one person's dotfiles.

    Args:
        user: the person's login name.
        word: the outcome so far.
        offline: the remote could not be reached.
        trunk: the trunk's commit on the remote as last seen; empty if unknown.
        captured: paths in the repository that were committed in this cycle.
        published: the remote was read back and holds every captured byte.
        sent: something was pushed for that in this cycle.
        applied: targets in the home that were written in this cycle.
        parked: what stands beside the trunk.
        notices: what the person should know.
        elsewhere: what other hosts have parked beside the trunk.
        quarantined: what looks like a secret: it stays where it is and is in no commit that is published.

    """

    user: str
    word: SyncWord = SyncWord.success
    offline: bool = False
    trunk: str = ""
    captured: tuple[str, ...] = ()
    published: bool = False
    sent: bool = False
    applied: tuple[str, ...] = ()
    parked: tuple[Parked, ...] = ()
    notices: tuple[Notice, ...] = ()
    elsewhere: tuple[Parked, ...] = ()
    quarantined: tuple[Finding, ...] = ()

    def noted(self, *notices: Notice) -> Self:
        """The same, with these notices too, each once."""
        return replace(self, notices=tuple(dict.fromkeys((*self.notices, *notices))))
