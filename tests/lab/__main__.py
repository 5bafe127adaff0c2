"""python -m lab: the image, commands in it, and machines to look around in.

The verbs:

    python -m lab image                 build the image unless it is there; print its path
    python -m lab run -- COMMAND…       run a command in a throw-away copy of the image, checkout at /src
    python -m lab shell [HOST]          boot a forge and a host and open a shell on it
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import LabError, Unsupported
from .image import check_programs, image_in_use, pycache_for
from .lab import CHECKOUT, Lab

HERE = Path(__file__).parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status: that of the command for `run`, 2 if the lab cannot run here."""
    parser = argparse.ArgumentParser(prog="python -m lab", description="machines for gitopsd's tests")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("image", help="build the image unless it is there; print its path")
    run = verbs.add_parser("run", help="run a command in a throw-away copy of the image")
    run.add_argument(
        "--source", type=Path, default=CHECKOUT, help="what is at /src, read-only (default: this checkout)"
    )
    run.add_argument("command", nargs="+", metavar="COMMAND")
    shell = verbs.add_parser("shell", help="boot a forge and a host and open a shell on it")
    shell.add_argument("host", nargs="?", default="malphas")
    shell.add_argument("--user", default="root")
    chosen = parser.parse_args(arguments)
    try:
        match chosen.verb:
            case "image":
                with image_in_use() as image:
                    print(image)
                return 0
            case "run":
                return run_throwaway(chosen.command, chosen.source)
            case _:
                return open_shell(chosen.host, chosen.user)
    except LabError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def run_throwaway(command: Sequence[str], source: Path = CHECKOUT) -> int:
    """Run a command as root in an overlay of the image, not booted, with our own streams.

    Args:
        command: the command; its directory is /src.
        source: what is at /src, read-only.

    Returns:
        Its exit status, 128 + the signal if one ended it.
    """
    if os.geteuid() != 0:
        raise Unsupported("running a command in the image needs root, for namespaces and an overlay")
    check_programs("unshare", "ip")
    with image_in_use() as image:
        own = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private"]
        paths = [str(path) for path in (image, source, pycache_for(image, source))]
        argv = ["setpriv", "--pdeathsig", "KILL", *own, "sh", str(HERE / "throwaway.sh"), *paths]
        process = subprocess.Popen([*argv, *command])
        # A Ctrl-C reaches the whole group: the command decides what it means, and we report how it ended.
        handler = signal.signal(signal.SIGINT, _heard)
        try:
            status = process.wait()
        finally:
            signal.signal(signal.SIGINT, handler)
            process.kill()
    return status if status >= 0 else 128 - status


def open_shell(name: str, user: str) -> int:
    """Boot a forge with empty repositories and one host, and give the terminal to a shell on it."""
    with Lab() as lab:
        forge = lab.forge()
        for repository in ("dotfiles", "nix-config"):
            forge.create_repo(repository)
        host = lab.host(name)
        print(f"{name} is up, so is git@forge:dotfiles.git and :nix-config.git; leaving the shell ends them")
        handler = signal.signal(signal.SIGINT, _heard)
        try:
            terminal = {"TERM": os.environ.get("TERM", "dumb")}
            return subprocess.run(host.command(["bash", "-l"], user=user, env=terminal), check=False).returncode
        finally:
            signal.signal(signal.SIGINT, handler)


def _heard(*_: object) -> None:
    """Do nothing. A signal that is ignored would be so in what we start as well; one with a handler is not."""


if __name__ == "__main__":
    sys.exit(main())
