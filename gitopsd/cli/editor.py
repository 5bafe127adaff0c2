"""A text in the person's editor, as with git: $VISUAL, else $EDITOR, else vi."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile


def edit(name: str, text: str) -> tuple[str, str | None]:
    """Let the person edit a text.

    Args:
        name: of the file, so that the editor knows its kind.
        text: what it holds at first.

    Returns:
        Where the file is, in a directory that only the person can read and that stays; and what it holds now, None if
        the editor failed.

    """
    path = os.path.join(tempfile.mkdtemp(prefix="gitopsctl-"), os.path.basename(name) or "file")  # noqa: PTH118, PTH119 - pathlib is heavy
    with open(path, "w", encoding="utf-8", newline="") as file:  # noqa: PTH123
        file.write(text)
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    try:
        done = subprocess.run([*command, path], check=False)
    except OSError:
        return path, None
    if done.returncode != 0:
        return path, None
    with open(path, encoding="utf-8", errors="replace", newline="") as file:  # noqa: PTH123
        return path, file.read()


def discard(path: str) -> None:
    """Remove the file and its directory."""
    os.unlink(path)  # noqa: PTH108
    os.rmdir(os.path.dirname(path))  # noqa: PTH106, PTH120 - an editor's backup keeps it
