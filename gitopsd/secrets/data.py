"""Data of chezmoi: where its variables are defined and used. Pure; what only chezmoi can parse is handed in parsed."""

import functools
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"|`[^`]*`')
_YAML_KEY = re.compile(
    r"""^(?P<indent> *)(?P<quote>["']?)(?P<key>(?<=")[^"\n]+|(?<=')[^'\n]+|[\w.-]+(?: [\w.-]+)*)(?P=quote)\s*:(?P<rest>.*)$"""
)
_TOML_TABLE = re.compile(r"""^\s*\[(?P<table>(?:"[^"\n]*"|'[^'\n]*'|[\w.-])+)\]\s*(?:#.*)?$""")
_TOML_KEY = re.compile(r"""^\s*(?P<key>(?:"[^"\n]*"|'[^'\n]*'|[\w.-])+)\s*=\s*(?P<rest>.*)$""")
_TOML_QUOTED = re.compile(r"""(?P<quote>["'])(?P<key>[^"'\n]*)(?P=quote)""")
_PROMPT = re.compile(r"""\bprompt\w*Once\s+\.\s+"(?P<key>[\w.]+)"|(?P<key2>\w+)\s*[=:]\s*\{\{[^}]*\bprompt\w*\b""")

_PLAIN_KEY = re.compile(r"[^\s.\"]+")
_KEY = re.compile(r"""\"(?:[^\"\\]|\\.)*\"|[^.]+""")

Leaves = dict[str, Any]


def is_data(path: str) -> bool:
    """Whether a file of the source directory defines variables."""
    return bool(re.fullmatch(r"\.chezmoidata(?:\.(?:toml|ya?ml|jsonc?)|/.+\.(?:toml|ya?ml|jsonc?))", path))


def is_template(path: str) -> bool:
    """Whether chezmoi takes a file of the source directory for a template."""
    name = path.rpartition("/")[2]
    return name.endswith((".tmpl", ".tmpl.age", ".tmpl.asc")) or is_special(path) or ".chezmoitemplates/" in path


def is_special(path: str) -> bool:
    """Whether chezmoi makes no target of a template, and can make none at all while this one fails."""
    return path.rpartition("/")[2].startswith((".chezmoiignore", ".chezmoiremove", ".chezmoiexternal"))


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Leaves:
    """The scalars of a tree by their names with dots between; lists of scalars count as one.

    What is in a list of tables has its number in its name: `accounts.0.password`. A key with a dot or a blank in it stands
    in quotes, so that it is no other variable's: `"my.token"`.
    """
    found: Leaves = {}
    for key, value in tree.items():
        name = f"{prefix}{_named(key)}"
        found |= _leaves_of(name, value)
    return found


def _leaves_of(name: str, value: Any) -> Leaves:
    if isinstance(value, Mapping):
        return leaves(value, f"{name}.")
    if isinstance(value, list) and any(isinstance(each, Mapping | list) for each in value):
        found: Leaves = {}
        for number, each in enumerate(value):
            found |= _leaves_of(f"{name}.{number}", each)
        return found
    return {name: value}


