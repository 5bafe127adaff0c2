"""A person leaves a host alone, and goes back to a system of before."""

import json

import pytest
from e2e.scene import HELLO, Scene, set_up
from lab import Host, Lab

pytestmark = pytest.mark.lab


def status(host: Host) -> dict:  # type: ignore[type-arg]
    answer: dict = json.loads(host.run(["gitopsctl", "status", "--json"]).stdout)  # type: ignore[type-arg]
    return answer


def asked(host: Host, *words: str) -> int:
    """Ask for a cycle and do not wait; returns its id."""
    number: int = json.loads(host.run(["gitopsctl", *words, "--no-wait", "--json"]).stdout)["cycle"]
    return number


def deployed(lab: Lab, *words: str) -> tuple[Scene, Host]:
    """A host that says each of the words in a generation of its own, from 2 on; the last one runs."""
    scene = set_up(lab, "malphas", homes=False)
    malphas = scene.hosts["malphas"]
    for word in words:
        scene.push_config(word, hello_service=HELLO.format(word=word))
        malphas.run(["gitopsctl", "upgrade"])
    return scene, malphas


def test_a_suspended_host_is_left_alone_over_restarts_and_reboots_until_somebody_resumes(lab: Lab) -> None:
    scene, malphas = deployed(lab)
    before = malphas.current_system()
    malphas.run(["gitopsctl", "suspend", "--for", "2h", "--reason", "a talk"])
    scene.push_config("say hello", hello_service=HELLO.format(word="hello"))
    for again in (lambda: None, lambda: malphas.run(["systemctl", "restart", "gitopsd.service"]), malphas.reboot):
        again()
        asked = malphas.run(["gitopsctl", "upgrade"], check=False)
        assert asked.returncode == 1
        assert "by root: a talk" in asked.stderr
        malphas.run(["systemctl", "start", "--wait", "gitopsd-upgrade.service"])  # the timer's is no failure
        assert "by root: a talk; nothing was begun" in malphas.journal("gitopsd-upgrade.service")
        assert malphas.current_system() == before
    shown = malphas.run(["gitopsctl", "status"]).stdout
    assert "suspended: until" in shown
    assert "a talk" in shown
    assert "suspended" in malphas.run(["systemctl", "show", "-P", "StatusText", "gitopsd.service"]).stdout
    malphas.run(["gitopsctl", "resume"])
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0
    assert malphas.active_state("hello.service") == "active"


def test_a_rollback_goes_back_verified_and_what_was_left_is_not_deployed_again(lab: Lab) -> None:
    scene, malphas = deployed(lab, "one", "two")
    generations = malphas.generations()
    followed = malphas.run(["gitopsctl", "rollback"])
    assert "generation 2 runs, is verified, and is the boot default" in followed.stdout
    assert malphas.current_system() == malphas.boot_default() == generations[2]
    assert malphas.generations() == generations
    said = malphas.journal("hello.service")
    assert said.rindex("hello one") > said.rindex("hello two")
    assert not status(malphas)["system"]["drift"]
    again = malphas.run(["gitopsctl", "upgrade"], check=False)
    assert again.returncode == 1
    assert "is rejected" in again.stdout
    assert malphas.current_system() == generations[2]

    malphas.run(["gitopsctl", "rollback", "1"])
    assert malphas.current_system() == malphas.boot_default() == generations[1]
    malphas.reboot()
    assert malphas.booted_system() == generations[1]
    shown = status(malphas)  # no cycle has built it: it was there before gitopsd
    assert (shown["gone_back"]["name"], shown["system"]["drift"]) == ("generation 1", False)
    assert "gone back: to generation 1, " in malphas.run(["gitopsctl", "status"]).stdout
    malphas.run(["systemctl", "start", "--wait", "gitopsd-upgrade.service"], check=False)
    assert malphas.current_system() == generations[1]
    assert malphas.run(["gitopsctl", "rollback", "1"], check=False).returncode == 1

    scene.push_config("three", hello_service=HELLO.format(word="three"))
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0
    assert malphas.active_state("hello.service") == "active"
    assert status(malphas)["gone_back"] is None


def test_requests_that_had_not_begun_survive_kill_9(lab: Lab) -> None:
    scene, malphas = deployed(lab)
    revision = scene.push_config("say hello", hello_service=HELLO.format(word="later"))
    malphas.cut_network(silent=True)
    malphas.run(["gitopsctl", "upgrade", "--no-wait"])
    malphas.until(lambda: status(malphas)["state"] == "fetch", what="the first cycle")
    number = asked(malphas, "upgrade")
    question = asked(malphas, "upgrade", "--dry-run")
    assert question != number
    malphas.run(["systemctl", "kill", "--signal=KILL", "gitopsd.service"])
    malphas.restore_network()

    assert malphas.run(["gitopsctl", "status"], check=False).returncode == 0
    ends = {}
    for each in (number, question):

        def over(cycle: int = each) -> bool:
            shown = malphas.run(["gitopsctl", "show", str(cycle), "--json"], check=False)
            if shown.returncode == 0:
                ends[cycle] = json.loads(shown.stdout)["summary"]["outcome"]
            return shown.returncode == 0

        malphas.until(over, timeout=120, what=f"cycle {each}")
    assert ends[question] == "up-to-date"  # it came after the upgrade
    assert malphas.active_state("hello.service") == "active"
    assert status(malphas)["deployed"]["revision"] == revision
