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
_ALERT, _INFO = "<2>", "<6>"  # sd-daemon(3): the journal's priority, from a unit's standard error


class Notice:
    """Where it stands.

    Args:
        places: the files.

    """

    def __init__(self, places: "Sequence[str]" = PLACES) -> None:
        self._places = places

    def alert(self, *lines: str) -> None:
        """Say it now, and have it shown until the end of this boot, with what was said before."""
        for line in lines:
            sys.stderr.write(f"{_ALERT}{line}\n")
        sys.stderr.flush()
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

    def say(self, line: str) -> None:
        """Say what is no alarm, in the journal."""
        sys.stderr.write(f"{_INFO}{line}\n")
        sys.stderr.flush()

    def clear(self) -> None:
        """Have nothing shown any more."""
        for place in self._places:
            try:
                os.unlink(place)
            except OSError:
                pass
