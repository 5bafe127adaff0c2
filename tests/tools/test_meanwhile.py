"""The person at work in the same repository at the same moment, clocks that disagree, and programs that a repository
names."""

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from people import Host, once

from gitopsd.errors import GitopsdError
from gitopsd.tools.process import BASE_ENV
from gitopsd.types import SyncWord


@contextmanager
def busy(host: Host, script: str) -> Iterator[None]:
    """A person who does this over and over."""
    child = subprocess.Popen(
        ["sh", "-c", f"while :; do {script}; done"],
        cwd=host.source,
        env={"HOME": str(host.home), "PATH": os.environ["PATH"], "JJ_EDITOR": "true", "GIT_EDITOR": "true"},
        user=host.account.uid,
        group=host.account.gid,
        extra_groups=[],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        os.killpg(child.pid, 9)
        child.wait()


async def some_sync(host: Host) -> None:
    """A sync that may fail since somebody is at work; the daemon tries again later."""
    try:
        await host.sync()
    except (GitopsdError, AssertionError):
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("with_jj", "with_git"),
    [
        ("jj st; jj log; sleep 0.3", "git status; git log -1; git diff HEAD; sleep 0.4"),
        ("jj st; jj describe -m busy; jj log; sleep 0.3", "git add -A; git commit -qm busy; git status; sleep 0.4"),
    ],
    ids=["looks around", "works"],
)
async def test_twenty_syncs_while_the_person_is_in_the_same_repository(
    pair: tuple[Host, Host], with_jj: str, with_git: str
) -> None:
    a, b = pair
    lines = [f"line {turn}" for turn in range(20)]
    chezmoi = busy(b, "chezmoi apply --force ~/.config; chezmoi status; sleep 0.3")
    with busy(b, with_jj), busy(b, with_git), chezmoi:
        for line in lines:
            b.write(".bashrc", f"{b.read('.bashrc')}{line}\n")
            await some_sync(b)
    for lock in (b.source / ".git").rglob("*.lock"):
        lock.unlink()  # of the person's program that was killed here
    facts = await b.sync()
    # Whatever two programs made of the source at one moment, the home has all of it, and the trunk has no markers.
    assert b.read(".bashrc").splitlines()[7:] == lines
    assert "<<<<<<<" not in a.remote.show("main", "dot_bashrc")
    # The markers were committed, jj holds a conflict of its operations, or the source is not what the home was made of.
    if facts.word is not SyncWord.success:
        assert {notice.path for notice in facts.notices} == {".bashrc"}, facts
        await b.choices.adopt([".bashrc"], mine=True)
        facts = await b.sync()
    assert facts.word is SyncWord.success, facts
    assert b.read(".bashrc").splitlines()[7:] == lines
    assert a.remote.show("main", "dot_bashrc") == b.read(".bashrc")
    await once(a, b)
    assert a.read(".bashrc") == b.read(".bashrc")


