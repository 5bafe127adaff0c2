"""The NixOS system: what was built and checked, what was true before the switch, what stands now. Pure."""

import enum

from gitopsd.types.values import Revision, StorePath, Value


class Built(Value, frozen=True, kw_only=True):
    """A toplevel that was built and passed its checks.

    Args:
        revision: the configuration revision it was built from.
        toplevel: its store path; a GC root until it is deployed or rejected.
        why_root: why root evaluated it, and not the build user; empty if root did not.
        of_this_machine: the inputs that are paths of this machine, each with its path.

    """

    revision: Revision
    toplevel: StorePath
    why_root: str = ""
    of_this_machine: tuple[str, ...] = ()


class Verdict(enum.Enum):
    """What a check before the switch found."""

    passed = "passed"
    noted = "noted"  # a person should know; nothing stops because of it
    failed = "failed"  # the revision is at fault, and is rejected
    prevented = "prevented"  # this machine is not ready for it; the revision stays eligible


class Check(Value, frozen=True, kw_only=True):
    """One check of what was built, before anything is switched.

    Args:
        name: such as `is for this host`.
        verdict: what it found.
        said: what is so, one sentence; may have more lines after it. Empty if there is nothing to say.
        advice: what a person types next; empty if nothing.

    """

    name: str
    verdict: Verdict
    said: str = ""
    advice: str = ""


class Review(Value, frozen=True, kw_only=True):
    """What was found out about a toplevel before anything is switched.

    Args:
        checks: in the order in which they were made; a check that fails ends the review.
        closure: how its closure differs from that of what runs, as `nix store diff-closures` says; may be cut off.
        activation: what `switch-to-configuration dry-activate` says; may be cut off.
        inhibitors: names of the switch inhibitors that differ: NixOS does not switch to it in a running system.
        reboot: what of it only a reboot brings into use, such as `kernel`.

    """

    checks: tuple[Check, ...] = ()
    closure: str = ""
    activation: str = ""
    inhibitors: tuple[str, ...] = ()
    reboot: tuple[str, ...] = ()


class UnitHealth(Value, frozen=True, kw_only=True):
    """One unit as systemd sees it (org.freedesktop.systemd1.Unit and .Service).

    Args:
        name: such as `sshd.service`.
        active: ActiveState.
        sub: SubState.
        restarts: NRestarts.
        main_pid: MainPID, 0 if none; a change during the soak is a restart.
        loaded: LoadState is `loaded`.
        wanted: some unit that systemd has in memory, such as the target that is booted, wants or requires it.

    """

    name: str
    active: str
    sub: str
    restarts: int = 0
    main_pid: int = 0
    loaded: bool = True
    wanted: bool = False


class Switching(Value, frozen=True, kw_only=True):
    """What was true before the switch: where to go back to, and what must not get worse.

    Written to the store before the system is touched.

    Args:
        boot_id: the boot in which the switch began; another one now means that the machine went down in between.
        previous: the toplevel that ran.
        previous_generation: the generation number the system profile pointed to; 0 if there was no profile.
        failed_before: units that had failed already.
        active_before: the units to validate that were active: what a rollback must bring back.
        mode: `switch` (test, verify, then boot default), `boot` (at the next reboot only), or `test` (test and verify).
        reason: why it must be undone; filled by the step that decides so.
        cut_off: the reason is that the remote could not be reached: whether that is the new system's fault shows once
            the old one runs again.
        own: the fingerprint of our own unit and configuration.

    """

    boot_id: str
    previous: StorePath
    previous_generation: int
    failed_before: tuple[str, ...] = ()
    active_before: tuple[str, ...] = ()
    mode: str = "switch"
    reason: str = ""
    cut_off: bool = False
    own: str = ""


class HookRun(Value, frozen=True, kw_only=True):
    """One run of a hook: written before the unit is started, and again at its end, so that no crash runs it twice.

    Args:
        when: `pre` or `post`.
        unit: what is started.
        boot_id: the boot in which it was started; another one now means that it was cut off.
        before: the unit's InvocationID before that; empty if it had none.
        at: when it was about to be started, seconds since the epoch.
        ended: it was seen to have ended.
        problem: what went wrong; empty if nothing.

    """

    when: str
    unit: str
    boot_id: str
    before: str
    at: float
    ended: bool = False
    problem: str = ""


class SystemFacts(Value, frozen=True, kw_only=True):
    """The NixOS system as it stands.

    Args:
        current: what runs, `/run/current-system`.
        booted: what was booted, `/run/booted-system`.
        profile: what the system profile points to, the boot default.
        generation: its number; 0 if there is no profile.
        drift: what runs is not what was deployed last.
        reboot: what of the boot default only a reboot brings into use, such as `kernel`.

    """

    current: StorePath | None = None
    booted: StorePath | None = None
    profile: StorePath | None = None
    generation: int = 0
    drift: bool = False
    reboot: tuple[str, ...] = ()
