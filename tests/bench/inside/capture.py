"""On the machine: a home of its own under a big and old repository, edited and synced again and again.

Standard input: {"runs": N, "files": F, "commits": C}; standard output: {name: [milliseconds]}.
The remote is a directory: no network is measured. It runs as the person, and so do the commands of the sync.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from gitopsd.config import DotfilesConfig
from gitopsd.dotfiles.person import PersonDotfiles
from gitopsd.tools.process import Account, Processes
from gitopsd.types import PersonFacts

FOLDERS = 50


def main() -> None:
    """Build, then measure."""
    question = json.load(sys.stdin)
    with tempfile.TemporaryDirectory(prefix="gitopsd-bench-") as directory:
        home, remote = Path(directory, "home"), Path(directory, "remote.git")
        home.mkdir()
        build(home, remote, question["files"], question["commits"])
        times = asyncio.run(measure(home, remote, question["runs"]))
    json.dump(times, sys.stdout)


def build(home: Path, remote: Path, files: int, commits: int) -> None:
    """A remote with that many files and commits, and a home that is in step with it."""
    run(home, "git", "init", "--quiet", "--bare", "--initial-branch=main", str(remote))
    text = "".join(history(files, commits)).encode()
    subprocess.run(["git", "-C", str(remote), "fast-import", "--quiet"], input=text, check=True)
    run(home, "git", "config", "--global", "user.name", "bench")
    run(home, "git", "config", "--global", "user.email", "bench@example.org")
    run(home, "chezmoi", "init", "--apply", str(remote))
    run(home, "jj", "git", "init", "--colocate", "--quiet", where=source(home))


def history(files: int, commits: int) -> Iterator[str]:
    """The input of git-fast-import(1): the first commit has all files, each of the others edits one."""
    for number in range(commits):
        yield f"commit refs/heads/main\ncommitter b <b@example.org> {1_500_000_000 + number * 60} +0000\n"
        yield sized(f"commit {number}")
        for file in range(files) if number == 0 else [number % files]:
            yield f"M 100644 inline dot_config/d{file % FOLDERS}/f{file}\n"
            yield sized(f"file {file}\nversion {number}\n")
        yield "\n"


def sized(text: str) -> str:
    """A `data` command."""
    return f"data {len(text.encode())}\n{text}\n"


async def measure(home: Path, remote: Path, runs: int) -> dict[str, list[float]]:
    """Edit a file and sync, and do by hand what that takes, in turn."""
    entry = pwd.getpwuid(os.getuid())
    account = Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid, groups=(entry.pw_gid,), home=str(home))
    dotfiles = PersonDotfiles(
        Processes(), DotfilesConfig(user=account.name, repo_url=str(remote)), host="bench", account=account
    )
    await cycle(dotfiles, account.name)
    times: dict[str, list[float]] = {"capture": [], "sync": [], "capture-floor": [], "sync-floor": []}
    for turn in range(runs):
        edit(home, turn * 2)
        captured, synced = await cycle(dotfiles, account.name)
        edit(home, turn * 2 + 1)
        by_hand = floor(home, turn * 2 + 1)
        await cycle(dotfiles, account.name)
        for name, taken in zip(times, (captured, synced, *by_hand), strict=True):
            times[name].append(taken * 1000)
    return times


def edit(home: Path, number: int) -> None:
    """Edit a file, another one each time."""
    (home / f".config/d{number % FOLDERS}/f{number}").write_text(f"edited in turn {number}\n")


async def cycle(dotfiles: PersonDotfiles, user: str) -> tuple[float, float]:
    """A sync; returns the seconds of its capture, and of all of it."""
    facts = PersonFacts(user=user)
    began = time.perf_counter()
    facts = await dotfiles.fetch(facts)
    before = time.perf_counter()
    facts = await dotfiles.capture(facts)
    captured = time.perf_counter() - before
    facts = await dotfiles.publish(facts, "chore(bench): auto-update")
    facts = await dotfiles.apply(facts)
    if facts.notices or not facts.published:
        sys.exit(f"the sync did not go well: {facts}")
    return captured, time.perf_counter() - began


def floor(home: Path, number: int) -> tuple[float, float]:
    """The same by hand; returns the seconds until it was captured, and of all of it."""
    target = str(home / f".config/d{number % FOLDERS}/f{number}")
    where = source(home)
    began = time.perf_counter()
    run(home, "git", "fetch", "--quiet", "origin", where=where)
    before = time.perf_counter()
    run(home, "chezmoi", "status")
    run(home, "chezmoi", "re-add", target)
    run(home, "jj", "st", "--quiet", where=where)
    captured = time.perf_counter() - before
    run(home, "jj", "commit", "--quiet", "-m", "by hand", where=where)
    run(home, "git", "push", "--quiet", "origin", "HEAD:main", where=where)
    run(home, "git", "ls-remote", "origin", where=where)
    return captured, time.perf_counter() - began


def source(home: Path) -> Path:
    """Where chezmoi has the repository."""
    return home / ".local/share/chezmoi"


def run(home: Path, *argv: str, where: Path | None = None) -> None:
    """Run a command in that home; what it prints is not wanted."""
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    subprocess.run(argv, cwd=where or home, env=env, check=True, capture_output=True)


if __name__ == "__main__":
    main()
