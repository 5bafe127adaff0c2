"""Where a configuration comes from: whose commits, which branch, and what becomes of a person's checkout."""

import dataclasses
import json
from typing import Any

import pytest
from e2e.scene import HELLO, USER, Scene, set_up
from lab import Host, Lab

pytestmark = pytest.mark.lab

CHECKOUT = "/home/rain/nix-config"
SIGNED = """
[config.signatures]
ssh_allowed_signers = "/var/lib/allowed_signers"
"""


def status(host: Host) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(host.run(["gitopsctl", "status", "--json"]).stdout)
    return answer


def clone(host: Host) -> None:
    """A person's checkout of the configuration, with which they sign what they commit."""
    host.sh(
        f"git clone --quiet git@forge:nix-config.git {CHECKOUT} && cd {CHECKOUT}"
        " && git config user.name Rain && git config user.email rain@example.org"
        " && git config gpg.format ssh && git config user.signingkey ~/.ssh/id_ed25519.pub",
        user=USER,
    )


def commit(host: Host, message: str, word: str, *, sign: bool) -> str:
    """Commit a unit that says a word, and push; returns the revision."""
    host.write(f"{CHECKOUT}/hosts/malphas/units/hello.service", HELLO.format(word=word), owner=USER)
    option = "--gpg-sign" if sign else "--no-gpg-sign"
    host.sh(f"cd {CHECKOUT} && git add -A && git commit --quiet {option} -m '{message}' && git push --quiet", user=USER)
    return host.sh(f"git -C {CHECKOUT} rev-parse HEAD", user=USER).stdout.strip()


def hello(host: Host) -> str:
    return host.sh("systemctl show -P ExecStart hello.service").stdout


def configure(scene: Scene, host: Host, old: str, new: str) -> None:
    """Change the host's configuration file, and what the repository says it is."""
    spec = scene.specs[host.name]
    text = (spec.gitopsd_config or "").replace(old, new)
    assert text != spec.gitopsd_config
    scene.specs[host.name] = dataclasses.replace(spec, gitopsd_config=text)
    host.sh("rm /etc/gitopsd/config.toml")
    host.write("/etc/gitopsd/config.toml", text)
    host.run(["systemctl", "reload", "gitopsd.service"])
    assert status(host)["config_error"] == ""


def set_up_signed(lab: Lab) -> tuple[Scene, Host]:
    scene = set_up(lab, "malphas", more=SIGNED)
    malphas = scene.hosts["malphas"]
    key = malphas.read("/home/rain/.ssh/id_ed25519.pub")
    malphas.write("/var/lib/allowed_signers", f'rain@example.org namespaces="git" {key}')
    clone(malphas)
    return scene, malphas


def test_an_unsigned_commit_between_two_signed_ones_is_never_deployed(lab: Lab) -> None:
    _, malphas = set_up_signed(lab)
    commit(malphas, "one", "one", sign=True)
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0
    assert "hello one" in hello(malphas)

    commit(malphas, "two", "two", sign=True)
    unsigned = commit(malphas, "three", "three", sign=False)
    commit(malphas, "four", "four", sign=True)
    refused = malphas.run(["gitopsctl", "upgrade"], check=False)
    assert refused.returncode == 1
    assert f"{unsigned[:12]} (three, by Rain): it is not signed" in refused.stdout
    assert "git rebase --rebase-merges --exec" in refused.stdout
    assert "=== Validating NixOS Build ===" not in refused.stdout
    assert status(malphas)["last_upgrade"]["outcome"] == "unsigned"
    assert "hello one" in hello(malphas)
    again = malphas.run(["gitopsctl", "upgrade"], check=False)
    assert again.returncode == 1
    assert status(malphas)["last_upgrade"]["outcome"] == "rejected"

    # What the message says to type.
    before = malphas.sh("git --git-dir=/var/lib/gitopsd/config.git rev-parse refs/gitopsd/deployed").stdout.strip()
    malphas.sh(
        f"cd {CHECKOUT} && git rebase --quiet --rebase-merges --exec 'git commit --quiet --amend --no-edit -S' {before}"
        " && git push --quiet --force-with-lease",
        user=USER,
    )
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0
    assert "hello four" in hello(malphas)


def test_a_host_that_has_lost_its_list_of_signers_deploys_nothing_and_rejects_nothing(lab: Lab) -> None:
    _, malphas = set_up_signed(lab)
    commit(malphas, "one", "one", sign=True)
    malphas.run(["mv", "/var/lib/allowed_signers", "/var/lib/away"])
    closed = malphas.run(["gitopsctl", "upgrade"], check=False)
    assert closed.returncode == 1
    assert "cannot read /var/lib/allowed_signers" in closed.stdout + closed.stderr
    assert status(malphas)["rejected"] == []
    malphas.run(["mv", "/var/lib/away", "/var/lib/allowed_signers"])
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0
    assert "hello one" in hello(malphas)


