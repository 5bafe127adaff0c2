"""Secrets that stand in files as they are: what they would be called, and files with something else in their place. Pure.

A plain file becomes a template for that: what chezmoi would take for an action in it is escaped.
"""

import base64
import bisect
import html
import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from urllib.parse import quote, unquote

import msgspec

from gitopsd.secrets import data, rules
from gitopsd.secrets.keys import Kind
from gitopsd.secrets.rules import Hit
from gitopsd.secrets.views import views

_GUESSES = ("random-after-key", "looks-random", "cookie", "password-in-prose")
_WHOLE = ("private-key", "putty-private-key")
_SHORT = 6  # characters; a value that is shorter is looked for as a word, since it is in other words by chance
_LONGEST_NAME = 60

NEEDED_FIRST = (
    "chezmoi needs it before it makes any file, and a host without the secret could make none: include it there by hand, "
    'within {{ if stat "/run/secrets/NAME" }} and {{ end }}'
)

_PEM = re.compile(r"-----BEGIN (?P<kind>[^\n]{1,60}?)-----.*?-----END (?P=kind)-----", re.DOTALL)
# As text/template reads them: a string may hold what ends an action elsewhere.
_ACTION = re.compile(
    r"""\{\{(?:-\s)?/\*.*?\*/(?:\s-)?\}\}
    |\{\{(?:"(?:[^"\\\n]|\\.)*+"|`[^`]*+`|'(?:[^'\\\n]|\\.)*+'|[^"`'}]|\}(?!\}))*+\}\}""",
    re.DOTALL | re.VERBOSE,
)
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*+"|`[^`]*+`')
_DIRECTIVE = "chezmoi:template:"
_MODIFY_TEMPLATE = "chezmoi:modify-template"
_KEY_BEFORE = re.compile(
    r"""(?P<key>[A-Za-z_][\w-]*)["'\]]*(?:\s*(?:=>|:=|=|:)\s*|\s+)(?:!\w+\s+)?["'`(\[]*(?:(?:bearer|basic|token)\s+)?$""",
    re.IGNORECASE,
)
_HOST_AFTER = re.compile(r"@(?P<host>[\w.-]+)")
_MACHINE = re.compile(r"\bmachine\s+(\S+)")
_ENVIRONMENT = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
_NO_NAME = frozenset(("auth", "conf", "config", "configuration", "credential", "credentials", "data", "default"))
_NO_NAME |= frozenset(("defaults", "hosts", "init", "main", "secret", "secrets", "settings"))


def proposed_kind(rule: str) -> Kind:
    """What a literal seems to be by what found it: a rule that goes by chance alone leaves it to the person."""
    return Kind.undecided if rules.is_guess(rule) or rule in _GUESSES else Kind.secret


def moved_text(text: str, hit: Hit) -> str:
    """What of a file is to be moved for a hit; empty if it does not stand there as it is.

    That is the value; of a private key all of it with its armour, and with the rest of the file if that is white space.
    """
    if hit.rule not in _WHOLE:
        return hit.value if hit.line > 0 and hit.value in text else ""
    if text.startswith("PuTTY-User-Key-File-"):
        return text
    start = _offset(text, hit.line)
    found = _PEM.search(text, start) if hit.line > 0 else None
    if found is None or text.count("\n", 0, found.start()) + 1 != hit.line:
        return ""
    return text if found.group() == text.strip() else found.group()


def proposed_name(target: str, text: str, hit: Hit) -> str:
    """What a secret may be called, by the name that stands before it and the file that it is in.

    Args:
        target: the file, as people call it.
        text: what it holds.
        hit: the place.

    """
    line = text.split("\n")[hit.line - 1] if hit.line > 0 else ""
    at = line.find(hit.value)
    before, after = (line[:at], line[at + len(hit.value) :]) if at >= 0 else (line, "")
    *folders, last = [part.lstrip(".") for part in target.split("/")]
    stem = last.split(".")[0]
    if (stem in _NO_NAME or hit.rule in _WHOLE) and folders:
        stem = folders[-1] if stem in _NO_NAME else f"{folders[-1]}_{stem}"
    if hit.rule in (*_WHOLE, "password-file"):
        return _clean(stem)
    if hit.rule == "netrc-password":
        machines = _MACHINE.findall(text[: _offset(text, hit.line) + max(at, 0)])
        key = machines[-1] if machines else "password"
    elif hit.rule == "password-in-url" and (host := _HOST_AFTER.match(after)):
        key = host["host"]
    else:
        found = _KEY_BEFORE.search(before[-200:])
        key = found["key"] if found else hit.rule
    if _ENVIRONMENT.fullmatch(key):
        return _clean(key.lower())
    return _clean(key if key.lower().startswith(stem.lower()) else f"{stem}_{key}")


