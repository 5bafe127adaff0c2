"""What can go wrong in the lab, by what the reader has to do next."""


class LabError(Exception):
    """Base of everything the lab raises on purpose."""


class Unsupported(LabError):
    """This computer cannot run a lab; the message says what is missing and how to get it."""


class CommandFailed(LabError):
    """A command inside a machine ended with a status other than 0; the message shows its output."""


class TimedOut(LabError):
    """Something that was waited for did not happen; the message shows what was seen instead."""
