# ruff: noqa: INP001 - beside the pages that are made with it; it reads the same private parts of the configuration as generate.py
"""The options of the NixOS module, as Nix, from the fields and docstrings of `gitopsd.config`.

`packaging/options.nix` is what this writes: a function of `lib` and of the type of free-form TOML. A kind of field that
is not known here is an error, so that a new one gets a Nix type before it can be merged.
"""

import inspect
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from gitopsd import config

_HEAD = """\
# Written by docs/generate.py from gitopsd/config/; edit that.
{ lib, toml }:
let
  inherit (lib) mkOption types;
  # A number of seconds, or text such as "30s", "5min", "1h 30min".
  duration = types.either types.numbers.nonnegative (types.strMatching "@duration@");
  # A number of bytes, or text such as "500M", "1.5G".
  size = types.either types.ints.unsigned (types.strMatching "[0-9]+([.][0-9]+)? *[KMGT]?");
  unitName = types.strMatching "@unit@";
"""


def module() -> str:
    """The text of `packaging/options.nix`."""
    units = "|".join(config.UNITS)
    head = _HEAD.replace("@duration@", f"( *[0-9]+([.][0-9]+)? *({units}) *)+")
    head = head.replace("@unit@", r"[a-zA-Z0-9_@:.\\-]+[.][a-z]+")
    lines = [head.rstrip(), "in", "{"]
    lines += _options(config.Config, "", 1)
    lines.append("}")
    return "\n".join(lines) + "\n"


def _options(section: type[config.Section], path: str, depth: int) -> Iterator[str]:
    """The options of a section; `section`s in it become submodules whose rest is free-form."""
    meanings = arguments(section)
    for field in msgspec.structs.fields(section):
        where = f"{path}.{field.name}" if path else field.name
        yield from _option(field, where, meanings.get(field.name, ""), depth)


def _option(field: Any, where: str, meaning: str, depth: int) -> Iterator[str]:
    pad = "  " * depth
    inner = section_of(field.type)
    words = meaning if inner is None else _title(inner)
    if not words and inner is None:
        words = f"See `{where}` in the reference."
    yield f"{pad}{_name(field.name)} = mkOption {{"
    # What must be set is null until it is, so that the module can say which, and why, in one assertion for each.
    yield from _type(field.type | None if field.required else field.type, where, depth + 1)
    default = _default(field, where)
    if default is not None:
        yield f"{pad}  default = {default};"
    yield f"{pad}  description = {string(_sentence(words))};"
    yield f"{pad}}};"


def _type(kind: Any, where: str, depth: int) -> Iterator[str]:
    pad = "  " * depth
    around, inner = _wrapped(kind)
    if isinstance(inner, type) and issubclass(inner, config.Section):
        opening = f"{pad}type = {' ('.join([*around, ''])}"
        deeper = depth + 1 if around else depth
        if around:
            yield opening.rstrip()
        pad = "  " * deeper
        yield f"{pad if around else opening}types.submodule {{"
        yield f"{pad}  freeformType = toml;"
        yield f"{pad}  options = {{"
        yield from _options(inner, where, deeper + 2)
        yield f"{pad}  }};"
        yield f"{pad}}}" if around else f"{pad}}};"
        if around:
            yield f"{'  ' * depth}{')' * len(around)};"
    else:
        plain = _plain(inner, where)
        words = [*around, f"({plain})" if around and " " in plain else plain]
        nested = " (".join(words[:-1])
        text = f"{nested} {words[-1]}{')' * max(0, len(around) - 1)}" if around else plain
        yield f"{pad}type = {text};"


