"""Conflict markers that somebody committed as if they were text: parked and named, until a person has settled them."""

import pytest
from people import Host, once, settle

from gitopsd.repo.markers import complete_sets
from gitopsd.types import SyncWord, Take

BY_JJ = """\
<<<<<<< conflict 1 of 1
%%%%%%% diff from: pzqstvmp 52733900 "base"
\\\\\\\\\\\\\\        to: stxpsvzr a370e77f "a"
-one
+one of a
+++++++ totoosym e032857b "b"
one of b
>>>>>>> conflict 1 of 1 ends
"""
BY_GIT = "<<<<<<< HEAD\none of a\n=======\none of b\n>>>>>>> e032857bd1df\n"
REST = "two\nthree\nfour\nfive\nsix\nseven\n"


@pytest.mark.parametrize(
    ("text", "sets"),
    [
        (BY_JJ, 1),
        (BY_GIT, 1),
        (BY_JJ.replace("\n", "\r\n"), 1),
        (f"{BY_GIT}two\n{BY_GIT}", 2),
        ("<<<<<<< conflict 1 of 1\n+++++++ x\na\n------- y\nb\n+++++++ z\nc\n>>>>>>> conflict 1 of 1 ends", 1),
        ("<<<<<<< side #1\na\n||||||| base\nb\n=======\nc\n>>>>>>> side #2\n", 1),
        (BY_GIT.replace("=======", "===========").replace("<<<<<<<", "<" * 11).replace(">>>>>>>", ">" * 11), 1),
        ("Merging\n=======\n\n<<<<<<< opens, and >>>>>>> closes\n", 0),
        ("<<<<<<< HEAD\n>>>>>>> main\n", 0),
        ("=======\n>>>>>>> main\n<<<<<<< HEAD\n", 0),
        (BY_GIT.replace("<", "  <", 1), 0),
        (BY_JJ.replace("1 of 1 ends", "1 of 2 ends"), 0),
        ("<<<<<<< conflict 1 of 1\n=======\n>>>>>>> conflict 1 of 1 ends\n", 0),
        ("cat <<<<<<<x\n" + "-" * 40 + "\n", 0),
        ("", 0),
    ],
)
def test_only_complete_sets_of_markers_count(text: str, sets: int) -> None:
    assert complete_sets(text.encode()) == sets


def commit_by_hand(host: Host, path: str, text: str) -> None:
    (host.source / path).write_text(text)
    host.run("git", "add", "-A", where=host.source)
    host.run("git", "commit", "--quiet", "-m", "by git", where=host.source)


@pytest.mark.parametrize("markers", [BY_JJ, BY_GIT])
async def test_a_file_with_new_conflict_markers_is_parked_and_does_not_come_to_a_home(
    pair: tuple[Host, Host], markers: str
) -> None:
    a, b = pair
    commit_by_hand(b, "dot_bashrc", markers + REST)
    b.edit(".config/app.conf", "x = 1", "x = 2")
    facts = await b.sync()
    assert facts.word is SyncWord.conflicts_preserved
    assert facts.published
    assert [parked.path for parked in facts.parked] == ["dot_bashrc"]
    assert [notice.path for notice in facts.notices] == [".bashrc"]
    assert "resolve .bashrc" in facts.notices[0].advice
    assert b.remote.show("gitopsd/b", "dot_bashrc") == markers + REST
    await settle(a, b)
    for host in pair:
        assert host.read(".bashrc") == f"one\n{REST}"
        assert host.read(".config/app.conf") == "x = 2\n"
    assert (b.source / "dot_bashrc").read_text() == markers + REST
    assert (await b.sync()).notices == facts.notices
    assert [each.file for each in (await a.choices.conflicts()).conflicts] == [".bashrc"]
    # Nothing of it is in the trunk's history either.
    assert "<<<<<<<" not in a.run("git", "log", "-p", "origin/main", where=a.source)
    (b.source / "dot_bashrc").write_text(f"one of both\n{REST}")
    facts = await b.sync()
    assert facts.word is SyncWord.success
    await a.sync()
    assert a.read(".bashrc") == b.read(".bashrc") == f"one of both\n{REST}"
    assert "gitopsd/b" not in b.remote.heads()


@pytest.mark.parametrize("take", [Take.ours, Take.theirs])
async def test_a_person_settles_it_like_any_other_conflict(pair: tuple[Host, Host], take: Take) -> None:
    a, b = pair
    b.write(".bashrc", BY_GIT + REST)  # in the home, as an editor or `chezmoi merge` leaves it
    facts = await b.sync()
    assert facts.word is SyncWord.conflicts_preserved
    await a.sync()
    await a.choices.resolve(".bashrc", take)
    await settle(b, a)
    wanted = BY_GIT + REST if take is Take.ours else f"one\n{REST}"
    assert a.read(".bashrc") == b.read(".bashrc") == wanted
    assert (await b.sync()).word is SyncWord.success


async def test_a_text_about_conflicts_is_published_like_any_other(pair: tuple[Host, Host]) -> None:
    a, b = pair
    b.add("merging.md", "Merging\n=======\n\n<<<<<<< opens\n\n    >>>>>>> closes\n")
    assert (await b.sync()).word is SyncWord.success
    # An example of a whole conflict has to be confirmed once, and never again.
    b.add("example.md", f"An example\n\n{BY_GIT}\n")
    assert (await b.sync()).word is SyncWord.conflicts_preserved
    await b.choices.resolve("example.md", Take.ours)
    await once(b, a)
    assert a.read("example.md") == b.read("example.md")
    a.edit("example.md", "An example", "An example of git's")
    assert (await a.sync()).word is SyncWord.success
    b.edit("example.md", "one of b", "one of somebody else")
    facts = await b.sync()
    assert facts.word is SyncWord.success
    assert not facts.notices
    await a.sync()
    assert a.read("example.md") == b.read("example.md")
