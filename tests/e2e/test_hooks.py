"""Hooks: a person's units around an update, started over D-Bus, once in a cycle whatever dies meanwhile."""

import pytest
from e2e.scene import HELLO, Scene
from e2e.upgrading import deploys, ended, one, reconfigure, rejected
from lab import Host, Lab

pytestmark = pytest.mark.lab

# Writes down that it ran, and takes its time.
HOOK = """[Unit]
Description=A hook

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo {name} >>/var/tmp/hooks; sleep {seconds}; exit {status}'
"""


def hook(host: Host, name: str, *, seconds: float = 0, status: int = 0) -> str:
    """Install a hook's unit."""
    host.write(f"/run/systemd/system/{name}.service", HOOK.format(name=name, seconds=seconds, status=status))
    host.run(["systemctl", "daemon-reload"])
    return f"{name}.service"


def hooks(host: Host, *sections: str) -> None:
    """Configure hooks: `pre UNIT required`, `post UNIT wanted`, with a timeout behind it if it is to have one."""
    text = ""
    for section in sections:
        when, unit, weight, *limit = section.split()
        required = "true" if weight == "required" else "false"
        text += f'\n[[config.{when}_update_hooks]]\nunit = "{unit}"\nrequired = {required}\n'
        text += f'timeout = "{limit[0]}"\n' if limit else ""
    reconfigure(host, more=text)


def ran(host: Host) -> list[str]:
    """Which hooks ran, in order."""
    return host.sh("cat /var/tmp/hooks 2>/dev/null || true").stdout.split()


def two(lab: Lab) -> tuple[Scene, Host, str]:
    """A host, and a revision that waits for it."""
    scene, malphas = one(lab)
    return scene, malphas, scene.push_config("say hello", hello_service=HELLO.format(word="hooks"))


def test_hooks_run_before_and_after_an_update_and_not_without_one(lab: Lab) -> None:
    _, malphas, _ = two(lab)
    hook(malphas, "before", seconds=0.5)
    hook(malphas, "between", status=3)
    hook(malphas, "behind")
    hooks(malphas, "pre before.service required", "pre between.service wanted", "post behind.service required")
    malphas.run(["gitopsctl", "upgrade", "--dry-run"])
    assert ran(malphas) == []
    said = malphas.run(["gitopsctl", "upgrade"], timeout=120).stdout
    assert "=== Deployment Successful ===" in said
    assert "note: pre-update hook: between.service failed (exit-code)" in said
    assert ran(malphas) == ["before", "between", "behind"]
    malphas.run(["gitopsctl", "upgrade"])
    assert ran(malphas) == ["before", "between", "behind"]


@pytest.mark.parametrize("kind", ["fails", "is not there", "hangs", "requires what fails"])
def test_a_required_hook_that_does_not_succeed_before_the_update_changes_nothing(lab: Lab, kind: str) -> None:
    _, malphas, _ = two(lab)
    before = (malphas.current_system(), malphas.boot_default())
    unit = "absent.service"
    if kind == "requires what fails":
        hook(malphas, "needed", status=1)
        unit = hook(malphas, "before")
        malphas.sh(
            "sed -i '/^Description/a Requires=needed.service\\nAfter=needed.service' /run/systemd/system/before.service"
        )
        malphas.run(["systemctl", "daemon-reload"])
    elif kind != "is not there":
        unit = hook(malphas, "before", status=1, seconds=1000 if kind == "hangs" else 0)
    hooks(malphas, f"pre {unit} required {'1s' if kind == 'hangs' else ''}")
    said = malphas.run(["gitopsctl", "upgrade"], check=False, timeout=120)
    assert said.returncode == 1
    assert f"a required pre-update hook did not succeed: {unit}" in said.stdout
    words = {
        "fails": "failed (exit-code)",
        "is not there": "does not exist on this host",
        "hangs": "did not end within 1 s and was stopped",
        "requires what fails": "something that it requires failed",
    }
    assert words[kind] in ended(malphas)["summary"]["message"]
    assert "Validating" not in said.stdout
    assert rejected(malphas) == []
    assert (malphas.current_system(), malphas.boot_default()) == before
    reconfigure(malphas)
    deploys(malphas)


def test_a_required_hook_that_fails_after_the_switch_takes_the_new_system_back(lab: Lab) -> None:
    _, malphas, _ = two(lab)
    before = (malphas.current_system(), malphas.boot_default())
    hooks(malphas, f"post {hook(malphas, 'smoke', status=1)} required")
    assert malphas.run(["gitopsctl", "upgrade"], check=False, timeout=120).returncode == 1
    detail = ended(malphas)
    assert detail["summary"]["outcome"] == "rolled-back"
    assert "smoke.service failed" in detail["summary"]["message"]
    assert (malphas.current_system(), malphas.boot_default()) == before


@pytest.mark.parametrize("end", ["while it runs", "after it has ended"])
def test_a_hook_is_not_run_again_when_the_daemon_is_killed(lab: Lab, end: str) -> None:
    _, malphas, _ = two(lab)
    hook(malphas, "before", seconds=4)
    hooks(malphas, "pre before.service required")
    malphas.run(["gitopsctl", "upgrade", "--no-wait"])
    malphas.until(lambda: ran(malphas) == ["before"], what="the hook")
    if end == "after it has ended":
        # The daemon stays dead until the hook has ended and systemd has forgotten it.
        malphas.sh("mkdir -p /run/systemd/system/gitopsd.service.d; printf '[Service]\\nRestartSec=8s\\n'"
                   " >/run/systemd/system/gitopsd.service.d/late.conf; systemctl daemon-reload")  # fmt: skip
    malphas.run(["systemctl", "kill", "--signal=KILL", "gitopsd.service"])
    malphas.until(lambda: malphas.active_state("hello.service") == "active", what="the new system", timeout=60)
    malphas.until(lambda: '"last_upgrade": {' in malphas.run(["gitopsctl", "status", "--json"]).stdout, what="the end")
    assert ended(malphas)["summary"]["outcome"] == "success"
    assert ran(malphas) == ["before"]
    assert "cycle resumed" in malphas.journal("gitopsd.service")


def test_a_hook_that_may_fail_may_have_failed_before_the_daemon_was_killed(lab: Lab) -> None:
    _, malphas, _ = two(lab)
    hook(malphas, "behind", status=3)
    hooks(malphas, "post behind.service wanted")
    malphas.write(
        "/usr/local/bin/lab-point",
        "#!/bin/sh\ncase $1 in boot:begin) rm $0; systemctl kill --signal=KILL gitopsd.service; sleep 2 ;; esac\n",
        mode=0o755,
    )
    said = malphas.run(["gitopsctl", "upgrade"], check=False, timeout=120).stdout
    assert "=== Deployment Successful ===" in said
    assert ran(malphas) == ["behind"]
