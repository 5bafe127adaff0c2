"""Pages of the documentation, typed as they are written."""

import pytest
from e2e.page import type_page
from e2e.scene import HELLO, USER, init_dotfiles
from e2e.test_nixos_module import set_up
from lab import Lab
from lab.nixos import CHECKOUT, gitopsd_units, program_wrappers

pytestmark = pytest.mark.lab


def test_dotfiles_from_day_to_day(lab: Lab) -> None:
    type_page("how-to/chezmoi-usage.md", set_up(lab, "malphas", "griefling").hosts)


def test_a_second_host(lab: Lab) -> None:
    type_page("tutorial/second-host.md", set_up(lab, "malphas", "griefling", initialised=("malphas",)).hosts)


def test_the_migration_guide_ends_well(lab: Lab) -> None:
    type_page("how-to/migration-guide.md", set_up(lab, "malphas").hosts)


def test_recovery_procedures(lab: Lab) -> None:
    checks = {'"validation_checks" = []': '"validation_checks" = ["test -e /var/tmp/mended"]'}
    scene = set_up(lab, "malphas", replacing=checks)
    malphas = scene.hosts["malphas"]
    # A change that was captured and is gone, and a revision that a check outside of the repository rejects.
    for edit in ("echo '# lost and found' >> ~/.bashrc", "sed -i '/lost and found/d' ~/.bashrc"):
        malphas.sh(edit, user=USER)
        malphas.run(["gitopsctl", "sync"], user=USER)
    scene.push_config("say hello", hello_service=HELLO.format(word="mended"))
    assert malphas.run(["gitopsctl", "upgrade"], check=False).returncode == 1
    mend = {"mended": lambda: malphas.run(["touch", "/var/tmp/mended"])}
    type_page("how-to/recovery-procedures.md", scene.hosts, mend)
    assert malphas.active_state("hello.service") == "active"
    assert "lost and found" in scene.forge.show("dotfiles", "dot_bashrc")


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
