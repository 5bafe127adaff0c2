"""A person's checkout follows the trunk where that loses nothing, and nothing in it ever runs as root."""

import os
import pwd
import shutil
from functools import partial
from pathlib import Path

import pytest
from checkouts import Checkout
from people import Remote, git

from gitopsd.checkout.origin import origin_of
from gitopsd.checkout.owner import owner_of
from gitopsd.errors import Failed
from gitopsd.tools.mirror import Mirror
from gitopsd.tools.process import Processes
from gitopsd.types import SyncWord


@pytest.fixture
def checkout(place: Path, remote: Remote) -> Checkout:
    return Checkout(place, remote)


async def test_a_clean_checkout_is_fast_forwarded_as_its_owner(checkout: Checkout) -> None:
    trunk = checkout.push("second", flake="2")
    facts = await checkout.follow(trunk)
    assert (facts.user, facts.word, facts.notices) == ("rain", SyncWord.success, ())
    assert checkout.head() == trunk
    assert (checkout.path / "flake").read_text() == "2\n"
    assert (checkout.path / "flake").stat().st_uid == checkout.account.uid
    assert checkout.run("git", "status", "--porcelain", "--branch") == "## main...origin/main"


async def test_one_that_is_there_already_is_asked_one_question(checkout: Checkout) -> None:
    facts = await checkout.follow(checkout.head())
    assert facts.notices == ()
    assert len(checkout.processes.ran) == 1


async def test_uncommitted_edits_are_left_alone_and_told(checkout: Checkout) -> None:
    before, trunk = checkout.head(), checkout.push("second", flake="2")
    checkout.write("other", "mine\n")
    facts = await checkout.follow(trunk)
    assert "has changes that are not committed: it is left as it is" in facts.notices[0].what
    assert facts.notices[0].advice.startswith(f"cd {checkout.path} && git stash")
    assert (checkout.head(), (checkout.path / "other").read_text()) == (before, "mine\n")


async def test_a_staged_edit_is_an_edit(checkout: Checkout) -> None:
    before, trunk = checkout.head(), checkout.push("second", flake="2")
    checkout.write("other", "mine\n")
    checkout.run("git", "add", "other")
    assert "not committed" in (await checkout.follow(trunk)).notices[0].what
    assert checkout.head() == before


async def test_a_new_file_that_is_not_in_the_way_is_no_reason_to_stay_behind(checkout: Checkout) -> None:
    trunk = checkout.push("second", flake="2")
    checkout.write("notes", "mine\n")
    assert (await checkout.follow(trunk)).notices == ()
    assert (checkout.head(), (checkout.path / "notes").read_text()) == (trunk, "mine\n")


@pytest.mark.parametrize("ignored", [False, True])
async def test_a_new_file_that_is_in_the_way_is_kept(checkout: Checkout, *, ignored: bool) -> None:
    before, trunk = checkout.head(), checkout.push("second", notes="theirs")
    checkout.write("notes", "mine\n")
    if ignored:
        (checkout.path / ".git" / "info" / "exclude").write_text("notes\n")
    facts = await checkout.follow(trunk)
    assert "cannot be brought forward" in facts.notices[0].what
    assert (checkout.head(), (checkout.path / "notes").read_text()) == (before, "mine\n")


async def test_commits_of_their_own_are_left_alone_and_told(checkout: Checkout) -> None:
    trunk = checkout.head()
    checkout.write("other", "mine\n")
    checkout.run("git", "commit", "--quiet", "-am", "mine")
    mine = checkout.head()
    assert "has commits that origin does not have" in (await checkout.follow(trunk)).notices[0].what
    trunk = checkout.push("second", flake="2")
    assert "have gone different ways" in (await checkout.follow(trunk)).notices[0].what
    assert checkout.head() == mine


async def test_another_branch_is_left_alone(checkout: Checkout) -> None:
    checkout.run("git", "switch", "--quiet", "-c", "idea")
    before = checkout.head()
    facts = await checkout.follow(checkout.push("second", flake="2"))
    assert "is on idea, not on main" in facts.notices[0].what
    assert checkout.head() == before


async def test_a_merge_that_waits_for_a_person_is_left_alone(checkout: Checkout) -> None:
    checkout.run("git", "switch", "--quiet", "-c", "idea")
    checkout.write("other", "idea\n")
    checkout.run("git", "commit", "--quiet", "-am", "idea")
    checkout.run("git", "switch", "--quiet", "main")
    checkout.run("git", "merge", "--quiet", "--no-commit", "--no-ff", "idea")
    before = checkout.head()
    assert (await checkout.follow(checkout.push("second", flake="2"))).notices
    assert checkout.head() == before
    assert (checkout.path / ".git" / "MERGE_HEAD").exists()


