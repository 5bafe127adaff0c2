"""Conflicts that jj itself holds in the working copy: nobody settles them but a person, and nothing else waits for it."""

from collections.abc import Callable

import pytest
from people import Host, once, settle

from gitopsd.types import SyncWord, Take

REST = "two\nthree\nfour\nfive\nsix\nseven\n"


def jj(host: Host, *arguments: str) -> str:
    return host.run("jj", *arguments, where=host.source)


def commit_in_source(host: Host, text: str) -> None:
    (host.source / "dot_bashrc").write_text(text)
    jj(host, "commit", "--quiet", "-m", "by hand")


def in_conflict(host: Host) -> list[str]:
    return jj(host, "file", "list", "-r", "@", "-T", 'if(conflict, path ++ "\n", "")').splitlines()


def both_sides(host: Host) -> bool:
    text = (host.source / "dot_bashrc").read_text()
    return all(line in text for line in ("one of a", "one of b", "<<<<<<<", ">>>>>>>"))


def by_rebase(host: Host) -> None:
    """A commit of the person's own, and the working copy on it, rebased onto a trunk that it conflicts with."""
    commit_in_source(host, f"one of b\n{REST}")
    jj(host, "git", "fetch", "--quiet")
    jj(host, "rebase", "--quiet", "-b", "@", "-d", "main@origin")


def by_merge(host: Host) -> None:
    """A merge with the trunk as the working copy."""
    commit_in_source(host, f"one of b\n{REST}")
    jj(host, "git", "fetch", "--quiet")
    jj(host, "new", "--quiet", "main@origin", "@-")


@pytest.mark.parametrize("how", [by_rebase, by_merge])
async def test_a_conflict_of_jj_holds_back_that_file_only_and_stays_in_conflict(
    pair: tuple[Host, Host], how: Callable[[Host], None]
) -> None:
    a, b = pair
    a.edit(".bashrc", "one\n", "one of a\n")
    await a.sync()
    how(b)
    assert in_conflict(b) == ["dot_bashrc"]
    assert both_sides(b)
    a.add("incoming", "from a\n")
    await a.sync()
    b.edit(".config/app.conf", "x = 1", "x = 2")
    b.add("new", "from b\n")
    facts = await b.sync()
    assert facts.word is SyncWord.conflicts_preserved, facts
    assert facts.published
    assert [parked.path for parked in facts.parked] == ["dot_bashrc"]
    assert [notice.path for notice in facts.notices] == [".bashrc"]
    assert "jj resolve dot_bashrc" in facts.notices[0].advice
    # The home and jj's conflict are as they were, and both sides are on the remote.
    assert b.read(".bashrc") == f"one\n{REST}"
    assert in_conflict(b) == ["dot_bashrc"]
    assert both_sides(b)
    assert {"one of a", "one of b"} <= set(b.remote.show("gitopsd/b", "dot_bashrc").splitlines())
    assert "<<<<<<<" not in a.run("git", "log", "-p", "origin/main", where=a.source)
    # Everything else flowed, both ways.
    await a.sync()
    for each in pair:
        assert each.read(".config/app.conf") == "x = 2\n"
        assert each.read("incoming") == "from a\n"
        assert each.read("new") == "from b\n"
    # Later syncs say the same and make nothing new.
    at, heads = jj(b, "log", "--no-graph", "-r", "@", "-T", "commit_id"), b.remote.heads()
    again = await b.sync()
    assert (again.word, again.notices, again.sent) == (facts.word, facts.notices, False)
    assert (jj(b, "log", "--no-graph", "-r", "@", "-T", "commit_id"), b.remote.heads()) == (at, heads)
    # A trunk that moves on takes the conflict along, also for a daemon that has just started.
    a.edit("incoming", "from a", "from a again")
    await a.sync()
    b.start()
    assert (await b.sync()).word is SyncWord.conflicts_preserved
    assert b.read("incoming") == "from a again\n"
    assert in_conflict(b) == ["dot_bashrc"]
    assert both_sides(b)
    assert b.remote.heads()["gitopsd/b"] == heads["gitopsd/b"]
    # The person settles it where they began.
    (b.source / "dot_bashrc").write_text(f"one of both\n{REST}")
    facts = await b.sync()
    assert (facts.word, facts.parked, facts.notices) == (SyncWord.success, (), ())
    await once(a, b)
    assert a.read(".bashrc") == b.read(".bashrc") == f"one of both\n{REST}"
    assert set(b.remote.heads()) == {"main"}


