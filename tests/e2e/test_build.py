"""Nothing bad is deployed: what is found out before anything on the machine changes."""

import json

import pytest
from e2e.scene import HELLO, Scene, set_up
from e2e.upgrading import deploys, ended, one, reconfigure, refused, rejected, roots, verdicts
from lab import Host, Lab

pytestmark = pytest.mark.lab


def test_every_check_is_named_in_the_record_with_the_closure_and_what_would_be_done(lab: Lab) -> None:
    scene, malphas = one(lab)
    scene.push_config("say hello", hello_service=HELLO.format(word="checks"))
    deploys(malphas)
    detail = ended(malphas)
    assert verdicts(detail) == {
        "has room in the store": "passed",
        "was evaluated without root's rights": "passed",
        "is a NixOS system": "passed",
        "is for this host": "passed",
        "has the units to validate": "passed",
        "has room on /boot": "passed",
        "may be switched to": "passed",
        "closure compared": "passed",
        "dry-activate": "passed",
    }
    review = detail["facts"]["review"]
    assert "would activate the configuration" in review["activation"]
    assert "\x1b" not in review["closure"]
    shown = malphas.run(["gitopsctl", "show", str(detail["summary"]["id"])]).stdout
    assert "passed is for this host: malphas" in shown
    assert "would activate the configuration" in shown


def test_what_builds_and_lacks_a_unit_that_verify_asks_for_is_rejected(lab: Lab) -> None:
    scene, malphas = one(lab, more="")
    scene.forge.push_change(
        "nix-config",
        {"hosts/malphas.nix": scene.files()["hosts/malphas.nix"].replace("./malphas/units", "./malphas/none"),
         "hosts/malphas/none/other.service": HELLO.format(word="other")},
        "sshd is gone",
    )  # fmt: skip
    detail = refused(malphas, outcome="check-failed")
    assert verdicts(detail)["has the units to validate"] == "failed"
    assert "sshd.service" in detail["summary"]["message"]
    assert "verify.validate_units" in detail["summary"]["message"]
    assert len(rejected(malphas)) == 1


def test_the_system_of_another_host_is_rejected(lab: Lab) -> None:
    scene, malphas = one(lab)
    text = scene.files()["hosts/malphas.nix"]
    scene.forge.push_change(
        "nix-config", {"hosts/malphas.nix": text.replace('"malphas"', '"griefling"', 1)}, "mixed up"
    )
    detail = refused(malphas, outcome="check-failed")
    assert "it is the system of griefling, and this host is malphas" in detail["summary"]["message"]
    assert "networking.hostName" in detail["summary"]["message"]


def test_what_is_no_nixos_system_is_rejected(lab: Lab) -> None:
    scene, malphas = one(lab)
    text = scene.files()["hosts/malphas.nix"].rstrip()[:-1]
    scene.forge.push_change("nix-config", {"hosts/malphas.nix": text + 'buildScript = "rm $out/nixos-version";}'}, "no")
    detail = refused(malphas, outcome="check-failed")
    assert verdicts(detail) == {
        "has room in the store": "passed",
        "was evaluated without root's rights": "passed",
        "is a NixOS system": "failed",
    }
    assert 'nixosConfigurations."malphas"' in detail["summary"]["message"]


def test_a_validation_check_sees_the_toplevel_and_one_that_fails_rejects_it(lab: Lab) -> None:
    checks = ["test -e $TOPLEVEL/etc/systemd/system/hello.service", "grep -q malphas $TOPLEVEL/etc/hostname"]
    scene, malphas = one(lab)
    reconfigure(malphas, f"validation_checks = {json.dumps(checks)}")
    scene.push_config("something else", other_service=HELLO.format(word="other"))
    detail = refused(malphas, outcome="check-failed")
    assert verdicts(detail)[f"validation check `{checks[0]}`"] == "failed"
    assert verdicts(detail)[f"validation check `{checks[1]}`"] == "passed"
    assert "exit status 1" in detail["summary"]["message"]
    scene.push_config("say hello", hello_service=HELLO.format(word="validated"))
    deploys(malphas)


