"""What a person decided about variables and literals: a small file in the repository, to be reviewed like any other.

A literal goes by its fingerprint, which only the host that made it can tell from another one: no value can be tried
against it, be it as short as a PIN.
"""

import re
import tomllib
from collections.abc import Mapping

import msgspec

from gitopsd.errors import Failed
from gitopsd.secrets.allow import quoted
from gitopsd.secrets.keys import Kind

FILE = ".gitopsd/secrets.toml"
_HEADER = """\
# What the variables of these dotfiles are: "secret", "config" or "undecided". `gitopsctl secrets audit` goes by it, and
# proposes something for those that are not here.
"""
_LITERALS = """\
# What stands in a file as it is, by the fingerprint that the audit shows on the host where this was decided.
"""


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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise _unreadable(str(error)) from error
    for each in found.literals.values():
        if not is_name(each.name):
            raise _unreadable(f"{each.name!r} is no name of a secret: letters, digits, `_` and `-`")
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
