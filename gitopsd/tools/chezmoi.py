"""chezmoi: the home of one person, compared with and written from their source directory, run as that person.

Facts that the guards rest on, checked with chezmoi 2.73:

- chezmoi records for each target the SHA-256 of what it last wrote or re-added (`chezmoi state dump`), right after it
  did so. That record says what an edit of the target was made on; nothing else can, and nothing else is needed.
- A target that differs from its record is never overwritten with `--error-on-conflict`, nor one without a record
  with `--less-interactive` (a plain `apply` overwrites the latter, twpayne/chezmoi#1551). Other targets go on with
  `--keep-going`; each one left alone makes the exit status 1.
- One target that it cannot read or make (a template, an encrypted file without its key, a closed file) ends `status`
  without any output, and `re-add` before the targets that come after it.
- A directory that is to become something else, or nothing, is removed with all that is in it, whoever wrote that:
  chezmoi's record of a directory holds its mode only. `strangers` looks first.
- `run_` scripts are run by `apply`, as the person; those without `once_` or `onchange_` whenever something is written.
- Externals are left to the person: they need the network.
- It takes targets as arguments only, and every user of the host can read those. A target whose name holds a secret
  (`hidden`) is therefore never asked for, captured or written: it waits.
- With `git.autoAdd`, `autoCommit` or `autoPush` each command that writes the source directory (`add`, `re-add`,
  `forget`) ends with `git add .`, a commit and a push of all that is there, and no option or variable turns that off.
  What `dump-config` prints is a configuration that means the same; those commands get it with the three turned off.
"""

import hashlib
import io
import os
import re
import stat
import tarfile
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from gitopsd.errors import Failed
from gitopsd.tools.chezmoi_names import attributes, is_template, name_of
from gitopsd.tools.files import Files
from gitopsd.tools.git import foreign_error
from gitopsd.tools.process import Account, Processes, Result

T = TypeVar("T")

_TIMEOUT = 300.0  # seconds; a script or a password manager may take its time
_OUTPUT = 512 * 1024 * 1024  # bytes; all targets at once
UNNAMED = "its name looks like a secret, and others would see it: it needs another name"
_BATCH = 400  # targets on one command line
_WAITING = 30  # targets that cannot be read or made; if there are more, templates and encrypted files are left out
_SAID = "chezmoi: "  # how its own last words begin; before them is what the programs said that it ran
# What it shows of a file that it cannot parse: lines with their numbers, and a mark below one. They may hold anything.
_EXCERPT = re.compile(r"(?m)^[ \t]*(?:>[ \t]*)?\d+ \|.*(?:\n|$)|^[ \t]*\^[ \t]*(?:\n|$)")
_FOUND_INSTEAD = re.compile(r"(?m)(\bbut (?:found|got) ).*$")
_ROW = re.compile(r"[ ADMR][ ADMR] ")
_AUTOMATIC = ("autoadd", "autocommit", "autopush")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `chezmoi status`.

    Args:
        target: relative to the home.
        last: how it differs from what chezmoi last wrote: space, A, D or M.
        next: what `apply` would do with it: space, A, D, M or R.

    """

    target: str
    last: str
    next: str


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The home compared with the source directory.

    Args:
        rows: the targets that differ.
        broken: why templates could not be rendered; then they are not among the rows.
        waiting: the targets that chezmoi cannot read or make (a template fails, a key is missing, the file in the home
            is closed to the person), with the reason, where it is known which; the others are among the rows.

    """

    rows: tuple[Row, ...]
    broken: str = ""
    waiting: dict[str, str] = {}


class _Paths(msgspec.Struct, frozen=True, rename="camel"):
    source_absolute: str


class _Record(msgspec.Struct, frozen=True):
    type: str = ""
    sha256: str = msgspec.field(default="", name="contentsSHA256")


class _Records(msgspec.Struct, frozen=True, rename="camel"):
    entry_state: dict[str, _Record] = {}


