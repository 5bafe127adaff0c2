"""Nothing bad is deployed, and nothing deployed stays bad."""

import json

import pytest
from e2e.scene import HELLO, HOMES, set_up
from lab import Host, Lab

pytestmark = pytest.mark.lab

DIES_LATER = """[Unit]
Description=Looks good, and dies five seconds later

[Service]
ExecStart=/bin/sh -c 'sleep 5; exit 1'

[Install]
WantedBy=multi-user.target
"""

RESTARTS = """[Unit]
Description=Restarts for ever

[Service]
ExecStart=/bin/sh -c 'sleep 1; exit 1'
Restart=always
RestartSec=100ms
StartLimitIntervalSec=0

[Install]
WantedBy=multi-user.target
"""

# Cuts the machine off as a firewall rule or a lost address would, for as long as the unit is active.
CUTS = """[Unit]
Description=Cuts the network

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'ip route add blackhole 10.77.0.2/32'
ExecStop=/bin/sh -c 'ip route del blackhole 10.77.0.2/32'

[Install]
WantedBy=multi-user.target
"""


NEVER = HELLO.replace("/usr/bin/echo hello {word}", "/usr/bin/sleep infinity")


def last(host: Host) -> dict:  # type: ignore[type-arg]
    answer: dict = json.loads(host.run(["gitopsctl", "status", "--json"]).stdout)["last_upgrade"]  # type: ignore[type-arg]
    return answer


def refused(host: Host, before: str, *said: str) -> None:
    """The newest upgrade was rolled back for this reason, and the machine is as it was."""
    ended = last(host)
    assert ended["outcome"] == "rolled-back", ended
    for words in said:
        assert words in ended["message"]
    assert host.current_system() == host.boot_default() == before
    assert host.failed_units() == []
    assert host.active_state("sshd.service") == "active"


def test_a_unit_that_dies_five_seconds_after_a_good_start_is_caught_by_the_soak(lab: Lab) -> None:
    scene = set_up(lab, "malphas", soak="8s", dotfiles=False)
    malphas = scene.hosts["malphas"]
    before = malphas.current_system()
    scene.push_config("dies later", later_service=DIES_LATER)
    assert malphas.run(["gitopsctl", "upgrade"], check=False).returncode == 1
    refused(malphas, before, "later.service failed and had not before")


def test_a_unit_that_restarts_in_a_loop_is_caught(lab: Lab) -> None:
    scene = set_up(lab, "malphas", soak="4s", dotfiles=False)
    malphas = scene.hosts["malphas"]
    config = malphas.read("/etc/gitopsd/config.toml").replace('"sshd.service"', '"sshd.service", "loop.service"')
    before = malphas.current_system()
    scene.forge.push_change(
        "nix-config",
        {"hosts/malphas/units/loop.service": RESTARTS, "hosts/malphas/etc/gitopsd/config.toml": config},
        "restarts",
    )
    malphas.sh("rm /etc/gitopsd/config.toml")
    malphas.write("/etc/gitopsd/config.toml", config)
    malphas.run(["systemctl", "reload", "gitopsd.service"])
    assert malphas.run(["gitopsctl", "upgrade"], check=False).returncode == 1
    refused(malphas, before, "loop.service")


def test_a_configuration_that_cuts_the_network_is_rolled_back_and_the_host_can_fetch_again(lab: Lab) -> None:
    scene = set_up(lab, "malphas", dotfiles=False)
    malphas = scene.hosts["malphas"]
    before = malphas.current_system()
    scene.push_config("cuts the network", cut_service=CUTS)
    assert malphas.run(["gitopsctl", "upgrade"], check=False, timeout=120).returncode == 1
    refused(malphas, before, "cannot be reached any more", "it can be reached again")
    assert len(json.loads(malphas.run(["gitopsctl", "status", "--json"]).stdout)["rejected"]) == 1
    scene.push_config("a good one", hello_service=HELLO.format(word="again"))
    malphas.run(["gitopsctl", "upgrade"], check=False)
    assert malphas.active_state("hello.service") == "active"


