"""How revisions, times and messages are said."""

import datetime as dt

from gitopsd.types import Facts, Revision


def short(revision: Revision) -> str:
    """The first twelve digits, for humans."""
    return revision[:12]


def called(facts: Facts) -> str:
    """What people call the system that a cycle switches to."""
    return facts.chosen or (short(facts.built.revision) if facts.built is not None else "nothing")


def local_time(at: float) -> str:
    """A time as people read it, with its zone."""
    return dt.datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M %Z")


def first_line(message: str) -> str:
    """A message begins with one sentence; what follows is detail for `show` and the journal."""
    return message.split("\n", 1)[0]
