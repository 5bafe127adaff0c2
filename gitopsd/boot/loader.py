"""What the boot loader counts, where it does: systemd-boot, in the names of its entries. It is read, never written.

An entry `NAME+LEFT-DONE.conf` has so many tries left and so many done; one without a counter is good, or was never
counted. The boot loader renames the entry before it boots it, and says in an EFI variable under which name; at the end of
a good boot systemd-bless-boot(8) takes the counter off. (UAPI.1 Boot Loader Specification, "Boot counting";
https://systemd.io/AUTOMATIC_BOOT_ASSESSMENT/)
"""

import os
import re

TYPE_CHECKING = False  # typing's own constant would import typing
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

EFIVARS = "/sys/firmware/efi/efivars"
PLACES = ("/boot", "/efi", "/boot/efi")  # where NixOS mounts the ESP and XBOOTLDR
_VENDOR = (
    "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"  # of the boot loader interface, https://systemd.io/BOOT_LOADER_INTERFACE/
)
_COUNTER = re.compile(r"(?P<name>.+)\+(?P<left>\d+)(?:-(?P<done>\d+))?(?P<kind>\.[a-z]+)")
_LONGEST = 1 << 16  # bytes of a variable or an entry

PENDING, GOOD, BAD, UNKNOWN = "pending", "good", "bad", "unknown"


class Loader:
    """The boot loader of this machine.

    Args:
        efivars: where the kernel shows the variables of the firmware.
        places: where the boot loader's file systems may be mounted, beside every FAT that is.

    """

    def __init__(self, efivars: str = EFIVARS, places: "Sequence[str]" = PLACES) -> None:
        self._efivars = efivars
        self._places = places

    def counter(self) -> "dict[str, Any] | None":
        """The fields of `types.LoaderCount`, of the entry that was booted; None if it has no counter."""
        path = self._variable("LoaderBootCountPath").replace("\\", "/").strip("/")
        directory, _, name = path.rpartition("/")
        counted = _COUNTER.fullmatch(name)
        if counted is None or ".." in path.split("/"):
            return None
        left, done = int(counted["left"]), int(counted["done"] or 0)
        good = f"{counted['name']}{counted['kind']}"
        bad = f"{counted['name']}+0{f'-{done}' if done else ''}{counted['kind']}"
        # As systemd-bless-boot has it: whichever name is there says it.
        for now, state in ((name, PENDING if left else BAD), (good, GOOD), (bad, BAD)):
            if any(os.path.exists(os.path.join(place, directory, now)) for place in self._mounted()):
                return {"state": state, "left": left, "done": done, "entry": now}
        return {"state": UNKNOWN, "left": left, "done": done, "entry": name}

    def gave_up(self, toplevel: str) -> str:
        """The name of the entry of this system, if it has no tries left in any of its entries; empty otherwise."""
        if not toplevel or not self._variable("LoaderInfo"):
            return ""
        names = [name for name, text in self._entries() if f"init={toplevel}/init" in text.split()]
        counted = [_COUNTER.fullmatch(name) for name in names]
        given_up = bool(names) and all(each is not None and int(each["left"]) == 0 for each in counted)
        return min(names) if given_up else ""

    def _entries(self) -> "Iterator[tuple[str, str]]":
        for place in self._mounted():
            directory = os.path.join(place, "loader", "entries")
            try:
                names = sorted(os.listdir(directory))
            except OSError:
                continue
            for name in names:
                yield name, _read(os.path.join(directory, name)).decode(errors="replace")

    def _mounted(self) -> list[str]:
        fat = []
        try:
            with open("/proc/self/mounts", encoding="utf-8", errors="replace") as file:
                fat = [words[1] for line in file if len(words := line.split()) > 2 and words[2] == "vfat"]
        except OSError:
            pass  # then those that are known
        return list(dict.fromkeys([*self._places, *fat]))

    def _variable(self, name: str) -> str:
        """A text of the boot loader interface: four bytes of attributes, then UTF-16 up to a NUL; empty if it is not there."""
        raw = _read(os.path.join(self._efivars, f"{name}-{_VENDOR}"))
        return raw[4:].decode("utf-16-le", errors="replace").partition("\0")[0]


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_LONGEST)
    except OSError:
        return b""
