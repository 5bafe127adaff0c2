"""From the text of the file to its sections."""

import re
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec

from gitopsd.config.consistency import cross_check
from gitopsd.config.faults import Fault, as_expected, as_found, unknown_key
from gitopsd.config.kinds import UNIT, Seconds, Section, Size, UnitName, duration, size
from gitopsd.config.whole import Config
from gitopsd.errors import ConfigError

DEFAULT_PATH = Path("/etc/gitopsd/config.toml")


def load(path: Path) -> Config:
    """Read and check the configuration file.

    Raises:
        ConfigError: it cannot be read, is no TOML, or has faults; all of them are listed.

    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}",
            meaning="gitopsd does nothing without its configuration",
            advice=f"write {path}; `gitopsctl config check` tells whether it is right",
        ) from error
    return parse(raw, str(path))


_MEANING = "nothing of it takes effect: a daemon that runs keeps what it has, one that is started does not start"


def parse(raw: bytes, name: str = "config.toml") -> Config:
    """Check the text of a configuration file.

    Args:
        raw: the file's bytes.
        name: the file's name for messages.

    Raises:
        ConfigError: it is no TOML, or has faults; all of them are listed.

    """
    try:
        document = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(
            f"{name} is not TOML: {error}",
            meaning=_MEANING,
            advice=f"correct it, then `gitopsctl config check {name}`",
        ) from error
    faults: list[Fault] = []
    config: Config | None = _section(Config, document, "", faults)
    if config is not None:
        cross_check(config, faults)
    if faults or config is None:
        listed = "\n".join(f"  {fault}" for fault in faults)
        plural = "s" if len(faults) > 1 else ""
        raise ConfigError(
            f"{name} has {len(faults)} fault{plural}:\n{listed}",
            meaning=_MEANING,
            advice=f"correct it, then `gitopsctl config check {name}`",
        )
    return config


def _section(kind: type[Section], raw: dict[str, Any], path: str, faults: list[Fault]) -> Any:
    """Decode one table; None if it has faults (they are appended)."""
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    before = len(faults)
    faults.extend(unknown_key(key, path, list(fields)) for key in sorted(raw.keys() - fields.keys()))
    values = {}
    for name, field in fields.items():
        where = f"{path}.{name}" if path else name
        if name in raw:
            values[name] = _value(field.type, raw[name], where, faults)
        elif field.required:
            faults.append(Fault(path=where, found="nothing", expected=as_expected(field.type)))
    return kind(**values) if len(faults) == before else None


def _value(kind: Any, raw: Any, path: str, faults: list[Fault]) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin in (typing.Union, types.UnionType):  # the only unions are `X | None`, and TOML has no null
        return _value(next(arg for arg in args if arg is not type(None)), raw, path, faults)
    if origin is tuple:
        if not isinstance(raw, list):
            faults.append(Fault(path=path, found=as_found(raw), expected=as_expected(kind)))
            return ()
        return tuple(_value(args[0], item, f"{path}[{i}]", faults) for i, item in enumerate(raw))
    if isinstance(kind, type) and issubclass(kind, Section):
        if isinstance(raw, dict):
            return _section(kind, raw, path, faults)
    elif kind == Seconds:
        seconds = duration(raw)
        if seconds is not None:
            return seconds
    elif kind == Size:
        bytes_ = size(raw)
        if bytes_ is not None:
            return bytes_
    elif origin is typing.Literal:
        if raw in args:
            return raw
    elif kind == UnitName:
        if isinstance(raw, str) and re.fullmatch(UNIT, raw):
            return raw
    elif kind is int:
        if isinstance(raw, int) and not isinstance(raw, bool) and raw >= 0:
            return raw
    elif isinstance(raw, kind):
        return raw
    faults.append(Fault(path=path, found=as_found(raw), expected=as_expected(kind)))
    return None
