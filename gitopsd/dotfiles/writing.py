"""What others changed, written to a home: never over something that is nowhere else."""

import stat

from gitopsd.dotfiles import notices as say
from gitopsd.secrets.rules import cleared
from gitopsd.tools.chezmoi import Comparison, Home
from gitopsd.types import Notice


async def write(
    home: Home, seen: Comparison, *, unfit: frozenset[str]
) -> tuple[tuple[str, ...], list[Notice], list[Notice]]:
    """Apply what is safe; returns that, and what is said of edits that are kept and of what else was left alone.

    Sources that are `unfit` are passed over; there are notices about them.
    """
    records, sources = await home.records(), await home.sources()
    safe, folders, kept, left = list[str](), list[str](), list[Notice](), list[Notice]()
    for row in seen.rows:
        source = sources.get(row.target)
        if source in unfit:
            continue
        if row.last == " " and (row.next in "AR" or row.target in records):
            stays = source is not None and row.next != "D"  # what is to go has the source of whatever says so
            if stays and home.would_open(row.target, source or ""):
                kept.append(say.closed(row.target))
            elif stat.S_ISDIR(home.kind(row.target)) and not (stays and home.is_folder(source or "")):
                folders.append(row.target)
            else:
                safe.append(row.target)
        elif row.last == " ":
            kept.append(say.differs(home, row, source))
        elif row.last == "D":
            left.append(say.left_deleted(row.target))
        elif row.next != " ":
            kept.append(say.not_captured(row.target))
    constant = await home.constant_scripts() if safe or folders else ()
    changed = [row.target for row in seen.rows if row.next == "R"]
    await home.let_run([script for script in (*changed, *constant) if script in records])
    fine = not safe or await home.apply([*safe, *constant])
    for folder in folders:  # chezmoi removes it with all that is in it: look at the last moment
        if stranger := await home.strangers(folder, records):
            kept.append(say.not_ours(folder, stranger))
        else:
            safe.append(folder)
            fine = await home.apply([folder]) and fine
    applied = safe
    if not fine:
        again = {row.target: row for row in (await home.compare()).rows}
        applied = [target for target in safe if target not in again]
        failed = [target for target in safe if target in again]
        kept += [say.not_written(target) for target in failed if again[target].next != "R"]
        scripts = (*(target for target in failed if again[target].next == "R"), *(() if failed else constant))
        left += [say.script_failed(scripts)] if scripts else []
    return tuple(say.shown(cleared(target)) for target in applied), kept, left
