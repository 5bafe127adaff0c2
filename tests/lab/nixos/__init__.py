"""The configuration repository of lab hosts, as text files.

The tree:

    flake.nix                       nixosConfigurations.<host> for every hosts/<host>.nix
    lab/                            the stand-in for nixpkgs: mkSystem, activation, switch-to-configuration
    hosts/malphas.nix               what malphas is made of
    hosts/malphas/units/*           its unit files
    hosts/malphas/etc/**            its files below /etc, such as gitopsd/config.toml
    gitopsd/*                       units of gitopsd, copied from the checkout's `units/`
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[2]

FLAKE = """{
  description = "the lab's hosts";

  outputs =
    { self }:
    let
      lab = import ./lab;
      files = builtins.attrNames (builtins.readDir ./hosts);
      names = builtins.concatMap (
        file:
        let
          match = builtins.match "(.*)\\\\.nix" file;
        in
        if match == null then [ ] else match
      ) files;
    in
    {
      nixosConfigurations = builtins.listToAttrs (
        map (name: {
          inherit name;
          value = import (./hosts + "/${name}.nix") { inherit lab; };
        }) names
      );
    };
}
"""

SSHD = """[Unit]
Description=SSH daemon
After=network.target

[Service]
ExecStartPre=/usr/bin/mkdir -p /run/sshd
ExecStart=/usr/sbin/sshd -D
Restart=always
RestartSec=1s

[Install]
WantedBy=multi-user.target
"""


# As nix ships them (misc/systemd/nix-daemon.{service,socket}.in), and NixOS enables them.
NIX_DAEMON = {
    "nix-daemon.socket": """[Unit]
Description=Nix Daemon Socket
Before=multi-user.target
RequiresMountsFor=/nix/store
ConditionPathIsReadWrite=/nix/var/nix

[Socket]
ListenStream=/nix/var/nix/daemon-socket/socket

[Install]
WantedBy=sockets.target
""",
    "nix-daemon.service": """[Unit]
Description=Nix Daemon
RequiresMountsFor=/nix/store
ConditionPathIsReadWrite=/nix/var/nix/daemon-socket

[Service]
ExecStart=/usr/bin/nix-daemon --daemon
KillMode=process
LimitNOFILE=1048576
TasksMax=1048576
""",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSpec:
    """What the configuration of one host says.

    Attributes:
        gitopsd_config: text of /etc/gitopsd/config.toml; None: this host does not run gitopsd.
        timers: enable gitopsd's timers. Tests that count cycles want them off.
        units: unit files besides sshd.service and nix-daemon's, name → text; `[Install]` is followed. A name of ours replaces it.
        etc: more files below /etc, name → text.
        settings: arguments of mkSystem (lab/default.nix), name → text: kernel, initrd, systemd, initInterfaceVersion,
            activationScript, buildScript, nixosVersion, configurationLimit.
    """

    gitopsd_config: str | None = None
    timers: bool = False
    units: Mapping[str, str] = field(default_factory=dict)
    etc: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


def config_files(hosts: Mapping[str, HostSpec], *, source: Path = CHECKOUT) -> dict[str, str]:
    """Return the tree of a configuration repository for `hosts`: path → text.

    Args:
        hosts: host name → what it is.
        source: checkout whose `units/` are gitopsd's units; it may have none.
    """
    files = {"flake.nix": FLAKE}
    for path in sorted((HERE / "lab").iterdir()):
        if path.is_file():
            files[f"lab/{path.name}"] = path.read_text(encoding="utf-8")
    own_units = gitopsd_units(source)
    for name, text in own_units.items():
        files[f"gitopsd/{name}"] = text
    for name, spec in hosts.items():
        files |= _host_files(name, spec, own_units, source)
    return files


def gitopsd_units(source: Path = CHECKOUT) -> dict[str, str]:
    """Return the unit files of the checkout: name → text."""
    kinds = (".service", ".socket", ".target", ".timer", ".path")
    return {
        path.name: path.read_text(encoding="utf-8")
        for path in sorted((source / "units").glob("*"))
        if path.suffix in kinds and path.is_file()
    }


def _host_files(name: str, spec: HostSpec, own_units: Mapping[str, str], source: Path) -> dict[str, str]:
    units = {"sshd.service": SSHD, **NIX_DAEMON, **spec.units}
    files = {f"hosts/{name}/units/{unit}": text for unit, text in units.items()}
    etc = dict(spec.etc)
    runs_gitopsd = spec.gitopsd_config is not None
    if spec.gitopsd_config is not None:
        etc["gitopsd/config.toml"] = spec.gitopsd_config
        etc["sysusers.d/gitopsd.conf"] = (source / "packaging/gitopsd.sysusers").read_text(encoding="utf-8")
    files |= {f"hosts/{name}/etc/{path}": text for path, text in etc.items()}

    timers = [] if spec.timers else [unit for unit in own_units if unit.endswith(".timer")]
    lines = ["{ lab }:", "lab.mkSystem {", f"  hostName = {nix_string(name)};"]
    own = "lab.unitsFrom ../gitopsd // " if runs_gitopsd and own_units else ""
    lines.append(f"  units = {own}lab.unitsFrom ./{name}/units;")
    if runs_gitopsd and own_units:
        lines.append(f"  disabled = [ {' '.join(map(nix_string, timers))} ];")
        lines += _wants(own_units, spec)
    lines.append("  etc = {")
    lines += [f"    {nix_string(path)} = builtins.readFile ./{name}/etc/{path};" for path in etc]
    lines.append("  };")
    lines += [f"  {key} = {nix_string(text)};" for key, text in spec.settings.items()]
    lines.append("}")
    files[f"hosts/{name}.nix"] = "\n".join(lines) + "\n"
    return files


def _wants(own_units: Mapping[str, str], spec: HostSpec) -> list[str]:
    """Enable what has no `[Install]` section but is started by its kind."""
    targets = {".socket": "sockets.target"} | ({".timer": "timers.target"} if spec.timers else {})
    wants: dict[str, list[str]] = {}
    for unit, text in own_units.items():
        target = targets.get(Path(unit).suffix, "multi-user.target" if unit == "gitopsd.service" else None)
        if target is not None and "[Install]" not in text:
            wants.setdefault(target, []).append(unit)
    lines = [f"    {nix_string(target)} = [ {' '.join(map(nix_string, units))} ];" for target, units in wants.items()]
    return ["  wants = {", *lines, "  };"]


def nix_string(text: str) -> str:
    """Return `text` as a Nix string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${").replace("\n", "\\n")
    return f'"{escaped}"'


WRAPPER = """#!/usr/bin/python3 -I
import sys

sys.path.insert(0, "/opt/gitopsd-src")
from {module} import {function}

sys.exit({function}())
"""

PROGRAMS = {"gitopsd": "gitopsd.__main__:main", "gitopsctl": "gitopsd.cli.__main__:main"}


def program_wrappers(source: Path = CHECKOUT) -> dict[str, str]:
    """Return what an installation of the checkout would put into /usr/bin: path → text.

    The names are those of `[project.scripts]` in its pyproject.toml, and at least the daemon and the command line.
    """
    project = source / "pyproject.toml"
    scripts = dict(PROGRAMS)
    if project.exists():
        scripts |= tomllib.loads(project.read_text(encoding="utf-8")).get("project", {}).get("scripts", {})
    wrappers = {}
    for name, entry in scripts.items():
        module, _, function = entry.partition(":")
        wrappers[f"/usr/bin/{name}"] = WRAPPER.format(module=module, function=function)
    return wrappers
