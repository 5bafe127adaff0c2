"""Whose fault it is that something does not build, and what that costs: only a revision's own fault is remembered."""

import json

import pytest
from e2e.scene import HELLO, Scene
from e2e.upgrading import deploys, ended, one, reconfigure, refused, rejected, roots, verdicts
from lab import Host, Lab

pytestmark = pytest.mark.lab

# Counts what is evaluated and built.
COUNTING = """#!/bin/sh
for word; do [ "$word" = build ] && echo build >>/var/tmp/nix-calls; done
exec /usr/bin/nix "$@"
"""


def with_setting(scene: Scene, text: str) -> dict[str, str]:
    """The host's file with one more argument of mkSystem."""
    return {"hosts/malphas.nix": scene.files()["hosts/malphas.nix"].rstrip()[:-1] + f"{text}\n}}\n"}


def fails_eligible(host: Host, *said: str) -> None:
    """An upgrade fails without the revision being held responsible, and leaves the machine as it was."""
    before = (host.current_system(), host.boot_default(), host.generations())
    answer = host.run(["gitopsctl", "upgrade"], check=False, timeout=120)
    assert answer.returncode == 1, answer.stdout
    detail = ended(host)
    assert detail["summary"]["outcome"] == "failed", detail["summary"]
    for words in said:
        assert words in detail["summary"]["message"], detail["summary"]["message"]
    assert rejected(host) == []
    assert (host.current_system(), host.boot_default(), host.generations()) == before


def test_a_bad_revision_that_is_offered_fifty_times_costs_one_attempt(lab: Lab) -> None:
    scene, malphas = one(lab)
    malphas.write("/usr/local/bin/nix", COUNTING)
    malphas.run(["chmod", "755", "/usr/local/bin/nix"])
    malphas.sh(
        "mkdir -p /run/systemd/system/gitopsd.service.d;"
        "printf '[Service]\\nEnvironment=PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\\n'"
        " >/run/systemd/system/gitopsd.service.d/path.conf;"
        "systemctl daemon-reload; systemctl restart gitopsd.service"
    )
    scene.forge.push_change("nix-config", with_setting(scene, 'buildScript = "exit 7";'), "does not build")
    for _ in range(50):
        assert malphas.run(["gitopsctl", "upgrade"], check=False).returncode == 1
    assert malphas.read("/var/tmp/nix-calls").split() == ["build"]
    outcomes = [
        cycle["outcome"] for cycle in json.loads(malphas.run(["gitopsctl", "history", "-n", "50", "--json"]).stdout)
    ]
    assert outcomes == ["rejected"] * 49 + ["build-failed"]


def test_a_failing_derivation_is_named_with_the_end_of_its_log(lab: Lab) -> None:
    scene, malphas = one(lab)
    script = 'buildScript = "for i in 1 2 3; do echo line $i; done; exit 7";'
    scene.forge.push_change("nix-config", with_setting(scene, script), "does not build")
    detail = refused(malphas, outcome="build-failed")
    message = detail["summary"]["message"]
    assert "does not build: nixos-system-malphas-26.05.lab: builder failed with exit code 7" in message.splitlines()[0]
    # Behind the nix daemon nix quotes the end of the log itself.
    log = "\n".join(line.strip().removeprefix("> ") for line in message.splitlines())
    assert "\nline 1\nline 2\nline 3\n" in log
    assert "builder failed with exit code 7" in malphas.run(["gitopsctl", "status"]).stdout


def test_a_host_without_a_configuration_is_told_so_and_a_corrected_name_deploys(lab: Lab) -> None:
    scene, malphas = one(lab)
    text = malphas.read("/etc/gitopsd/config.toml")
    scene.push_config("say hello", hello_service=HELLO.format(word="found"))
    malphas.sh("rm /etc/gitopsd/config.toml")
    malphas.write("/etc/gitopsd/config.toml", text.replace('host = "malphas"', 'host = "malfas"'))
    malphas.run(["systemctl", "reload", "gitopsd.service"])
    detail = refused(malphas, outcome="build-failed")
    first = detail["summary"]["message"].splitlines()[0]
    assert first.endswith('has no nixosConfigurations."malfas".config.system.build.toplevel')
    assert "correct `host`" in detail["summary"]["message"]
    malphas.write("/etc/gitopsd/config.toml", text)
    malphas.run(["systemctl", "reload", "gitopsd.service"])
    assert "=== Deployment Successful ===" in malphas.run(["gitopsctl", "retry"], timeout=120).stdout


