"""Repositories that a power cut, a kill or a person left in pieces: a sync ends well or says what to type.

Files are damaged by replacing them, since a clone from a path shares its objects' files with the remote.
"""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from people import Host, git, settle

from gitopsd.errors import Cause, Failed, Transient
from gitopsd.repo.traces import Traces
from gitopsd.tools.process import CommandFailed, Result
from gitopsd.types import PersonFacts, SyncWord

NEWEST = 2  # files of a directory that a power cut may catch half written
JJ = ".jj/repo"
MERGED = "one of a\ntwo\nthree\nfour\nfive\nsix\nseven of b\n"
DAMAGE = [
    (f"{JJ}/op_store/operations/*", "empty"),
    (f"{JJ}/op_store/views/*", "empty"),
    (f"{JJ}/op_heads/heads/*", "gone"),
    (".jj/working_copy/tree_state", "empty"),
    (".jj/working_copy/tree_state", "gone"),
    (f"{JJ}/index/**/*", "empty"),
    (f"{JJ}/store/extra/**/*", "half"),
    (f"{JJ}/config-id", "empty"),
    (".jj/**/*", "empty"),
    (".git/index", "half"),
    (".git/HEAD", "empty"),
    (".git/packed-refs", "half"),
    (".git/refs/gitopsd/memory", "empty"),
    (".git/refs/heads/main", "empty"),
    (".git/refs/remotes/origin/main", "half"),
]