async def test_clocks_that_disagree_change_nothing(pair: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = pair
    for turn, (mine, theirs) in enumerate([("2001-01-01", "2037-12-31"), ("2037-12-31", "1999-01-01")]):
        for host, year, line in ((a, mine, "one"), (b, theirs, "seven")):
            host.edit(".bashrc", line if turn == 0 else f"{line} 0", f"{line} {turn}")
            monkeypatch.setattr("gitopsd.tools.process.BASE_ENV", dated(year))
            assert (await host.sync()).word is SyncWord.success
    monkeypatch.undo()
    await once(a, b)
    assert a.read(".bashrc") == b.read(".bashrc") == "one 1\ntwo\nthree\nfour\nfive\nsix\nseven 1\n"
    dates = a.run("git", "log", "--format=%cs", "main", where=a.source).split()
    assert {"2001-01-01", "2037-12-31", "1999-01-01"} <= set(dates)


def dated(day: str) -> dict[str, str]:
    """The environment of programs that believe it is this day."""
    moment = f"{day}T12:00:00+0000"
    return {
        **BASE_ENV,
        "GIT_AUTHOR_DATE": moment,
        "GIT_COMMITTER_DATE": moment,
    }


async def test_nothing_that_a_repository_names_runs_as_root(
    restore: Callable[[], tuple[Host, Host]], place: Path
) -> None:
    a, b = restore()
    place.chmod(0o777)
    record = f"id -u >> {place}/uids\n"
    b.write("spy", f"#!/bin/sh\n{record}cat >/dev/null 2>&1; exit 0\n")
    b.run("chmod", "+x", "spy")
    spy = str(b.home / "spy")
    for key, value in (
        ("core.fsmonitor", spy),
        ("core.pager", spy),
        ("core.editor", spy),
        ("core.sshCommand", spy),
        ("filter.spy.clean", spy),
        ("filter.spy.smudge", spy),
        ("diff.external", spy),
        ("merge.spy.driver", f"{spy} %A"),
        ("gpg.program", spy),
        ("credential.helper", spy),
        ("uploadpack.packObjectsHook", spy),
    ):
        b.run("git", "config", key, value, where=b.source)
    b.write(".local/share/chezmoi/.git/info/attributes", "* filter=spy diff=spy merge=spy\n")
    for hook in (
        "pre-push",
        "pre-commit",
        "post-commit",
        "post-checkout",
        "reference-transaction",
        "post-index-change",
    ):
        (b.source / ".git/hooks" / hook).symlink_to(spy)
    b.run("jj", "config", "set", "--user", "aliases.log", f'["util", "exec", "--", "{spy}"]')
    b.run("jj", "config", "set", "--user", "ui.pager", spy)
    b.run("jj", "config", "set", "--user", "ui.editor", spy)
    b.run("jj", "config", "set", "--user", "ui.diff-formatter", f'["{spy}"]')
    (a.source / "run_always.sh").write_text(f"#!/bin/sh\n{record}")
    (a.source / "dot_out.tmpl").write_text(f'{{{{ output "sh" "-c" "{record.strip()}" }}}}')
    a.edit(".bashrc", "one", "one of a")
    await a.sync()
    b.edit(".bashrc", "one", "one of b")
    b.edit(".config/app.conf", "x = 1", "x = 2")
    (b.source / ".jj/repo/op_heads/heads").joinpath(
        next((b.source / ".jj/repo/op_heads/heads").iterdir()).name
    ).unlink()  # and a repair
    await once(b, a)
    uids = (place / "uids").read_text().split()
    assert uids
    assert set(uids) == {"1000"}
    assert a.remote.show("main", "dot_config/app.conf") == "x = 2\n"


async def test_a_working_copy_that_jj_put_back_does_not_conflict_with_what_was_published_from_it(
    pair: tuple[Host, Host],
) -> None:
    a, b = pair
    b.write(".bashrc", f"{b.read('.bashrc')}first\n")
    facts = await b.sync(cut="apply")
    before = b.run("jj", "op", "log", "--no-graph", "-n1", "-T", "id", where=b.source)
    await b.dotfiles.apply(facts)
    b.write(".bashrc", f"{b.read('.bashrc')}second\n")
    await b.sync()
    # As after two operations of one moment: jj merges them, and one of them knew the working copy as it was.
    b.run("jj", "op", "restore", "--quiet", before, where=b.source)
    b.write(".bashrc", f"{b.read('.bashrc')}third\n")
    facts = await b.sync()
    assert facts.word is SyncWord.success, facts
    await once(a, b)
    assert a.read(".bashrc").endswith("seven\nfirst\nsecond\nthird\n")
    assert b.read(".bashrc") == a.read(".bashrc") == a.remote.show("main", "dot_bashrc")


async def test_a_commit_by_hand_of_something_older_does_not_conflict_with_what_was_published_since(
    pair: tuple[Host, Host],
) -> None:
    a, b = pair
    first = b.run("git", "rev-parse", "origin/main", where=b.source).strip()
    for line in ("first", "second"):
        b.write(".bashrc", f"{b.read('.bashrc')}{line}\n")
        await b.sync()
    older = b.run("git", "show", "origin/main~1:dot_bashrc", where=b.source)
    b.run("jj", "new", "--quiet", first, where=b.source)
    (b.source / "dot_bashrc").write_text(older)
    b.run("git", "add", "-A", where=b.source)
    b.run("git", "commit", "--quiet", "-m", "what was in the files at that moment", where=b.source)
    facts = await b.sync()
    assert facts.word is SyncWord.success, facts
    await once(a, b)
    assert a.read(".bashrc").endswith("seven\nfirst\nsecond\n")
    assert b.read(".bashrc") == a.read(".bashrc") == a.remote.show("main", "dot_bashrc")


@pytest.mark.parametrize("name", ["main", "wip"])
async def test_a_bookmark_on_the_working_copy_is_no_reason_to_worry_and_is_kept(
    pair: tuple[Host, Host], name: str
) -> None:
    a, b = pair
    b.run("sh", "-c", "echo eight >> dot_bashrc", where=b.source)
    b.run("jj", "describe", "--quiet", "-m", "mine", where=b.source)
    b.run("jj", "bookmark", "set", "--quiet", name, "-r", "@", where=b.source)
    mine = b.run("jj", "log", "--no-graph", "-r", "@", "-T", "commit_id", where=b.source)
    a.edit(".bashrc", "one", "ONE")
    await a.sync()
    facts = await b.sync()
    assert (facts.word, facts.notices) == (SyncWord.success, ())
    facts = await b.sync()
    assert (facts.word, facts.notices) == (SyncWord.success, ())
    at = b.run("jj", "log", "--no-graph", "-r", name, "-T", "commit_id", where=b.source)  # fails if it is in conflict
    assert at == (b.remote.heads()["main"] if name == "main" else mine)
    assert a.remote.show("main", "dot_bashrc").endswith("seven\neight\n")


async def test_a_source_that_is_edited_while_the_home_is_looked_at_is_not_written_over(
    pair: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, b = pair
    b.edit(".bashrc", "seven", "seven of the home")
    looked = b.dotfiles._edits._stop

    async def look(*arguments: Any) -> Any:
        answer = await looked(*arguments)
        (b.source / "dot_bashrc").write_text("the source's\n")
        return answer

    monkeypatch.setattr(b.dotfiles._edits, "_stop", look)
    facts = await b.sync()
    assert (b.source / "dot_bashrc").read_text() == "the source's\n"
    assert "seven of the home" in b.read(".bashrc")
    assert ".bashrc" in {notice.path for notice in facts.notices}
    assert b.remote.show("main", "dot_bashrc") == "the source's\n"
