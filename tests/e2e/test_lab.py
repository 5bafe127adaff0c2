"""What the lab promises to every other end-to-end test."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from lab import CommandFailed, Forge, Host, HostSpec, Lab, LabError, TimedOut, config_files

pytestmark = pytest.mark.lab

TESTS = Path(__file__).parents[1]

SLEEPER = """[Unit]
Description=A unit that can be seen to run

[Service]
ExecStart=/usr/bin/sleep infinity

[Install]
WantedBy=multi-user.target
"""
FAILING = SLEEPER.replace("/usr/bin/sleep infinity", "/usr/bin/false")


def boot_all(lab: Lab, *names: str) -> tuple[Forge, list[Host]]:
    """Boot the forge and some hosts at the same time."""
    with ThreadPoolExecutor() as pool:
        forge = pool.submit(lab.forge)
        return forge.result(), lab.hosts(*names)


def build(host: Host, revision: str) -> str:
    """Build a revision of the forge's nix-config from a mirror on the host, and return the toplevel."""
    host.sh(
        "test -d /var/tmp/mirror || git clone --quiet --mirror git@forge:nix-config.git /var/tmp/mirror\n"
        "git -C /var/tmp/mirror remote update >/dev/null 2>&1"
    )
    attribute = f'nixosConfigurations."{host.name}".config.system.build.toplevel'
    flake = f"git+file:///var/tmp/mirror?rev={revision}#{attribute}"
    return host.run(["nix", "build", "--no-link", "--print-out-paths", "--no-write-lock-file", flake]).stdout.strip()


def switch(host: Host, toplevel: str, action: str) -> subprocess.CompletedProcess[str]:
    """Run switch-to-configuration as nixos-rebuild does: in a transient unit with an empty environment."""
    unit = ["systemd-run", "--quiet", "--collect", "--pipe", "--wait", "--service-type=exec"]
    return host.run([*unit, f"{toplevel}/bin/switch-to-configuration", action], check=False)


def set_profile(host: Host, toplevel: str) -> None:
    """Make the toplevel the newest generation."""
    host.run(["nix-env", "--profile", "/nix/var/nix/profiles/system", "--set", toplevel])


# -- machines -------------------------------------------------------------------------------------------------------


def test_people_reach_the_forge_over_ssh_and_machines_reach_each_other_by_name(lab: Lab) -> None:
    forge, (malphas, griefling) = boot_all(lab, "malphas", "griefling")
    forge.create_repo("dotfiles")
    first = forge.push_tree("dotfiles", {"dot_bashrc": "# grüße\n"}, "first")

    malphas.sh("git clone --quiet git@forge:dotfiles.git d", user="rain")
    assert malphas.read("/home/rain/d/dot_bashrc") == "# grüße\n"
    assert malphas.run(["stat", "-c", "%U", "/home/rain/d/dot_bashrc"]).stdout == "rain\n"
    malphas.sh("cd d && echo more >>dot_bashrc && git commit --quiet -am second && git push --quiet", user="rain")
    assert forge.git("dotfiles", "rev-parse", "main~1") == first
    assert forge.show("dotfiles", "dot_bashrc") == "# grüße\nmore\n"
    griefling.run(["ping", "-c1", "-W1", "malphas"])


def test_an_unknown_host_key_is_refused(lab: Lab) -> None:
    malphas, griefling = lab.hosts("malphas", "griefling")
    done = malphas.run(["ssh", "-o", "BatchMode=yes", "griefling", "true"], user="rain", check=False)
    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr
    assert griefling.is_on()


def test_a_cut_network_fails_at_once_and_comes_back(lab: Lab) -> None:
    forge, (malphas,) = boot_all(lab, "malphas")
    url = forge.create_repo("dotfiles")
    ask = ["git", "ls-remote", url]

    malphas.cut_network()
    started = time.monotonic()
    assert malphas.run(ask, user="rain", check=False).returncode != 0
    assert time.monotonic() - started < 1
    malphas.reboot()
    assert malphas.run(ask, user="rain", check=False).returncode != 0, "a reboot does not repair a cable"

    malphas.restore_network()
    malphas.run(ask, user="rain")


