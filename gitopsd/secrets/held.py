"""What the gate stopped in a working copy: it stays in the files, and jj and git do not get to see it.

jj takes a snapshot with nearly every command, so the files themselves must be clean while one of ours runs. Around it,
what is stopped is moved to `.git/gitopsd/held`, the published version stands in its place, and afterwards it is moved
back. If we die in between, the next sync moves it back before it does anything else. If the published version changed
meanwhile, the two are merged; where that is impossible the person's version is kept in `.git/gitopsd/kept` and named.

A file is looked at again only if it changed: what is remembered is the inode's times and size, and git's names of
contents that passed. In a sync with nothing to do, that is one walk through the directory and no command.
"""

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from gitopsd.errors import Failed
from gitopsd.ports import Gate
from gitopsd.repo.engine import Engine
from gitopsd.repo.memory import decode_path, encode_path
from gitopsd.repo.traces import KEPT
from gitopsd.repo.trees import EMPTY_TREE, Entry, Trees
from gitopsd.secrets.allow import FILE as ALLOW_FILE
from gitopsd.secrets.gate import NO_SCANNER, SOPS_RULES
from gitopsd.secrets.rules import IN_NAME
from gitopsd.tools.files import UNFINISHED, Files
from gitopsd.tools.git import Git, printable
from gitopsd.tools.process import Account, Processes
from gitopsd.types import Candidate, Finding, Notice

_PLACE = ".git/gitopsd/held"
_MANIFEST = f"{_PLACE}/manifest.json"
_KEPT = f".git/{KEPT}"
_INDEX = ".git/gitopsd/index"
_FEW = 50  # changed files that are read to see whether they are what passed already

_Sign = tuple[int, ...]
_SIZE = 1  # where it stands in a sign


class _Held(msgspec.Struct, frozen=True, kw_only=True):
    """One file that is moved aside.

    Args:
        path: in the working copy, percent-encoded, since it need not be text.
        blob: the published version that stands in its place; empty if there is none.
        stands: where that stands, percent-encoded, if the file has another name there.
        mode: that of the published version, as git writes it.

    """

    path: str
    blob: str
    stands: str = ""
    mode: str = ""


class _Way(NamedTuple):
    """Where a file comes from and goes back to.

    Args:
        path: what it was called when it was moved aside.
        stands: where its published version stands now.
        goal: what it is called from now on.

    """

    path: str
    stands: str
    goal: str


class Clash(msgspec.Struct, frozen=True, kw_only=True):
    """A file that could not be moved back, since it was changed elsewhere at the same place.

    Args:
        path: in the working copy, which has the other version now.
        published: the SHA-256 of the version that was published before, in hexadecimal; empty if there was none.
        notice: where the person's version is.

    """

    path: str
    published: str
    notice: Notice


