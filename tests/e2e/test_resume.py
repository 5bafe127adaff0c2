"""kill -9 in each state, and a restart, end in the right resting state."""

import json

import pytest
from e2e.scene import BROKEN_SSHD, HELLO, USER, set_up
from lab import Host, Lab

pytestmark = pytest.mark.lab

# Follows the first cycle on the socket, and kills the daemon in the moment that the wanted state begins. The daemon may
# hear the follower before the request, so "no such cycle" means "not yet".
KILLER = """
import json, os, signal, socket, subprocess, sys
wanted = sys.argv[1]
pid = int(subprocess.run(["systemctl", "show", "-P", "MainPID", "gitopsd.service"], capture_output=True, text=True).stdout)
call = {"method": "io.gitopsd.Status.Follow", "parameters": {"cycle": 1}, "more": True}
call = json.dumps(call).encode() + b"\\0"
with socket.socket(socket.AF_UNIX) as s:
    s.connect("/run/gitopsd/io.gitopsd")
    s.sendall(call)
    buffer = b""
    while True:
        buffer += s.recv(65536)
        *messages, buffer = buffer.split(b"\\0")
        for message in map(json.loads, messages):
            if message.get("error") == "io.gitopsd.Status.NoSuchCycle":
                s.sendall(call)
                continue
            state = message["parameters"]["update"]["state"]
            if state == wanted:
                os.kill(pid, signal.SIGKILL)
                print("killed in", state)
                sys.exit()
            assert message.get("continues"), "the cycle ended before " + wanted
"""


FIRST = 1  # the first cycle of a fresh host


def kill_in(host: Host, state: str) -> None:
    """Ask for the first upgrade and kill the daemon in `state`.

    The daemon stands still while the request and the follower queue up on its socket, so that the follower hears of
    every state from the first one on.
    """
    daemon = "'[/]usr/bin/gitopsd$'"
    host.write("/run/killer.py", KILLER)
    told = host.sh(
        f"pkill -STOP -f {daemon}; (gitopsctl upgrade --no-wait &); sleep 0.4;"
        f" python3 /run/killer.py {state} & sleep 0.4; pkill -CONT -f {daemon}; wait",
        check=False,
    )
    assert f"killed in {state}" in told.stdout, told.stdout + told.stderr


def rested(host: Host) -> dict[str, object]:
    """Wait until the daemon is back and rests; returns its status."""

    def look() -> bool:
        asked = host.run(["gitopsctl", "status", "--json"], check=False)
        if asked.returncode != 0:
            return False
        status.update(json.loads(asked.stdout))
        return status["cycle"] is None and status["state"] in ("idle", "failed", "blocked")

    status: dict[str, object] = {}
    host.until(look, timeout=120, what="the daemon to rest")
    return status


@pytest.mark.parametrize("state", ["fetch", "capture", "push", "pull", "build", "switch", "verify"])
def test_killed_in_a_state_it_finishes_the_cycle_once(lab: Lab, state: str) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    scene.forge.push_change("dotfiles", {"dot_vimrc": "set number\n"}, "from elsewhere")
    malphas.sh("echo 'export EDITOR=nano' >> ~/.bashrc", user=USER)
    revision = scene.push_config("say hello", hello_service=HELLO.format(word=state))

    kill_in(malphas, state)
    status = rested(malphas)

    assert status["state"] == "idle"
    ended = json.loads(malphas.run(["gitopsctl", "show", str(FIRST), "--json"]).stdout)["summary"]
    assert (ended["outcome"], ended["revision"]) == ("success", revision)
    assert "export EDITOR=nano" in scene.forge.show("dotfiles", "dot_bashrc")
    assert malphas.read("/home/rain/.vimrc") == "set number\n"
    assert malphas.current_system() == malphas.boot_default() == malphas.generations()[2]
    assert malphas.active_state("hello.service") == "active"
    activations = malphas.journal("nixos-rebuild-switch-to-configuration.service").count("Started ")
    assert activations == 2  # one `test`, one `boot`
    assert f"the daemon ended in {state}" in malphas.journal("gitopsd.service")
    assert malphas.failed_units() == []


def test_killed_in_rollback_it_still_goes_back(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    before = malphas.current_system()
    scene.push_config("break sshd", sshd_service=BROKEN_SSHD)

    kill_in(malphas, "rollback")
    status = rested(malphas)

    assert status["state"] == "failed"
    ended = json.loads(malphas.run(["gitopsctl", "show", str(FIRST), "--json"]).stdout)["summary"]
    assert ended["outcome"] == "rolled-back"
    assert malphas.current_system() == malphas.boot_default() == before
    assert malphas.active_state("sshd.service") == "active"
    assert malphas.failed_units() == []


def test_a_power_cut_during_verify_boots_the_old_system_and_the_revision_may_be_tried_again(lab: Lab) -> None:
    scene = set_up(lab, "malphas", soak="20s")
    malphas = scene.hosts["malphas"]
    before = malphas.current_system()
    scene.push_config("say hello", hello_service=HELLO.format(word="cut"))
    malphas.run(["gitopsctl", "upgrade", "--no-wait"])
    malphas.until(lambda: "soaking" in malphas.run(["gitopsctl", "status"]).stdout, timeout=120, what="the soak")
    assert malphas.current_system() != before

    malphas.power_cut()
    malphas.boot()
    status = rested(malphas)
    assert status["state"] == "failed"
    assert malphas.current_system() == malphas.booted_system() == malphas.boot_default() == before
    assert "interrupted" in malphas.run(["gitopsctl", "history"]).stdout
    assert status["rejected"] == []