def _wrapped(kind: Any) -> tuple[list[str], Any]:
    """The Nix functions around a type that holds others, outermost first, and the type inside."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        around, inner = _wrapped(next(arg for arg in args if arg is not type(None)))
        return ["types.nullOr", *around], inner
    if origin is tuple:
        around, inner = _wrapped(args[0])
        return ["types.listOf", *around], inner
    if origin is dict:
        around, inner = _wrapped(args[1])
        return ["types.attrsOf", *around], inner
    return [], kind


def _plain(kind: Any, where: str) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return f"types.enum [ {' '.join(string(str(arg)) for arg in typing.get_args(kind))} ]"
    for known, nix in (
        (config.Seconds, "duration"),
        (config.UnitName, "unitName"),
        (config.Size, "size"),
        (str, "types.str"),
        (bool, "types.bool"),
        (int, "types.ints.unsigned"),
        (float, "types.numbers.nonnegative"),
    ):
        if kind == known:
            return nix
    raise TypeError(f"{where}: no Nix type for {kind!r}")


def _default(field: Any, where: str) -> str | None:
    """The default as Nix; None if the module sets one."""
    if where == "host":
        return None  # networking.hostName
    if field.required:
        return "null"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return _value(value, field.type)


def _value(value: object, kind: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float() if kind == config.Seconds:
            return string(seconds(value))
        case int() | float():
            return str(value)
        case str():
            return string(value)
        case tuple():
            return "[ ]" if not value else f"[ {' '.join(_value(each, None) for each in value)} ]"
        case dict():
            return "{ }"
        case config.Section():
            # Only what differs from the section's own defaults: those are defaults of the options inside.
            differing = [
                (each.name, getattr(value, each.name), each.type)
                for each in msgspec.structs.fields(value)
                if getattr(value, each.name) != each.default
            ]
            said = " ".join(f"{_name(name)} = {_value(inner, of)};" for name, inner, of in differing)
            return f"{{ {said} }}" if said else "{ }"
    raise TypeError(f"no Nix value for {value!r}")


def seconds(value: float) -> str:
    """A duration as people write it."""
    for size, unit in ((3600, "h"), (60, "min"), (1, "s")):
        if value and value % size == 0:
            return f"{value / size:g}{unit}"
    return f"{value * 1000:g}ms" if value else "0s"


def section_of(kind: Any) -> type[config.Section] | None:
    """The section that a field holds, also one of many or none."""
    for candidate in (kind, *typing.get_args(kind)):
        if isinstance(candidate, type) and issubclass(candidate, config.Section):
            return candidate
    return None


def arguments(kind: type) -> dict[str, str]:
    """What a docstring says about each argument."""
    _, _, text = inspect.cleandoc(kind.__doc__ or "").partition("Args:")
    found = re.findall(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", text, re.MULTILINE | re.DOTALL)
    return {name: " ".join(words.split()).rstrip(".") for name, words in found}


def _title(section: type[config.Section]) -> str:
    _, _, words = inspect.cleandoc(section.__doc__ or "").partition("\n\n")[0].partition(": ")
    return words


def _sentence(words: str) -> str:
    words = " ".join(words.split())
    return f"{words[:1].upper()}{words[1:].rstrip('.')}." if words else ""


def _name(name: str) -> str:
    return name if re.fullmatch(r"[a-z_][a-zA-Z0-9_'-]*", name) else string(name)


def string(text: str) -> str:
    """A Nix string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${").replace("\n", "\\n")
    return f'"{escaped}"'


# -- the options that are written by hand --------------------------------------------------------------------------


class Option(typing.NamedTuple):
    """An option as a reader sees it; its default is Nix between backticks, or words."""

    name: str
    default: str
    meaning: str


def options(text: str, prefix: str = "") -> Iterator[Option]:
    """The options that a module declares with mkOption and mkEnableOption, from its text as nixfmt lays it out.

    Args:
        text: the module.
        prefix: only options whose names begin with this.

    Raises:
        ValueError: an option has no description.

    """
    within: list[tuple[int, str]] = []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        opened = re.fullmatch(r"( +)([\w.]+) = (\{|mkOption \{|mkEnableOption \"(.*)\";)", line)
        if opened is None:
            continue
        indent = len(opened[1])
        within = [each for each in within if each[0] < indent]
        name = ".".join([*(part for _, part in within), opened[2]]).removeprefix("options.")
        if opened[3] == "{":
            within.append((indent, opened[2]))
        elif name.startswith(prefix):
            if opened[4] is not None:
                yield Option(name, "`false`", f"Whether to enable {opened[4]}.")
            else:
                body = "\n".join(lines[number : lines.index(f"{opened[1]}}};", number)])
                yield _described(name, body, indent + 2)


def _described(name: str, body: str, indent: int) -> Option:
    said: dict[str, str] = dict(re.findall(rf"(?ms)^ {{{indent}}}(\w+) =\s(.*?);(?=\n {{{indent}}}\w+ =|\Z)", body))
    if "description" not in said:
        raise ValueError(f"{name} has no description")
    default = said.get("default", "")
    if text := re.fullmatch(r'(?:lib\.)?literal(Expression|MD) "(.*)"', said.get("defaultText", default)):
        default = text[2] if text[1] == "MD" else f"`{text[2]}`"
    elif default:
        default = f"`{' '.join(default.split())}`"
    return Option(name, default, " ".join(said["description"].strip("\"' \n").split()))


def page(root: Path) -> str:
    """The page about the options of both modules.

    Args:
        root: the checkout.

    """
    parts = [
        "# The NixOS modules",
        "<!-- Written by docs/generate.py from packaging/module.nix and compat.nix; edit those. -->",
        "",
        "How to use them is told [here](../how-to/install-on-nixos.md). What stands below `services.gitopsd.settings` is the",
        "[configuration](configuration.md): every option of it has a type, a default and a description in Nix too.",
        *_table(options((root / "packaging/module.nix").read_text(encoding="utf-8"), "services.gitopsd")),
        "",
        "## The options of before",
        "",
        "From `nixosModules.compat`. Each sets options of `services.gitopsd`, which win where they are set too; the",
        "[migration guide](../how-to/migration-guide.md) says which.",
        *_table(options((root / "packaging/compat.nix").read_text(encoding="utf-8"), "myModules")),
    ]
    return "\n".join(parts) + "\n"


def _table(listed: typing.Iterable[Option]) -> Iterator[str]:
    yield from ("", "| option | default | meaning |", "| --- | --- | --- |")
    for option in listed:
        yield f"| `{option.name}` | {option.default or 'none: it must be set'} | {option.meaning} |"
