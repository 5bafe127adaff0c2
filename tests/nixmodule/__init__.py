"""What the NixOS module renders: evaluated by real Nix with a nixpkgs `lib`, and turned into the files NixOS would write.

`GITOPSD_NIXPKGS_LIB` names a checkout of nixpkgs, or of nix-community/nixpkgs.lib; `lab run` shows it to the command.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VARIABLE = "GITOPSD_NIXPKGS_LIB"
MODULE, COMPAT = ROOT / "packaging" / "module.nix", ROOT / "packaging" / "compat.nix"
RENDERED = HERE / "rendered.json"
# What stands in for nixpkgs where the whole flake is evaluated: the real lib beside `nixpkgs.nix`.
_NIXPKGS = """{
  outputs =
    _:
    let
      lib = import ./lib;
    in
    {
      inherit lib;
      legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (
        system: import ./nixpkgs.nix { inherit lib system; }
      );
    };
}
"""

KINDS = {"services": "service", "sockets": "socket", "targets": "target", "timers": "timer"}
# The daemon's units carry these to switch-to-configuration (nixos/lib/systemd-lib.nix).
_SECTION = {"services": "Service", "timers": "Timer", "sockets": "Socket", "targets": ""}


def why_not() -> str:
    """Why nothing can be evaluated here; empty if it can."""
    if shutil.which("nix-instantiate") is None:
        return "needs nix: run it in the lab's image, with `make tools`"
    if not os.environ.get(VARIABLE):
        return f"needs a nixpkgs `lib`: set {VARIABLE} to a checkout of nixpkgs or nix-community/nixpkgs.lib"
    return ""


class EvaluationError(Exception):
    """Nix refused; its message."""


def evaluate(configuration: str, module: Path | None = MODULE) -> dict[str, Any]:
    """What the module says for a configuration, given as Nix text, which may import it by itself.

    Raises:
        EvaluationError: an option does not exist or has a wrong type.

    """
    argv = ["nix-instantiate", "--eval", "--strict", "--json", "--read-write-mode", str(HERE / "evaluate.nix")]
    argv += ["--arg", "modules", f"[ {module or ''} ]", "--argstr", "configuration", configuration]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EvaluationError(done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def nixpkgs(directory: Path) -> Path:
    """Make a flake that stands in for nixpkgs, in this directory, which must not exist; returns it."""
    shutil.copytree(Path(os.environ[VARIABLE]) / "lib", directory / "lib")
    shutil.copy(HERE / "nixpkgs.nix", directory)
    (directory / "flake.nix").write_text(_NIXPKGS, encoding="utf-8")
    return directory


def toml(document: Mapping[str, Any]) -> str:
    """A document as TOML, with tables inline."""
    return "".join(f"{_key(key)} = {_inline(value)}\n" for key, value in document.items())


def _key(key: str) -> str:
    return json.dumps(key)


def _inline(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case dict():
            return "{ " + ", ".join(f"{_key(key)} = {_inline(inner)}" for key, inner in value.items()) + " }"
        case list():
            return "[" + ", ".join(map(_inline, value)) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)


def files(evaluated: Mapping[str, Any], units: Path = ROOT / "units") -> tuple[str, dict[str, str], dict[str, str]]:
    """The files that NixOS would write.

    Args:
        evaluated: what `evaluate` returned.
        units: the directory of the package's unit files.

    Returns:
        The text of config.toml; unit files; drop-ins, both by name below /etc/systemd/system. An [Install] section says
        what the module's `wantedBy` says.

    """
    written: dict[str, str] = {}
    dropins: dict[str, str] = {}
    for kind, suffix in KINDS.items():
        for stem, said in evaluated[kind].items():
            name = f"{stem}.{suffix}"
            if said.get("enable") is False:  # NixOS masks it
                written.pop(name, None)
                continue
            packaged = units / name
            if stem.startswith("systemd-"):  # it is there, and NixOS adds to it
                dropins[f"{name}.d/overrides.conf"] = _unit(said, _SECTION[kind])
            elif packaged.exists():
                written[name] = _without_install(packaged.read_text(encoding="utf-8")) + _install(said)
                if text := _unit(said, _SECTION[kind]):
                    dropins[f"{name}.d/overrides.conf"] = text
            else:
                written[name] = _unit(said, _SECTION[kind]) + _install(said)
    return toml(evaluated["etc"]["gitopsd/config.toml"]["source"]["value"]), written, dropins


def _without_install(text: str) -> str:
    return text.partition("\n[Install]")[0].rstrip() + "\n"


def _install(said: Mapping[str, Any]) -> str:
    lines = [f"WantedBy={name}" for name in said["wantedBy"]] + [f"RequiredBy={name}" for name in said["requiredBy"]]
    return "\n".join(["", "[Install]", *lines, ""]) if lines else ""


def _unit(said: Mapping[str, Any], section: str) -> str:
    unit = [f"Description={said['description']}"] if said.get("description") else []
    unit += [f"Requires={' '.join(said['requires'])}"] if said["requires"] else []
    unit += [f"After={' '.join(said['after'])}"] if said["after"] else []
    unit += _lines(said.get("unitConfig", {}))
    own = _lines(said.get("serviceConfig", {}) | said.get("timerConfig", {}))
    if said["path"]:
        places = list(dict.fromkeys(place for path in said["path"] for place in (f"{path}/bin", f"{path}/sbin")))
        own.append(f'Environment="PATH={":".join(places)}"')
    own += [f'Environment="{key}={value}"' for key, value in said.get("environment", {}).items()]
    if "script" in said:
        own.append(f"ExecStart=/bin/sh -ec {json.dumps(said['script'])}")
    if said.get("restartIfChanged") is False:
        own.append("X-RestartIfChanged=false")
    if said["reloadTriggers"]:
        unit.append("X-Reload-Triggers=" + " ".join(each["name"] for each in said["reloadTriggers"]))
    parts = [["[Unit]", *unit, ""] if unit else [], [f"[{section}]", *own, ""] if own and section else []]
    return "\n".join(line for part in parts for line in part)


def _lines(settings: Mapping[str, Any]) -> list[str]:
    lines = []
    for key, value in settings.items():
        each: Sequence[Any] = value if isinstance(value, list) else [value]
        for one in each:
            lines.append(f"{key}={str(one).lower() if isinstance(one, bool) else one}")
    return lines
