"""What a person decides about their dotfiles, and what became of it. Pure."""

import enum

from gitopsd.types.dotfiles import Notice
from gitopsd.types.values import Value


class Take(enum.Enum):
    """What a person takes to settle a conflict."""

    ours = "ours"  # the parked version
    theirs = "theirs"  # the trunk's version
    union = "union"  # the lines of both, the trunk's first


class Side(Value, frozen=True, kw_only=True):
    """One version of a file in conflict.

    Args:
        exists: there is such a file in this version.
        size: in bytes.
        text: what it holds; None if it is binary or too long to be shown.

    """

    exists: bool = False
    size: int = 0
    text: str | None = None


class Conflict(Value, frozen=True, kw_only=True):
    """One file that a host has parked beside the trunk.

    Args:
        file: what people call it: the target, relative to the home.
        paths: its names in the repository.
        host: whose version is parked.
        bookmark: where it stands on the remote.
        commit: the commit that holds it.
        trunk: the trunk's commit that it is compared with.
        settled: it conflicts no more; its host takes that in at its next sync.
        base: what both come from.
        theirs: the trunk's version.
        ours: the parked version.
        merged: both, with conflict markers; None if they cannot be merged line by line.

    """

    file: str
    paths: tuple[str, ...]
    host: str
    bookmark: str
    commit: str
    trunk: str
    settled: bool
    base: Side
    theirs: Side
    ours: Side
    merged: str | None = None


class Conflicts(Value, frozen=True, kw_only=True):
    """What is parked on the remote for one person.

    Args:
        user: the person.
        offline: the remote could not be asked; this is how it was last seen.
        conflicts: by file and host.

    """

    user: str
    offline: bool = False
    conflicts: tuple[Conflict, ...] = ()


class Settled(Value, frozen=True, kw_only=True):
    """What settled a conflict.

    Args:
        conflict: as it was.
        took: which side, or `content` if the person wrote it.
        commit: the trunk's commit that settles it.
        cycle: the sync that brings it to the home here; 0 if none was asked for.

    """

    conflict: Conflict
    took: str
    commit: str
    cycle: int = 0


class Adopted(Value, frozen=True, kw_only=True):
    """What became of one file that differed between home and repository.

    Args:
        file: the target, relative to the home.
        took: `mine` (the repository has the home's version now), `theirs` (the home has the repository's), `deletion`
            (the repository has dropped it, as the home had), or `same` (there was no difference).
        backup: where the home's version is now; empty if it was not replaced.

    """

    file: str
    took: str
    backup: str = ""


class Adoption(Value, frozen=True, kw_only=True):
    """What became of the files.

    Args:
        adopted: one for each file.
        cycle: the sync that publishes it; 0 if none was asked for.

    """

    adopted: tuple[Adopted, ...]
    cycle: int = 0


class Beginning(Value, frozen=True, kw_only=True):
    """How the first contact of a host with a person's repository went.

    Args:
        source: the source directory.
        made: it was put on the trunk just now; else there was something already.
        notices: what needs a decision, before the first sync or after.
        cycle: the sync that writes what is new to the home; 0 if none was asked for.

    """

    source: str
    made: bool
    notices: tuple[Notice, ...] = ()
    cycle: int = 0
