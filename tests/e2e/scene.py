"""What the lab tests, the demo and the benchmarks start from: a forge, hosts, a person's dotfiles, a configuration."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lab import Forge, Host, Lab
from lab.nixos import HostSpec, config_files

USER = "rain"
SOURCE = "/home/rain/.local/share/chezmoi"

CONFIG = """\
host = "{host}"

{homes}[config]
repo_url = "git@forge:nix-config.git"

[verify]
validate_units = ["sshd.service"]
soak = "{soak}"
deadline = "20s"
reach_within = "10s"

[boot]
soak = "500ms"
deadline = "20s"

[retry.fetch]
attempts = 2
first = "100ms"
{more}"""

HOMES = """\
[[dotfiles]]
user = "rain"
repo_url = "git@forge:dotfiles.git"

"""

# A unit that says which revision of the configuration it belongs to.
HELLO = """[Unit]
Description=Says hello

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/echo hello {word}

[Install]
WantedBy=multi-user.target
"""

BROKEN_SSHD = """[Unit]
Description=SSH daemon that does not start

[Service]
ExecStart=/usr/sbin/sshd -D -o NoSuchOption=yes

[Install]
WantedBy=multi-user.target
"""


@dataclass(slots=True)
class Scene:
    """A forge and hosts that know it."""

    lab: Lab
    forge: Forge
    hosts: dict[str, Host] = field(default_factory=dict)
    specs: dict[str, HostSpec] = field(default_factory=dict)

    def files(self, **units: str) -> dict[str, str]:
        """The configuration repository, with these units on every host (underscores are dots: `hello_service`)."""
        texts = {name.replace("_", "."): text for name, text in units.items()}
        return config_files(
            {
                name: HostSpec(
                    gitopsd_config=spec.gitopsd_config,
                    timers=spec.timers,
                    units={**spec.units, **texts},
                    etc=spec.etc,
                    settings=spec.settings,
                )
                for name, spec in self.specs.items()
            }
        )

    def push_config(self, message: str, **units: str) -> str:
        """Push a configuration with these units; returns the revision."""
        return self.forge.push_tree("nix-config", self.files(**units), message)


def set_up(
    lab: Lab,
    *names: str,
    soak: str = "2s",
    more: str = "",
    dotfiles: bool = True,
    homes: bool = True,
    settings: Mapping[str, str] | None = None,
) -> Scene:
    """Boot a forge and hosts whose homes and systems are in step with it.

    Args:
        lab: the lab.
        names: of the hosts.
        soak: `verify.soak` of the hosts.
        more: text at the end of each host's configuration file.
        dotfiles: initialise the person's dotfiles on every host.
        homes: keep a person's dotfiles in step at all.
        settings: arguments of the hosts' mkSystem.

    """
    scene = Scene(lab, lab.forge())
    for name in names:
        text = CONFIG.format(host=name, soak=soak, more=more, homes=HOMES if homes else "")
        scene.specs[name] = HostSpec(gitopsd_config=text, settings=settings or {})
    scene.forge.create_repo("dotfiles")
    scene.forge.create_repo("nix-config")
    scene.push_config("first configuration")
    for name, host in zip(names, lab.hosts(*names, files=scene.files(), spec=scene.specs[names[0]]), strict=True):
        scene.hosts[name] = host
    if dotfiles and homes:
        scene.forge.push_tree("dotfiles", {"dot_bashrc": "# rain's bashrc\nalias ll='ls -l'\n"}, "first dotfiles")
        for host in scene.hosts.values():
            init_dotfiles(host)
    return scene


def init_dotfiles(host: Host) -> None:
    """What a person does once on a host: clone, colocate, apply."""
    host.sh(
        "rm -f ~/.bashrc && chezmoi init git@forge:dotfiles.git && cd ~/.local/share/chezmoi"
        " && jj --quiet git init --colocate && jj --quiet bookmark track main@origin && chezmoi apply",
        user=USER,
    )
