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
        before: the toplevel whose gitopsd hands over: what is gone back to.
        default: what is made the boot default then; not `before` where that was only being tested.
        after: the toplevel whose gitopsd takes over.
        invocation: systemd's id of the life of gitopsd that hands over.
        boot_id: of the boot in which it was recorded.
        program: the gitopsd of `before`, which watches.
        deploying: a cycle is under way that activates and proves `after`. Nobody has handed over yet: the old one drives
            it, but whatever systemd starts in its place may be the new one.
        reason: why it was decided to go back; empty while the new one is watched.
        stuck: `before` could not be activated; nobody tries again.

    """

    before: StorePath
    default: StorePath
    after: StorePath
    invocation: str
    boot_id: str
    program: str
    deploying: bool = False
    reason: str = ""
    stuck: bool = False
