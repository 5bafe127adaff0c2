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
import re
import stat
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from shlex import quote
from typing import TypeVar, cast

import msgspec

from gitopsd import deletions
from gitopsd.choices.contact import differs, other_kind
from gitopsd.config import DotfilesConfig
from gitopsd.deletions import left_deleted
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
    is_template,
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

_NO_SECRET = re.compile(r"open (?P<path>/run/secrets/(?P<name>\S+)): no such file or directory")

_QUOTED = re.compile(r" at <.*>(?=:|$)", re.DOTALL)

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
        return await self._guarded(self._fetch, _noted(facts, *self._repair().kept()))  # what this one keeps, it says

    async def _fetch(self, facts: PersonFacts) -> PersonFacts:
        self._calm = None
        engine = self._engine()
        wrong: Notice | BaseException | None = self._missing()
        trunk: str | BaseException = ""
        if wrong is None:
            wrong, trunk = await asyncio.gather(self._wrong_remote(engine), engine.fetch(), return_exceptions=True)
        if isinstance(wrong, Notice):  # and then it does not matter what that remote said
            return _with(facts, word=SyncWord.not_initialized, notices=(*facts.notices, wrong))
        for answer in (wrong, trunk):
            if isinstance(answer, BaseException):
                raise answer
        return _with(facts, trunk=trunk)

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
        closed = [_waits(target, why) for target, why in seen.waiting.items() if not _fails(why) and home.kind(target)]
        notices, kept = [*facts.notices, *(each for each in _broken(seen) if each not in closed)], list[Notice]()
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
                kept += [_cannot_capture(target, reason) for target, reason in failed.items()]
                kept += [
                    _not_captured(row.target) for row in again.rows if row.last in "MA" and row.target not in failed
                ]
        elif edited:
            kept = [_kept(row.target, "auto_commit is off") for row in edited]
        if gone := [row.target for row in seen.rows if row.last == "D"]:
            notices += await self._delete(engine, home, here, gone)
            here = await self._snapshot() if self._config.deletions == "capture" else here
        if not seen.rows:
            self._calm = await engine.settled(here, push=self._config.auto_push)
        captured: tuple[str, ...] = ()
        if self._config.auto_commit and not here.empty:
            changes = await engine.changes(here)
            captured = tuple(sorted(printable(change.path) for change in changes))
        kept += [*closed, *(_too_big(path) for path in await self._left_out(engine, held, here))]
        kept += await self._not_tracked(engine, home, held, here)
        facts = _noted(_with(facts, captured=captured), *notices)
        return _quarantined(_kept_here(facts, *kept), stopped, held.findings)

    async def publish(self, facts: PersonFacts, message: str) -> PersonFacts:
        """See `ports.Dotfiles`."""
        return await self._guarded(lambda known: self._publish(known, message), facts)

    async def _publish(self, facts: PersonFacts, message: str) -> PersonFacts:
        if facts.offline or facts.word is SyncWord.fetch_failed:
            return facts  # what was captured stays in the working copy's commit
        engine = self._engine()
        if not (self._config.auto_commit or self._calm or (await self._snapshot()).empty):
            notice = Notice(
                what="the source directory has changes, and auto_commit is off: nothing is published or applied",
                advice=f"cd {self._source} && jj commit",
            )
            return _with(facts, word=SyncWord.success_local_only, notices=(*facts.notices, notice))
        done = self._calm
        if done is None:
            async with self._held().aside():
                done = await engine.publish(message, push=self._config.auto_push)
        parked = tuple(_parked(path, engine.bookmark, done.parked) for path in done.conflicts)
        word = facts.word
        if not self._config.auto_push:
            word = SyncWord.success_local_only
        elif (parked or done.apart) and word in (SyncWord.success, SyncWord.success_local_only):
            word = SyncWord.conflicts_preserved
        notices = tuple(dict.fromkeys((*facts.notices, *self._remarks(done))))
        facts = _with(
            facts,
            word=word,
            trunk=done.trunk,
            published=done.proven,
            sent=done.sent,
            parked=parked,
            notices=notices,
            elsewhere=await self._parked_elsewhere(engine),
        )
        return _quarantined(facts, done.stopped, self._held().findings)

    async def apply(self, facts: PersonFacts) -> PersonFacts:
        """See `ports.Dotfiles`."""
        return await self._guarded(self._apply, facts)

    async def _apply(self, facts: PersonFacts) -> PersonFacts:
        if facts.word is SyncWord.failed:
            return facts
        engine, home = self._engine(), self._home()
        if facts.offline or facts.word in (SyncWord.fetch_failed, SyncWord.push_failed):
            # The home stays with what it has; nothing new came, or nobody knows what.
            return _noted(facts, *await self._strange(home, await home.compare()))
        if self._calm is not None:
            if not self._recognized:  # a process before this one may have died before it did
                await self._recognize(home, Comparison(rows=()))
            return facts
        async with self._held().aside():
            moved = await engine.move()
        facts = _noted(facts, *self._held().take_notices())
        if not moved:
            what = "the source directory was edited during the sync; the next one takes the edits in"
            return _noted(facts, Notice(what=what), *await self._strange(home, await home.compare()))
        seen = await home.compare()
        facts = _noted(facts, *_broken(seen))
        if seen.rows:
            applied, kept, left = await self._write(home, seen, unfit=await engine.marked())
            told = {notice.path for notice in facts.notices if notice.path}
            told |= {target_of(finding.path) for finding in facts.quarantined}
            facts = _kept_here(facts, *(notice for notice in kept if notice.path not in told))
            facts = _with(_noted(facts, *(notice for notice in left if notice.path not in told)), applied=applied)
        await self._recognize(home, seen)
        return facts

    async def _strange(self, home: Home, seen: Comparison) -> list[Notice]:
        """What is said of the files that are in the home and were never written by chezmoi, if nothing is written."""
        found = [row for row in seen.rows if row.last == " " and row.next == "M"]
        known, sources = (await home.records(), await home.sources()) if found else ({}, {})
        return [differs(home, row, sources.get(row.target)) for row in found if row.target not in known]

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
            self._elsewhere = (refs, tuple(_parked(each.name, each.bookmark, each.commit) for each in found))
        return self._elsewhere[1]

    async def _guarded(self, verb: Callable[[PersonFacts], Awaitable[PersonFacts]], facts: PersonFacts) -> PersonFacts:
        """Run a verb unless the person is in the middle of something; repair what makes it fail."""
        repair = self._repair()
        if not repair.possible():
            return await verb(facts)  # `fetch` says what is missing
        if (halt := repair.halted()) is not None:
            return _noted(_with(facts, word=SyncWord.failed), halt)
        facts = _noted(facts, *await repair.before())
        for _ in range(_REPAIRS):  # a power cut may have damaged several things
            try:
                return await verb(facts)
            except GitopsdError as error:
                mended = await repair.after(error)
                if not mended:
                    raise
            facts = _noted(facts, *mended)
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
                notices.append(_taken_out(row.target))
            elif not is_plain_file(source):
                notices.append(_drift(row.target, source))
            elif (other := other_kind(home, row.target, source)) is not None:
                notices.append(other)
            elif home.size(row.target) > NEW_FILE_LIMIT:
                notices.append(_too_big_here(row.target))
            elif self._held().holds(source):
                notices.append(_both_edited(row.target))
            elif source in here.in_conflict:  # to capture it would be to settle the conflict
                notices.append(_in_conflict(row.target))
            elif is_encrypted(source):
                # Its content cannot be compared; the source is what was applied if nothing has touched it since.
                if untouched:
                    taken.append(row.target)
                else:
                    notices.append(_both_edited(row.target))
            else:
                origin = await _origin(engine, here, source, records.get(row.target, ""))
                if origin is None:
                    notices.append(_both_edited(row.target))
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
            odd = {path for path in left if not _is_text(path)}
            if left & managed or odd:
                return [_ignored(path) for path in sorted(left & managed | odd)]
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
        return same, [_both_edited(target) for target in taken if target not in same]

    async def _delete(self, engine: Engine, home: Home, here: WorkingCopy, gone: list[str]) -> tuple[Notice, ...]:
        """Take the sources of deleted targets away, as far as they are to be captured; say what is left alone."""
        if self._config.deletions == "report" or not self._config.auto_commit:
            return tuple(map(left_deleted, gone))
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
                    kept.append(_closed(row.target))
                elif stat.S_ISDIR(home.kind(row.target)) and not (stays and home.is_folder(source or "")):
                    folders.append(row.target)
                else:
                    safe.append(row.target)
            elif row.last == " ":
                kept.append(differs(home, row, source))
            elif row.last == "D":
                left.append(left_deleted(row.target))
            elif row.next != " ":
                kept.append(_not_captured(row.target))
        constant = await home.constant_scripts() if safe or folders else ()
        changed = [row.target for row in seen.rows if row.next == "R"]
        await home.let_run([script for script in (*changed, *constant) if script in records])
        fine = not safe or await home.apply([*safe, *constant])
        for folder in folders:  # chezmoi removes it with all that is in it: look at the last moment
            if stranger := await home.strangers(folder, records):
                kept.append(_not_ours(folder, stranger))
            else:
                safe.append(folder)
                fine = await home.apply([folder]) and fine
        applied = safe
        if not fine:
            again = {row.target: row for row in (await home.compare()).rows}
            applied = [target for target in safe if target not in again]
            failed = [target for target in safe if target in again]
            kept += [_not_written(target) for target in failed if again[target].next != "R"]
            scripts = (*(target for target in failed if again[target].next == "R"), *(() if failed else constant))
            left += [_script_failed(scripts)] if scripts else []
        return tuple(printable(cleared(target)) for target in applied), kept, left

    def _remarks(self, done: Published) -> list[Notice]:
        remarks = [_marked(path, self._config.trunk) for path in done.marked if path not in done.unsettled]
        remarks += [_unsettled(path, self._source, self._config.trunk) for path in done.unsettled]
        remarks += [_apart(path, self._source, self._config.trunk) for path in done.apart]
        if done.stopped:
            remarks.append(
                Notice(
                    what="what looks like a secret is in commits here that were not published yet: the rest of them is "
                    "published as one commit of ours",
                    advice="gitopsctl dotfiles status",
                )
            )
        if done.other:
            remarks.append(_same_name(self._host, self._source))
        if done.left_behind:
            remarks.append(
                Notice(
                    what=f"the bookmark {self._config.trunk} has commits here that the working copy does not stand on; "
                    "they are not published",
                    advice=f"cd {self._source} && jj rebase -s @ -d {self._config.trunk}",
                )
            )
        if done.rewritten:
            remarks.append(
                Notice(
                    what=f"somebody rewrote {self._config.trunk} on the remote; the home follows it, "
                    f"and what it was before is {done.rewritten[:12]}",
                    advice=f"git -C {self._source} log -p {done.trunk[:12]}..{done.rewritten[:12]}",
                )
            )
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
        return Notice(
            what=f"{self._source} belongs to {printable(found) or 'no remote'}, and repo_url is {self._config.repo_url}",
            advice=f"git -C {self._source} remote {'set-url' if found else 'add'} origin {self._config.repo_url}",
        )

    def _missing(self) -> Notice | None:
        """What the source directory lacks to be kept in step."""
        source = Path(self._source)
        if not source.is_dir():
            return Notice(what=f"{source} does not exist", advice="gitopsctl dotfiles init")
        if not (source / ".git").is_dir():
            return Notice(what=f"{source} is no git repository of its own", advice="gitopsctl dotfiles init")
        if not (source / ".jj").is_dir():
            return Notice(what=f"{source} is no jj repository", advice="gitopsctl dotfiles init")
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