def test_a_power_cut_keeps_files_and_is_another_boot(lab: Lab) -> None:
    malphas = lab.host("malphas")
    malphas.write("/home/rain/deep/er/note", "kept", owner="rain", mode=0o600)
    before = malphas.boot_id()
    malphas.sh("logger -t lab-test before-the-cut; journalctl --sync")

    malphas.power_cut()
    assert not malphas.is_on()
    with pytest.raises(LabError, match="malphas is off"):
        malphas.run(["true"])
    assert malphas.read("/home/rain/deep/er/note") == "kept", "files can be looked at while it is off"

    malphas.boot()
    assert malphas.boot_id() != before
    assert malphas.run(["stat", "-c", "%a %U", "/home/rain/deep/er/note"]).stdout == "600 rain\n"
    assert "before-the-cut" not in malphas.journal()
    assert "before-the-cut" in malphas.journal(since_boot=False)


def test_a_reboot_from_inside_comes_back_with_its_network(lab: Lab) -> None:
    forge, (malphas,) = boot_all(lab, "malphas")
    url = forge.create_repo("dotfiles")
    before = malphas.boot_id()
    malphas.run(["systemctl", "reboot"], check=False)
    after = malphas.wait_boot(before)
    assert after != before
    assert malphas.boot_id() == after
    malphas.run(["git", "ls-remote", url], user="rain")


def test_a_machine_that_is_asked_all_the_time_still_reboots(lab: Lab) -> None:
    malphas = lab.host("malphas")
    rebooted = threading.Event()

    def ask() -> None:
        while not rebooted.is_set():
            with suppress(LabError):
                malphas.run(["true"], check=False)

    with ThreadPoolExecutor() as pool:
        asking = pool.submit(ask)
        try:
            for _ in range(3):
                malphas.reboot(timeout=10)
        finally:
            rebooted.set()
        asking.result()


def test_commands_run_as_the_person_with_a_clean_environment(lab: Lab) -> None:
    malphas = lab.host("malphas")
    shown = malphas.run(["env"], user="rain", env={"EXTRA": "1"}).stdout.splitlines()
    assert {"HOME=/home/rain", "USER=rain", "EXTRA=1"} <= set(shown)
    assert not [line for line in shown if line.startswith(("PYTHON", "PYTEST", "SUDO"))]
    assert malphas.sh("id -un; id -Gn; pwd; umask", user="olga").stdout == "olga\nolga\n/home/olga\n0022\n"
    assert malphas.run(["cat"], input="words").stdout == "words"
    with pytest.raises(CommandFailed, match=r"(?s)exit 3.*ended with 3.*out.*err"):
        malphas.sh("echo out; echo err >&2; exit 3")


def test_no_command_in_a_machine_sets_the_clock_which_is_that_of_its_host(lab: Lab) -> None:
    malphas = lab.machine("malphas")
    assert malphas.run(["sh", "-c", "date -s @$(date +%s)"], check=False).returncode != 0


def test_a_command_that_runs_over_is_ended_with_its_children(lab: Lab) -> None:
    malphas = lab.host("malphas")
    with pytest.raises(TimedOut, match=r"not done after 0\.5 s"):
        malphas.sh("sleep 1234 & sleep 1234", timeout=0.5)
    assert malphas.run(["pgrep", "-f", "^sleep 1234"], check=False).stdout == ""


# -- the lab's NixOS ------------------------------------------------------------------------------------------------


