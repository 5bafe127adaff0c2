"""A new gitopsd that takes over, and the old one that watches. Pure."""

from gitopsd.types.values import StorePath, Value


class Life(Value, frozen=True, kw_only=True):
    """What systemd says of gitopsd's own unit.

    Args:
        active: its ActiveState; that is `failed` too for a moment in which it is about to be restarted.
        sub: its SubState: `dead` or `failed` once nothing will be started any more.
        result: how its last life ended.
        invocation: systemd's id of this life, or of the last one.

    """

    active: str
    sub: str
    result: str
    invocation: str


class Takeover(Value, frozen=True, kw_only=True):
    """A new gitopsd that is watched by the old one.

    Args:
        before: the toplevel whose gitopsd has handed over: what is gone back to.
        after: the toplevel whose gitopsd takes over.
        invocation: systemd's id of the life of gitopsd that has handed over.
        program: the gitopsd of `before`, which watches.
        reason: why it was decided to go back; empty while the new one is watched.

    """

    before: StorePath
    after: StorePath
    invocation: str
    program: str
    reason: str = ""