class Home:
    """One person's home under chezmoi.

    Args:
        processes: starts chezmoi.
        account: the person.
        source: the source directory, absolute.
        hidden: whether the name of a target is to be in no list of arguments.
        told: what may be told of what it says when it fails: a script of the person's may have printed anything.

    """

    def __init__(
        self,
        processes: Processes,
        account: Account,
        source: str,
        *,
        hidden: Callable[[str], bool] = lambda _: False,
        told: Callable[[str], str] = str,
    ) -> None:
        self._processes = processes
        self._account = account
        self._source = source
        self._hidden = hidden
        self._told = told

    async def compare(self, targets: Sequence[str] = ()) -> Comparison:
        """What differs between home, source and chezmoi's record, for all targets or for these.

        Raises:
            Transient: the person runs chezmoi at this moment.
            Failed: the source directory cannot be read as one (two sources for one target, a broken ignore file).

        """
        # A person's configuration may have the names printed otherwise.
        options = ("status", "--path-style=relative", "--exclude=externals,always")
        waiting = dict.fromkeys(filter(self._hidden, targets), UNNAMED)
        asked = [target for target in targets if target not in waiting]
        if targets and not asked:
            return Comparison(rows=(), waiting=waiting)
        result = await self._try(*options, *(("--", *self._absolute(asked)) if asked else ()))
        while result.status != 0 and len(waiting) < _WAITING:
            # It ends at the first one, without any row: the others are asked for by name.
            known = await self.sources()
            failed, reason = _failed(result, known)
            if failed is None or failed in waiting:
                break
            waiting |= {failed: reason, **dict.fromkeys(filter(self._hidden, () if asked else known), UNNAMED)}
            others = [target for target in (asked or known) if target not in waiting]
            if not others:
                return Comparison(rows=(), waiting=waiting)
            result = await self._all(*options, "--recursive=false", targets=others)
        broken = ""
        if result.status != 0:
            broken, waiting = _reason(result), {}
            what = ("status", "--path-style=relative", "--exclude=externals,always,templates,encrypted")
            result = await self._run("cannot compare the home", *what)
        if not result.stdout:
            return Comparison(rows=(), broken=broken, waiting=waiting)
        known = await self.sources() if "\n" in result.stdout[:-1] and not _plain(result.stdout) else {}
        rows = parse_status(result.stdout, known.keys())
        waiting |= {row.target: UNNAMED for row in rows if self._hidden(row.target)}
        return Comparison(
            rows=tuple(row for row in rows if not self._hidden(row.target)), broken=broken, waiting=waiting
        )

    async def data(self) -> dict[str, Any]:
        """The variables that templates have, from all places."""
        return _decode(await self._run("cannot read chezmoi's data", "data", "--format=json"), dict[str, Any])

    async def parse(self, path: str) -> dict[str, Any]:
        """What a YAML file holds."""
        template = f"{{{{ include {msgspec.json.encode(path).decode()} | fromYaml | toJson }}}}"
        result = await self._run(f"cannot read {path}", "execute-template", stdin=template.encode())
        return {} if result.stdout.strip() == "null" else _decode(result, dict[str, Any])

    async def execute(self, file: str) -> bytes:
        """What a template in a file renders.

        Raises:
            Failed: it does not.

        """
        result = await self._run("cannot render a template", "execute-template", "--file", file)
        return result.stdout.encode(errors="surrogateescape")

    async def render(self, configuration: str = "", state: str = "") -> dict[str, bytes]:
        """What every target would hold, with one command; externals, scripts and encrypted files are left out.

        Args:
            configuration: a file to be taken for chezmoi's configuration.
            state: a file to be taken for chezmoi's record.

        """
        options = [f"--config={configuration}"] if configuration else []
        options += [f"--persistent-state={state}"] if state else []
        what = ("archive", *options, "--format=tar", "--exclude=externals,scripts,encrypted")
        result = await self._run("cannot render the templates", *what)
        found = {}
        raw = io.BytesIO(result.stdout.encode(errors="surrogateescape"))
        with tarfile.open(fileobj=raw, mode="r:", errors="surrogateescape") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isreg() else None
                content = file.read() if file is not None else os.fsencode(member.linkname)
                found[member.name] = b"%o %b" % (member.mode, content)
        return found

    async def constant_scripts(self) -> tuple[str, ...]:
        """The scripts that are run by every `apply`; to chezmoi's status, there is always something to do for them."""
        result = await self._run("cannot list scripts", "status", "--path-style=relative", "--include=always")
        found = (row.target for row in parse_status(result.stdout, ()) if row.next == "R")
        return tuple(script for script in found if not self._hidden(script))

    async def sources(self) -> dict[str, str]:
        """The source of each target, relative to the source directory."""
        result = await self._run("cannot list what chezmoi manages", "managed", "--format=json", "--path-style=all")
        found = _decode(result, dict[str, _Paths]) if result.stdout.strip() else {}
        return {target: paths.source_absolute.removeprefix(f"{self._source}/") for target, paths in found.items()}

    async def records(self) -> dict[str, str]:
        """The SHA-256 that chezmoi recorded for each target that it wrote; empty for directories."""
        result = await self._run("cannot read chezmoi's state", "state", "dump", "--format=json")
        entries = _decode(result, _Records).entry_state
        return {path.removeprefix(f"{self._account.home}/"): entry.sha256 for path, entry in entries.items()}

    async def re_add(self, targets: Sequence[str]) -> dict[str, str]:
        """Copy these targets to their sources. Templates are skipped by chezmoi, without an error.

        Returns:
            The targets that it could not copy, with the reason.

        """
        failed = {}
        async with self._without_git() as options:
            for batch in _batches(targets):
                if (await self._try("re-add", *options, "--", *self._absolute(batch))).status == 0:
                    continue
                for target in batch:  # it ends at the first one that it cannot copy
                    result = await self._try("re-add", *options, "--", *self._absolute([target]))
                    if result.status != 0:
                        failed[target] = _cause(result, _last_words(result))
        return failed

    async def add(self, targets: Sequence[str]) -> None:
        """Take these targets, which it does not know yet, into the source directory."""
        async with self._without_git() as options:
            for batch in _batches(targets):
                what = ("add", *options, "--", *self._absolute(batch))
                await self._run("cannot add to the source directory", *what)

    async def configure(self) -> None:
        """Make chezmoi's configuration from the template in the source directory, if there is one.

        Raises:
            Failed: the template asks something that has no default.

        """
        await self._run("cannot make chezmoi's configuration", "init", "--promptDefaults")

    async def overwrite(self, target: str) -> None:
        """Write one target, whatever is there."""
        # Of directories that are there, it would change the mode, and a link to one it would replace.
        parents = () if self._has_parent(target) else ("--parent-dirs",)
        arguments = ("apply", "--force", "--recursive=false", *parents, "--", *self._absolute([target]))
        await self._run(f"cannot write {target}", *arguments)

    async def forget(self, targets: Sequence[str]) -> None:
        """Take these targets out of the source directory, and out of chezmoi's record. The home is not touched."""
        async with self._without_git() as options:
            for batch in _batches(targets):
                what = ("forget", *options, "--force", "--", *self._absolute(batch))
                await self._run("cannot capture a deletion", *what)

    async def let_run(self, scripts: Sequence[str]) -> None:
        """Have scripts run by the next `apply` that were run before and are others now.

        chezmoi records a script that it ran like a file that it wrote, and takes a changed one for a conflict. Whether
        one that is to be run once has been run is in another record.
        """
        await self.forget_records(scripts)

    async def forget_records(self, targets: Sequence[str]) -> None:
        """Have chezmoi forget that it wrote these targets: it takes a file for one that was there before it."""
        for target in targets:
            arguments = ("state", "delete", "--bucket=entryState", f"--key={self._account.home}/{target}")
            await self._run("cannot change chezmoi's record", *arguments)

    async def apply(self, targets: Sequence[str]) -> bool:
        """Write these targets, except those that the person changed; False if some were left alone.

        Raises:
            Transient: the person runs chezmoi at this moment.

        """
        fine = True
        for batch in _batches(targets):
            result = await self._try(
                *("apply", "--error-on-conflict", "--less-interactive", "--keep-going", "--recursive=false"),
                *("--parent-dirs", "--", *self._absolute(batch)),
            )
            fine = fine and result.status == 0
        return fine

    async def recognize(self, seen: Comparison) -> None:
        """Have chezmoi record the files that are as the source has them and have no record, which it does by itself
        only for what it writes. Without one, a later edit could not be told from a file that was there before.

        Args:
            seen: what differs.

        """
        sources, records = await self.sources(), await self.records()
        known = records.keys() | {row.target for row in seen.rows} | seen.waiting.keys()
        if seen.broken:  # then it is not known which templates differ
            known |= {target for target, source in sources.items() if is_template(source)}
        new = (target for target in sources if target not in known and not self._hidden(target))
        if same := [target for target in new if stat.S_ISREG(self.kind(target))]:
            await self.apply(same)

    def kind(self, target: str) -> int:
        """The type of what is in the home (inode(7)); 0 if nothing is."""
        try:
            return stat.S_IFMT(os.lstat(f"{self._account.home}/{target}").st_mode)
        except OSError:
            return 0

    def size(self, target: str) -> int:
        """How many bytes a file of the home has; 0 if there is none."""
        try:
            return os.lstat(f"{self._account.home}/{target}").st_size
        except OSError:
            return 0

    def is_folder(self, source: str) -> bool:
        """Whether a source is a directory."""
        return Path(self._source, source).is_dir()

    def _has_parent(self, target: str) -> bool:
        return Path(self._account.home, target).parent.is_dir()

    def would_open(self, target: str, source: str) -> bool:
        """Whether to write a file would let others read it whom the person shut out, in a way that chezmoi cannot keep.

        Its sources have names for `private`, `readonly` and `executable` alone (modes 0644, 0600, 0444, 0755 ...): of
        0640 it makes 0644.
        """
        try:
            was = os.lstat(f"{self._account.home}/{target}").st_mode
        except OSError:
            return False
        if not stat.S_ISREG(was):
            return False
        mode, known = stat.S_IMODE(was), attributes(name_of(source))
        kept = _mode(private=not mode & 0o077, readonly=not mode & 0o222, executable=bool(mode & 0o111))
        written = _mode(private="private_" in known, readonly="readonly_" in known, executable="executable_" in known)
        return mode != kept and bool(written & ~mode & 0o077)

    async def strangers(self, folder: str, records: Mapping[str, str]) -> str:
        """Something in a directory of the home that chezmoi did not write, or that was changed since; empty if nothing.

        chezmoi removes a directory with all that is in it, and records of it no more than its mode.

        Args:
            folder: relative to the home.
            records: see `records`.

        """
        written, pending = list[str](), [folder]
        while pending:
            inside = pending.pop()
            try:
                with os.scandir(f"{self._account.home}/{inside}") as entries:
                    for entry in entries:
                        path = f"{inside}/{entry.name}"
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(path)
                        elif not records.get(path):
                            return path
                        else:
                            written.append(path)
            except OSError:
                return inside
        contents = await Files(self._processes, self._account).read(self._account.home, written)
        changed = (path for path in written if hashlib.sha256(contents.get(path, b"")).hexdigest() != records[path])
        return next(changed, "")

    @asynccontextmanager
    async def _without_git(self) -> AsyncIterator[tuple[str, ...]]:
        """The options for a command that writes the source directory: chezmoi is to commit and push nothing by itself.

        Raises:
            Failed: it is not known whether it would.

        """
        result = await self._run("cannot read chezmoi's configuration", "dump-config", "--format=json")
        configuration = _decode(result, dict[str, Any])
        automatic = automatic_git(configuration)
        if not automatic:
            yield ()
            return
        state = configuration.get("persistentState")
        if not state:  # it is where the configuration is
            template = '{{ joinPath (dir .chezmoi.configFile) "chezmoistate.boltdb" }}'
            found = await self._run("cannot find chezmoi's record", "execute-template", template)
            state = found.stdout.strip()
        path = f"{self._source}/.git/gitopsd-chezmoi.json"
        quiet = configuration | {"git": configuration["git"] | dict.fromkeys(automatic, False)}
        await Files(self._processes, self._account).write(path, msgspec.json.encode(quiet))
        try:
            yield (f"--config={path}", "--config-format=json", f"--persistent-state={state}")
        finally:
            await Files(self._processes, self._account).remove(path)

    async def _all(self, *arguments: str, targets: Sequence[str]) -> Result:
        """Ask the same of many targets, in as many commands as it takes; the first that fails ends it."""
        results = []
        for batch in _batches(targets):
            results.append(await self._try(*arguments, "--", *self._absolute(batch)))
            if results[-1].status != 0:
                return results[-1]
        return msgspec.structs.replace(results[-1], stdout="".join(each.stdout for each in results))

    def _absolute(self, targets: Sequence[str]) -> list[str]:
        if any(map(self._hidden, targets)):
            raise Failed(UNNAMED, meaning="it is left as it is", advice="give it another name")
        return [f"{self._account.home}/{target}" for target in targets]

    async def _run(self, what: str, *arguments: str, stdin: bytes | None = None) -> Result:
        result = await self._try(*arguments, stdin=stdin)
        if result.status != 0:
            # One source that it cannot take for one (a link to nowhere) ends it before it looks at any other.
            meaning = "nothing in the home was changed by this, and its dotfiles wait until chezmoi can go on"
            raise foreign_error(what, result, meaning=meaning, advice="put right what it names: `chezmoi status`")
        return result

    async def _try(self, *arguments: str, stdin: bytes | None = None) -> Result:
        result = await self._processes.run(
            (
                *("chezmoi", arguments[0], f"--source={self._source}", "--no-tty", "--no-pager", "--color=false"),
                *("--interactive=false", "--refresh-externals=never", *arguments[1:]),
            ),
            timeout=_TIMEOUT,
            account=self._account,
            stdin=stdin,
            check=False,
            output_limit=_OUTPUT,
        )
        if result.status != 0:
            result = msgspec.structs.replace(result, stderr=self._told(without_excerpts(result.stderr)))
        if result.status != 0 and "timeout obtaining persistent state lock" in result.stderr:
            raise foreign_error("chezmoi is in use", result)
        return result


