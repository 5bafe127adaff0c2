"""The gate on a whole host, and where a value must not be: looked for while the daemon works, and afterwards."""

import hashlib
import json

import pytest
from e2e.scene import SOURCE, USER, set_up
from lab import Host, Lab
from lab.nixos import HostSpec

pytestmark = pytest.mark.lab

TOKEN = "ghp_" + hashlib.sha256(b"a token that the tests made up").hexdigest()[:36]
PASSWORD = "tr0ub4dor-and-three"  # noqa: S105 - made up
NAME = "ghp_" + hashlib.sha256(b"a name that the tests made up").hexdigest()[:36]
SECRETS = (TOKEN, PASSWORD, NAME)

# Looks at every process again and again until the file is gone; says where it found a value. The values come by stdin.
WATCH = r"""
import pathlib, sys, time
needles = [line.encode() for line in sys.stdin.read().split()]
flag, found = pathlib.Path("/run/watching"), set()
flag.touch()
while flag.exists():
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                raw = (process / name).read_bytes()
            except OSError:
                continue
            if any(needle in raw for needle in needles):
                found.add(name)
    time.sleep(0.001)
print(sorted(found))
"""


def plant(host: Host) -> None:
    """Put secrets into an edited file, into new ones and into the name of one, beside a plain edit."""
    script = (
        "read -r token; read -r password; read -r name;"
        f'echo "nothing in it" > {SOURCE}/dot_$name;'
        'echo "export GITHUB_TOKEN=$token" >> ~/.bashrc;'
        f'echo "smtp_pass = $password" > {SOURCE}/dot_mailrc;'
        f"echo 'umask 077' > {SOURCE}/dot_profile"
    )
    host.run(["sh", "-c", script], user=USER, input="".join(f"{each}\n" for each in SECRETS))


