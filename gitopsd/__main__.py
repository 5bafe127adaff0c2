"""`gitopsd`: the daemon."""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from gitopsd import __version__
from gitopsd.config import DEFAULT_PATH
from gitopsd.daemon.app import rehearse, run, stand_by
from gitopsd.daemon.log import set_up
from gitopsd.daemon.places import Paths
from gitopsd.errors import ConfigError, GitopsdError

EXIT_FAILED, EXIT_CONFIG = 1, 2


def main() -> None:
    """Parse the command line and run the daemon."""
    parser = argparse.ArgumentParser(
        prog="gitopsd", description="Keeps dotfiles and the NixOS system in step with git."
    )
    parser.add_argument("--config", type=Path, default=DEFAULT_PATH, help="default: %(default)s")
    state = Path(os.environ.get("STATE_DIRECTORY", "/var/lib/gitopsd"))
    parser.add_argument("--state-dir", type=Path, default=state, help="default: %(default)s")
    parser.add_argument(
        "--socket",
        type=Path,
        default=Path("/run/gitopsd/io.gitopsd"),
        help="where systemd passes none; default: %(default)s",
    )
    parser.add_argument("--log", choices=("auto", "journal", "text", "json"), default="auto")
    parser.add_argument("--version", action="version", version=f"gitopsd {__version__}")
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="try whether it would start, beside a daemon that runs and without disturbing it, and end",
    )
    parser.add_argument(
        "--stand-by",
        action="store_true",
        help="watch the version that has taken over from this one, go back if it does not hold, and end",
    )
    arguments = parser.parse_args()
    set_up(arguments.log)
    paths = Paths(config=arguments.config, state=arguments.state_dir, socket=arguments.socket)
    try:
        if arguments.stand_by:
            asyncio.run(stand_by(paths))
        else:
            asyncio.run(rehearse(paths) if arguments.rehearse else run(paths))
    except GitopsdError as error:
        sys.stderr.write(f"gitopsd: {error.explained()}\n")
        sys.exit(EXIT_CONFIG if isinstance(error, ConfigError) else EXIT_FAILED)


if __name__ == "__main__":
    main()
