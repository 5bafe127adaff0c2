"""Pages of the documentation, typed as they are written."""

import re
import subprocess
import sys
from pathlib import Path

import demo
import pytest
from e2e.page import type_at, type_page
from e2e.scene import HELLO, USER, Scene, init_dotfiles
from e2e.terminal import COMPUTER, Terminal
from e2e.test_boot import NEEDS_A_FILE
from e2e.test_nixos_module import set_up
from e2e.test_secrets import TOKEN
from e2e.test_source import configure
from lab import Lab
from lab.nixos import CHECKOUT, gitopsd_units, program_wrappers

pytestmark = pytest.mark.lab
ROOT = Path(__file__).parents[2]


def test_a_first_host_from_the_demo_to_leaving_it_typed_at_a_terminal() -> None:
    dry = ["make", "--dry-run", "--directory", str(ROOT), "demo"]
    assert " -m demo" in subprocess.run(dry, capture_output=True, text=True, check=True).stdout
    with Terminal(ROOT) as terminal:
        # `make demo` plays the same as the line that goes inside, and no more.
        type_at(terminal, "tutorial/first-host.md", {"make demo"}, {".venv/bin/python": sys.executable})
        assert terminal.prompt == COMPUTER


# What differs from run to run: revisions, hashes of the store, times, and how far a line goes for that.
VARIES = (
    (r"\n +rollback ", " rollback "),
    (r"/nix/store/[0-9a-z]{6,32}", "/nix/store/HASH"),
    (r"\b[0-9a-f]{12}\b", "REVISION"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME"),
    (r"\b(\d+ min )?\d+ s\b", "N s"),
    (r"\b(fetch|capture|push|pull|build|switch|verify|rollback) \d+\.\d", r"\1 N"),
    (r"OpenSSH_\S+ .*", "OpenSSH"),
)


def without_what_varies(text: str) -> str:
    for pattern, word in VARIES:
        text = re.sub(pattern, word, text)
    return text


def test_the_readme_shows_what_the_demo_prints_and_what_status_says_then(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = demo.tell(demo.Stage(), lab)
    printed = capsys.readouterr().out
    status = scene.hosts["malphas"].run(["gitopsctl", "status"]).stdout
    print(printed, status, sep="\n")  # for whoever mends the page
    shown = re.findall(r"\n\n```\n(.*?\n)```\n\n", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    act, answer = map(without_what_varies, shown)
    assert act.startswith("4. One that breaks sshd is rolled back")
    assert act in without_what_varies(printed)
    assert answer == without_what_varies(status)


def test_dotfiles_from_day_to_day(lab: Lab) -> None:
    type_page("how-to/chezmoi-usage.md", set_up(lab, "malphas", "griefling").hosts)


def test_a_second_host_and_one_that_takes_over_from_another(lab: Lab) -> None:
    scene = set_up(lab, "malphas", "griefling", initialised=("malphas",))
    type_page("tutorial/second-host.md", scene.hosts)
    fresh = "rm -rf ~/.local/share/chezmoi ~/.config/chezmoi && printf '' > ~/.bashrc && rm ~/.vimrc ~/.profile"
    acts = {"the new machine is installed": lambda: scene.hosts["griefling"].sh(fresh, user=USER)}
    type_page("how-to/move-a-host.md", scene.hosts, acts)
    assert "set number" in scene.hosts["griefling"].read("/home/rain/.vimrc")


def test_migrating_looking_at_what_comes_next_testing_it_on_one_host_and_keeping_a_checkout(lab: Lab) -> None:
    scene = set_up(lab, "malphas")
    type_page("how-to/migration-guide.md", scene.hosts)
    scene.push_config("say hello", hello_service=HELLO.format(word="first"))
    malphas, rebooted_into = scene.hosts["malphas"], scene.hosts["malphas"].boot_default()
    type_page("how-to/validate-in-a-vm.md", scene.hosts)
    assert malphas.active_state("hello.service") == "inactive"

    def commit() -> None:
        change = "sed -i s/first/second/ hosts/malphas/units/hello.service && git commit -qam 'say it anew'"
        malphas.sh(f"cd ~/nix-config && git pull -q && {change}", user=USER)

    def is_tested() -> None:
        assert malphas.active_state("hello.service") == "active"
        assert malphas.boot_default() == rebooted_into != malphas.current_system()

    type_page("how-to/test-a-revision.md", scene.hosts, {"a change is committed": commit, "it is tested": is_tested})
    malphas.run(["gitopsctl", "upgrade"])
    assert malphas.boot_default() == malphas.current_system() != rebooted_into

    unit = "hosts/malphas/units/hello.service"

    def both_change_a_line() -> None:
        configure(scene, malphas, '"commit_local" = false', '"commit_local" = true')
        scene.push_config("theirs", hello_service=HELLO.format(word="theirs"))
        malphas.write(f"/home/{USER}/nix-config/{unit}", HELLO.format(word="mine"), owner=USER)
        malphas.run(["gitopsctl", "upgrade"])
        assert "hello theirs" in scene.forge.show("nix-config", unit)

    type_page("how-to/keep-a-checkout.md", scene.hosts, {"both have changed a line": both_change_a_line})
    assert "hello mine" in scene.forge.show("nix-config", unit)
    assert malphas.sh("cd ~/nix-config && git status --porcelain && git stash list", user=USER).stdout == ""


def test_recovery_procedures(lab: Lab) -> None:
    checks = {'"validation_checks" = []': '"validation_checks" = ["test -e /var/tmp/mended"]'}
    scene = set_up(lab, "malphas", "griefling", replacing=checks)
    malphas = scene.hosts["malphas"]
    # A change that was captured and is gone, and a revision that a check outside of the repository rejects.
    for edit in ("echo '# lost and found' >> ~/.bashrc", "sed -i '/lost and found/d' ~/.bashrc"):
        malphas.sh(edit, user=USER)
        malphas.run(["gitopsctl", "sync"], user=USER)
    scene.push_config("say hello", hello_service=HELLO.format(word="mended"))
    assert malphas.run(["gitopsctl", "upgrade"], check=False).returncode == 1
    type_page("how-to/find-what-is-wrong.md", scene.hosts)
    acts = {
        "mended": lambda: malphas.run(["touch", "/var/tmp/mended"]),
        "blocked": lambda: block(scene),
        "sshd is mended": lambda: malphas.run(["touch", "/etc/ssh-is-fine"]),
        "a secret was pushed": lambda: push_a_secret(scene),
    }
    type_page("how-to/recovery-procedures.md", scene.hosts, acts)
    assert "lost and found" in scene.forge.show("dotfiles", "dot_bashrc")
    for host in scene.hosts.values():
        host.sh("git clone -q git@forge:dotfiles.git ~/fresh", user=USER)
        assert host.sh(f"git -C ~/fresh log --all --oneline -S {TOKEN}", user=USER).stdout == ""
        assert "moved" in host.read("/home/rain/.npmrc")


def block(scene: Scene) -> None:
    """A new system does not prove good, and neither does the one before, once a file of theirs is gone."""
    malphas = scene.hosts["malphas"]
    malphas.write("/etc/ssh-is-fine", "yes\n")
    scene.push_config("a file", sshd_service=NEEDS_A_FILE)
    malphas.run(["gitopsctl", "upgrade"])
    malphas.run(["rm", "/etc/ssh-is-fine"])
    scene.push_config("another", sshd_service=NEEDS_A_FILE.replace("SSH daemon", "The SSH daemon"))
    assert malphas.run(["gitopsctl", "upgrade"], check=False, timeout=120).returncode == 5


def push_a_secret(scene: Scene) -> None:
    """From a computer without gitopsd; every host has it, and then the file of today has it no more."""
    for text in (f"//forge/:_authToken={TOKEN}\n", "# moved\n"):
        scene.forge.push_change("dotfiles", {"dot_npmrc": text}, "a token for the registry")
        for host in scene.hosts.values():
            host.run(["chezmoi-sync"], user=USER)


def test_setting_up_settling_a_conflict_leaving_a_host_alone_and_going_back(lab: Lab) -> None:
    scene = set_up(lab, "malphas", "griefling", initialised=("malphas",))
    malphas, griefling = scene.hosts["malphas"], scene.hosts["griefling"]
    type_page("how-to/set-up-dotfiles.md", scene.hosts)

    def both_edit() -> None:
        for host in (malphas, griefling):
            host.sh(f"sed -i 's/^# rain.*/# edited on {host.name}/' ~/.bashrc && gitopsctl sync", user=USER)

    type_page("how-to/settle-a-conflict.md", scene.hosts, {"both hosts have changed a line": both_edit})
    merged = scene.forge.show("dotfiles", "dot_bashrc")
    assert "edited on malphas" in merged
    assert "edited on griefling" in merged

    def deploy(word: str) -> None:
        scene.push_config(word, hello_service=HELLO.format(word=word))
        malphas.run(["gitopsctl", "upgrade"])
        assert malphas.current_system() != first

    first = malphas.current_system()
    acts = {"another generation runs": lambda: deploy("one")}
    type_page("how-to/suspend-and-roll-back.md", scene.hosts, acts)
    assert malphas.current_system() == malphas.boot_default() == first

    def lose_the_daemon() -> None:
        assert malphas.current_system() == malphas.boot_default() == first
        deploy("three")
        malphas.run(["systemctl", "stop", "gitopsd.socket", "gitopsd.service"])
        assert malphas.boot_default() != first

    acts = {"a generation after it runs": lambda: deploy("two"), "the daemon is gone": lose_the_daemon}
    type_page("how-to/pin-golden-and-roll-back.md", scene.hosts, acts)
    assert malphas.current_system() != malphas.boot_default() == first
    malphas.reboot(timeout=60)
    assert malphas.booted_system() == malphas.current_system() == malphas.boot_default() == first


def test_another_distribution(lab: Lab) -> None:
    forge = lab.forge()
    forge.create_repo("dotfiles")
    forge.push_tree("dotfiles", {"dot_bashrc": "# rain's bashrc\n"}, "first dotfiles")
    lab._install_gitopsd()
    malphas = lab.machine("malphas")
    malphas.sh("mkdir -p /opt/gitopsd/units && ln -s /opt/gitopsd-src/gitopsd /opt/gitopsd/gitopsd")
    for name, text in gitopsd_units(CHECKOUT).items():
        malphas.write(f"/opt/gitopsd/units/{name}", text)
    acts = {"the dotfiles are set up": lambda: init_dotfiles(malphas)}  # type: ignore[arg-type]
    hosts = {"malphas": malphas}
    type_page("how-to/run-on-another-distribution.md", hosts, acts)  # type: ignore[arg-type]  # no more than a machine
    assert malphas.sh("readlink -f /proc/$(systemctl show -P MainPID gitopsd)/exe").stdout.startswith(
        "/usr/bin/python3"
    )
    malphas.sh("echo elsewhere >> ~/.bashrc && gitopsctl sync", user=USER)
    assert "elsewhere" in forge.show("dotfiles", "dot_bashrc")


CONFIG = '[[dotfiles]]\nuser = "rain"\nrepo_url = "git@forge:dotfiles.git"\n'
# Every file with its content, but for what the machine itself writes while it runs.
LISTING = (
    "find /etc /usr /home /root -xdev -type f -not -path '/etc/machine-id' -not -path '*/.ssh/*' "
    "-not -name '*.pyc' -exec md5sum {} + | sort -k2"
)
KEPT = ("/home/rain/.local/share/chezmoi/", "/home/rain/.config/", "/home/rain/.cache/", "/etc/gitopsd/config.toml")


def test_uninstalling_leaves_the_machine_as_it_was_and_keeps_what_the_page_says(lab: Lab) -> None:
    forge = lab.forge()
    forge.create_repo("dotfiles")
    forge.push_tree("dotfiles", {"dot_bashrc": "# rain's bashrc\n"}, "first dotfiles")
    lab._install_gitopsd()
    malphas = lab.machine("malphas")
    for path, text in program_wrappers(CHECKOUT).items():
        malphas.write(path, text)
        malphas.run(["chmod", "+x", path])
    init_dotfiles(malphas)  # type: ignore[arg-type]  # it asks no more than a machine has
    before = malphas.sh(LISTING).stdout.splitlines()
    wanted = malphas.sh("ls /etc/systemd/system/*.wants").stdout

    for name, text in gitopsd_units(CHECKOUT).items():
        if "-boot-" not in name:
            malphas.write(f"/etc/systemd/system/{name}", text)
    malphas.write("/etc/gitopsd/config.toml", CONFIG)
    malphas.run(["systemctl", "daemon-reload"])
    malphas.run(["systemctl", "enable", "--now", "gitopsd.socket", "gitopsd.service", "gitopsd-sync.timer"])
    malphas.run(["gitopsctl", "sync"], user=USER)

    type_page("how-to/uninstall.md", {"malphas": malphas})  # type: ignore[dict-item]  # likewise
    after = malphas.sh(LISTING).stdout.splitlines()
    changed = {line.split(maxsplit=1)[1] for line in set(before) ^ set(after)}
    assert {path for path in changed if not path.startswith(KEPT)} == set()
    assert malphas.sh("ls /etc/systemd/system/*.wants").stdout == wanted
    assert malphas.run(["systemctl", "list-units", "--all", "--plain", "--no-legend", "gitopsd*"]).stdout == ""
    kept = malphas.sh("ls -d /var/lib/gitopsd /var/lib/chezmoi-sync /home/rain/.local/share/chezmoi").stdout
    assert len(kept.split()) == 3
    malphas.sh("chezmoi status", user=USER)  # the home goes on without us
