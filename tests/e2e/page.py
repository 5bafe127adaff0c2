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