def test_a_host_starts_in_generation_1_with_only_its_own_units(lab: Lab) -> None:
    malphas = lab.host("malphas", HostSpec(units={"sleeper.service": SLEEPER}, etc={"gitopsd/config.toml": "x = 1\n"}))
    toplevel = malphas.boot_default()
    assert malphas.generations() == {1: toplevel}
    assert malphas.booted_system() == malphas.current_system() == toplevel
    assert malphas.failed_units() == []
    assert malphas.read("/etc/gitopsd/config.toml") == "x = 1\n"
    states = {unit: malphas.active_state(unit) for unit in ("sshd.service", "sleeper.service", "ssh.service")}
    assert states == {"sshd.service": "active", "sleeper.service": "active", "ssh.service": "inactive"}


def test_an_exact_revision_builds_and_the_same_files_give_the_same_toplevel(lab: Lab) -> None:
    forge, (malphas,) = boot_all(lab, "malphas")
    forge.create_repo("nix-config")
    same = forge.push_tree("nix-config", config_files({"malphas": HostSpec()}), "as installed")
    other = forge.push_change("nix-config", {"hosts/malphas/units/sleeper.service": SLEEPER}, "a unit")
    assert build(malphas, same) == malphas.current_system()
    assert build(malphas, other) != malphas.current_system()

    broken = forge.push_change("nix-config", {"hosts/malphas.nix": "{ lab }: syntax error ["}, "broken")
    with pytest.raises(CommandFailed, match="syntax error"):
        build(malphas, broken)
    assert build(malphas, forge.revert("nix-config")) == build(malphas, other)


def test_test_activates_and_leaves_the_boot_default_alone(lab: Lab) -> None:
    forge, (malphas,) = boot_all(lab, "malphas")
    old = malphas.boot_default()
    forge.create_repo("nix-config")
    spec = HostSpec(units={"sleeper.service": SLEEPER})
    new = build(malphas, forge.push_tree("nix-config", config_files({"malphas": spec}), "a unit"))

    assert "would start" not in switch(malphas, old, "dry-activate").stderr
    done = switch(malphas, new, "test")
    assert done.returncode == 0, done.stderr
    assert malphas.current_system() == new
    assert malphas.booted_system() == malphas.boot_default() == old
    assert malphas.active_state("sleeper.service") == "active"

    done = switch(malphas, old, "test")
    assert "stopping the following units: sleeper.service" in done.stderr + done.stdout
    assert malphas.active_state("sleeper.service") == "inactive"


def test_boot_changes_the_default_only_and_the_next_boot_runs_it(lab: Lab) -> None:
    forge, (malphas,) = boot_all(lab, "malphas")
    old = malphas.current_system()
    forge.create_repo("nix-config")
    spec = HostSpec(units={"sleeper.service": SLEEPER})
    new = build(malphas, forge.push_tree("nix-config", config_files({"malphas": spec}), "a unit"))

    set_profile(malphas, new)
    assert switch(malphas, new, "boot").returncode == 0
    assert (malphas.current_system(), malphas.boot_default()) == (old, new)
    assert malphas.active_state("sleeper.service") == "inactive"
    entries = malphas.run(["ls", "/boot/loader/entries"]).stdout.split()
    assert entries == ["nixos-generation-1.conf", "nixos-generation-2.conf"]

    malphas.reboot()
    assert malphas.booted_system() == malphas.current_system() == new
    assert malphas.active_state("sleeper.service") == "active"

    malphas.run(["nix-collect-garbage", "--delete-old"])
    malphas.reboot()
    assert malphas.booted_system() == new, "what the profile holds is not garbage"
    assert not malphas.exists(old)