def damage(host: Host, pattern: str, how: str) -> None:
    """Empty, halve or delete the newest files that match."""
    files = sorted(
        (path for path in host.source.glob(pattern) if path.is_file()), key=lambda path: path.stat().st_mtime_ns
    )
    if not files:  # packed
        files = [host.source / pattern]
        files[0].write_text("0123456789abcdef")
    for path in files if "**" in pattern or "??" in pattern else files[-NEWEST:]:
        content = path.read_bytes()
        path.unlink()
        if how != "gone":
            path.write_bytes(b"" if how == "empty" else content[: len(content) // 2])
            os.chown(path, host.account.uid, host.account.gid)


async def edited_everywhere(a: Host, b: Host) -> None:
    """b has a commit of its own that is not published, an edit in its source, and one in its home; a published one."""
    a.edit(".bashrc", "one", "one of a")
    await a.sync()
    (b.source / "dot_committed").write_text("committed\n")
    b.run("jj", "commit", "--quiet", "-m", "by hand", where=b.source)
    (b.source / "dot_edited").write_text("edited\n")
    b.edit(".bashrc", "seven", "seven of b")


async def ends_well(a: Host, b: Host, where: str = "") -> PersonFacts:
    """The next sync publishes everything."""
    facts = await b.sync()
    assert facts.word is SyncWord.success, (where, facts)
    assert facts.published
    assert a.remote.show("main", "dot_bashrc") == b.read(".bashrc") == MERGED, where
    assert a.remote.show("main", "dot_committed") == "committed\n", where
    assert a.remote.show("main", "dot_edited") == "edited\n", where
    return facts


async def test_a_damaged_repository_is_repaired_and_nothing_is_lost(
    restore: Callable[[], tuple[Host, Host]], keep: Callable[[], None]
) -> None:
    a, b = restore()
    await edited_everywhere(a, b)
    keep()
    for pattern, how in DAMAGE:
        a, b = restore()
        damage(b, pattern, how)
        facts = await ends_well(a, b, f"{pattern} {how}")
        # Some damage heals without us: jj takes an empty view for one without bookmarks, and reads git's.
        assert facts.notices or (pattern, how) == (f"{JJ}/op_store/views/*", "empty")
        if "jj's part" in str(facts.notices):
            assert (b.source / ".git/gitopsd-damaged-1/.jj").is_dir()
    again = await b.sync()
    assert again.word is SyncWord.success
    assert all("until you remove it" in notice.what for notice in again.notices), again
    await a.sync()
    assert a.read(".bashrc") == MERGED


async def test_what_a_repair_has_kept_is_named_until_the_person_removes_it(pair: tuple[Host, Host]) -> None:
    _, b = pair
    (b.source / "dot_aside").write_text("on a side line\n")
    b.run("jj", "commit", "--quiet", "-m", "side line", where=b.source)
    b.run("jj", "new", "--quiet", "main", where=b.source)
    damage(b, f"{JJ}/op_store/operations/*", "empty")
    damage(b, ".git/index", "half")
    b.edit(".bashrc", "seven", "seven of b")
    await b.sync()
    b.run("git", "pack-refs", "--all", where=b.source)
    facts = await b.sync()
    for again in (facts, await b.sync()):
        assert again.word is SyncWord.success
        kept = sorted(path.name for path in (b.source / ".git").glob("gitopsd-damaged-*"))
        assert kept
        told = [notice.what for notice in again.notices if "until you remove it" in notice.what]
        assert len(told) == len(again.notices) == len(kept) + 1
        assert all(name in str(told) for name in (*kept, "refs/gitopsd/rescued-1"))
    for notice in facts.notices:
        look, remove = notice.advice.split("; ")
        assert b.run("sh", "-c", look)
        b.run("sh", "-c", remove)
    assert not (await b.sync()).notices


@pytest.mark.parametrize("how", ["empty", "half", "gone"])
async def test_objects_that_are_published_come_again_from_the_remote(pair: tuple[Host, Host], how: str) -> None:
    a, b = pair
    (b.source / "dot_edited").write_text("edited\n")
    b.edit(".bashrc", "seven", "seven of b")
    damage(b, ".git/objects/??/*", how)
    facts = await b.sync()
    assert facts.word is SyncWord.success, facts
    assert a.remote.show("main", "dot_edited") == "edited\n"
    assert "seven of b" in a.remote.show("main", "dot_bashrc")
    again = await b.sync()
    assert all("until you remove it" in notice.what for notice in again.notices), again


async def test_commits_that_only_jj_knew_are_kept_under_a_ref_that_is_named(pair: tuple[Host, Host]) -> None:
    a, b = pair
    (b.source / "dot_aside").write_text("on a side line\n")
    b.run("jj", "commit", "--quiet", "-m", "side line", where=b.source)
    b.run("jj", "new", "--quiet", "main", where=b.source)
    assert not (b.source / "dot_aside").exists()
    damage(b, f"{JJ}/op_store/operations/*", "empty")
    facts = await b.sync()
    assert facts.word is SyncWord.success
    ref = next(notice.advice.split()[5] for notice in facts.notices if notice.advice)
    assert "on a side line" in b.run("git", "log", "-p", ref, where=b.source)
    assert "dot_aside" not in a.remote.files("main")


async def test_a_source_file_that_the_power_cut_emptied_is_taken_back(pair: tuple[Host, Host]) -> None:
    a, b = pair
    (b.source / "dot_new").write_text("new\n")
    b.run("jj", "st", where=b.source)  # has it in a snapshot
    damage(b, f"{JJ}/op_heads/heads/*", "gone")
    damage(b, "dot_bashrc", "empty")
    damage(b, "dot_new", "empty")
    facts = await b.sync()
    assert facts.word is SyncWord.success
    assert any("dot_bashrc" in notice.what for notice in facts.notices)
    assert a.remote.show("main", "dot_bashrc").startswith("one\n")
    assert a.remote.show("main", "dot_new") == "new\n"
    assert b.read(".bashrc").startswith("one\n")


async def test_the_settings_of_the_repository_outlive_a_rebuild(pair: tuple[Host, Host]) -> None:
    _, b = pair
    b.run("jj", "config", "set", "--repo", "aliases.mine", '["status"]', where=b.source)
    damage(b, f"{JJ}/op_heads/heads/*", "gone")
    await b.sync()
    b.run("jj", "mine", where=b.source)
    assert "main@origin" not in b.run("jj", "bookmark", "list", "--conflicted", where=b.source)


async def test_a_rebuild_that_is_killed_anywhere_is_finished_by_the_next_sync(
    restore: Callable[[], tuple[Host, Host]], keep: Callable[[], None]
) -> None:
    a, b = restore()
    await edited_everywhere(a, b)
    damage(b, f"{JJ}/op_store/operations/*", "empty")
    keep()
    assert not await b.dies(10_000)
    wrote = [number for number, argv in enumerate(b.processes.ran, 1) if argv[0] == sys.executable or "init" in argv]
    assert len(wrote) >= 3
    for at in wrote:
        a, b = restore()
        assert await b.dies(at)
        await ends_well(a, b)


async def test_a_rebuild_that_fails_puts_everything_back(pair: tuple[Host, Host]) -> None:
    a, b = pair
    await edited_everywhere(a, b)
    damage(b, f"{JJ}/op_heads/heads/*", "gone")
    b.processes.instead["init"] = Result(argv=("jj",), status=255, stdout="", stderr="No space left on device")
    with pytest.raises(CommandFailed, match="No space left"):
        await b.sync()
    assert (b.source / ".jj/repo").is_dir()
    b.processes.instead.clear()
    await ends_well(a, b)


async def test_a_full_disk_is_no_damage(pair: tuple[Host, Host]) -> None:
    _, b = pair
    full = "Internal error: Failed to write\nCaused by: No space left on device (os error 28)"
    b.processes.instead["log"] = Result(argv=("jj", "log"), status=255, stdout="", stderr=full)
    with pytest.raises(CommandFailed, match="No space left"):
        await b.sync()
    assert not list((b.source / ".git").glob("gitopsd-*"))


async def test_a_jj_that_stumbled_once_is_asked_again_and_nothing_is_moved(pair: tuple[Host, Host]) -> None:
    _, b = pair
    log = Result(argv=("jj", "log"), status=255, stdout="", stderr="Internal error: the operation is gone")
    repair = b.dotfiles._parts.repair()
    with pytest.raises(Transient, match="works now"):
        await repair.after(CommandFailed(log))
    assert not list((b.source / ".git").glob("gitopsd-*"))


@pytest.mark.parametrize("edited", [False, True], ids=["as it was", "edited further"])
async def test_two_commits_of_one_change_stop_no_sync(pair: tuple[Host, Host], *, edited: bool) -> None:
    """What a killed jj leaves, or two at once: jj takes the name of the change for neither then."""
    a, b = pair
    (b.source / "dot_one").write_text("one\n")
    before = b.run("jj", "op", "log", "--no-graph", "-n1", "-T", "id", where=b.source).strip()
    for options in ((), ("--at-op", before)):
        b.run("jj", "describe", "--quiet", "-m", f"as {len(options)}", *options, where=b.source)
    assert b.run("jj", "log", "--no-graph", "-r", "divergent()", "-T", '"x"', where=b.source) == "xx"
    if edited:
        (b.source / "dot_two").write_text("two\n")
    facts = await b.sync()
    assert (facts.word, facts.published) == (SyncWord.success, True)
    assert b.read(".one") == "one\n"
    await settle(a, b)
    assert a.read(".one") == "one\n"
    assert (a.home / ".two").exists() is edited


async def test_jj_killed_in_mid_command_many_times_loses_nothing(pair: tuple[Host, Host]) -> None:
    a, b = pair
    chance = random.Random(7)  # noqa: S311  # the same kills each time
    commands = [["describe", "-m", "x"], ["new"], ["commit", "-m", "y"], ["new", "main"], ["st"], ["squash"]]
    for turn in range(40):
        (b.source / f"dot_turn{turn}").write_text(f"turn {turn}\n")
        child = subprocess.Popen(  # noqa: ASYNC220
            ["jj", *commands[turn % len(commands)]],
            cwd=b.source,
            env={"HOME": str(b.home), "PATH": os.environ["PATH"], "JJ_EDITOR": "true"},
            user=b.account.uid,
            group=b.account.gid,
            extra_groups=[],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(chance.random() * 0.03)  # noqa: ASYNC251
        child.kill()
        child.wait()
    for lock in (b.source / ".git").rglob("*.lock"):
        os.utime(lock, (time.time() - 16 * 60,) * 2)
    facts = await b.sync()
    assert facts.word in (SyncWord.success, SyncWord.conflicts_preserved), facts
    everything = b.history()
    assert [turn for turn in range(40) if f"turn {turn}\n" not in everything] == []
    a.edit(".bashrc", "one", "ONE")
    await a.sync()
    await b.sync()
    assert b.read(".bashrc").startswith("ONE")


async def test_a_working_copy_that_went_stale_is_brought_back(pair: tuple[Host, Host]) -> None:
    a, b = pair
    checkout = b.source / ".jj/working_copy/checkout"
    old = checkout.read_bytes()
    (b.source / "dot_first").write_text("first\n")
    b.run("jj", "commit", "--quiet", "-m", "first", where=b.source)
    checkout.write_bytes(old)  # as if jj had been killed before it wrote that down
    (b.source / "dot_second").write_text("second\n")
    b.edit(".bashrc", "seven", "seven of b")
    facts = await b.sync()
    assert facts.word is SyncWord.success
    files = a.remote.files("main")
    assert {"dot_first", "dot_second"} <= files
    assert "seven of b" in a.remote.show("main", "dot_bashrc")


async def test_a_lock_that_is_held_is_waited_for(pair: tuple[Host, Host]) -> None:
    _, b = pair
    b.write(".local/share/chezmoi/.git/index.lock", "")
    b.edit(".bashrc", "seven", "seven of b")
    with pytest.raises(Transient) as held:
        await held_up(b)
    assert held.value.cause is Cause.lock_held
    assert (b.source / ".git/index.lock").exists()


async def test_a_lock_that_nobody_holds_any_more_is_moved_away_and_named(pair: tuple[Host, Host]) -> None:
    a, b = pair
    b.write(".local/share/chezmoi/.git/index.lock", "")
    os.utime(b.source / ".git/index.lock", (time.time() - 16 * 60,) * 2)
    b.edit(".bashrc", "seven", "seven of b")
    facts = await b.sync()
    assert facts.published
    assert [notice.what for notice in facts.notices if "index.lock" in notice.what]
    assert (b.source / ".git/gitopsd-damaged-1/index.lock").exists()
    assert "seven of b" in a.remote.show("main", "dot_bashrc")


def test_a_lock_counts_as_old_only_if_no_git_runs(place: Path) -> None:
    (place / "index.lock").touch()
    now = time.time()
    uid = os.getuid()
    assert Traces(place, lambda: now + 60, lambda: 1e9).old_locks(uid, 900) == ()
    assert Traces(place, lambda: now + 60, lambda: 30).old_locks(uid, 900) == ("index.lock",)  # from before the boot
    later = Traces(place, lambda: now + 1000, lambda: 1e9)
    assert later.old_locks(uid, 900) == ("index.lock",)
    argv = ["git", "cat-file", "--batch"]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, env=_anywhere(place), bufsize=0) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(b"any\n")
        assert running.stdout.readline() == b"any missing\n"  # it runs, and bears its name
        assert later.old_locks(uid, 900) == ()
        running.communicate()
    assert later.old_locks(uid, 900) == ("index.lock",)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (["git", "merge", "--no-commit", "side"], "git merge --abort"),
        (["git", "rebase", "side"], "git rebase --abort"),
        (["git", "cherry-pick", "side"], "git cherry-pick --abort"),
    ],
)
async def test_a_git_command_that_waits_for_the_person_is_left_alone(
    pair: tuple[Host, Host], start: list[str], end: str
) -> None:
    a, b = pair
    run = b.run
    heads = a.remote.heads()
    (b.source / "dot_bashrc").write_text("side\n")
    for command in (["switch", "-q", "-c", "side"], ["commit", "-qam", "s"], ["switch", "-q", "main"]):
        run("git", *command, where=b.source)
    (b.source / "dot_bashrc").write_text("main\n")
    run("git", "commit", "-qam", "m", where=b.source)
    run("sh", "-c", f"! {' '.join(start)}", where=b.source)
    before = run("git", "status", "--porcelain=v2", "--branch", where=b.source)
    facts = await b.sync()
    assert facts.word is SyncWord.failed
    assert [end in notice.advice for notice in facts.notices] == [True]
    assert run("git", "status", "--porcelain=v2", "--branch", where=b.source) == before
    assert a.remote.heads() == heads
    run(*end.split(), where=b.source)
    facts = await b.sync()
    assert facts.word is not SyncWord.failed
    assert a.remote.show("main", "dot_bashrc") == "main\n"


