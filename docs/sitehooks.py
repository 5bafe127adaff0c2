# ruff: noqa: INP001 - a hook of mkdocs, beside the pages
"""What the site needs that the pages do not say: where they are in it, and where links into the source lead."""

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
_TITLE = re.compile(r"^# (.*)$", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+[^)\s]+)\)")
_ITEM = re.compile(r"(?:\d\.|-) ")
_ROOMS = {"How to": "how-to", "Reference": "reference", "Explanation": "explanation", "Decisions": "explanation/adr"}


def on_config(config: Any) -> Any:
    """Put every page of a room into the navigation: a new one needs no second mention."""
    for entry in config["nav"]:
        for title in entry:
            if title in _ROOMS:
                entry[title] = [
                    {_title(path): str(path.relative_to(DOCS))} for path in sorted((DOCS / _ROOMS[title]).glob("*.md"))
                ]
    return config


def _title(path: Path) -> str:
    found = _TITLE.search(path.read_text(encoding="utf-8"))
    return found[1].removeprefix("How to ").strip() if found else path.stem


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """A link that leaves the documentation becomes the name of the file: the site has no source."""

    def instead(link: re.Match[str]) -> str:
        target = (DOCS / page.file.src_uri).parent / link[2].partition("#")[0]
        if target.resolve().is_relative_to(DOCS):
            return link[0]
        words = link[1].strip("`")
        path = target.resolve().relative_to(DOCS.parent)
        return f"`{path}`" if words in {str(path), path.name} else f"{words} (`{path}`)"

    return _LINK.sub(instead, _lists(markdown))


def _lists(markdown: str) -> str:
    """What belongs to an item of a list is indented by four: Python-Markdown asks for that, CommonMark for the text's column."""
    lines = []
    column = 0  # of the text of the item that we are in
    fenced = False
    for line in markdown.split("\n"):
        fenced ^= line.startswith("```")
        item = None if fenced else _ITEM.match(line)
        if item is not None:
            column = len(item[0])
        elif line and not line.startswith(" "):
            column = 0
        belongs = column and item is None and line.startswith(" " * column)
        lines.append(" " * (4 - column) + line if belongs else line)
    return "\n".join(lines)
