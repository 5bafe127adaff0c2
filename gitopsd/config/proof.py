"""`[space]`, `[verify]` and `[boot]`: what a system must prove."""

import typing

from gitopsd.config.kinds import Seconds, Section, Size, UnitName


class ProbeConfig(Section, frozen=True, kw_only=True):
    """`[[verify.probes]]`: a question that the new system must answer, in one of three ways.

    Args:
        tcp: `host:port` that takes a connection.
        http: a URL that answers with a status below 400.
        command: a program with its arguments that ends with status 0; it runs as root, in `/`, with a small environment.
        timeout: how long one try may take.
        boot: it is asked at every boot too, before the boot counts as good.

    """

    tcp: str = ""
    http: str = ""
    command: tuple[str, ...] = ()
    timeout: Seconds = 5.0
    boot: bool = False


class SpaceConfig(Section, frozen=True, kw_only=True):
    """`[space]`: what must be free before anything is built or switched. A lack of it is never held against a revision.

    Args:
        store: in the file system of `/nix/store`, before a build.
        boot: in that of the boot loader's files, beside the kernel and initrd of the new system unless it has them.
        boot_path: where the boot loader's files are.

    """

    store: Size = 1024**3
    boot: Size = 16 * 1024**2
    boot_path: str = "/boot"


class VerifyConfig(Section, frozen=True, kw_only=True):
    """`[verify]`: what a new system must prove.

    Args:
        validate_units: units that must be active, and stay so. A service that is started by its socket only is active once
            somebody has asked it: name the socket.
        soak: for how long.
        deadline: how long they may take to become active, and the probes to pass.
        probes: what must answer before the soak and after it.
        reachability: the configuration's remote, if it could be reached before, must be reachable through the new
            system: a host that cannot fetch any more cannot be repaired by a push. So must the one that the new system's
            own config.toml names.
        reach_within: how long the network of a new system may take to come up for that.
        on_validation_failure: `rollback`, or `keep` the new system and report.
        validation_checks: shell commands that must end with status 0 before anything is switched; `$TOPLEVEL` is the
            store path that was built. They run as root, in `/`, with a small environment, and change nothing.
        validation_timeout: how long each of them may take.

    """

    validate_units: tuple[UnitName, ...] = ()
    soak: Seconds = 30.0
    deadline: Seconds = 300.0
    probes: tuple[ProbeConfig, ...] = ()
    reachability: bool = True
    reach_within: Seconds = 60.0
    on_validation_failure: typing.Literal["rollback", "keep"] = "rollback"
    validation_checks: tuple[str, ...] = ()
    validation_timeout: Seconds = 60.0


class BootConfig(Section, frozen=True, kw_only=True):
    """`[boot]`: what a boot must prove, and what follows if it does not.

    A boot is good once the units in `verify.validate_units` and gitopsd itself are active and stay so, and the probes
    with `boot = true` pass.

    Args:
        max_attempts: how many bad boots of a generation make it fall back to the golden one; from 1 to 20.
        auto_pin: a generation that has booted well becomes golden.
        on_boot_failure: after a bad boot, `reboot` (into the next attempt, or into golden), or `stay`.
        trial_only: only a generation that has never booted well is rebooted or fallen back from. One that has, and now
            boots badly, points at the world around it, such as a network that is down: it is reported and left alone.
        deadline: how long the units and probes may take, from the moment that verify starts.
        soak: how long the units must stay active.

    """

    max_attempts: int = 2
    auto_pin: bool = True
    on_boot_failure: typing.Literal["reboot", "stay"] = "reboot"
    trial_only: bool = True
    deadline: Seconds = 300.0
    soak: Seconds = 10.0