def test_exit_statuses_say_what_happened(lab: Lab) -> None:
    forge, (malphas,) = boot_all(lab, "malphas")
    old = malphas.current_system()
    forge.create_repo("nix-config")

    def pushed(spec: HostSpec) -> str:
        return build(malphas, forge.push_tree("nix-config", config_files({"malphas": spec}), "next"))

    needs_reboot = pushed(HostSpec(settings={"initInterfaceVersion": "systemd 3"}))
    assert switch(malphas, needs_reboot, "switch").returncode == 100
    assert malphas.current_system() == old

    fails_to_activate = pushed(HostSpec(settings={"activationScript": "false"}))
    assert switch(malphas, fails_to_activate, "test").returncode == 2
    assert malphas.current_system() == fails_to_activate

    failing_unit = pushed(HostSpec(units={"broken.service": FAILING}))
    done = switch(malphas, failing_unit, "test")
    assert done.returncode == 4
    assert "the following units failed: broken.service" in done.stderr + done.stdout
    assert malphas.current_system() == failing_unit
    assert malphas.failed_units() == ["broken.service"]

    assert switch(malphas, old, "test").returncode == 0
    assert malphas.failed_units() == [], "failed units are cleared by a switch"

    with pytest.raises(CommandFailed, match=r"builder.*failed"):
        pushed(HostSpec(settings={"buildScript": "echo no; exit 1"}))


def test_a_changed_unit_is_restarted_unless_it_forbids_it(lab: Lab) -> None:
    stays = SLEEPER.replace("[Service]", "X-StopOnRemoval=false\n[Service]\nX-RestartIfChanged=false")
    spec = HostSpec(units={"sleeper.service": SLEEPER, "stays.service": stays})
    forge, malphas = lab.forge(), lab.host("malphas", spec)
    forge.create_repo("nix-config")

    def main_pids() -> list[str]:
        units = ("sleeper.service", "stays.service")
        return [malphas.run(["systemctl", "show", "--property=MainPID", "--value", unit]).stdout for unit in units]

    before = main_pids()
    changed = HostSpec(units={name: text + "# changed\n" for name, text in spec.units.items()})
    new = build(malphas, forge.push_tree("nix-config", config_files({"malphas": changed}), "changed"))
    assert switch(malphas, new, "test").returncode == 0
    after = main_pids()
    assert after[0] != before[0]
    assert after[1] == before[1]

    gone = build(malphas, forge.push_tree("nix-config", config_files({"malphas": HostSpec()}), "gone"))
    assert switch(malphas, gone, "test").returncode == 0
    assert malphas.active_state("sleeper.service") == "inactive"
    assert main_pids()[1] == before[1]


def test_a_new_systemd_re_executes_pid_1_and_units_go_on(lab: Lab) -> None:
    forge, (malphas,) = boot_all(lab, "malphas")
    forge.create_repo("nix-config")
    spec = HostSpec(settings={"systemd": "263"})
    new = build(malphas, forge.push_tree("nix-config", config_files({"malphas": spec}), "systemd"))
    pid = malphas.run(["systemctl", "show", "--property=MainPID", "--value", "sshd.service"]).stdout
    assert switch(malphas, new, "test").returncode == 0
    assert "Reexecuting" in malphas.journal()
    assert malphas.run(["systemctl", "show", "--property=MainPID", "--value", "sshd.service"]).stdout == pid


# -- nothing is left behind -----------------------------------------------------------------------------------------


def test_two_labs_side_by_side_do_not_see_each_other() -> None:
    with Lab() as one, Lab() as two, ThreadPoolExecutor() as pool:
        first, second = pool.map(lambda lab: boot_all(lab, "malphas"), (one, two))
        first[0].create_repo("dotfiles")
        for forge, (malphas,) in (first, second):
            malphas.write("/etc/lab-test", str(id(forge)))
        assert first[1][0].read("/etc/lab-test") != second[1][0].read("/etc/lab-test")
        url = first[0].url("dotfiles")
        assert first[1][0].run(["git", "ls-remote", url], user="rain", check=False).returncode == 0
        assert second[1][0].run(["git", "ls-remote", url], user="rain", check=False).returncode != 0


