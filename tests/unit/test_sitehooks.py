"""The site has every page, and no link that leads out of it."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from docs import sitehooks

DOCS = Path(__file__).parents[2] / "docs"


def test_every_page_of_a_room_is_in_the_navigation() -> None:
    config = sitehooks.on_config({"nav": [{"How to": []}, {"Reference": []}, {"Explanation": []}, {"Decisions": []}]})
    listed = {path for entry in config["nav"] for pages in entry.values() for page in pages for path in page.values()}
    for room in ("how-to", "reference", "explanation"):
        assert {str(path.relative_to(DOCS)) for path in (DOCS / room).rglob("*.md")} <= listed


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("[`units/gitopsd.service`](../../units/gitopsd.service)", "`units/gitopsd.service`"),
        ("see [CONTRIBUTING](../../CONTRIBUTING.md)", "see CONTRIBUTING (`CONTRIBUTING.md`)"),
        ("[why](../explanation/security.md#who)", "[why](../explanation/security.md#who)"),
    ],
)
def test_links_into_the_source_become_names(said: str, shown: str) -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="how-to/page.md"))
    assert sitehooks.on_page_markdown(said, page) == shown


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "1. one\n\n       a command\n\n2. two\n   more\n\ntext",
            "1. one\n\n        a command\n\n2. two\n    more\n\ntext",
        ),
        ("- one\n\n  ```\n  text\n  ```", "- one\n\n    ```\n    text\n    ```"),
        ("text\n\n    a command", "text\n\n    a command"),
        ("```\n1. no item\n   as it is\n```", "```\n1. no item\n   as it is\n```"),
    ],
)
def test_what_belongs_to_an_item_is_indented_as_the_site_wants_it(said: str, shown: str) -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="how-to/page.md"))
    assert sitehooks.on_page_markdown(said, page) == shown


def test_a_numbered_procedure_is_one_list_on_the_site() -> None:
    markdown = pytest.importorskip("markdown", reason="needs what the site needs: pip install -e '.[docs]'")
    path = DOCS / "how-to" / "run-on-another-distribution.md"
    page = SimpleNamespace(file=SimpleNamespace(src_uri="how-to/run-on-another-distribution.md"))
    shown = markdown.markdown(sitehooks.on_page_markdown(path.read_text(encoding="utf-8"), page))
    assert shown.count("<ol>") == 1
    assert "<code>apt-get install" in shown