def test_no_value_is_in_a_log_a_status_an_argument_or_on_the_remote(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    malphas.run(["gitopsctl", "sync"], user=USER)
    plant(malphas)
    malphas.write("/run/watch.py", WATCH)
    malphas.write("/run/needles", "\n".join(SECRETS))
    malphas.sh(
        "python3 -I /run/watch.py < /run/needles > /run/watched 2>&1 & until [ -e /run/watching ]; do sleep 0.05; done"
    )
    malphas.sh("gitopsctl watch > /run/events 2>&1 & echo $! > /run/events.pid")
    for _ in range(2):
        said = malphas.run(["gitopsctl", "sync"], user=USER)
        assert not any(secret in said.stdout + said.stderr for secret in SECRETS)
    malphas.sh("rm /run/watching; for i in $(seq 100); do [ -s /run/watched ] && break; sleep 0.1; done")
    assert malphas.read("/run/watched") == "[]\n"

    (person,) = json.loads(malphas.run(["gitopsctl", "dotfiles", "status", "--json"], user=USER).stdout)
    assert {each["path"] for each in person["quarantined"]} == {".bashrc", "dot_mailrc", "dot_***"}
    shown = malphas.run(["gitopsctl", "status"], user=USER).stdout
    assert ".bashrc:" in shown
    assert "secrets allow" in shown
    malphas.sh("kill $(cat /run/events.pid)")
    assert malphas.read("/run/events")
    # A daemon that dies in the middle of it tells what it was doing, and may leave what it had in mind.
    malphas.sh("systemctl kill --signal=SIGABRT gitopsd.service; sleep 1; gitopsctl metrics", check=False)
    malphas.run(["gitopsctl", "sync"], user=USER)
    raw = malphas.sh(
        "gitopsctl status --json; gitopsctl history --json; gitopsctl show --json 2; gitopsctl metrics; cat /run/events;"
        "journalctl -o export"
    ).stdout
    assert "gitopsd_quarantined_files" in raw
    assert not any(secret in raw for secret in SECRETS)
    left = malphas.sh(
        "grep -rlaF -f /run/needles /var/lib /run/gitopsd /var/log /var/crash /var/cache /var/tmp /etc 2>/dev/null || true"
    ).stdout
    assert left == ""

    assert scene.forge.show("dotfiles", "dot_profile") == "umask 077\n"
    command = "git -C /srv/git/dotfiles.git cat-file --batch-all-objects --batch | tr -cd '[:print:]\\n'"
    objects = scene.forge.sh(command, user="git").stdout
    assert not any(secret in objects for secret in SECRETS)
    assert malphas.exists(f"{SOURCE}/dot_{NAME}")
    assert TOKEN in malphas.read("/home/rain/.bashrc")
    assert PASSWORD in malphas.read(f"{SOURCE}/dot_mailrc")


# git-filter-repo that waits until it may begin.
SLOW = """#!/bin/sh
touch /tmp/waits
while [ ! -e /tmp/go ]; do sleep 0.1; done
exec /usr/bin/git-filter-repo "$@"
"""


def test_a_daemon_that_starts_while_the_history_is_rewritten_leaves_it_alone(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    malphas.run(["gitopsctl", "sync"], user=USER)
    by_hand = "git add -A; git commit --quiet -m 'by hand'; git push --quiet origin HEAD:main"
    script = f'cd {SOURCE}; read -r token; echo "export T=$token" > dot_env; {by_hand}; echo "#" > dot_env; {by_hand}'
    malphas.sh(script, user=USER, input=f"{TOKEN}\n")
    malphas.run(["gitopsctl", "sync"], user=USER)
    malphas.write("/opt/slow/git-filter-repo", SLOW, mode=0o755)
    malphas.sh("systemctl stop gitopsd.socket gitopsd.service")
    rewriting = malphas.popen(["sh", "-c", "PATH=/opt/slow:$PATH gitopsctl secrets scrub --rewrite"], user=USER)
    malphas.sh("until [ -e /tmp/waits ]; do sleep 0.05; done")
    malphas.sh("systemctl start gitopsd.socket gitopsd.service")
    assert malphas.run(["gitopsctl", "sync"], user=USER, check=False).returncode != 0
    assert "secrets are taken out of the history" in malphas.run(["gitopsctl", "dotfiles", "status"], user=USER).stdout
    malphas.run(["touch", "/tmp/go"])
    out, err = rewriting.communicate(timeout=120)
    assert rewriting.returncode == 0, err
    raw = malphas.sh(f"git -C {SOURCE} cat-file --batch-all-objects --batch | tr -cd '[:print:]\\n'", user=USER).stdout
    assert TOKEN not in raw
    (step,) = [line for line in out.splitlines() if " push --force-with-lease" in line]
    malphas.sh(step, user=USER)
    malphas.sh(f"echo 'umask 077' > {SOURCE}/dot_profile", user=USER)
    malphas.run(["gitopsctl", "sync"], user=USER)
    assert scene.forge.show("dotfiles", "dot_profile") == "umask 077\n"
    raw = malphas.sh(f"git -C {SOURCE} log -p --all", user=USER).stdout
    assert TOKEN not in raw


# What sops-nix does with the snippet that a migration prints.
DECRYPT = """
umask 077
mkdir -p -m 0755 /run/secrets
SOPS_AGE_KEY_FILE=/var/lib/age.key /usr/local/bin/sops decrypt --extract '["{name}"]' {file} > /run/secrets/{name}
chown rain /run/secrets/{name}
"""


def test_a_literal_goes_to_sops_and_comes_back_to_another_host_with_its_next_system(lab: Lab) -> None:
    scene = set_up(lab, "malphas", "griefling")
    malphas, griefling = scene.hosts["malphas"], scene.hosts["griefling"]
    malphas.sh("age-keygen -o /var/lib/age.key 2>/dev/null; install -Dm600 -o rain /var/lib/age.key /home/rain/key")
    recipient = malphas.sh("age-keygen -y /var/lib/age.key").stdout.strip()
    griefling.write("/var/lib/age.key", malphas.read("/var/lib/age.key"))
    script = (
        f"read -r password; printf 'machine forge login rain password %s\\n' \"$password\" > {SOURCE}/private_dot_netrc"
    )
    malphas.run(["sh", "-c", script], user=USER, input=f"{PASSWORD}\n")
    malphas.sh("chezmoi apply ~/.netrc", user=USER)
    before = malphas.read("/home/rain/.netrc")
    assert PASSWORD in before
    malphas.run(["gitopsctl", "sync"], user=USER)
    (person,) = json.loads(malphas.run(["gitopsctl", "dotfiles", "status", "--json"], user=USER).stdout)
    assert [each["path"] for each in person["quarantined"]] == ["private_dot_netrc"]

    command = f"SOPS_AGE_KEY_FILE=~/key gitopsctl secrets migrate --age {recipient} --json"
    told = json.loads(malphas.sh(command, user=USER).stdout)
    (move,) = told["moves"]
    assert move["rewritten"] == ["private_dot_netrc.tmpl"]
    malphas.run(["gitopsctl", "sync"], user=USER)
    (person,) = json.loads(malphas.run(["gitopsctl", "dotfiles", "status", "--json"], user=USER).stdout)
    assert not person["quarantined"]
    griefling.run(["gitopsctl", "sync"], user=USER)
    assert f"waits for /run/secrets/{move['secret']}" in griefling.run(["gitopsctl", "status"], user=USER).stdout
    griefling.sh("! test -e /home/rain/.netrc")

    activation = DECRYPT.format(name=move["secret"], file="/etc/secrets/dotfiles.yaml")
    for name, spec in scene.specs.items():
        etc = {"secrets/dotfiles.yaml": malphas.read(told["file"])}
        settings = {"activationScript": activation}
        scene.specs[name] = HostSpec(gitopsd_config=spec.gitopsd_config, etc=etc, settings=settings)
    scene.push_config("secrets for all")
    for host in (malphas, griefling):
        host.run(["gitopsctl", "upgrade"])
        host.run(["gitopsctl", "sync"], user=USER)
    assert malphas.read("/home/rain/.netrc") == griefling.read("/home/rain/.netrc") == before
    assert griefling.sh("stat -c %a /home/rain/.netrc").stdout.strip() == "600"
    assert "waits for" not in griefling.run(["gitopsctl", "status"], user=USER).stdout

    for host in (malphas, griefling):
        host.write("/run/needles", PASSWORD)
        places = "/home /var /etc /nix/store /tmp /dev/shm /run/gitopsd /run/user"
        left = host.sh(f"grep -rlaF -f /run/needles {places} 2>/dev/null || true").stdout.splitlines()
        assert left == ["/home/rain/.netrc"], left
    command = "git -C /srv/git/dotfiles.git cat-file --batch-all-objects --batch | tr -cd '[:print:]\\n'"
    assert PASSWORD not in scene.forge.sh(command, user="git").stdout
