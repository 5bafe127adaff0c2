"""The acceptance procedures that people have as typed-by-hand test plans (2 and 4 of five)."""

import pytest
from e2e.scene import BROKEN_SSHD, HELLO, USER, set_up
from lab import Lab

pytestmark = pytest.mark.lab

SYNTAX_ERROR = "{ this is not nix"


def test_build_validation(lab: Lab) -> None:
    """2. A syntax error is pushed; the upgrade refuses it; a revert deploys again."""
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    malphas.run(["gitopsctl", "upgrade"])
    before = malphas.generations()

    scene.forge.push_change("nix-config", {"hosts/malphas.nix": SYNTAX_ERROR}, "break it")
    refused = malphas.run(["gitopsctl", "upgrade"], check=False)
    assert refused.returncode == 1
    lines = refused.stdout.splitlines()
    assert lines.index("=== Validating NixOS Build ===") < lines.index("=== Build Validation FAILED ===")
    assert lines.index("=== Build Validation FAILED ===") < lines.index("Deployment aborted")
    assert "syntax error" in refused.stdout
    assert malphas.generations() == before
    assert malphas.current_system() == malphas.boot_default() == before[1]
    assert malphas.failed_units() == []

    again = malphas.run(["gitopsctl", "upgrade"], check=False)
    assert again.returncode == 1
    assert "Validating" not in again.stdout  # remembered, not built again
    assert "is rejected since cycle" in again.stdout

    scene.forge.revert("nix-config")
    scene.forge.push_change("nix-config", {"hosts/malphas/units/hello.service": HELLO.format(word="two")}, "hello")
    fixed = malphas.run(["gitopsctl", "upgrade"])
    assert "=== Build Validation PASSED ===" in fixed.stdout
    assert "=== Deployment Successful ===" in fixed.stdout
    assert len(malphas.generations()) == len(before) + 1
    assert malphas.active_state("hello.service") == "active"


def test_golden_path(lab: Lab) -> None:
    """4. Dotfile and config edits on malphas travel through every state in order and arrive on griefling."""
    scene = set_up(lab, "malphas", "griefling")
    malphas, griefling = scene.hosts["malphas"], scene.hosts["griefling"]
    malphas.sh("echo 'export EDITOR=nano' >> ~/.bashrc", user=USER)
    revision = scene.push_config("say hello", hello_service=HELLO.format(word="four"))

    followed = malphas.run(["gitopsctl", "upgrade", "--json"]).stdout
    states = malphas.run(
        ["python3", "-c", "import json,sys\nfor line in sys.stdin: print(json.loads(line).get('state'))"],
        input=followed,
    ).stdout.split()
    assert list(dict.fromkeys(states)) == ["fetch", "capture", "push", "pull", "build", "switch", "verify", "idle"]

    assert "export EDITOR=nano" in scene.forge.show("dotfiles", "dot_bashrc")
    message = scene.forge.git("dotfiles", "log", "-1", "--format=%s", "main", "--", "dot_bashrc")
    assert message.startswith("chore(malphas): auto-update 20")
    assert malphas.active_state("hello.service") == "active"

    assert "=== Deployment Successful ===" in griefling.run(["gitopsctl", "upgrade"]).stdout
    assert "export EDITOR=nano" in griefling.read("/home/rain/.bashrc")
    assert griefling.active_state("hello.service") == "active"

    for host in (malphas, griefling):
        assert host.current_system() == host.boot_default()
        host.reboot()
        assert host.booted_system() == host.boot_default()
        status = host.run(["gitopsctl", "status"]).stdout
        assert revision[:12] in status
        assert host.active_state("hello.service") == "active"


def test_a_configuration_that_breaks_sshd_is_rolled_back_at_once(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    malphas.run(["gitopsctl", "upgrade"])
    before, generations = malphas.current_system(), malphas.generations()

    revision = scene.push_config("break sshd", sshd_service=BROKEN_SSHD)
    bad = malphas.run(["gitopsctl", "upgrade"], check=False)
    assert bad.returncode == 1
    assert "sshd.service" in bad.stdout
    assert malphas.current_system() == malphas.boot_default() == before
    assert malphas.generations() == generations
    assert malphas.active_state("sshd.service") == "active"
    assert malphas.failed_units() == []
    assert f"rejected: {revision[:12]}" in malphas.run(["gitopsctl", "status"]).stdout

    malphas.reboot()
    assert malphas.booted_system() == before
    assert "is rejected since cycle" in malphas.run(["gitopsctl", "upgrade"], check=False).stdout

    scene.forge.revert("nix-config")
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0
