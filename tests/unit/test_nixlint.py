"""Nix files: no dead code, and laid out as nixfmt does."""

import re
from pathlib import Path

import pytest

pytest.importorskip("tree_sitter_nix", reason="needs tree-sitter-nix: pip install -e '.[dev]'")

import nixlint

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("path", nixlint.FILES, ids=lambda path: path.name)
def test_a_nix_file_has_nothing_dead_and_is_laid_out_well(path: Path) -> None:
    assert nixlint.faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("let\n  a = 1;\n  b = a;\nin\nb.c a", ""),
        ("let\n  a = 1;\nin\n2", "2: a is bound by let and not used"),
        ("a: let\n  a = 1;\nin\na", "1: a is an argument and not used"),
        ("a:\nlet\n  inherit (a) b c;\nin\nb", "3: c is bound by let and not used"),
        ("a:\nlet\n  inherit a;\nin\na", ""),
        ("a: a: a", "1: a is an argument and not used"),
        ("_: _unused: 1", ""),
        ("{ a, b }: a", "1: b is an argument and not used"),
        ("{ a, ... }@all: a", "1: all is an argument and not used"),
        ("{\n  a,\n  b,\n}:\na", "3: b is an argument and not used"),
        ("{ a, b ? a }: b", ""),
        ("a: { inherit a; }", ""),
        ('a: "x ${a}"', ""),
        ("rec { a = 1; }", "1: rec is not needed: no attribute is used by another"),
        ("rec { a = 1; b = a; }", ""),
        ("a: with a; b", ""),
        ("a: b: with a; b", "1: with is not needed: every name below it is bound"),
        ("a: with a; true", "1: with is not needed: every name below it is bound"),
        ("{\n  a = 1;\t\n}", "2: a tab, or a space at the end"),
        ("{\n  a = 1; \n}", "2: a tab, or a space at the end"),
        ("{ }\n\n", "3: the file ends with one newline"),
        ("{\n  a = 1;\n\n\n  b = 1;\n}", "4: more than one empty line"),
        ("{\n   a = 1;\n}", "2: two spaces deeper than what it is in"),
        ("{\n  a = [\n    1\n      2\n  ];\n}", "4: two spaces deeper than what it is in"),
        ("{\n  a = 1;\n  }", "3: a closing bracket stands under the line that opens it"),
        ("{\n  a=1;\n}", "2: one space around `=`"),
        ("{\n  a =  1;\n}", "2: one space around `=`"),
        ("{\n  a = 1 ;\n}", "2: a space before the semicolon"),
        ("{\n  a = [1];\n}", "2: one space inside of brackets"),
        ("{\n  a = {};\n}", "2: one space inside of brackets"),
        ("let\n  a = 1;\n  in\na", "3: `in` stands under its `let`"),
        ("{ a = 1; }: 1", "1: this is not Nix"),
        (f"{{\n  a = {' + '.join(['lib'] * 20)};\n}}", "2: longer than 100 characters"),
    ],
)
def test_each_kind_of_fault_is_found(text: str, what: str) -> None:
    assert nixlint.faults(text if text.endswith("\n") else f"{text}\n") == ([what] if what else [])


NIX_ON_PAGES = [
    (page, text)
    for page in sorted(DOCS.rglob("*.md"))
    for text in re.findall(r"(?ms)^ *```nix\n(.*?)^ *```", page.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(("page", "text"), NIX_ON_PAGES, ids=[page.name for page, _ in NIX_ON_PAGES])
def test_the_nix_on_a_page_is_nix(page: Path, text: str) -> None:
    assert nixlint.parses(text), f"{page}: {text}"


def test_pages_have_nix_that_can_be_looked_at() -> None:
    assert len(NIX_ON_PAGES) > 5
