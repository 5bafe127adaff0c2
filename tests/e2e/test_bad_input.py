"""Bad input gets a clear error, and loses nothing."""

import pytest
from e2e.scene import HELLO, USER, set_up
from lab import Host, Lab

pytestmark = pytest.mark.lab

EDIT = "export EDITOR=nano"

NO_SYSTEM = """{
  outputs = { self }: {
    nixosConfigurations.malphas.config.system.build.toplevel = derivation {
      name = "not-a-system";
      system = "x86_64-linux";
      builder = "/bin/sh";
      args = [ "-c" "/bin/mkdir $out" ];
    };
  };
}
"""


def unchanged(host: Host, system: str) -> None:
    assert host.current_system() == host.boot_default() == system
    assert EDIT in host.read("/home/rain/.bashrc")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("this is no toml", "is not TOML"),
        ('hots = "x"\n[verify]\nsoak = "long"\n', "has 2 faults"),
    ],
)
def test_a_broken_configuration_is_told_whole_and_not_tried_for_ever(lab: Lab, text: str, said: str) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    system = malphas.current_system()
    malphas.sh(f"echo '{EDIT}' >> ~/.bashrc", user=USER)
    malphas.sh("rm /etc/gitopsd/config.toml")
    malphas.write("/etc/gitopsd/config.toml", text)
    malphas.run(["systemctl", "restart", "gitopsd.service"], check=False)
    malphas.until(lambda: malphas.active_state("gitopsd.service") == "failed", what="gitopsd to give up")
    told = malphas.journal("gitopsd.service")
    assert said in told
    assert "gitopsctl config check" in told
    assert told.count(said) == 1
    checked = malphas.run(["gitopsctl", "config", "check"], check=False)
    assert checked.returncode == 2
    assert said in checked.stderr
    unchanged(malphas, system)


def test_a_repository_that_cannot_be_reached_is_offline_and_the_edit_is_published_later(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    system = malphas.current_system()
    malphas.sh(f"echo '{EDIT}' >> ~/.bashrc", user=USER)
    malphas.cut_network()
    offline = malphas.run(["gitopsctl", "upgrade"])
    assert "Warning: Could not fetch (no network?)" in offline.stdout
    assert "Successfully pushed changes" not in offline.stdout
    assert malphas.failed_units() == []
    assert "fetch-failed" in malphas.run(["gitopsctl", "status"]).stdout
    unchanged(malphas, system)
    malphas.restore_network()
    assert "Successfully pushed changes" in malphas.run(["gitopsctl", "upgrade"]).stdout
    assert EDIT in scene.forge.show("dotfiles", "dot_bashrc")


def test_a_repository_that_does_not_exist_is_a_failure_that_names_it(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    scene.forge.sh("mv /srv/git/nix-config.git /srv/git/gone.git")
    asked = malphas.run(["gitopsctl", "upgrade"], check=False)
    assert "nix-config" in asked.stdout + asked.stderr
    scene.forge.sh("mv /srv/git/gone.git /srv/git/nix-config.git")
    scene.forge.git("nix-config", "branch", "-m", "main", "trunk")
    asked = malphas.run(["gitopsctl", "upgrade"], check=False)
    assert asked.returncode == 1
    assert "has no branch 'main'" in asked.stdout


@pytest.mark.parametrize(("tool", "half"), [("nix", "system"), ("chezmoi", "dotfiles"), ("jj", "dotfiles")])
def test_a_missing_tool_is_named_and_the_other_half_goes_on(lab: Lab, tool: str, half: str) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    system = malphas.current_system()
    malphas.sh(f"echo '{EDIT}' >> ~/.bashrc", user=USER)
    scene.push_config("say hello", hello_service=HELLO.format(word=tool))
    malphas.sh(f"mv /usr/bin/{tool} /usr/bin/{tool}.gone")
    asked = malphas.run(["gitopsctl", "upgrade"], check=False)
    assert asked.returncode == 1
    status = malphas.run(["gitopsctl", "status"]).stdout
    assert f"`{tool}` is not on the daemon's PATH" in asked.stdout + status
    assert EDIT in malphas.read("/home/rain/.bashrc")
    if half == "system":
        assert malphas.current_system() == system
        assert EDIT in scene.forge.show("dotfiles", "dot_bashrc")
    else:
        assert malphas.active_state("hello.service") == "active"
    malphas.sh(f"mv /usr/bin/{tool}.gone /usr/bin/{tool}")
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0
    assert EDIT in scene.forge.show("dotfiles", "dot_bashrc")
    assert malphas.active_state("hello.service") == "active"


def test_a_toplevel_that_is_no_nixos_system_is_refused_before_anything_changes(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    system, generations = malphas.current_system(), malphas.generations()
    scene.forge.push_change("nix-config", {"flake.nix": NO_SYSTEM}, "no system")
    asked = malphas.run(["gitopsctl", "upgrade"], check=False)
    assert asked.returncode == 1
    assert "=== Build Validation FAILED ===" in asked.stdout
    assert "has no nixos-version" in asked.stdout
    assert malphas.current_system() == malphas.boot_default() == system
    assert malphas.generations() == generations


def test_a_unit_to_validate_that_does_not_exist_is_refused(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    config = malphas.read("/etc/gitopsd/config.toml").replace('"sshd.service"', '"sshd.service", "nope.service"')
    malphas.sh("rm /etc/gitopsd/config.toml")
    malphas.write("/etc/gitopsd/config.toml", config)
    malphas.run(["systemctl", "reload", "gitopsd.service"])
    scene.push_config("say hello", hello_service=HELLO.format(word="nope"))
    asked = malphas.run(["gitopsctl", "upgrade"], check=False)
    assert asked.returncode == 1
    assert "nope.service" in asked.stdout


def test_a_second_daemon_on_the_same_state_directory_ends_and_disturbs_nobody(lab: Lab) -> None:
    malphas = set_up(lab, "malphas", dotfiles=False).hosts["malphas"]
    pid = malphas.run(["systemctl", "show", "-P", "MainPID", "gitopsd.service"]).stdout
    second = malphas.run(["gitopsd", "--socket", "/run/second.sock"], check=False)
    assert second.returncode == 1
    assert "another gitopsd uses the state directory /var/lib/gitopsd" in second.stderr
    assert not malphas.exists("/run/second.sock")
    assert malphas.run(["systemctl", "show", "-P", "MainPID", "gitopsd.service"]).stdout == pid
    assert malphas.run(["gitopsctl", "status"]).returncode == 0


def test_a_damaged_state_file_is_kept_aside_and_the_daemon_starts(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    malphas.run(["gitopsctl", "upgrade"])
    malphas.run(["systemctl", "stop", "gitopsd.service"])
    malphas.sh("echo garbage > /var/lib/gitopsd/state.db; rm -f /var/lib/gitopsd/state.db-*")
    assert "idle" in malphas.run(["gitopsctl", "status"]).stdout
    assert malphas.read("/var/lib/gitopsd/state.db.damaged-1") == "garbage\n"
    assert "state file damaged" in malphas.journal("gitopsd.service")
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0
    assert "deployed: " in malphas.run(["gitopsctl", "status"]).stdout
