"""What is wrong in the file, in words."""

import difflib
import types
import typing
from typing import Any, get_args, get_origin

import msgspec

from gitopsd.config.kinds import Seconds, Section, Size, UnitName


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong in the file.

    Args:
        path: such as `dotfiles[0].user`.
        found: what stands there.
        expected: what should.

    """

    path: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.path}: found {self.found}, expected {self.expected}"


def unknown_key(key: str, path: str, known: list[str]) -> Fault:
    """Say that a key is not known, and what may be meant."""
    where = f"{path}.{key}" if path else key
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"`{near[0]}`" if near else "one of " + ", ".join(f"`{name}`" for name in sorted(known))
    return Fault(path=where, found="an unknown key", expected=hint)


def as_found(raw: object) -> str:
    """What stands there, in words."""
    match raw:
        case dict():
            return "a table"
        case list():
            return "a list"
        case _:
            return repr(raw)


def as_expected(kind: Any) -> str:
    """What may stand there, in words."""
    origin, args = get_origin(kind), get_args(kind)
    if kind == Seconds:
        return 'a duration such as "30s" or "5min"'
    if kind == Size:
        return 'a size such as "500M" or "2G"'
    if kind == UnitName:
        return 'a unit with its suffix, such as "sshd.service"'
    if origin is typing.Literal:
        return " or ".join(f'"{arg}"' for arg in args)
    if origin is tuple:
        return f"a list of: {as_expected(args[0])}"
    if origin in (typing.Union, types.UnionType):
        return as_expected(args[0])
    if isinstance(kind, type) and issubclass(kind, Section):
        return "a table"
    names: dict[Any, str] = {str: "a string", bool: "true or false", int: "a whole number, 0 or more"}
    return names[kind]
