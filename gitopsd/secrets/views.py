"""The texts that are in a file, for what looks for secrets in texts: UTF-16, archives, and what a binary has in plain. Pure.

A scanner reads bytes as UTF-8: a key in a file that Windows wrote, or that somebody compressed, is not there for it.
"""

import bz2
import gzip
import io
import lzma
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator

import msgspec

_LOOK = 8192  # bytes that tell what a content is
_UNPACKED = 16 * 1024 * 1024  # bytes that are unpacked of one file; what comes after them is not looked at
_MEMBERS = 500
_DEPTH = 3  # an archive in an archive in an archive
_PRINTABLE = re.compile(rb"[\t\x20-\x7e]{12,}")

_PACKED: tuple[tuple[bytes, Callable[[io.BytesIO], io.BufferedIOBase]], ...] = (
    (b"\x1f\x8b", lambda raw: gzip.GzipFile(fileobj=raw)),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\x00", lzma.LZMAFile),
)
_DAMAGED = (
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


class View(msgspec.Struct, frozen=True, kw_only=True):
    """One text.

    Args:
        text: in UTF-8, as far as it is text.
        name: of the file that it is in an archive; empty if it is the file itself.
        has_lines: its lines are those of the file.
        is_text: it is text as a whole, and not what was picked out of a binary.

    """

    text: bytes
    name: str = ""
    has_lines: bool = True
    is_text: bool = True

    def __repr__(self) -> str:  # what it holds must not get into a log by way of a message
        return f"View(name={self.name!r})"


def views(content: bytes) -> tuple[View, ...]:
    """All texts of a content; a plain text is its only one."""
    if b"\0" not in content[:_LOOK] and not content.startswith(tuple(magic for magic, _ in _PACKED)):
        return (View(text=content),)
    if (text := _wide(content)) is not None:
        return (View(text=text),)
    if _nearly_text(content):
        return (View(text=content.replace(b"\0", b" ")),)
    budget = [_UNPACKED]
    return tuple(_within(content, "", _DEPTH, budget))


def name_of(path: str) -> View:
    """The name of a file, which is published with it."""
    return View(text=os.fsencode(path), has_lines=False, is_text=False)


def _within(content: bytes, name: str, depth: int, budget: list[int]) -> Iterator[View]:
    """The texts of what is no text, or of a member of it."""
    if depth > 0:
        for magic, opened in _PACKED:
            if content.startswith(magic):
                yield from _unpacked(content, opened, name, depth, budget)
                return
        if content.startswith(b"PK\x03\x04"):
            yield from _zipped(content, depth, budget)
            return
        if content[257:262] == b"ustar":
            yield from _tarred(content, depth, budget)
            return
    if (text := _wide(content)) is not None:
        yield View(text=text, name=name, has_lines=False)
    elif b"\0" in content[:_LOOK] and not _nearly_text(content):
        yield View(text=b"\n".join(_PRINTABLE.findall(content)), name=name, has_lines=False, is_text=False)
    else:
        yield View(text=content, name=name, has_lines=False)


def _unpacked(
    content: bytes, opened: Callable[[io.BytesIO], io.BufferedIOBase], name: str, depth: int, budget: list[int]
) -> Iterator[View]:
    try:
        with opened(io.BytesIO(content)) as file:
            inner = _read(file, budget)
    except _DAMAGED:
        inner = b""
    yield from _within(inner or content, name, depth - 1 if inner else 0, budget)


def _zipped(content: bytes, depth: int, budget: list[int]) -> Iterator[View]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist()[:_MEMBERS]:
                with archive.open(member) as file:
                    yield from _within(_read(file, budget), member.filename, depth - 1, budget)
    except _DAMAGED:
        return  # it is damaged or encrypted: what could be read was looked at


def _tarred(content: bytes, depth: int, budget: list[int]) -> Iterator[View]:
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for _, member in zip(range(_MEMBERS), archive, strict=False):
                if (file := archive.extractfile(member)) is not None:
                    yield from _within(_read(file, budget), member.name, depth - 1, budget)
    except _DAMAGED:
        return


def _read(file: object, budget: list[int]) -> bytes:
    """What a member holds, as far as there is room for it: a small file can hold more than any memory."""
    raw: bytes = file.read(max(budget[0], 0))  # type: ignore[attr-defined]
    budget[0] -= len(raw)
    return raw


def _nearly_text(content: bytes) -> bool:
    """Whether a content is text that has a zero byte somewhere, which makes it a binary for git and for scanners."""
    odd = content.translate(None, bytes((*b"\t\r\n", *range(0x20, 0x100))))
    return len(odd) * 200 < len(content)


def _wide(content: bytes) -> bytes | None:
    """UTF-16 and UTF-32 as UTF-8; None if it is neither."""
    for mark, encoding in (
        (b"\xff\xfe\0\0", "utf-32"),
        (b"\0\0\xfe\xff", "utf-32"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if content.startswith(mark):
            return content.decode(encoding, errors="replace").encode(errors="replace")
    start = content[:_LOOK]
    # Text of Latin letters without a mark: every other byte is zero.
    for zeros, encoding in ((start[1::2], "utf-16-le"), (start[::2], "utf-16-be")):
        if len(start) >= 16 and zeros.count(0) > 0.9 * len(zeros) and start.count(0) < 0.6 * len(start):
            return content.decode(encoding, errors="replace").encode(errors="replace")
    return None
