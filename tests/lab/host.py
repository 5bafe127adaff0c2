"""A host of the lab: real profiles, generations and a boot default, and gitopsd from the checkout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from .machine import Machine
from .nixos import HostSpec, config_files, program_wrappers

SYSTEM = "/nix/var/nix/profiles/system"


class Host(Machine):
    """A NixOS host as far as gitopsd can see."""

    def install(self, spec: HostSpec, files: Mapping[str, str] | None, source: Path) -> None:
        """Build generation 1 and make it the boot default, while the machine is off.

        The result is the store path that the same files give when they come from the forge later.
        """
        tree = dict(files) if files is not None else config_files({self.name: spec}, source=source)
        everything = {f"/var/tmp/config/{path}": text for path, text in tree.items()}
        everything |= program_wrappers(source)
        self.offline(["python3", "-I", "-c", UNPACK], data=json.dumps(everything))
        self.offline(["sh", "-euc", INSTALL, "sh", self.name])

    # -- what NixOS says -----------------------------------------------------------------------------------------

    def current_system(self) -> str:
        """Store path that was switched to last."""
        return self._link("/run/current-system")

    def booted_system(self) -> str:
        """Store path that was booted."""
        return self._link("/run/booted-system")

    def boot_default(self) -> str:
        """Store path that the next boot starts."""
        return self.read("/boot/loader/default").strip()

    def generations(self, profile: str = SYSTEM) -> dict[int, str]:
        """Generations of a profile: number → store path."""
        found = self.sh(f'for link in {profile}-*-link; do echo "$link $(readlink -f "$link")"; done').stdout
        pairs = (line.split() for line in found.splitlines() if not line.startswith(f"{profile}-*"))
        return {int(link.removeprefix(f"{profile}-").removesuffix("-link")): path for link, path in pairs}

    def failed_units(self) -> list[str]:
        """Names of the failed units."""
        listed = self.run(["systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager"]).stdout
        return [line.split()[0] for line in listed.splitlines()]

    def active_state(self, unit: str) -> str:
        """ActiveState of a unit."""
        return self.run(["systemctl", "show", "--property=ActiveState", "--value", unit]).stdout.strip()

    def _link(self, path: str) -> str:
        return self.run(["readlink", "-f", path]).stdout.strip()


# Standard input: {path: text} as JSON. Programs are made executable.
UNPACK = """
import json, os, sys
for path, text in json.load(sys.stdin).items():
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.chmod(path, 0o755 if path.startswith("/usr/bin/") else 0o644)
"""

# $1 host name
INSTALL = """
toplevel=$(nix build --no-link --print-out-paths --no-write-lock-file \\
    "path:/var/tmp/config#nixosConfigurations.\\"$1\\".config.system.build.toplevel")
nix-env --profile /nix/var/nix/profiles/system --set "$toplevel"
"$toplevel/bin/switch-to-configuration" boot
rm -rf /var/tmp/config
"""