class Held:
    """Guards the working copy of one repository.

    Args:
        files: the person's.
        directory: the working copy.
        git: runs in it.
        trees: its objects.
        gate: decides.
        baseline: finds the commit whose files are published and that the working copy stands on; empty if there is none.
        same_file: two paths for which it returns the same are names of one file.

    """

    def __init__(
        self,
        files: Files,
        directory: str,
        git: Git,
        trees: Trees,
        gate: Gate,
        *,
        baseline: Callable[[], Awaitable[str]],
        same_file: Callable[[str], str],
    ) -> None:
        self._files = files
        self._root = Path(directory)
        self._git = git
        self._trees = trees
        self._gate = gate
        self._baseline = baseline
        self._same_file = same_file
        self._clean: dict[str, _Sign] = {}
        self._passed: dict[str, str] = {}  # by path, git's name of the content that passed
        self._stopped: dict[str, tuple[_Sign, tuple[Finding, ...]]] = {}
        self._clashes: list[Clash] = []
        self._seen: dict[str, _Sign] = {}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is stopped, as of the last look."""
        return tuple(finding for _, found in self._stopped.values() for finding in found)

    def holds(self, path: str) -> bool:
        """Whether a file of the working copy is stopped, under this name or another of the same file."""
        name = self._same_file(path)
        return any(self._same_file(held) == name for held in self._stopped)

    def hides(self, target: str) -> bool:
        """Whether a file is stopped for its name, which must be nowhere then.

        Args:
            target: what `same_file` makes of its path.

        """
        return any(
            self._same_file(path) == target
            for path, (_, found) in self._stopped.items()
            if any(each.rule.endswith(IN_NAME) for each in found)
        )

    def names(self) -> frozenset[str]:
        """The files of the working copy, as of the last look."""
        return frozenset(self._seen)

    def bigger_than(self, limit: int) -> dict[str, _Sign]:
        """The files of more than so many bytes, as of the last look, each with what changes when it is written."""
        return {path: sign for path, sign in self._seen.items() if sign[_SIZE] > limit}

    def let_pass(self, path: str, content: bytes) -> None:
        """Remember that this content of a file was looked at already."""
        self._passed[path] = _blob(content)

    def take_clashes(self) -> tuple[Clash, ...]:
        """The files that could not be moved back, since this was asked last."""
        clashes = tuple(self._clashes)
        self._clashes.clear()
        return clashes

    @asynccontextmanager
    async def aside(self) -> AsyncIterator[None]:
        """While this lasts, the working copy has the published version of what is stopped.

        Raises:
            Failed: it is not known what may pass.

        """
        await self.prepare()
        try:
            if self._stopped:
                await self._take()
            yield
        finally:
            if self._stopped:
                await self.put_back()

    async def prepare(self) -> None:
        """Move back what a sync that was killed left, and look at what changed."""
        await self.put_back()
        await self.look()

    async def look(self) -> None:
        """Look at the files that changed since the last look."""
        signs = self._seen = await asyncio.to_thread(walk, self._root)
        asked = {path for path, sign in signs.items() if self._clean.get(path) != sign}
        if asked & {ALLOW_FILE, SOPS_RULES}:
            self._stopped.clear()
        for path, (sign, found) in list(self._stopped.items()):
            # A rename changes an inode's ctime, and we rename what is stopped.
            if path not in signs or signs[path][:-1] != sign[:-1] or any(each.rule == NO_SCANNER for each in found):
                del self._stopped[path]
            else:
                asked.discard(path)
        if 0 < len(asked) <= _FEW:
            contents = await self._files.read(str(self._root), sorted(asked))
            passed = {path for path, content in contents.items() if self._passed.get(path) == _blob(content)}
            self._clean |= {path: signs[path] for path in passed}
            asked -= passed
        if asked:
            await self._ask(asked, signs)

    async def _ask(self, asked: set[str], signs: Mapping[str, _Sign]) -> None:
        base = await self._baseline() or EMPTY_TREE
        changed = await self._changed(base) & asked
        contents = await self._files.read(str(self._root), sorted(changed))
        published = await self._published(base, contents.keys())
        candidates = [
            Candidate(path=path, content=content, published=published.get(path, b""), is_new=path not in published)
            for path, content in contents.items()
        ]
        found = await self._gate.check(candidates)
        for path in asked:
            if path in found:
                self._stopped[path] = (signs[path], found[path])
            else:
                self._clean[path] = signs[path]
        self._passed |= {path: _blob(content) for path, content in contents.items() if path not in found}

    async def _changed(self, base: str) -> frozenset[str]:
        """The files that are not as the commit has them, or that it does not have; ignored ones are not among them."""
        index = self._root / _INDEX
        if not index.parent.is_dir():
            await self._files.make_directory(str(index.parent))
        env = {"GIT_INDEX_FILE": str(index)}
        await self._git.run("cannot compare the working copy", "read-tree", base, env=env)
        arguments = ("status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames")
        rows = (await self._git.run("cannot compare the working copy", *arguments, env=env)).stdout.split("\0")
        return frozenset(row[3:] for row in rows if row and row[1] != " ")

    async def _published(self, base: str, paths: Collection[str]) -> dict[str, bytes]:
        """The published version of each of these files, also under another name of it."""
        entries = await self._trees.entries(base, paths)
        twins = await self._twins(base, set(paths) - entries.keys())
        found = await self._trees.entries(base, set(twins.values()))
        entries |= {path: found[twin] for path, twin in twins.items() if twin in found}
        contents = await self._trees.contents({entry.blob for entry in entries.values() if entry.mode != "160000"})
        return {path: contents[entry.blob] for path, entry in entries.items() if entry.blob in contents}

    async def _twins(self, base: str, paths: Collection[str]) -> dict[str, str]:
        """What the commit calls each of these files, if it has them under another name."""
        if not paths:
            return {}
        names = {self._same_file(path): path for path in await self._trees.paths(base)}
        return {path: names[self._same_file(path)] for path in paths if self._same_file(path) in names}

    async def _take(self) -> None:
        """Move what is stopped aside, and put the published version in its place."""
        base = await self._baseline() or EMPTY_TREE
        entries = await self._trees.entries(base, self._stopped.keys())
        # A file that got another name is in the published version under its old one, and must not be missing there.
        twins = {
            path: twin
            for path, twin in (await self._twins(base, self._stopped.keys() - entries.keys())).items()
            if twin not in self._seen
        }
        entries |= await self._trees.entries(base, set(twins.values()))
        held = [_held(path, twins.get(path, path), entries) for path in self._stopped]
        await self._note(held)
        for path in self._stopped:
            await self._files.move(str(self._root / path), str(self._root / _place(path)))
        if not entries:
            return
        env = {"GIT_INDEX_FILE": str(self._root / _INDEX)}
        await self._git.run("cannot put a file in place", "read-tree", base, env=env)
        names = "".join(f"{path}\0" for path in entries).encode(errors="surrogateescape")
        # Not forced: what the person writes at this very moment is theirs, and is merged when all is moved back.
        arguments = ("checkout-index", "--quiet", "-z", "--stdin")
        done = await self._git.run(
            "cannot put a file in place", *arguments, stdin=names, env=env, fine=tuple(range(128))
        )
        if missing := [path for path in entries if not self._has(path)]:
            raise Failed(
                f"cannot put the published version of {', '.join(map(printable, missing))} in place: {done.stderr.strip()}",
                meaning="nothing of this directory is captured or published; what was held back is moved back",
                advice=f"look whether there is space left and {self._root} can be written to, then gitopsctl sync",
            )

    def _has(self, path: str) -> bool:
        return os.path.lexists(self._root / path)

    def _is_link(self, path: str) -> bool:
        return (self._root / path).is_symlink()

    async def _note(self, held: Sequence[_Held]) -> None:
        await self._files.write(str(self._root / _MANIFEST), msgspec.json.encode(held))

    async def put_back(self) -> None:
        """Move back what was moved aside, also by a sync that was killed. Repeatable."""
        if not (self._root / _MANIFEST).is_file():
            return
        raw = (await self._files.read(str(self._root), (_MANIFEST,))).get(_MANIFEST, b"[]")
        try:
            held = msgspec.json.decode(raw, type=list[_Held])
        except msgspec.DecodeError as error:
            raise Failed(
                f"{self._root}/{_MANIFEST} is damaged",
                meaning="nothing is captured or published; what was held back is beside it",
                advice=f"move what is in {self._root}/{_PLACE} to where it belongs, and remove it",
            ) from error
        ways = self._ways(held, await asyncio.to_thread(walk, self._root))
        names = {name for way in ways for name in (way.path, way.stands, _place(way.path))}
        now = await self._files.read(str(self._root), sorted(names))
        for number, (path, stands, goal) in enumerate(ways):
            if (ours := now.get(_place(path))) is None:
                continue  # it never was moved, or is back already
            if stands != path and (later := now.get(path)) is not None:
                await self._keep(path, ours, held[number])
                await self._files.move(str(self._root / path), str(self._root / _place(path)))
                ours = later
            theirs = now.get(stands)
            if theirs is not None and theirs != ours and _blob(theirs) != held[number].blob:
                merged = await self._merged(path, theirs, held[number])
                if merged is None:
                    await self._keep(path, ours, held[number])
                    await self._files.remove(str(self._root / _place(path)))
                    continue
                # First the merge, then the note of what it was made with, then the file: each may be the last.
                like = self._mode_from(path, stands, held[number])
                await self._files.write(str(self._root / _place(path)), merged, like=str(self._root / like))
                held[number] = msgspec.structs.replace(held[number], blob=_blob(theirs))
                await self._note(held)
            if stands != goal:
                await self._files.remove(str(self._root / stands))
            await self._files.move(str(self._root / _place(path)), str(self._root / goal))
        for left in (self._root / _PLACE).glob(f"{UNFINISHED}*"):  # what was being written when we were killed
            await self._files.remove(str(left))
        await self._files.remove(str(self._root / _MANIFEST))

    def _ways(self, held: Sequence[_Held], here: Collection[str]) -> list[_Way]:
        """Find for each where its published version stands by now: it may have got another name there meanwhile."""
        by_file: dict[str, list[str]] = {}
        for path in here:
            by_file.setdefault(self._same_file(path), []).append(path)
        known = {decode_path(name) for each in held for name in (each.path, each.stands)}
        ways = []
        for each in held:
            path = decode_path(each.path)
            stands = decode_path(each.stands or each.path)
            new = [name for name in by_file.get(self._same_file(path), ()) if name not in known]
            ways.append(_Way(path, new[0], new[0]) if new and stands not in here else _Way(path, stands, path))
        return ways

    async def _merged(self, path: str, theirs: bytes, held: _Held) -> bytes | None:
        """Ours with what changed in the published version meanwhile, or with what the person wrote; None if they clash."""
        ours = str(self._root / _place(path))
        if not held.blob or held.mode == "120000" or self._is_link(_place(path)):
            return None
        # Ours is no object of git's, and stays none. The others are beside it, so that no name of theirs is an argument.
        base, other = f"{ours}.base", f"{ours}.theirs"
        await self._files.write(base, await self._trees.content(held.blob))
        await self._files.write(other, theirs)
        arguments = ("merge-file", "--stdout", "--quiet", ours, base, other)
        result = await self._git.run("cannot merge a file", *arguments, fine=(*range(128), 255))
        for beside in (base, other):
            await self._files.remove(beside)
        return result.stdout.encode(errors="surrogateescape") if result.status == 0 else None

    def _mode_from(self, path: str, stands: str, held: _Held) -> str:
        """The file whose mode the merge gets: ours if the person changed it, else the published one."""
        was, ours = held.mode == "100755", (self._root / _place(path)).stat().st_mode & stat.S_IXUSR != 0
        return stands if was == ours else _place(path)

    async def _keep(self, path: str, ours: bytes, held: _Held) -> None:
        kept = self._free(path)
        await self._files.write(str(self._root / kept), ours)
        published = hashlib.sha256(await self._trees.content(held.blob)).hexdigest() if held.blob else ""
        self._clashes.append(Clash(path=path, published=published, notice=_kept(path, kept)))

    def _free(self, path: str) -> str:
        number = 1
        while (self._root / (place := f"{_KEPT}/{Path(path).name}.{number}")).exists():
            number += 1
        return place


def guard(
    processes: Processes,
    account: Account,
    directory: str,
    engine: Engine,
    gate: Gate,
    *,
    same_file: Callable[[str], str],
) -> Held:
    """Guard the working copy that an engine works on."""
    files = Files(processes, account)
    return Held(files, directory, engine.git, engine.trees, gate, baseline=engine.baseline, same_file=same_file)


def walk(root: Path) -> dict[str, _Sign]:
    """The files below a directory, each with what changes when it is written; git's and jj's own are left out."""
    found: dict[str, _Sign] = {}
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    path = f"{folder}{entry.name}"
                    if path in (".git", ".jj"):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(f"{path}/")
                        continue
                    was = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(was.st_mode) or stat.S_ISLNK(was.st_mode):
                        found[path] = (was.st_ino, was.st_size, was.st_mtime_ns, was.st_mode, was.st_ctime_ns)
        except OSError:
            continue  # gone, or closed: then neither git nor jj can read it
    return found


def _blob(content: bytes) -> str:
    """The name that git has for a content."""
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()


def _held(path: str, stands: str, entries: Mapping[str, Entry]) -> _Held:
    entry = entries.get(stands)
    return _Held(
        path=encode_path(path),
        blob=entry.blob if entry is not None else "",
        stands=encode_path(stands) if stands != path else "",
        mode=entry.mode if entry is not None else "",
    )


def _place(path: str) -> str:
    return f"{_PLACE}/{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}"


def _kept(path: str, kept: str) -> Notice:
    return Notice(
        what=f"{printable(path)} in the source directory is held back for a secret and was changed elsewhere at the same "
        f"place: your version is {kept}",
        path=printable(path),
        advice=f"git merge-file or an editor, from {kept}",
    )


def listed(findings: Iterable[Finding]) -> str:
    """Places, for a message."""
    return ", ".join(f"{each.path}:{each.line} ({each.rule})" for each in findings)