async def test_a_person_on_another_host_settles_a_conflict_of_jj(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.edit(".bashrc", "one\n", "one of a\n")
    await a.sync()
    by_rebase(b)
    await once(b, a)
    assert [each.file for each in (await a.choices.conflicts()).conflicts] == [".bashrc"]
    await a.choices.resolve(".bashrc", Take.theirs)
    await settle(b, a)
    assert not in_conflict(b)
    assert a.read(".bashrc") == b.read(".bashrc") == f"one of a\n{REST}"
    assert (await b.sync()).word is SyncWord.success


async def test_an_edit_of_the_home_does_not_settle_a_conflict_of_jj(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.edit(".bashrc", "one\n", "one of a\n")
    await a.sync()
    by_merge(b)
    for text in ("one\nin the home\n", f"one of a\n{REST}", "one\nin the home again\n"):
        b.write(".bashrc", text)  # that one of them is what one side has is no decision
        facts = await b.sync()
        assert facts.word is SyncWord.conflicts_preserved
        assert {notice.path for notice in facts.notices} == {".bashrc"}
        assert b.read(".bashrc") == text
        assert in_conflict(b) == ["dot_bashrc"]
        assert both_sides(b)
    await b.choices.adopt([".bashrc"], mine=True)
    assert (await b.sync()).word is SyncWord.success
    await a.sync()
    assert a.read(".bashrc") == "one\nin the home again\n"


async def test_a_conflict_that_is_no_text_stays_where_it_is_and_is_named(pair: tuple[Host, Host]) -> None:
    a, b = pair
    b.set(deletions="capture")
    a.run("chezmoi", "forget", "--force", str(a.home / ".config/app.conf"))
    (a.source / "dot_config/app.conf").mkdir(parents=True)
    (a.source / "dot_config/app.conf/part").write_text("of a\n")
    (a.home / ".config/app.conf").unlink()
    a.edit(".bashrc", "one\n", "one of a\n")
    await a.sync()
    (b.source / "dot_config/app.conf").write_text("x = 3\n")
    jj(b, "commit", "--quiet", "-m", "by hand")
    jj(b, "git", "fetch", "--quiet")
    jj(b, "rebase", "--quiet", "-b", "@", "-d", "main@origin")
    assert in_conflict(b) == ["dot_config/app.conf"]
    b.add("new", "from b\n")
    for _ in range(2):
        facts = await b.sync()
        assert facts.word is SyncWord.conflicts_preserved, facts
        assert {notice.path for notice in facts.notices} == {".config/app.conf"}
        assert any("is no text" in notice.what for notice in facts.notices)
        assert b.read(".config/app.conf") == "x = 1\n"
        assert in_conflict(b) == ["dot_config/app.conf"]
        assert b.read(".bashrc") == f"one of a\n{REST}"
    await a.sync()
    assert a.read("new") == "from b\n"
    assert a.remote.show("main", "dot_config/app.conf/part") == "of a\n"


async def test_a_sync_that_is_killed_beside_a_conflict_of_jj_loses_no_side_of_it(
    restore: Callable[[], tuple[Host, Host]], keep: Callable[[], None]
) -> None:
    a, b = restore()
    a.edit(".bashrc", "one\n", "one of a\n")
    await a.sync()
    by_rebase(b)
    a.add("incoming", "from a\n")
    await a.sync()
    b.edit(".config/app.conf", "x = 1", "x = 2")
    keep()
    await b.sync()
    commands = len(b.processes.ran)
    assert commands > 3 + 9
    for at in range(3, commands, 9):
        a, b = restore()
        await b.dies(at)
        facts = await b.sync()
        assert facts.word is SyncWord.conflicts_preserved, (at, facts)
        assert in_conflict(b) == ["dot_bashrc"], at
        assert both_sides(b), at
        assert b.read(".bashrc") == f"one\n{REST}", at
        assert b.read("incoming") == "from a\n", at
        await a.sync()
        assert a.read(".config/app.conf") == "x = 2\n", at
        assert a.read(".bashrc") == f"one of a\n{REST}", at
