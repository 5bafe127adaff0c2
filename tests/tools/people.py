"""A host as the tests see it: a home of its own, and a `PersonDotfiles` that really becomes the person."""

import asyncio
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest

from gitopsd.choices.person import PersonChoices
from gitopsd.choices.turn import Turn
from gitopsd.config import DotfilesConfig
from gitopsd.dotfiles.person import PersonDotfiles
from gitopsd.errors import Cause, GitopsdError, Transient
from gitopsd.tools.process import Account, Processes, Result
from gitopsd.types import Facts, PersonFacts, SyncWord

MESSAGE = "chore({host}): auto-update 2026-11-24T13:00:00Z"


PEOPLE = {"rain": 1000, "olga": 1001}


def lacks(what: str) -> NoReturn:
    """Skip the test; where everything has to be there, fail it."""
    reason = f"needs {what}: run it in the lab's image, with `make tools`"
    if os.environ.get("GITOPSD_LAB_REQUIRED") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def need_people() -> None:
    """The persons are users of this machine, or the test does not run here."""
    if os.geteuid() != 0 or shutil.which("jj") is None or shutil.which("chezmoi") is None:
        lacks("root, jj and chezmoi")
    known = {entry.pw_name for entry in pwd.getpwall()}
    for name, uid in PEOPLE.items():
        if name not in known:
            subprocess.run(["useradd", "--uid", str(uid), "--create-home", name], check=True)


class Unheard:
    """What steps report to nobody; how they try again is for a subclass to say: then it is a `ports.Reporter`."""

    async def checkpoint(self, facts: Facts) -> None:
        pass

    def line(self, text: str) -> None:
        pass

    def progress(self, text: str) -> None:
        pass

    def awaited(self) -> bool:
        return False


class Killed(BaseException):
    """The daemon died here."""


class Watched(Processes):
    """Counts commands, and dies before the command with number `dies_at`."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: list[tuple[str, ...]] = []
        self.dies_at: int | None = None
        self.instead: dict[str, Result] = {}

    async def run(self, argv: Sequence[str], **options: Any) -> Result:
        assert options.get("account") is not None, f"{argv} would run as root"
        if self.dies_at is not None and len(self.ran) >= self.dies_at:
            raise Killed
        self.ran.append(tuple(argv))
        for word, result in self.instead.items():
            if word in argv:
                return result
        return await super().run(argv, **options)

    def verbs(self) -> list[str]:
        """The commands without their options: `git ls-remote`, `jj log`."""
        known = ("config", "ls-remote", "for-each-ref", "log", "status", "re-add", "apply", "push", "new", "fetch")
        return [f"{argv[0]} {next((word for word in argv[1:] if word in known), argv[1])}" for argv in self.ran]


class Remote:
    """A bare repository that anybody may write."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path) -> "Remote":
        git("init", "--quiet", "--bare", "--initial-branch=main", str(path))
        git("-C", str(path), "config", "core.sharedRepository", "0666")
        subprocess.run(["chmod", "-R", "a+rwX", str(path)], check=True)
        return cls(path)

    def heads(self) -> dict[str, str]:
        lines = git("-C", str(self.path), "for-each-ref", "--format=%(refname:short) %(objectname)").splitlines()
        return dict(line.split(" ") for line in lines)

    def show(self, branch: str, path: str) -> str:
        return git("-C", str(self.path), "show", f"{branch}:{path}")

    def files(self, branch: str) -> set[str]:
        return set(git("-C", str(self.path), "ls-tree", "-r", "--name-only", branch).splitlines())

    def everything(self) -> str:
        """The content of all that is reachable from any branch, all versions."""
        return git("-C", str(self.path), "log", "--all", "-p", "-m", "--format=%H %s", "--text")


