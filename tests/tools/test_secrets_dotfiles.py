"""The gate in a sync: what looks like a secret stays where it is, everything else goes on.

The remote's raw objects are searched, reachable or not; where jj must not have it either, the host's own are too.
"""

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from people import Host, settle
from test_dotfiles_killed import writes

from gitopsd.errors import Failed
from gitopsd.secrets.allow import FILE, allow, with_entry
from gitopsd.types import SyncWord

TOKEN = "ghp_" + hashlib.sha256(b"a token that the tests made up").hexdigest()[:36]
LINE = f"export GITHUB_TOKEN={TOKEN}\n"
PASSWORD = "tr0ub4dor-and-three"  # noqa: S105 - made up, and no scanner knows it by its form


LOOKS = {"rev-list", "rev-parse", "status", "merge-file", "log", "check-ignore", "var", "diff-tree", "ls-files"}


def objects(repository: Path) -> bytes:
    """Everything that a repository holds, reachable or not."""
    command = ["git", "-c", "safe.directory=*", "-C", str(repository), "cat-file", "--batch-all-objects", "--batch"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def is_out(host: Host, secret: str = TOKEN) -> bool:
    return secret.encode() in objects(host.remote.path)


def is_in_jj(host: Host, secret: str = TOKEN) -> bool:
    return secret.encode() in objects(host.source)


async def test_an_edit_with_a_secret_stays_in_the_home_and_the_rest_goes_on(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.write(".bashrc", a.read(".bashrc") + LINE)
    a.edit(".config/app.conf", "x = 1", "x = 2")
    for _ in range(2):
        facts = await a.sync()
        assert facts.word is SyncWord.success_local_only, facts
        (finding,) = facts.quarantined
        assert (finding.path, finding.line) == (".bashrc", 8)
        assert TOKEN not in repr(facts)
        assert not facts.notices, "it is said once, and nothing is captured next time"
    assert a.read(".bashrc").endswith(LINE)
    await b.sync()
    assert b.read(".config/app.conf") == "x = 2\n"
    assert not is_out(a)
    assert not is_in_jj(a)
    a.edit(".bashrc", LINE, "")
    assert not (await a.sync()).quarantined


async def test_what_is_edited_beside_it_travels_once_the_secret_is_gone(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.edit(".bashrc", "one", f"ONE\npassword = {PASSWORD}")
    await a.sync()
    b.edit(".bashrc", "seven", "SEVEN")
    await settle(b, a)
    a.edit(".bashrc", f"\npassword = {PASSWORD}", "")
    await settle(a, b)
    assert a.read(".bashrc") == b.read(".bashrc") == "ONE\ntwo\nthree\nfour\nfive\nsix\nSEVEN\n"
    assert not is_out(a, PASSWORD)


async def test_a_secret_in_the_source_directory_is_stopped_before_jj_sees_it(pair: tuple[Host, Host]) -> None:
    a, b = pair
    (a.source / "dot_bashrc").write_text(a.read(".bashrc") + LINE)
    a.add(".netrc", f"machine example.org login rain password {PASSWORD}\n")
    a.add(".vimrc", "set number\n")
    for _ in range(2):
        facts = await a.sync()
        assert facts.word is SyncWord.success_local_only
        assert {finding.path for finding in facts.quarantined} == {"dot_bashrc", "dot_netrc"}
        assert (a.source / "dot_bashrc").read_text().endswith(LINE)
        assert PASSWORD in (a.source / "dot_netrc").read_text()
        assert PASSWORD in a.read(".netrc")
        await b.sync()
        assert b.read(".vimrc") == "set number\n"
        assert not (b.home / ".netrc").exists()
    for secret in (TOKEN, PASSWORD):
        assert not is_out(a, secret)
        assert not is_in_jj(a, secret)


async def test_a_held_source_takes_in_what_other_hosts_change(pair: tuple[Host, Host]) -> None:
    a, b = pair
    (a.source / "dot_bashrc").write_text(a.read(".bashrc").replace("one", f"one\npassword = {PASSWORD}"))
    await a.sync()
    b.edit(".bashrc", "seven", "SEVEN")
    await settle(b, a)
    text = (a.source / "dot_bashrc").read_text()
    assert text == f"one\npassword = {PASSWORD}\ntwo\nthree\nfour\nfive\nsix\nSEVEN\n"
    (a.source / "dot_bashrc").write_text(text.replace(f"\npassword = {PASSWORD}", ""))
    facts = await a.sync()
    assert not facts.quarantined
    await b.sync()
    assert b.read(".bashrc") == "one\ntwo\nthree\nfour\nfive\nsix\nSEVEN\n"
    assert not is_out(a, PASSWORD)


async def test_a_held_source_that_cannot_be_merged_is_kept_and_named(pair: tuple[Host, Host]) -> None:
    a, b = pair
    (a.source / "dot_bashrc").write_text(a.read(".bashrc").replace("one", f"password = {PASSWORD}"))
    await a.sync()
    b.edit(".bashrc", "one", "ONE")
    await b.sync()
    facts = await a.sync()
    (notice,) = [notice for notice in facts.notices if "gitopsd/kept" in notice.what]
    assert (a.source / "dot_bashrc").read_text().startswith("ONE\n")
    kept = a.source / ".git/gitopsd/kept/dot_bashrc.1"
    assert str(kept.relative_to(a.source)) in notice.what
    assert PASSWORD in kept.read_text()
    for _ in range(2):  # what the home has of it stays, and both are named until the person has settled it
        assert a.read(".bashrc") == kept.read_text()
        facts = await a.sync()
        assert [each.path for each in facts.notices if each.path] == [".bashrc"]
        (notice,) = [each for each in facts.notices if not each.path]
        assert notice.what.endswith(f"are in {kept.parent} until you remove them")
    a.run("sh", "-c", notice.advice)
    assert not [each for each in (await a.sync()).notices if not each.path]
    assert not is_out(a, PASSWORD)


async def test_a_secret_that_was_committed_by_hand_is_not_published(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.write(".local/share/chezmoi/dot_config/app.conf", f"x = 1\ntoken = {TOKEN}\n")
    a.write(".local/share/chezmoi/dot_profile", "umask 077\n")
    a.run("git", "add", "-A", where=a.source)
    a.run("git", "commit", "--quiet", "-m", "by hand", where=a.source)
    facts = await a.sync()
    assert facts.word is SyncWord.success_local_only
    assert [finding.path for finding in facts.quarantined] == ["dot_config/app.conf"]
    assert TOKEN in (a.source / "dot_config/app.conf").read_text()
    await b.sync()
    assert b.read(".profile") == "umask 077\n"
    await a.sync()
    assert not is_out(a)


async def test_an_older_commit_of_the_chain_with_a_secret_is_not_published(pair: tuple[Host, Host]) -> None:
    a, b = pair
    for content, message in ((f"token: {TOKEN}\n", "oops"), ("token: '{{ .token }}'\n", "gone"), ("x\n", "later")):
        a.write(".local/share/chezmoi/dot_app.yaml", content)
        a.run("jj", "commit", "--quiet", "-m", message, where=a.source)
    facts = await a.sync()
    assert facts.word is SyncWord.success_local_only
    assert [finding.path for finding in facts.quarantined] == ["dot_app.yaml"]
    await settle(a, b)
    assert b.read(".app.yaml") == "x\n"
    assert not is_out(a)
    assert not (await a.sync()).quarantined


async def test_a_secret_in_a_commit_message_is_not_published(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.write(".local/share/chezmoi/dot_profile", "umask 077\n")
    a.run("jj", "commit", "--quiet", "-m", f"works with {TOKEN}", where=a.source)
    await settle(a, b)
    assert b.read(".profile") == "umask 077\n"
    assert not is_out(a)


async def test_a_renamed_file_is_looked_at_again(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.add(".notes", f"password: {PASSWORD}\n")
    await a.sync()
    (a.source / "dot_notes").rename(a.source / "dot_diary")
    (a.home / ".bashrc").chmod(0o755)
    a.write(".bashrc", a.read(".bashrc") + LINE)  # re-add would rename it to executable_dot_bashrc
    facts = await a.sync()
    assert {finding.path for finding in facts.quarantined} == {"dot_diary", ".bashrc"}
    await settle(b, a)
    assert not is_out(a, PASSWORD)
    assert not is_out(a)


async def test_a_renamed_source_with_a_secret_stays_published_under_its_old_name(pair: tuple[Host, Host]) -> None:
    a, b = pair
    old, new = a.source / "dot_bashrc", a.source / "private_dot_bashrc"
    old.write_text(a.read(".bashrc").replace("one", f"one\npassword = {PASSWORD}"))
    old.rename(new)
    for _ in range(2):
        facts = await a.sync()
        assert [finding.path for finding in facts.quarantined] == ["private_dot_bashrc"]
        assert "dot_bashrc" in a.remote.files("main")
        assert not old.exists()
        assert PASSWORD in new.read_text()
    b.edit(".bashrc", "seven", "SEVEN")
    await settle(b, a)
    text = new.read_text()
    assert text == f"one\npassword = {PASSWORD}\ntwo\nthree\nfour\nfive\nsix\nSEVEN\n"
    assert not old.exists()
    new.write_text(text.replace(f"password = {PASSWORD}\n", ""))
    assert not (await a.sync()).quarantined
    await settle(b, a)
    assert {"private_dot_bashrc"} == {path for path in a.remote.files("main") if "bashrc" in path}
    assert (b.home / ".bashrc").stat().st_mode & 0o777 == 0o600
    assert a.read(".bashrc") == b.read(".bashrc") == "one\ntwo\nthree\nfour\nfive\nsix\nSEVEN\n"
    assert not is_out(a, PASSWORD)


async def test_a_held_source_follows_when_another_host_renames_it(pair: tuple[Host, Host]) -> None:
    a, b = pair
    (a.source / "dot_bashrc").write_text(a.read(".bashrc").replace("one", f"one\npassword = {PASSWORD}"))
    await a.sync()
    (b.home / ".bashrc").chmod(0o600)
    b.edit(".bashrc", "seven", "SEVEN")
    await settle(b, a)
    renamed = a.source / "private_dot_bashrc"
    assert renamed.read_text() == f"one\npassword = {PASSWORD}\ntwo\nthree\nfour\nfive\nsix\nSEVEN\n"
    assert not (a.source / "dot_bashrc").exists()
    renamed.write_text(renamed.read_text().replace(f"password = {PASSWORD}\n", ""))
    facts = await a.sync()
    assert facts.word is SyncWord.success, facts
    assert {"private_dot_bashrc"} == {path for path in a.remote.files("main") if "bashrc" in path}
    assert not is_out(a, PASSWORD)


async def test_a_conflict_does_not_carry_a_secret_to_the_hosts_bookmark(pair: tuple[Host, Host]) -> None:
    a, b = pair
    b.edit(".bashrc", "one", "one of b")
    await b.sync()
    a.edit(".bashrc", "one", f"password = {PASSWORD}")
    a.edit(".config/app.conf", "x = 1", "x = 2")
    await settle(a, b)
    assert b.read(".config/app.conf") == "x = 2\n"
    assert not is_out(a, PASSWORD)
    assert PASSWORD in a.read(".bashrc")


async def test_what_the_person_allowed_travels_and_so_does_the_permission(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.edit(".bashrc", "one", f"password = {PASSWORD}")
    assert (await a.sync()).quarantined
    (a.source / FILE).parent.mkdir()
    entry = allow("dot_bashrc", "literal-after-secret-key", PASSWORD, "the password of a public demo")
    a.write(f".local/share/chezmoi/{FILE}", with_entry(b"", entry).decode())
    facts = await a.sync()
    assert not facts.quarantined
    await b.sync()
    assert PASSWORD in b.read(".bashrc")
    b.edit(".bashrc", "seven", "SEVEN")
    assert not (await b.sync()).quarantined


async def test_a_sync_killed_anywhere_publishes_no_secret_and_loses_none(
    restore: Callable[[], tuple[Host, Host]], keep: Callable[[], None]
) -> None:
    a, b = restore()
    a.add(".inputrc", "set one\nset two\nset three\nset four\n")
    a.add(".profile", "one\ntwo\nthree\nfour\n")
    await settle(a, b)
    b.edit(".bashrc", "seven", "seven of b")
    b.edit(".inputrc", "set four", "set four of b")
    b.edit(".profile", "four", "four of b")
    (b.home / ".profile").chmod(0o600)
    await b.sync()
    (a.source / "dot_profile").write_text(f"password = {PASSWORD}\n{a.read('.profile')}")
    renamed = a.source / "private_dot_inputrc"
    (a.source / "dot_inputrc").rename(renamed)
    renamed.write_text(f"password = {PASSWORD}\n{a.read('.inputrc')}")
    source = ".local/share/chezmoi"
    a.write(f"{source}/dot_bashrc", a.read(".bashrc").replace("one", f"one\npassword = {PASSWORD}"))
    a.write(f"{source}/dot_netrc", f"machine example.org login rain password {PASSWORD}\n")
    a.write(".config/app.conf", f"x = 1\n{LINE}")
    a.write(f"{source}/dot_vimrc", "set number\n")
    keep()
    assert not await a.dies(10_000)
    looks = {"tar", "betterleaks", "gitleaks"}
    points = [at for at in writes(a.processes.ran) if at == 0 or not {*a.processes.ran[at - 1]} & (looks | LOOKS)]
    assert len(points) > 15
    if "SOAK_MINUTES" not in os.environ:  # each one costs seconds
        points = points[:: len(points) // 10]
    for at in points:
        a, b = restore()
        await a.dies(at)
        where = f"killed before command {at}: {a.processes.ran[-1:]}"
        assert not any(is_out(a, secret) for secret in (TOKEN, PASSWORD)), where
        await a.sync()
        facts = await a.sync()
        await b.sync()
        assert {each.path for each in facts.quarantined} == {
            "dot_bashrc",
            "dot_netrc",
            "private_dot_inputrc",
            "private_dot_profile",
            ".config/app.conf",
        }, where
        assert renamed.read_text() == f"password = {PASSWORD}\nset one\nset two\nset three\nset four of b\n", where
        assert not (a.source / "dot_inputrc").exists(), where
        moved = a.source / "private_dot_profile"
        assert moved.read_text() == f"password = {PASSWORD}\none\ntwo\nthree\nfour of b\n", where
        assert not (a.source / "dot_profile").exists(), where
        assert "dot_inputrc" in a.remote.files("main"), where
        assert (a.source / "dot_bashrc").read_text() == (
            f"one\npassword = {PASSWORD}\ntwo\nthree\nfour\nfive\nsix\nseven of b\n"
        ), where
        assert PASSWORD in (a.source / "dot_netrc").read_text(), where
        assert a.read(".config/app.conf") == f"x = 1\n{LINE}", where
        assert b.read(".vimrc") == "set number\n", where
        assert not any(is_out(a, secret) or is_in_jj(a, secret) for secret in (TOKEN, PASSWORD)), where


def _commits_by_itself(host: Host) -> None:
    """The person has told chezmoi to commit and push what it writes to the source directory."""
    host.write(".config/chezmoi/chezmoi.toml", "[git]\nautoPush = true\n")
    # Where the trunk is a bookmark of jj, git's HEAD is detached, and a plain push would fail.
    host.run("git", "config", "remote.origin.push", "HEAD:refs/heads/main", where=host.source)


async def test_nothing_is_committed_or_pushed_by_chezmoi_when_a_sync_runs_it(pair: tuple[Host, Host]) -> None:
    a, b = pair
    _commits_by_itself(a)
    a.set(deletions="capture")
    (a.source / "dot_env").write_text(LINE)
    a.edit(".bashrc", "one", "ONE")
    facts = await a.sync()
    assert [finding.path for finding in facts.quarantined] == ["dot_env"]
    assert facts.captured == ("dot_bashrc",)
    (a.home / ".config/app.conf").unlink()
    a.edit(".bashrc", "two", "TWO")
    await a.sync()
    await b.sync()
    assert b.read(".bashrc").startswith("ONE\nTWO\n")
    assert "dot_config/app.conf" not in a.remote.files("main")
    assert not is_out(a)
    subjects = {line.partition(" ")[2] for line in a.remote.everything().splitlines() if line[40:41] == " "}
    assert not {subject for subject in subjects if subject.startswith(("Update ", "Add ", "Remove "))}
    assert not (a.source / ".git/gitopsd-chezmoi.json").exists()


async def test_what_the_persons_own_chezmoi_committed_and_pushed_is_taken_for_a_commit_by_hand(
    pair: tuple[Host, Host],
) -> None:
    a, b = pair
    _commits_by_itself(a)
    a.add(".vimrc", "set number\n")
    assert ".vimrc" in a.remote.everything().partition("\n")[0], "chezmoi pushed"
    a.edit(".bashrc", "one", "ONE")
    facts = await a.sync()
    assert (facts.word, facts.notices) == (SyncWord.success, ())
    await settle(b, a)
    assert (b.read(".vimrc"), b.read(".bashrc")) == ("set number\n", a.read(".bashrc"))


@pytest.mark.parametrize("path", [".local/share/chezmoi/.chezmoidata.yaml", ".config/chezmoi/chezmoi.yaml"])
async def test_data_that_cannot_be_parsed_is_named_and_not_shown(pair: tuple[Host, Host], path: str) -> None:
    a, _ = pair
    a.write(path, f"data:\n  x: *nobody\n  password: {PASSWORD}\n")
    with pytest.raises(Failed, match=Path(path).name) as caught:
        await a.sync()
    assert PASSWORD not in caught.value.explained()
    assert not is_out(a, PASSWORD)


async def test_a_decision_that_cannot_be_read_is_not_shown(pair: tuple[Host, Host]) -> None:
    a, _ = pair
    a.write(".local/share/chezmoi/.gitopsd/secrets.toml", f'[decisions]\napi = "{PASSWORD}"\n')
    with pytest.raises(Failed, match="secrets.toml cannot be read") as caught:
        await a.sync()
    assert PASSWORD not in caught.value.explained()
    assert not is_out(a, PASSWORD)


async def test_what_a_template_fails_with_is_told_without_its_secrets(pair: tuple[Host, Host]) -> None:
    a, _ = pair
    a.write("token", TOKEN)
    action = '{{ fail (printf "no host takes %s" (include (joinPath .chezmoi.homeDir "token"))) }}'
    a.write(".local/share/chezmoi/dot_t.tmpl", f"{action}\n")
    facts = await a.sync()
    assert any("no host takes ***" in notice.what for notice in facts.notices), facts
    assert TOKEN not in repr(facts)