def test_a_hash_that_does_not_match_is_the_revisions_fault(lab: Lab) -> None:
    scene, malphas = one(lab)
    fetched = (
        'derivation { name = "src"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo x >$out" ];'
        ' outputHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="; outputHashMode = "flat"; }'
    )
    scene.forge.push_change("nix-config", with_setting(scene, f'activationScript = "# ${{{fetched}}}";'), "wrong hash")
    detail = refused(malphas, outcome="build-failed")
    assert "hash mismatch" in detail["summary"]["message"]


def test_an_input_and_a_source_that_cannot_be_fetched_reject_nothing(lab: Lab) -> None:
    scene, malphas = one(lab)
    reconfigure(malphas, "", more='[retry.build]\nattempts = 2\nfirst = "100ms"\n')
    fetched = (
        'derivation { name = "src"; system = "x86_64-linux"; builder = "/bin/sh"; PATH = "/usr/bin:/bin"; '
        'args = [ "-c" "curl -fsS http://127.0.0.1:9/src >$out || { echo \\"curl: (7) Failed to connect\\" >&2; exit 1; }" ];'
        ' outputHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="; outputHashMode = "flat"; }'
    )
    scene.forge.push_change("nix-config", with_setting(scene, f'activationScript = "# ${{{fetched}}}";'), "a source")
    fails_eligible(malphas, "cannot build", "curl: (7)")
    flake = scene.files()["flake.nix"].replace(
        "outputs =\n    { self }:",
        'inputs.x = { url = "git+http://127.0.0.1:9/x"; flake = false; };\n  outputs =\n    { self, x }:',
    )
    scene.forge.push_tree("nix-config", {**scene.files(), "flake.nix": flake}, "an input")
    fails_eligible(malphas, "Failed to fetch git repository")
    scene.push_config("without it", hello_service=HELLO.format(word="again"))
    deploys(malphas)


# A cache that takes connections and answers none, so that it shows that nix has asked.
HANGS_UP = """\
import os, socket
server = socket.create_server(("127.0.0.1", 9))
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
while True:
    connection, _ = server.accept()
    with open("/run/cache-asked", "a") as file:
        file.write("asked\\n")
    connection.close()
"""


def test_a_cache_that_is_down_is_done_without(lab: Lab) -> None:
    scene, malphas = one(lab)
    malphas.write("/root/cache.py", HANGS_UP)
    malphas.run(["systemd-run", "--quiet", "--unit=cache", "--service-type=notify", "python3", "/root/cache.py"])
    malphas.sh("printf 'substitute = true\\nsubstituters = http://127.0.0.1:9\\n' >>/etc/nix/nix.conf")
    malphas.run(["systemctl", "try-restart", "nix-daemon.service"])  # as NixOS does where nix.conf is another
    scene.push_config("say hello", hello_service=HELLO.format(word="no cache"))
    deploys(malphas)
    assert "asked" in malphas.sh("cat /run/cache-asked").stdout


# A store of its own on a small disk; the rest of /nix comes along, since nix moves files between them.
SMALL_STORE = "mkdir /var/tmp/nix && cp -a /nix/. /var/tmp/nix/ && mount -t tmpfs -o size=64M,mode=755 tmpfs /nix && cp -a /var/tmp/nix/. /nix/ && systemctl stop nix-daemon.service && systemctl restart nix-daemon.socket"
FILL = "dd if=/dev/zero of=/nix/filler bs=64K 2>/dev/null || true"


def test_a_full_store_rejects_nothing_and_the_next_upgrade_with_space_deploys(lab: Lab) -> None:
    scene, malphas = one(lab)
    malphas.sh(SMALL_STORE)
    reconfigure(malphas, "", more='[space]\nstore = "8M"\n')
    malphas.sh(FILL)
    scene.push_config("say hello", hello_service=HELLO.format(word="space"))
    fails_eligible(malphas, "check `has room in the store`", "nix-collect-garbage")
    # Also where it gets full only while it builds, and the check has seen nothing.
    reconfigure(malphas, "", more="[space]\nstore = 0\n")
    fails_eligible(malphas, "the disk is full", "No space left")
    malphas.sh("rm /nix/filler")
    deploys(malphas)
    assert malphas.active_state("hello.service") == "active"
    assert roots(malphas) == []


def test_a_full_boot_changes_nothing_and_says_so(lab: Lab) -> None:
    scene, malphas = one(lab)
    malphas.sh("cp -a /boot /var/tmp/boot && mount -t tmpfs -o size=20M tmpfs /boot && cp -a /var/tmp/boot/. /boot/")
    malphas.sh("dd if=/dev/zero of=/boot/filler bs=1M count=10 2>/dev/null")
    scene.push_config("say hello", hello_service=HELLO.format(word="boot"))
    fails_eligible(malphas, "check `has room on /boot`", "kernel and initrd need", "delete old generations")
    assert verdicts(ended(malphas))["has room on /boot"] == "prevented"
    assert malphas.active_state("hello.service") == "inactive"
    malphas.sh("rm /boot/filler")
    deploys(malphas)