def traces() -> dict[str, set[str]]:
    """Return what this computer has of the things that a lab makes in its namespaces."""
    commands = {
        "mount": ["cat", "/proc/self/mounts"],
        "interface": ["ip", "-o", "link", "show"],
        "run": ["find", "/run", "-xdev", "-path", "/run/user", "-prune", "-o", "-type", "d", "-print"],
        "temporary": [
            "find",
            "/tmp",
            "/var/tmp",
            "-maxdepth",
            "1",
            "-name",
            "*nspawn*",
            "-o",
            "-name",
            "*gitopsd-lab*",
        ],
    }
    found = {
        kind: set(subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines())
        for kind, command in commands.items()
    }
    # Counters and flags of interfaces change by themselves.
    found["interface"] = {line.split(":")[1] for line in found["interface"]}
    return found


def new_traces(before: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return what has come since `before`."""
    return {kind: found for kind, now in traces().items() if (found := now - before[kind])}


def processes_of(lab_id: str) -> list[str]:
    """Return the command lines of processes that belong to a lab: by name, or by cgroup."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if f"gitopsd-lab-{lab_id}" in (process / "cgroup").read_text() or f"keeper.sh {lab_id}" in command:
                found.append(command)
        except OSError:
            continue
    return found


def has_cgroup(lab_id: str) -> bool:
    """Tell whether a lab has a cgroup; the computer may have no cgroup v2 mounted, so we mount one unseen."""
    look = f"mount -t cgroup2 none /mnt && test -d /mnt/gitopsd-lab-{lab_id}"
    return subprocess.run(["unshare", "--mount", "sh", "-c", look], check=False).returncode == 0


def test_a_closed_lab_leaves_nothing() -> None:
    before = traces()
    with Lab() as lab:
        lab_id = lab.namespace.lab_id
        boot_all(lab, "malphas")
        assert len(processes_of(lab_id)) > 10
        assert has_cgroup(lab_id)
    assert processes_of(lab_id) == []
    assert not has_cgroup(lab_id)
    assert new_traces(before) == {}


OWNER = """
import signal, sys
from lab import Lab
with Lab() as lab:
    lab.host("malphas").popen(["sleep", "infinity"])
    print(lab.namespace.lab_id, flush=True)
    signal.pause()
"""


@pytest.mark.parametrize("signal", [9, 15, 2])
def test_a_killed_owner_leaves_nothing(signal: int) -> None:
    before = traces()
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    owner = subprocess.Popen([sys.executable, "-c", OWNER], env=environment, stdout=subprocess.PIPE, text=True)
    with owner:
        assert owner.stdout is not None
        lab_id = owner.stdout.readline().strip()
        assert len(processes_of(lab_id)) > 5
        owner.send_signal(signal)
        owner.wait()
    deadline = time.monotonic() + 5
    while (processes_of(lab_id) or has_cgroup(lab_id)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert processes_of(lab_id) == []
    assert not has_cgroup(lab_id)
    assert new_traces(before) == {}


# -- commands in the image ------------------------------------------------------------------------------------------


def run_in_image(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as `python -m lab run` does."""
    argv = [sys.executable, "-m", "lab", "run", "--", *command]
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)


def test_a_command_in_the_image_sees_the_checkout_and_its_status_is_ours() -> None:
    done = run_in_image("sh", "-c", "pwd; test -e tests/lab/__main__.py; touch new || touch /tmp/new; exit 7")
    assert (done.returncode, done.stdout) == (7, "/src\n")
    assert "Read-only file system" in done.stderr
    assert run_in_image("sh", "-c", "kill -9 $$").returncode == 137


def test_the_image_has_what_gitopsd_imports_and_runs() -> None:
    modules = "asyncvarlink gi hypothesis msgspec prometheus_client pydbus pytest_asyncio rich sdnotify structlog"
    done = run_in_image("python3", "-c", f"import {', '.join([*modules.split(), 'tenacity', 'transitions'])}")
    assert done.returncode == 0, done.stderr
    for program in ("age", "betterleaks", "chezmoi", "git", "gitleaks", "jj", "nix", "sops", "varlinkctl"):
        assert run_in_image("which", program).returncode == 0, program