async def test_a_head_without_a_log_and_a_broken_configuration_need_a_person_who_is_told(
    restore: Callable[[], tuple[Host, Host]],
) -> None:
    _, b = restore()
    damage(b, ".git/HEAD", "empty")
    shutil.rmtree(b.source / ".git/logs")
    with pytest.raises(Failed) as failed:
        await b.sync()
    assert ".git/HEAD" in failed.value.advice
    _, b = restore()
    b.write(".local/share/chezmoi/.git/config", "[core\n")
    with pytest.raises(Failed) as failed:
        await b.sync()
    assert "config --file" in failed.value.advice
    _, b = restore()
    damage(b, ".git/config", "empty")
    advice = (await b.sync()).notices[0].advice
    b.run("sh", "-c", advice)
    assert (await b.sync()).word is SyncWord.success


async def test_a_trunk_with_an_unrelated_history_is_followed_and_nothing_is_lost(pair: tuple[Host, Host]) -> None:
    a, b = pair
    b.edit(".config/app.conf", "x = 1", "x = 2")
    at = ("-C", str(a.remote.path))
    tree = git(*at, "rev-parse", "main^{tree}").strip()
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    alone = git(*who, *at, "commit-tree", "-m", "squashed", tree).strip()
    git(*at, "update-ref", "refs/heads/main", alone)
    facts = await b.sync()
    assert facts.word is SyncWord.success, facts
    assert any("rewrote" in notice.what for notice in facts.notices)
    assert a.remote.show("main", "dot_config/app.conf") == "x = 2\n"
    assert a.remote.show("main", "dot_bashrc").startswith("one\n")
    await a.sync()
    assert a.read(".config/app.conf") == "x = 2\n"