def _with(facts: PersonFacts, **changes: object) -> PersonFacts:
    return msgspec.structs.replace(facts, **changes)


def _quarantined(facts: PersonFacts, *findings: tuple[Finding, ...]) -> PersonFacts:
    """Say what the gate stopped, each value once for each file: all is well then, but not all is published."""
    every = [*facts.quarantined, *(finding for part in findings for finding in part)]
    distinct = {(same_target(target_of(each.path)), each.fingerprint, each.rule): each for each in reversed(every)}
    facts = _with(facts, quarantined=tuple(reversed(distinct.values())))
    if every and facts.word is SyncWord.success:
        facts = _with(facts, word=SyncWord.success_local_only)
    return facts


def _noted(facts: PersonFacts, *notices: Notice) -> PersonFacts:
    return _with(facts, notices=tuple(dict.fromkeys((*facts.notices, *notices))))


def _kept_here(facts: PersonFacts, *notices: Notice) -> PersonFacts:
    """Say of edits that they are kept, in the home only: then all is well, but not all is published."""
    if notices and facts.word is SyncWord.success:
        facts = _with(facts, word=SyncWord.success_local_only)
    return _noted(facts, *notices)


def _parked(path: str, bookmark: str, commit: str) -> Parked:
    return Parked(path=printable(path), bookmark=bookmark, commit=commit, file=printable(target_of(path)))


