"""What dotfiles.md promises, on real tools: two homes and a remote."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from people import Host, Remote, git, once, settle

from gitopsd.errors import Cause, Failed, Transient
from gitopsd.tools.jj import NEW_FILE_LIMIT
from gitopsd.tools.process import Result
from gitopsd.types import PersonFacts, SyncWord, Take


async def test_an_edit_on_one_host_arrives_on_the_other(pair: tuple[Host, Host], remote: Remote) -> None:
    a, b = pair
    a.edit(".bashrc", "one", "ONE")
    facts = await a.sync()
    assert facts.word is SyncWord.success, facts
    assert facts.published
    assert facts.captured == ("dot_bashrc",)
    assert remote.show("main", "dot_bashrc").startswith("ONE")
    facts = await b.sync()
    assert facts.applied == (".bashrc",)
    assert b.read(".bashrc").startswith("ONE")
    assert not facts.notices


async def test_an_older_file_of_one_host_never_reverts_a_line_of_the_other(
    pair: tuple[Host, Host], remote: Remote
) -> None:
    a, b = pair
    a.edit(".bashrc", "one", "one of a")
    await a.sync()
    b.edit(".bashrc", "seven", "seven of b")  # b's file does not have a's line yet
    facts = await b.sync()
    assert facts.word is SyncWord.success
    both = "one of a\ntwo\nthree\nfour\nfive\nsix\nseven of b\n"
    assert remote.show("main", "dot_bashrc") == both
    assert b.read(".bashrc") == both
    await a.sync()
    assert a.read(".bashrc") == both


async def test_a_push_that_ends_well_with_nothing_on_the_remote_is_found_out(pair: tuple[Host, Host]) -> None:
    a, _ = pair
    await a.sync()
    a.edit(".bashrc", "one", "ONE")
    a.processes.instead["push"] = Result(argv=("git",), status=0, stdout="", stderr="")
    with pytest.raises(Failed, match="the remote has nothing of it"):
        await a.sync()
    a.processes.instead.clear()
    assert (await a.sync()).published
    assert a.remote.show("main", "dot_bashrc").startswith("ONE")


async def test_the_same_line_on_two_hosts_is_parked_and_holds_nothing_else_back(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.edit(".bashrc", "one", "one of a")
    await a.sync()
    b.edit(".bashrc", "one", "one of b")
    b.edit(".config/app.conf", "x = 1", "x = 2")
    facts = await b.sync()
    assert facts.word is SyncWord.conflicts_preserved
    assert facts.published
    assert [(parked.path, parked.bookmark) for parked in facts.parked] == [("dot_bashrc", "gitopsd/b")]
    heads = b.remote.heads()
    assert heads["gitopsd/b"] == facts.parked[0].commit
    assert b.remote.show("main", "dot_bashrc").startswith("one of a")
    assert b.remote.show("gitopsd/b", "dot_bashrc").startswith("one of b")
    assert b.remote.show("main", "dot_config/app.conf") == "x = 2\n"
    assert b.read(".bashrc").startswith("one of b")
    await settle(a, b)
    assert a.read(".bashrc").startswith("one of a")
    assert a.read(".config/app.conf") == "x = 2\n"
    assert b.read(".bashrc").startswith("one of b")
    assert b.remote.heads() == heads
    again = await b.sync()
    assert again.word is SyncWord.conflicts_preserved
    assert again.parked == facts.parked
    assert "gitopsd/b@origin" in a.run("jj", "bookmark", "list", "--all", where=a.source)


async def test_a_parked_file_that_is_edited_again_grows_on_its_bookmark(pair: tuple[Host, Host]) -> None:
    a, b = pair
    await conflict(a, b)
    before = b.remote.heads()["gitopsd/b"]
    b.edit(".bashrc", "seven", "seven of b")
    facts = await b.sync()
    assert facts.word is SyncWord.conflicts_preserved
    grown = b.remote.heads()["gitopsd/b"]
    assert git("-C", str(b.remote.path), "rev-parse", f"{grown}^").strip() == before
    assert b.remote.show("gitopsd/b", "dot_bashrc") == b.read(".bashrc")
    assert "seven of b" not in b.remote.show("main", "dot_bashrc")
    a.edit(".bashrc", "four", "four of a")
    await settle(a, b)
    assert b.read(".bashrc") == "one of b\ntwo\nthree\nfour\nfive\nsix\nseven of b\n"


async def test_a_parked_change_is_cleared_by_itself_once_the_trunk_merged_it(pair: tuple[Host, Host]) -> None:
    a, b = pair
    await conflict(a, b)
    await a.sync()
    run = a.run
    run("git", "merge", "--quiet", "-s", "ours", "-m", "b's line", "origin/gitopsd/b", where=a.source)
    (a.source / "dot_bashrc").write_text("one of both\ntwo\nthree\nfour\nfive\nsix\nseven\n")
    await settle(a, b)
    assert b.read(".bashrc").startswith("one of both")
    assert a.read(".bashrc").startswith("one of both")
    assert "gitopsd/b" not in b.remote.heads()
    facts = await b.sync()
    assert facts.word is SyncWord.success
    assert not facts.parked


async def test_a_parked_change_goes_to_the_trunk_once_the_other_side_steps_back(pair: tuple[Host, Host]) -> None:
    a, b = pair
    await conflict(a, b)
    a.edit(".bashrc", "one of a", "one")
    await settle(a, b, a)
    assert a.read(".bashrc").startswith("one of b")
    assert "gitopsd/b" not in a.remote.heads()


async def test_typing_the_other_sides_version_settles_a_conflict(pair: tuple[Host, Host]) -> None:
    a, b = pair
    await conflict(a, b)
    b.edit(".bashrc", "one of b", "one of a")
    facts = await b.sync()
    assert facts.word is SyncWord.success
    assert "gitopsd/b" not in b.remote.heads()


async def test_a_cloned_again_repository_still_knows_what_is_parked(pair: tuple[Host, Host]) -> None:
    a, b = pair
    await conflict(a, b)
    shutil.rmtree(b.source)
    b.run("chezmoi", "init", str(b.remote.path))
    b.run("jj", "git", "init", "--colocate", "--quiet", where=b.source)
    facts = await b.sync()
    assert facts.word is SyncWord.conflicts_preserved
    assert b.read(".bashrc").startswith("one of b")
    await settle(a, b)
    assert b.read(".bashrc").startswith("one of b")
    assert b.remote.show("gitopsd/b", "dot_bashrc").startswith("one of b")


async def test_offline_edits_are_committed_here_and_published_later(pair: tuple[Host, Host]) -> None:
    a, _b = pair
    away = a.remote.path.with_suffix(".away")
    a.remote.path.rename(away)
    broken = Result(argv=("git",), status=128, stdout="", stderr="ssh: Could not resolve hostname example.org")
    a.processes.instead["ls-remote"] = broken
    a.edit(".bashrc", "one", "ONE")
    facts = await a.sync()
    assert facts.word is SyncWord.fetch_failed
    assert facts.offline
    assert "+ONE" in a.history()
    a.edit(".bashrc", "two", "TWO")
    await a.sync()
    away.rename(a.remote.path)
    a.processes.instead.clear()
    facts = await a.sync()
    assert facts.word is SyncWord.success
    assert a.remote.show("main", "dot_bashrc").startswith("ONE\nTWO\n")


async def test_an_edit_between_capture_and_apply_is_kept_and_captured_next(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.edit(".bashrc", "one", "one of a")
    a.edit(".config/app.conf", "x = 1", "x = 2")
    await a.sync()
    facts = await b.sync(cut="apply")
    b.edit(".bashrc", "seven", "seven of b")
    facts = await b.dotfiles.apply(facts)
    assert facts.applied == (".config/app.conf",)
    assert [notice.path for notice in facts.notices] == [".bashrc"]
    assert "seven of b" in b.read(".bashrc")
    await settle(b, a)
    assert b.read(".bashrc") == a.read(".bashrc") == "one of a\ntwo\nthree\nfour\nfive\nsix\nseven of b\n"


async def test_a_file_that_was_there_before_chezmoi_is_not_overwritten(pair: tuple[Host, Host]) -> None:
    a, b = pair
    b.write(".vimrc", "mine\n")
    a.add(".vimrc", "theirs\n")
    a.add(".inputrc", "new\n")
    await a.sync()
    facts = await b.sync()
    assert facts.applied == (".inputrc",)
    assert b.read(".vimrc") == "mine\n"
    assert [notice.path for notice in facts.notices] == [".vimrc"]
    assert (await b.sync()).notices == facts.notices
    assert a.remote.show("main", "dot_vimrc") == "theirs\n"


async def test_an_edited_template_target_is_kept_and_named(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.add(".toolrc", "[user]\n", "--template")
    await settle(a, b)
    b.write(".toolrc", "[user]\nname = b\n")
    a.edit(".bashrc", "one", "ONE")
    await a.sync()
    facts = await b.sync()
    assert [notice.path for notice in facts.notices] == [".toolrc"]
    assert "template" in facts.notices[0].what
    assert b.read(".toolrc") == "[user]\nname = b\n"
    assert b.read(".bashrc").startswith("ONE")


async def test_a_template_that_cannot_be_rendered_holds_nothing_else_back(pair: tuple[Host, Host]) -> None:
    a, b = pair
    (a.source / "dot_secret.tmpl").write_text('{{ include "/nowhere/key" }}')
    a.edit(".bashrc", "one", "ONE")
    facts = await a.sync()
    assert facts.published
    facts = await b.sync()
    assert b.read(".bashrc").startswith("ONE")
    assert any("template" in notice.what for notice in facts.notices)
    assert not (b.home / ".secret").exists()


async def test_a_changed_mode_travels_and_merges_with_an_edit(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.run("chmod", "+x", ".bashrc")
    await a.sync()
    b.edit(".bashrc", "four", "four of b")
    facts = await b.sync()
    assert facts.word is SyncWord.success
    await a.sync()
    for host in pair:
        assert os.access(host.home / ".bashrc", os.X_OK)
        assert "four of b" in host.read(".bashrc")
    assert "dot_bashrc" not in a.remote.files("main") - {"executable_dot_bashrc"}


async def test_a_changed_mode_against_an_edit_of_the_same_line_parks_both_names(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.run("chmod", "+x", ".bashrc")
    a.edit(".bashrc", "one", "one of a")
    await a.sync()
    b.edit(".bashrc", "one", "one of b")
    facts = await b.sync()
    assert facts.word is SyncWord.conflicts_preserved
    assert b.read(".bashrc").startswith("one of b")
    assert "dot_bashrc" not in a.remote.files("main")
    facts = await b.sync()
    assert facts.word is SyncWord.conflicts_preserved
    assert not any("inconsistent" in notice.what for notice in facts.notices)
    await settle(a, b)
    assert a.read(".bashrc").startswith("one of a")


async def test_one_file_added_on_two_hosts_with_two_modes_does_not_stop_chezmoi(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.add(".new", "same\n")
    b.write(".new", "same\n")
    b.run("chmod", "+x", ".new")
    b.run("chezmoi", "add", str(b.home / ".new"))
    await a.sync()
    facts = await b.sync()
    assert facts.word is SyncWord.conflicts_preserved
    await settle(a, b)
    assert a.remote.files("main") >= {"dot_new"}
    a.edit(".bashrc", "one", "ONE")
    await settle(a, b)
    assert b.read(".bashrc").startswith("ONE")


async def test_a_new_file_travels_whatever_its_name(pair: tuple[Host, Host]) -> None:
    a, b = pair
    names = [".config/a b", ".config/new\nline", ".config/MM x\n M y", ".config/\u00fc\u00f1\u6f22", ".config/'q\"*?"]
    for name in names:
        a.add(name, f"{name}\n")
    await settle(a, b)
    for name in names:
        assert b.read(name) == f"{name}\n"
        b.write(name, f"{name}\nedited\n")
    facts = await b.sync()
    assert len(facts.captured) == len(names)
    assert all(path.isprintable() for path in facts.captured)
    await a.sync()
    for name in names:
        assert a.read(name) == f"{name}\nedited\n"


async def test_edits_of_the_source_directory_are_captured_too(pair: tuple[Host, Host]) -> None:
    a, b = pair
    with (a.source / "dot_bashrc").open("a") as source:
        source.write("from the source\n")
    b.run("jj", "commit", "--quiet", "-m", "nothing yet", where=b.source)
    (b.source / "dot_profile").write_text("profile\n")
    b.run("jj", "commit", "--quiet", "-m", "a profile by hand", where=b.source)
    (b.source / "dot_more").write_text("more\n")
    await settle(a, b, a)
    for host in pair:
        assert host.read(".bashrc").endswith("from the source\n")
        assert host.read(".profile") == "profile\n"
        assert host.read(".more") == "more\n"
    assert "a profile by hand" in a.remote.everything()


async def test_a_person_who_commits_with_git_is_taken_along(pair: tuple[Host, Host]) -> None:
    a, b = pair
    (b.source / "dot_profile").write_text("profile\n")
    b.run("git", "add", "-A", where=b.source)
    b.run("git", "commit", "--quiet", "-m", "by git", where=b.source)
    a.edit(".bashrc", "one", "ONE")
    await settle(a, b, a)
    assert a.read(".profile") == "profile\n"
    assert b.read(".bashrc").startswith("ONE")
    assert "by git" in a.remote.everything()


async def test_a_home_edit_after_a_pull_by_hand_does_not_revert_what_was_pulled(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.edit(".bashrc", "one", "one of a")
    await a.sync()
    b.run("jj", "git", "fetch", "--quiet", where=b.source)
    b.run("jj", "new", "--quiet", "main@origin", where=b.source)  # the source is new, the home is not
    b.edit(".bashrc", "seven", "seven of b")
    await settle(b, a)
    assert a.read(".bashrc") == b.read(".bashrc") == "one of a\ntwo\nthree\nfour\nfive\nsix\nseven of b\n"


async def test_a_working_copy_on_an_old_revision_reverts_nothing(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.edit(".bashrc", "one", "ONE")
    await settle(a, b)
    b.run("jj", "new", "--quiet", "main-", where=b.source)
    facts = await b.sync()
    assert facts.word is SyncWord.success
    assert a.remote.show("main", "dot_bashrc").startswith("ONE")
    assert b.read(".bashrc").startswith("ONE")


async def test_a_file_edited_in_home_and_source_is_left_alone_on_both_sides(pair: tuple[Host, Host]) -> None:
    a, _b = pair
    (a.source / "dot_bashrc").write_text("source\n")
    a.edit(".bashrc", "one", "home")
    facts = await a.sync()
    assert [notice.path for notice in facts.notices] == [".bashrc"]
    assert facts.word is SyncWord.success_local_only  # the home's edit is here and nowhere else
    assert a.read(".bashrc").startswith("home")
    assert a.remote.show("main", "dot_bashrc") == "source\n"
    # The source's edit is published now, and so it is known what the home's is an edit of.
    facts = await a.sync()
    assert facts.word is SyncWord.conflicts_preserved
    assert not facts.notices
    assert a.read(".bashrc").startswith("home")
    assert a.remote.show("main", "dot_bashrc") == "source\n"
    assert a.remote.show("gitopsd/a", "dot_bashrc") == a.read(".bashrc")


async def test_the_first_push_creates_the_trunk(host: Callable[..., Host], remote: Remote) -> None:
    a = host("a")
    a.run("chezmoi", "init")
    a.add(".bashrc", "one\n")
    a.run("git", "remote", "add", "origin", str(remote.path), where=a.source)
    a.run("jj", "git", "init", "--colocate", "--quiet", where=a.source)
    facts = await a.sync()
    assert facts.word is SyncWord.success, facts
    assert facts.published
    assert remote.show("main", "dot_bashrc") == "one\n"
    b = host("b")
    b.join()
    await b.sync()
    assert b.read(".bashrc") == "one\n"


async def test_what_is_not_set_up_is_named_and_not_touched(pair: tuple[Host, Host]) -> None:
    a, _ = pair
    a.set(repo_url="git@example.org:other.git")
    facts = await a.sync()
    assert facts.word is SyncWord.not_initialized
    assert "set-url" in facts.notices[0].advice
    shutil.rmtree(a.source / ".jj")
    assert (await a.sync()).notices[0].advice == "gitopsctl dotfiles init"
    shutil.rmtree(a.source)
    assert (await a.sync()).notices[0].advice == "gitopsctl dotfiles init"


async def test_auto_push_off_commits_and_merges_here_only(pair: tuple[Host, Host]) -> None:
    a, b = pair
    heads = a.remote.heads()
    a.set(auto_push=False)
    a.edit(".bashrc", "one", "ONE")
    for _ in range(2):
        facts = await a.sync()
        assert facts.word is SyncWord.success_local_only
        assert not facts.published
    assert a.remote.heads() == heads
    b.edit(".bashrc", "seven", "seven of b")
    await b.sync()
    await a.sync()
    assert a.read(".bashrc") == "ONE\ntwo\nthree\nfour\nfive\nsix\nseven of b\n"
    a.set(auto_push=True)
    facts = await a.sync()
    assert facts.published
    await b.sync()
    assert b.read(".bashrc").startswith("ONE")


async def test_auto_push_off_a_parked_change_is_listed_grows_and_is_settled(pair: tuple[Host, Host]) -> None:
    a, b = pair
    b.set(auto_push=False)
    a.edit(".bashrc", "one", "one of a")
    await a.sync()
    for old, new in (("one", "one of b"), ("seven", "seven of b")):
        b.edit(".bashrc", old, new)
        for _ in range(2):
            facts = await b.sync()
            assert facts.word is SyncWord.success_local_only
            found = (await b.choices.conflicts()).conflicts
            assert [(each.file, each.host, each.commit) for each in found] == [(".bashrc", "b", facts.parked[0].commit)]
            assert (found[0].theirs.text, found[0].ours.text) == (a.read(".bashrc"), b.read(".bashrc"))
    assert b.remote.heads().keys() == {"main"}
    b.start()
    assert len((await b.choices.conflicts()).conflicts) == 1
    # A person who settles it says so to all hosts, whatever is pushed without them.
    await b.choices.resolve(".bashrc", Take.ours)
    await settle(b, a)
    assert a.read(".bashrc") == b.read(".bashrc") == "one of b\ntwo\nthree\nfour\nfive\nsix\nseven of b\n"
    assert not (await b.choices.conflicts()).conflicts


async def test_what_was_parked_while_auto_push_was_off_is_published_once_it_is_on(pair: tuple[Host, Host]) -> None:
    a, b = pair
    b.set(auto_push=False)
    await conflict_here(a, b)
    b.set(auto_push=True)
    facts = await b.sync()
    assert facts.word is SyncWord.conflicts_preserved
    assert b.remote.show("gitopsd/b", "dot_bashrc") == b.read(".bashrc")
    b.set(auto_push=False)
    b.edit(".bashrc", "seven", "seven of b")
    await b.sync()
    assert "seven of b" not in b.remote.show("gitopsd/b", "dot_bashrc")
    assert "seven of b" in ((await b.choices.conflicts()).conflicts[0].ours.text or "")
    b.edit(".bashrc", "one of b", "one of a")  # and it is settled by hand
    facts = await b.sync()
    assert not facts.parked
    b.set(auto_push=True)
    await settle(b, a)
    assert "gitopsd/b" not in b.remote.heads()
    assert a.read(".bashrc") == b.read(".bashrc") == "one of a\ntwo\nthree\nfour\nfive\nsix\nseven of b\n"


async def test_a_file_that_arrives_and_is_the_same_already_is_known_from_then_on(pair: tuple[Host, Host]) -> None:
    a, b = pair
    b.write(".vimrc", "same\n")
    a.add(".vimrc", "same\n")
    await a.sync()
    facts = await b.sync()
    assert not facts.notices
    b.write(".vimrc", "same, and edited\n")
    facts = await b.sync()
    assert facts.captured == ("dot_vimrc",)
    await a.sync()
    assert a.read(".vimrc") == "same, and edited\n"


async def test_the_same_after_a_kill(pair: tuple[Host, Host]) -> None:
    a, b = pair
    b.write(".vimrc", "same\n")
    a.add(".vimrc", "same\n")
    await a.sync()
    for at in range(60, 10, -1):  # the last command of a sync is the one that has it recorded
        b.processes.ran.clear()
        if await b.dies(at):
            break
    await b.sync()
    b.write(".vimrc", "same, and edited\n")
    assert (await b.sync()).captured == ("dot_vimrc",)


async def test_a_file_that_was_there_before_is_named_without_a_network_too(pair: tuple[Host, Host]) -> None:
    a, b = pair
    b.write(".vimrc", "mine\n")
    a.add(".vimrc", "theirs\n")
    await a.sync()
    told = await b.sync()
    assert told.word is SyncWord.success_local_only
    broken = Result(argv=("git",), status=128, stdout="", stderr="ssh: Could not resolve hostname example.org")
    b.processes.instead["ls-remote"] = broken
    facts = await b.sync()
    assert facts.word is SyncWord.fetch_failed
    assert facts.notices == told.notices


async def test_auto_commit_off_captures_nothing_and_overwrites_nothing(pair: tuple[Host, Host]) -> None:
    a, b = pair
    b.set(auto_commit=False)
    b.edit(".bashrc", "seven", "seven of b")
    a.edit(".bashrc", "one", "ONE")
    a.edit(".config/app.conf", "x = 1", "x = 2")
    await a.sync()
    facts = await b.sync()
    assert facts.captured == ()
    assert "seven of b" in b.read(".bashrc")
    assert b.read(".config/app.conf") == "x = 2\n"
    assert [notice.path for notice in facts.notices] == [".bashrc"]


async def test_a_deleted_target_is_reported_and_comes_back_only_by_hand(pair: tuple[Host, Host]) -> None:
    a, b = pair
    (b.home / ".bashrc").unlink()
    a.edit(".config/app.conf", "x = 1", "x = 2")
    await a.sync()
    facts = await b.sync()
    assert [notice.path for notice in facts.notices] == [".bashrc"]
    assert not (b.home / ".bashrc").exists()
    assert b.read(".config/app.conf") == "x = 2\n"


async def test_no_command_of_the_repository_runs_as_root(pair: tuple[Host, Host]) -> None:
    a, b = pair
    spy = b.home / "spy"
    b.write("spy", f"#!/bin/sh\nid -u >> {b.home}/uids\nexit 1\n")
    b.run("chmod", "+x", str(spy))
    b.run("git", "config", "core.fsmonitor", str(spy), where=b.source)
    b.run("git", "config", "core.pager", str(spy), where=b.source)
    for hook in ("pre-push", "post-checkout", "reference-transaction"):
        (b.source / ".git/hooks" / hook).symlink_to(spy)
    (a.source / "run_always.sh").write_text(f"#!/bin/sh\nid -u > {b.home.parent}/$(basename $HOME).ran\n")
    a.home.parent.chmod(0o777)
    a.edit(".bashrc", "one", "ONE")
    b.edit(".config/app.conf", "x = 1", "x = 2")
    await settle(a, b)
    assert (b.home.parent / "b.ran").read_text() == "1000\n"
    uids = b.home / "uids"
    assert not uids.exists() or set(uids.read_text().split()) == {"1000"}


async def test_a_script_without_conditions_runs_whenever_something_is_written_and_not_else(
    pair: tuple[Host, Host],
) -> None:
    a, b = pair
    (a.source / "run_always.sh").write_text("#!/bin/sh\necho ran >> $HOME/ran\n")
    for times in (1, 2):
        a.write(".config/app.conf", f"x = {times + 1}\n")
        await a.sync()
        for _ in range(3):
            facts = await b.sync()
            assert (facts.word, facts.notices) == (SyncWord.success, ())
            assert b.read("ran") == "ran\n" * times


async def test_nothing_to_do_takes_six_commands(pair: tuple[Host, Host]) -> None:
    a, b = pair
    await conflict(a, b)
    await settle(a, b)
    for one, word in ((a, SyncWord.success), (b, SyncWord.conflicts_preserved)):
        one.processes.ran.clear()
        facts = await one.sync()
        assert facts.word is word
        assert facts.published
        assert one.processes.verbs() == [
            "git config",
            "git ls-remote",
            "git for-each-ref",
            "jj log",
            "chezmoi status",
            "git for-each-ref",
        ]


async def test_a_rewritten_trunk_is_followed_and_named(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.edit(".bashrc", "one", "leaked")
    await settle(a, b)
    git("-C", str(a.remote.path), "update-ref", "refs/heads/main", "main^")
    b.edit(".config/app.conf", "x = 1", "x = 2")
    facts = await b.sync()
    assert any("rewrote" in notice.what for notice in facts.notices)
    assert "leaked" not in a.remote.show("main", "dot_bashrc")
    assert a.remote.show("main", "dot_config/app.conf") == "x = 2\n"
    assert "leaked" not in git("-C", str(a.remote.path), "log", "-p", "main")
    assert "leaked" in b.history()


async def test_a_deleted_trunk_is_published_again(pair: tuple[Host, Host]) -> None:
    a, b = pair
    git("-C", str(a.remote.path), "update-ref", "-d", "refs/heads/main")
    facts = await b.sync()
    assert facts.published
    assert a.remote.show("main", "dot_bashrc") == b.read(".bashrc")
    await settle(a, b)
    assert a.read(".bashrc") == b.read(".bashrc")


async def test_a_trunk_that_moves_before_the_push_is_merged_again(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.edit(".bashrc", "one", "one of a")
    b.edit(".bashrc", "seven", "seven of b")
    facts = await b.sync(cut="publish")
    await a.sync()
    with pytest.raises(Transient) as moved:
        await b.dotfiles.publish(facts, "second")
    assert moved.value.cause is Cause.remote_moved
    facts = await b.dotfiles.publish(facts, "second")
    assert facts.published
    assert a.remote.show("main", "dot_bashrc") == "one of a\ntwo\nthree\nfour\nfive\nsix\nseven of b\n"


async def test_what_reaches_the_trunk_during_the_wait_after_a_refused_push_does_not_refuse_the_next_one(
    pair: tuple[Host, Host],
) -> None:
    a, b = pair
    a.edit(".bashrc", "one", "one of a")
    b.edit(".bashrc", "seven", "seven of b")
    facts = await b.sync(cut="publish")
    await a.sync()
    with pytest.raises(Transient):
        await b.dotfiles.publish(facts, "second")
    a.edit(".bashrc", "two", "two of a")
    await a.sync()
    b.start()  # and it does not take this process to know that
    facts = await b.dotfiles.publish(facts, "second")
    assert facts.published
    assert a.remote.show("main", "dot_bashrc") == "one of a\ntwo of a\nthree\nfour\nfive\nsix\nseven of b\n"


async def test_a_push_that_is_undone_before_it_is_read_back_is_made_again(pair: tuple[Host, Host]) -> None:
    _, b = pair
    where = ("git", "-C", str(b.remote.path))
    other = b.run(*where, "commit-tree", "main^{tree}", "-p", "main", "-m", "other").strip()
    hook = b.remote.path / "hooks/post-receive"
    hook.write_text(f"#!/bin/sh\nrm $0\ngit update-ref refs/heads/main {other}\n")
    hook.chmod(0o755)
    b.edit(".bashrc", "seven", "seven of b")
    facts = await b.sync()
    assert not hook.exists()
    assert facts.published
    assert b.remote.show("main", "dot_bashrc").endswith("seven of b\n")
    b.run(*where, "merge-base", "--is-ancestor", other, "main")


async def test_two_people_on_one_host_do_not_touch_each_other(pair: tuple[Host, Host], place: Path) -> None:
    a, _ = pair
    other = Remote.create(place / "olga.git")
    olga = Host.create("a", "olga", place / "olga", other)
    olga.begin({".bashrc": "olga\n"})
    a.edit(".bashrc", "one", "ONE")
    olga.edit(".bashrc", "olga", "OLGA")
    for _ in range(2):
        assert (await a.sync()).word is SyncWord.success
        assert (await olga.sync()).word is SyncWord.success
    assert other.show("main", "dot_bashrc") == "OLGA\n"
    assert (olga.source / ".git/refs/gitopsd/memory").stat().st_uid == 1001


async def test_a_file_too_big_for_a_repository_is_named(pair: tuple[Host, Host]) -> None:
    a, _ = pair
    with (a.source / "dot_image").open("wb") as image:
        image.truncate(NEW_FILE_LIMIT + 1)
    (a.source / "dot_small").write_text("small\n")
    facts = await a.sync()
    assert [notice.path for notice in facts.notices] == ["dot_image"]
    assert a.remote.files("main") >= {"dot_small"}


async def test_a_person_who_runs_chezmoi_at_that_moment_is_waited_for(pair: tuple[Host, Host]) -> None:
    a, _ = pair
    a.processes.instead["status"] = Result(
        argv=("chezmoi",), status=1, stdout="", stderr="chezmoi: timeout obtaining persistent state lock, is another\n"
    )
    with pytest.raises(Transient) as held:
        await a.dotfiles.capture(PersonFacts(user="rain"))
    assert held.value.cause is Cause.lock_held


async def conflict(a: Host, b: Host) -> None:
    """The trunk has a's first line of .bashrc, and b's is parked."""
    assert (await conflict_here(a, b)).word is SyncWord.conflicts_preserved


async def conflict_here(a: Host, b: Host) -> PersonFacts:
    """The same, published or not."""
    a.edit(".bashrc", "one", "one of a")
    await a.sync()
    b.edit(".bashrc", "one", "one of b")
    return await b.sync()


async def test_a_file_over_the_limit_is_named_by_every_sync_until_it_is_settled(pair: tuple[Host, Host]) -> None:
    a, b = pair
    await b.sync()
    b.processes.ran.clear()
    await b.sync()
    calm = list(b.processes.verbs())
    big = b.source / "big"
    with big.open("wb") as file:
        file.truncate(NEW_FILE_LIMIT + 1)
    for restart in (False, True, False):  # nothing is there to be published, and a restart forgets nothing
        if restart:
            b.start()
        facts = await b.sync()
        assert [notice.path for notice in facts.notices] == ["big"]
        assert facts.word is SyncWord.success_local_only
    (b.source / ".gitignore").write_text("big\n")
    facts = await b.sync()
    assert (facts.word, facts.notices) == (SyncWord.success, ())
    await b.sync()
    b.processes.ran.clear()
    facts = await b.sync()
    assert (facts.word, facts.notices) == (SyncWord.success, ())
    assert b.processes.verbs() == calm
    (b.source / ".gitignore").write_text("")
    assert [notice.path for notice in (await b.sync()).notices] == ["big"]
    big.unlink()
    assert (await b.sync()).notices == ()
    await a.sync()
    assert "big" not in a.remote.files("main")


async def test_more_names_than_fit_on_a_command_line_are_looked_up(pair: tuple[Host, Host]) -> None:
    a, _ = pair
    many = {f"{'long' * 50}/{number}" for number in range(15_000)}
    trees = a.dotfiles._parts.engine.trees
    assert (await trees.entries("HEAD", many | {"dot_bashrc"})).keys() == {"dot_bashrc"}
    assert (await trees.under("HEAD", many | {"dot_config"})).keys() == {"dot_config/app.conf"}
    assert {path for _, path, _ in await trees.history(["HEAD"], "", many | {"dot_bashrc"})} == {"dot_bashrc"}


async def test_files_that_are_the_same_are_not_taken_for_one_another(pair: tuple[Host, Host]) -> None:
    a, b = pair
    names = (".m0", ".m1", ".m2")
    for name in names:
        a.add(name, "1\n2\n3\n4\n5\n6\n")
    await once(a, b)
    for number, name in enumerate(names):
        b.edit(name, f"{2 * number + 1}", f"{2 * number + 1} of {name}")
    a.run("mv", ".m0", ".n0")
    a.run("mv", "dot_m0", "dot_n0", where=a.source)
    (a.home / ".m1").chmod(0o700)
    a.run("chezmoi", "chattr", "+template", str(a.home / ".m2"))
    await settle(a, b)
    for number, name in enumerate(names):
        assert b.read(name).split("\n")[2 * number] == f"{2 * number + 1} of {name}"  # kept, parked or merged
    for path in a.remote.files("main"):
        text = a.remote.show("main", path)
        assert all(f"of {name}" not in text or name.removeprefix(".") in path for name in names), (path, text)


async def test_two_hosts_with_one_name_do_not_write_over_each_other_and_are_told(
    pair: tuple[Host, Host], host: Callable[..., Host]
) -> None:
    a, b = pair
    twin = host("c")
    twin.join()
    twin.name = "b"
    twin.start()
    await twin.sync()
    for each in (a, b, twin):
        each.edit(".bashrc", "one", f"one of {each.home.name}")
    twin.edit(".config/app.conf", "x = 1", "x = 2")
    await once(a, b)
    for at in range(0, 400, 5):
        if not await twin.dies(at):
            break
    await settle(twin, b, a)
    stands = a.remote.heads()
    for _ in range(2):
        facts = await twin.sync()
        assert facts.word is SyncWord.conflicts_preserved
        assert not facts.published, "what it has parked is on this host only"
        assert [notice.what.partition(",")[0] for notice in facts.notices] == ["another host is called b too"]
        assert twin.run("git", "show", f"{facts.parked[0].commit}:dot_bashrc", where=twin.source).startswith("one of c")
        assert not (await b.sync()).notices
    assert a.remote.heads() == stands
    assert a.remote.show("gitopsd/b", "dot_bashrc").startswith("one of b")
    assert [each.read(".bashrc").partition("\n")[0][-1] for each in (a, b, twin)] == ["a", "b", "c"]
    assert a.read(".config/app.conf") == "x = 2\n", "what merges travels"
    twin.name = "c"
    twin.start()
    facts = await twin.sync()
    assert facts.published
    assert not facts.notices
    assert a.remote.show("gitopsd/c", "dot_bashrc").startswith("one of c")
    assert a.remote.show("gitopsd/b", "dot_bashrc").startswith("one of b")