async def test_a_clone_of_another_history_parks_what_differs(pair: tuple[Host, Host]) -> None:
    a, b = pair
    shutil.rmtree(b.source / ".git")
    shutil.rmtree(b.source / ".jj")
    (b.source / "dot_bashrc").write_text("mine\n")
    for command in (
        ("git", "init", "--quiet", "-b", "main"),
        ("git", "add", "-A"),
        ("git", "commit", "--quiet", "-m", "another beginning"),
        ("git", "remote", "add", "origin", str(a.remote.path)),
        ("jj", "git", "init", "--colocate", "--quiet"),
    ):
        b.run(*command, where=b.source)
    facts = await b.sync()
    assert facts.word is SyncWord.conflicts_preserved
    assert [parked.path for parked in facts.parked] == ["dot_bashrc"]
    assert a.remote.show("main", "dot_bashrc").startswith("one\n")
    assert a.remote.show("gitopsd/b", "dot_bashrc") == "mine\n"
    assert (await b.sync()).parked == facts.parked


async def held_up(host: Host) -> None:
    """One cycle in which nothing is tried again."""
    facts = PersonFacts(user=host.account.name)
    for verb in (host.dotfiles.fetch, host.dotfiles.capture):
        facts = await verb(facts)
    facts = await host.dotfiles.publish(facts, "message")
    await host.dotfiles.apply(facts)


def _anywhere(place: Path) -> dict[str, str]:
    subprocess.run(["git", "init", "--quiet", "--bare", str(place / "any.git")], check=True)
    return {"PATH": os.environ["PATH"], "GIT_DIR": str(place / "any.git")}