def _broken(seen: Comparison) -> list[Notice]:
    notices = [_waits(target, reason) for target, reason in seen.waiting.items()]
    if seen.broken:
        what = f"many targets cannot be made; templates and encrypted files are left out: {_told(seen.broken)}"
        notices.append(Notice(what=what, advice="chezmoi diff"))
    return notices


def _fails(reason: str) -> bool:
    """Whether a target waits since its template fails, and not for what is in the home."""
    return reason.startswith("template: ")


def _told(reason: str) -> str:
    """Why chezmoi failed, without the action that Go quotes, since there may be literals in it."""
    return printable(_QUOTED.sub(" at <...>", reason))


def _waits(target: str, reason: str) -> Notice:
    name = printable(target)
    if missing := _NO_SECRET.search(reason):
        return Notice(
            what=f"{name} waits for {printable(missing['path'])}, which is not decrypted on this host yet",
            path=name,
            advice=f"declare sops.secrets.{printable(missing['name'])} in the NixOS configuration, then gitopsctl upgrade",
        )
    if _fails(reason):
        what = f"{name} waits: its template cannot be rendered: {_told(reason)}"
        return Notice(what=what, path=name, advice=f"chezmoi cat ~/{name}")
    what = f"{name} waits, since chezmoi cannot read or make it; nothing of it is captured or written: {_told(reason)}"
    return Notice(what=what, path=name, advice=f"chezmoi diff ~/{name}")


