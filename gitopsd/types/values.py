"""What other values are made of: their base, revisions and store paths. Pure."""

import re
from typing import NewType

import msgspec

Revision = NewType("Revision", str)


StorePath = NewType("StorePath", str)


_REVISION = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


_STORE_PATH = re.compile(r"/nix/store/[0-9abcdfghijklmnpqrsvwxyz]{32}-[0-9a-zA-Z+\-._?=]+")


def parse_revision(text: str) -> Revision:
    """Check that `text` is a full git object name (40 or 64 hexadecimal digits).

    Raises:
        ValueError: it is not.

    """
    if not _REVISION.fullmatch(text):
        raise ValueError(f"not a full git revision: {text!r}")
    return Revision(text)


def parse_store_path(text: str) -> StorePath:
    """Check that `text` is the absolute path of one object in the Nix store (nix manual, "Store Path").

    Raises:
        ValueError: it is not.

    """
    if not _STORE_PATH.fullmatch(text):
        raise ValueError(f"not a store path: {text!r}")
    return StorePath(text)


class Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Base of all values: frozen, keywords only."""