def test_a_testing_branch_runs_until_the_next_reboot_and_the_trunk_comes_back(lab: Lab) -> None:
    scene = set_up(lab, "malphas", "griefling")
    malphas, griefling = scene.hosts["malphas"], scene.hosts["griefling"]
    scene.push_config("trunk", hello_service=HELLO.format(word="trunk"))
    for host in (malphas, griefling):
        host.run(["gitopsctl", "upgrade"])
    default, generations = malphas.boot_default(), malphas.generations()

    def push_test(word: str, onto: str) -> None:
        scene.forge.rewrite("nix-config", onto, branch="testing-malphas")
        files = {"hosts/malphas/units/hello.service": HELLO.format(word=word)}
        scene.forge.push_change("nix-config", files, f"test {word}", branch="testing-malphas")

    trunk = scene.forge.head("nix-config")
    push_test("first", trunk)
    for host in (malphas, griefling):
        host.run(["gitopsctl", "upgrade"])
    assert "hello first" in hello(malphas)
    assert "hello trunk" in hello(griefling)
    assert (malphas.boot_default(), malphas.generations()) == (default, generations)
    shown = status(malphas)
    assert shown["trial"]["revision"] == scene.forge.head("nix-config", "testing-malphas")
    assert shown["deployed"]["revision"] == trunk
    assert not shown["system"]["drift"]
    assert "testing: " in malphas.run(["gitopsctl", "status"]).stdout

    push_test("second", trunk)  # a forced push
    malphas.run(["gitopsctl", "upgrade"])
    assert "hello second" in hello(malphas)

    malphas.reboot()
    assert "hello trunk" in hello(malphas)
    assert "ended with the reboot" in malphas.run(["gitopsctl", "upgrade"]).stdout
    assert "hello trunk" in hello(malphas)

    push_test("third", trunk)
    malphas.run(["gitopsctl", "upgrade"])
    assert "hello third" in hello(malphas)
    scene.forge.git("nix-config", "update-ref", "-d", "refs/heads/testing-malphas")
    malphas.run(["gitopsctl", "upgrade"])
    assert "hello trunk" in hello(malphas)
    assert malphas.current_system() == malphas.boot_default() == default

    push_test("fourth", trunk)
    malphas.run(["gitopsctl", "upgrade"])
    scene.forge.rewrite("nix-config", scene.forge.head("nix-config", "testing-malphas"))
    for host in (malphas, griefling):
        host.run(["gitopsctl", "upgrade"])
    assert "hello fourth" in hello(malphas)
    assert malphas.current_system() == malphas.boot_default() != default
    assert status(malphas)["trial"] is None


REPO = 'repo_url = "git@forge:nix-config.git"'


