"""git: the few verbs that the daemon needs beside jj.

Both halves use it: the config mirror (as root, bare) and the dotfiles (as the person, beside jj). What git and jj say
when a remote cannot be reached, or when something else holds a lock, is told apart here and nowhere else.
"""

import re
from collections.abc import Collection, Mapping

from gitopsd.errors import Cause, Transient
from gitopsd.tools.process import BASE_ENV, Account, CommandFailed, Processes, Result

_QUICK = 30.0  # seconds for a command that only reads this disk
NETWORK = 300.0  # seconds for one that talks to a remote
_QUESTION = 60.0  # seconds for one that only asks it something; a remote may accept, and never answer
_OUTPUT = 128 * 1024 * 1024  # bytes; a captured file may be printed whole

# What ssh, curl and git itself print when the remote cannot be reached. There is no exit status for it: git ends with
# 128 for everything, and jj runs git. The messages are those of LC_ALL=C (git 2.39 to 2.53, OpenSSH 9 and 10).
_UNREACHABLE = re.compile(
    r"ssh: connect to host|could not resolve host|could not resolve hostname|temporary failure in name resolution|name or service not known"
    r"|no address associated with hostname|network is unreachable|no route to host|connection refused"
    r"|connection timed out|operation timed out|connection reset|connection closed|broken pipe|failed to connect"
    r"|couldn't connect|unable to connect|the remote end hung up|early eof|kex_exchange_identification"
    r"|gnutls_handshake|ssl_connect|unexpected disconnect|empty reply from server"
    r"|the requested url returned error: (?:429|5\d\d)",
    re.IGNORECASE,
)
_LOCKED = re.compile(
    r"\.lock': file exists|unable to create .*\.lock|cannot lock ref|another git process|failed to lock"
    r"|could not acquire lock|the lock for resource|timeout obtaining persistent state lock",
    re.IGNORECASE,
)
_MOVED = re.compile(
    r"\[rejected\]|\[remote rejected\].*(?:cannot lock ref|failed to update ref)|stale info|non-fast-forward|fetch first"
    r"|cannot lock ref '[^']*': is at",
    re.IGNORECASE,
)


def foreign_error(what: str, result: Result, *, meaning: str = "", advice: str = "") -> Transient | CommandFailed:
    """Tell what a failed git, jj or chezmoi command means for the caller.

    Args:
        what: what was attempted, such as `cannot fetch from origin`.
        result: how the command ended.
        meaning: what it means for the machine, if trying again will not help.
        advice: the next command to type then.

    Returns:
        Transient with cause `remote_moved`, `lock_held` or `network` where trying again may help; else CommandFailed.

    """
    text = result.stderr
    for pattern, cause in ((_MOVED, Cause.remote_moved), (_LOCKED, Cause.lock_held), (_UNREACHABLE, Cause.network)):
        if found := pattern.search(text):
            line = next((line.strip() for line in text.splitlines() if found.group().casefold() in line.casefold()), "")
            return Transient(f"{what}: {line or found.group()}", cause=cause)
    return CommandFailed(result, what, meaning=meaning, advice=advice)