def _drift(target: str, source: str) -> Notice:
    if is_template(source):
        what, advice = "was edited, and comes from a template: the edit is kept and not captured", "chezmoi edit"
    else:
        what, advice = "was changed, and is no plain file to chezmoi: it is kept and not captured", "chezmoi diff"
    return Notice(what=f"{printable(target)} {what}", path=printable(target), advice=f"{advice} ~/{printable(target)}")


def _taken_out(target: str) -> Notice:
    return Notice(
        what=f"{printable(target)} was edited here, and was taken out of the repository: it is left as it is",
        path=printable(target),
        advice=f"chezmoi add ~/{printable(target)}  # if all hosts should have it again; else move it away",
    )


def _not_ours(folder: str, stranger: str) -> Notice:
    return Notice(
        what=f"{printable(folder)} is no directory in the repository any more, and {printable(stranger)} in it is yours "
        "alone: it is left as it is",
        path=printable(folder),
        advice=f"move what is yours out of ~/{printable(folder)}: the next sync does the rest",
    )


def _closed(target: str) -> Notice:
    return Notice(
        what=f"{printable(target)} has permissions that chezmoi cannot keep, and to write it would open it to others: "
        "it is left as it is",
        path=printable(target),
        advice=f"chmod 600 ~/{printable(target)}  # or 644: these can be kept",
    )


def _cannot_capture(target: str, reason: str) -> Notice:
    return Notice(
        what=f"{printable(target)} was edited, and cannot be captured: {printable(reason)}",
        path=printable(target),
        advice=f"chezmoi re-add ~/{printable(target)}",
    )


