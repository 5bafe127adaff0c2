"""Settling what is parked, from any host, on real tools."""

import asyncio
import contextlib
from collections.abc import Callable

import pytest
from people import Host, Killed, git, settle
from test_dotfiles import conflict

from gitopsd.config import MergeConfig
from gitopsd.errors import Cause, Failed, Transient
from gitopsd.types import SyncWord, Take

REST = "two\nthree\nfour\nfive\nsix\nseven\n"
CHOSEN = {
    Take.ours: f"one of b\n{REST}",
    Take.theirs: f"one of a\n{REST}",
    Take.union: f"one of a\none of b\n{REST}",
    "my own\n": "my own\n",
}


async def two_conflicts(a: Host, b: Host) -> None:
    """Both files of b are parked."""
    a.edit(".config/app.conf", "x = 1", "x = a")
    b.edit(".config/app.conf", "x = 1", "x = b")
    await conflict(a, b)
    assert len((await b.sync()).parked) == 2


@pytest.mark.parametrize("by", ["a", "b"])
@pytest.mark.parametrize("choice", CHOSEN, ids=str)
async def test_a_conflict_is_settled_from_either_host(pair: tuple[Host, Host], choice: Take | str, by: str) -> None:
    a, b = pair
    await conflict(a, b)
    await a.sync()
    parked = b.remote.heads()["gitopsd/b"]
    settler = a if by == "a" else b
    settled = await settler.choices.resolve(".bashrc", choice)
    assert settled.commit == b.remote.heads()["main"]
    assert (settled.conflict.host, settled.conflict.file) == ("b", ".bashrc")
    await settle(a, b)
    for host in pair:
        assert host.read(".bashrc") == CHOSEN[choice]
        facts = await host.sync()
        assert (facts.word, facts.parked, facts.elsewhere, facts.notices) == (SyncWord.success, (), (), ())
    assert set(b.remote.heads()) == {"main"}
    assert "+one of b" in git("-C", str(a.remote.path), "log", "-p", "main")
    git("-C", str(a.remote.path), "merge-base", "--is-ancestor", parked, "main")


async def test_conflicts_are_named_with_both_sides_on_every_host(pair: tuple[Host, Host]) -> None:
    a, b = pair
    await conflict(a, b)
    for host in pair:
        facts = await host.sync()
        (one,) = (await host.choices.conflicts()).conflicts
        assert (one.file, one.paths, one.host, one.bookmark) == (".bashrc", ("dot_bashrc",), "b", "gitopsd/b")
        assert (one.base.text, one.theirs.text, one.ours.text) == (
            f"one\n{REST}",
            f"one of a\n{REST}",
            f"one of b\n{REST}",
        )
        assert one.merged is not None
        assert one.merged.startswith("<<<<<<< main\none of a\n")
        named = facts.parked if host is b else facts.elsewhere
        assert [(parked.file, parked.bookmark) for parked in named] == [(".bashrc", "gitopsd/b")]
    assert (await a.sync()).word is SyncWord.success


async def test_one_of_two_parked_files_is_settled_alone(pair: tuple[Host, Host]) -> None:
    a, b = pair
    await two_conflicts(a, b)
    before = b.remote.heads()["gitopsd/b"]
    await a.choices.resolve(".bashrc", Take.theirs)
    assert b.remote.heads()["gitopsd/b"] == before  # only b writes it
    listed = (await a.choices.conflicts()).conflicts
    assert [(each.file, each.settled) for each in listed] == [(".bashrc", True), (".config/app.conf", False)]
    facts = await b.sync()
    assert [parked.file for parked in facts.parked] == [".config/app.conf"]
    assert b.read(".bashrc") == f"one of a\n{REST}"
    assert b.read(".config/app.conf") == "x = b\n"
    assert b.remote.show("gitopsd/b", "dot_bashrc").startswith("one\n")
    await settle(a, b)
    assert (a.read(".config/app.conf"), b.read(".config/app.conf")) == ("x = a\n", "x = b\n")
    await b.choices.resolve(".config/app.conf", Take.ours)
    await settle(a, b)
    assert a.read(".config/app.conf") == b.read(".config/app.conf") == "x = b\n"
    assert set(b.remote.heads()) == {"main"}
    assert "+one of b" in git("-C", str(a.remote.path), "log", "-p", "main")


