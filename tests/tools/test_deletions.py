"""`deletions = "capture"`: a file that was deleted in the home goes out of the repository, if nothing else can be meant."""

import pytest
from people import Host, once

from gitopsd.dotfiles.deletions import looks_lost
from gitopsd.types import SyncWord


@pytest.fixture
async def capturing(pair: tuple[Host, Host]) -> tuple[Host, Host]:
    """Two hosts that capture deletions, with some more files."""
    a, b = pair
    for host in pair:
        host.set(deletions="capture")
    for name in (".inputrc", ".tools/one", ".tools/deep/two", ".keep/a", ".keep/b"):
        a.write(name, f"{name}\n")
    a.run("chezmoi", "add", ".inputrc", ".tools", ".keep")
    await a.sync()
    await b.sync()
    return a, b


async def test_a_deleted_file_goes_out_of_the_repository_and_stays_in_other_homes(capturing: tuple[Host, Host]) -> None:
    a, b = capturing
    (a.home / ".inputrc").unlink()
    facts = await a.sync()
    assert (facts.word, facts.captured, facts.notices) == (SyncWord.success, ("dot_inputrc",), ())
    assert "dot_inputrc" not in a.remote.files("main")
    facts = await b.sync()
    assert facts.notices == ()
    assert b.read(".inputrc") == ".inputrc\n"  # chezmoi takes nothing out of a home; that file is b's own now
    await once(a, b)
    assert not (a.home / ".inputrc").exists()
    assert ".inputrc" in a.history()


async def test_a_deleted_directory_goes_with_everything_in_it(capturing: tuple[Host, Host]) -> None:
    a, b = capturing
    a.run("rm", "-r", ".tools", ".keep/a")
    await a.sync()
    await b.sync()
    assert not [name for name in a.remote.files("main") if "tools" in name]
    assert "dot_keep/b" in a.remote.files("main")
    assert not (a.home / ".tools").exists()
    assert (await a.sync()).notices == ()


async def test_a_file_deleted_here_and_edited_there_is_parked(capturing: tuple[Host, Host]) -> None:
    a, b = capturing
    b.write(".inputrc", "edited on b\n")
    await b.sync()
    (a.home / ".inputrc").unlink()
    facts = await a.sync()
    assert facts.word is SyncWord.conflicts_preserved
    assert [parked.path for parked in facts.parked] == ["dot_inputrc"]
    assert a.remote.show("main", "dot_inputrc") == "edited on b\n"
    await once(a, b)
    assert b.read(".inputrc") == "edited on b\n"
    assert not (a.home / ".inputrc").exists()


async def test_a_deletion_of_an_older_version_does_not_take_a_newer_one_away(capturing: tuple[Host, Host]) -> None:
    a, b = capturing
    b.write(".inputrc", "newer\n")
    await b.sync()
    a.run("jj", "git", "fetch", "--quiet", where=a.source)
    a.run("jj", "new", "--quiet", "main@origin", where=a.source)  # the source is new, the home never was
    (a.home / ".inputrc").unlink()
    facts = await a.sync()
    assert facts.word is SyncWord.conflicts_preserved
    assert a.remote.show("main", "dot_inputrc") == "newer\n"


async def test_a_file_that_was_added_again_is_not_taken_for_the_deleted_one(capturing: tuple[Host, Host]) -> None:
    a, b = capturing
    (a.home / ".inputrc").unlink()
    await a.sync()
    await b.sync()
    (b.home / ".inputrc").unlink()  # it is nobody's there; chezmoi's record of it stays
    a.add(".inputrc", ".inputrc\n")
    await a.sync()
    await b.sync()  # brings it into b's source
    facts = await b.sync()
    assert [notice.path for notice in facts.notices] == [".inputrc"]
    assert "added again" in facts.notices[0].what
    assert "dot_inputrc" in a.remote.files("main")


async def test_a_home_that_is_lost_deletes_nothing(capturing: tuple[Host, Host]) -> None:
    a, _b = capturing
    for number in range(4):
        a.write(f".more{number}", "more\n")
    a.run("sh", "-c", "chezmoi add .more*")
    await a.sync()
    before = a.remote.files("main")
    a.run("rm", "-r", ".tools", ".keep", ".inputrc", ".more0")
    a.edit(".bashrc", "one", "ONE")
    facts = await a.sync()
    assert a.remote.files("main") == before
    assert any("6 of 11 files are missing" in notice.what for notice in facts.notices)
    assert a.remote.show("main", "dot_bashrc").startswith("ONE")  # what is still there is captured
    a.run("sh", "-c", "rm -rf .bashrc .config/app.conf .more*")
    facts = await a.sync()
    assert a.remote.files("main") == before
    a.run("chezmoi", "apply", "--force")
    assert a.read(".tools/one") == ".tools/one\n"
    assert (await a.sync()).notices == ()


async def test_templates_symlinks_exact_directories_and_encrypted_files_are_reported(
    capturing: tuple[Host, Host],
) -> None:
    a, _b = capturing
    a.add(".toolrc", "x\n", "--template")
    a.write(".exact/file", "x\n")
    a.run("chezmoi", "add", "--exact", str(a.home / ".exact"))
    a.run("ln", "-s", ".bashrc", ".link")
    a.run("chezmoi", "add", str(a.home / ".link"))
    await a.sync()
    before = a.remote.files("main")
    a.run("rm", ".toolrc", ".exact/file", ".link")
    facts = await a.sync()
    assert {notice.path for notice in facts.notices} == {".toolrc", ".exact/file", ".link"}
    assert a.remote.files("main") == before


async def test_without_auto_commit_a_deletion_is_reported(capturing: tuple[Host, Host]) -> None:
    a, _ = capturing
    a.set(auto_commit=False)
    (a.home / ".inputrc").unlink()
    facts = await a.sync()
    assert [notice.path for notice in facts.notices] == [".inputrc"]
    assert "dot_inputrc" in a.remote.files("main")


@pytest.mark.parametrize(
    ("missing", "known", "lost"),
    [
        (0, 0, False),
        (0, 9, False),
        (1, 1, True),
        (1, 2, False),
        (8, 9, False),
        (9, 9, True),
        (5, 10, False),
        (6, 10, True),
    ],
)
def test_a_home_looks_lost_when_most_of_many_files_are_missing(missing: int, known: int, lost: bool) -> None:
    assert looks_lost(missing, known) is lost
