"""The assessment of boots, and the golden generation. Pure."""

from gitopsd.types.values import StorePath, Value


class BootRollback(Value, frozen=True, kw_only=True):
    """The last rollback at boot.

    Args:
        left: the generation that booted badly.
        to: the golden one, which was made the boot default.
        reason: why.
        at: seconds since the epoch.
        how: how far it got: `begun`, `rebooting`, `landed` (golden booted well), `failed` (golden is not the boot
            default), `golden-failed` (golden booted badly too).

    """

    left: StorePath
    to: StorePath
    reason: str
    at: float
    how: str


class LoaderCount(Value, frozen=True, kw_only=True):
    """What the boot loader itself counts of the entry that was booted.

    Args:
        state: `pending`, `good`, `bad`, or `unknown`: the entry is not found.
        left: tries that it has left.
        done: tries of it, this one included.
        entry: its file name now.

    """

    state: str
    left: int
    done: int
    entry: str


class BootFacts(Value, frozen=True, kw_only=True):
    """The assessment of this boot, and the golden generation.

    Args:
        toplevel: what was booted.
        verdict: `good`, `bad`, `pending` until it is known, or `unknown`: there is no record of this boot.
        reason: why it is bad.
        failures: how many boots of this generation were bad since the last good one.
        max_attempts: how many of them make it fall back to golden.
        on_trial: this generation has never booted well.
        golden: the golden generation.
        golden_generation: its number in the system profile; 0 if it is not in there any more.
        rollback: the last rollback at boot.
        troubles: what is wrong with the record or with golden, one sentence each.
        stage: the unit of the assessment that runs now; empty if none does.
        golden_since: when golden was pinned, in seconds since the epoch; 0 if there is none, or the clock was not set.
        loader: what the boot loader itself counts of this entry; None if it does not.

    """

    toplevel: StorePath | None = None
    verdict: str = "unknown"
    reason: str = ""
    failures: int = 0
    max_attempts: int = 2
    on_trial: bool = False
    golden: StorePath | None = None
    golden_generation: int = 0
    rollback: BootRollback | None = None
    troubles: tuple[str, ...] = ()
    stage: str = ""
    golden_since: float = 0.0
    loader: LoaderCount | None = None


class Pinned(Value, frozen=True, kw_only=True):
    """What was made golden.

    Args:
        toplevel: the generation.
        number: its number in the system profile; 0 if it is not in there.
        problem: why it has no boot entry yet; empty if it has one.

    """

    toplevel: StorePath
    number: int
    problem: str = ""
