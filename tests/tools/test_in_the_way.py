"""What is in the way of chezmoi in a home: a person's own files and directories, closed files, kinds that differ.

chezmoi removes a directory with all that is in it, and ends at the first file that it cannot read.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from people import Host, once

from gitopsd.errors import Failed
from gitopsd.types import SyncWord


def _a_file(a: Host) -> None:
    a.run("rm", "-r", str(a.source / "dot_tools"), ".tools")
    a.add(".tools", "a file now\n")


def _a_link(a: Host) -> None:
    a.run("rm", "-r", str(a.source / "dot_tools"), ".tools")
    a.run("ln", "-s", ".config", ".tools")
    a.run("chezmoi", "add", ".tools")


def _to_be_removed(a: Host) -> None:
    a.run("rm", "-r", str(a.source / "dot_tools"), ".tools")
    (a.source / ".chezmoiremove").write_text(".tools\n")


@pytest.mark.parametrize("becomes", [_a_file, _a_link, _to_be_removed])
async def test_a_directory_that_is_one_no_more_keeps_what_the_person_has_in_it(
    pair: tuple[Host, Host], becomes: Callable[[Host], None]
) -> None:
    a, b = pair
    a.write(".tools/deep/one", "1\n")
    a.run("chezmoi", "add", ".tools")
    await once(a, b)
    b.write(".tools/deep/own", "mine alone\n")
    becomes(a)
    a.edit(".bashrc", "one", "ONE")
    await a.sync()
    for _ in range(2):
        facts = await b.sync()
        assert b.read(".tools/deep/own") == "mine alone\n"
        assert facts.word is SyncWord.success_local_only
        assert [notice.path for notice in facts.notices] == [".tools"]
        assert ".tools/deep/own" in facts.notices[0].what
    assert b.read(".bashrc").startswith("ONE")
    b.run("mv", ".tools/deep/own", "own")  # as the notice says
    facts = await b.sync()
    assert (facts.word, facts.notices, facts.applied) == (SyncWord.success, (), (".tools",))
    assert not (b.home / ".tools/deep").exists()


async def test_an_exact_directory_takes_away_no_directory_with_a_persons_file_in_it(pair: tuple[Host, Host]) -> None:
    a, b = pair
    for name in ("sub/one", "gone/two", "keep"):
        a.write(f".exact/{name}", f"{name}\n")
    a.run("chezmoi", "add", "--exact", ".exact")
    for name in ("sub", "gone"):
        a.run("mv", f"exact_{name}", name, where=a.source / "exact_dot_exact")
    await once(a, b, a)
    b.write(".exact/sub/own", "mine alone\n")
    a.run("rm", "-r", "sub", "gone", where=a.source / "exact_dot_exact")
    await a.sync()
    facts = await b.sync()
    assert b.read(".exact/sub/own") == "mine alone\n"
    assert [notice.path for notice in facts.notices] == [".exact/sub"]
    assert not (b.home / ".exact/gone").exists()


async def test_a_file_where_the_repository_has_a_directory_stops_that_directory_only(pair: tuple[Host, Host]) -> None:
    a, b = pair
    b.write(".foo", "mine\n")
    a.write(".foo/bar", "1\n")
    a.run("chezmoi", "add", ".foo")
    a.edit(".bashrc", "one", "ONE")
    await a.sync()
    b.edit(".config/app.conf", "x = 1", "x = 2")
    facts = await b.sync()
    assert b.read(".foo") == "mine\n"
    assert b.read(".bashrc").startswith("ONE")
    assert b.remote.show("main", "dot_config/app.conf") == "x = 2\n"
    assert {notice.path for notice in facts.notices} == {".foo", ".foo/bar"}
    with pytest.raises(Failed, match="is no directory here"):
        await b.choices.adopt([".foo/bar"], mine=False)
    assert b.read(".foo") == "mine\n"


async def test_a_link_in_place_of_a_directory_stays_a_link(pair: tuple[Host, Host]) -> None:
    a, b = pair
    b.run("sh", "-c", "mv .config data; ln -s data .config")
    a.edit(".config/app.conf", "x = 1", "x = 2")
    await a.sync()
    facts = await b.sync()
    assert (b.home / ".config").is_symlink()
    assert b.read("data/app.conf") == "x = 2\n"
    assert [notice.what for notice in facts.notices] == [
        ".config is a link here and a directory in the repository: it is left as it is"
    ]
    a.edit(".config/app.conf", "x = 2", "x = 3")
    await a.sync()
    b.write(".config/app.conf", "mine\n")
    await b.choices.adopt([".config/app.conf"], mine=False)
    assert (b.home / ".config").is_symlink()


@pytest.mark.parametrize("how", ["closed", "fifo"])
async def test_a_file_that_chezmoi_cannot_read_stops_no_other(pair: tuple[Host, Host], how: str) -> None:
    a, b = pair
    (b.home / ".bashrc").unlink()
    if how == "fifo":
        b.run("mkfifo", ".bashrc")
    else:
        (b.home / ".bashrc").write_text("written with sudo\n")  # by root, as whom the tests run
        (b.home / ".bashrc").chmod(0o600)
    b.edit(".config/app.conf", "x = 1", "x = 2")
    facts = await b.sync()
    assert (facts.word, facts.published) == (SyncWord.success_local_only, True)
    assert [notice.path for notice in facts.notices] == [".bashrc"]
    await once(a)
    assert a.read(".config/app.conf") == "x = 2\n"


async def test_a_host_without_the_key_of_an_encrypted_file_has_everything_else(pair: tuple[Host, Host]) -> None:
    a, b = pair
    key = a.run("age-keygen")
    recipient = next(line.split()[-1] for line in key.splitlines() if line.startswith("# public key"))
    table = f'encryption = "age"\n[age]\nidentity = "~/key.txt"\nrecipient = "{recipient}"\n'
    for host in pair:
        host.write(".config/chezmoi/chezmoi.toml", table)
    a.write("key.txt", key)
    a.add(".netrc", "machine one\n", "--encrypt")
    a.edit(".bashrc", "one", "ONE")
    await a.sync()
    b.edit(".config/app.conf", "x = 1", "x = 2")
    facts = await b.sync()
    assert [notice.path for notice in facts.notices] == [".netrc"]
    assert "key.txt" in facts.notices[0].what
    assert b.read(".bashrc").startswith("ONE")
    assert a.remote.show("main", "dot_config/app.conf") == "x = 2\n"
    b.write("key.txt", key)
    facts = await b.sync()
    assert (facts.word, facts.notices) == (SyncWord.success, ())
    assert b.read(".netrc") == "machine one\n"
    # One that cannot be encrypted holds back no other edit either.
    b.write(".config/chezmoi/chezmoi.toml", table.replace(recipient, "age1broken"))
    b.write(".netrc", "machine two\n")
    b.edit(".bashrc", "two", "TWO")
    facts = await b.sync()
    assert facts.word is SyncWord.success_local_only
    assert [notice.path for notice in facts.notices] == [".netrc"]
    assert "TWO" in a.remote.show("main", "dot_bashrc")


async def test_a_file_that_became_something_else_is_kept_named_and_settled(pair: tuple[Host, Host]) -> None:
    a, b = pair
    b.run(
        "sh",
        "-c",
        "mv .bashrc real; ln -s real .bashrc; rm .config/app.conf; mkdir .config/app.conf; touch .config/app.conf/own",
    )
    b.run("chmod", "700", ".config")
    a.edit(".bashrc", "one", "ONE")
    await a.sync()
    for _ in range(2):
        facts = await b.sync()
        assert {notice.path: " ".join(notice.what.split()[1:7]) for notice in facts.notices} == {
            ".bashrc": "is a link here and a",
            ".config": "directory .config has other permissions than",
            ".config/app.conf": "is a directory here and a",
        }
    assert (b.home / ".bashrc").is_symlink()
    assert b.read("real").startswith("one")
    (done,) = await b.choices.adopt([".bashrc"], mine=False)
    assert Path(done.backup).is_symlink()
    assert b.read(".bashrc").startswith("ONE")
    b.run("sh", "-c", "mv .bashrc real; ln -s real .bashrc")
    await b.choices.adopt([".bashrc"], mine=True)
    await once(b, a)
    assert "symlink_dot_bashrc" in a.remote.files("main")
    assert (a.home / ".bashrc").is_symlink()


async def test_a_file_that_was_closed_to_others_is_not_opened(pair: tuple[Host, Host]) -> None:
    a, b = pair
    (b.home / ".bashrc").chmod(0o640)
    b.edit(".bashrc", "seven", "seven of b")
    a.edit(".bashrc", "one", "ONE")
    await once(a)
    for _ in range(2):
        facts = await b.sync()
        assert (b.home / ".bashrc").stat().st_mode & 0o777 == 0o640
        assert [notice.path for notice in facts.notices] == [".bashrc"]
        assert "open it to others" in facts.notices[0].what
    assert "seven of b" in a.remote.show("main", "dot_bashrc")
    (b.home / ".bashrc").chmod(0o600)
    await once(b, b)
    assert "private_dot_bashrc" in a.remote.files("main")
    assert b.read(".bashrc") == a.remote.show("main", "private_dot_bashrc")
    assert b.read(".bashrc").startswith("ONE")


async def test_a_person_who_wants_chezmoi_to_ask_is_not_asked(pair: tuple[Host, Host]) -> None:
    a, b = pair
    b.write(".config/chezmoi/chezmoi.toml", "interactive = true\n")
    b.edit(".bashrc", "one", "ONE")
    assert (await b.sync()).word is SyncWord.success
    a.edit(".config/app.conf", "x = 1", "x = 2")
    await once(a, b)
    assert b.read(".config/app.conf") == "x = 2\n"


async def test_a_file_that_grew_over_the_limit_holds_back_no_other(pair: tuple[Host, Host]) -> None:
    a, b = pair
    b.run("truncate", "--size=65M", ".bashrc")
    b.edit(".config/app.conf", "x = 1", "x = 2")
    facts = await b.sync()
    assert (facts.word, facts.captured) == (SyncWord.success_local_only, ("dot_config/app.conf",))
    assert [notice.path for notice in facts.notices] == [".bashrc"]
    assert (b.home / ".bashrc").stat().st_size == 65 * 1024 * 1024
    assert a.remote.show("main", "dot_config/app.conf") == "x = 2\n"
