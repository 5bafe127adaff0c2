"""Long output on a terminal goes through the person's pager, as with git."""

from __future__ import annotations

import os
import shlex
import subprocess

# The pager may run as root and must not hand out a shell: less(1), SECURITY.
_ENVIRONMENT = {"LESS": "FRX", "LESSSECURE": "1"}


def page(lines: list[str]) -> bool:
    """Show lines in `$PAGER`, or in less; False if there is none, and the caller prints them."""
    command = shlex.split(os.environ.get("PAGER", "less"))
    if not command or command == ["cat"]:
        return False
    try:
        pager = subprocess.Popen(
            command, stdin=subprocess.PIPE, env=_ENVIRONMENT | os.environ | {"LESSSECURE": "1"}, text=True
        )
    except OSError:
        return False
    try:
        pager.communicate("\n".join(lines) + "\n")
    except KeyboardInterrupt:  # it is the pager's, which has the terminal
        pager.wait()
    return True
