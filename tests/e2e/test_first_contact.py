"""A host that has never seen the person's repository, and a home that has files already."""

import json

import pytest
from e2e.scene import SOURCE, USER, set_up
from lab import Lab

pytestmark = pytest.mark.lab

BASHRC = "/home/rain/.bashrc"


def test_a_fresh_host_needs_one_command_and_overwrites_nothing(lab: Lab) -> None:
    scene = set_up(lab, "malphas", "griefling", dotfiles=False)
    malphas, griefling = scene.hosts["malphas"], scene.hosts["griefling"]
    malphas.sh("echo mine > ~/.bashrc; rm -rf ~/.local/share/chezmoi", user=USER)
    assert malphas.run(["gitopsctl", "sync"], user=USER, check=False).returncode == 1
    assert "gitopsctl dotfiles init" in malphas.run(["gitopsctl", "status"], user=USER).stdout

    # The first host has the files, the remote has nothing.
    malphas.run(["gitopsctl", "dotfiles", "init"], user=USER)
    malphas.run(["gitopsctl", "dotfiles", "adopt", "--mine", BASHRC], user=USER)
    assert scene.forge.show("dotfiles", "dot_bashrc") == "mine\n"

    # The second host has other files. Root may do it for the person, as the person.
    griefling.sh("echo other > ~/.bashrc", user=USER)
    begun = griefling.run(["gitopsctl", "dotfiles", "init", "rain"])
    assert f"{SOURCE} is on the trunk now" in begun.stdout
    assert "gitopsctl dotfiles adopt --mine ~/.bashrc" in begun.stdout
    assert griefling.read(BASHRC) == "other\n"
    assert ".bashrc was there before" in griefling.run(["gitopsctl", "status"], user=USER).stdout
    adopted = griefling.run(["gitopsctl", "dotfiles", "adopt", "--theirs", BASHRC, "--json"], user=USER)
    (file,) = json.loads(adopted.stdout.splitlines()[0])["adopted"]
    assert griefling.read(file["backup"]) == "other\n"
    assert griefling.read(BASHRC) == "mine\n"
    assert file["backup"] in griefling.run(["gitopsctl", "dotfiles", "status"], user=USER).stdout
    strangers = griefling.sh("find /home/rain -not -user rain").stdout
    assert strangers == ""

    griefling.sh("echo more >> ~/.bashrc", user=USER)
    griefling.run(["gitopsctl", "sync"], user=USER)
    malphas.run(["gitopsctl", "sync"], user=USER)
    assert malphas.read(BASHRC) == "mine\nmore\n"
    (person,) = json.loads(malphas.run(["gitopsctl", "dotfiles", "status", "--json", "rain"]).stdout)
    assert (person["word"], person["notices"]) == ("success", [])