def test_a_damaged_store_is_told_with_the_way_to_repair_it(lab: Lab) -> None:
    scene, malphas = one(lab)
    scene.push_config("say hello", hello_service=HELLO.format(word="damaged"))
    malphas.sh("cp /nix/var/nix/db/db.sqlite /var/tmp/db; rm -f /nix/var/nix/db/db.sqlite-wal /nix/var/nix/db/db.sqlite-shm;"
               " dd if=/dev/urandom of=/nix/var/nix/db/db.sqlite bs=4096 count=8 conv=notrunc 2>/dev/null")  # fmt: skip
    fails_eligible(malphas, "the store is damaged")
    assert "nix-store --verify" in ended(malphas)["summary"]["message"]
    malphas.sh("cp /var/tmp/db /nix/var/nix/db/db.sqlite")
    deploys(malphas)


def test_a_configuration_that_is_no_flake_is_built_from_the_exact_revision(lab: Lab) -> None:
    scene, malphas = one(lab)
    hosts = "{ malphas = (import ./hosts/malphas.nix { lab = import ./lab; }).config.system.build.toplevel; }\n"
    tree = {path: text for path, text in scene.files().items() if path != "flake.nix"}
    configuration = malphas.read("/etc/gitopsd/config.toml").replace(
        "[config]\n", '[config]\nflake = false\nfile = "hosts.nix"\nattr = "malphas"\n'
    )
    tree |= {"hosts.nix": hosts, "hosts/malphas/etc/gitopsd/config.toml": configuration}
    tree["hosts/malphas/units/hello.service"] = HELLO.format(word="no flake")
    malphas.sh("rm /etc/gitopsd/config.toml")
    malphas.write("/etc/gitopsd/config.toml", configuration)
    malphas.run(["systemctl", "reload", "gitopsd.service"])
    revision = scene.forge.push_tree("nix-config", tree, "no flake")
    deploys(malphas)
    assert malphas.active_state("hello.service") == "active"
    assert ended(malphas)["summary"]["revision"] == revision
    scene.forge.push_change("nix-config", {"hosts.nix": hosts.replace("{ malphas", "{ other")}, "another attribute")
    detail = refused(malphas, outcome="build-failed")
    assert detail["summary"]["message"].splitlines()[0].endswith("has no malphas of hosts.nix")
    scene.forge.push_change("nix-config", {"hosts.nix": "{ malphas = <nixpkgs>; }\n"}, "a channel")
    detail = refused(malphas, outcome="build-failed")
    assert "not found in the Nix search path" in detail["summary"]["message"]


def running_as(host: Host, unit: str) -> set[str]:
    """Whose the processes of a unit are, by what the kernel says."""
    group = host.run(["systemctl", "show", "-P", "ControlGroup", unit]).stdout.strip()
    pids = host.read(f"/sys/fs/cgroup{group}/cgroup.procs").split()
    assert pids
    return set(host.run(["stat", "-c", "%U", *(f"/proc/{pid}" for pid in pids)]).stdout.split())


# It takes about a gigabyte to evaluate that.
HUNGRY = "lab = builtins.deepSeq (builtins.genList (x: { inherit x; y = [ x x x ]; }) 6000000) (import ./lab);"


def test_an_evaluation_that_runs_out_of_memory_is_told_as_that_and_rejects_nothing(lab: Lab) -> None:
    scene, malphas = one(lab)
    allow(malphas, "300M")
    flake = scene.files()["flake.nix"].replace("lab = import ./lab;", HUNGRY)
    assert HUNGRY in flake
    scene.forge.push_change("nix-config", {"flake.nix": flake}, "is hungry")
    assert malphas.run(["gitopsctl", "upgrade"], check=False, timeout=120).returncode == 1
    summary = ended(malphas)["summary"]
    assert summary["outcome"] == "failed", summary
    # Without the memory controller, which a kernel that has it in cgroup v1 does not give, it is nix itself that gives up.
    said = ("the evaluation ran out of memory: ", "it was killed, most likely for want of memory: ")
    assert any(words in summary["message"] for words in said), summary
    assert "config.memory_max lets it have 300M" in summary["message"]
    assert "raise config.memory_max" in summary["message"]
    assert (rejected(malphas), roots(malphas), malphas.failed_units()) == ([], [], [])
    allow(malphas, "100%")
    scene.push_config("say hello", hello_service=HELLO.format(word="enough"))
    deploys(malphas)