def distinct(name: str, taken: Collection[str]) -> str:
    """A name that is not taken: itself, or with a number."""
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return found


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for in a file.

    Args:
        expressions: what stands for each value, without braces.
        lines: in which a value counts even if it is short and a part of a word.

    """

    expressions: Mapping[str, str]
    lines: frozenset[int] = frozenset()

    def __repr__(self) -> str:  # its keys are values
        return f"Looked({len(self.expressions)})"

    def places(self, text: str, base: str = "", offset: int = 0) -> Iterator[tuple[int, int, str]]:
        """Where values begin and end, the longer ones first where they overlap, and what stands for them.

        Args:
            text: to look in.
            base: the file that it is from, for the lines; empty if it is that.
            offset: where it begins there.

        """
        longest = sorted(self.expressions, key=len, reverse=True)
        starts = _line_starts(base or text)
        for match in re.finditer("|".join(map(re.escape, longest)), text) if longest else ():
            line = bisect.bisect_right(starts, match.start() + offset) + 1
            if len(match.group()) >= _SHORT or _is_word(text, *match.span()) or line in self.lines:
                yield match.start(), match.end(), self.expressions[match.group()]


def as_template(text: str, looked: Looked) -> str:
    """A plain text as a template that renders what it was, with expressions for values."""
    pieces, at = [], 0
    for start, end, expression in looked.places(text):
        pieces += [_escaped(text[at:start]), f"{{{{ {expression} }}}}"]
        at = end
    return "".join([*pieces, _escaped(text[at:], before_action=False)])


def in_template(text: str, looked: Looked) -> str:
    """A template with expressions for the values in its text and in the strings of its actions.

    What stands in an action and in no string (a comment, a number) stays.
    """
    pieces, at = list[str](), 0
    for action in _ACTION.finditer(text):
        pieces += [_in_text(text[at : action.start()], looked, text, at), _in_action(action, looked, text)]
        at = action.end()
    return "".join([*pieces, _in_text(text[at:], looked, text, at)])


def why_no_template(path: str, content: bytes, *, is_managed: bool) -> str:
    """Why a file of the source directory cannot get something of a template's into it; empty if it can.

    Args:
        path: of the file.
        content: what it holds.
        is_managed: chezmoi makes something of it on this host.

    """
    name = path.rpartition("/")[2]
    if b"\0" in content:
        return "it is no text"
    if _DIRECTIVE.encode() in content:
        return f"`{_DIRECTIVE}` in it would mean something else"
    if re.fullmatch(r"\.chezmoi\.\w+\.tmpl", path):
        return "chezmoi's configuration is made before there are secrets: take it out there"
    if data.is_special(path):
        return NEEDED_FIRST
    if data.is_template(path):
        return ""
    if not is_managed:
        return "chezmoi makes nothing of this file here: take it out by hand, or do this on the host that it is for"
    if re.match(r"(?:create_|modify_)?encrypted_", name):
        return "it is encrypted"
    if name.startswith("remove_"):
        return "chezmoi removes something for it, and does not look into it"
    if _MODIFY_TEMPLATE.encode() in content:
        return f"it is a template of another kind already (`{_MODIFY_TEMPLATE}`): include the secret there by hand"
    return ""


def leftovers(content: bytes, forms: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[int, str]]:
    """Where values still stand in a content, in plain or in another form that they are written in.

    Args:
        content: of a file.
        forms: see `forms_of`, by name.

    Yields:
        The line (0 if there is none), and the name.

    """
    for view in views(content):
        text = view.text.decode(errors="surrogateescape")
        inner = list(rules.decoded(text))
        for name, known in forms.items():
            found = next((at for form in known for at in _occurrences(text, form)), -1)
            if found < 0:
                found = next((start for start, decoded in inner for _ in _occurrences(decoded, known[0])), -1)
            if found >= 0:
                yield (text.count("\n", 0, found) + 1 if view.has_lines else 0), name


def forms_of(value: str) -> tuple[str, ...]:
    """A value, first as it is, and how else it is written: escaped, and in base64 at any place in what is encoded."""
    forms = [value, json.dumps(value)[1:-1], quote(value, safe=""), html.escape(value), unquote(value)]
    with suppress(json.JSONDecodeError):  # then its backslashes are its own
        forms.append(str(json.loads(f'"{value}"')) if "\\" in value else value)
    raw = value.encode(errors="surrogateescape")
    if len(raw) > _SHORT:
        forms += [raw.hex(), raw.hex().upper()]
        for shift, start in enumerate((0, 2, 3)):
            sure = (8 * (shift + len(raw))) // 6
            coded = base64.b64encode(b"\0" * shift + raw).decode()[start:sure]
            forms += [coded, coded.replace("+", "-").replace("/", "_")]
    return tuple(dict.fromkeys(forms))


def _occurrences(text: str, value: str) -> Iterator[int]:
    at = text.find(value)
    while at >= 0:
        if len(value) >= _SHORT or _is_word(text, at, at + len(value)):
            yield at
        at = text.find(value, at + 1)


def _is_word(text: str, start: int, end: int) -> bool:
    return not (text[start - 1 : start].isalnum() or text[end : end + 1].isalnum())


def _escaped(text: str, *, before_action: bool = True) -> str:
    """A text as a template has to say it; a brace right before an action would be taken for a part of that."""
    found = text.replace("{{", '{{ "{{" }}')
    return _braced(found) if before_action else found


def _braced(text: str) -> str:
    return f'{text[:-1]}{{{{ "{{" }}}}' if text.endswith("{") else text


def _in_text(text: str, looked: Looked, base: str, offset: int) -> str:
    pieces, at = list[str](), 0
    for start, end, expression in looked.places(text, base, offset):
        pieces += [_braced(text[at:start]), f"{{{{ {expression} }}}}"]
        at = end
    return "".join([*pieces, text[at:]])


def _in_action(action: re.Match[str], looked: Looked, base: str) -> str:
    text = action.group()
    if re.match(r"\{\{(?:-\s)?/\*", text):
        return text
    alone = re.fullmatch(r"""(\{\{-?\s*)("(?:[^"\\\n]|\\.)*"|`[^`]*`)(\s*-?\}\})""", text)
    pieces, at = list[str](), 0
    for string in _STRING.finditer(text):
        new = _in_string(string.group(), looked, base, action.start() + string.start())
        pieces += [text[at : string.start()], new[1:-1] if alone and new.startswith("(") else new]
        at = string.end()
    return "".join([*pieces, text[at:]])


def _in_string(string: str, looked: Looked, base: str, offset: int) -> str:
    mark, inner = string[0], string[1:-1]
    parts, at = list[str](), 0
    for start, end, expression in looked.places(inner, base, offset + 1):
        if mark == '"' and "\\" in inner[start:end]:
            return string  # it means another value than the one that stands here
        parts += [f"{mark}{inner[at:start]}{mark}"] * (start > at) + [f"({expression})"]
        at = end
    if not parts:
        return string
    parts += [f"{mark}{inner[at:]}{mark}"] * (at < len(inner))
    return parts[0] if len(parts) == 1 else f"(print {' '.join(parts)})"


def _offset(text: str, line: int) -> int:
    return [0, *_line_starts(text)][line - 1] if line > 0 else 0


def _line_starts(text: str) -> list[int]:
    return [match.end() for match in re.finditer("\n", text)]


def _clean(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_-")[:_LONGEST_NAME] or "secret"
