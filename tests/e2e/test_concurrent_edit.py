"""Acceptance procedure 1: two hosts change the same line of one file within seconds."""

import json

import pytest
from e2e.scene import SOURCE, USER, set_up
from lab import Host, Lab

pytestmark = pytest.mark.lab

BASHRC = "/home/rain/.bashrc"
FIRST = "# rain's bashrc\n"
RESULTS = {
    "ours": f"{FIRST}alias ll='ls -l --color'\n",
    "theirs": f"{FIRST}alias ll='ls -la'\n",
    "union": f"{FIRST}alias ll='ls -la'\nalias ll='ls -l --color'\n",
}


def in_the_log(host: Host, text: str) -> bool:
    """Whether `jj log` with patches shows a commit that adds this line."""
    asked = "jj --ignore-working-copy --no-pager --color=never log --no-graph --git --revisions 'all()'"
    return f"\n+{text}\n" in host.sh(f"cd {SOURCE} && {asked}", user=USER).stdout


@pytest.mark.parametrize(("by", "take"), [("malphas", "ours"), ("griefling", "theirs"), ("malphas", "union")])
def test_concurrent_edit(lab: Lab, by: str, take: str) -> None:
    """1. Nobody is asked, nothing is lost, other files flow, and either host settles it for both."""
    scene = set_up(lab, "malphas", "griefling")
    malphas, griefling = scene.hosts["malphas"], scene.hosts["griefling"]
    malphas.sh(f"sed -i 's/ls -l/ls -la/' {BASHRC}", user=USER)
    griefling.sh(f'sed -i "s/ls -l/ls -l --color/" {BASHRC}', user=USER)

    for host in (malphas, griefling, malphas):
        synced = host.run(["gitopsctl", "sync"], user=USER)
        assert (synced.returncode, synced.stderr) == (0, "")
        assert host.failed_units() == []
    edits = ("alias ll='ls -la'", "alias ll='ls -l --color'")
    for host in (malphas, griefling):
        assert all(in_the_log(host, edit) for edit in edits), host.name
    published = scene.forge.git("dotfiles", "log", "--all", "--patch", "--format=%s")
    assert all(f"+{edit}" in published for edit in edits)
    assert (malphas.read(BASHRC), griefling.read(BASHRC)) == (RESULTS["theirs"], RESULTS["ours"])
    assert set(scene.forge.branches("dotfiles")) == {"main", "gitopsd/griefling"}

    malphas.sh("echo '[user]' > ~/.tigrc && chezmoi add ~/.tigrc", user=USER)
    griefling.sh("echo 'set -o vi' > ~/.inputrc && chezmoi add ~/.inputrc", user=USER)
    for host in (malphas, griefling, malphas):
        host.run(["gitopsctl", "sync"], user=USER)
    for host in (malphas, griefling):
        assert (host.read("/home/rain/.tigrc"), host.read("/home/rain/.inputrc")) == ("[user]\n", "set -o vi\n")

    for host in (malphas, griefling):
        assert "gitopsctl dotfiles resolve .bashrc" in host.run(["gitopsctl", "status"], user=USER).stdout
        shown = host.run(["gitopsctl", "dotfiles", "conflicts"], user=USER).stdout
        assert ".bashrc: griefling has a version parked on gitopsd/griefling" in shown
        assert all(edit in shown for edit in edits)
    settler, other = (malphas, griefling) if by == "malphas" else (griefling, malphas)
    settled = settler.run(["gitopsctl", "dotfiles", "resolve", BASHRC, "--take", take], user=USER)
    assert settled.returncode == 0
    assert ".bashrc: settled for all hosts with" in settled.stdout
    assert settler.read(BASHRC) == RESULTS[take]
    other.run(["gitopsctl", "sync"], user=USER)
    settler.run(["gitopsctl", "sync"], user=USER)

    for host in (malphas, griefling):
        assert host.read(BASHRC) == RESULTS[take]
        assert all(in_the_log(host, edit) for edit in edits), host.name
        assert host.run(["gitopsctl", "dotfiles", "conflicts"], user=USER).stdout == "nothing is parked\n"
        (person,) = json.loads(host.run(["gitopsctl", "dotfiles", "status", "--json"], user=USER).stdout)
        assert (person["word"], person["parked"], person["elsewhere"]) == ("success", [], [])
    assert set(scene.forge.branches("dotfiles")) == {"main"}


def test_conflicts_are_private_and_settled_by_the_person_or_root(lab: Lab) -> None:
    scene = set_up(lab, "malphas", "griefling")
    malphas, griefling = scene.hosts["malphas"], scene.hosts["griefling"]
    malphas.sh(f"sed -i 's/ls -l/ls -la/' {BASHRC}", user=USER)
    griefling.sh(f"sed -i 's/ls -l/secret-project/' {BASHRC}", user=USER)
    for host in (malphas, griefling):
        host.run(["gitopsctl", "sync"], user=USER)

    for words in (["conflicts", "rain"], ["resolve", ".bashrc", "--take", "ours", "--user", "rain"]):
        refused = malphas.run(["gitopsctl", "dotfiles", *words], user="olga", check=False)
        assert refused.returncode == 4
        assert "secret-project" not in refused.stdout + refused.stderr
    assert "secret-project" not in malphas.run(["gitopsctl", "status", "--json"], user="olga").stdout

    unclear = malphas.run(["gitopsctl", "dotfiles", "resolve", ".bashrc", "--take", "ours"], check=False)
    assert (unclear.returncode, "--user NAME" in unclear.stderr) == (2, True)
    assert "secret-project" in malphas.run(["gitopsctl", "dotfiles", "conflicts"]).stdout
    malphas.run(["gitopsctl", "dotfiles", "resolve", ".bashrc", "--take", "ours", "--user", "rain"])
    assert "secret-project" in malphas.read(BASHRC)
    assert malphas.sh(f"stat -c %U {BASHRC} {SOURCE}/.git/refs/gitopsd/memory").stdout.split() == ["rain", "rain"]

    again = malphas.run(["gitopsctl", "dotfiles", "resolve", ".bashrc", "--take", "theirs"], user=USER, check=False)
    assert again.returncode == 1
    assert "nothing was changed" in again.stderr