def test_a_configuration_that_changes_gitopsds_own_unit_is_taken_over_by_the_new_one(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    unit = scene.files()["gitopsd/gitopsd.service"]
    assert "WatchdogSec=60s" in unit
    scene.forge.push_change(
        "nix-config", {"gitopsd/gitopsd.service": unit.replace("WatchdogSec=60s", "WatchdogSec=45s")}, "own unit"
    )
    pid = malphas.run(["systemctl", "show", "-P", "MainPID", "gitopsd.service"]).stdout
    followed = malphas.run(["gitopsctl", "upgrade"])
    assert "=== Deployment Successful ===" in followed.stdout
    malphas.until(
        lambda: malphas.run(["systemctl", "show", "-P", "MainPID", "gitopsd.service"]).stdout not in (pid, "0\n"),
        what="the new daemon",
    )
    assert malphas.run(["systemctl", "show", "-P", "WatchdogUSec", "gitopsd.service"]).stdout.strip() == "45s"
    assert last(malphas)["outcome"] == "success"
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0
    assert malphas.journal("gitopsd.service").count("the running system has another version of gitopsd") == 1


# Newer versions that rehearse well. One brings the state to where the old one cannot read it, and dies; the other is
# ready, each time, and dies soon after.
OF_TOMORROW = """#!/bin/sh
case "$*" in *--rehearse*) exec /usr/bin/gitopsd "$@" ;; esac
python3 -c 'import sqlite3; sqlite3.connect("/var/lib/gitopsd/state.db").execute("PRAGMA user_version = 99")'
exit 7
"""
OF_THE_DAY_AFTER = """#!/bin/sh
case "$*" in *--rehearse*) exec /usr/bin/gitopsd "$@" ;; esac
{ sleep 4; kill -9 $$; } &
exec /usr/bin/gitopsd "$@"
"""


def test_a_gitopsd_that_does_not_hold_once_it_has_taken_over_is_gone_back_from_without_its_help(lab: Lab) -> None:
    scene = set_up(lab, "malphas", homes=False)
    malphas = scene.hosts["malphas"]
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0  # what runs is deployed
    before, pid = malphas.current_system(), main_pid(malphas)
    unit = scene.files()["gitopsd/gitopsd.service"]
    for number, program in enumerate((OF_TOMORROW, OF_THE_DAY_AFTER), 1):
        malphas.write(f"/usr/local/bin/gitopsd-{number}", program, mode=0o755)
        changed = unit.replace("ExecStart=gitopsd", f"ExecStart=/usr/local/bin/gitopsd-{number}")
        assert changed != unit
        revision = scene.forge.push_change("nix-config", {"gitopsd/gitopsd.service": changed}, f"number {number}")
        assert "=== Deployment Successful ===" in malphas.run(["gitopsctl", "upgrade"]).stdout

        def back(revision: str = revision) -> bool:
            told = malphas.run(["gitopsctl", "status", "--json"], check=False)
            answer = json.loads(told.stdout) if told.returncode == 0 else {"rejected": []}
            return revision in {each["revision"] for each in answer["rejected"]}

        malphas.until(back, timeout=120, what="the old system, with the old gitopsd")
        malphas.until(lambda: not watched(malphas), what="the end of the watch")
        status = json.loads(malphas.run(["gitopsctl", "status", "--json"]).stdout)
        assert "its gitopsd did not hold once it had taken over: it " in status["rejected"][0]["reason"]
        assert malphas.current_system() == malphas.boot_default() == status["deployed"]["toplevel"] == before
        assert status["state"] == "idle"
        assert not status["system"]["drift"]
        started = malphas.run(["systemctl", "show", "-P", "ExecStart", "gitopsd.service"]).stdout
        assert f"gitopsd-{number}" not in started
        assert malphas.failed_units() == []
        assert not malphas.exists("/var/lib/gitopsd/takeover.json")
        assert malphas.run(["gitopsctl", "upgrade"], check=False).returncode == 1  # it is rejected
    assert malphas.sh("ls /var/lib/gitopsd/state.db.newer-*").stdout.count("\n") == 1
    assert main_pid(malphas) != pid

    good = {"gitopsd/gitopsd.service": unit.replace("WatchdogSec=60s", "WatchdogSec=45s")}
    scene.forge.push_change("nix-config", good, "a good one")
    malphas.run(["gitopsctl", "upgrade"])
    malphas.until(lambda: watched(malphas), what="the watch")
    malphas.reboot()
    assert malphas.current_system() != before
    malphas.until(lambda: watched(malphas), what="the watch, after a reboot")


def watched(host: Host) -> bool:
    """Whether an older version watches."""
    return host.active_state("gitopsd-standby.service") == "active"


def main_pid(host: Host) -> str:
    """Of gitopsd."""
    return host.run(["systemctl", "show", "-P", "MainPID", "gitopsd.service"]).stdout.strip()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("ExecStart=gitopsd", "ExecStart=/usr/bin/gitopsd-of-tomorrow"), "does not start: exit-code"),
        (("ExecStart=gitopsd", "ExecStart=/usr/bin/gitopsd --config /etc/none.toml"), "/etc/none.toml"),
        (("[Service]", "[Service]\nInaccessiblePaths=/etc/gitopsd"), "cannot read /etc/gitopsd/config.toml"),
        (None, "has no gitopsd.service"),
    ],
    ids=["no such program", "no configuration", "a sandbox that is too tight", "the unit is gone"],
)
def test_a_configuration_that_breaks_gitopsds_own_unit_is_rolled_back_before_anything_depends_on_it(
    lab: Lab, change: tuple[str, str] | None, said: str
) -> None:
    scene = set_up(lab, "malphas", homes=False)
    malphas = scene.hosts["malphas"]
    before = malphas.current_system()
    unit = scene.files()["gitopsd/gitopsd.service"]
    host = scene.files()["hosts/malphas.nix"]
    gone = {
        "hosts/malphas.nix": host.replace(
            "lab.unitsFrom ../gitopsd", 'builtins.removeAttrs (lab.unitsFrom ../gitopsd) [ "gitopsd.service" ]'
        )
    }
    scene.forge.push_change(
        "nix-config", {"gitopsd/gitopsd.service": unit.replace(*change)} if change else gone, "break it"
    )
    assert malphas.run(["gitopsctl", "upgrade"], check=False).returncode == 1
    refused(malphas, before, said)
    assert malphas.active_state("gitopsd.service") == "active"
    assert not malphas.exists("/run/systemd/system/gitopsd-rehearsal.service")
    assert malphas.run(["ls", "/var/lib/gitopsd"]).stdout.count("rehearsal") == 0
    malphas.reboot()
    assert malphas.booted_system() == before
    assert malphas.active_state("gitopsd.service") == "active"
    scene.push_config("a good one", hello_service=HELLO.format(word="again"))
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0