def parse_status(text: str, known: Collection[str]) -> tuple[Row, ...]:
    """Read the output of `chezmoi status`, which has no escape for a newline in a name.

    Args:
        text: the output.
        known: names that decide where a name ends if a newline could be part of it.

    """
    rows = []
    while text:
        ends = [found.start() for found in re.finditer("\n", text)]
        possible = [end for end in ends if end + 1 == len(text) or _ROW.match(text, end + 1)] or ends[-1:]
        end = next((end for end in ends if text[3:end] in known), possible[0] if possible else len(text))
        rows.append(Row(target=text[3:end], last=text[0], next=text[1]))
        text = text[end + 1 :]
    return tuple(rows)


def automatic_git(configuration: Mapping[str, Any]) -> tuple[str, ...]:
    """Which of `git.autoAdd`, `autoCommit` and `autoPush` are on, as `chezmoi dump-config` spells them."""
    settings = configuration.get("git") or {}
    return tuple(name for name, on in settings.items() if name.lower() in _AUTOMATIC and on)


def _mode(*, private: bool, readonly: bool, executable: bool) -> int:
    """The mode of a file with these attributes, under the umask that commands are run with."""
    mode = 0o755 if executable else 0o644
    return mode & ~(0o077 if private else 0) & ~(0o222 if readonly else 0)