def allow(host: Host, memory: str) -> None:
    """Set `config.memory_max`."""
    text = host.sh("cat /etc/static/gitopsd/config.toml").stdout
    host.sh("rm /etc/gitopsd/config.toml")
    host.write("/etc/gitopsd/config.toml", text.replace("[config]\n", f'[config]\nmemory_max = "{memory}"\n'))
    host.run(["systemctl", "reload", "gitopsd.service"])


def test_evaluation_has_a_limit_of_memory_and_being_killed_rejects_nothing(lab: Lab) -> None:
    scene, malphas = one(lab)
    reconfigure(malphas)
    slow = with_setting(scene, 'buildScript = "sleep 20";')
    scene.forge.push_change("nix-config", slow, "takes its time")
    malphas.run(["gitopsctl", "upgrade", "--no-wait"])
    scope = "gitopsd-build.scope"
    malphas.until(lambda: malphas.active_state(scope) == "active", what="the scope")
    total = int(malphas.sh("awk '/^MemTotal/ {print $2}' /proc/meminfo").stdout) * 1024
    limit = int(malphas.run(["systemctl", "show", "-P", "MemoryMax", scope]).stdout)
    assert 0.74 * total < limit < 0.76 * total
    assert running_as(malphas, scope) == {"gitopsd-build"}
    malphas.run(["systemctl", "kill", "--signal=KILL", scope])
    malphas.until(lambda: '"last_upgrade": {' in malphas.run(["gitopsctl", "status", "--json"]).stdout, what="the end")
    summary = ended(malphas)["summary"]
    assert summary["outcome"] == "failed"
    assert "it was killed, most likely for want of memory" in summary["message"]
    assert "config.memory_max" in summary["message"]
    assert rejected(malphas) == []
    scene.push_config("say hello", hello_service=HELLO.format(word="memory"))
    deploys(malphas)
    assert malphas.active_state(scope) == "inactive"


def test_a_check_that_prints_what_is_no_text_is_a_check_that_fails_and_the_daemon_goes_on(lab: Lab) -> None:
    scene, malphas = one(lab)
    pid = malphas.run(["systemctl", "show", "-P", "MainPID", "gitopsd.service"]).stdout
    check = r"printf '\\377\\033]0;title\\007 no text\\n'; exit 1"
    reconfigure(malphas, f'validation_checks = ["{check}"]')
    scene.push_config("say hello", hello_service=HELLO.format(word="text"))
    detail = refused(malphas, outcome="check-failed")
    assert "no text" in detail["summary"]["message"]
    assert "\x1b" not in malphas.run(["gitopsctl", "status"]).stdout
    assert malphas.run(["systemctl", "show", "-P", "MainPID", "gitopsd.service"]).stdout == pid


@pytest.mark.parametrize(
    "damage",
    ["truncate -s0 HEAD", "find objects -type f -exec truncate -s0 {} +"],
    ids=["no HEAD", "objects that a power cut has emptied"],
)
def test_a_mirror_that_is_damaged_keeps_no_fix_from_a_host(lab: Lab, damage: str) -> None:
    scene, malphas = one(lab)
    deploys_nothing = malphas.run(["gitopsctl", "upgrade"])
    assert "changes nothing" in deploys_nothing.stdout
    malphas.sh(f"cd /var/lib/gitopsd/config.git && {damage}")
    scene.push_config("say hello", hello_service=HELLO.format(word="mirror"))
    assert "=== Deployment Successful ===" in malphas.run(["gitopsctl", "upgrade"], check=False).stdout
    assert "was damaged; what the remote has was fetched anew" in malphas.journal("gitopsd.service")


def test_what_comes_out_of_a_mirror_that_was_damaged_after_the_fetch_is_not_held_against_the_revision(lab: Lab) -> None:
    scene, malphas = one(lab)
    malphas.run(["gitopsctl", "upgrade"])
    # Between the fetch and the build: a hook is all that runs there.
    malphas.write(
        "/run/systemd/system/damages.service",
        "[Service]\nType=oneshot\n"
        "ExecStart=/bin/sh -c 'find /var/lib/gitopsd/config.git/objects -type f -exec truncate -s0 {} +'\n",
    )
    malphas.run(["systemctl", "daemon-reload"])
    reconfigure(malphas, more='\n[[config.pre_update_hooks]]\nunit = "damages.service"\n')
    scene.push_config("say hello", hello_service=HELLO.format(word="mirror"))
    said = malphas.run(["gitopsctl", "upgrade"], check=False)
    assert said.returncode == 1
    assert "the mirror of the configuration is damaged" in said.stdout
    assert rejected(malphas) == []
    reconfigure(malphas)
    deploys(malphas)