def test_a_configuration_file_that_a_person_spoilt_is_not_held_against_a_new_system(lab: Lab) -> None:
    scene = set_up(lab, "malphas", homes=False)
    malphas = scene.hosts["malphas"]
    good = malphas.read("/etc/gitopsd/config.toml")
    malphas.sh("rm /etc/gitopsd/config.toml")
    malphas.write("/etc/gitopsd/config.toml", good + "[nonsense\n")
    before = malphas.current_system()
    unit = scene.files()["gitopsd/gitopsd.service"]
    # The switch links the file that the repository has over it; a directory in its place is what it cannot replace.
    scene.forge.push_change(
        "nix-config",
        {
            "gitopsd/gitopsd.service": unit.replace("WatchdogSec=60s", "WatchdogSec=45s"),
            "hosts/malphas/etc/gitopsd/config.toml": None,
            "hosts/malphas.nix": scene.files()["hosts/malphas.nix"].replace(
                '    "gitopsd/config.toml" = builtins.readFile ./malphas/etc/gitopsd/config.toml;\n', ""
            ),
        },
        "another unit, and a configuration that people write by hand",
    )
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0
    assert malphas.current_system() != before
    malphas.until(lambda: "not restarted" in malphas.journal("gitopsd.service"), what="the old version to stay")
    assert malphas.active_state("gitopsd.service") == "active"


def test_a_switch_that_never_ends_is_ended_and_rolled_back(lab: Lab) -> None:
    scene = set_up(lab, "malphas", more='\n[switch]\ntimeout = "8s"\n', homes=False)
    malphas = scene.hosts["malphas"]
    before = malphas.current_system()
    scene.push_config("never starts", hello_service=NEVER)
    assert malphas.run(["gitopsctl", "upgrade"], check=False).returncode == 1
    refused(malphas, before, "did not end within 8 s")
    assert len(json.loads(malphas.run(["gitopsctl", "status", "--json"]).stdout)["rejected"]) == 1
    assert malphas.sh("pgrep -f '[s]witch-to-configuration' || true").stdout == ""


