"""`/etc/gitopsd/config.toml`: TOML, decoded into frozen types; all faults are reported at once.

The docstrings of the sections below are the reference of the options.
"""

import difflib
import re
import socket
import tomllib
import types
import typing
import zoneinfo
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import msgspec

from gitopsd.errors import ConfigError
from gitopsd.events import ALARMS, MESSAGE_IDS
from gitopsd.windows import parse_window

DEFAULT_PATH = Path("/etc/gitopsd/config.toml")

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|sec|min|m|h|d)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)")
_SIZES = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_UNITS = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}

_MOST_ATTEMPTS = 20  # as gitopsd.boot.judge, which reads the file on its own, and early

_UNIT = r"[\w@:.\\-]+\.[a-z]+"

Seconds = Annotated[float, "duration"]
UnitName = Annotated[str, "unit"]
Size = Annotated[int, "size"]  # bytes


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all sections."""


class MergeConfig(Section, frozen=True, kw_only=True):
    """`[dotfiles.merge]`: files that are merged in a way of their own, for the `[[dotfiles]]` entry above it.

    Args:
        union: patterns of repository paths, such as `dot_bash_history` or `**/known_hosts`. These are lists of lines:
            where both sides changed the same lines, both are kept and nobody is asked.

    """

    union: tuple[str, ...] = ()


class DotfilesConfig(Section, frozen=True, kw_only=True):
    """`[[dotfiles]]`: one person of this host whose dotfiles are kept in step.

    Args:
        user: login name; every command for these dotfiles runs as this person.
        repo_url: the remote, as git takes it.
        trunk: the branch that all hosts share.
        source: chezmoi's source directory, relative to the home.
        auto_commit: capture edits of the home.
        auto_push: publish what was captured.
        deletions: what to do with a file that was deleted in the home: `report` it, or `capture` it, which takes it
            out of the repository. A home that looks lost deletes nothing.
        ssh_key: a private key, which this person can read: the one that is shown to the remote, and no other. Host keys
            are always checked: a remote that ssh does not know is refused.
        merge: see below.

    """

    user: str
    repo_url: str
    trunk: str = "main"
    source: str = ".local/share/chezmoi"
    auto_commit: bool = True
    auto_push: bool = True
    deletions: typing.Literal["report", "capture"] = "report"
    ssh_key: str = ""
    merge: MergeConfig = MergeConfig()


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
            no nix daemon does them. What takes more is ended, and the revision stays eligible. Only cgroup v2 can do that.
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
        validate_units: units that must be active, and stay so.
        soak: for how long.
        deadline: how long they may take to become active, and the probes to pass.
        probes: what must answer before the soak and after it.
        reachability: the configuration's remote, if it could be reached before, must be reachable through the new
            system: a host that cannot fetch any more cannot be repaired by a push.
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

    A boot is good once the units in `verify.validate_units` are active and stay so, and the probes with `boot = true`
    pass.

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


class RetrySection(Section, frozen=True, kw_only=True):
    """`[retry.STATE]`: how often a transient failure of a state is tried again.

    Args:
        attempts: at most; 1 is no retry.
        first: the upper bound of the first wait; it doubles with each attempt, with full jitter.
        longest: the upper bound of any wait.

    """

    attempts: int = 4
    first: Seconds = 1.0
    longest: Seconds = 60.0


class RetryConfig(Section, frozen=True, kw_only=True):
    """`[retry]`: for the states that are ever tried again. Switch, verify and rollback never are."""

    fetch: RetrySection = RetrySection(attempts=3)
    capture: RetrySection = RetrySection()
    push: RetrySection = RetrySection(attempts=5)
    pull: RetrySection = RetrySection()
    build: RetrySection = RetrySection(attempts=3, first=5.0)


class TimeoutConfig(Section, frozen=True, kw_only=True):
    """`[timeouts]`: after which a step is ended with everything it started."""

    fetch: Seconds = 300.0
    capture: Seconds = 300.0
    push: Seconds = 300.0
    pull: Seconds = 300.0


class ControlConfig(Section, frozen=True, kw_only=True):
    """`[control]`: who may change things over the socket, beside root.

    Args:
        group: members may do everything; empty is nobody.

    """

    group: str = ""


class FilesConfig(Section, frozen=True, kw_only=True):
    """`[files]`: what is written for scripts.

    Args:
        sync_status: the last sync in one word, as it was before gitopsd; empty is no file.

    """

    sync_status: str = "/var/lib/chezmoi-sync/last-sync-status"


class HistoryConfig(Section, frozen=True, kw_only=True):
    """`[history]`: what is remembered.

    Args:
        cycles: how many finished cycles are kept.

    """

    cycles: int = 5000


class MetricsConfig(Section, frozen=True, kw_only=True):
    """`[metrics]`: figures for Prometheus.

    Args:
        textfile: where they are written for node_exporter's textfile collector, which must be told the directory; empty
            writes none.
        listen: `address:port` of the loopback interface where they are served over HTTP; empty serves none.

    """

    textfile: str = "/run/gitopsd/metrics/gitopsd.prom"
    listen: str = ""


class NotifyConfig(Section, frozen=True, kw_only=True):
    """`[notify]`: who is told of events. A receiver that is slow or away holds nothing up, and is told again later.

    Args:
        command: a program with its arguments; the event is JSON on its standard input. It runs as root, in `/`, with a
            small environment; another status than 0 is a failure.
        webhook: a URL that the event is posted to as JSON, or the absolute path of a file that holds one: a URL may be a
            secret. A status of 300 or more is a failure.
        unit: a unit to start. Of a template such as `gitopsd-notify@.service`, the instance is the event with hyphens,
            such as `rolled-back`.
        events: which events, by their names in the journal.
        timeout: how long a receiver may take.
        give_up: for how long a receiver that fails is tried again.
        offline_after: how long no remote may answer before that is an event.

    """

    command: tuple[str, ...] = ()
    webhook: str = ""
    unit: str = ""
    events: tuple[str, ...] = ALARMS
    timeout: Seconds = 30.0
    give_up: Seconds = 86400.0
    offline_after: Seconds = 86400.0


class Config(Section, frozen=True, kw_only=True):
    """The whole file.

    Args:
        host: the name of this host under `nixosConfigurations`; default is the hostname.

    """

    host: str = msgspec.field(default_factory=socket.gethostname)
    dotfiles: tuple[DotfilesConfig, ...] = ()
    config: SystemConfig | None = None
    switch: SwitchConfig = SwitchConfig()
    verify: VerifyConfig = VerifyConfig()
    boot: BootConfig = BootConfig()
    space: SpaceConfig = SpaceConfig()
    retry: RetryConfig = RetryConfig()
    timeouts: TimeoutConfig = TimeoutConfig()
    reboot: RebootConfig = RebootConfig()
    control: ControlConfig = ControlConfig()
    history: HistoryConfig = HistoryConfig()
    files: FilesConfig = FilesConfig()
    metrics: MetricsConfig = MetricsConfig()
    notify: NotifyConfig = NotifyConfig()


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong in the file.

    Args:
        path: such as `dotfiles[0].user`.
        found: what stands there.
        expected: what should.

    """

    path: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.path}: found {self.found}, expected {self.expected}"


