"""What is wrong, where a person at the machine sees it: on the console, above the login prompt, and after login.

`/run/issue.d/*.issue` is read by agetty(8), `/run/motd.d/*` by pam_motd(8). Both are in memory: what they say is true of
this boot, and a state directory that cannot be written to does not keep them silent.
"""

import os
import sys

TYPE_CHECKING = False  # typing's own constant would import typing
if TYPE_CHECKING:
    from collections.abc import Sequence

PLACES = ("/run/issue.d/gitopsd.issue", "/run/motd.d/gitopsd")
JOURNAL = "/run/systemd/journal/socket"
_ALERT, _INFO = "<2>", "<6>"  # sd-daemon(3): the journal's priority, from a unit's standard error


class Notice:
    """Where it stands.

    Args:
        places: the files.

    """

    def __init__(self, places: "Sequence[str]" = PLACES) -> None:
        self._places = places

    def alert(self, *lines: str, event: str = "") -> None:
        """Say it now, and have it shown until the end of this boot, with what was said before.

        Args:
            lines: one sentence each.
            event: one of `gitopsd.events`, which the first line is the news of.

        """
        for line in lines:
            _write(_ALERT, line, event if line is lines[0] else "")
        text = "".join(f"gitopsd: {line}\n" for line in lines)
        for place in self._places:
            try:
                os.makedirs(os.path.dirname(place), exist_ok=True)
                # agetty takes a backslash as the begin of an escape.
                shown = text.replace("\\", "\\\\") if place.endswith(".issue") else text
                with open(place, "a", encoding="utf-8", errors="replace") as file:
                    file.write(shown)
            except OSError as error:
                sys.stderr.write(f"<4>cannot write {place}: {error.strerror}\n")

    def say(self, line: str, *, event: str = "") -> None:
        """Say what is no alarm, in the journal; `event` as in `alert`."""
        _write(_INFO, line, event)

    def clear(self) -> None:
        """Have nothing shown any more."""
        for place in self._places:
            try:
                os.unlink(place)
            except OSError:
                pass


def _write(priority: str, line: str, event: str) -> None:
    """To the journal, and where the units say so to the console, by way of standard error.

    What is an event is found by its `MESSAGE_ID`, which only the journal's native protocol can carry
    (systemd.io/JOURNAL_NATIVE_PROTOCOL); the console gets that line from us then.
    """
    if event and _sent(priority, line, event):
        _show_on_console(line)
        return
    sys.stderr.write(f"{priority}{line}\n")
    sys.stderr.flush()


def _show_on_console(line: str) -> None:
    try:
        # O_NOCTTY: a unit leads its session; the console would become its terminal, and be hung up at its end.
        console = os.open("/dev/console", os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return  # a machine without a console
    try:
        os.write(console, f"{line}\r\n".encode("utf-8", "replace"))
    except OSError:
        pass  # one that nobody reads
    finally:
        os.close(console)


def _sent(priority: str, line: str, event: str) -> bool:
    import socket  # noqa: PLC0415 - heavy, and needed in a boot that is bad already, or once it is over

    from gitopsd.events import MESSAGE_IDS  # noqa: PLC0415

    if "JOURNAL_STREAM" not in os.environ:  # not started by a unit: the person reads standard error
        return False
    fields = {
        "MESSAGE": " ".join(line.split()),
        "MESSAGE_ID": MESSAGE_IDS[event],
        "PRIORITY": priority.strip("<>"),
        "SYSLOG_IDENTIFIER": "golden-generation",
    }
    entry = "".join(f"{name}={value}\n" for name, value in fields.items())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
            journal.sendto(entry.encode("utf-8", "replace"), JOURNAL)
    except OSError:
        return False
    return True
