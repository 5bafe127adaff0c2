"""jj: the verbs that touch a working copy, run as the person whose repository it is.

Everything is asked for in templates that print JSON (`json()`, since jj 0.31); nothing reads prose. Checked with
jj 0.46. Refs are moved with git (`tools.git`), in one transaction, and jj imports them at its next command, as it
does in any colocated repository after a `git fetch`.
"""

from collections.abc import Collection

import msgspec

from gitopsd.errors import Failed
from gitopsd.tools.files import Files
from gitopsd.tools.git import foreign_error
from gitopsd.tools.process import Account, Processes

_TIMEOUT = 120.0  # seconds; a first snapshot of many files takes its time
NEW_FILE_LIMIT = 64 * 1024 * 1024  # bytes; a bigger new file stays untracked and is reported

_CONFIG = (
    # jj's own limit of 1 MiB would leave an added file out with a warning and exit status 0.
    f"snapshot.max-new-file-size={NEW_FILE_LIMIT}",
    # A person who tracks files one by one would have `chezmoi add` forgotten.
    'snapshot.auto-track="all()"',
    # A jj that was ended while it wrote the working copy left it stale; jj snapshots what is there before it goes on.
    "snapshot.auto-update-stale=true",
    # Refs move under jj on purpose here. Nothing that a person made is hidden for that.
    "git.abandon-unreachable-commits=false",
)
_CHOSEN = ".git/gitopsd/chosen.toml"
_ROOT = "0" * 40  # jj's root commit, which git does not have
_COMMIT = (
    '"{\\"commit\\":" ++ json(commit_id) ++ ",\\"change\\":" ++ json(change_id)'
    ' ++ ",\\"parents\\":[" ++ parents.map(|p| json(p.commit_id())).join(",") ++ "]"'
    ' ++ ",\\"conflict\\":" ++ json(conflict) ++ ",\\"empty\\":" ++ json(empty)'
    ' ++ ",\\"description\\":" ++ json(description) ++ "}\\n"'
)
# What a change was earlier is told as entries of its evolution, each with a commit; those in conflict are left out.
_EARLIER = (
    'if(commit.conflict(), "", commit.commit_id() ++ " " ++ commit.parents().map(|p| p.commit_id()).join(" ") ++ "\\n")'
)


class WorkingCopy(msgspec.Struct, frozen=True, kw_only=True):
    """The working-copy commit `@`.

    Args:
        commit: its git commit.
        change: its change id, which stays the same when it is amended.
        parents: the git commits it stands on; none if it stands on jj's root.
        conflict: it has conflicts that are not resolved.
        empty: it changes nothing.
        description: what the person wrote about it.
        raw: if it has conflicts, jj's own commit; then `commit` is what `repo.unsettled` made of it.
        unsettled: the paths in conflict that are text between markers in `commit`.
        apart: those that are in `commit` as if nothing had been done to them.

    """

    commit: str
    change: str
    parents: tuple[str, ...]
    conflict: bool
    empty: bool
    description: str
    raw: str = ""
    unsettled: frozenset[str] = frozenset()
    apart: frozenset[str] = frozenset()

    @property
    def in_conflict(self) -> frozenset[str]:
        """The paths in conflict."""
        return self.unsettled | self.apart