def test_a_fix_that_arrives_ends_the_wait_for_a_system_that_does_not_become_good(lab: Lab) -> None:
    probe = '\n[[verify.probes]]\ncommand = ["test", "!", "-e", "/run/broken"]\n'
    scene = set_up(lab, "malphas", more=probe, homes=False)
    malphas = scene.hosts["malphas"]
    config = malphas.read("/etc/gitopsd/config.toml").replace('deadline = "20s"', 'deadline = "10min"')
    malphas.sh("rm /etc/gitopsd/config.toml")
    malphas.write("/etc/gitopsd/config.toml", config)
    malphas.run(["systemctl", "reload", "gitopsd.service"])
    broken = (
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=touch /run/broken\nExecStop=rm /run/broken\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )
    scene.push_config("breaks", broken_service=broken)
    malphas.run(["gitopsctl", "upgrade", "--no-wait"])
    malphas.until(lambda: "waiting: probe" in malphas.run(["gitopsctl", "status"]).stdout, what="the wait for a probe")
    scene.push_config("mends", hello_service=HELLO.format(word="mended"))
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0
    assert malphas.active_state("hello.service") == "active"
    told = malphas.run(["gitopsctl", "history"]).stdout
    assert "which is newer" in told
    assert json.loads(malphas.run(["gitopsctl", "status", "--json"]).stdout)["rejected"] == []