def without_excerpts(text: str) -> str:
    """What chezmoi says of a file that it cannot parse, without what stands in that: it is told, logged and shown."""
    return _FOUND_INSTEAD.sub(r"\1something else", _EXCERPT.sub("", text))


def _failed(result: Result, known: Collection[str]) -> tuple[str | None, str]:
    """The target that a command ended at, and why; None if it is not about a single one."""
    last = _last_words(result)
    ends = [found.start() for found in re.finditer(": ", last)]
    target = next((last[:end] for end in ends if last[:end] in known), None)
    return target, _reason(result) if target is None else _cause(result, last.removeprefix(f"{target}: "))


def _last_words(result: Result) -> str:
    return result.stderr.strip().rpartition(f"\n{_SAID}")[2].removeprefix(_SAID)


def _cause(result: Result, last: str) -> str:
    """What another program said if chezmoi tells no more than that it failed."""
    said = result.stderr.strip().partition("\n")[0]
    return said if last.startswith("exit status") and not said.startswith(_SAID) else last


def _reason(result: Result) -> str:
    return result.tail().removeprefix(_SAID)


def _plain(text: str) -> bool:
    return all(_ROW.match(line) for line in text.splitlines())


def _batches(targets: Sequence[str]) -> list[Sequence[str]]:
    return [targets[start : start + _BATCH] for start in range(0, len(targets), _BATCH)]


def _decode(result: Result, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(result.stdout.encode(errors="replace"), type=kind)
    except msgspec.DecodeError as error:
        raise Failed(
            f"chezmoi answered in an unknown form: {error}",
            meaning="the home is left as it is",
            advice="chezmoi --version  # gitopsd was made for 2.73",
        ) from error
