"""Types what a page of the documentation says, on machines.

A block is typed if a comment stands before it, which nobody who reads the page sees:

    <!-- rain@malphas -->                       as rain, on malphas, and it must succeed
    <!-- rain@malphas prints: success -->       and print this
    <!-- root@malphas after: mended prints: … -->   once the test has done what it calls `mended`
"""

import re
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from e2e.terminal import Terminal
from lab import Host

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(
    r"^(?P<indent> *)<!-- (?P<user>\w+)@(?P<host>\w+)(?: after: (?P<after>(?:(?! prints:)[\w ])+))?(?: prints: (?P<prints>.*?))? -->\n"
    r"(?:\s*\n)*(?P<text>(?:(?:(?P=indent)    .*)?\n)+)",
    re.MULTILINE,
)


class Block(NamedTuple):
    """What is typed: by whom, where, after what, and what it prints."""

    user: str
    host: str
    after: str
    prints: str
    commands: str


def blocks(page: str) -> list[Block]:
    """The blocks of a page that are typed, by its path below `docs/`."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = [
        Block(
            match["user"],
            match["host"],
            match["after"] or "",
            match["prints"] or "",
            textwrap.dedent(match["text"]).strip(),
        )
        for match in _BLOCK.finditer(text)
    ]
    assert len(found) == text.count("-->") - text.count("<!-- Written"), "a comment without a block"
    return found


def type_page(page: str, hosts: Mapping[str, Host], acts: Mapping[str, Callable[[], object]] | None = None) -> None:
    """Type all of it, in order.

    Args:
        page: its path below `docs/`.
        hosts: by name.
        acts: what the test does where the page says `after`.

    """
    done = dict(acts or {})
    for block in blocks(page):
        if block.after:
            done.pop(block.after)()
        ran = hosts[block.host].sh(f"set -e\n{block.commands}", user=block.user, check=False)
        said = ran.stdout + ran.stderr
        assert ran.returncode == 0, f"{page}: {block.commands}\n{said}"
        assert block.prints in said, f"{page}: {block.commands}\n{said}"
    assert not done, "the page does not use these"


def type_at(terminal: Terminal, page: str, left_out: set[str], replacing: Mapping[str, str]) -> None:
    """Type all of a page at one terminal, line by line, from where it begins to where it ends: also what leads inside.

    The comments then say whose prompt a block is typed at, and may say several things that it prints, in order, with `…`
    between them.

    Args:
        terminal: where.
        page: its path below `docs/`.
        left_out: blocks that are not typed; every other one of the page must be.
        replacing: what stands elsewhere on this computer than the page says.

    """
    text = (DOCS / page).read_text(encoding="utf-8")
    indented = {line.strip() for line in text.splitlines() if line.startswith("    ")}
    marked = blocks(page)
    assert indented == left_out | {line for block in marked for line in block.commands.splitlines()}
    for block in marked:
        assert terminal.prompt == f"{block.user}@{block.host}", f"{page}: {block.commands}"
        commands, printed = block.commands, ""
        for written, here in replacing.items():
            commands = commands.replace(written, here)
        for line in commands.splitlines():
            typed = terminal.type(line)
            assert typed.status == 0, f"{page}: {line}\n{typed.printed}"
            printed += typed.printed
        rest = printed
        for expected in filter(None, block.prints.split(" … ")):
            assert expected in rest, f"{page}: {block.commands}: no {expected!r} in its place\n{printed}"
            rest = rest.partition(expected)[2]
