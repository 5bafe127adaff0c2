"""One person's dotfiles on this host: their repository (`repo.engine`) and their home (`tools.chezmoi`) together.

Which version an edit of the home was made on is known file by file, from chezmoi's own record of what it last wrote
there; that record moves together with the file, so a sync that was killed anywhere leaves nothing to repair but work
to do again. Three cases:

1. The record matches the source in the working copy: `chezmoi re-add` captures exactly the edit.
2. It matches an older version (an apply skipped the file since it was being edited; the person pulled without
   applying): the engine is told that the edit forks off there, so that it cannot revert what came since.
3. It matches nothing, or the source was edited too: both are left alone, and the person is told.

A sync with nothing to do runs six commands: `git config` (is it our remote), `git ls-remote`, `git for-each-ref`
(has it anything new), `jj log` (which takes the snapshot), `chezmoi status`, and `git for-each-ref` (is it settled).
The first one of a process runs a few more.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar, cast

from msgspec.structs import replace

from gitopsd.config import DotfilesConfig
from gitopsd.dotfiles import notices as say
from gitopsd.dotfiles.edits import Edits
from gitopsd.dotfiles.elsewhere import Elsewhere
from gitopsd.dotfiles.outcome import as_parked, kept_here, quarantined
from gitopsd.dotfiles.outside import Outside
from gitopsd.dotfiles.parts import Parts
from gitopsd.dotfiles.writing import write
from gitopsd.errors import GitopsdError
from gitopsd.repo.engine import Engine, Published
from gitopsd.secrets.replacing import is_unfinished
from gitopsd.tools.chezmoi import Comparison, Home
from gitopsd.tools.chezmoi_names import same_target, target_of
from gitopsd.tools.process import Account, Processes
from gitopsd.types import Finding, Notice, PersonFacts, SyncWord

S = TypeVar("S")
T = TypeVar("T")

_REPAIRS = 3  # attempts in one verb


class PersonDotfiles:
    """`ports.Dotfiles` with jj, git and chezmoi.

    Args:
        processes: starts them.
        config: the person's section of the configuration.
        host: the name of this host.
        account: the person; looked up by name if not given.

    """

    def __init__(
        self, processes: Processes, config: DotfilesConfig, *, host: str, account: Account | None = None
    ) -> None:
        self._config = config
        self._host = host
        self._parts = Parts(processes, config, host=host, account=account)
        self._edits = Edits(self._parts, config)
        self._outside = Outside(self._parts)
        self._calm: Published | None = None  # what stands, if this cycle's capture found nothing to do
        self._recognized = False  # every file that is the same in home and source is in chezmoi's record
        self._elsewhere = Elsewhere(config.trunk)

    @property
    def user(self) -> str:
        """See `ports.Dotfiles`."""
        return self._config.user

    async def fetch(self, facts: PersonFacts) -> PersonFacts:
        """See `ports.Dotfiles`."""
        kept = self._parts.repair().kept()  # before this one: what this one keeps, it says
        return await self._guarded(self._fetch, facts.noted(*kept))

    async def _fetch(self, facts: PersonFacts) -> PersonFacts:
        self._calm = None
        engine = self._parts.engine
        wrong: Notice | BaseException | None = self._missing()
        trunk: str | BaseException = ""
        if wrong is None:
            wrong, trunk = await asyncio.gather(self._wrong_remote(engine), engine.fetch(), return_exceptions=True)
        if isinstance(wrong, Notice):  # and then it does not matter what that remote said
            return replace(facts, word=SyncWord.not_initialized, notices=(*facts.notices, wrong))
        for answer in (wrong, trunk):
            if isinstance(answer, BaseException):
                raise answer
        return replace(facts, trunk=trunk)

    async def capture(self, facts: PersonFacts) -> PersonFacts:
        """See `ports.Dotfiles`."""
        return await self._guarded(self._capture, facts)

    async def _capture(self, facts: PersonFacts) -> PersonFacts:
        engine, home, held = self._parts.engine, self._parts.home(), self._parts.held
        await held.prepare()
        if held.findings:  # then the files are not at all times what chezmoi should see
            here, seen = await self._parts.snapshot(), await home.compare()
        else:
            here, seen = await _both(engine.snapshot(), home.compare())
        closed = [
            say.waits(target, why) for target, why in seen.waiting.items() if not say.fails(why) and home.kind(target)
        ]
        notices, kept = [*facts.notices, *(each for each in say.broken(seen) if each not in closed)], list[Notice]()
        stopped: tuple[Finding, ...] = ()
        if edited := [row for row in seen.rows if row.last in "MA" and row.next != " "]:
            here, kept, stopped = await self._edits.take(home, here, edited, facts.trunk)
        if gone := [row.target for row in seen.rows if row.last == "D"]:
            notices += await self._edits.delete(home, here, gone)
            here = await self._parts.snapshot() if self._config.deletions == "capture" else here
        if not seen.rows:
            self._calm = await engine.settled(here, push=self._config.auto_push)
        captured: tuple[str, ...] = ()
        if self._config.auto_commit and not here.empty:
            changes = await engine.changes(here)
            captured = tuple(sorted(say.shown(change.path) for change in changes))
        kept += [*closed, *await self._outside.notices(home, here)]
        facts = replace(facts, captured=captured).noted(*notices)
        return quarantined(kept_here(facts, *kept), stopped, held.findings)

    async def publish(self, facts: PersonFacts, message: str) -> PersonFacts:
        """See `ports.Dotfiles`."""
        return await self._guarded(lambda known: self._publish(known, message), facts)

    async def _publish(self, facts: PersonFacts, message: str) -> PersonFacts:
        if facts.offline or facts.word is SyncWord.fetch_failed:
            return facts  # what was captured stays in the working copy's commit
        engine = self._parts.engine
        if not (self._config.auto_commit or self._calm or (await self._parts.snapshot()).empty):
            notice = say.uncommitted(self._parts.source)
            return replace(facts, word=SyncWord.success_local_only, notices=(*facts.notices, notice))
        done = self._calm
        if done is None:
            async with self._parts.held.aside():
                done = await engine.publish(message, push=self._config.auto_push)
        parked = tuple(as_parked(path, engine.bookmark, done.parked) for path in done.conflicts)
        word = facts.word
        if not self._config.auto_push:
            word = SyncWord.success_local_only
        elif (parked or done.apart) and word in (SyncWord.success, SyncWord.success_local_only):
            word = SyncWord.conflicts_preserved
        withheld = [path for path in done.withheld if not self._parts.held.holds(path)]
        await self._parts.home().forget_records([same_target(path) for path in withheld])  # see `_leave`
        remarks = [*self._remarks(done), *(say.withheld(path, self._parts.source, done.kept) for path in withheld)]
        notices = tuple(dict.fromkeys((*facts.notices, *remarks)))
        heads = engine.fetched if self._calm else await engine.heads()
        facts = replace(
            facts,
            word=word,
            trunk=done.trunk,
            published=done.proven,
            sent=done.sent,
            parked=parked,
            notices=notices,
            elsewhere=await self._elsewhere.look(engine, self._parts.resolver(), heads),
        )
        return quarantined(facts, done.stopped, self._parts.held.findings)

    async def apply(self, facts: PersonFacts) -> PersonFacts:
        """See `ports.Dotfiles`."""
        return await self._guarded(self._apply, facts)

    async def _apply(self, facts: PersonFacts) -> PersonFacts:
        if facts.word is SyncWord.failed:
            return facts
        engine, home = self._parts.engine, self._parts.home()
        if facts.offline or facts.word in (SyncWord.fetch_failed, SyncWord.push_failed):
            # The home stays with what it has; nothing new came, or nobody knows what.
            return facts.noted(*await self._strange(home, await home.compare()))
        if self._calm is not None:
            if not self._recognized:  # a process before this one may have died before it did
                await self._recognize(home, Comparison(rows=()))
            return facts
        async with self._parts.held.aside():
            moved = await engine.move()
        clashes = self._parts.held.take_clashes()
        await self._leave(home, {clash.path: clash.published for clash in clashes})
        facts = facts.noted(*(clash.notice for clash in clashes))
        if not moved:
            return facts.noted(say.edited_meanwhile(), *await self._strange(home, await home.compare()))
        seen = await home.compare()
        facts = facts.noted(*say.broken(seen))
        if seen.rows:
            applied, kept, left = await write(home, seen, unfit=await engine.marked())
            told = {notice.path for notice in facts.notices if notice.path}
            told |= {target_of(finding.path) for finding in facts.quarantined}
            facts = kept_here(facts, *(notice for notice in kept if notice.path not in told))
            facts = replace(facts.noted(*(notice for notice in left if notice.path not in told)), applied=applied)
        await self._recognize(home, seen)
        return facts

    async def _strange(self, home: Home, seen: Comparison) -> list[Notice]:
        """What is said of the files that are in the home and were never written by chezmoi, if nothing is written."""
        found = [row for row in seen.rows if row.last == " " and row.next == "M"]
        known, sources = (await home.records(), await home.sources()) if found else ({}, {})
        return [say.differs(home, row, sources.get(row.target)) for row in found if row.target not in known]

    async def _leave(self, home: Home, published: Mapping[str, str]) -> None:
        """Leave the home as it is where it has of a clashing source what was not published, or may have.

        chezmoi wrote that there, and holds it for its own: without a record, it is the person's.

        Args:
            home: the person's.
            published: by source, the SHA-256 of what was.

        """
        records = await home.records() if published else {}
        targets = {same_target(path): digest for path, digest in published.items()}
        await home.forget_records(
            [target for target, digest in targets.items() if records.get(target, digest) != digest]
        )

    async def _recognize(self, home: Home, seen: Comparison) -> None:
        """Have the files noted that came with the repository and were in the home already, byte by byte the same."""
        await home.recognize(seen)
        self._recognized = True

    async def _guarded(self, verb: Callable[[PersonFacts], Awaitable[PersonFacts]], facts: PersonFacts) -> PersonFacts:
        """Run a verb unless the person is in the middle of something; repair what makes it fail."""
        repair = self._parts.repair()
        if not repair.possible():
            return await verb(facts)  # `fetch` says what is missing
        if (halt := repair.halted() or self._migrating()) is not None:
            return replace(facts, word=SyncWord.failed).noted(halt)
        facts = facts.noted(*await repair.before())
        for _ in range(_REPAIRS):  # a power cut may have damaged several things
            try:
                return await verb(facts)
            except GitopsdError as error:
                mended = await repair.after(error)
                if not mended:
                    raise
            facts = facts.noted(*mended)
        return await verb(facts)

    def _remarks(self, done: Published) -> list[Notice]:
        remarks = [say.marked(path, self._config.trunk) for path in done.marked if path not in done.unsettled]
        remarks += [say.unsettled(path, self._parts.source, self._config.trunk) for path in done.unsettled]
        remarks += [say.apart(path, self._parts.source, self._config.trunk) for path in done.apart]
        remarks += [say.secret_in_commits()] if done.stopped else []
        remarks += [say.same_name(self._host, self._parts.source)] if done.other else []
        remarks += [say.left_behind(self._parts.source, self._config.trunk)] if done.left_behind else []
        if done.rewritten:
            remarks.append(say.rewritten(self._parts.source, self._config.trunk, before=done.rewritten, now=done.trunk))
        return remarks

    async def _wrong_remote(self, engine: Engine) -> Notice | None:
        found = await engine.remote_url()
        if found == self._config.repo_url:
            return None
        return say.wrong_remote(self._parts.source, found, self._config.repo_url)

    def _migrating(self) -> Notice | None:
        """Say that files are half of them as they were: published so, they would be wrong on every host."""
        return say.half_migrated(self._parts.source) if is_unfinished(Path(self._parts.source)) else None

    def _missing(self) -> Notice | None:
        """What the source directory lacks to be kept in step."""
        source = Path(self._parts.source)
        if not source.is_dir():
            return say.not_set_up(f"{source} does not exist")
        if not (source / ".git").is_dir():
            return say.not_set_up(f"{source} is no git repository of its own")
        if not (source / ".jj").is_dir():
            return say.not_set_up(f"{source} is no jj repository")
        return None


async def _both(first: Awaitable[S], second: Awaitable[T]) -> tuple[S, T]:
    """Two questions at once. If one fails, the other has ended before the error is raised."""
    answers = await asyncio.gather(first, second, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return cast("tuple[S, T]", tuple(answers))
