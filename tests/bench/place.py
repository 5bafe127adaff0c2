"""Where it is measured: a forge and one host of the lab that has gitopsd installed as a package would install it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from e2e.scene import USER, Scene, set_up
from lab import Host, Lab

INSIDE = "/opt/gitopsd-src/bench/inside"
"""Where a machine sees our scripts."""

HOST = "malphas"


@dataclass(frozen=True, slots=True)
class Place:
    """One host whose home and system are in step with the forge."""

    host: Host
    scene: Scene

    def inside(self, script: str, question: Mapping[str, object], *, user: str = USER, timeout: float = 120) -> Any:
        """Run a script of `inside/` on the host: JSON in, JSON out.

        What is measured is measured there, since entering a machine takes longer than most of it.
        """
        argv = ["python3", "-I", f"{INSIDE}/{script}"]
        return json.loads(self.host.run(argv, user=user, input=json.dumps(question), timeout=timeout).stdout)

    def race(
        self,
        contenders: Mapping[str, Command],
        *,
        runs: int,
        user: str = USER,
        warm_up: int | None = None,
        timeout: float = 120,
    ) -> dict[str, list[float]]:
        """Run commands in turn, `runs` times each, and return how many milliseconds each run took.

        Args:
            contenders: name → command.
            runs: how often each of them counts.
            user: as whom.
            warm_up: how often each runs before; as often as race.py thinks right if None.
            timeout: seconds that all of it may take.

        """
        question: dict[str, object] = {
            "runs": runs,
            "contenders": {name: {"argv": run.argv, "env": run.env} for name, run in contenders.items()},
        }
        if warm_up is not None:
            question["warm_up"] = warm_up
        found: dict[str, list[float]] = self.inside("race.py", question, user=user, timeout=timeout)
        return found

    def restart(self) -> None:
        """Start the daemon anew; returns when it is ready."""
        # systemd counts starts, and refuses the sixth in 10 s.
        self.host.sh("systemctl reset-failed gitopsd.service && systemctl restart gitopsd.service")

    def versions(self) -> dict[str, str]:
        """Return what the figures depend on."""
        lines = self.host.sh(VERSIONS).stdout.splitlines()
        return dict(line.split("\t", 1) for line in lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What takes part in a race.

    Attributes:
        argv: the program and its arguments.
        env: added to the person's environment.
    """

    argv: Sequence[str]
    env: Mapping[str, str]


@contextmanager
def place() -> Iterator[Place]:
    """Boot the machines, install gitopsd, and bring dotfiles and system in step once."""
    with Lab() as lab:
        scene = set_up(lab, HOST)
        it = Place(scene.hosts[HOST], scene)
        it.host.sh(INSTALL, timeout=120)
        it.restart()
        it.host.run(["gitopsctl", "upgrade"])
        yield it


# The lab runs the checkout, and that starts slower than an installation, which has its byte code beside it. The programs
# are those that pip writes, with -I as in the lab's.
INSTALL = r"""
site=/usr/lib/python3/dist-packages
cp -r /opt/gitopsd-src/gitopsd "$site/"
find "$site/gitopsd" -name __pycache__ -prune -exec rm -r {} +
python3 -m compileall -q "$site/gitopsd"
write() {
    printf '#!/usr/bin/python3 -I\nimport sys\nfrom %s import main\nsys.exit(main())\n' "$2" >"/usr/bin/$1"
}
write gitopsd gitopsd.__main__
write gitopsctl gitopsd.cli.__main__
"""

VERSIONS = r"""
say() { printf '%s\t%s\n' "$1" "$2"; }
say gitopsd "$(gitopsctl --version | cut -d' ' -f2)"
say Python "$(python3 -c 'import platform; print(platform.python_version())')"
say jj "$(jj --version | cut -d' ' -f2)"
say git "$(git --version | cut -d' ' -f3)"
say chezmoi "$(chezmoi --version | sed -E 's/^chezmoi version v([^,]*),.*/\1/')"
say nix "$(nix --version | sed 's/.* //')"
say OpenSSH "$(ssh -V 2>&1 | sed -E 's/^OpenSSH_([^ ]*) .*/\1/')"
say systemd "$(systemctl --version | sed -E '1!d; s/^systemd ([^ ]*).*/\1/')"
say Linux "$(uname -r | cut -d- -f1)"
say cores "$(nproc)"
"""