async def test_both_files_are_settled_while_their_host_is_away(pair: tuple[Host, Host]) -> None:
    a, b = pair
    await two_conflicts(a, b)
    await a.choices.resolve(".bashrc", Take.theirs)
    await a.choices.resolve(".config/app.conf", Take.union)
    await a.sync()
    a.edit(".bashrc", "two", "two of a")
    await a.sync()
    b.start()
    facts = await b.sync()
    assert (facts.word, facts.notices) == (SyncWord.success, ())
    await settle(a, b)
    for host in pair:
        assert host.read(".bashrc").startswith("one of a\ntwo of a\n")
        assert host.read(".config/app.conf") == "x = a\nx = b\n"
    assert set(b.remote.heads()) == {"main"}


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("files", [1, 2])
async def test_what_its_host_edits_meanwhile_is_an_edit_of_the_settled_version(
    pair: tuple[Host, Host], published: bool, files: int
) -> None:
    a, b = pair
    await (conflict if files == 1 else two_conflicts)(a, b)
    listed = (await a.choices.conflicts()).conflicts
    b.edit(".bashrc", "seven", "seven of b")
    if published:
        # Both push at the same moment: a does not know of the newer parked commit.
        resolver = a.dotfiles._parts.resolver()
        found = await resolver.standoffs()
        await b.sync()
        one = next(each for each in found if each.name == "dot_bashrc")
        await resolver.settle(one, "theirs", "settled")
    else:
        await a.choices.resolve(".bashrc", Take.theirs, seen=listed[0].commit)
    await settle(b, a)
    assert b.read(".bashrc") == f"one of a\n{REST.replace('seven', 'seven of b')}"
    assert a.read(".bashrc") == b.read(".bashrc")
    assert [parked.file for parked in (await b.sync()).parked] == [".config/app.conf"][: files - 1]


async def test_settled_twice_is_said_and_changes_nothing(pair: tuple[Host, Host]) -> None:
    a, b = pair
    await conflict(a, b)
    await a.choices.resolve(".bashrc", Take.theirs)
    heads = a.remote.heads()
    with pytest.raises(Failed, match=r"settled already|nothing is parked"):
        await b.choices.resolve(".bashrc", Take.ours)
    assert a.remote.heads() == heads
    await settle(a, b)
    assert b.read(".bashrc").startswith("one of a")


async def test_two_hosts_that_settle_differently_at_once_end_with_one_answer(pair: tuple[Host, Host]) -> None:
    a, b = pair
    await conflict(a, b)
    await a.sync()
    answers = await asyncio.gather(
        a.choices.resolve(".bashrc", Take.theirs), b.choices.resolve(".bashrc", Take.ours), return_exceptions=True
    )
    (refused,) = (answer for answer in answers if isinstance(answer, BaseException))
    assert isinstance(refused, Failed)
    won = "one of a" if refused is answers[1] else "one of b"
    await settle(a, b)
    assert a.read(".bashrc") == b.read(".bashrc") == f"{won}\n{REST}"
    assert set(b.remote.heads()) == {"main"}


async def test_a_third_host_settles_what_two_have_parked(pair: tuple[Host, Host], host: Callable[..., Host]) -> None:
    a, b = pair
    c = host("c")
    c.join()
    await c.sync()
    a.edit(".bashrc", "one", "one of a")
    await a.sync()
    for other in (b, c):
        other.edit(".bashrc", "one", f"one of {other.name}")
        await other.sync()
    with pytest.raises(Failed, match="more than one host: b, c") as unclear:
        await a.choices.resolve(".bashrc", Take.ours)
    assert "--host b" in unclear.value.advice
    await a.choices.resolve(".bashrc", Take.union, host="b")
    await settle(a, b, c)
    assert b.read(".bashrc") == a.read(".bashrc") == f"one of a\none of b\n{REST}"
    assert c.read(".bashrc").startswith("one of c")
    assert (await c.choices.resolve(".bashrc", Take.ours)).conflict.host == "c"
    await settle(a, b, c)
    for each in (a, b, c):
        assert each.read(".bashrc") == f"one of c\n{REST}"
    assert set(b.remote.heads()) == {"main"}


