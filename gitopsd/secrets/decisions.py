"""What a person decided about variables: a small file in the repository, to be reviewed like any other."""

import re
import tomllib
from collections.abc import Mapping

import msgspec

from gitopsd.errors import Failed
from gitopsd.secrets.keys import Kind

FILE = ".gitopsd/secrets.toml"
_HEADER = """\
# What the variables of these dotfiles are: "secret", "config" or "undecided". `gitopsctl secrets audit` goes by it, and
# proposes something for those that are not here.
"""


class _File(msgspec.Struct, frozen=True):
    decisions: dict[str, Kind] = {}


def parse(raw: bytes) -> dict[str, Kind]:
    """Read the file; an empty one has no decisions.

    Raises:
        Failed: it is damaged.

    """
    try:
        return dict(msgspec.convert(tomllib.loads(raw.decode()), type=_File).decisions)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise Failed(
            f"{FILE} cannot be read: {error}", meaning="nothing was changed", advice=f"correct {FILE}"
        ) from error


def encode(decisions: Mapping[str, Kind]) -> bytes:
    """The file with these decisions, by name."""
    lines = [f'{_key(name)} = "{kind.value}"\n' for name, kind in sorted(decisions.items())]
    return f"{_HEADER}\n[decisions]\n{''.join(lines)}".encode()


def _key(name: str) -> str:
    """A TOML key; a name with a dot in it is one key and no table."""
    return name if re.fullmatch(r"[\w-]+", name, re.ASCII) else msgspec.json.encode(name).decode()
