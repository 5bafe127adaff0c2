"""gitopsd keeps dotfiles and the NixOS system of every host in step through plain git."""

__version__ = "0.1.0"
