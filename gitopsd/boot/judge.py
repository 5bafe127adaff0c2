"""What follows from a boot. Pure: everything that it looks at is an argument.

| of this generation | at begin | after a bad verdict |
| --- | --- | --- |
| fewer than `max_attempts` bad boots | the boot goes on | reboot: the next attempt |
| `max_attempts` bad boots | fall back to golden | fall back to golden |
| and one of the obstacles below | the boot goes on, and says so | the machine stays up, and says so |
"""

from gitopsd.boot.record import GOLDEN_FAILED, LANDED, REBOOTING, Generation, Rollback

GO_ON, RETRY, ROLL_BACK, STAY = "go-on", "retry", "roll-back", "stay"
MOST_ATTEMPTS = 20
"""Of `max_attempts`: the record keeps the last fifty boots of a generation, and who allows more never gets there."""


class Rules:
    """`[boot]` of the configuration, as far as it decides.

    Args:
        max_attempts: how many bad boots make a generation fall back.
        trial_only: only a generation that has never booted well is rebooted or fallen back from.
        stay: `on_boot_failure = "stay"`.

    """

    def __init__(self, *, max_attempts: int = 2, trial_only: bool = True, stay: bool = False) -> None:
        self.max_attempts = max_attempts
        self.trial_only = trial_only
        self.stay = stay


class Case:
    """What is known when it is to be decided.

    Args:
        generation: what was booted, with this boot in it.
        boot: the ID of this boot.
        recorded: that is on the disk.
        golden: the golden generation; empty if there is none.
        golden_whole: it can be booted and switched to.
        default: what the system profile stands for; empty if there is no profile.
        rollback: the last rollback at boot.
        rollback_known: it is known whether there was one.

    """

    def __init__(
        self,
        *,
        generation: Generation,
        boot: str,
        recorded: bool,
        golden: str,
        golden_whole: bool,
        default: str,
        rollback: Rollback | None,
        rollback_known: bool,
    ) -> None:
        self.generation = generation
        self.boot = boot
        self.recorded = recorded
        self.golden = golden
        self.golden_whole = golden_whole
        self.default = default
        self.rollback = rollback
        self.rollback_known = rollback_known

    @property
    def failures(self) -> int:
        """How many boots of this generation were bad."""
        return len(self.generation.failed(self.boot))


def at_begin(case: Case, rules: Rules) -> tuple[str, str]:
    """What to do before the rest of the system starts.

    Returns:
        `GO_ON` or `ROLL_BACK`, and why the boot goes on although there were enough bad boots; empty otherwise.

    """
    if not case.failures or not _enough(case, rules):
        return GO_ON, ""
    why = _obstacle(case, rules)
    return (GO_ON, why) if why else (ROLL_BACK, "")


def after_bad_verdict(case: Case, rules: Rules) -> tuple[str, str]:
    """What to do once this boot is known, and counted, to be bad.

    Returns:
        `RETRY`, `ROLL_BACK` or `STAY`, and why the machine stays up; empty otherwise.

    """
    if rules.stay:
        return STAY, 'boot.on_boot_failure = "stay"'
    why = _obstacle(case, rules)
    if why:
        return STAY, why
    return (ROLL_BACK if _enough(case, rules) else RETRY), ""


def is_golden_after_rollback(case: Case) -> bool:
    """Whether what was booted is what was fallen back to: if it fails too, there is no automatic way on."""
    return case.rollback is not None and case.rollback.to == case.generation.toplevel


def _enough(case: Case, rules: Rules) -> bool:
    """Of a damaged record it is not known how many there were: so many that one more is enough."""
    return case.failures >= rules.max_attempts or (case.generation.doubt and case.failures >= 1)


def _obstacle(case: Case, rules: Rules) -> str:
    """Why neither a reboot nor a rollback would be right; empty if they are."""
    toplevel, last = case.generation.toplevel, case.rollback
    if not case.recorded:
        return "this boot cannot be recorded, so that nothing would count the reboots"
    if not case.rollback_known:
        return "it is not known whether it was rolled back already"
    if case.golden == toplevel:
        return "this is the golden generation, there is none better to fall back to"
    if case.generation.blessed and rules.trial_only:
        return "this generation has booted well before, so the reason may lie around the machine"
    if not case.golden:
        return "there is no golden generation to fall back to"
    if not case.golden_whole:
        return f"the golden generation is gone or not whole: {case.golden}"
    left_before = last is not None and last.left == toplevel
    # One that this very boot began may have been cut off by a kill, even right before its reboot.
    cut_off = left_before and last is not None and (last.how not in _DONE or last.boot == case.boot)
    if case.default in ("", toplevel) or cut_off:
        return ""
    if left_before:
        return "it was rolled back already, and was booted all the same"
    return "it was picked by hand, and is not the boot default"


_DONE = (REBOOTING, LANDED, GOLDEN_FAILED)
