"""Following what the daemon does, over its restarts: an upgrade may replace the daemon itself."""

from __future__ import annotations

import json
import time

from gitopsd.cli import render
from gitopsd.cli.terminal import Terminal, cleaned
from gitopsd.control.client import DaemonUnreachable, stream

TYPE_CHECKING = False  # typing's own constant would import typing
if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitopsd.cli.render import Json

PATIENCE = 60.0  # seconds that the daemon may be away
_PAUSE = 0.2  # seconds between two attempts to connect
_TICK = 1.0  # seconds between two progress lines, so that the elapsed time moves


def steadily(
    path: str, method: str, parameters: Json, *, answered: bool = False, patience: float = PATIENCE
) -> Iterator[Json | None]:
    """Stream a method's replies, and ask again when the daemon comes back from a restart.

    Args:
        path: of the socket.
        method: its full name.
        parameters: of the call.
        answered: the daemon has answered before, so that being away is a restart.
        patience: seconds that a restart may take.

    Returns:
        The replies, and None about once a second while there is none. After a restart the first replies may be
        repeated.

    Raises:
        DaemonUnreachable: it was away for too long, or never there.
        CallFailed: a reply is an error.

    """
    away_since = None
    while True:
        try:
            for reply in stream(path, method, parameters, tick=_TICK):
                if reply is not None:
                    answered, away_since = True, None
                yield reply
        except DaemonUnreachable:
            now = time.monotonic()
            away_since = now if away_since is None else away_since
            if not answered or now - away_since >= patience:
                raise
        else:
            return
        yield None
        time.sleep(_PAUSE)


def cycle(path: str, number: int, terminal: Terminal, *, as_json: bool) -> str:
    """Show what a cycle does, up to its end.

    Args:
        path: of the socket.
        number: of the cycle.
        terminal: where to.
        as_json: one object per update instead of lines.

    Returns:
        Its outcome.

    Raises:
        DaemonUnreachable: the daemon was away for too long.
        CallFailed: the daemon does not know the cycle.

    """
    shown = _Progress(number, terminal)
    told: set[tuple[float, str]] = set()
    for reply in steadily(path, "io.gitopsd.Status.Follow", {"cycle": number}, answered=True):
        if reply is None:
            shown.draw()
            continue
        raw = reply["update"]
        update = cleaned(raw)
        key = (update["at"], update["line"])
        if as_json:
            if key not in told or update.get("outcome"):
                terminal.print(json.dumps(raw))
        elif update["line"] and not update["progress"] and key not in told:
            terminal.print(update["line"])
        if not update["progress"]:
            told.add(key)
        if update.get("outcome"):
            terminal.progress("")
            return str(update["outcome"])
        shown.take(update)
    raise DaemonUnreachable(path, "it stopped telling before the end of the cycle")


class _Progress:
    """The progress line: the state, for how long, and what the daemon says it does."""

    def __init__(self, number: int, terminal: Terminal) -> None:
        self._number = number
        self._terminal = terminal
        self._state = "waiting"
        self._since = time.time()
        self._doing = ""
        self.draw()

    def take(self, update: Json) -> None:
        if update["state"] != self._state:
            self._state, self._since, self._doing = update["state"], update["at"], ""
        if update["progress"]:
            self._doing = render.flat(update["line"])
        self.draw()

    def draw(self) -> None:
        elapsed = render.duration(time.time() - self._since)
        doing = f": {self._doing}" if self._doing else ""
        self._terminal.progress(f"cycle {self._number}: {self._state}, {elapsed}{doing}")