def test_a_validation_check_that_does_not_end_is_ended(lab: Lab) -> None:
    scene, malphas = one(lab)
    reconfigure(malphas, "validation_checks = ['sleep 1000']\nvalidation_timeout = '1s'")
    scene.push_config("say hello", hello_service=HELLO.format(word="hangs"))
    detail = refused(malphas, outcome="check-failed")
    assert "did not end within 1 s" in detail["summary"]["message"]
    assert malphas.run(["pgrep", "-f", "sleep 1000"], check=False).stdout == ""


def test_a_switch_that_nixos_does_not_do_in_a_running_system_is_refused_before_it_is_tried(lab: Lab) -> None:
    scene, malphas = one(lab)
    text = scene.files()["hosts/malphas.nix"].rstrip()[:-1]
    with_inhibitor = text + 'switchInhibitors = { dbus = "VERSION"; };}'
    scene.forge.push_change("nix-config", {"hosts/malphas.nix": with_inhibitor.replace("VERSION", "1")}, "dbus 1")
    deploys(malphas)
    scene.forge.push_change("nix-config", {"hosts/malphas.nix": with_inhibitor.replace("VERSION", "2")}, "dbus 2")
    detail = refused(malphas, outcome="check-failed")
    assert detail["facts"]["review"]["inhibitors"] == ["dbus"]
    assert 'mode = "boot"' in detail["summary"]["message"]


def everything(scene: Scene, host: Host) -> str:
    """What a dry run must not touch: homes, what is deployed and boots, units, the forge, and what is remembered."""
    looked = host.sh(
        "find /home /etc /boot /nix/var/nix/profiles -xdev ! -type d -printf '%p %l %T@ %s\\n' | sort;"
        "readlink /run/current-system; systemctl list-units --plain --no-legend --type=service,socket,timer | sort;"
        "systemctl show --property=MainPID gitopsd.service sshd.service; ls /var/lib/gitopsd/roots"
    ).stdout
    status = json.loads(host.run(["gitopsctl", "status", "--json"]).stdout)
    kept = {key: status[key] for key in ("deployed", "rejected", "blocked", "people", "last_upgrade", "last_sync")}
    forge = [scene.forge.git(repo, "for-each-ref") for repo in ("nix-config", "dotfiles")]
    return "\n".join([looked, json.dumps(kept), *forge])


def test_a_dry_run_shows_the_plan_and_leaves_machine_home_and_remote_as_they_were(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    malphas.run(["gitopsctl", "upgrade"])
    scene.push_config("say hello", hello_service=HELLO.format(word="wet"))
    malphas.run(["gitopsctl", "upgrade"])
    revision = scene.push_config("say another", hello_service=HELLO.format(word="dry"))
    malphas.sh("echo 'edited, and not captured' >> ~/.bashrc", user="rain")
    before = everything(scene, malphas)
    said = malphas.run(["gitopsctl", "upgrade", "--dry-run"], timeout=120).stdout
    assert f"would deploy {revision[:12]} (say another)" in said
    assert "would start the following units: hello.service" in said
    assert "reboot: not needed" in said
    assert "nothing was changed" in said
    assert everything(scene, malphas) == before
    deploys(malphas)
    assert "hello dry" in malphas.journal("hello.service")
    assert "edited, and not captured" in scene.forge.show("dotfiles", "dot_bashrc")


def test_a_dry_run_of_what_does_not_build_says_why_and_rejects_nothing(lab: Lab) -> None:
    scene, malphas = one(lab)
    scene.forge.push_change("nix-config", {"hosts/malphas.nix": "{ this is not nix"}, "break it")
    said = malphas.run(["gitopsctl", "upgrade", "--dry-run"], check=False, timeout=120)
    assert said.returncode == 1
    assert "syntax error" in said.stdout
    assert "this was a dry run: nothing was changed" in said.stderr
    assert rejected(malphas) == []
    assert roots(malphas) == []