class Jj:
    """Runs jj in one colocated repository.

    Args:
        processes: starts it.
        directory: the working copy.
        account: whom it runs as.
        trunk: the trunk's bookmark on the remote, such as `main@origin`; it need not exist.

    """

    def __init__(self, processes: Processes, directory: str, account: Account, trunk: str) -> None:
        self._processes = processes
        self._directory = directory
        self._account = account
        self._files = Files(processes, account)
        name, _, remote = trunk.rpartition("@")
        # jj writes `trunk()` into a repository's configuration when it is created; if that bookmark is gone from the
        # remote, every command fails that asks what is immutable.
        target = f'present("{name}"@"{remote}")'
        self._config = (*_CONFIG, f"revset-aliases.\"trunk()\"='{target}'")

    async def init(self) -> None:
        """Make a jj repository beside git's; what is in the files is taken for edits on top of git's HEAD."""
        await self._run("cannot make a jj repository", "git", "init", "--colocate", "--quiet")

    async def working_copy(self) -> WorkingCopy:
        """Snapshot the working copy (what is in the files goes into `@`), import git's refs, and say what `@` is."""
        return await self._commit("@", snapshot=True)

    async def left(self, here: WorkingCopy) -> WorkingCopy | None:
        """What became of a working copy that was moved away from, without looking at the files; None if it was abandoned.

        A jj that was killed, or two at once, leave several commits of one change (jj calls it divergent). Ours is then the
        one that it was, or, if the move took a snapshot, the newest.
        """
        what, change = "cannot look up a change", f"change_id({here.change})"
        found = (await self._run(what, *_log(change), snapshot=False)).splitlines()
        commits = list(map(_parse, found))
        if len(commits) > 1:
            same = [each for each in commits if each.commit in (here.commit, here.raw)]
            commits = same or [_parse(await self._run(what, *_log(f"latest({change})"), snapshot=False))]
        return commits[0] if commits else None

    async def earlier(self, here: WorkingCopy, limit: int = 100) -> tuple[str, ...]:
        """The commits that the working copy was before on the same parents, newest first: snapshots of one work."""
        arguments = ("evolog", "--no-graph", "-r", here.raw or here.commit, "-n", str(limit), "-T", _EARLIER)
        lines = (await self._run("cannot read what the working copy was", *arguments, snapshot=False)).splitlines()
        found = [line.split() for line in lines]
        wanted = list(here.parents or (_ROOT,))
        return tuple(commit for commit, *parents in found if parents == wanted and commit != here.commit)

    async def new(self, commit: str) -> None:
        """Snapshot, then put a new, empty working-copy commit on `commit` and write its files."""
        await self._run("cannot move the working copy", "new", "--quiet", commit)

    async def beside(self, commit: str, source: str, paths: Collection[str]) -> str:
        """Make a change on `commit` that has these paths as `source` has them, conflicts included; moves nothing.

        Returns:
            Its change id.

        """
        await self._run("cannot make a change", "new", "--quiet", "--no-edit", commit, snapshot=False)
        # Any change that says nothing and has nothing will do: that one, or one that was left by a sync that was killed.
        fresh = f'latest(children({commit}) & empty() & description(exact:"") ~ working_copies())'
        arguments = ("log", "--no-graph", "-r", fresh, "-T", "change_id")
        change = await self._run("cannot find a change", *arguments, snapshot=False)
        # By a name that a file of ours gives them: every user of the host can read a list of arguments.
        chosen = " | ".join(f"root-file:{_quoted(path)}" for path in sorted(paths))
        file = f"{self._directory}/{_CHOSEN}"
        await self._files.write(file, f"[fileset-aliases]\ngitopsd-chosen = {_toml(chosen)}\n".encode())
        try:
            into = ("restore", "--quiet", f"--config-file={file}", "--from", source, "--into", change, "gitopsd-chosen")
            await self._run("cannot carry a conflict on", *into, snapshot=False)
        finally:
            await self._files.remove(file)
        return change

    async def conflicts(self, commit: str) -> tuple[str, ...]:
        """The paths of a commit that are in conflict."""
        arguments = ("file", "list", "-r", commit, "-T", 'if(conflict, json(path) ++ "\\n", "")')
        lines = (await self._run("cannot list conflicts", *arguments, snapshot=False)).splitlines()
        return tuple(msgspec.json.decode(line, type=str) for line in lines)

    async def edit(self, revision: str) -> None:
        """Make an existing commit, or a change, the working copy, after a snapshot of what is in the files."""
        await self._run("cannot move the working copy back", "edit", "--quiet", revision)

    async def abandon(self, revision: str) -> None:
        """Take it out of sight, once its content is published under another name. It stays in the op log."""
        await self._run("cannot abandon a change", "abandon", "--quiet", revision, snapshot=False)

    async def track(self, bookmark: str, remote: str) -> None:
        """Let the local bookmark follow the remote's (`chezmoi init` and `jj git init --colocate` do not)."""
        await self._run("cannot track a bookmark", "bookmark", "track", "--quiet", f"{bookmark}@{remote}")

    async def any_conflict(self, revset: str) -> bool:
        """Whether a commit of the set has unresolved conflicts; git would publish them as odd directories."""
        arguments = ("log", "--no-graph", "-n1", "-r", f"conflicts() & ({revset})", "-T", "commit_id")
        return bool(await self._run("cannot look for conflicts", *arguments, snapshot=False))

    async def operation(self) -> str:
        """The id of the last operation, to go back to with `restore`."""
        arguments = ("op", "log", "--no-graph", "-n1", "-T", "id")
        return await self._run("cannot read the operation log", *arguments, snapshot=False)

    async def restore(self, operation: str) -> None:
        """Bring repository and working copy back to an operation; what was snapshotted since stays in the op log."""
        await self._run("cannot go back to an earlier operation", "op", "restore", "--quiet", operation)

    async def _commit(self, revision: str, *, snapshot: bool) -> WorkingCopy:
        return _parse(await self._run("cannot read the working copy", *_log(revision), snapshot=snapshot))

    async def _run(self, what: str, *arguments: str, snapshot: bool = True) -> str:
        options = [option for setting in self._config for option in ("--config", setting)]
        if not snapshot:
            options.append("--ignore-working-copy")
        result = await self._processes.run(
            ("jj", *arguments, "--no-pager", "--color=never", *options),
            timeout=_TIMEOUT,
            account=self._account,
            cwd=self._directory,
            check=False,
        )
        if result.status != 0:
            raise foreign_error(what, result)
        return result.stdout


def _log(revision: str) -> tuple[str, ...]:
    return ("log", "--no-graph", "-r", revision, "-T", _COMMIT)


def _quoted(path: str) -> str:
    """A path as a string of jj's language of filesets, which has JSON's escapes for what needs one."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + '"'


def _toml(text: str) -> str:
    """A text as a basic string of TOML."""
    return (
        '"' + "".join(f"\\u{ord(sign):04x}" if sign in '"\\' or not sign.isprintable() else sign for sign in text) + '"'
    )


def _parse(text: str) -> WorkingCopy:
    try:
        found = msgspec.json.decode(text.encode(errors="replace"), type=WorkingCopy)
    except msgspec.DecodeError as error:
        raise Failed(
            f"jj answered in an unknown form: {error}",
            meaning="the dotfiles are left as they are",
            advice="jj --version  # gitopsd was made for 0.46",
        ) from error
    return msgspec.structs.replace(found, parents=tuple(parent for parent in found.parents if parent != _ROOT))
