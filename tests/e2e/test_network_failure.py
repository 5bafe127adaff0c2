"""Acceptance procedure 3: the network goes away, and comes back."""

import json

import pytest
from e2e.scene import HELLO, USER, set_up
from lab import Lab

pytestmark = pytest.mark.lab


def test_network_failure(lab: Lab) -> None:
    """3. Edit, cut, upgrade: a warning and no failure; reconnect, upgrade: the edit is published."""
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    malphas.run(["gitopsctl", "upgrade"])
    generations, published = malphas.generations(), scene.forge.head("dotfiles")

    malphas.sh("echo 'export EDITOR=nano' >> ~/.bashrc", user=USER)
    malphas.cut_network()
    offline = malphas.run(["gitopsctl", "upgrade"])
    assert offline.returncode == 0
    assert "Warning: Could not fetch (no network?)" in offline.stdout.splitlines()
    assert malphas.failed_units() == []
    (person,) = json.loads(malphas.run(["gitopsctl", "status", "--json"]).stdout)["people"]
    assert (person["word"], person["captured"]) == ("fetch-failed", ["dot_bashrc"])
    assert malphas.generations() == generations
    assert "export EDITOR=nano" in malphas.read("/home/rain/.bashrc")
    assert scene.forge.head("dotfiles") == published

    refused = malphas.run(["gitopsctl", "dotfiles", "resolve", ".bashrc", "--take", "ours"], user=USER, check=False)
    assert refused.returncode == 1
    assert "nothing was changed" in refused.stderr
    assert "cannot be reached" in malphas.run(["gitopsctl", "dotfiles", "conflicts"], user=USER).stdout

    malphas.restore_network()
    scene.push_config("say hello", hello_service=HELLO.format(word="three"))
    online = malphas.run(["gitopsctl", "upgrade"])
    lines = online.stdout.splitlines()
    assert "Warning: Could not fetch (no network?)" not in lines
    assert "Successfully pushed changes" in lines
    assert "export EDITOR=nano" in scene.forge.show("dotfiles", "dot_bashrc")
    assert malphas.active_state("hello.service") == "active"
    (person,) = json.loads(malphas.run(["gitopsctl", "status", "--json"]).stdout)["people"]
    assert (person["word"], person["published"]) == ("success", True)
