"""What is edited in a checkout is published where `commit_local` says so: with jj where it is, with git alone else."""

import os
from pathlib import Path

import pytest
from checkouts import Checkout
from people import Killed, Remote

from gitopsd.types import SyncWord

NOTHING = ()


@pytest.fixture(params=["git", "jj"])
def checkout(place: Path, remote: Remote, request: pytest.FixtureRequest) -> Checkout:
    it = Checkout(place, remote)
    if request.param == "jj":
        it.run("jj", "git", "init", "--colocate", "--quiet")
    return it


def plain(checkout: Checkout) -> bool:
    return not (checkout.path / ".jj").exists()


async def test_an_edit_is_published_and_the_checkout_stands_on_it(checkout: Checkout) -> None:
    checkout.write("other", "mine\n")
    checkout.write("new", "mine too\n")
    facts = await checkout.upgrade()
    assert (facts.user, facts.word, facts.captured, facts.sent) == ("rain", SyncWord.success, ("new", "other"), True)
    assert (checkout.remote.show("main", "other"), checkout.remote.show("main", "new")) == ("mine\n", "mine too\n")
    assert "chore(a): auto-update 2026-11-24T13:00:00Z" in checkout.remote.everything()
    assert checkout.head() == checkout.remote.heads()["main"]
    assert checkout.run("git", "status", "--porcelain") == ""
    if plain(checkout):
        assert checkout.run("git", "status", "--branch", "--porcelain") == "## main...origin/main"
    again = await checkout.upgrade()
    assert (again.captured, again.sent, again.notices) == (NOTHING, False, NOTHING)


async def test_what_others_pushed_comes_in(checkout: Checkout) -> None:
    trunk = checkout.push("second", flake="2")
    facts = await checkout.upgrade()
    assert (facts.sent, facts.notices) == (False, ())
    assert (checkout.head(), (checkout.path / "flake").read_text()) == (trunk, "2\n")
    assert (checkout.path / "flake").stat().st_uid == checkout.account.uid


async def test_edits_on_both_sides_are_merged(checkout: Checkout) -> None:
    checkout.push("second", flake="2")
    checkout.write("other", "mine\n")
    facts = await checkout.upgrade()
    assert (facts.sent, facts.parked) == (True, NOTHING)
    for name, text in (("flake", "2\n"), ("other", "mine\n")):
        assert (checkout.path / name).read_text() == checkout.remote.show("main", name) == text


async def test_commits_of_the_owner_are_published_as_they_are(checkout: Checkout) -> None:
    if not plain(checkout):
        pytest.skip("what a person commits with jj is the engine's own test")
    checkout.write("other", "mine\n")
    checkout.run("git", "commit", "--quiet", "-am", "my own words")
    mine = checkout.head()
    facts = await checkout.upgrade()
    assert facts.sent
    assert checkout.remote.heads()["main"] == checkout.head() == mine


async def test_a_conflict_is_parked_and_holds_nothing_else_up(checkout: Checkout) -> None:
    checkout.push("second", other="theirs")
    checkout.write("other", "mine\n")
    checkout.write("new", "mine\n")
    facts = await checkout.upgrade()
    assert facts.word is SyncWord.conflicts_preserved
    assert [each.path for each in facts.parked] == ["other"]
    assert checkout.remote.show("main", "other") == "theirs\n"
    assert checkout.remote.show("gitopsd/a", "other") == "mine\n"
    assert checkout.remote.show("main", "new") == "mine\n"
    assert (checkout.path / "other").read_text() == "mine\n"
    heads = checkout.remote.heads()
    await checkout.upgrade()
    assert checkout.remote.heads() == heads
    # More edits go on, beside the parked one.
    checkout.write("later", "mine\n")
    checkout.push("third", flake="3")
    facts = await checkout.upgrade()
    assert checkout.remote.show("main", "later") == "mine\n"
    assert checkout.remote.show("main", "flake") == "3\n"
    assert checkout.remote.show("main", "other") == "theirs\n"
    assert checkout.remote.show("gitopsd/a", "other") == "mine\n"
    assert (checkout.path / "other").read_text() == "mine\n"