def test_a_humans_switch_at_the_same_moment_is_left_alone_and_the_revision_stays_eligible(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    scene.push_config("say hello", hello_service=HELLO.format(word="human"))
    malphas.run(
        [
            *("systemd-run", "--collect", "--service-type=exec", "--unit=nixos-rebuild-switch-to-configuration"),
            *("/bin/sleep", "20"),
        ]
    )
    busy = malphas.run(["gitopsctl", "upgrade"], check=False)
    assert busy.returncode == 1
    assert "another activation is running" in busy.stdout
    assert malphas.active_state("nixos-rebuild-switch-to-configuration.service") == "active"
    malphas.run(["systemctl", "stop", "nixos-rebuild-switch-to-configuration.service"])
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0
    assert malphas.active_state("hello.service") == "active"


def test_a_rewound_branch_needs_a_person(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    malphas = scene.hosts["malphas"]
    first = scene.forge.head("nix-config")
    scene.push_config("say hello", hello_service=HELLO.format(word="rewound"))
    malphas.run(["gitopsctl", "upgrade"])
    scene.forge.rewrite("nix-config", first)
    rewound = malphas.run(["gitopsctl", "upgrade"], check=False)
    assert rewound.returncode == 1
    assert "--accept-diverged" in rewound.stdout
    assert malphas.active_state("hello.service") == "active"
    malphas.run(["gitopsctl", "upgrade", "--accept-diverged"])
    assert malphas.active_state("hello.service") == "inactive"


PORT = """[Unit]
Description=Answers on a port

[Service]
ExecStart=/usr/bin/python3 -m http.server --bind 127.0.0.1 8000

[Install]
WantedBy=multi-user.target
"""


@pytest.mark.parametrize("way", ["http", "command"])
def test_a_probe_that_fails_rolls_back(lab: Lab, way: str) -> None:
    probe = {
        "http": 'http = "http://127.0.0.1:8000/"',
        "command": 'command = ["grep", "-q", "hello", "/etc/greeting"]',
    }[way]
    scene = set_up(lab, "malphas", more=f"\n[[verify.probes]]\n{probe}\ntimeout = '1s'\n", dotfiles=False)
    malphas = scene.hosts["malphas"]
    malphas.write("/etc/greeting", "hello\n")
    scene.push_config("answers", port_service=PORT)
    malphas.run(["gitopsctl", "upgrade"], check=False)
    before = malphas.current_system()
    assert malphas.active_state("port.service") == "active"
    other_port = PORT.replace("8000", "8001")
    hides = (
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=mv /etc/greeting /etc/gone\n"
        "ExecStop=mv /etc/gone /etc/greeting\n[Install]\nWantedBy=multi-user.target\n"
    )
    if way == "http":
        scene.push_config("another port", port_service=other_port)
    else:
        scene.push_config("hides the greeting", port_service=PORT, hide_service=hides)
    assert malphas.run(["gitopsctl", "upgrade"], check=False, timeout=120).returncode == 1
    refused(malphas, before, "probe")


def test_a_configuration_that_leads_the_host_to_a_remote_which_cannot_be_read_is_rolled_back(lab: Lab) -> None:
    scene = set_up(lab, "malphas", homes=False)
    malphas = scene.hosts["malphas"]
    before = malphas.current_system()
    file = "hosts/malphas/etc/gitopsd/config.toml"
    text = scene.files()[file]
    for wrong, said in (
        (text.replace("nix-config.git", "nix-konfig.git"), "does not appear to be a git repository"),
        (text.replace("[config]\n", '[config]\nbranch = "master"\n'), "has no branch 'master'"),
        (text.replace('[config]\nrepo_url = "git@forge:nix-config.git"\n', HOMES), "it has no section [config]"),
    ):
        scene.forge.push_change("nix-config", {file: wrong}, "another remote")
        assert malphas.run(["gitopsctl", "upgrade"], check=False, timeout=120).returncode == 1
        refused(malphas, before, "with the new system's config.toml this host would never fetch again", said)
    scene.forge.git("nix-config", "branch", "stable", "main")
    scene.forge.push_change(
        "nix-config", {file: text.replace("[config]\n", '[config]\nbranch = "stable"\n')}, "one that is there"
    )
    assert malphas.run(["gitopsctl", "upgrade"]).returncode == 0
    assert malphas.current_system() != before


# What a test has switch-to-configuration do at one of its points: it finds that the new system runs already.
GIVES_UP = """#!/bin/sh
case "$1" in test:activated) rm /usr/local/bin/lab-point; exit 99 ;; esac
"""
HANGS_UP = """#!/bin/sh
case "$1" in test:activated) rm /usr/local/bin/lab-point; kill -HUP $PPID ;; esac
"""


@pytest.mark.parametrize(
    ("script", "said"),
    [(GIVES_UP, "it gave up half-way (status 1)"), (HANGS_UP, "it was ended by signal 1")],
    ids=["an error that it did not foresee", "a signal whose number means something else"],
)
def test_an_activation_that_ends_half_way_is_not_taken_for_one_that_did_not_begin(
    lab: Lab, script: str, said: str
) -> None:
    scene = set_up(lab, "malphas", homes=False)
    malphas = scene.hosts["malphas"]
    before = malphas.current_system()
    malphas.write("/usr/local/bin/lab-point", script, mode=0o755)
    scene.push_config("say hello", hello_service=HELLO.format(word="half"))
    malphas.run(["gitopsctl", "upgrade"], check=False)
    refused(malphas, before, said)


def test_a_system_that_is_no_generation_is_there_to_go_back_to_after_the_garbage_collector_ran(lab: Lab) -> None:
    scene = set_up(lab, "malphas", soak="10s", homes=False)
    malphas = scene.hosts["malphas"]
    malphas.run(["gitopsctl", "upgrade"])
    scene.push_config("by hand", hello_service=HELLO.format(word="by hand"))
    built = malphas.sh(
        "nix --extra-experimental-features 'nix-command flakes' build --no-link --print-out-paths"
        " 'git+ssh://git@forge/~/nix-config.git#nixosConfigurations.malphas.config.system.build.toplevel'"
    )
    by_hand = built.stdout.strip()
    malphas.run([f"{by_hand}/bin/switch-to-configuration", "test"])
    scene.push_config("dies later", later_service=DIES_LATER)
    malphas.run(["gitopsctl", "upgrade", "--no-wait"])
    malphas.until(lambda: "soaking" in malphas.run(["gitopsctl", "status"]).stdout, what="the soak")
    malphas.run(["nix-collect-garbage"])
    malphas.until(lambda: last(malphas)["outcome"] == "rolled-back", what="the way back")
    assert malphas.current_system() == by_hand
    assert malphas.active_state("hello.service") == "active"


def test_a_unit_that_reloads_in_the_soak_has_stayed_active(lab: Lab) -> None:
    scene = set_up(lab, "malphas", soak="6s", homes=False)
    malphas = scene.hosts["malphas"]
    config = malphas.read("/etc/gitopsd/config.toml").replace('"sshd.service"', '"sshd.service", "slow.service"')
    slow = "[Service]\nExecStart=/usr/bin/sleep infinity\nExecReload=/usr/bin/sleep 3\n[Install]\nWantedBy=multi-user.target\n"
    malphas.sh("rm /etc/gitopsd/config.toml")
    malphas.write("/etc/gitopsd/config.toml", config)
    malphas.run(["systemctl", "reload", "gitopsd.service"])
    scene.forge.push_change(
        "nix-config",
        {"hosts/malphas/units/slow.service": slow, "hosts/malphas/etc/gitopsd/config.toml": config},
        "reloads slowly",
    )
    malphas.run(["gitopsctl", "upgrade", "--no-wait"])
    malphas.until(lambda: "soaking" in malphas.run(["gitopsctl", "status"]).stdout, what="the soak")
    malphas.run(["systemctl", "reload", "slow.service"])
    malphas.until(lambda: last(malphas) is not None and last(malphas)["outcome"] == "success", what="the end")