class Git:
    """Runs git in one repository.

    Args:
        processes: starts it.
        directory: the repository: a bare one, or a work tree with `.git`.
        account: whom it runs as; None is the daemon itself.
        ssh_key: the file of the one key that is shown to remotes; empty leaves it to ssh.

    """

    def __init__(
        self, processes: Processes, directory: str, account: Account | None = None, *, ssh_key: str = ""
    ) -> None:
        self._processes = processes
        self._directory = directory
        self._account = account
        # Not `-i`: ssh leaves out a file that is not there, and goes on with the person's other keys.
        key = f"{BASE_ENV['GIT_SSH_COMMAND']} -oIdentitiesOnly=yes -oIdentityFile={ssh_key}"
        self._env = {"GIT_SSH_COMMAND": key} if ssh_key else {}

    @property
    def directory(self) -> str:
        """The repository."""
        return self._directory

    async def ls_remote_refs(self, remote: str, *patterns: str) -> dict[str, str]:
        """The commits of the remote's refs that match, by full name, with one question to it.

        A pattern also matches longer refs that end in it (git-ls-remote(1)).

        Raises:
            Transient: the remote cannot be reached.

        """
        # Patterns are matched on this side; with `--heads` the remote sends branches only, and no tags and pull requests.
        # From 2.46 on git calls it `--branches`, and knows the old name.
        heads = ("--heads",) if patterns and all(pattern.startswith("refs/heads/") for pattern in patterns) else ()
        arguments = ("ls-remote", *heads, "--refs", "--", remote, *patterns)
        result = await self.run(f"cannot ask {remote}", *arguments, timeout=_QUESTION)
        pairs = (line.split("\t", 1) for line in result.stdout.splitlines())
        return {name: commit for commit, name in pairs}

    async def fetch(self, remote: str, *refspecs: str, prune: bool = False) -> None:
        """Bring what the refspecs name here; with `prune`, drop what the remote dropped.

        Raises:
            Transient: the remote cannot be reached.

        """
        await self.run(
            f"cannot fetch from {remote}",
            *("fetch", "--no-tags", "--no-write-fetch-head", "--no-auto-gc", "--quiet"),
            *(("--prune",) if prune else ()),
            *("--", remote, *refspecs),
            timeout=NETWORK,
        )

    async def rev_parse(self, revision: str) -> str | None:
        """The full name of the commit that `revision` names; None if there is none."""
        result = await self.run(
            f"cannot look up {revision}",
            *("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"),
            fine=(0, 1),
        )
        return result.stdout.strip() or None

    async def refs(self, *patterns: str) -> dict[str, str]:
        """The commits of this repository's refs that match, by full name; a pattern also matches what is below it."""
        result = await self.run("cannot read the refs", "for-each-ref", "--format=%(refname) %(objectname)", *patterns)
        return dict(line.split(" ") for line in result.stdout.splitlines())

    async def verify_objects(self, *, timeout: float) -> None:
        """Read all that the refs of this repository reach.

        Raises:
            CommandFailed: some of it is missing or damaged.

        """
        await self.run(
            f"{self._directory} is damaged",
            *("rev-list", "--quiet", "--verify-objects", "--objects", "--all"),
            timeout=timeout,
        )

    async def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Whether `ancestor` is `descendant` or one of its ancestors."""
        result = await self.run(
            f"cannot compare {ancestor} with {descendant}",
            *("merge-base", "--is-ancestor", ancestor, descendant),
            fine=(0, 1),
        )
        return result.status == 0

    async def subject(self, revision: str) -> str:
        """The first line of the commit's message, control characters removed."""
        result = await self.run(f"cannot read {revision}", "log", "-1", "--format=%s", "--end-of-options", revision)
        return "".join(character for character in result.stdout if character.isprintable())

    async def init_bare(self) -> None:
        """Create the bare repository; one that exists is left as it is."""
        await self.run(
            f"cannot create {self._directory}", *("init", "--quiet", "--bare", "--", self._directory), inside=False
        )

    async def update_ref(self, ref: str, commit: str) -> None:
        """Point a ref at a commit."""
        await self.run(f"cannot set {ref}", "update-ref", "--", ref, commit)

    async def delete_ref(self, ref: str) -> None:
        """Take a ref away; it is no error if there is none."""
        await self.run(f"cannot remove {ref}", "update-ref", "-d", "--", ref)

    async def contents(self, blobs: Collection[str]) -> dict[str, bytes]:
        """What many blobs hold, with one command."""
        asked = "".join(f"{blob}\n" for blob in blobs).encode()
        result = await self.run("cannot read files of commits", "cat-file", "--batch", stdin=asked)
        raw, found, at = result.stdout.encode(errors="surrogateescape"), dict[str, bytes](), 0
        for _ in blobs:
            end = raw.index(b"\n", at)
            blob, _kind, size = raw[at:end].decode().split(" ")
            found[blob] = raw[end + 1 : end + 1 + int(size)]
            at = end + int(size) + 2
        return found

    async def run(
        self,
        what: str,
        *arguments: str,
        fine: tuple[int, ...] = (0,),
        timeout: float = _QUICK,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        inside: bool = True,
    ) -> Result:
        """Run a verb that has no method of its own.

        Args:
            what: what is attempted, for the error: `cannot fetch from origin`.
            arguments: verb and arguments.
            fine: the exit statuses that are answers and not failures.
            timeout: seconds.
            stdin: what it reads.
            env: added to the environment.
            inside: run it in the repository.

        Raises:
            Transient: the remote cannot be reached or has moved, or something else holds a lock.
            CommandFailed: anything else went wrong.

        """
        where = ("-C", self._directory) if inside else ()
        result = await self._processes.run(
            # Hooks and a file system monitor are programs that a repository names; the daemon asked for neither.
            ("git", *where, "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", *arguments),
            timeout=timeout,
            account=self._account,
            stdin=stdin,
            env={**self._env, **(env or {})},
            check=False,
            output_limit=_OUTPUT,
        )
        if result.status not in fine:
            raise foreign_error(what, result)
        return result


def printable(text: str) -> str:
    """A path or message fit for a terminal and for JSON: control characters and undecodable bytes replaced."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
