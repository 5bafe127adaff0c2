"""A rewrite of the history that something comes in between of: a sync, another rewrite, a kill -9. On real git and jj."""

import asyncio
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from people import Host
from secret_dotfiles import VALUES, begin, environment, secrets
from test_secrets_dotfiles import objects

from gitopsd.types import SyncWord

MARKER = ".git/gitopsd-scrub"

# As a kill does, before a command; what has been started goes on.
DYING = """
import os, runpy, signal, sys
from gitopsd.tools.process import Processes
left, run = int(sys.argv[1]), Processes.run
async def dying(self, argv, **options):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return await run(self, argv, **options)
Processes.run = dying
sys.argv = ["gitopsctl", "secrets", "scrub", "--rewrite"]
runpy.run_module("gitopsd.cli", run_name="__main__")
"""


@pytest.fixture
def a(host: Callable[..., Host], tmp_path: Path) -> Host:
    """A host whose secrets are in SOPS now, and in old commits still."""
    one = host("a")
    begin(one)
    assert secrets(one, "migrate")[0] == 0
    for command in ("add -A", "commit --quiet -m migrated", "push --quiet origin HEAD:refs/heads/main"):
        one.run("git", *command.split(), where=one.source)
    one.run("jj", "new", "--quiet", "main", where=one.source)
    copied(one.home.parent, tmp_path / "saved")
    return one


def copied(place: Path, to: Path) -> None:
    subprocess.run(["cp", "-a", str(place), str(to)], check=True)


def files(host: Host) -> dict[str, bytes]:
    """The files of the source directory."""
    found = (path for path in host.source.rglob("*") if path.is_file() and not {".git", ".jj"} & {*path.parts})
    return {str(path.relative_to(host.source)): path.read_bytes() for path in found}


def has_values(host: Host) -> bool:
    raw = objects(host.source)
    return any(value.encode() in raw for value in VALUES)


def begun(host: Host, *argv: str, path: str = "") -> "subprocess.Popen[bytes]":
    """Start a program as the person."""
    return subprocess.Popen(
        [sys.executable, *argv],
        cwd=host.home,
        env=environment(host) | ({"PATH": f"{path}:{os.environ['PATH']}"} if path else {}),
        user=host.account.uid,
        group=host.account.gid,
        extra_groups=[],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        umask=0o022,
    )


