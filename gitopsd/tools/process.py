"""The one place where a program is started.

Every program gets a session and process group of its own (so no terminal and no signal meant for us), an explicit
environment, a time limit, bounded output, and the account it runs as. What it started is ended with it.
"""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import IO, Any

import msgspec

from gitopsd.errors import Cause, Failed, ToolMissing, Transient

_TAIL = 4000  # characters of stderr in an error
_GRACE = 3.0  # seconds between SIGTERM and SIGKILL
_CHUNK = 65536

# A program finds nothing but this in its environment, unless the caller adds to it. LC_ALL keeps messages in the
# language that error classification reads; C.UTF-8 keeps names with non-ASCII characters.
BASE_ENV = {
    "LC_ALL": "C.UTF-8",
    "TERM": "dumb",
    "GIT_TERMINAL_PROMPT": "0",
    # Nobody is there to be asked, and a host key that is not known is refused, whatever ssh_config(5) says.
    "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oStrictHostKeyChecking=yes -oConnectTimeout=10 -oServerAliveInterval=10"
    " -oServerAliveCountMax=3",
}


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A person of this host (passwd(5)).

    Args:
        name: the login name.
        uid: the user id.
        gid: the primary group's id.
        groups: all group ids.
        home: the home directory.

    """

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str

    @classmethod
    def of(cls, name: str) -> "Account":
        """Look the person up.

        Raises:
            Failed: there is no such user on this host.

        """
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise Failed(
                f"there is no user {name!r} on this host",
                meaning="their dotfiles are not kept in step; everything else goes on",
                advice="correct `user` under [[dotfiles]] in the configuration",
            ) from None
        return cls(
            name=name,
            uid=entry.pw_uid,
            gid=entry.pw_gid,
            groups=tuple(os.getgrouplist(name, entry.pw_gid)),
            home=entry.pw_dir,
        )


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How a program ended.

    Args:
        argv: what was run.
        status: the exit status; negative is the signal that ended it.
        stdout: decoded, at most `output_limit` bytes of it.
        stderr: the last part of it.

    """

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str

    def tail(self) -> str:
        """The end of stderr, for an error message."""
        return self.stderr.strip()[-_TAIL:]


class CommandFailed(Failed):
    """A program ended with a status that is not 0.

    Args:
        result: how it ended.
        what: what it was to do: `cannot read the refs`.
        meaning: what it means for the machine.
        advice: the next command to type.

    """

    def __init__(self, result: Result, what: str = "", *, meaning: str = "", advice: str = "") -> None:
        reason = result.tail() or "no message"
        how = f"exit status {result.status}" if result.status >= 0 else f"killed by signal {-result.status}"
        message = f"`{' '.join(result.argv[:3])}` failed ({how}): {reason}"
        super().__init__(f"{what}: {message}" if what else message, meaning=meaning, advice=advice)
        self.result = result


class Processes:
    """Starts programs.

    Args:
        path: the PATH that programs are looked up in and get.

    """

    def __init__(self, path: str | None = None) -> None:
        self._path = path or os.environ.get("PATH", os.defpath)

    def has(self, program: str) -> bool:
        """Whether there is such a program."""
        return shutil.which(program, path=self._path) is not None

    async def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        through: Sequence[str] = (),
        account: Account | None = None,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        check: bool = True,
        on_stderr: Callable[[str], None] | None = None,
        output_limit: int = 8 * 1024 * 1024,
    ) -> Result:
        """Run a program to its end.

        Args:
            argv: program and arguments; the program is looked up in PATH.
            timeout: seconds, after which the whole process group is ended.
            through: a command that the daemon itself runs, and that runs the program in its own place, such as
                `systemd-run --scope --`; empty for none.
            account: whom it runs as; None is the daemon itself.
            cwd: the directory it starts in; default is the account's home, or `/`.
            env: added to the small base environment.
            stdin: what it reads; default is nothing.
            check: raise if it fails.
            on_stderr: called with each complete line of stderr as it comes.
            output_limit: bytes of stdout kept; more than that is an error.

        Raises:
            ToolMissing: there is no such program.
            Transient: it ran over its time (cause `timeout`).
            CommandFailed: its status is not 0 and `check` is set.
            Failed: it printed more than `output_limit` bytes.

        """
        child = self._start(argv, through=through, account=account, cwd=cwd, env=env or {}, reads=stdin is not None)
        try:
            async with asyncio.timeout(timeout):
                stdout, stderr = await _communicate(child, argv[0], stdin, on_stderr, output_limit)
        except TimeoutError:
            raise Transient(f"`{' '.join(argv[:3])}` did not end within {timeout:g} s", cause=Cause.timeout) from None
        finally:
            await _end_group(child)
        result = Result(argv=tuple(argv), status=child.returncode, stdout=stdout, stderr=stderr)
        if check and result.status != 0:
            raise CommandFailed(result)
        return result

    def _start(
        self,
        argv: Sequence[str],
        *,
        through: Sequence[str],
        account: Account | None,
        cwd: str | None,
        env: Mapping[str, str],
        reads: bool,
    ) -> "subprocess.Popen[bytes]":
        environment = {"PATH": self._path, **BASE_ENV}
        where = cwd or "/"
        if account is not None:
            environment |= {"HOME": account.home, "USER": account.name, "LOGNAME": account.name}
            where = cwd or account.home
        else:
            environment |= {"HOME": "/root", "USER": "root", "LOGNAME": "root"}
        environment |= env
        program = shutil.which(argv[0], path=environment["PATH"])
        if program is None:
            raise _missing(argv[0])
        try:
            return subprocess.Popen(  # asyncio's own does the same; its wait() waits for the pipes
                [*through, *_become(account), program, *argv[1:]],
                stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=where,
                env=environment,
                start_new_session=True,
                umask=0o022,
            )
        except FileNotFoundError as error:
            if error.filename == where:
                raise Failed(
                    f"cannot run `{argv[0]}`: the directory {where} does not exist",
                    meaning="the step that needs it cannot run",
                    advice=f"`ls -ld {where}`",
                ) from error
            raise _missing(str(error.filename)) from error
        except PermissionError as error:
            who = account.name if account is not None else "root"
            raise Failed(
                f"cannot run `{argv[0]}` as {who} in {where}: {error.strerror}",
                meaning="the step that needs it cannot run",
                advice=f"`namei -l {where}` tells who may go there",
            ) from error


