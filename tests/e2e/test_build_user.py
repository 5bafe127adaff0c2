"""Who evaluates and builds: not root, and what is private can be fetched all the same."""

import json

import pytest
from e2e.scene import HELLO, USER, Scene
from e2e.test_build_faults import with_setting
from e2e.upgrading import deploys, ended, one, reconfigure, refused, rejected, roots, verdicts
from lab import Host, Lab

pytestmark = pytest.mark.lab

UNPRIVILEGED = "was evaluated without root's rights"
PLACE = "/var/cache/gitopsd-build"


def left_behind(host: Host) -> str:
    """What a build that is over has left, beside nix's cache."""
    return host.sh(f"ls {PLACE}; ls {PLACE}/home").stdout


def no_flake(scene: Scene, host: Host, system: str) -> None:
    """Push a configuration that is no flake, and have the host take it."""
    hosts = f"{{ malphas = (import ./hosts/malphas.nix {{ lab = {system}; }}).config.system.build.toplevel; }}\n"
    tree = {path: text for path, text in scene.files().items() if path != "flake.nix"}
    configuration = host.sh("cat /etc/static/gitopsd/config.toml").stdout.replace(
        "[config]\n", '[config]\nflake = false\nfile = "hosts.nix"\nattr = "malphas"\n'
    )
    tree |= {"hosts.nix": hosts, "hosts/malphas/etc/gitopsd/config.toml": configuration}
    host.sh("rm /etc/gitopsd/config.toml")
    host.write("/etc/gitopsd/config.toml", configuration)
    host.run(["systemctl", "reload", "gitopsd.service"])
    scene.forge.push_tree("nix-config", tree, "no flake")


def test_an_evaluation_reads_nothing_that_only_root_may_read(lab: Lab) -> None:
    scene, malphas = one(lab)
    malphas.write("/var/lib/secret", "of root", mode=0o600)
    # Impure, so that nix itself does not stand in the way.
    no_flake(scene, malphas, "builtins.seq (builtins.readFile /var/lib/secret) (import ./lab)")
    detail = refused(malphas, outcome="build-failed")
    assert "Permission denied" in detail["summary"]["message"]
    # As root it is read: it is the user that keeps it from that.
    text = malphas.read("/etc/gitopsd/config.toml").replace("[config]\n", '[config]\nbuild_user = "root"\n')
    malphas.write("/etc/gitopsd/config.toml", text)
    malphas.run(["systemctl", "reload", "gitopsd.service"])
    malphas.run(["gitopsctl", "retry"], timeout=120)
    assert verdicts(ended(malphas))[UNPRIVILEGED] == "noted"


# A server of archives that wants a password; it answers once systemd has been told that it listens.
ARCHIVES = """\
import base64, http.server, os, socket

class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        wanted = "Basic " + base64.b64encode(b"root:of-netrc").decode()
        if self.headers.get("Authorization") == wanted:
            return super().do_GET()
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="archives"')
        self.end_headers()

server = http.server.HTTPServer(("127.0.0.1", 8010), Handler)
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
server.serve_forever()
"""

# What the flake and its inputs know goes to /etc/seen. Nothing needs the third input, and nobody can fetch it.
INPUTS = """\
  inputs.private = { url = "git+ssh://git@forge/srv/git/private.git"; flake = false; };
  inputs.archive = { url = "http://127.0.0.1:8010/archive.tar.gz"; flake = false; };
  inputs.nowhere = { url = "http://127.0.0.1:9/nowhere.tar.gz"; flake = false; };
  outputs =
    { self, private, archive, nowhere }:
    let
      seen = builtins.concatStringsSep " " [
        self.rev (toString self.lastModified) (toString self.revCount)
        (builtins.readFile (private + "/word")) (builtins.readFile (archive + "/word"))
      ];
      plain = import ./lab;
      lab = plain // { mkSystem = all: plain.mkSystem (all // { etc = all.etc // { inherit seen; }; }); };
"""
NOWHERE = {
    "nodes": {
        "nowhere": {
            "locked": {
                "lastModified": 1,
                "narHash": "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                "type": "tarball",
                "url": "http://127.0.0.1:9/nowhere.tar.gz",
            },
            "original": {"type": "tarball", "url": "http://127.0.0.1:9/nowhere.tar.gz"},
            "flake": False,
        },
        "root": {"inputs": {"nowhere": "nowhere"}},
    },
    "root": "root",
    "version": 7,
}


