"""Where lines go: a terminal, which gets colours and a progress line, or a pipe, which gets plain lines."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing's own constant would import typing
if TYPE_CHECKING:
    from typing import Any, Self

# What must never reach a terminal from a repository: the C0 and C1 controls except newline, and the characters that
# reorder or hide text (Unicode UAX #9). A tab becomes a space; the columns are ours.
_UNSAFE = dict.fromkeys(
    [*range(0x20), *range(0x7F, 0xA0), 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF], "\ufffd"
)
_UNSAFE[ord("\t")] = " "
del _UNSAFE[ord("\n")]

_CLEAR_LINE = "\r\x1b[K"


def cleaned(value: Any) -> Any:
    """What came from the socket, with every string safe to print; newlines stay."""
    if isinstance(value, str):
        return value.translate(_UNSAFE)
    if isinstance(value, list):
        return [cleaned(each) for each in value]
    if isinstance(value, dict):
        return {key: cleaned(each) for key, each in value.items()}
    return value


class Screen:
    """The whole terminal for one text that changes in place; the text of before comes back at the end.

    Used with `with`. The terminal cuts long lines off instead of wrapping them, so that a row is a line.
    """

    def __init__(self, height: int) -> None:
        self._height = height

    def __enter__(self) -> Self:
        sys.stdout.write("\x1b[?1049h\x1b[?7l")
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout.write("\x1b[?7h\x1b[?1049l")
        sys.stdout.flush()

    def show(self, lines: list[str]) -> None:
        """Replace what is shown."""
        sys.stdout.write("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines[: self._height - 1]) + "\x1b[J")
        sys.stdout.flush()


class Terminal:
    """Standard output and error of this process."""

    def __init__(self) -> None:
        # A name that is no UTF-8 must not end the program that is to show it.
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # TextIOWrapper here
        smart = os.environ.get("TERM", "dumb") != "dumb"
        self.is_terminal = sys.stdout.isatty()
        self.colour = self.is_terminal and smart and not os.environ.get("NO_COLOR")
        self.live = self.is_terminal and sys.stderr.isatty() and smart
        self._progress = ""

    @property
    def width(self) -> int:
        """Columns; 0 if lines must not be cut."""
        return self._size().columns if self.is_terminal else 0

    @property
    def height(self) -> int:
        """Rows."""
        return self._size().lines

    def print(self, *lines: str) -> None:
        """The result, on standard output; above the progress line if there is one."""
        self._erase()
        for line in lines:
            print(line)
        sys.stdout.flush()
        self._draw()

    def say(self, *lines: str) -> None:
        """Talk, on standard error."""
        self._erase()
        for line in lines:
            print(line, file=sys.stderr)
        self._draw()

    def progress(self, text: str) -> None:
        """Replace the progress line; empty removes it. Nothing where there is no terminal."""
        if not self.live:
            return
        self._erase()
        width = self.width
        self._progress = text[: width - 1] if width else text
        self._draw()

    def full_screen(self) -> Screen:
        """Take the whole terminal."""
        return Screen(self.height)

    def _erase(self) -> None:
        if self._progress:
            sys.stderr.write(_CLEAR_LINE)
            sys.stderr.flush()

    def _draw(self) -> None:
        if self._progress:
            sys.stderr.write(self._progress)
            sys.stderr.flush()

    def _size(self) -> os.terminal_size:
        try:
            size = os.get_terminal_size(sys.stdout.fileno())
        except OSError:
            return os.terminal_size((80, 24))
        return size if size.columns else os.terminal_size((80, 24))  # a terminal that was never sized says 0