@pytest.fixture
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A PATH on which git-filter-repo waits for a file before it begins."""
    folder = Path("/tmp/gitopsd-slow")
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    program = folder / "git-filter-repo"
    real = shutil.which("git-filter-repo")
    program.write_text(
        f'#!/bin/sh\ntouch {folder}/waits\nwhile [ ! -e {folder}/go ]; do sleep 0.05; done\nexec {real} "$@"\n'
    )
    program.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def waits(folder: Path) -> None:
    end = time.monotonic() + 60
    while not (folder / "waits").exists():
        assert time.monotonic() < end
        time.sleep(0.05)


async def finished(host: Host, out: str) -> None:
    """All is as it should be after a rewrite, and goes on from there."""
    assert not (host.source / MARKER).exists()
    assert not has_values(host)
    (step,) = [line for line in out.splitlines() if " push --force-with-lease" in line]
    host.run("sh", "-c", step)
    assert not any(value in host.remote.everything() for value in VALUES)
    host.start()
    host.write(".local/share/chezmoi/dot_plain", "PLAIN\n")
    assert (await host.sync()).published
    assert host.remote.show("main", "dot_plain") == "PLAIN\n"
    assert not any(value in host.remote.everything() for value in VALUES)


async def test_a_sync_in_the_middle_of_it_does_nothing_and_says_why(a: Host, slow: Path) -> None:
    heads, before = a.remote.heads(), files(a)
    running = begun(a, "-m", "gitopsd.cli", "secrets", "scrub", "--rewrite", path=str(slow))
    waits(slow)
    a.write(".local/share/chezmoi/dot_new", "written meanwhile\n")
    facts = await a.sync()
    assert facts.word is SyncWord.failed
    assert "secrets are taken out of the history" in facts.notices[0].what
    with pytest.raises(Exception, match="secrets are taken out of the history"):
        await a.choices.conflicts()
    status, _, err = secrets(a, "scrub", "--rewrite")
    assert (status, "at this moment" in err) == (1, True)
    (slow / "go").touch()
    out, _ = running.communicate(timeout=120)
    assert running.returncode == 0, out
    assert a.remote.heads() == heads
    assert files(a) == before | {"dot_new": b"written meanwhile\n"}
    await finished(a, out.decode())
    assert a.remote.show("main", "dot_new") == "written meanwhile\n"


async def test_what_it_started_and_was_killed_over_goes_on_and_is_waited_for(a: Host, slow: Path) -> None:
    running = begun(a, "-m", "gitopsd.cli", "secrets", "scrub", "--rewrite", path=str(slow))
    waits(slow)
    running.kill()
    running.communicate()
    assert secrets(a, "scrub")[0] == 1
    status, _, err = secrets(a, "scrub", "--rewrite")
    assert (status, "at this moment" in err) == (1, True)
    assert (await a.sync()).word is SyncWord.failed
    (slow / "go").touch()
    end = time.monotonic() + 60
    while (done := secrets(a, "scrub", "--rewrite"))[0] != 0:
        assert time.monotonic() < end, done
        await asyncio.sleep(0.2)
    await finished(a, done[1])


async def test_a_rewrite_killed_anywhere_has_changed_nothing_or_goes_on(a: Host, tmp_path: Path) -> None:
    main, before = a.remote.heads()["main"], files(a)
    place = a.home.parent
    ended, points = False, 0
    for at in range(0, 1000, 1 if "SOAK_MINUTES" in os.environ else 5):  # each one costs seconds
        shutil.rmtree(place)
        copied(tmp_path / "saved", place)
        killed = begun(a, "-c", DYING, str(at))
        said, _ = killed.communicate(timeout=120)
        if ended := killed.returncode == 0:
            break
        points += 1
        assert killed.returncode == -9, said
        assert files(a) == before, at
        heads = a.run("git", "rev-parse", "main", where=a.source).strip()
        a.start()
        if (a.source / MARKER).exists():
            facts = await a.sync()
            assert facts.word is SyncWord.failed, at
        else:
            assert heads == main, at
        assert a.remote.heads() == {"main": main}, at
        status, out, err = secrets(a, "scrub", "--rewrite")
        assert status == 0, (at, err)
        assert files(a) == before, at
        (bundle,) = re.findall(r"rm (\S+\.bundle);", out)
        assert main in a.run("git", "bundle", "list-heads", bundle), at
        assert f"main:{main}" in out, at
        await finished(a, out)
    assert ended
    assert points > 3


async def test_whatever_leads_to_a_secret_is_rewritten_messages_too(a: Host) -> None:
    said = "harbor+9fQ2-otter"
    a.run("git", "notes", "add", "-m", f"password = {said}", "main~1", where=a.source)
    a.run("git", "tag", "-a", "v1", "-m", f"password = {VALUES[1]}", "main~1", where=a.source)
    a.run("git", "tag", "light", "main~1", where=a.source)
    a.run("git", "update-ref", "refs/custom/x", "main~1", where=a.source)
    a.run("jj", "commit", "--quiet", "-m", f"password: {said}-2", where=a.source)
    commit = a.run("git", "rev-parse", "HEAD", where=a.source).strip()
    _, out, _ = secrets(a, "scrub", "--json")
    assert ("(commit message)", commit) in {(each["path"], each["commit"]) for each in json.loads(out)["findings"]}
    before = files(a)
    status, out, err = secrets(a, "scrub", "--rewrite")
    assert status == 0, err
    assert said.encode() not in objects(a.source)
    assert files(a) == before
    assert "refs/custom/x refs/notes/commits refs/tags/light refs/tags/v1" in out
    assert secrets(a, "scrub")[0] == 0
    await finished(a, out)


@pytest.mark.parametrize("how", ["stash", "name", "UTF-16"])
def test_what_a_rewrite_would_lose_or_leave_is_said_before(a: Host, how: str) -> None:
    token = "ghp_" + hashlib.sha256(b"a token that the tests made up").hexdigest()[:36]
    if how == "stash":
        a.write(".local/share/chezmoi/dot_plain", "work\n")
        a.run("git", "stash", "--quiet", where=a.source)
    else:
        path = f"dot_{token}" if how == "name" else "dot_wide"
        a.write(f".local/share/chezmoi/{path}", "")
        (a.source / path).write_bytes(f"token = {token}\n".encode("utf-16") if how == "UTF-16" else b"x\n")
        a.run("jj", "commit", "--quiet", "-m", "one", where=a.source)
        (a.source / path).unlink()
        a.run("jj", "commit", "--quiet", "-m", "two", where=a.source)
        a.run("jj", "bookmark", "set", "--quiet", "main", "-r", "@-", where=a.source)
    before = a.run("git", "for-each-ref", where=a.source)
    status, out, err = secrets(a, "scrub", "--rewrite")
    assert (status, "nothing was changed" in err) == (1, True)
    assert {"stash": "stashes", "name": "dot_***", "UTF-16": "dot_wide"}[how] in err
    assert token not in out + err
    assert a.run("git", "for-each-ref", where=a.source) == before
    assert not (a.source / MARKER).exists()