def _named(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def _named_toml(keys: str) -> str:
    return _TOML_QUOTED.sub(lambda match: _named(match["key"]), keys)


def keys_of(name: str) -> list[str]:
    """The keys that lead to a variable, see `leaves`."""
    return [json.loads(key) if key.startswith('"') else key for key in _KEY.findall(name)]


def parse_plain(path: str, raw: bytes) -> Mapping[str, Any] | None:
    """What a file defines; None if only chezmoi can parse it."""
    if path.endswith(".toml"):
        return tomllib.loads(raw.decode())
    if path.endswith(".json"):
        found = json.loads(raw)
        return found if isinstance(found, dict) else {}
    return None


def defined_at(path: str, text: str, name: str) -> int:
    """The line in which a variable is defined; 0 if it is not found."""
    return next((number for number, _ in _lines_of(path, text, name)), 0)


def without(path: str, raw: bytes, name: str) -> bytes:
    """A file without one variable, and otherwise as it was (JSON is written anew)."""
    text = raw.decode()
    if path.endswith(".json"):
        tree = json.loads(text)
        branch = tree
        *parents, last = keys_of(name)
        for parent in parents:
            branch = branch[int(parent) if isinstance(branch, list) else parent]
        del branch[int(last) if isinstance(branch, list) else last]
        return (json.dumps(tree, indent=2, ensure_ascii=False) + "\n").encode()
    gone = {number for number, _ in _lines_of(path, text, name)}
    lines = text.splitlines(keepends=True)
    return "".join(line for number, line in enumerate(lines, 1) if number not in gone).encode()


def _lines_of(path: str, text: str, name: str) -> Iterator[tuple[int, str]]:
    """The lines that define a variable, the first of them with its name."""
    if path.endswith(".json"):
        last = json.dumps(keys_of(name)[-1], ensure_ascii=False)
        for number, line in enumerate(text.splitlines(), 1):
            if re.search(rf"{re.escape(last)}\s*:", line):
                yield number, line
                return
        return
    yield from (_toml_lines if path.endswith(".toml") else _yaml_lines)(text, name)


def _yaml_lines(text: str, name: str) -> Iterator[tuple[int, str]]:
    stack: list[tuple[int, str]] = []
    inside = -1
    for number, line in enumerate(text.splitlines(), 1):
        indent = len(line) - len(line.lstrip(" "))
        if inside >= 0:
            if line.strip() and indent <= inside:
                return
            if line.strip():
                yield number, line
            continue
        if (found := _YAML_KEY.match(line)) is None:
            continue
        while stack and stack[-1][0] >= indent:
            stack.pop()
        stack.append((indent, _named(found["key"])))
        if ".".join(key for _, key in stack) == name:
            inside = indent
            yield number, line


def _toml_lines(text: str, name: str) -> Iterator[tuple[int, str]]:
    table, closing = "", ""
    for number, line in enumerate(text.splitlines(), 1):
        if closing:
            yield number, line
            if closing in line:
                return
            continue
        if found := _TOML_TABLE.match(line):
            table = _named_toml(found["table"])
        elif found := _TOML_KEY.match(line):
            key = _named_toml(found["key"])
            if (f"{table}.{key}" if table else key) == name:
                yield number, line
                quote = found["rest"][:3]
                if quote not in ('"""', "'''") or quote in found["rest"][3:]:
                    return
                closing = quote


def names_by_line(path: str, text: str) -> dict[int, str]:
    """The variable that each line of a data file defines, as far as the lines alone tell."""
    found: dict[int, str] = {}
    stack: list[tuple[int, str]] = []
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if path.endswith(".toml"):
            if match := _TOML_TABLE.match(line):
                table = _named_toml(match["table"]) + "."
            elif match := _TOML_KEY.match(line):
                found[number] = table + _named_toml(match["key"])
        elif match := _YAML_KEY.match(line):
            indent = len(match["indent"])
            while stack and stack[-1][0] >= indent:
                stack.pop()
            stack.append((indent, _named(match["key"])))
            found[number] = ".".join(key for _, key in stack)
    return found


def prompted(text: str) -> dict[str, int]:
    """The variables that chezmoi's configuration template asks for, with the line."""
    found: dict[str, int] = {}
    for match in _PROMPT.finditer(text):
        found.setdefault(match["key"] or match["key2"], text.count("\n", 0, match.start()) + 1)
    return found


def uses(text: str, names: Mapping[str, Any]) -> dict[str, list[tuple[int, str]]]:
    """The places in a template where variables are used: the line, and the text before the action in that line."""
    found: dict[str, list[tuple[int, str]]] = {}
    for begins, ends in actions(text):
        code = _STRING.sub('""', text[begins:ends])
        start = text.rfind("\n", 0, begins) + 1
        for name in names:
            if _reference(name).search(code) or _indexed(name).search(text, begins, ends):
                line = text.count("\n", 0, begins) + 1
                found.setdefault(name, []).append((line, text[start:begins]))
    return found


def rewritten(text: str, expressions: Mapping[str, str]) -> str:
    """A template in which variables are replaced.

    Args:
        text: the template.
        expressions: what stands for each variable.

    """
    return replaced(text, lambda action: _rewritten(action, expressions))


def actions(text: str) -> Iterator[tuple[int, int]]:
    """Where the actions of a template begin and end, in time that grows with its length."""
    end = 0
    while (start := text.find("{{", end)) >= 0 and (end := text.find("}}", start + 2) + 2) > 1:
        yield start, end


def replaced(text: str, by: Callable[[str], str]) -> str:
    """A template with each of its actions replaced."""
    pieces, at = [], 0
    for start, end in actions(text):
        pieces += [text[at:start], by(text[start:end])]
        at = end
    return "".join([*pieces, text[at:]])


def _rewritten(action: str, expressions: Mapping[str, str]) -> str:
    for name, expression in expressions.items():
        either = rf"(?:\$?\.{re.escape(name)}|{_indexed(name).pattern})"
        alone = re.fullmatch(rf"(\{{\{{-?\s*){either}(\s*-?\}}\}})", action)
        if alone:
            return f"{alone[1]}{expression}{alone[2]}"
        action = _indexed(name).sub(lambda _: f"({expression})", action)  # noqa: B023
        pieces, at = [], 0
        for string in _STRING.finditer(action):
            pieces += [_reference(name).sub(lambda _: f"({expression})", action[at : string.start()]), string.group()]  # noqa: B023
            at = string.end()
        action = "".join([*pieces, _reference(name).sub(lambda _: f"({expression})", action[at:])])  # noqa: B023
    return action


def _reference(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.)\]])\$?\.{re.escape(name)}(?![\w.])")


@functools.cache
def _indexed(name: str) -> re.Pattern[str]:
    """`index . "my-token"`, as a name that has to be in quotes is said; with the first keys dotted, perhaps."""
    keys = keys_of(name)
    ways = []
    for split in range(len(keys)):
        dotted = ".".join(map(re.escape, keys[:split]))
        rest = "".join(
            rf"\s+(?:{re.escape(json.dumps(key, ensure_ascii=False))}|`{re.escape(key)}`)" for key in keys[split:]
        )
        ways.append((rf"\$?\.{dotted}" if dotted else r"(?:\.|\$\.?)") + rest)
    return re.compile(rf"(?<![\w.$])index\s+(?:{'|'.join(ways)})(?=[\s)|}}-])(?!\s+[\"`.$\d])")
