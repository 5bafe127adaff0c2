"""Which edits of a home are captured, and what is said of the others."""

import hashlib
from collections.abc import Mapping

import msgspec

from gitopsd.config import DotfilesConfig
from gitopsd.dotfiles import deletions
from gitopsd.dotfiles import notices as say
from gitopsd.dotfiles.parts import Parts
from gitopsd.repo.engine import Engine
from gitopsd.repo.trees import Entry
from gitopsd.tools.chezmoi import Home, Row
from gitopsd.tools.chezmoi_names import is_encrypted, is_plain_file, same_target
from gitopsd.tools.jj import NEW_FILE_LIMIT, WorkingCopy
from gitopsd.types import Candidate, Finding, Notice


class Edits:
    """Takes the edits of one home into the working copy of the repository.

    Args:
        parts: of the person's dotfiles.
        config: the person's section of the configuration.

    """

    def __init__(self, parts: Parts, config: DotfilesConfig) -> None:
        self._parts = parts
        self._config = config

    async def take(
        self, home: Home, here: WorkingCopy, edited: list[Row], trunk: str
    ) -> tuple[WorkingCopy, list[Notice], tuple[Finding, ...]]:
        """Capture what can be.

        Args:
            home: the person's.
            here: the working copy.
            edited: the targets whose content or mode differs from what was last written to them.
            trunk: the commit that was fetched; empty if it is not known.

        Returns:
            The working copy afterwards, why edits stay in the home only, and what the gate found in them.

        """
        if not self._config.auto_commit:
            return here, [say.kept(row.target, "auto_commit is off") for row in edited], ()
        taken, kept, origins = await self._sort(home, here, edited)
        taken, stopped = await self._stop(home, here, taken, trunk)
        if taken:
            taken, late = await self._unchanged(home, here, taken)
            kept += late
        engine, chosen = self._parts.engine, set(taken)
        await engine.stay({source: at for target, (source, at) in origins.items() if target not in chosen})
        if forks := {s: at for target, (s, at) in origins.items() if target in chosen and at != here.commit}:
            await engine.derive(forks)
        if taken:
            failed = await home.re_add(taken)
            here = await self._parts.snapshot()
            again = await home.compare(taken)
            kept += [say.cannot_capture(target, reason) for target, reason in failed.items()]
            kept += [
                say.not_captured(row.target) for row in again.rows if row.last in "MA" and row.target not in failed
            ]
        return here, kept, stopped

    async def delete(self, home: Home, here: WorkingCopy, gone: list[str]) -> tuple[Notice, ...]:
        """Take the sources of deleted targets away, as far as they are to be captured; say what is left alone."""
        if self._config.deletions == "report" or not self._config.auto_commit:
            return tuple(map(say.left_deleted, gone))
        chosen = await deletions.choose(self._parts.engine, home, here, gone, _origin)
        if chosen.forks:
            await self._parts.engine.derive(chosen.forks)
        if chosen.taken:
            await home.forget(chosen.taken)
        return chosen.notices

    async def _sort(
        self, home: Home, here: WorkingCopy, edited: list[Row]
    ) -> tuple[list[str], list[Notice], dict[str, tuple[str, str]]]:
        """Choose the edited targets that can be captured; say why for each of the others.

        Returns:
            Those, the notices, and of the targets whose content can be compared: the source, and the commit whose version of
            it the edit was made on.

        """
        engine, sources, records = self._parts.engine, await home.sources(), await home.records()
        untouched = await engine.untouched(here)
        taken, notices, origins = [], list[Notice](), dict[str, tuple[str, str]]()
        for row in edited:
            source = sources.get(row.target)
            if source is None or row.next == "D":
                notices.append(say.taken_out(row.target))
            elif not is_plain_file(source):
                notices.append(say.drift(row.target, source))
            elif (other := say.other_kind(home, row.target, source)) is not None:
                notices.append(other)
            elif home.size(row.target) > NEW_FILE_LIMIT:
                notices.append(say.too_big_here(row.target))
            elif self._parts.held.holds(source):
                notices.append(say.both_edited(row.target))
            elif source in here.in_conflict:  # to capture it would be to settle the conflict
                notices.append(say.in_conflict(row.target))
            elif is_encrypted(source):
                # Its content cannot be compared; the source is what was applied if nothing has touched it since.
                if untouched:
                    taken.append(row.target)
                else:
                    notices.append(say.both_edited(row.target))
            else:
                origin = await _origin(engine, here, source, records.get(row.target, ""))
                if origin is None:
                    notices.append(say.both_edited(row.target))
                    continue
                taken.append(row.target)
                origins[row.target] = source, origin
        return taken, notices, origins

    async def _stop(
        self, home: Home, here: WorkingCopy, taken: list[str], trunk: str
    ) -> tuple[list[str], tuple[Finding, ...]]:
        """The edited targets that the gate lets pass, and what it found in the others."""
        if not taken:
            return [], ()
        sources, trees = await home.sources(), self._parts.engine.trees
        looked_at = {target: sources[target] for target in taken if not is_encrypted(sources[target])}
        contents = await self._parts.files.read(self._parts.person.home, looked_at)
        entries = await trees.entries(here.commit, set(looked_at.values()))
        latest = await self._latest(trunk, entries)
        before = await trees.contents({entry.blob for entry in latest.values()})
        candidates = [
            Candidate(
                path=source,
                content=contents[target],
                published=before[latest[source].blob] if source in latest else b"",
                is_new=source not in entries,
            )
            for target, source in looked_at.items()
            if target in contents
        ]
        found = await self._parts.gate.check(candidates)
        for each in candidates:
            if each.path not in found:
                self._parts.held.let_pass(each.path, each.content)
        names = {source: target for target, source in looked_at.items()}
        stopped = [
            msgspec.structs.replace(finding, path=say.shown(names[source]))
            for source, findings in found.items()
            for finding in findings
        ]
        return [target for target in taken if sources[target] not in found], tuple(stopped)

    async def _latest(self, trunk: str, entries: Mapping[str, Entry]) -> dict[str, Entry]:
        """The published versions of sources, by the trunk for those that have another name there by now, or none.

        What somebody took out of a file when they made a template of it is not published with it any more: an edit that
        brings it back would be stopped before the push, when it is in a commit and chezmoi holds the home's for its own.
        """
        trees = self._parts.engine.trees
        if not trunk or not (gone := entries.keys() - (await trees.entries(trunk, entries.keys())).keys()):
            return dict(entries)
        files = {same_target(path): path for path in gone}
        names = [path for path in await trees.paths(trunk) if same_target(path) in files]
        found = await trees.entries(trunk, names)
        kept = {path: entry for path, entry in entries.items() if path not in gone}
        return kept | {files[same_target(path)]: entry for path, entry in found.items()}

    async def _unchanged(self, home: Home, here: WorkingCopy, taken: list[str]) -> tuple[list[str], list[Notice]]:
        """The targets whose source is what it was when they were chosen: `re-add` writes over whatever is there."""
        sources, trees, now = await home.sources(), self._parts.engine.trees, await self._parts.snapshot()
        names = {sources[target] for target in taken if target in sources}
        before, after = await trees.entries(here.commit, names), await trees.entries(now.commit, names)
        same = [target for target in taken if before.get(sources.get(target, "")) == after.get(sources.get(target, ""))]
        return same, [say.both_edited(target) for target in taken if target not in same]


async def _origin(engine: Engine, here: WorkingCopy, source: str, record: str) -> str | None:
    """The commit whose version of a source the home's edit was made on; None if it is unknown or not to be passed over.

    Args:
        engine: has the versions.
        here: the working copy.
        source: the path in the repository.
        record: the SHA-256 of what chezmoi last wrote to the target.

    """
    trees = engine.trees
    if source in here.in_conflict:
        return None
    now = (await trees.entries(here.commit, (source,))).get(source)
    if now is None or not record:
        return None
    if hashlib.sha256(await trees.content(now.blob)).hexdigest() == record:
        return here.commit
    if source in await engine.parked():
        return None  # its older versions are ours alone: an edit that came from one of them would drop what is parked
    merged = await trees.versions(source, await engine.merged())
    if now.blob not in {blob for _, blob in merged}:
        return None  # the source was edited as well, perhaps committed by hand, and re-add would write over that
    versions = (*merged, *await trees.versions(source, (here.commit, *await engine.captured())))
    contents = await trees.contents({blob for _, blob in versions})
    for commit, blob in versions:
        if hashlib.sha256(contents[blob]).hexdigest() == record:
            return commit
    return None