async def test_a_checkout_of_another_repository_is_left_alone(checkout: Checkout) -> None:
    facts = await checkout.follow("e" * 40)
    assert "has another origin" in facts.notices[0].what


async def test_a_remote_that_cannot_be_asked_is_told(checkout: Checkout) -> None:
    trunk = checkout.push("second", flake="2")
    checkout.run("git", "remote", "set-url", "origin", "/nowhere")
    assert "cannot be brought forward" in (await checkout.follow(trunk)).notices[0].what


async def test_a_jj_repository_is_moved_by_jj(checkout: Checkout) -> None:
    checkout.run("jj", "git", "init", "--colocate", "--quiet")
    trunk = checkout.push("second", flake="2")
    assert (await checkout.follow(trunk)).notices == ()
    assert checkout.run("jj", "log", "--no-graph", "-r", "@-", "-T", "commit_id") == trunk
    assert (checkout.path / "flake").read_text() == "2\n"
    checkout.write("other", "mine\n")
    later = checkout.push("third", flake="3")
    assert "not published" in (await checkout.follow(later)).notices[0].what
    assert (checkout.path / "other").read_text() == "mine\n"
    assert checkout.run("jj", "log", "--no-graph", "-r", "@-", "-T", "commit_id") == trunk


async def test_what_a_repository_names_never_runs_as_root(checkout: Checkout) -> None:
    proof = checkout.plant()
    before = checkout.head()
    for text in ("2", "3"):
        await checkout.follow(checkout.push(text, flake=text))
    assert checkout.head() != before
    assert set(proof.read_text().split()) == {"rain"}  # its filters, as for any command that the person types
    assert all(argv[0] in ("git", "jj") for argv in checkout.processes.ran)


async def test_hooks_are_not_run_at_all(checkout: Checkout) -> None:
    proof = checkout.plant()
    (checkout.path / ".git" / "info" / "attributes").unlink()
    trunk = checkout.push("second", flake="2")
    await checkout.follow(trunk)
    assert checkout.head() == trunk
    assert not proof.exists()


async def test_one_that_is_not_there_is_told(checkout: Checkout) -> None:
    shutil.rmtree(checkout.path)
    facts = await checkout.follow("e" * 40)
    assert facts.word is SyncWord.not_initialized
    assert "No such file" in facts.notices[0].what


def test_a_link_or_a_git_directory_of_somebody_else_is_nobodys(checkout: Checkout) -> None:
    link = checkout.place / "link"
    link.symlink_to(checkout.path)
    with pytest.raises(Failed, match="is no directory"):
        owner_of(link)
    os.chown(checkout.path / ".git", pwd.getpwnam("olga").pw_uid, -1)
    with pytest.raises(Failed, match="belong to different people"):
        owner_of(checkout.path)


def test_one_of_roots_is_roots_only_if_nobody_else_can_write_there(checkout: Checkout) -> None:
    path = Path("/srv/gitopsd-test-checkout")
    shutil.rmtree(path, ignore_errors=True)
    try:
        git("clone", "--quiet", str(checkout.remote.path), str(path))
        assert owner_of(path).uid == 0
        (path / ".git" / "config").chmod(0o664)
        with pytest.raises(Failed, match="others can write to .*config"):
            owner_of(path)
        (path / ".git" / "config").chmod(0o644)
        path.chmod(0o777)
        with pytest.raises(Failed, match="others can write to"):
            owner_of(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)
    inside = checkout.path.parent / "roots"  # in a directory of rain's, who can put another one in its place
    git("clone", "--quiet", str(checkout.remote.path), str(inside))
    with pytest.raises(Failed, match="others can write to"):
        owner_of(inside)


async def test_the_configuration_comes_from_where_the_checkout_does(checkout: Checkout) -> None:
    assert await origin_of(checkout.processes, str(checkout.path)) == str(checkout.remote.path)
    whence = partial(origin_of, checkout.processes, str(checkout.path))
    mirror = Mirror(Processes(), checkout.place / "mirror.git", url="", branch="main", origin=whence)
    assert await mirror.fetch() == checkout.head()


async def test_a_checkout_without_an_origin_is_told_with_what_to_do(checkout: Checkout) -> None:
    checkout.run("git", "remote", "remove", "origin")
    with pytest.raises(Failed, match="has no remote `origin`") as told:
        await origin_of(checkout.processes, str(checkout.path))
    assert "config.repo_url" in told.value.advice
    with pytest.raises(Failed, match="No such file") as told:
        await origin_of(checkout.processes, str(checkout.path / "nowhere"))
    assert told.value.meaning == "no configuration can be fetched"