def _become(account: Account | None) -> list[str]:
    """The words before a command that make it run as somebody else.

    Popen's own `user=` would do the same, and costs 4 ms a command: it forks where else it could vfork.
    """
    if account is None or os.geteuid() == account.uid:
        return []
    groups = f"--groups={','.join(map(str, account.groups))}" if account.groups else "--clear-groups"
    return ["setpriv", f"--reuid={account.uid}", f"--regid={account.gid}", groups, "--"]


def _missing(program: str) -> ToolMissing:
    return ToolMissing(
        f"the program `{program}` is not on the daemon's PATH",
        meaning="the step that needs it cannot run; nothing was changed",
        advice=f"install {program} and `systemctl restart gitopsd.service`",
    )


async def _communicate(
    child: "subprocess.Popen[bytes]",
    name: str,
    stdin: bytes | None,
    on_stderr: Callable[[str], None] | None,
    output_limit: int,
) -> tuple[str, str]:
    async def feed() -> None:
        if child.stdin is None:
            return
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, child.stdin)
        writer = asyncio.StreamWriter(transport, protocol, None, loop)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may end without reading all
            writer.write(stdin or b"")
            await writer.drain()
        writer.close()

    out, err = bytearray(), bytearray()

    async def collect() -> None:
        async for chunk in _chunks(child.stdout):
            out.extend(chunk)
            if len(out) > output_limit:
                raise Failed(
                    f"`{name}` printed more than {output_limit} bytes and was ended",
                    meaning="nothing of what it printed is used",
                    advice=f"run `{name}` by hand and see what it prints without end",
                )

    async def listen() -> None:
        pending = bytearray()
        async for chunk in _chunks(child.stderr):
            err.extend(chunk)
            del err[: -4 * _TAIL]
            if on_stderr is not None:
                *lines, rest = (pending + chunk).split(b"\n")
                pending = bytearray(rest[-_CHUNK:])
                for line in lines:
                    on_stderr(line.decode(errors="replace"))

    ended = asyncio.create_task(_ended(child))
    tasks: set[asyncio.Task[Any]] = {ended, *map(asyncio.create_task, (collect(), listen(), feed()))}
    try:
        pending, left_over = tasks, True
        while pending and left_over:
            # A grandchild that keeps the pipes open must not keep us waiting. One in a session of its own (a daemon, such
            # as git's credential cache) is not ended with the group: then what was printed so far is all there is.
            linger = _GRACE if ended.done() else None
            done, pending = await asyncio.wait(pending, timeout=linger, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if not done:
                left_over = _signal_group(child.pid, signal.SIGKILL)
        return out.decode(errors="surrogateescape"), err.decode(errors="replace")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _chunks(pipe: IO[bytes] | None) -> AsyncIterator[bytes]:
    assert pipe is not None  # noqa: S101  # opened as a pipe above
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        while chunk := await reader.read(_CHUNK):
            yield chunk
    finally:
        transport.close()


async def _ended(child: "subprocess.Popen[bytes]") -> None:
    """Wait until the child has ended (pidfd_open(2): readable then)."""
    if child.poll() is not None:
        return
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    fd = os.pidfd_open(child.pid)
    loop.add_reader(fd, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)
    child.wait()


async def _end_group(child: "subprocess.Popen[bytes]") -> None:
    """End whatever is left of the process group; the leader may be gone already."""
    if child.poll() is None:
        _signal_group(child.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                await _ended(child)
    _signal_group(child.pid, signal.SIGKILL)
    await _ended(child)


def _signal_group(pid: int, number: signal.Signals) -> bool:
    """Signal what is left of a process group; whether anything was."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
