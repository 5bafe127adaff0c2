"""Small machines with real systemd, nix, jj, chezmoi and ssh, booted in less than a second.

    with Lab() as lab:
        forge = lab.forge()
        forge.create_repo("dotfiles")
        malphas, griefling = lab.hosts("malphas", "griefling")
        malphas.sh("git clone git@forge:dotfiles.git", user="rain")
        malphas.power_cut()
        malphas.boot()

See `docs` of each module: image (what machines have), namespace (why nothing is left behind), machine, forge, host,
nixos (the configuration repository). `python -m lab` builds the image and runs commands in it.
"""

from .errors import CommandFailed, LabError, TimedOut, Unsupported
from .forge import Forge
from .host import Host
from .lab import Lab
from .machine import Machine
from .nixos import HostSpec, config_files

__all__ = [
    "CommandFailed",
    "Forge",
    "Host",
    "HostSpec",
    "Lab",
    "LabError",
    "Machine",
    "TimedOut",
    "Unsupported",
    "config_files",
]
