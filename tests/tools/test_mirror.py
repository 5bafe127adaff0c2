"""The mirror: what the remote has is here after one question, and nothing that it dropped."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gitopsd.daemon.assessment import mark_deployed
from gitopsd.errors import Absent, Failed
from gitopsd.tools.mirror import Mirror
from gitopsd.tools.process import Processes, Result
from gitopsd.types import Deployed, Revision, StorePath


class Counted(Processes):
    """Remembers the verbs."""

    def __init__(self) -> None:
        super().__init__()
        self.verbs: list[str] = []

    async def run(self, argv: Sequence[str], **options: Any) -> Result:
        known = ("init", "ls-remote", "fetch", "for-each-ref", "update-ref", "rev-parse", "merge-base", "rev-list")
        self.verbs.append(next(word for word in argv if word in known))
        return await super().run(argv, **options)


class Remote:
    def __init__(self, place: Path) -> None:
        self.path = place / "remote"
        self.git("init", "--quiet", "--initial-branch=main", str(self.path), inside=False)

    def git(self, *arguments: str, inside: bool = True) -> str:
        identity = ("-c", "user.name=r", "-c", "user.email=r@example.org")
        where = ("-C", str(self.path)) if inside else ()
        return subprocess.run(
            ["git", *where, *identity, *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, branch: str, parent: str = "") -> Revision:
        chain = ("-p", parent) if parent else ()
        commit = self.git("commit-tree", *chain, "-m", branch, "4b825dc642cb6eb9a060e54bf8d69288fbee4904")
        self.git("update-ref", f"refs/heads/{branch}", commit)
        return Revision(commit)


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    if shutil.which("git") is None:
        if os.environ.get("GITOPSD_LAB_REQUIRED") == "1":
            pytest.fail("needs git")
        pytest.skip("needs git")
    return Remote(tmp_path)


def mirror(remote: Remote, processes: Processes, testing: str = "testing-a") -> Mirror:
    return Mirror(processes, remote.path.parent / "m.git", url=str(remote.path), branch="main", testing=testing)


async def test_nothing_new_costs_one_question(remote: Remote) -> None:
    trunk = remote.commit("main")
    test = remote.commit("testing-a", trunk)
    processes = Counted()
    here = mirror(remote, processes)
    assert await here.head() is None
    assert await here.fetch() == trunk
    processes.verbs.clear()
    assert (await here.fetch(), await here.head(), await here.testing()) == (trunk, trunk, test)
    assert processes.verbs == ["ls-remote"]


async def test_a_mirror_that_is_lost_keeps_no_daemon_from_starting(
    remote: Remote, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed = Deployed(revision=remote.commit("main"), toplevel=StorePath("/nix/store/a-system"), at=1.0)
    here = mirror(remote, Processes())
    await mark_deployed(here, deployed)
    assert "not marked as deployed" in capsys.readouterr().out
    await here.fetch()
    await mark_deployed(here, deployed)
    assert await here.marked_deployed() == deployed.revision


async def test_a_daemon_that_has_just_started_knows_what_the_last_one_fetched(remote: Remote) -> None:
    trunk = remote.commit("main")
    test = remote.commit("testing-a", trunk)
    await mirror(remote, Processes()).fetch()
    here = mirror(remote, Processes())
    assert (await here.head(), await here.testing()) == (trunk, test)


async def test_a_branch_that_is_gone_from_the_remote_is_gone_here(remote: Remote) -> None:
    trunk = remote.commit("main")
    remote.commit("testing-a", trunk)
    here = mirror(remote, Processes())
    await here.fetch()
    remote.git("update-ref", "-d", "refs/heads/testing-a")
    await here.fetch()
    assert await here.testing() is None
    assert await mirror(remote, Processes()).testing() is None


async def test_both_branches_may_be_rewritten(remote: Remote) -> None:
    first = remote.commit("main")
    here = mirror(remote, Processes())
    await here.fetch()
    trunk = remote.commit("main", remote.commit("main", first))
    test = remote.commit("testing-a", trunk)
    await here.fetch()
    remote.git("update-ref", "refs/heads/main", first)
    other = remote.commit("testing-a", first)
    assert (await here.fetch(), await here.testing()) == (first, other)
    assert await here.descends(other, first)
    assert not await here.descends(other, trunk)
    assert other != test


async def test_only_the_branches_that_were_asked_for_are_taken(remote: Remote) -> None:
    trunk = remote.commit("main")
    for name in ("testing-b", "side/main", "main-2"):
        remote.commit(name, trunk)
    remote.commit("testing-a/below", trunk)
    here = mirror(remote, Processes())
    assert (await here.fetch(), await here.testing()) == (trunk, None)
    assert await mirror(remote, Processes(), testing="").testing() is None


async def test_a_remote_without_the_branch_is_told_from_one_that_is_away(remote: Remote) -> None:
    remote.commit("testing-a")
    with pytest.raises(Absent, match="has no branch 'main'"):
        await mirror(remote, Processes()).fetch()


async def test_a_mirror_that_was_removed_is_made_again(remote: Remote) -> None:
    trunk = remote.commit("main")
    here = mirror(remote, Processes())
    await here.fetch()
    shutil.rmtree(remote.path.parent / "m.git")
    assert await here.fetch() == trunk


DAMAGES = {
    "objects that a power cut has emptied": "find objects -type f -exec truncate -s0 {} +",
    "one object that is gone": "rm -f objects/$(cut -c1-2 refs/remotes/origin/main)/$(cut -c3- refs/remotes/origin/main)",
    "no HEAD": "truncate -s0 HEAD",
    "an empty ref": "truncate -s0 refs/remotes/origin/main",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("new", [True, False], ids=["something new", "nothing new"])
async def test_a_mirror_that_is_damaged_is_fetched_anew_and_holds_nothing_up(
    remote: Remote, damage: str, new: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    first = remote.commit("main")
    here = mirror(remote, Processes())
    await here.fetch()
    await here.mark_deployed(first)
    trunk = remote.commit("main", first) if new else first
    await Processes().run(["sh", "-euc", DAMAGES[damage]], cwd=str(remote.path.parent / "m.git"), timeout=10)
    for each in (here, mirror(remote, Processes())):  # the daemon that runs, and one that starts
        assert await each.fetch() == trunk
        with contextlib.suppress(Failed):  # what a fetch with nothing new does not see is seen when it is needed
            await each.subject(trunk)
        await each.sound()
        assert await each.fetch() == trunk
        assert await each.subject(trunk) == "main"
        assert await each.descends(trunk, first)
        assert await each.sound()
    assert await here.marked_deployed() == first
    healed_by_git = new and damage == "one object that is gone"
    assert ("was damaged; what the remote has was fetched anew" in capsys.readouterr().out) != healed_by_git


async def test_a_damaged_mirror_is_no_proof_that_a_branch_was_rewound(remote: Remote) -> None:
    first = remote.commit("main")
    here = mirror(remote, Processes())
    await here.fetch()
    trunk = remote.commit("main", first)
    await here.fetch()
    (remote.path.parent / "m.git/objects" / first[:2] / first[2:]).unlink()
    with pytest.raises(Failed, match="is damaged"):
        await here.descends(trunk, first)
    here = mirror(remote, Processes())  # whoever comes next knows
    await here.fetch()
    assert await here.descends(trunk, first)


async def test_a_damaged_mirror_stays_until_the_remote_has_given_all_of_it(remote: Remote) -> None:
    trunk = remote.commit("main")
    here = mirror(remote, Processes())
    await here.fetch()
    path = remote.path.parent / "m.git"
    (path / "HEAD").write_bytes(b"")
    away = remote.path.rename(remote.path.with_name("away"))
    with pytest.raises(Failed):
        await here.fetch()
    assert (path / "objects").exists()
    away.rename(remote.path)
    assert await here.fetch() == trunk
    assert not path.with_name("m.git.new").exists()


async def test_a_remote_that_cannot_be_read_is_no_damage(remote: Remote) -> None:
    remote.commit("main")
    here = mirror(remote, Processes())
    await here.fetch()
    inode = (remote.path.parent / "m.git").stat().st_ino
    away = remote.path.rename(remote.path.with_name("away"))
    with pytest.raises(Failed):
        await here.fetch()
    away.rename(remote.path)
    await here.fetch()
    assert (remote.path.parent / "m.git").stat().st_ino == inode
