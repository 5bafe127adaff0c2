"""Files that were deleted in a home, with `deletions = "capture"`: which of them go out of the repository.

A deletion is an edit like any other, and yet the one that a machine makes by accident: a home that is not mounted, a
disk that was replaced. So it is captured only where nothing else can be meant, and reported everywhere else.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import msgspec

from gitopsd.dotfiles import notices as say
from gitopsd.repo.engine import Engine
from gitopsd.tools.chezmoi import Home
from gitopsd.tools.chezmoi_names import is_encrypted, is_exact, is_plain_file
from gitopsd.tools.jj import WorkingCopy
from gitopsd.types import Notice

_MANY = 10  # files; from here on a home is lost when more than half of them are gone

# The commit whose version of a source was deleted, from the source and chezmoi's record; None if that is not known.
Origin = Callable[[Engine, WorkingCopy, str, str], Awaitable[str | None]]


class Deletions(msgspec.Struct, frozen=True, kw_only=True):
    """What to do about the deleted targets.

    Args:
        taken: to be taken out of the repository, files before the directories that held them.
        forks: the commits whose version of a source was deleted, where that is not the working copy's.
        notices: what is left alone, and why.

    """

    taken: tuple[str, ...] = ()
    forks: dict[str, str] = {}
    notices: tuple[Notice, ...] = ()


async def choose(engine: Engine, home: Home, here: WorkingCopy, gone: Sequence[str], origin: Origin) -> Deletions:
    """Choose the deletions that are captured.

    Args:
        engine: has the versions.
        home: the person's.
        here: the working copy.
        gone: the targets that are missing in the home.
        origin: finds the version that was deleted.

    """
    sources, records = await home.sources(), await home.records()
    files = {target for target in sources if records.get(target)}
    missing = files & set(gone)
    if looks_lost(len(missing), len(files)):
        return Deletions(notices=(say.home_lost(len(missing), len(files)),))
    # Another host may have taken a file out, this home's copy was deleted since it was nobody's any more, and then it
    # was added again: chezmoi's record is the old one and the file is missing, as after a deletion.
    twice = await engine.trees.deleted_once({sources[target] for target in missing}, here.commit)
    taken, forks, notices = list[str](), dict[str, str](), list[Notice]()
    for target in sorted(missing):
        source = sources[target]
        if why := _not_plain(source):
            notices.append(say.left_deleted(target, why))
        elif source in twice:
            notices.append(say.left_deleted(target, "it was taken out of the repository once and added again"))
        elif (commit := await origin(engine, here, source, records[target])) is None:
            notices.append(say.left_deleted(target, "its source was edited meanwhile"))
        else:
            taken.append(target)
            if commit != here.commit:
                forks[source] = commit
    folders = _emptied(gone, sources, records, set(taken))
    return Deletions(taken=(*taken, *folders), forks=forks, notices=tuple(notices))


def looks_lost(missing: int, known: int) -> bool:
    """Whether so many of the files that were once written to a home are missing that nobody deleted them.

    Args:
        missing: how many are missing.
        known: how many there are.

    """
    return missing > 0 and (missing == known or (known >= _MANY and missing * 2 > known))


def _not_plain(source: str) -> str:
    if not is_plain_file(source):
        return "it is no plain file to chezmoi"
    if is_encrypted(source):
        return "it is encrypted: it cannot be told which version was deleted"
    if is_exact(source):
        return "it is in an exact_ directory"
    return ""


def _emptied(
    gone: Collection[str], sources: Mapping[str, str], records: Mapping[str, str], taken: Collection[str]
) -> list[str]:
    """The directories that are gone with everything in them, deepest first: else chezmoi would make them again."""
    going = set(taken)
    found = []
    for folder in sorted((target for target in gone if not records.get(target)), key=len, reverse=True):
        inside = {target for target in sources if target.startswith(f"{folder}/")}
        if folder in sources and inside and inside <= going and not is_exact(f"{sources[folder]}/"):
            going.add(folder)
            found.append(folder)
    return found
