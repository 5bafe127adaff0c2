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
import hashlib
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar, cast

import msgspec

from gitopsd.config import DotfilesConfig
from gitopsd.dotfiles import deletions
from gitopsd.dotfiles import notices as say
from gitopsd.dotfiles.outcome import as_parked, changed, kept_here, noted, quarantined
from gitopsd.errors import GitopsdError
from gitopsd.repo.engine import Engine, Published
from gitopsd.repo.repair import Repair
from gitopsd.repo.resolve import Resolver
from gitopsd.secrets.gate import RepositoryGate
from gitopsd.secrets.held import Held, guard
from gitopsd.secrets.rules import cleared
from gitopsd.tools.chezmoi import (
    Comparison,
    Home,
    Row,
    is_encrypted,
    is_link,
    is_plain_file,
    same_target,
    target_of,
)
from gitopsd.tools.files import Files
from gitopsd.tools.git import printable
from gitopsd.tools.jj import NEW_FILE_LIMIT, WorkingCopy
from gitopsd.tools.process import Account, Processes
from gitopsd.types import Candidate, Finding, Notice, Parked, PersonFacts, SyncWord

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
        self._processes = processes
        self._config = config
        self._host = host
        self._account = account
        self._engine_made: Engine | None = None
        self._gate_made: RepositoryGate | None = None
        self._held_made: Held | None = None
        self._calm: Published | None = None  # what stands, if this cycle's capture found nothing to do
        self._recognized = False  # every file that is the same in home and source is in chezmoi's record
        self._no_news: dict[str, tuple[int, ...]] = {}  # big files that are captured or ignored
        self._tracked: frozenset[str] | None = None  # the files of the source directory, all of which jj takes in
        self._elsewhere: tuple[dict[str, str], tuple[Parked, ...]] = ({}, ())

    @property
    def user(self) -> str:
        """See `ports.Dotfiles`."""
        return self._config.user

    async def fetch(self, facts: PersonFacts) -> PersonFacts:
        """See `ports.Dotfiles`."""
        return await self._guarded(self._fetch, noted(facts, *self._repair().kept()))  # what this one keeps, it says

    async def _fetch(self, facts: PersonFacts) -> PersonFacts:
        self._calm = None
        engine = self._engine()
        wrong: Notice | BaseException | None = self._missing()
        trunk: str | BaseException = ""
        if wrong is None:
            wrong, trunk = await asyncio.gather(self._wrong_remote(engine), engine.fetch(), return_exceptions=True)
        if isinstance(wrong, Notice):  # and then it does not matter what that remote said
            return changed(facts, word=SyncWord.not_initialized, notices=(*facts.notices, wrong))
        for answer in (wrong, trunk):
            if isinstance(answer, BaseException):
                raise answer
        return changed(facts, trunk=trunk)

    async def capture(self, facts: PersonFacts) -> PersonFacts:
        """See `ports.Dotfiles`."""
        return await self._guarded(self._capture, facts)

    async def _capture(self, facts: PersonFacts) -> PersonFacts:
        engine, home, held = self._engine(), self._home(), self._held()
        await held.prepare()
        if held.findings:  # then the files are not at all times what chezmoi should see
            here, seen = await self._snapshot(), await home.compare()
        else:
            here, seen = await _both(engine.snapshot(), home.compare())
        closed = [
            say.waits(target, why) for target, why in seen.waiting.items() if not say.fails(why) and home.kind(target)
        ]
        notices, kept = [*facts.notices, *(each for each in say.broken(seen) if each not in closed)], list[Notice]()
        stopped: tuple[Finding, ...] = ()
        edited = [row for row in seen.rows if row.last in "MA" and row.next != " "]
        if edited and self._config.auto_commit:
            taken, kept = await self._sort(engine, home, here, edited)
            taken, stopped = await self._stop(home, here, taken)
            if taken:
                taken, late = await self._unchanged(home, here, taken)
                kept += late
            if taken:
                failed = await home.re_add(taken)
                here = await self._snapshot()
                again = await home.compare(taken)
                kept += [say.cannot_capture(target, reason) for target, reason in failed.items()]
                kept += [
                    say.not_captured(row.target) for row in again.rows if row.last in "MA" and row.target not in failed
                ]
        elif edited:
            kept = [say.kept(row.target, "auto_commit is off") for row in edited]
        if gone := [row.target for row in seen.rows if row.last == "D"]:
            notices += await self._delete(engine, home, here, gone)
            here = await self._snapshot() if self._config.deletions == "capture" else here
        if not seen.rows:
            self._calm = await engine.settled(here, push=self._config.auto_push)
        captured: tuple[str, ...] = ()
        if self._config.auto_commit and not here.empty:
            changes = await engine.changes(here)
            captured = tuple(sorted(printable(change.path) for change in changes))
        kept += [*closed, *(say.too_big(path) for path in await self._left_out(engine, held, here))]
        kept += await self._not_tracked(engine, home, held, here)
        facts = noted(changed(facts, captured=captured), *notices)
        return quarantined(kept_here(facts, *kept), stopped, held.findings)

    async def publish(self, facts: PersonFacts, message: str) -> PersonFacts:
        """See `ports.Dotfiles`."""
        return await self._guarded(lambda known: self._publish(known, message), facts)

    async def _publish(self, facts: PersonFacts, message: str) -> PersonFacts:
        if facts.offline or facts.word is SyncWord.fetch_failed:
            return facts  # what was captured stays in the working copy's commit
        engine = self._engine()
        if not (self._config.auto_commit or self._calm or (await self._snapshot()).empty):
            notice = say.uncommitted(self._source)
            return changed(facts, word=SyncWord.success_local_only, notices=(*facts.notices, notice))
        done = self._calm
        if done is None:
            async with self._held().aside():
                done = await engine.publish(message, push=self._config.auto_push)
        parked = tuple(as_parked(path, engine.bookmark, done.parked) for path in done.conflicts)
        word = facts.word
        if not self._config.auto_push:
            word = SyncWord.success_local_only
        elif (parked or done.apart) and word in (SyncWord.success, SyncWord.success_local_only):
            word = SyncWord.conflicts_preserved
        notices = tuple(dict.fromkeys((*facts.notices, *self._remarks(done))))
        facts = changed(
            facts,
            word=word,
            trunk=done.trunk,
            published=done.proven,
            sent=done.sent,
            parked=parked,
            notices=notices,
            elsewhere=await self._parked_elsewhere(engine),
        )
        return quarantined(facts, done.stopped, self._held().findings)

    async def apply(self, facts: PersonFacts) -> PersonFacts:
        """See `ports.Dotfiles`."""
        return await self._guarded(self._apply, facts)

    async def _apply(self, facts: PersonFacts) -> PersonFacts:
        if facts.word is SyncWord.failed:
            return facts
        engine, home = self._engine(), self._home()
        if facts.offline or facts.word in (SyncWord.fetch_failed, SyncWord.push_failed):
            # The home stays with what it has; nothing new came, or nobody knows what.
            return noted(facts, *await self._strange(home, await home.compare()))
        if self._calm is not None:
            if not self._recognized:  # a process before this one may have died before it did
                await self._recognize(home, Comparison(rows=()))
            return facts
        async with self._held().aside():
            moved = await engine.move()
        facts = noted(facts, *self._held().take_notices())
        if not moved:
            return noted(facts, say.edited_meanwhile(), *await self._strange(home, await home.compare()))
        seen = await home.compare()
        facts = noted(facts, *say.broken(seen))
        if seen.rows:
            applied, kept, left = await self._write(home, seen, unfit=await engine.marked())
            told = {notice.path for notice in facts.notices if notice.path}
            told |= {target_of(finding.path) for finding in facts.quarantined}
            facts = kept_here(facts, *(notice for notice in kept if notice.path not in told))
            facts = changed(noted(facts, *(notice for notice in left if notice.path not in told)), applied=applied)
        await self._recognize(home, seen)
        return facts

    async def _strange(self, home: Home, seen: Comparison) -> list[Notice]:
        """What is said of the files that are in the home and were never written by chezmoi, if nothing is written."""
        found = [row for row in seen.rows if row.last == " " and row.next == "M"]
        known, sources = (await home.records(), await home.sources()) if found else ({}, {})
        return [say.differs(home, row, sources.get(row.target)) for row in found if row.target not in known]

    async def _recognize(self, home: Home, seen: Comparison) -> None:
        """Have the files noted that came with the repository and were in the home already, byte by byte the same."""
        await home.recognize(seen)
        self._recognized = True

    async def _parked_elsewhere(self, engine: Engine) -> tuple[Parked, ...]:
        """What other hosts have parked; worked out again only if the remote has anything new."""
        heads = engine.fetched if self._calm else await engine.heads()
        refs = {name: commit for name, commit in heads.items() if name != engine.bookmark}
        if refs != self._elsewhere[0]:
            resolver = Resolver(engine, trunk=self._config.trunk, same_file=same_target)
            found = [each for each in await resolver.standoffs() if each.bookmark in refs and not each.settled]
            self._elsewhere = (refs, tuple(as_parked(each.name, each.bookmark, each.commit) for each in found))
        return self._elsewhere[1]

    async def _guarded(self, verb: Callable[[PersonFacts], Awaitable[PersonFacts]], facts: PersonFacts) -> PersonFacts:
        """Run a verb unless the person is in the middle of something; repair what makes it fail."""
        repair = self._repair()
        if not repair.possible():
            return await verb(facts)  # `fetch` says what is missing
        if (halt := repair.halted()) is not None:
            return noted(changed(facts, word=SyncWord.failed), halt)
        facts = noted(facts, *await repair.before())
        for _ in range(_REPAIRS):  # a power cut may have damaged several things
            try:
                return await verb(facts)
            except GitopsdError as error:
                mended = await repair.after(error)
                if not mended:
                    raise
            facts = noted(facts, *mended)
        return await verb(facts)

    async def _sort(
        self, engine: Engine, home: Home, here: WorkingCopy, edited: list[Row]
    ) -> tuple[list[str], list[Notice]]:
        """Choose the edited targets that can be captured; say why for each of the others."""
        sources, records = await home.sources(), await home.records()
        untouched = await engine.untouched(here)
        taken, notices, forks = [], list[Notice](), dict[str, str]()
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
            elif self._held().holds(source):
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
                if origin != here.commit:
                    forks[source] = origin
        if forks:
            await engine.derive(forks)
        return taken, notices

    async def _snapshot(self) -> WorkingCopy:
        """Take in what is in the working copy and may pass the gate."""
        async with self._held().aside():
            return await self._engine().snapshot()

    async def _left_out(self, engine: Engine, held: Held, here: WorkingCopy) -> list[str]:
        """The files that are too big to be captured. Git is asked only if there is one that may be."""
        big = {path: sign for path, sign in held.bigger_than(NEW_FILE_LIMIT).items() if not held.holds(path)}
        if here.empty and all(self._no_news.get(path) == sign for path, sign in big.items()):
            return []  # what is taken in stays so, and what is ignored does until a file here says otherwise
        left = [path for path in await engine.left_out(here) if path in big] if big else []
        self._no_news = {path: sign for path, sign in big.items() if path not in left}
        return left

    async def _not_tracked(self, engine: Engine, home: Home, held: Held, here: WorkingCopy) -> list[Notice]:
        """What chezmoi manages and jj does not take in. They are asked only if the names of the files changed."""
        names = held.names()
        if names != self._tracked:
            left = {path for path in await engine.not_tracked(here) if not held.holds(path)} - held.bigger_than(
                NEW_FILE_LIMIT
            ).keys()
            managed = set((await home.sources()).values()) if left else set()
            odd = {path for path in left if not say.is_text(path)}
            if left & managed or odd:
                return [say.ignored(path) for path in sorted(left & managed | odd)]
            self._tracked = names
        return []

    async def _stop(self, home: Home, here: WorkingCopy, taken: list[str]) -> tuple[list[str], tuple[Finding, ...]]:
        """The edited targets that the gate lets pass, and what it found in the others."""
        if not taken:
            return [], ()
        sources, trees = await home.sources(), self._engine().trees
        looked_at = {target: sources[target] for target in taken if not is_encrypted(sources[target])}
        contents = await self._files.read(self._person.home, looked_at)
        entries = await trees.entries(here.commit, set(looked_at.values()))
        before = await trees.contents({entry.blob for entry in entries.values()})
        candidates = [
            Candidate(
                path=source,
                content=contents[target],
                published=before[entries[source].blob] if source in entries else b"",
                is_new=source not in entries,
            )
            for target, source in looked_at.items()
            if target in contents
        ]
        found = await self._gate().check(candidates)
        for each in candidates:
            if each.path not in found:
                self._held().let_pass(each.path, each.content)
        names = {source: target for target, source in looked_at.items()}
        stopped = [
            msgspec.structs.replace(finding, path=printable(names[source]))
            for source, findings in found.items()
            for finding in findings
        ]
        return [target for target in taken if sources[target] not in found], tuple(stopped)

    async def _unchanged(self, home: Home, here: WorkingCopy, taken: list[str]) -> tuple[list[str], list[Notice]]:
        """The targets whose source is what it was when they were chosen: `re-add` writes over whatever is there."""
        sources, trees, now = await home.sources(), self._engine().trees, await self._snapshot()
        names = {sources[target] for target in taken if target in sources}
        before, after = await trees.entries(here.commit, names), await trees.entries(now.commit, names)
        same = [target for target in taken if before.get(sources.get(target, "")) == after.get(sources.get(target, ""))]
        return same, [say.both_edited(target) for target in taken if target not in same]

    async def _delete(self, engine: Engine, home: Home, here: WorkingCopy, gone: list[str]) -> tuple[Notice, ...]:
        """Take the sources of deleted targets away, as far as they are to be captured; say what is left alone."""
        if self._config.deletions == "report" or not self._config.auto_commit:
            return tuple(map(say.left_deleted, gone))
        chosen = await deletions.choose(engine, home, here, gone, _origin)
        if chosen.forks:
            await engine.derive(chosen.forks)
        if chosen.taken:
            await home.forget(chosen.taken)
        return chosen.notices

    async def _write(
        self, home: Home, seen: Comparison, *, unfit: frozenset[str]
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
        return tuple(printable(cleared(target)) for target in applied), kept, left

    def _remarks(self, done: Published) -> list[Notice]:
        remarks = [say.marked(path, self._config.trunk) for path in done.marked if path not in done.unsettled]
        remarks += [say.unsettled(path, self._source, self._config.trunk) for path in done.unsettled]
        remarks += [say.apart(path, self._source, self._config.trunk) for path in done.apart]
        remarks += [say.secret_in_commits()] if done.stopped else []
        remarks += [say.same_name(self._host, self._source)] if done.other else []
        remarks += [say.left_behind(self._source, self._config.trunk)] if done.left_behind else []
        if done.rewritten:
            remarks.append(say.rewritten(self._source, self._config.trunk, before=done.rewritten, now=done.trunk))
        return remarks

    @property
    def _person(self) -> Account:
        if self._account is None:
            self._account = Account.of(self._config.user)
        return self._account

    @property
    def _source(self) -> str:
        return str(Path(self._person.home) / self._config.source)

    async def _wrong_remote(self, engine: Engine) -> Notice | None:
        found = await engine.remote_url()
        if found == self._config.repo_url:
            return None
        return say.wrong_remote(self._source, found, self._config.repo_url)

    def _missing(self) -> Notice | None:
        """What the source directory lacks to be kept in step."""
        source = Path(self._source)
        if not source.is_dir():
            return say.not_set_up(f"{source} does not exist")
        if not (source / ".git").is_dir():
            return say.not_set_up(f"{source} is no git repository of its own")
        if not (source / ".jj").is_dir():
            return say.not_set_up(f"{source} is no jj repository")
        return None

    def _engine(self) -> Engine:
        if self._engine_made is None:
            self._engine_made = Engine(
                self._processes,
                self._source,
                self._person,
                trunk=self._config.trunk,
                host=self._host,
                same_file=same_target,
                union=self._config.merge.union,
                no_lines=is_link,
                ssh_key=self._config.ssh_key,
                gate=self._gate(),
            )
        return self._engine_made

    def _gate(self) -> RepositoryGate:
        if self._gate_made is None:
            self._gate_made = RepositoryGate(self._processes, self._person, self._source, same_file=same_target)
        return self._gate_made

    def _held(self) -> Held:
        if self._held_made is None:
            parts = (self._processes, self._person, self._source, self._engine(), self._gate())
            self._held_made = guard(*parts, same_file=same_target)
        return self._held_made

    @property
    def _files(self) -> Files:
        return Files(self._processes, self._person)

    def _repair(self) -> Repair:
        return Repair(self._processes, self._source, self._person, trunk=self._config.trunk)

    def _home(self) -> Home:
        return Home(self._processes, self._person, self._source)


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


async def _both(first: Awaitable[S], second: Awaitable[T]) -> tuple[S, T]:
    """Two questions at once. If one fails, the other has ended before the error is raised."""
    answers = await asyncio.gather(first, second, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return cast("tuple[S, T]", tuple(answers))