def test_a_key_of_its_own_is_the_only_one_that_is_shown_and_unknown_hosts_are_refused(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    malphas.sh("install -d -m 700 /var/lib/keys && mv /root/.ssh/id_ed25519 /var/lib/keys/deploy")
    scene.push_config("one", hello_service=HELLO.format(word="one"))
    refused = malphas.run(["gitopsctl", "upgrade"], check=False)
    assert refused.returncode == 1
    assert "Permission denied" in refused.stdout + refused.stderr

    configure(scene, malphas, REPO, f'{REPO}\nssh_key = "/var/lib/keys/deploy"')
    scene.push_config("two", hello_service=HELLO.format(word="two"))
    malphas.run(["gitopsctl", "upgrade"])
    assert "hello two" in hello(malphas)

    # rain's own key would do, and is not tried instead of one that is not there.
    dotfiles = 'repo_url = "git@forge:dotfiles.git"'
    configure(scene, malphas, dotfiles, f'{dotfiles}\nssh_key = "/home/rain/.ssh/not-there"')
    malphas.run(["gitopsctl", "sync"])
    (rain,) = status(malphas)["people"]
    assert (rain["word"], "Permission denied" in rain["notices"][0]["what"]) == ("fetch-failed", True)
    configure(scene, malphas, "not-there", "id_ed25519")
    malphas.run(["gitopsctl", "sync"])
    assert status(malphas)["people"][0]["word"] == "success"

    malphas.sh("mv /etc/ssh/ssh_known_hosts /etc/ssh/away && rm -f ~/.ssh/known_hosts")
    malphas.write("/root/.ssh/config", "StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\n")
    unknown = malphas.run(["gitopsctl", "upgrade"], check=False)
    assert unknown.returncode == 1
    assert "host key is known for forge" in unknown.stdout + unknown.stderr


def test_a_checkout_follows_as_its_owner_and_its_planted_hooks_never_run(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    clone(malphas)
    malphas.sh(
        f"cd {CHECKOUT} && rm -r .git/hooks && mkdir .git/hooks"
        " && for hook in post-merge post-checkout reference-transaction post-index-change pre-push fsmonitor; do"
        " printf '#!/bin/sh\\nid -un >>/tmp/planted\\n' >.git/hooks/$hook && chmod +x .git/hooks/$hook; done"
        " && git config core.fsmonitor .git/hooks/fsmonitor && git config core.sshCommand 'id -un >>/tmp/planted; ssh'"
        " && rm -f /tmp/planted",
        user=USER,
    )
    configure(scene, malphas, REPO, f'{REPO}\ncheckout = "{CHECKOUT}"')
    pushed = scene.push_config("one", hello_service=HELLO.format(word="one"))
    malphas.run(["gitopsctl", "upgrade"])
    assert "hello one" in hello(malphas)
    assert malphas.sh(f"git -C {CHECKOUT} -c core.fsmonitor=false rev-parse HEAD", user=USER).stdout.strip() == pushed
    assert not malphas.exists("/tmp/planted")
    assert malphas.sh(f"find {CHECKOUT} ! -user {USER}").stdout == ""

    malphas.write(f"{CHECKOUT}/flake.nix", "mine\n", owner=USER)
    scene.push_config("two", hello_service=HELLO.format(word="two"))
    malphas.run(["gitopsctl", "upgrade"])
    assert "hello two" in hello(malphas)
    assert malphas.read(f"{CHECKOUT}/flake.nix") == "mine\n"
    assert "has changes that are not committed: it is left as it is" in malphas.run(["gitopsctl", "status"]).stdout
    assert not malphas.exists("/tmp/planted")


def test_what_is_edited_in_a_checkout_is_published_and_deployed_in_the_same_upgrade(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    clone(malphas)
    configure(scene, malphas, REPO, f'{REPO}\ncheckout = "{CHECKOUT}"\ncommit_local = true')
    scene.push_config("theirs")
    malphas.write(f"{CHECKOUT}/hosts/malphas/units/hello.service", HELLO.format(word="edited"), owner=USER)
    upgraded = malphas.run(["gitopsctl", "upgrade"])
    assert "Config changes pushed successfully" in upgraded.stdout
    assert "hello edited" in hello(malphas)
    log = scene.forge.git("nix-config", "log", "-2", "--format=%s", "main").splitlines()
    assert log[0].startswith("chore(malphas): auto-update 20")
    assert log[1] == "theirs"
    assert malphas.sh(f"git -C {CHECKOUT} status --porcelain --branch", user=USER).stdout == "## main...origin/main\n"
    assert malphas.sh(f"find {CHECKOUT} ! -user {USER}").stdout == ""
    again = malphas.run(["gitopsctl", "upgrade"])
    assert "Config changes pushed successfully" not in again.stdout
    assert "is deployed already" in again.stdout

    # The inputs of its flake, refreshed by the real nix, as the person, who needs the nix daemon for that.
    scene.forge.create_repo("notes")
    first = scene.forge.push_tree("notes", {"note": "one\n"}, "one")
    given = 'inputs.notes = { url = "git+ssh://git@forge/srv/git/notes.git"; flake = false; };\n\n  outputs ='
    flake = (
        scene.forge.show("nix-config", "flake.nix").replace("outputs =", given).replace("{ self }", "{ self, notes }")
    )
    scene.forge.push_change("nix-config", {"flake.nix": flake}, "an input")
    malphas.run(["gitopsctl", "upgrade"])
    configure(scene, malphas, "commit_local = true", "commit_local = true\nupdate_inputs = true")
    assert "Config changes pushed successfully" in malphas.run(["gitopsctl", "upgrade"], timeout=120).stdout
    assert locked(scene) == first
    subject = scene.forge.git("nix-config", "log", "-1", "--format=%s", "main")
    assert subject.startswith("chore(malphas): update flake inputs 20")
    second = scene.forge.push_tree("notes", {"note": "two\n"}, "two")
    malphas.run(["gitopsctl", "upgrade"], timeout=120)
    assert locked(scene) == second
    assert status(malphas)["deployed"]["revision"] == scene.forge.head("nix-config")
    head = scene.forge.head("nix-config")
    malphas.run(["gitopsctl", "upgrade"], timeout=120)
    assert scene.forge.head("nix-config") == head
    assert malphas.sh(f"find {CHECKOUT} ! -user {USER}").stdout == ""


def locked(scene: Scene) -> str:
    """The revision of the input that is in use."""
    lock = json.loads(scene.forge.show("nix-config", "flake.lock"))
    return str(lock["nodes"]["notes"]["locked"]["rev"])