def _both_edited(target: str) -> Notice:
    return Notice(
        what=f"{printable(target)} was edited, and it is not known on which version: both it and its source are kept",
        path=printable(target),
        advice=f"chezmoi merge ~/{printable(target)}",
    )


def _not_captured(target: str) -> Notice:
    return Notice(
        what=f"{printable(target)} was edited during the sync: it is kept, and the next sync captures it",
        path=printable(target),
        advice="gitopsctl sync",
    )


def _not_written(target: str) -> Notice:
    return Notice(
        what=f"{printable(target)} could not be written, or was edited at that moment: it is left as it is",
        path=printable(target),
        advice=f"chezmoi apply ~/{printable(target)}",
    )


def _script_failed(scripts: Sequence[str]) -> Notice:
    return Notice(what=f"a script failed, one of {', '.join(map(printable, scripts))}", advice="chezmoi apply")


def _kept(target: str, why: str) -> Notice:
    return Notice(
        what=f"{printable(target)} is kept as it is: {why}",
        path=printable(target),
        advice=f"chezmoi diff ~/{printable(target)}",
    )


def _marked(path: str, trunk: str) -> Notice:
    file = printable(target_of(path))
    return Notice(
        what=f"{file} has conflict markers that nobody settled: it is parked, and neither goes to {trunk} nor to the home",
        path=file,
        advice=f"gitopsctl dotfiles resolve {file} --edit  # or adopt --mine ~/{file}, if the home's version is right",
    )


def _unsettled(path: str, source: str, trunk: str) -> Notice:
    file = printable(target_of(path))
    return Notice(
        what=f"{file} is in conflict in {source}: it is parked, and neither goes to {trunk} nor to the home",
        path=file,
        advice=f"cd {source} && jj resolve {quote(printable(path))}  # or take the markers out with an editor",
    )


def _apart(path: str, source: str, trunk: str) -> Notice:
    file = printable(target_of(path))
    return Notice(
        what=f"{file} is in conflict in {source}, and is no text: it stays there, and neither goes to {trunk} nor to the home",
        path=file,
        advice=f"cd {source} && jj restore --from {trunk}@origin {quote(printable(path))}  # or put a file in its place",
    )


def _in_conflict(target: str) -> Notice:
    return Notice(
        what=f"{printable(target)} was edited, and its source is in conflict: both are kept",
        path=printable(target),
        advice=f"gitopsctl dotfiles adopt --mine ~/{printable(target)}  # or settle the conflict first",
    )


def _same_name(host: str, source: str) -> Notice:
    bookmark = f"gitopsd/{host}"
    return Notice(
        what=f"another host is called {host} too, and has written {bookmark}: that is left as it is, and what this host "
        "parks stays here until one of them has another name",
        advice=f"networking.hostName, or `host` in gitopsd's configuration, on one of them; if the other is gone: git -C "
        f"{source} push origin origin/{bookmark}:refs/heads/{bookmark}-before :refs/heads/{bookmark}",
    )


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _ignored(path: str) -> Notice:
    if not _is_text(path):
        return Notice(
            what=f"{printable(path)} in the source directory has a name that is no UTF-8, which jj does not take in: not captured",
            path=printable(path),
            advice="give it another name",
        )
    return Notice(
        what=f"{printable(path)} in the source directory is ignored by git (.gitignore, or the person's own ignore file): "
        "not captured, and no other host has it",
        path=printable(path),
        advice=f"git check-ignore -v {quote(printable(path))}  # names the line; or chezmoi forget the file",
    )


def _too_big_here(target: str) -> Notice:
    return Notice(
        what=f"{printable(target)} is over {NEW_FILE_LIMIT // 1024 // 1024} MiB now: it is kept and not captured",
        path=printable(target),
        advice=f"chezmoi forget ~/{printable(target)}  # or make it smaller",
    )


def _too_big(path: str) -> Notice:
    return Notice(
        what=f"{printable(path)} in the source directory is over {NEW_FILE_LIMIT // 1024 // 1024} MiB: not captured",
        path=printable(path),
        advice="jj file track --include-ignored, or keep it out with .gitignore",
    )
