"""Nix profiles as they lie on the disk, without nix: it may be what is broken, and it is slow to start.

A profile `NAME` is a link to `NAME-N-link`, which is a link to a store path; all of them are roots for the garbage
collector, and `nix-collect-garbage -d` keeps the one that `NAME` points to (nix manual, "Profiles"). A profile below
`system-profiles` is a boot entry as well: NixOS' boot loader scripts list the generations of each of them
(systemd-boot-builder.py; install-grub.pl, which takes names of word characters only).
"""

import os

from gitopsd.boot.disk import Disk, link_text

SYSTEM = "/nix/var/nix/profiles/system"
GOLDEN = "/nix/var/nix/profiles/system-profiles/golden"
STORE = "/nix/store/"
CLOCK_SET = 1_000_000_000.0
"""In 2001: a clock that says less has never been set."""


class Profile:
    """One profile.

    Args:
        path: such as `/nix/var/nix/profiles/system`.
        disk: writes.

    """

    def __init__(self, path: str, disk: Disk) -> None:
        self.path = path
        self._disk = disk

    def target(self) -> str:
        """The store path that it stands for, whether that is still there or not; empty if there is no profile."""
        link = link_text(self.path)
        if link.startswith(STORE):  # made by hand
            return link
        return link_text(self._beside(link)) if link else ""

    def generation(self) -> int:
        """The number of its current generation; 0 if there is none."""
        return self._number(link_text(self.path))

    def since(self) -> float:
        """When its current generation was made, in seconds since the epoch, as nix tells it: the link's own time.

        0 if there is no profile, or the clock was not set then.
        """
        link = link_text(self.path)
        try:
            made = os.lstat(self.path if link.startswith(STORE) else self._beside(link)).st_mtime if link else 0.0
        except OSError:
            return 0.0
        return made if made > CLOCK_SET else 0.0

    def generations(self) -> dict[int, str]:
        """All generations: number to store path."""
        directory = os.path.dirname(self.path)
        try:
            names = os.listdir(directory)
        except OSError:
            return {}
        numbers = {self._number(name): name for name in names}
        return {number: link_text(self._beside(name)) for number, name in sorted(numbers.items()) if number}

    def set(self, toplevel: str) -> int:
        """Make `toplevel` what the profile stands for; returns the generation's number. Repeatable.

        A generation that there is already is taken, the newest of them, so that going back and forth adds none.

        Raises:
            OSError: the profile is as it was.

        """
        known = self.generations()
        number = max((number for number, target in known.items() if target == toplevel), default=0)
        if not number:
            number = max(known, default=0) + 1
            self._disk.directory(os.path.dirname(self.path), 0o755)
        name = f"{os.path.basename(self.path)}-{number}-link"
        self._disk.point(self._beside(name), toplevel)
        self._disk.point(self.path, name)
        return number

    def keep_only_current(self) -> None:
        """Remove all other generations."""
        current = self.generation()
        for number in self.generations():
            if number != current:
                self._disk.remove(f"{self.path}-{number}-link")

    def remove(self) -> None:
        """Remove the profile and its generations. Nothing if there is none."""
        self._disk.remove(self.path)
        for number in self.generations():
            self._disk.remove(f"{self.path}-{number}-link")

    def _beside(self, name: str) -> str:
        return os.path.join(os.path.dirname(self.path), name)

    def _number(self, name: str) -> int:
        prefix, suffix = f"{os.path.basename(self.path)}-", "-link"
        middle = name[len(prefix) : -len(suffix)]
        return int(middle) if name.startswith(prefix) and name.endswith(suffix) and middle.isdecimal() else 0


def whole(toplevel: str) -> bool:
    """Whether it is a system that can be booted and switched to, as far as that can be seen."""
    needed = ("init", "bin/switch-to-configuration")
    return all(os.path.exists(os.path.join(toplevel, name)) for name in needed)
