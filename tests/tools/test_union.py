"""Line files are merged as a union, without anybody."""

from collections import Counter

import pytest
from people import Host, once

from gitopsd.config import MergeConfig
from gitopsd.repo.union import Union, unite
from gitopsd.types import SyncWord

KNOWN = ".ssh/known_hosts"
SOURCE = "private_dot_ssh/known_hosts"


@pytest.fixture
async def pair_with_lists(pair: tuple[Host, Host]) -> tuple[Host, Host]:
    """Two hosts whose history and known hosts are merged as a union."""
    a, b = pair
    for host in pair:
        host.set(merge=MergeConfig(union=("dot_history", "**/known_hosts")))
    a.add(".history", "ls\n")
    a.write(KNOWN, "github.com key\n")
    a.run("chmod", "700", ".ssh")
    a.run("chezmoi", "add", KNOWN)
    await a.sync()
    await b.sync()
    return a, b


async def test_both_sides_lines_are_kept_and_nothing_is_parked(pair_with_lists: tuple[Host, Host]) -> None:
    a, b = pair_with_lists
    a.write(KNOWN, "github.com key\na.example key\n")
    b.write(KNOWN, "github.com key\nb.example key\n")
    b.write(".history", "ls\nmake\n")
    a.write(".history", "ls\ngit st\nmake\n")
    await a.sync()
    facts = await b.sync()
    assert facts.word is SyncWord.success, facts
    assert not facts.parked
    await a.sync()
    assert a.read(KNOWN) == b.read(KNOWN) == "github.com key\na.example key\nb.example key\n"
    assert a.read(".history") == b.read(".history") == "ls\ngit st\nmake\n"


async def test_whoever_is_first_all_hosts_come_to_the_same_lines_and_stay_there(
    pair_with_lists: tuple[Host, Host],
) -> None:
    a, b = pair_with_lists
    for turn, order in enumerate([(a, b), (b, a), (a, b)]):
        for host in order:
            host.write(".history", f"{host.read('.history')}{host.name}{turn}\nboth{turn}\n")
        for host in order:
            assert not (await host.sync()).parked
    await once(a, b)
    lines = a.read(".history").splitlines()
    assert a.read(".history") == b.read(".history")
    wanted = {"ls", *(f"{who}{turn}" for who in ("a", "b", "both") for turn in range(3))}
    assert set(lines) == wanted
    assert max(Counter(lines).values()) == 1
    heads = a.remote.heads()
    await b.sync()
    assert a.remote.heads() == heads


async def test_a_list_that_two_hosts_began_is_one_list(pair_with_lists: tuple[Host, Host]) -> None:
    a, b = pair_with_lists
    for host in (a, b):
        host.write(".config/known_hosts", f"shared\n{host.name}")  # no newline at the end
        host.run("chezmoi", "add", str(host.home / ".config/known_hosts"))
    await a.sync()
    await b.sync()
    await a.sync()
    assert sorted(a.read(".config/known_hosts").split()) == ["a", "b", "shared"]
    assert a.read(".config/known_hosts") == b.read(".config/known_hosts")


async def test_a_union_goes_on_beside_a_conflict(pair_with_lists: tuple[Host, Host]) -> None:
    a, b = pair_with_lists
    for host in (a, b):
        host.edit(".bashrc", "one", f"one of {host.name}")
        host.write(".history", f"ls\n{host.name}\n")
    await a.sync()
    facts = await b.sync()
    assert [parked.path for parked in facts.parked] == ["dot_bashrc"]
    assert b.read(".history") == "ls\na\nb\n"
    await a.sync()
    assert a.read(".history") == "ls\na\nb\n"
    assert b.read(".bashrc").startswith("one of b")


async def test_a_parked_list_is_cleared_once_its_pattern_is_configured(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.add(".history", "ls\n")
    await a.sync()
    await b.sync()
    for host in pair:
        host.write(".history", f"ls\n{host.name}\n")
    await a.sync()
    assert (await b.sync()).word is SyncWord.conflicts_preserved
    b.set(merge=MergeConfig(union=("dot_history",)))
    a.edit(".bashrc", "one", "ONE")
    await a.sync()
    assert (await b.sync()).word is SyncWord.success
    await a.sync()
    assert a.read(".history") == b.read(".history") == "ls\na\nb\n"
    assert "gitopsd/b" not in a.remote.heads()


async def test_what_is_no_text_is_parked_all_the_same(pair_with_lists: tuple[Host, Host]) -> None:
    a, b = pair_with_lists
    for host in (a, b):
        host.write(".history", f"ls\n\0{host.name}\n")
    await a.sync()
    assert (await b.sync()).word is SyncWord.conflicts_preserved
    assert b.read(".history") == "ls\n\0b\n"


@pytest.mark.parametrize(
    ("pattern", "fits", "fits_not"),
    [
        ("dot_history", ["dot_history"], ["a/dot_history", "dot_history2"]),
        ("**/known_hosts", ["known_hosts", "a/known_hosts", "a/b/known_hosts"], ["a_known_hosts", "known_hosts/a"]),
        ("a/*.list", ["a/x.list", "a/.list"], ["a/b/x.list", "a/x-list"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "b/a"]),
        ("[ab]?.txt", ["ax.txt", "b1.txt"], ["cx.txt", "a/.txt", "axx.txt"]),
        ("[!a].txt", ["b.txt"], ["a.txt"]),
        ("a+(b)\n", ["a+(b)\n"], ["aab"]),
    ],
)
def test_patterns(pattern: str, fits: list[str], fits_not: list[str]) -> None:
    union = Union((pattern,))
    assert [path for path in fits if not union.matches(path)] == []
    assert [path for path in fits_not if union.matches(path)] == []


def test_lines_that_are_there_already_are_not_added_again() -> None:
    marks = [mark * 60 for mark in (b"<", b"=", b">")]
    marked = b"x\n%b t\nA\nB\n%b\nB\nB\nC\n%b o\ny\n" % tuple(marks)
    assert unite(marked) == b"x\nA\nB\nB\nC\ny\n"
    assert unite(b"=======\n<<<<<<< a\n") == b"=======\n<<<<<<< a\n"