async def test_a_parked_change_is_settled_as_status_says(checkout: Checkout) -> None:
    if not plain(checkout):
        pytest.skip("of a jj repository, see the tests of dotfiles")
    checkout.push("second", other="theirs")
    checkout.write("other", "mine\n")
    facts = await checkout.upgrade()
    advice = facts.notices[-1].advice
    assert (
        advice
        == f"cd {checkout.path} && git stash && git pull && git merge --no-edit -X theirs origin/gitopsd/a && git push"
    )
    checkout.run("git", "stash", "--quiet")
    checkout.run("git", "pull", "--quiet", "--ff-only")
    checkout.run("git", "merge", "--quiet", "-X", "theirs", "-m", "settled", "origin/gitopsd/a")
    checkout.run("git", "push", "--quiet")
    checkout.write("flake", "and on it goes\n")
    facts = await checkout.upgrade()
    assert (facts.word, facts.parked, facts.notices) == (SyncWord.success, NOTHING, NOTHING)
    assert checkout.remote.show("main", "other") == "mine\n"
    assert checkout.remote.show("main", "flake") == "and on it goes\n"
    assert set(checkout.remote.heads()) == {"main"}
    assert (await checkout.upgrade()).sent is False


async def test_an_edit_in_the_moment_of_the_checkout_that_leaves_the_size_is_seen(checkout: Checkout) -> None:
    if not plain(checkout):
        pytest.skip("jj keeps its own times")
    for number in range(5):  # within the clock's tick git cannot tell from the times that a file has changed
        checkout.run("git", "checkout", "--quiet", "HEAD", "--", ".")
        checkout.write("other", f"{number}\n")
        assert (await checkout.upgrade()).captured == ("other",)


async def test_what_the_owner_hides_from_git_stays_hidden(checkout: Checkout) -> None:
    if not plain(checkout):
        pytest.skip("jj knows no such thing")
    checkout.write("other", "only here\n")
    checkout.run("git", "update-index", "--skip-worktree", "other")
    checkout.write("flake", "mine\n")
    facts = await checkout.upgrade()
    assert facts.captured == ("flake",)
    assert "only here" not in checkout.remote.everything()
    assert (checkout.path / "other").read_text() == "only here\n"


async def test_another_branch_or_a_conflict_under_way_publishes_nothing(checkout: Checkout) -> None:
    if not plain(checkout):
        pytest.skip("jj has no branch that is checked out")
    before = checkout.remote.heads()
    checkout.run("git", "switch", "--quiet", "-c", "idea")
    checkout.write("other", "idea\n")
    with pytest.raises(Exception, match="does not have main checked out"):
        await checkout.upgrade()
    checkout.run("git", "stash", "--quiet")
    checkout.run("git", "switch", "--quiet", "main")
    checkout.write("other", "mine\n")
    checkout.run("git", "commit", "--quiet", "-am", "mine")
    with pytest.raises(AssertionError):
        checkout.run("git", "stash", "pop", "--quiet")
    assert "<<<<<<<" in (checkout.path / "other").read_text()
    with pytest.raises(Exception, match="a conflict is being resolved"):
        await checkout.upgrade()
    assert checkout.remote.heads() == before


async def test_a_merge_that_waits_for_its_owner_is_left_alone(checkout: Checkout) -> None:
    before = checkout.remote.heads()
    (checkout.path / ".git" / "MERGE_HEAD").write_text(f"{checkout.head()}\n")
    checkout.write("other", "mine\n")
    facts = await checkout.upgrade()
    assert "is not finished" in facts.notices[0].what
    assert checkout.remote.heads() == before


async def test_an_ignored_file_in_the_way_is_kept(checkout: Checkout) -> None:
    checkout.write("notes", "mine\n")
    (checkout.path / ".git" / "info" / "exclude").write_text("notes\n.jj\n")
    checkout.push("second", notes="theirs")
    await checkout.upgrade()
    kept = [path for path in checkout.path.rglob("*") if path.is_file() and path.read_bytes() == b"mine\n"]
    assert kept


async def test_an_edit_of_the_last_moment_is_neither_lost_nor_reverted(checkout: Checkout) -> None:
    checkout.push("second", flake="2")
    checkout.write("other", "mine\n")
    await checkout.upgrade(cut="apply")
    checkout.write("flake", "at the last moment\n")
    checkout.write("more", "at the last moment\n")
    for _ in range(3):
        await checkout.upgrade()
    assert "at the last moment" in checkout.remote.everything()
    assert checkout.remote.show("main", "other") == "mine\n"
    assert checkout.remote.show("main", "more") == "at the last moment\n"
    assert (checkout.path / "flake").read_text() == "at the last moment\n"


