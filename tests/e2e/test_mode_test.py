"""`switch.mode = "test"` on a machine: what the branch has runs, and what boots is what booted before."""

import json
from itertools import islice
from typing import Any

import pytest
from e2e.crash import SETTINGS, Crashes, Ended
from e2e.scene import BROKEN_SSHD, HELLO, set_up
from e2e.test_crash_matrix import ALL, LOADING, SWITCHING, numbered, units
from lab import Host, Lab

pytestmark = pytest.mark.lab

MODE = '\n[switch]\nmode = "test"\n'


def status(host: Host) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(host.run(["gitopsctl", "status", "--json"]).stdout)
    return answer


def hello(host: Host) -> str:
    return host.sh("systemctl show -P ExecStart hello.service").stdout


def activations(host: Host) -> int:
    return host.journal("nixos-rebuild-switch-to-configuration.service").count("Started ")


def test_the_branch_runs_and_each_reboot_goes_back_until_the_next_upgrade(lab: Lab) -> None:
    scene = set_up(lab, "malphas", soak="1s", homes=False, more=MODE)
    malphas = scene.hosts["malphas"]
    assert "changes nothing here" in malphas.run(["gitopsctl", "upgrade"]).stdout
    default, generations = malphas.boot_default(), malphas.generations()
    first = status(malphas)["deployed"]["revision"]

    revision = scene.push_config("say hello", hello_service=HELLO.format(word="one"))
    assert "=== Test Successful ===" in malphas.run(["gitopsctl", "upgrade"]).stdout
    assert "hello one" in hello(malphas)
    shown = status(malphas)
    assert (shown["trial"]["revision"], shown["trial"]["trunk"]) == (revision, True)
    assert (shown["deployed"]["revision"], shown["system"]["drift"]) == (first, False)
    assert (
        "until the next reboot, and again after the upgrade that follows" in malphas.run(["gitopsctl", "status"]).stdout
    )

    # What a timer does when there is nothing to do: no evaluation, no activation.
    before = activations(malphas)
    malphas.run(["systemctl", "start", "--wait", "gitopsd-upgrade.service"])
    assert f"{revision[:12]} is being tested already" in malphas.journal("gitopsd-upgrade.service")
    assert (activations(malphas), malphas.active_state("gitopsd-build.scope")) == (before, "inactive")

    # One that is not good goes back to the one that was tested before, not to the boot default.
    scene.push_config("break sshd", hello_service=HELLO.format(word="two"), sshd_service=BROKEN_SSHD)
    assert malphas.run(["gitopsctl", "upgrade"], check=False).returncode == 1
    assert "hello one" in hello(malphas)
    assert malphas.active_state("sshd.service") == "active"
    scene.push_config("say hello again", hello_service=HELLO.format(word="three"))

    for _ in range(2):
        malphas.run(["gitopsctl", "upgrade"])
        assert "hello three" in hello(malphas)
        assert (malphas.boot_default(), malphas.generations()) == (default, generations)
        malphas.reboot()
        assert malphas.booted_system() == malphas.current_system() == default
        assert (status(malphas)["trial"], status(malphas)["system"]["drift"]) == (None, False)

    # A machine that it takes down is not taken down by it for ever.
    for _ in range(2):
        malphas.run(["gitopsctl", "upgrade"])
        malphas.power_cut()
        malphas.boot()
    refused = malphas.run(["gitopsctl", "upgrade"], check=False)
    assert refused.returncode == 1
    assert "this machine went down 2 times, in no orderly way" in refused.stdout
    assert malphas.current_system() == default
    assert malphas.run(["gitopsctl", "retry"]).returncode == 0
    assert "hello three" in hello(malphas)

    # Back by hand: to the boot default, and it stays there.
    malphas.run(["gitopsctl", "rollback"])
    assert malphas.current_system() == malphas.boot_default() == default
    assert "is rejected" in malphas.run(["gitopsctl", "upgrade"], check=False).stdout
    assert malphas.current_system() == default


class OfATest(Crashes):
    """Has tests crash: what is booted never changes."""

    def _holds(self, ended: Ended, revision: str, *, rebooted: bool) -> None:
        host, status = self.host, ended.status
        where = f"{ended.died}: {ended.outcome}\n{host.journal(lines=60)}"
        if not hasattr(self, "default"):
            self.default = self.before
        assert host.boot_default() == status["system"]["profile"] == self.default, where
        assert list(host.generations().values()) == [self.default], where
        current, good = host.current_system(), ended.outcome == "success"
        old = self.default if rebooted else self.before
        assert current == status["system"]["current"] == (ended.toplevel if good else old), where
        assert ended.outcome in ("success", "rolled-back", "interrupted"), where
        assert not status["system"]["drift"], where
        if good:
            assert status["trial"]["revision"] == revision, where
        assert (status["blocked"], host.failed_units()) == ("", []), where
        assert host.active_state("sshd.service") == "active", where
        left = host.run(["systemctl", "show", "-P", "LoadState", "nixos-rebuild-switch-to-configuration.service"])
        assert left.stdout.strip() == "not-found", where


@pytest.mark.parametrize("bad", [False, True], ids=["good", "bad"])
@pytest.mark.parametrize("how", ["kill", "cut"])
def test_a_crash_at_any_point_of_a_test_leaves_what_boots_alone(lab: Lab, how: str, *, bad: bool) -> None:
    scene = set_up(lab, "malphas", soak="1s", homes=False, settings=SETTINGS, more=MODE)
    crashes = OfATest(scene, scene.hosts["malphas"])
    died = []
    inside = SWITCHING if ALL else SWITCHING[3 + bad :: 4]
    for number, point in enumerate([*inside, *islice(numbered(1 if ALL else 4 + 3 * bad), None if ALL else 2)]):
        ended = crashes.upgrade(point, how, **units(number, bad=bad))
        if not ended.died:
            break
        died.append(ended.died)
        print(f"{how} {ended.died}: {ended.outcome}", flush=True)
    assert len(died) >= len(inside) + (15 if ALL else 1)
    assert not set(LOADING) & set(died)