class Host:
    def __init__(self, name: str, user: str, home: Path, remote: Remote) -> None:
        entry = pwd.getpwnam(user)
        self.name, self.home, self.remote = name, home, remote
        self.account = Account(name=user, uid=entry.pw_uid, gid=entry.pw_gid, groups=(entry.pw_gid,), home=str(home))
        self.source = home / ".local/share/chezmoi"
        self.config = DotfilesConfig(user=user, repo_url=str(remote.path))
        self.processes = Watched()
        self.dotfiles = self.start()

    @classmethod
    def create(cls, name: str, user: str, home: Path, remote: Remote) -> "Host":
        """A person with an empty home."""
        host = cls(name, user, home, remote)
        home.mkdir()
        os.chown(home, host.account.uid, host.account.gid)
        for key, value in (("name", user), ("email", f"{user}@example.org")):
            host.run("git", "config", "--global", f"user.{key}", value)
        host.run("git", "config", "--global", "safe.directory", "*")
        return host

    def start(self) -> PersonDotfiles:
        """A daemon that has just started, and remembers nothing."""
        self.dotfiles = PersonDotfiles(self.processes, self.config, host=self.name, account=self.account)
        self.choices = PersonChoices(
            self.processes, self.config, host=self.name, turn=Turn(), now=time.time, account=self.account
        )
        return self.dotfiles

    def set(self, **changes: Any) -> None:
        self.config = msgspec.structs.replace(self.config, **changes)
        self.start()

    def run(self, *argv: str, where: Path | None = None) -> str:
        """As the person, in their home."""
        done = subprocess.run(
            argv,
            cwd=where or self.home,
            env={"HOME": str(self.home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "USER": self.account.name},
            user=self.account.uid,
            group=self.account.gid,
            extra_groups=[],
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, f"{argv}: {done.stderr.decode()}"
        return done.stdout.decode(errors="surrogateescape")

    def write(self, path: str, content: str) -> None:
        target = self.home / path
        missing = [parent for parent in reversed(target.parents) if not parent.exists()]
        for parent in missing:
            parent.mkdir()
            os.chown(parent, self.account.uid, self.account.gid)
        target.write_text(content)
        os.chown(target, self.account.uid, self.account.gid)

    def read(self, path: str) -> str:
        return (self.home / path).read_text()

    def edit(self, path: str, old: str, new: str) -> None:
        content = self.read(path)
        assert old in content
        self.write(path, content.replace(old, new))

    def add(self, path: str, content: str, *options: str) -> None:
        self.write(path, content)
        self.run("chezmoi", "add", *options, "--", str(self.home / path))

    def begin(self, files: Mapping[str, str]) -> None:
        """The first host: files under chezmoi, a jj repository, pushed once by hand."""
        self.run("chezmoi", "init")
        for path, content in files.items():
            self.add(path, content)
        for command in (
            ("git", "add", "-A"),
            ("git", "commit", "--quiet", "-m", "first"),
            ("git", "branch", "-M", "main"),
            ("git", "remote", "add", "origin", str(self.remote.path)),
            ("git", "push", "--quiet", "-u", "origin", "main"),
            ("jj", "git", "init", "--colocate", "--quiet"),
        ):
            self.run(*command, where=self.source)

    def join(self) -> None:
        """Another host, as a person would set it up."""
        self.run("chezmoi", "init", "--apply", str(self.remote.path))
        self.run("jj", "git", "init", "--colocate", "--quiet", where=self.source)

    async def sync(self, *, cut: str = "") -> PersonFacts:
        """One cycle as the steps run it; `cut` ends it before that verb."""
        facts = PersonFacts(user=self.account.name)
        verbs = {
            "fetch": self.dotfiles.fetch,
            "capture": self.dotfiles.capture,
            "publish": lambda known: self.dotfiles.publish(known, MESSAGE.format(host=self.name)),
            "apply": self.dotfiles.apply,
        }
        for verb, function in verbs.items():
            if verb == cut or facts.word is SyncWord.not_initialized:
                break
            for _ in range(5):
                try:
                    facts = await function(facts)
                    break
                except Transient as error:
                    if error.cause is Cause.network:
                        facts = msgspec.structs.replace(facts, offline=True, word=SyncWord.fetch_failed)
                        break
                    await asyncio.sleep(0)
            else:
                raise AssertionError(f"{verb} was tried five times")
        return facts

    async def dies(self, at: int) -> bool:
        """A sync that is killed before its command number `at`; False if it came to its end."""
        self.processes.ran.clear()
        self.processes.dies_at = at
        try:
            await self.sync()
        except Killed:
            return True
        else:
            return False
        finally:
            self.processes.dies_at = None
            self.start()

    def history(self) -> str:
        return self.run("git", "log", "--all", "-p", "-m", "--text", "--format=%H %s", where=self.source)


def git(*arguments: str) -> str:
    done = subprocess.run(["git", "-c", "safe.directory=*", *arguments], check=True, capture_output=True)
    return done.stdout.decode(errors="surrogateescape")


async def once(*hosts: Host) -> None:
    """Every host syncs, in this order."""
    for host in hosts:
        await host.sync()


async def settle(*hosts: Host) -> None:
    """Every host syncs twice."""
    for _ in range(2):
        for host in hosts:
            await host.sync()


__all__ = ["GitopsdError", "Host", "Killed", "Remote", "once", "settle"]
