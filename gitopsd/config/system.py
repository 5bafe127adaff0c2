"""`[config]`, `[switch]` and `[reboot]`: where the system comes from, and how it is deployed."""

import typing

from gitopsd.config.kinds import Seconds, Section, UnitName


class SignaturesConfig(Section, frozen=True, kw_only=True):
    """`[config.signatures]`: whose commits are deployed. Without this section, everybody's who can push.

    Args:
        ssh_allowed_signers: a file of SSH keys as in ssh-keygen(1), ALLOWED SIGNERS. The time that a key is valid for is
            compared with the commit's own date, as git does: take a key that was lost out of the file.
        gpg_keyring: a file of GPG public keys, as `gpg --export` writes it.
        gpg_fingerprints: only these primary keys of the keyring; empty is all of them.

    """

    ssh_allowed_signers: str = ""
    gpg_keyring: str = ""
    gpg_fingerprints: tuple[str, ...] = ()


class HookConfig(Section, frozen=True, kw_only=True):
    """`[[config.pre_update_hooks]]` and `[[config.post_update_hooks]]`: a unit that is started and waited for.

    Those before an update run once a revision is to be built. Those after it run once the new system has proved good,
    before it becomes the boot default; nothing runs them with `mode = "boot"`. A oneshot without `RemainAfterExit=` is
    run each time.

    Args:
        unit: what is started.
        required: if it fails before the update, nothing is built; if it fails after it, the new system has not proved
            good. One that is not required is noted.
        timeout: how long it may take, after which it is stopped.

    """

    unit: UnitName
    required: bool = True
    timeout: Seconds = 300.0


class SystemConfig(Section, frozen=True, kw_only=True):
    """`[config]`: the repository that holds the NixOS configuration.

    Args:
        repo_url: the remote, as git takes it; empty is the remote `origin` of the checkout.
        branch: what is deployed.
        testing: where the branch `testing-HOST` is on top of it, run that one on this host, until the next reboot.
        directory: of the flake in the repository; empty is its root.
        flake: the repository is a flake with this host under `nixosConfigurations`. Else `file` and `attr` say what is
            built. Such a file finds no channels (`<nixpkgs>`): pin nixpkgs in the repository.
        file: of a repository that is no flake, below `directory`.
        attr: of that file: the system's `config.system.build.toplevel`.
        build_user: a system user that evaluates the configuration, and builds through the nix daemon. Where that cannot be,
            root does it, and each upgrade's record and `gitopsctl doctor` say why. `root` is for a configuration that
            fetches with root's keys while it is evaluated; the inputs of a flake need none.
        build_timeout: how long fetching, evaluation and build may take.
        memory_max: what evaluation may take of the memory, in percent of it or as a size, or `infinity`; builds too where
            no nix daemon does them. What takes more is ended, and the revision stays eligible. Without the memory controller
            of cgroup v2 it is a limit of each process (RLIMIT_DATA).
        checkout: a person's checkout of the repository. A clean one is fast-forwarded to the branch, as its owner; one with
            edits or commits of its own is left as it is, and status says so.
        commit_local: publish what is edited in the checkout, by its owner or by whatever else: merged with the branch where
            that is possible, parked beside it on `gitopsd/HOST` where it is not. For desktops; servers only pull.
        update_inputs: refresh the inputs of the flake, in a commit of its own, when there is nothing else to publish.
        ssh_key: a private key: the one that is shown to the remote, and no other. Host keys are always checked.
        signatures: see below.
        pre_update_hooks: see below.
        post_update_hooks: see below.

    """

    repo_url: str = ""
    branch: str = "main"
    testing: bool = True
    directory: str = ""
    flake: bool = True
    file: str = "default.nix"
    attr: str = ""
    build_user: str = "gitopsd-build"
    build_timeout: Seconds = 3600.0
    memory_max: str = "75%"
    checkout: str = ""
    commit_local: bool = False
    update_inputs: bool = False
    ssh_key: str = ""
    signatures: SignaturesConfig | None = None
    pre_update_hooks: tuple[HookConfig, ...] = ()
    post_update_hooks: tuple[HookConfig, ...] = ()


class SwitchConfig(Section, frozen=True, kw_only=True):
    """`[switch]`: how a new system is activated.

    Args:
        mode: `switch` (now, then verified, then the boot default), `boot` (at the next reboot only), or `test` (now, and
            verified, but never the boot default: each reboot goes back, and the next upgrade runs the newest again).
        timeout: how long switch-to-configuration may take.

    """

    mode: typing.Literal["switch", "boot", "test"] = "switch"
    timeout: Seconds = 900.0


class RebootConfig(Section, frozen=True, kw_only=True):
    """`[reboot]`: whether this host reboots by itself when that is required: for another kernel, initrd, kernel modules
    or systemd, or for a system that could only be made the boot default. Only into a system that gitopsd deployed, only
    at rest, never while suspended, and never twice for the same system.

    Args:
        policy: `never`, `when-required` (as soon as it is at rest), or `window`.
        windows: for the policy `window`, in local time, bounds included: `02:00-04:00`, `Sat,Sun 01:00-05:00`. One that
            goes over midnight belongs to the day on which it begins.
        time_zone: such as `Europe/Berlin`; empty is the host's.
        sessions: `wait` until nobody is logged in, or `ignore` them.

    """

    policy: typing.Literal["never", "when-required", "window"] = "never"
    windows: tuple[str, ...] = ()
    time_zone: str = ""
    sessions: typing.Literal["wait", "ignore"] = "wait"
