"""What a person decided about variables and literals: a small file in the repository, to be reviewed like any other.

A literal goes by its fingerprint, which only the host that made it can tell from another one: no value can be tried
against it, be it as short as a PIN.
"""

import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from gitopsd.errors import Failed
from gitopsd.secrets.allow import quoted
from gitopsd.secrets.keys import Kind
from gitopsd.tools.git import printable

FILE = ".gitopsd/secrets.toml"
_HEADER = """\
# What the variables of these dotfiles are: "secret", "config" or "undecided". `gitopsctl secrets audit` goes by it, and
# proposes something for those that are not here.
"""
_LITERALS = """\
# What stands in a file as it is, by the fingerprint that the audit shows on the host where this was decided.
"""


_ROW = re.compile(
    r"""(?P<head>\s*(?P<key>"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[\w-]+)\s*=\s*)(?:"[^"\n]*"|'[^'\n]*'|\{[^}\n]*\})""",
    re.ASCII,
)


class Literal(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided about a literal.

    Args:
        kind: secret: it goes to SOPS; undecided: it stays where it is, until it is decided.
        name: of the secret.
        file: where it was when this was decided, for whoever reviews it.

    """

    kind: Kind
    name: str
    file: str = ""


class Decisions(msgspec.Struct, frozen=True):
    """What the file holds.

    Args:
        decisions: what each variable is.
        literals: by fingerprint.

    """

    decisions: dict[str, Kind] = {}
    literals: dict[str, Literal] = {}


def parse(raw: bytes) -> Decisions:
    """Read the file; an empty one has no decisions.

    Raises:
        Failed: it is damaged.

    """
    try:
        found = msgspec.convert(tomllib.loads(raw.decode()), type=Decisions)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _unreadable(str(error)) from error
    except msgspec.ValidationError as error:
        # What stands there instead may be anything, a value too: it is not repeated, not by way of the cause either.
        raise _unreadable(re.sub(r"(?s)(Invalid enum value) .* - at", r"\1 - at", str(error))) from None
    for fingerprint, each in found.literals.items():
        if not is_name(each.name):
            raise _unreadable(
                f"the name for {printable(fingerprint)} is no name of a secret: letters, digits, `_` and `-`"
            )
    return found


def encode(decisions: Decisions) -> bytes:
    """The file with these decisions, by name."""
    text = f"{_HEADER}\n[decisions]\n" + "".join(
        f'{_key(name)} = "{kind.value}"\n' for name, kind in sorted(decisions.decisions.items())
    )
    if decisions.literals:
        text += f"\n{_LITERALS}[literals]\n" + "".join(
            f"{_key(name)} = {{ {_table(each)} }}\n" for name, each in sorted(decisions.literals.items())
        )
    return text.encode()


def updated(raw: bytes, decisions: Decisions) -> bytes:
    """The file with these decisions; what else a person wrote there, their comments and the order, is as it was.

    Raises:
        Failed: the file has a form in which this is not possible.

    """
    if not raw.strip():
        return encode(decisions)
    known, lines = parse(raw), raw.decode().splitlines()
    for name, kind in sorted(decisions.decisions.items()):
        if known.decisions.get(name) is not kind:
            _put(lines, "decisions", _key(name), f'"{kind.value}"')
    for name, each in sorted(decisions.literals.items()):
        if known.literals.get(name) != each:
            _put(lines, "literals", _key(name), f"{{ {_table(each)} }}")
    result = "".join(f"{line}\n" for line in lines).encode()
    with suppress(Failed):
        if parse(result) == decisions:
            return result
    raise Failed(
        f"{FILE} cannot be extended without losing what you wrote there",
        meaning="nothing was changed",
        advice=f'in {FILE}, write each decision in a line of its own, NAME = "secret", below [decisions]',
    )


def _put(lines: list[str], table: str, key: str, value: str) -> None:
    """Write one decision into the lines of the file: in its line, or behind the last one of its table."""
    heads = [number for number, line in enumerate(lines) if re.match(r"\s*\[", line)]
    start = next((number for number in heads if re.match(rf"\s*\[\s*{table}\s*\]\s*(?:#|$)", lines[number])), -1)
    if start < 0:
        lines += ["", *(_LITERALS.splitlines() if table == "literals" else ()), f"[{table}]", f"{key} = {value}"]
        return
    end = next((number for number in heads if number > start), len(lines))
    for number in range(start + 1, end):
        if (row := _ROW.match(lines[number])) and tomllib.loads(f"{row['key']} = 0") == tomllib.loads(f"{key} = 0"):
            lines[number] = f"{row['head']}{value}{lines[number][row.end() :]}"
            return
    while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1
    lines.insert(end, f"{key} = {value}")


def is_name(text: str) -> bool:
    """Whether a secret may be called so: a file below `/run/secrets`, and a key in the SOPS file."""
    return bool(re.fullmatch(r"[A-Za-z0-9_-]+", text))


def _table(each: Literal) -> str:
    fields: Mapping[str, str] = {"kind": each.kind.value, "name": each.name, "file": each.file}
    return ", ".join(f"{key} = {quoted(value)}" for key, value in fields.items())


def _key(name: str) -> str:
    """A TOML key; a name with a dot in it is one key and no table."""
    return name if re.fullmatch(r"[\w-]+", name, re.ASCII) else quoted(name)


def _unreadable(why: str) -> Failed:
    return Failed(f"{FILE} cannot be read: {why}", meaning="nothing was changed", advice=f"correct {FILE}")