def test_private_inputs_are_fetched_with_roots_keys_and_a_flake_knows_its_revision(lab: Lab) -> None:
    scene, malphas = one(lab)
    malphas.write("/root/archives.py", ARCHIVES)
    malphas.write("/etc/nix/netrc", "machine 127.0.0.1 login root password of-netrc\n", mode=0o600)
    malphas.sh(
        "mkdir -p /srv/archives/top && cd /srv/archives && echo -n archived >top/word && tar czf archive.tar.gz top;"
        "systemd-run --quiet --unit=archives --service-type=notify -p WorkingDirectory=/srv/archives"
        " python3 /root/archives.py"
    )
    scene.forge.create_repo("private")
    scene.forge.push_tree("private", {"word": "of-ssh"}, "a word")
    # Garbage is collected between the build and the switch.
    reconfigure(malphas, "validation_checks = ['nix-store --gc']")
    before, after = scene.files()["flake.nix"].split("  outputs =\n    { self }:\n    let\n      lab = import ./lab;\n")
    tree = {**scene.files(), "flake.nix": before + INPUTS + after, "flake.lock": json.dumps(NOWHERE)}
    revision = scene.forge.push_tree("nix-config", tree, "inputs")
    deploys(malphas)
    detail = ended(malphas)
    assert verdicts(detail)[UNPRIVILEGED] == "passed"
    date, count = scene.forge.git("nix-config", "log", "-1", "--format=%ct", revision).strip(), "2"
    assert malphas.read("/etc/seen").split() == [revision, date, count, "of-ssh", "archived"]
    # The build user itself has none of the keys.
    assert malphas.sh(f"find {PLACE} ! -user gitopsd-build").stdout.split() == [PLACE]
    assert left_behind(malphas).split() == ["home"]
    assert roots(malphas) == []

    # Once it is needed, it is missed; and that is not the revision's fault.
    needed = tree["flake.nix"].replace(
        "plain = import", 'plain = builtins.seq (builtins.readFile "${nowhere}/x") import'
    )
    scene.forge.push_change("nix-config", {"flake.nix": needed}, "needs what cannot be fetched")
    reconfigure(malphas, "", more="[retry.build]\nattempts = 1\n")
    assert malphas.run(["gitopsctl", "upgrade"], check=False, timeout=120).returncode == 1
    summary = ended(malphas)["summary"]
    assert (summary["outcome"], rejected(malphas)) == ("failed", []), summary
    assert "127.0.0.1:9/nowhere.tar.gz" in summary["message"]


def test_an_input_that_is_a_path_of_this_machine_is_noted(lab: Lab) -> None:
    scene, malphas = one(lab)
    malphas.sh("mkdir -p ~/plain ~/repo && echo plain >~/plain/word && cd ~/repo && git init -q && echo of-git >word"
               " && git add word && git -c user.name=r -c user.email=r@example.org commit -qm word && chmod 700 ~/plain ~/repo", user=USER)  # fmt: skip
    malphas.sh("git config --global --add safe.directory '*'")
    inputs = (
        '  inputs.plain = { url = "path:/home/rain/plain"; flake = false; };\n'
        '  inputs.repo = { url = "git+file:///home/rain/repo"; flake = false; };\n'
    )
    flake = scene.files()["flake.nix"].replace(
        "  outputs =\n    { self }:", f"{inputs}  outputs =\n    {{ self, ... }}:"
    )
    assert inputs in flake
    tree = {**scene.files(hello_service=HELLO.format(word="local")), "flake.nix": flake}
    scene.forge.push_tree("nix-config", tree, "local inputs")
    said = malphas.run(["gitopsctl", "upgrade"], timeout=120).stdout
    assert "=== Deployment Successful ===" in said
    assert "plain (/home/rain/plain), repo (/home/rain/repo)" in said
    assert verdicts(ended(malphas))["has no inputs of this machine"] == "noted"
    scene.push_config("none", hello_service=HELLO.format(word="none"))
    deploys(malphas)
    assert "has no inputs of this machine" not in verdicts(ended(malphas))


def test_without_a_nix_daemon_or_the_user_root_builds_and_every_channel_says_so(lab: Lab) -> None:
    scene, malphas = one(lab)
    assert builds(malphas) == "ok: gitopsd-build evaluates and builds, through the nix daemon"
    reasons = {
        "systemctl stop nix-daemon.socket nix-daemon.service": "the nix daemon does not serve 'gitopsd-build'",
        "userdel gitopsd-build": "there is no user 'gitopsd-build' on this host",
    }
    for number, (command, why) in enumerate(reasons.items()):
        malphas.sh(command)
        scene.push_config(f"change {number}", hello_service=HELLO.format(word=f"number {number}"))
        said = malphas.run(["gitopsctl", "upgrade"], timeout=120).stdout
        assert "=== Deployment Successful ===" in said
        assert f"note: {UNPRIVILEGED}: root did it: {why}" in said
        (check,) = (each for each in ended(malphas)["facts"]["review"]["checks"] if each["name"] == UNPRIVILEGED)
        assert (check["verdict"], why in check["said"]) == ("noted", True)
        # The activation has made the user and started the socket again; what was found is of the build.
        malphas.sh(command)
        assert (
            builds(malphas) == f"warning: root evaluates the configuration: {why}" + builds(malphas).partition(why)[2]
        )


def test_a_nix_daemon_that_dies_while_it_builds_is_not_held_against_the_revision(lab: Lab) -> None:
    scene, malphas = one(lab)
    reconfigure(malphas, more='[retry.build]\nattempts = 2\nfirst = "100ms"\n')
    # It takes long the first time only, to be killed in the middle; the second attempt gets through.
    script = 'buildScript = "if [ ! -e /var/tmp/begun ]; then touch /var/tmp/begun; sleep 60; fi";'
    scene.forge.push_change("nix-config", with_setting(scene, script), "takes its time")
    malphas.run(["gitopsctl", "upgrade", "--no-wait"])
    malphas.until(lambda: malphas.exists("/var/tmp/begun"), what="the build")
    malphas.run(["systemctl", "kill", "--signal=KILL", "nix-daemon.service"])
    malphas.until(lambda: '"last_upgrade": {' in malphas.run(["gitopsctl", "status", "--json"]).stdout, what="the end")
    end = ended(malphas)
    assert end["summary"]["outcome"] == "success"
    (build,) = (step for step in end["steps"] if step["state"] == "build")
    assert build["attempts"] == 2, build
    assert "the nix daemon went away" in malphas.journal("gitopsd.service")
    assert rejected(malphas) == []


def builds(host: Host) -> str:
    """What `gitopsctl doctor` says about them."""
    found = json.loads(host.run(["gitopsctl", "doctor", "--json"], check=False).stdout)
    (line,) = (f"{each['verdict']}: {each['what']}" for each in found if each["check"] == "builds")
    return line