async def test_killed_before_every_command_nothing_is_lost_or_done_twice(place: Path, remote: Remote) -> None:
    at, step = 0, 1 if "SOAK_MINUTES" in os.environ else 4  # each one costs seconds: all of them in `make crashes`
    while True:
        checkout = Checkout(place, remote, home=f"home-{at}")
        checkout.push(f"trunk {at}", flake=f"trunk {at}")
        checkout.write("other", f"mine {at}\n")
        checkout.processes.ran.clear()
        checkout.processes.dies_at = at
        try:
            await checkout.upgrade()
            break
        except Killed:
            pass
        checkout.processes.dies_at = None
        await checkout.upgrade()
        facts = await checkout.upgrade()
        assert (facts.word, facts.parked, facts.notices) == (SyncWord.success, NOTHING, NOTHING), at
        assert checkout.remote.show("main", "other") == f"mine {at}\n", at
        assert checkout.remote.show("main", "flake") == f"trunk {at}\n", at
        assert checkout.head() == checkout.remote.heads()["main"], at
        assert checkout.run("git", "status", "--porcelain") == "", at
        at += step
    assert at > 15


async def test_two_checkouts_that_edit_the_same_line_end_with_both_versions_kept(place: Path, remote: Remote) -> None:
    one, two = Checkout(place, remote, home="one"), Checkout(place, remote, home="two")
    one.write("other", "of one\n")
    two.write("other", "of two\n")
    for _ in range(3):
        await one.upgrade(host="one")
        await two.upgrade(host="two")
    assert one.remote.show("main", "other") == "of one\n"
    assert one.remote.show("gitopsd/two", "other") == "of two\n"
    assert (two.path / "other").read_text() == "of two\n"


async def test_what_looks_like_a_secret_stops_the_checkout_before_anything_of_it_leaves(checkout: Checkout) -> None:
    trunk = checkout.push("second", flake="2")
    checkout.write("secrets.nix", '{ password = "hunter2-Tr0ub4dor&3"; }\n')
    checkout.write("other", "mine\n")
    for _ in range(2):
        facts = await checkout.upgrade()
        assert (facts.word, facts.sent) == (SyncWord.success_local_only, False)
        assert [each.path for each in facts.quarantined] == ["secrets.nix"]
        assert "secrets.nix:1" in facts.notices[0].what
        assert "hunter2" not in str(facts)
        assert checkout.remote.heads() == {"main": trunk}
        assert "hunter2" in (checkout.path / "secrets.nix").read_text()
    if plain(checkout):  # a commit of their own that nobody pushed is looked at too
        checkout.run("git", "add", "-A")
        checkout.run("git", "commit", "--quiet", "-m", "oops")
        assert (await checkout.upgrade()).quarantined
        checkout.run("git", "reset", "--quiet", "--soft", "HEAD~")
        checkout.run("git", "restore", "--staged", ".")
    checkout.write("secrets.nix", "{ }\n")
    facts = await checkout.upgrade()
    assert (facts.word, facts.sent, facts.quarantined) == (SyncWord.success, True, NOTHING)
    assert "hunter2" not in checkout.remote.everything()
    if not plain(checkout):
        assert "hunter2" not in checkout.run("jj", "op", "log", "-p")


async def test_planted_hooks_never_run(checkout: Checkout) -> None:
    proof = checkout.plant()
    (checkout.path / ".git" / "info" / "attributes").unlink()
    if not plain(checkout):
        (checkout.path / ".git" / "info" / "exclude").write_text(".jj\n")
    checkout.push("second", flake="2")
    checkout.write("other", "mine\n")
    await checkout.upgrade()
    assert checkout.remote.show("main", "other") == "mine\n"
    assert not proof.exists()


async def test_inputs_are_refreshed_in_a_commit_of_their_own_and_a_failure_holds_nothing_up(
    checkout: Checkout,
) -> None:
    tool = checkout.place / "bin"
    tool.mkdir()
    (tool / "nix").write_text(
        f'#!/bin/sh\ncd {checkout.path} && [ ! -e ../fails ] && echo "$(id -un) $*" >flake.lock\n'
    )
    (tool / "nix").chmod(0o755)
    checkout.processes._path = f"{tool}:{os.environ['PATH']}"
    checkout.write("other", "mine\n")
    await checkout.upgrade(update_inputs=True)
    assert "flake.lock" not in checkout.remote.files("main")  # the edit goes first
    facts = await checkout.upgrade(update_inputs=True)
    assert facts.captured == ("flake.lock",)
    assert checkout.remote.show("main", "flake.lock").startswith("rain --extra-experimental-features")
    assert "chore(a): update flake inputs 2026-11-24T13:00:00Z" in checkout.remote.everything()
    assert not (await checkout.upgrade(update_inputs=True)).sent
    (checkout.path.parent / "fails").touch()
    facts = await checkout.upgrade(update_inputs=True)
    assert (facts.word, facts.sent) == (SyncWord.success, False)
    assert "could not be refreshed" in facts.notices[0].what
