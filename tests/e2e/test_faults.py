"""Remotes and clocks at their worst, on real parts: what hangs ends, nothing is lost, and the host answers meanwhile."""

import json
import time
from typing import Any

import pytest
from e2e.scene import HELLO, USER, Scene, set_up
from lab import Host, Lab
from lab.machine import Machine

pytestmark = pytest.mark.lab

QUICK = """
[timeouts]
fetch = "4s"
push = "20s"

[retry.push]
attempts = 1
"""

# Takes datagrams, and connections, and never answers either.
SILENCE = """\
import socket, sys, time
kind = socket.SOCK_DGRAM if sys.argv[1] == "udp" else socket.SOCK_STREAM
server = socket.socket(socket.AF_INET, kind)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind((sys.argv[2], int(sys.argv[3])))
if kind == socket.SOCK_STREAM:
    server.listen()
print("listening", flush=True)
kept = []
while kind == socket.SOCK_STREAM:
    kept.append(server.accept())
while True:
    kept.append(server.recv(4096))
    print("asked", flush=True)
"""


def status(host: Host) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(host.run(["gitopsctl", "status", "--json"]).stdout)
    return answer


def silent(host: Machine, kind: str, address: str, port: int) -> None:
    """Have something listen there that never answers."""
    host.write("/root/silence.py", SILENCE)
    words = f"--unit=silence -p StandardOutput=file:/run/silence python3 -u /root/silence.py {kind} {address} {port}"
    host.sh(f"systemd-run --quiet {words}")
    host.until(lambda: "listening" in host.read("/run/silence"), what="the silence")


def edit(host: Host, line: str) -> None:
    host.sh(f"echo '{line}' >> ~/.bashrc", user=USER)


def goes_on_without(scene: Scene, host: Host, *, published: str) -> float:
    """An upgrade that meets such a remote; returns how many seconds it took."""
    edit(host, "export EDITOR=nano")
    system, began = host.current_system(), time.monotonic()
    host.run(["gitopsctl", "upgrade", "--no-wait"])
    host.until(lambda: status(host)["state"] == "fetch", what="fetch")
    for _ in range(5):  # it answers all the while
        asked = time.monotonic()
        host.run(["gitopsctl", "status"])
        assert time.monotonic() - asked < 3
    host.until(lambda: status(host)["cycle"] is None, timeout=90, what="the end")
    taken = time.monotonic() - began
    upgrade = status(host)["last_upgrade"]
    assert upgrade["outcome"] == "offline", upgrade
    (person,) = status(host)["people"]
    assert (person["captured"], person["word"]) == (["dot_bashrc"], "fetch-failed"), person
    assert (host.current_system(), host.failed_units()) == (system, [])
    assert scene.forge.head("dotfiles") == published
    assert host.sh("pgrep -x 'ssh|git' || true").stdout == ""  # nothing is left behind
    return taken


def arrives(scene: Scene, host: Host) -> None:
    """Once the remote is as it should be, the edit is published and the system deployed."""
    scene.push_config("say hello", hello_service=HELLO.format(word="again"))
    host.run(["gitopsctl", "upgrade"])
    assert "export EDITOR=nano" in scene.forge.show("dotfiles", "dot_bashrc")
    assert host.active_state("hello.service") == "active"


def test_a_name_server_that_hangs(lab: Lab) -> None:
    scene = set_up(lab, "malphas", soak="1s", more=QUICK)
    malphas = scene.hosts["malphas"]
    malphas.run(["gitopsctl", "upgrade"])
    silent(malphas, "udp", "127.0.0.53", 53)
    malphas.sh(
        "rm -f /etc/resolv.conf; printf 'nameserver 127.0.0.53\\noptions timeout:30 attempts:5\\n' >/etc/resolv.conf;"
        " grep -v forge /etc/hosts >/var/tmp/hosts; mount --bind /var/tmp/hosts /etc/hosts"
    )
    taken = goes_on_without(scene, malphas, published=scene.forge.head("dotfiles"))
    assert "asked" in malphas.read("/run/silence")
    assert taken < 30
    malphas.sh("umount /etc/hosts; systemctl stop silence.service")
    arrives(scene, malphas)


@pytest.mark.parametrize("where", ["before ssh", "behind ssh"])
def test_a_remote_that_accepts_and_never_answers(lab: Lab, where: str) -> None:
    scene = set_up(lab, "malphas", soak="1s", more=QUICK)
    malphas, forge = scene.hosts["malphas"], scene.forge
    malphas.run(["gitopsctl", "upgrade"])
    published, shell = forge.head("dotfiles"), forge.sh("getent passwd git | cut -d: -f7").stdout.strip()
    if where == "before ssh":
        forge.sh("systemctl stop ssh.socket ssh.service sshd.service 2>/dev/null || true")
        silent(forge, "tcp", "0.0.0.0", 22)  # noqa: S104
    else:  # the connection is alive, and git says nothing
        forge.write("/usr/local/bin/says-nothing", "#!/bin/sh\nexec sleep 1000\n", mode=0o755)
        forge.sh("usermod --shell /usr/local/bin/says-nothing git")
    assert goes_on_without(scene, malphas, published=published) < 25
    if where == "before ssh":
        forge.sh("systemctl stop silence.service; systemctl start ssh.socket 2>/dev/null || systemctl start sshd.service"
                 " 2>/dev/null || systemctl start ssh.service")  # fmt: skip
    else:
        forge.sh(f"usermod --shell {shell} git")
    arrives(scene, malphas)


