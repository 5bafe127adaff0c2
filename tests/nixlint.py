"""What is dead in a Nix file, and what is not laid out as nixfmt lays it out.

nixfmt, deadnix and statix run in the flake's `checks`. They are in no package registry but nixpkgs, so this is what
everybody else runs: the dead code that deadnix knows (and `with` that is not needed), and of nixfmt's layout what can be
said line by line. The grammar is tree-sitter's.

    python -m nixlint FILE...
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import tree_sitter_nix
from tree_sitter import Language, Node, Parser, Tree

ROOT = Path(__file__).parents[1]
FILES = [
    ROOT / "flake.nix",
    *sorted((ROOT / "packaging").glob("*.nix")),
    *sorted((ROOT / "tests" / "nixmodule").glob("*.nix")),
    *sorted((ROOT / "tests" / "lab" / "nixos" / "lab").glob("*.nix")),
]
WIDTH = 100
_PARSER = Parser(Language(tree_sitter_nix.language()))
# Brackets that open on one line and close on another, and what may stand between them.
_BRACKETS = {"attrset_expression", "rec_attrset_expression", "list_expression", "formals", "parenthesized_expression"}
_PARTS = {"binding", "inherit", "inherit_from", "formal", "ellipses"}
_NEVER_UNBOUND = {"true", "false", "null"}


def faults(text: str) -> list[str]:
    """What is wrong with a file, as `LINE: what`, in the order of its lines."""
    tree = _parse(text)
    if tree.root_node.has_error:
        return [f"{_line(_broken(tree.root_node))}: this is not Nix"]
    found = [*_dead(tree), *_layout(tree, text.splitlines()), *_text(text, tree)]
    return [f"{line}: {what}" for line, what in sorted(set(found))]


def parses(text: str) -> bool:
    """Whether this is an expression, or what may stand between the braces of a set."""
    return any(not _parse(each).root_node.has_error for each in (text, f"{{\n{text}\n}}"))


def _parse(text: str) -> Tree:
    # The grammar (tree-sitter-nix 0.1) does not know the comma after the last argument, which nixfmt writes.
    return _PARSER.parse(re.sub(r",(?=\s*\}\s*[:@])", " ", text).encode())


def _broken(node: Node) -> Node:
    for child in node.children:
        if child.has_error or child.is_missing:
            return _broken(child)
    return node


def _line(node: Node) -> int:
    return node.start_point.row + 1


def _name(node: Node) -> str:
    return (node.text or b"").decode()


# -- dead code ----------------------------------------------------------------------------------------------------


class _Scope:
    """The names that something binds, and which of them are used.

    Args:
        around: the scope outside.
        names: name → where it is bound.
        is_with: the names are not known: everything that nobody binds may come from here.

    """

    def __init__(self, around: "_Scope | None", names: dict[str, Node], *, is_with: bool = False) -> None:
        self.around = around
        self.names = names
        self.is_with = is_with
        self.used: set[str] = set()

    def use(self, name: str) -> None:
        """Mark a name as used where it is bound: by the nearest scope, and if there is none, by the nearest `with`."""
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.names:
                scope.used.add(name)
                return
            scope = scope.around
        scope = self
        while scope is not None and name not in _NEVER_UNBOUND:
            if scope.is_with:
                scope.used.add(name)
            scope = scope.around

    def unused(self) -> Iterator[tuple[str, Node]]:
        """Names that are bound in vain; one that begins with `_` is meant to be."""
        for name, node in self.names.items():
            if name not in self.used and not name.startswith("_"):
                yield name, node


def _dead(tree: Tree) -> Iterator[tuple[int, str]]:
    yield from _visit(tree.root_node, _Scope(None, {}))


def _visit(node: Node, scope: _Scope) -> Iterator[tuple[int, str]]:
    match node.type:
        case "variable_expression":
            scope.use(_name(node))
        case "inherit":
            for name in _attributes(node):
                scope.use(_name(name))
        case "let_expression":
            inner = _Scope(scope, dict(_bound(node)))
            for child in node.named_children:
                yield from _bindings(child, inner, scope) if child.type == "binding_set" else _visit(child, inner)
            yield from ((_line(at), f"{name} is bound by let and not used") for name, at in inner.unused())
        case "rec_attrset_expression":
            inner = _Scope(scope, dict(_bound(node)))
            for child in node.named_children:
                yield from _bindings(child, inner, scope)
            if not inner.used:
                yield _line(node), "rec is not needed: no attribute is used by another"
        case "function_expression":
            inner = _Scope(scope, dict(_arguments(node)))
            for child in node.named_children:
                yield from _visit(child, inner)
            yield from ((_line(at), f"{name} is an argument and not used") for name, at in inner.unused())
        case "with_expression":
            environment, body = node.named_children
            yield from _visit(environment, scope)
            inner = _Scope(scope, {}, is_with=True)
            yield from _visit(body, inner)
            if not inner.used:
                yield _line(node), "with is not needed: every name below it is bound"
        case _:
            for child in node.named_children:
                yield from _visit(child, scope)


def _bindings(node: Node, inner: _Scope, outer: _Scope) -> Iterator[tuple[int, str]]:
    """The bindings of let or rec: what they inherit without a source comes from outside."""
    for child in node.named_children:
        yield from _visit(child, outer if child.type == "inherit" else inner)


def _bound(node: Node) -> Iterator[tuple[str, Node]]:
    for group in node.named_children:
        for binding in group.named_children if group.type == "binding_set" else ():
            names = _attributes(binding)
            if binding.type == "binding":
                path = binding.child_by_field_name("attrpath")
                names = path.named_children[:1] if path is not None else []
            yield from ((_name(name), name) for name in names if name.type == "identifier")


def _attributes(node: Node) -> list[Node]:
    inherited = node.child_by_field_name("attrs")
    return [] if inherited is None else [each for each in inherited.named_children if each.type == "identifier"]


def _arguments(node: Node) -> Iterator[tuple[str, Node]]:
    universal, formals = node.child_by_field_name("universal"), node.child_by_field_name("formals")
    if universal is not None:
        yield _name(universal), universal
    for formal in formals.named_children if formals is not None else ():
        name = formal.child_by_field_name("name")
        if name is not None:
            yield _name(name), name


# -- layout -------------------------------------------------------------------------------------------------------


def _text(text: str, tree: Tree) -> Iterator[tuple[int, str]]:
    lines = text.split("\n")
    words = _rows_of_words(tree.root_node)
    if lines[-1] or lines[-2:-1] == [""]:
        yield len(lines), "the file ends with one newline"
    for number, line in enumerate(lines, 1):
        if "\t" in line or line.endswith(" "):
            yield number, "a tab, or a space at the end"
        if number > 1 and not line and not lines[number - 2] and number < len(lines):
            yield number, "more than one empty line"
        if len(line) > WIDTH and number - 1 not in words:
            yield number, f"longer than {WIDTH} characters"


def _rows_of_words(node: Node) -> set[int]:
    """The rows that strings and comments are on: nixfmt does not break those."""
    if node.type in {"string_expression", "indented_string_expression", "comment"}:
        return set(range(node.start_point.row, node.end_point.row + 1))
    return set().union(*map(_rows_of_words, node.children))


def _layout(tree: Tree, lines: list[str]) -> Iterator[tuple[int, str]]:
    todo = [tree.root_node]
    while todo:
        node = todo.pop()
        todo += node.children
        match node.type:
            case "let_expression":
                yield from _let(node, lines)
            case kind if kind in _BRACKETS:
                yield from _bracket(node, lines)
            case "binding" | "formal":
                yield from _around(node)
        if node.type == ";" and node.prev_sibling is not None and _gap(node.prev_sibling, node) == " ":
            yield _line(node), "a space before the semicolon"


def _indent(lines: list[str], row: int) -> int:
    return len(lines[row]) - len(lines[row].lstrip())


def _begins_line(node: Node, lines: list[str]) -> bool:
    return _indent(lines, node.start_point.row) == node.start_point.column


def _let(node: Node, lines: list[str]) -> Iterator[tuple[int, str]]:
    inside = next(child for child in node.children if child.type == "in")
    base = _indent(lines, node.start_point.row)
    if inside.start_point.row != node.start_point.row and inside.start_point.column != base:
        yield _line(inside), "`in` stands under its `let`"
    yield from _parts(node, lines, base)


def _bracket(node: Node, lines: list[str]) -> Iterator[tuple[int, str]]:
    opening, closing = node.children[0], node.children[-1]
    if node.type == "rec_attrset_expression":
        opening = node.children[1]
    base = _indent(lines, opening.start_point.row)
    if opening.start_point.row == closing.start_point.row:
        if node.type != "parenthesized_expression":
            after, before = opening.next_sibling, closing.prev_sibling
            if after is not None and before is not None and (_gap(opening, after), _gap(before, closing)) != (" ", " "):
                yield _line(opening), "one space inside of brackets"
        return
    if _begins_line(closing, lines) and closing.start_point.column != base:
        yield _line(closing), "a closing bracket stands under the line that opens it"
    yield from _parts(node, lines, base)


def _parts(node: Node, lines: list[str], base: int) -> Iterator[tuple[int, str]]:
    for child in node.named_children:
        if child.type == "binding_set":
            yield from _parts(child, lines, base)
        elif (child.type in _PARTS or node.type == "list_expression") and _begins_line(child, lines):
            yield from [(_line(child), "two spaces deeper than what it is in")] * (child.start_point.column != base + 2)


def _around(node: Node) -> Iterator[tuple[int, str]]:
    """One space around `=` and `?`, or a line's end after it."""
    for child in node.children:
        if child.type in {"=", "?"} and child.prev_sibling is not None and child.next_sibling is not None:
            gaps = _gap(child.prev_sibling, child), _gap(child, child.next_sibling)
            if gaps not in {(" ", " "), (" ", "\n")}:
                yield _line(child), f"one space around `{child.type}`"


def _gap(before: Node, after: Node) -> str:
    """What is between two nodes: nothing, spaces, or a line's end."""
    if before.end_point.row != after.start_point.row:
        return "\n"
    return " " * (after.start_point.column - before.end_point.column)


def main(paths: list[str]) -> int:
    """Say what is wrong with these files, or with all of ours."""
    wrong = 0
    for path in map(Path, paths) if paths else FILES:
        for fault in faults(path.read_text(encoding="utf-8")):
            wrong += 1
            print(f"{path}:{fault}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
