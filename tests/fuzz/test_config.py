"""Whatever the configuration file holds, it becomes a configuration or a list of faults, and nothing else."""

import tomllib
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gitopsd import config
from gitopsd.config import Config, parse
from gitopsd.errors import ConfigError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=True)
    | TEXT
    | st.sampled_from(
        ["30s", "-1s", "1e999s", "9" * 400 + "h", "sshd.service", "a@b:c", "../x", "/x", "[::1]:1", "127.0.0.1:0"]
    )
)


def names(kind: Any) -> list[str]:
    return [field.name for field in msgspec.structs.fields(kind)]


SECTIONS = [each for each in vars(config).values() if isinstance(each, type) and issubclass(each, config.Section)]
KEYS = st.sampled_from(sorted({name for section in SECTIONS for name in names(section)})) | TEXT
DOCUMENTS = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
    ),
    max_size=6,
)


def toml(value: Any, *, top: bool = False) -> str:
    """A value in TOML; what TOML cannot say is left out."""
    match value:
        case dict():
            rows = [f"{toml(key)} = {toml(each)}" for key, each in value.items() if each is not None]
            return "\n".join(rows) if top else "{ " + ", ".join(rows) + " }"
        case list():
            return "[" + ", ".join(toml(each) for each in value if each is not None) + "]"
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case _:
            escaped = "".join(
                char if char.isprintable() and char not in '"\\' else f"\\U{ord(char):08x}" for char in str(value)
            )
            return f'"{escaped}"'


def judged(raw: bytes) -> None:
    try:
        assert isinstance(parse(raw), Config)
    except ConfigError as error:
        assert error.message
        assert len(error.message) < 100_000


@given(st.binary(max_size=300))
def test_any_bytes(raw: bytes) -> None:
    judged(raw)


@given(DOCUMENTS)
def test_any_values_under_any_keys(document: dict[str, Any]) -> None:
    raw = toml(document, top=True)
    tomllib.loads(raw)  # or we fuzz nothing but the parser
    judged(raw.encode())


@given(st.integers(1, 2000))
def test_deep_nesting_is_a_fault_and_no_crash(depth: int) -> None:
    judged(b"host = " + b"[" * depth + b"]" * depth)
