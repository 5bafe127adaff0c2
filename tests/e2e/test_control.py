"""The socket, asked by systemd's own varlinkctl and by people who may and may not."""

import json

import pytest
from e2e.scene import HELLO, USER, set_up
from lab import Host, Lab

pytestmark = pytest.mark.lab

SOCKET = "/run/gitopsd/io.gitopsd"


def varlink(host: Host, method: str, parameters: str = "{}", *, user: str = "root", more: bool = False) -> list[dict]:  # type: ignore[type-arg]
    options = ["--more"] if more else []
    asked = host.run(["varlinkctl", *options, "--json=short", "call", SOCKET, method, parameters], user=user)
    # A stream is a JSON text sequence (RFC 7464): each value after a record separator.
    return [json.loads(line.lstrip("\x1e")) for line in asked.stdout.split("\n") if line]


def test_varlinkctl_is_a_client_that_every_host_already_has(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]

    told = malphas.run(["varlinkctl", "info", SOCKET]).stdout
    assert "gitopsd" in told
    assert "io.gitopsd.Status" in told
    for interface in ("io.gitopsd.Status", "io.gitopsd.Control"):
        described = malphas.run(["varlinkctl", "introspect", SOCKET, interface]).stdout
        assert f"interface {interface}" in described
    assert "method Get" in malphas.run(["varlinkctl", "introspect", SOCKET, "io.gitopsd.Status"]).stdout

    (status,) = varlink(malphas, "io.gitopsd.Status.Get")
    assert (status["status"]["state"], status["status"]["host"]) == ("idle", "malphas")

    scene.push_config("say hello", hello_service=HELLO.format(word="varlink"))
    (asked,) = varlink(malphas, "io.gitopsd.Control.Upgrade")
    updates = varlink(malphas, "io.gitopsd.Status.Follow", json.dumps(asked), more=True)
    assert updates[-1]["update"]["outcome"] == "success"
    lines = [update["update"]["line"] for update in updates]
    assert lines.index("=== Build Validation PASSED ===") < lines.index("=== Deployment Successful ===")
    (history,) = varlink(malphas, "io.gitopsd.Status.History", '{"limit": 5}')
    assert json.dumps(history).count('"outcome"') == 1


def test_help_and_usage_are_told_by_the_python_that_hosts_have(lab: Lab) -> None:
    malphas = set_up(lab, "malphas", dotfiles=False).hosts["malphas"]
    for words in ([], ["upgrade"], ["dotfiles"], ["dotfiles", "resolve"], ["config", "check"]):
        told = malphas.run(["gitopsctl", *words, "--help"])
        assert told.stdout.startswith(" ".join(["usage: gitopsctl", *words]))
        assert told.stderr == ""
    wrong = malphas.run(["gitopsctl", "frobnicate"], check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "frobnicate" in wrong.stderr
    assert malphas.run(["gitopsd", "--help"]).stdout.startswith("usage: gitopsd")


def test_the_socket_starts_the_daemon(lab: Lab) -> None:
    malphas = set_up(lab, "malphas", dotfiles=False).hosts["malphas"]
    malphas.run(["systemctl", "stop", "gitopsd.service"])
    assert malphas.active_state("gitopsd.service") == "inactive"
    assert "malphas: idle" in malphas.run(["gitopsctl", "status"]).stdout
    assert malphas.active_state("gitopsd.service") == "active"


def test_who_may_do_what_is_decided_by_who_asks(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    malphas.sh("echo secret-project >> ~/.bashrc", user=USER)

    own = malphas.run(["gitopsctl", "sync"], user=USER)
    assert own.returncode == 0
    assert "secret-project" in scene.forge.show("dotfiles", "dot_bashrc")

    for words in (["upgrade"], ["retry"], ["sync", "olga"]):
        refused = malphas.run(["gitopsctl", *words], user=USER, check=False)
        assert refused.returncode == 4, words
        assert refused.stdout == ""
        assert "nothing was changed" in refused.stderr

    assert "dot_bashrc" in malphas.run(["gitopsctl", "show", "1", "--json"], user=USER).stdout
    for words in (["status", "--json"], ["show", "1", "--json"]):
        seen = malphas.run(["gitopsctl", *words], user="olga").stdout
        assert "dot_bashrc" not in seen
        assert "rain" in seen  # that there is such a person is no secret


def test_no_script_of_a_persons_dotfiles_becomes_root_not_even_by_sudo_without_a_password(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    malphas.write("/etc/sudoers.d/rain", f"{USER} ALL=(ALL) NOPASSWD: ALL\n", mode=0o440)
    assert malphas.sh("sudo -n id -u", user=USER).stdout == "0\n"  # it does work for the person
    script = "#!/bin/sh\nid -u >~/who\nsudo -n id -u >~/root 2>~/refused || true\n"
    scene.forge.push_change("dotfiles", {"run_once_become-root.sh": script, "dot_other": "other\n"}, "a script")
    malphas.run(["gitopsctl", "sync"], user=USER)
    assert malphas.read(f"/home/{USER}/.other") == "other\n"
    assert malphas.read(f"/home/{USER}/who") == malphas.sh("id -u", user=USER).stdout != "0\n"
    assert malphas.read(f"/home/{USER}/root") == ""
    assert "no new privileges" in malphas.read(f"/home/{USER}/refused")


def test_a_daemon_that_is_not_there_is_exit_status_3(lab: Lab) -> None:
    malphas = set_up(lab, "malphas", dotfiles=False).hosts["malphas"]
    malphas.run(["systemctl", "stop", "gitopsd.socket", "gitopsd.service"])
    gone = malphas.run(["gitopsctl", "status"], check=False)
    assert gone.returncode == 3
    assert "systemctl" in gone.stderr