async def test_a_changed_mode_in_a_conflict_is_one_file_with_two_names(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.run("chmod", "+x", ".bashrc")
    await conflict(a, b)
    (one,) = (await b.choices.conflicts()).conflicts
    assert one.paths == ("dot_bashrc", "executable_dot_bashrc")
    await a.choices.resolve("executable_dot_bashrc", Take.union)
    await settle(a, b)
    for host in pair:
        assert host.read(".bashrc") == CHOSEN[Take.union]
        assert (host.home / ".bashrc").stat().st_mode & 0o100
    assert set(a.remote.heads()) == {"main"}


async def test_a_file_without_lines_is_settled_by_taking_a_side(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.add(".picture", "\0base")
    await settle(a, b)
    a.write(".picture", "\0of a")
    await a.sync()
    b.write(".picture", "\0of b")
    await b.sync()
    (one,) = (await a.choices.conflicts()).conflicts
    assert (one.ours.text, one.ours.size, one.merged) == (None, 5, None)
    with pytest.raises(Failed, match="line by line"):
        await a.choices.resolve(".picture", Take.union)
    await a.choices.resolve(".picture", Take.ours)
    await settle(a, b)
    assert a.read(".picture") == b.read(".picture") == "\0of b"


async def test_a_clone_made_anew_takes_the_answer(pair: tuple[Host, Host]) -> None:
    a, b = pair
    await two_conflicts(a, b)
    await a.choices.resolve(".bashrc", Take.theirs)
    b.run("rm", "-rf", str(b.source))
    b.run("chezmoi", "init", str(b.remote.path))
    b.run("jj", "git", "init", "--colocate", "--quiet", where=b.source)
    facts = await b.sync()
    assert [parked.file for parked in facts.parked] == [".config/app.conf"]
    await settle(a, b)
    assert b.read(".bashrc").startswith("one of a")
    assert b.read(".config/app.conf") == "x = b\n"


async def test_without_a_network_nothing_is_settled_and_the_list_is_as_last_seen(pair: tuple[Host, Host]) -> None:
    a, b = pair
    await conflict(a, b)
    await a.sync()
    a.remote.path.rename(a.remote.path.with_suffix(".away"))
    a.run("git", "remote", "set-url", "origin", "ssh://git@nowhere.invalid/x", where=a.source)
    listed = await a.choices.conflicts()
    assert listed.offline
    assert [each.file for each in listed.conflicts] == [".bashrc"]
    with pytest.raises(Transient) as away:
        await a.choices.resolve(".bashrc", Take.ours)
    assert away.value.cause is Cause.network
    assert "nothing was changed" in away.value.meaning


async def test_a_version_that_was_not_seen_is_not_settled(pair: tuple[Host, Host]) -> None:
    a, b = pair
    await conflict(a, b)
    (one,) = (await a.choices.conflicts()).conflicts
    b.edit(".bashrc", "seven", "seven of b")
    await b.sync()
    with pytest.raises(Failed, match="meanwhile"):
        await a.choices.resolve(".bashrc", "x\n", seen=one.commit)
    with pytest.raises(Failed, match="nothing is parked for .vimrc"):
        await a.choices.resolve(".vimrc", Take.ours)


async def test_a_trunk_that_moves_on_after_the_answer_keeps_it_settled(pair: tuple[Host, Host]) -> None:
    a, b = pair
    await conflict(a, b)
    await a.choices.resolve(".bashrc", Take.ours)
    await a.sync()
    a.edit(".bashrc", "one of b", "one of a again")
    await a.sync()
    facts = await b.sync()
    assert facts.word is SyncWord.success
    assert b.read(".bashrc").startswith("one of a again")
    assert set(b.remote.heads()) == {"main"}


async def test_a_settling_that_was_killed_is_done_or_not_done(
    restore: Callable[[], tuple[Host, Host]], keep: Callable[[], None]
) -> None:
    a, b = restore()
    await conflict(a, b)
    await a.sync()
    keep()
    a.processes.ran.clear()
    await a.choices.resolve(".bashrc", Take.theirs)
    points = [number for number, argv in enumerate(a.processes.ran) if {"push", "update-ref"} & set(argv)]
    assert len(points) == 2
    for at in {number + more for number in points for more in (0, 1)}:
        a, b = restore()
        a.processes.dies_at = at
        with contextlib.suppress(Killed):
            await a.choices.resolve(".bashrc", Take.theirs)
        a.processes.dies_at = None
        a.start()
        try:
            await a.choices.resolve(".bashrc", Take.theirs)
        except Failed as error:
            assert "nothing is parked" in error.message, at  # the trunk has taken it in
        await settle(a, b)
        assert a.read(".bashrc") == b.read(".bashrc") == CHOSEN[Take.theirs], at
        assert set(a.remote.heads()) == {"main"}, at


@pytest.mark.parametrize("choice", [Take.ours, Take.theirs])
@pytest.mark.parametrize("first", ["a file", "a directory"])
async def test_a_file_against_a_directory_holds_nothing_else_back_and_is_one_question(
    pair: tuple[Host, Host], first: str, choice: Take
) -> None:
    a, b = pair
    with_file, with_directory = (a, b) if first == "a file" else (b, a)
    with_file.add(".foo", "a file\n")
    with_directory.write(".foo/bar", "one\n")
    with_directory.write(".foo/deep/baz", "two\n")
    with_directory.run("chezmoi", "add", ".foo")
    b.edit(".bashrc", "one", "ONE")
    await a.sync()
    facts = await b.sync()
    assert facts.word is SyncWord.conflicts_preserved
    assert {parked.file.split("/")[0] for parked in facts.parked} == {".foo"}
    assert a.remote.show("main", "dot_bashrc").startswith("ONE")
    await settle(a, b)
    assert (with_file.read(".foo"), with_directory.read(".foo/bar")) == ("a file\n", "one\n")
    (one,) = (await a.choices.conflicts()).conflicts
    await a.choices.resolve(one.file, choice)
    await settle(a, b)
    assert set(a.remote.heads()) == {"main"}
    names = {name for name in a.remote.files("main") if "foo" in name}
    is_file = (choice is Take.theirs) is (first == "a file")
    assert names == ({"dot_foo"} if is_file else {"dot_foo/bar", "dot_foo/deep/baz"})
    for host in pair:
        assert (await host.sync()).notices == ()
        assert (host.home / ".foo").is_file() is is_file


async def test_a_link_is_settled_with_one_place_only(pair: tuple[Host, Host]) -> None:
    a, b = pair
    for host in pair:
        host.set(merge=MergeConfig(union=("**",)))
    a.run("ln", "-s", "first", ".link")
    a.run("chezmoi", "add", ".link")
    await settle(a, b)
    for host in pair:
        (host.source / "symlink_dot_link").write_text(f"place-of-{host.name}\n")
        await host.sync()
    for choice in (Take.union, "one\ntwo\n"):
        with pytest.raises(Failed, match="link"):
            await a.choices.resolve(".link", choice)
    await a.choices.resolve(".link", "one\n")
    await settle(a, b)
    assert [str((host.home / ".link").readlink()) for host in pair] == ["one", "one"]


async def test_what_is_parked_elsewhere_is_looked_at_again_only_where_there_is_news(
    host: Callable[..., Host], pair: tuple[Host, Host]
) -> None:
    """What is kept from the last look must be what a new process finds, and cost next to nothing."""
    a, b = pair
    c = host("c")
    c.join()
    await settle(a, b, c)
    for each, word in ((a, "A"), (b, "B"), (c, "C")):
        each.edit(".bashrc", "one\n", f"one of {word}\n")
        each.edit(".config/app.conf", "x = 1", f"x = {word}")
    await settle(a, b, c)
    await b.sync()

    async def looked() -> tuple[int, int, list[tuple[str, str]]]:
        """The commands of this sync, those of one that has to look at everything, and what both say."""
        a.processes.ran.clear()
        kept = (await a.sync()).elsewhere
        commands = len(a.processes.ran)
        a.start()
        a.processes.ran.clear()
        assert (await a.sync()).elsewhere == kept
        return (
            commands,
            len(a.processes.ran),
            [(parked.file, parked.bookmark.removeprefix("gitopsd/")) for parked in kept],
        )

    everything = [(".bashrc", "b"), (".bashrc", "c"), (".config/app.conf", "b"), (".config/app.conf", "c")]
    _, _, found = await looked()
    assert found == everything
    b.add(".profile", "nobody's concern\n")
    await b.sync()
    other, anew, found = await looked()
    assert found == everything
    assert other < anew
    a.edit(".config/app.conf", "x = A", "x = AA")
    a.processes.ran.clear()
    await a.sync()
    assert len(a.processes.ran) > other
    assert (await looked())[2] == everything
    # Settled with what the trunk has: no file of it changes.
    await b.choices.resolve(".bashrc", Take.theirs, host="c")
    assert (await looked())[2] == [each for each in everything if each != (".bashrc", "c")]
    await settle(c, b)
    assert (await looked())[2] == [each for each in everything if each != (".bashrc", "c")]