def load(path: Path) -> Config:
    """Read and check the configuration file.

    Raises:
        ConfigError: it cannot be read, is no TOML, or has faults; all of them are listed.

    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}",
            meaning="gitopsd does nothing without its configuration",
            advice=f"write {path}; `gitopsctl config check` tells whether it is right",
        ) from error
    return parse(raw, str(path))


def parse(raw: bytes, name: str = "config.toml") -> Config:
    """Check the text of a configuration file.

    Args:
        raw: the file's bytes.
        name: the file's name for messages.

    Raises:
        ConfigError: it is no TOML, or has faults; all of them are listed.

    """
    try:
        document = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(
            f"{name} is not TOML: {error}", advice=f"correct it, then `gitopsctl config check {name}`"
        ) from error
    faults: list[Fault] = []
    config: Config | None = _section(Config, document, "", faults)
    if config is not None:
        _cross_check(config, faults)
    if faults or config is None:
        listed = "\n".join(f"  {fault}" for fault in faults)
        plural = "s" if len(faults) > 1 else ""
        raise ConfigError(
            f"{name} has {len(faults)} fault{plural}:\n{listed}",
            advice=f"correct it, then `gitopsctl config check {name}`",
        )
    return config


def _section(kind: type[Section], raw: dict[str, Any], path: str, faults: list[Fault]) -> Any:
    """Decode one table; None if it has faults (they are appended)."""
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    before = len(faults)
    faults.extend(_unknown(key, path, list(fields)) for key in sorted(raw.keys() - fields.keys()))
    values = {}
    for name, field in fields.items():
        where = f"{path}.{name}" if path else name
        if name in raw:
            values[name] = _value(field.type, raw[name], where, faults)
        elif field.required:
            faults.append(Fault(path=where, found="nothing", expected=_expected(field.type)))
    return kind(**values) if len(faults) == before else None


def _unknown(key: str, path: str, known: list[str]) -> Fault:
    where = f"{path}.{key}" if path else key
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"`{near[0]}`" if near else "one of " + ", ".join(f"`{name}`" for name in sorted(known))
    return Fault(path=where, found="an unknown key", expected=hint)


def _value(kind: Any, raw: Any, path: str, faults: list[Fault]) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin in (typing.Union, types.UnionType):  # the only unions are `X | None`, and TOML has no null
        return _value(next(arg for arg in args if arg is not type(None)), raw, path, faults)
    if origin is tuple:
        if not isinstance(raw, list):
            faults.append(Fault(path=path, found=_found(raw), expected=_expected(kind)))
            return ()
        return tuple(_value(args[0], item, f"{path}[{i}]", faults) for i, item in enumerate(raw))
    if isinstance(kind, type) and issubclass(kind, Section):
        if isinstance(raw, dict):
            return _section(kind, raw, path, faults)
    elif kind == Seconds:
        seconds = duration(raw)
        if seconds is not None:
            return seconds
    elif kind == Size:
        bytes_ = size(raw)
        if bytes_ is not None:
            return bytes_
    elif origin is typing.Literal:
        if raw in args:
            return raw
    elif kind == UnitName:
        if isinstance(raw, str) and re.fullmatch(_UNIT, raw):
            return raw
    elif kind is int:
        if isinstance(raw, int) and not isinstance(raw, bool) and raw >= 0:
            return raw
    elif isinstance(raw, kind):
        return raw
    faults.append(Fault(path=path, found=_found(raw), expected=_expected(kind)))
    return None


def duration(raw: object) -> float | None:
    """Seconds in a duration: `30s`, `5min`, `1h 30min`, or a number of seconds; None if it is none."""
    if isinstance(raw, bool):
        return None
    if isinstance(raw, int | float):
        return float(raw) if raw >= 0 else None
    if not isinstance(raw, str) or not re.fullmatch(rf"(\s*{_DURATION.pattern}\s*)+", raw):
        return None
    return float(sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(raw)))


def size(raw: object) -> int | None:
    """Bytes in a size: `500M`, `1.5G`, or a number of bytes; K, M, G and T are powers of 1024. None if it is none."""
    if isinstance(raw, bool):
        return None
    if isinstance(raw, int):
        return raw if raw >= 0 else None
    found = _SIZE.fullmatch(raw.strip()) if isinstance(raw, str) else None
    return None if found is None else int(float(found[1]) * _SIZES[found[2]])


def _found(raw: object) -> str:
    match raw:
        case dict():
            return "a table"
        case list():
            return "a list"
        case _:
            return repr(raw)


def _expected(kind: Any) -> str:
    origin, args = get_origin(kind), get_args(kind)
    if kind == Seconds:
        return 'a duration such as "30s" or "5min"'
    if kind == Size:
        return 'a size such as "500M" or "2G"'
    if kind == UnitName:
        return 'a unit with its suffix, such as "sshd.service"'
    if origin is typing.Literal:
        return " or ".join(f'"{arg}"' for arg in args)
    if origin is tuple:
        return f"a list of: {_expected(args[0])}"
    if origin in (typing.Union, types.UnionType):
        return _expected(args[0])
    if isinstance(kind, type) and issubclass(kind, Section):
        return "a table"
    names: dict[Any, str] = {str: "a string", bool: "true or false", int: "a whole number, 0 or more"}
    return names[kind]


def _cross_check(config: Config, faults: list[Fault]) -> None:
    seen: set[str] = set()
    for i, person in enumerate(config.dotfiles):
        if person.user in seen:
            faults.append(Fault(path=f"dotfiles[{i}].user", found=f"{person.user!r} again", expected="each user once"))
        seen.add(person.user)
        if person.user == "":
            faults.append(Fault(path=f"dotfiles[{i}].user", found="an empty string", expected="a login name"))
        faults.extend(
            Fault(path=f"dotfiles[{i}].merge.union[{j}]", found=repr(pattern), expected="a path below the repository")
            for j, pattern in enumerate(person.merge.union)
            if not pattern.strip("/") or pattern.startswith(("/", "!", "~"))
        )
        _check_key(person.ssh_key, f"dotfiles[{i}].ssh_key", faults)
        if Path(person.source).is_absolute() or ".." in Path(person.source).parts:
            faults.append(
                Fault(path=f"dotfiles[{i}].source", found=repr(person.source), expected="a path below the home")
            )
    if not Path(config.space.boot_path).is_absolute():
        faults.append(Fault(path="space.boot_path", found=repr(config.space.boot_path), expected="an absolute path"))
    if config.files.sync_status and not Path(config.files.sync_status).is_absolute():
        found = repr(config.files.sync_status)
        faults.append(Fault(path="files.sync_status", found=found, expected="an absolute path, or nothing"))
    if not config.dotfiles and config.config is None:
        faults.append(Fault(path="(top level)", found="neither [[dotfiles]] nor [config]", expected="at least one"))
    if config.config is not None:
        if not config.config.repo_url and not config.config.checkout:
            faults.append(Fault(path="config.repo_url", found="nothing", expected="a string, or a `checkout`"))
        _check_key(config.config.ssh_key, "config.ssh_key", faults)
        _check_publishing(config.config, faults)
        if config.config.checkout and not Path(config.config.checkout).is_absolute():
            found = repr(config.config.checkout)
            faults.append(Fault(path="config.checkout", found=found, expected="an absolute path"))
        _check_recipe(config.config, faults)
    if config.config is not None and config.config.signatures is not None:
        _check_signatures(config.config.signatures, faults)
    for i, probe in enumerate(config.verify.probes):
        ways = [way for way in ("tcp", "http", "command") if getattr(probe, way)]
        path = f"verify.probes[{i}]"
        if len(ways) != 1:
            found = " and ".join(f"`{way}`" for way in ways) or "none"
            faults.append(Fault(path=path, found=found, expected="one of `tcp`, `http`, `command`"))
        if probe.tcp and not re.fullmatch(r".+:\d{1,5}", probe.tcp):
            faults.append(Fault(path=f"{path}.tcp", found=repr(probe.tcp), expected='"host:port"'))
        if probe.http and not re.match(r"https?://\S+$", probe.http):
            faults.append(Fault(path=f"{path}.http", found=repr(probe.http), expected="a URL of http or https"))
    if not 1 <= config.boot.max_attempts <= _MOST_ATTEMPTS:
        found = str(config.boot.max_attempts)
        faults.append(Fault(path="boot.max_attempts", found=found, expected=f"1 to {_MOST_ATTEMPTS}"))
    _check_metrics(config.metrics, faults)
    _check_notify(config.notify, faults)
    _check_reboot(config.reboot, faults)
    faults.extend(
        Fault(path=f"retry.{field.name}.attempts", found="0", expected="1 or more")
        for field in msgspec.structs.fields(RetryConfig)
        if getattr(config.retry, field.name).attempts == 0
    )


def _check_key(file: str, path: str, faults: list[Fault]) -> None:
    if file and not re.fullmatch(r"/[\w./@:+,=-]+", file):
        expected = "the absolute path of a private key, without spaces or quotes"
        faults.append(Fault(path=path, found=repr(file), expected=expected))


def _check_recipe(wanted: SystemConfig, faults: list[Fault]) -> None:
    if not re.fullmatch(r"[a-z_][a-z0-9_-]*", wanted.build_user):
        expected = 'a login name, such as "gitopsd-build"'
        faults.append(Fault(path="config.build_user", found=repr(wanted.build_user), expected=expected))
    if not re.fullmatch(r"[1-9]\d*[KMGT]?|[1-9]\d?%|100%|infinity", wanted.memory_max):
        expected = 'a size such as "2G", a share such as "75%", or "infinity"'
        faults.append(Fault(path="config.memory_max", found=repr(wanted.memory_max), expected=expected))
    for name, hooks in (("pre", wanted.pre_update_hooks), ("post", wanted.post_update_hooks)):
        units = [hook.unit for hook in hooks]
        faults.extend(
            Fault(path=f"config.{name}_update_hooks[{i}].unit", found=f"{unit!r} again", expected="each unit once")
            for i, unit in enumerate(units)
            if unit in units[:i]
        )
    if wanted.flake and wanted.attr:
        faults.append(Fault(path="config.attr", found=repr(wanted.attr), expected="nothing, or `flake = false`"))
    if not wanted.flake and not wanted.attr:
        faults.append(Fault(path="config.attr", found="nothing", expected="what to build, since `flake = false`"))
    faults.extend(
        Fault(path=f"config.{name}", found=repr(path), expected="a path below the repository")
        for name, path in (("directory", wanted.directory), ("file", wanted.file))
        if Path(path).is_absolute() or ".." in Path(path).parts
    )


def _check_metrics(metrics: MetricsConfig, faults: list[Fault]) -> None:
    if metrics.textfile and (not Path(metrics.textfile).is_absolute() or not metrics.textfile.endswith(".prom")):
        expected = "an absolute path that ends in .prom, as node_exporter wants it"
        faults.append(Fault(path="metrics.textfile", found=repr(metrics.textfile), expected=expected))
    if metrics.listen and loopback(metrics.listen) is None:
        expected = '"127.0.0.1:PORT" or "[::1]:PORT": who may read it from afar is for a proxy to decide'
        faults.append(Fault(path="metrics.listen", found=repr(metrics.listen), expected=expected))


def loopback(listen: str) -> tuple[str, int] | None:
    """Address and port of the loopback interface; None if it is something else."""
    found = re.fullmatch(r"(127(?:\.\d{1,3}){3}|\[::1\]|localhost):(\d{1,5})", listen)
    if found is None or not 0 < int(found[2]) < 2**16:
        return None
    return found[1].strip("[]").replace("localhost", "127.0.0.1"), int(found[2])


def _check_notify(notify: NotifyConfig, faults: list[Fault]) -> None:
    for i, event in enumerate(notify.events):
        if event not in MESSAGE_IDS:
            near = difflib.get_close_matches(event, MESSAGE_IDS, n=1)
            expected = f'"{near[0]}"' if near else "one of " + ", ".join(f'"{name}"' for name in MESSAGE_IDS)
            faults.append(Fault(path=f"notify.events[{i}]", found=repr(event), expected=expected))
    webhook = notify.webhook
    if webhook and not re.fullmatch(r"https?://\S+", webhook) and not Path(webhook).is_absolute():
        # What was found is not repeated: it may be a secret.
        expected = "a URL of http or https, or the absolute path of a file that holds one"
        faults.append(Fault(path="notify.webhook", found="something else", expected=expected))
    if notify.unit and not re.fullmatch(_UNIT, notify.unit):
        faults.append(Fault(path="notify.unit", found=repr(notify.unit), expected=_expected(UnitName)))


def _check_publishing(wanted: SystemConfig, faults: list[Fault]) -> None:
    if wanted.commit_local and not wanted.checkout:
        found, expected = "true without a checkout", "`config.checkout`, where the edits are made"
        faults.append(Fault(path="config.commit_local", found=found, expected=expected))
    if wanted.commit_local and wanted.signatures is not None:
        found, expected = "true beside config.signatures", "false: what it commits is not signed, and would be refused"
        faults.append(Fault(path="config.commit_local", found=found, expected=expected))
    if wanted.update_inputs and not wanted.commit_local:
        found, expected = "true without commit_local", "`config.commit_local = true`, which may commit"
        faults.append(Fault(path="config.update_inputs", found=found, expected=expected))


def _check_signatures(wanted: SignaturesConfig, faults: list[Fault]) -> None:
    path = "config.signatures"
    if not wanted.ssh_allowed_signers and not wanted.gpg_keyring:
        faults.append(Fault(path=path, found="no signer", expected="`ssh_allowed_signers` or `gpg_keyring`, or both"))
    faults.extend(
        Fault(path=f"{path}.{name}", found=repr(file), expected="an absolute path")
        for name, file in (("ssh_allowed_signers", wanted.ssh_allowed_signers), ("gpg_keyring", wanted.gpg_keyring))
        if file and not Path(file).is_absolute()
    )
    if wanted.gpg_fingerprints and not wanted.gpg_keyring:
        found = "fingerprints without a keyring"
        faults.append(Fault(path=f"{path}.gpg_fingerprints", found=found, expected="`gpg_keyring`, which has the keys"))
    faults.extend(
        Fault(
            path=f"{path}.gpg_fingerprints[{i}]",
            found=repr(fingerprint),
            expected="40 or 64 hexadecimal digits, as `gpg --list-keys` shows them",
        )
        for i, fingerprint in enumerate(wanted.gpg_fingerprints)
        if not re.fullmatch(r"[0-9A-F]{40}(?:[0-9A-F]{24})?", fingerprint)
    )


def _check_reboot(reboot: RebootConfig, faults: list[Fault]) -> None:
    for i, text in enumerate(reboot.windows):
        if parse_window(text) is None:
            faults.append(
                Fault(
                    path=f"reboot.windows[{i}]",
                    found=repr(text),
                    expected='such as "02:00-04:00" or "Sat,Sun 01:00-05:00"',
                )
            )
    if reboot.policy == "window" and not reboot.windows:
        faults.append(Fault(path="reboot.windows", found="none", expected='at least one, since policy is "window"'))
    if reboot.time_zone:
        try:
            zoneinfo.ZoneInfo(reboot.time_zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            faults.append(
                Fault(path="reboot.time_zone", found=repr(reboot.time_zone), expected='a zone such as "Europe/Berlin"')
            )
