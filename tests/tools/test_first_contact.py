"""A host meets the repository, and a file in the home the one in the repository; on real tools."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from people import Host, Remote, settle
from test_dotfiles import conflict

from gitopsd.errors import Cause, Failed, Transient
from gitopsd.tools.process import Result
from gitopsd.types import SyncWord


async def first_sync(host: Host) -> None:
    facts = await host.sync()
    assert facts.word is SyncWord.success, facts


async def test_a_fresh_host_is_set_up_and_synced(pair: tuple[Host, Host], host: Callable[..., Host]) -> None:
    a, _ = pair
    c = host("c")
    begun = await c.choices.initialize()
    assert (begun.made, begun.notices, begun.source) == (True, (), str(c.source))
    await first_sync(c)
    assert c.read(".bashrc") == a.read(".bashrc")
    assert c.read(".config/app.conf") == "x = 1\n"
    c.edit(".bashrc", "one", "one of c")
    await settle(c, a)
    assert a.read(".bashrc").startswith("one of c")
    assert c.run("jj", "bookmark", "list", "--tracked", where=c.source).startswith("main: ")
    assert {path.stat().st_uid for path in c.home.rglob("*") if not path.is_symlink()} == {1000}
    again = await c.choices.initialize()
    assert (again.made, again.notices) == (False, ())
    await first_sync(c)


async def test_a_home_that_has_files_already_keeps_them_and_is_told(
    pair: tuple[Host, Host], host: Callable[..., Host]
) -> None:
    a, _ = pair
    c = host("c")
    c.write(".bashrc", "mine\n")
    c.write(".config/app.conf", "x = 1\n")  # the same
    c.write(".vimrc", "of c only\n")
    begun = await c.choices.initialize()
    assert [notice.path for notice in begun.notices] == [".bashrc"]
    assert "gitopsctl dotfiles adopt --mine ~/.bashrc" in begun.notices[0].advice
    facts = await c.sync()
    assert facts.notices == begun.notices
    assert (c.read(".bashrc"), c.read(".vimrc")) == ("mine\n", "of c only\n")
    a.edit(".config/app.conf", "x = 1", "x = 2")
    await settle(a, c)
    assert c.read(".config/app.conf") == "x = 2\n"  # it was the repository's, so it follows
    c.edit(".config/app.conf", "x = 2", "x = 3")
    await settle(c, a)
    assert a.read(".config/app.conf") == "x = 3\n"
    assert c.read(".bashrc") == "mine\n"


async def test_an_empty_remote_gets_its_first_file_from_the_home(host: Callable[..., Host], remote: Remote) -> None:
    a, b = host("a"), host("b")
    a.write(".bashrc", "one\n")
    begun = await a.choices.initialize()
    assert not begun.made
    await first_sync(a)
    (done,) = await a.choices.adopt([".bashrc"], mine=True)
    assert (done.took, done.backup) == ("mine", "")
    await first_sync(a)
    assert remote.show("main", "dot_bashrc") == "one\n"
    assert (await b.choices.initialize()).made
    await first_sync(b)
    assert b.read(".bashrc") == "one\n"


async def test_adopting_mine_brings_the_homes_version_to_every_host(
    pair: tuple[Host, Host], host: Callable[..., Host]
) -> None:
    a, b = pair
    c = host("c")
    c.write(".bashrc", "mine\n")
    c.run("chmod", "+x", ".bashrc")
    await c.choices.initialize()
    await c.sync()
    (done,) = await c.choices.adopt([".bashrc"], mine=True)
    assert (done.file, done.took) == (".bashrc", "mine")
    await first_sync(c)
    await settle(a, b, c)
    for each in (a, b, c):
        assert each.read(".bashrc") == "mine\n"
        assert (each.home / ".bashrc").stat().st_mode & 0o100
        assert not (await each.sync()).notices


async def test_adopting_theirs_moves_the_homes_version_to_a_backup_that_is_named(
    pair: tuple[Host, Host], host: Callable[..., Host]
) -> None:
    a, _ = pair
    c = host("c")
    c.write(".bashrc", "mine\n")
    await c.choices.initialize()
    await c.sync()
    (done,) = await c.choices.adopt(["~/.bashrc"], mine=False)
    assert done.took == "theirs"
    backup = Path(done.backup)
    assert backup.is_relative_to(c.home / ".local/state/gitopsd/backups")
    assert backup.read_text() == "mine\n"
    assert stat.S_IMODE((c.home / ".local/state/gitopsd").stat().st_mode) == 0o700
    assert c.read(".bashrc") == a.read(".bashrc")
    assert [note.path for note in c.choices._turn.notes] == [".bashrc"]
    assert done.backup in c.choices._turn.notes[0].what
    await first_sync(c)
    assert not (await c.sync()).notices
    (again,) = await c.choices.adopt([".bashrc"], mine=False)
    assert (again.took, again.backup) == ("same", "")
    c.edit(".bashrc", "one", "one of c")
    await settle(c, a)
    assert a.read(".bashrc").startswith("one of c")


async def test_an_edited_template_target_is_given_up_with_a_backup(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.add(".toolrc", "[user]\n", "--template")
    await settle(a, b)
    b.write(".toolrc", "[user]\nname = b\n")
    await b.sync()
    with pytest.raises(Failed, match="template") as refused:
        await b.choices.adopt([".toolrc"], mine=True)
    assert "chezmoi edit" in refused.value.advice
    (done,) = await b.choices.adopt([".toolrc"], mine=False)
    assert Path(done.backup).read_text() == "[user]\nname = b\n"
    assert b.read(".toolrc") == "[user]\n"
    assert not (await b.sync()).notices


async def test_a_file_that_cannot_be_written_is_moved_back(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.add(".toolrc", "[user]\n", "--template")
    await settle(a, b)
    b.write(".toolrc", "mine\n")
    b.processes.instead["--force"] = Result(argv=("chezmoi",), status=1, stdout="", stderr="chezmoi: no such key")
    with pytest.raises(Failed, match="no such key"):
        await b.choices.adopt([".toolrc"], mine=False)
    assert b.read(".toolrc") == "mine\n"


async def test_a_deleted_file_is_dropped_or_comes_back(pair: tuple[Host, Host]) -> None:
    a, b = pair
    (b.home / ".bashrc").unlink()
    (b.home / ".config/app.conf").unlink()
    await b.sync()
    (gone,) = await b.choices.adopt([".bashrc"], mine=True)
    (back,) = await b.choices.adopt([".config/app.conf"], mine=False)
    assert (gone.took, back.took, back.backup) == ("deletion", "theirs", "")
    assert b.read(".config/app.conf") == "x = 1\n"
    await settle(b, a)
    assert a.remote.files("main") == {"dot_config/app.conf"}
    assert not (b.home / ".bashrc").exists()


async def test_names_are_checked_before_anything_is_done(pair: tuple[Host, Host]) -> None:
    a, _ = pair
    a.write(".new", "new\n")
    for wrong in ("../other", "/etc/passwd", ".config", ".missing"):
        with pytest.raises(Failed):
            await a.choices.adopt([".new", wrong], mine=True)
    with pytest.raises(Failed, match="not in the repository"):
        await a.choices.adopt([".new"], mine=False)
    await a.sync()
    assert "dot_new" not in a.remote.files("main")
    (done,) = await a.choices.adopt([str(a.home / ".new")], mine=True)
    assert done.file == ".new"
    await a.sync()
    assert "dot_new" in a.remote.files("main")


async def test_something_else_in_its_place_is_left_alone(pair: tuple[Host, Host], host: Callable[..., Host]) -> None:
    a, _ = pair
    c = host("c")
    c.write(".local/share/chezmoi/dot_bashrc", "by hand\n")
    with pytest.raises(Failed, match="no git repository"):
        await c.choices.initialize()
    assert sorted(path.name for path in c.source.iterdir()) == ["dot_bashrc"]
    a.set(repo_url="git@example.org:other.git")
    with pytest.raises(Failed, match="belongs to"):
        await a.choices.initialize()
    with pytest.raises(Failed, match="not set up"):
        await c.choices.conflicts()


async def test_a_source_directory_that_was_begun_by_hand_is_merged(
    pair: tuple[Host, Host], host: Callable[..., Host]
) -> None:
    a, _ = pair
    c = host("c")
    c.run("chezmoi", "init")
    c.add(".vimrc", "of c\n")
    assert not (await c.choices.initialize()).made
    await settle(c, a)
    assert a.read(".vimrc") == "of c\n"
    assert c.read(".bashrc") == a.read(".bashrc")


@pytest.mark.parametrize("at", range(2, 22, 2))
async def test_what_was_killed_is_finished_by_asking_again(
    pair: tuple[Host, Host], host: Callable[..., Host], at: int
) -> None:
    a, _ = pair
    c = host("c")
    c.write(".config/app.conf", "mine\n")
    c.processes.dies_at = at
    try:
        await c.choices.initialize()
    except BaseException as error:  # noqa: BLE001 - it is no Exception
        assert type(error).__name__ == "Killed"
    c.processes.dies_at = None
    c.start()
    await c.choices.initialize()
    facts = await c.sync()
    assert facts.word is SyncWord.success_local_only
    assert [notice.path for notice in facts.notices] == [".config/app.conf"]
    assert (c.read(".bashrc"), c.read(".config/app.conf")) == (a.read(".bashrc"), "mine\n")


async def test_without_a_network_it_begins_later(pair: tuple[Host, Host], host: Callable[..., Host]) -> None:
    a, _ = pair
    c = host("c")
    broken = Result(argv=("git",), status=128, stdout="", stderr="ssh: Could not resolve hostname example.org")
    c.processes.instead["ls-remote"] = broken
    with pytest.raises(Transient) as away:
        await c.choices.initialize()
    assert away.value.cause is Cause.network
    c.processes.instead.clear()
    assert (await c.choices.initialize()).made
    await first_sync(c)
    assert c.read(".bashrc") == a.read(".bashrc")


async def test_chezmois_configuration_is_made_from_the_repositorys_template(
    pair: tuple[Host, Host], host: Callable[..., Host]
) -> None:
    a, _ = pair
    (a.source / ".chezmoi.toml.tmpl").write_text('[data]\nplace = {{ promptStringOnce . "place" "Where" "home" }}\n')
    (a.source / "dot_place.tmpl").write_text("{{ .place }}\n")
    await a.sync()
    c = host("c")
    begun = await c.choices.initialize()
    assert [notice.advice for notice in begun.notices if "asks" in notice.what] == ["chezmoi init  # on a terminal"]
    (a.source / ".chezmoi.toml.tmpl").write_text(
        '[data]\nplace = {{ promptStringOnce . "place" "Where" "x" | quote }}\n'
    )
    await a.sync()
    await c.sync()
    assert not (await c.choices.initialize()).notices
    await c.sync()
    assert c.read(".place") == "x\n"


async def test_a_second_clone_beside_a_parked_change_keeps_it(pair: tuple[Host, Host]) -> None:
    a, b = pair
    await conflict(a, b)
    b.run("rm", "-rf", str(b.source))
    assert (await b.sync()).word is SyncWord.not_initialized
    assert (await b.choices.initialize()).made
    facts = await b.sync()
    assert [parked.file for parked in facts.parked] == [".bashrc"]
    assert b.read(".bashrc").startswith("one of b")
    a.edit(".config/app.conf", "x = 1", "x = 2")
    await settle(a, b)
    assert b.read(".config/app.conf") == "x = 2\n"