# Runs on the forge while a push is under way: says so, and takes its time.
MEANWHILE = "#!/bin/sh\ncat >/dev/null\ntouch /var/tmp/pushing\nexec sleep 30\n"


@pytest.mark.parametrize("how", ["power", "killed"])
def test_a_remote_that_dies_in_mid_push(lab: Lab, how: str) -> None:
    scene = set_up(lab, "malphas", soak="1s", more=QUICK)
    malphas, forge = scene.hosts["malphas"], scene.forge
    malphas.run(["gitopsctl", "sync"])
    published = forge.head("dotfiles")
    hook = f"{forge.directory('dotfiles')}/hooks/pre-receive"
    forge.write(hook, MEANWHILE, owner="git", mode=0o755)
    edit(malphas, "export EDITOR=nano")
    malphas.run(["gitopsctl", "sync", "--no-wait"])
    forge.until(lambda: forge.exists("/var/tmp/pushing"), what="the push")
    if how == "power":
        forge.power_cut()
    else:
        forge.sh("pkill -KILL -u git")
    malphas.until(lambda: status(malphas)["cycle"] is None, timeout=120, what="the end")
    (person,) = status(malphas)["people"]
    assert person["word"] in ("push-failed", "fetch-failed"), (
        person
    )  # the one if something else than the network failed
    assert (person["published"], person["captured"]) == (False, ["dot_bashrc"]), person
    assert malphas.failed_units() == []
    assert "export EDITOR=nano" in malphas.read("/home/rain/.bashrc")
    if how == "power":
        forge.boot()
    forge.sh(f"rm {hook} /var/tmp/pushing")
    assert forge.head("dotfiles") == published
    malphas.run(["gitopsctl", "sync"])
    assert forge.show("dotfiles", "dot_bashrc").count("export EDITOR=nano") == 1
    assert status(malphas)["people"][0]["word"] == "success"
    assert forge.git("dotfiles", "rev-list", "--count", f"{published}..main") == "1"
    assert list(forge.branches("dotfiles")) == ["main"]


# What every interpreter reads at its start, also an isolated one: its clock is off by what the file says, at each look.
SHIFTED = """\
import time

real = time.time


def shifted():
    try:
        with open("/run/shift") as file:
            return real() + float(file.read() or 0)
    except (OSError, ValueError):
        return real()


time.time = shifted
"""
YEARS = 366 * 86400


@pytest.mark.parametrize("years", [[12, -30], [-30, 40]], ids=["forth and back", "back and forth"])
def test_a_clock_that_jumps_by_years_in_the_middle_of_a_cycle(lab: Lab, years: list[int]) -> None:
    """No namespace has a real time of its own: the clock is that of the daemon and its tools, as in the tests of boots."""
    scene = set_up(lab, "malphas", soak="6s")
    malphas = scene.hosts["malphas"]
    malphas.write("/usr/lib/python3/dist-packages/shifted.py", SHIFTED)
    malphas.write("/usr/lib/python3/dist-packages/shifted.pth", "import shifted\n")
    malphas.write("/run/shift", "0")
    malphas.run(["systemctl", "restart", "gitopsd.service"])
    malphas.run(["gitopsctl", "upgrade"])
    ids = []
    for number, jump in enumerate(years):
        scene.push_config(f"say hello {number}", hello_service=HELLO.format(word=f"number {number}"))
        edit(malphas, f"alias n{number}=ls")
        began = time.monotonic()
        malphas.run(["gitopsctl", "upgrade", "--no-wait"])
        malphas.until(lambda: "soaking" in status(malphas)["activity"], what="the soak")
        malphas.write("/run/shift", str(jump * YEARS))
        assert malphas.run(["gitopsctl", "status"]).returncode == 0
        malphas.until(lambda: status(malphas)["cycle"] is None, timeout=60, what="the end")
        assert 6 < time.monotonic() - began < 45  # the soak is neither cut short nor drawn out
        upgrade = status(malphas)["last_upgrade"]
        assert upgrade["outcome"] == "success", upgrade
        ids.append(upgrade["id"])
        assert f"alias n{number}=ls" in scene.forge.show("dotfiles", "dot_bashrc")
        for words in (["history"], ["show", str(upgrade["id"])], ["boot", "status"]):
            assert malphas.run(["gitopsctl", *words]).returncode == 0
        malphas.run(["systemctl", "restart", "gitopsd.service"])  # what it has written it can read
        assert not malphas.sh("ls /var/lib/gitopsd | grep damaged || true").stdout
        assert status(malphas)["last_upgrade"]["id"] == upgrade["id"]
        assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0
    assert ids == sorted(ids)
    assert malphas.failed_units() == []
    # A suspension ends by the wall clock, whatever that does.
    malphas.run(["gitopsctl", "suspend", "--for", "1h"])
    assert malphas.run(["gitopsctl", "upgrade"], check=False).returncode == 1
    malphas.write("/run/shift", str(years[-1] * YEARS + 7200))
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0
