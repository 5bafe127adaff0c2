"""What no option alone can get wrong, and what its type does not say."""

import difflib
import re
import zoneinfo
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gitopsd.config.daemon import MetricsConfig, NotifyConfig, RetryConfig
from gitopsd.config.dotfiles import DotfilesConfig
from gitopsd.config.faults import Fault, as_expected
from gitopsd.config.kinds import UNIT, UnitName
from gitopsd.config.proof import ProbeConfig
from gitopsd.config.system import RebootConfig, SignaturesConfig, SystemConfig
from gitopsd.config.whole import Config
from gitopsd.events import MESSAGE_IDS
from gitopsd.windows import parse_window

_MOST_ATTEMPTS = 20  # as gitopsd.boot.judge, which reads the file on its own, and early


def cross_check(config: Config, faults: list[Fault]) -> None:
    """Append what is wrong to the faults."""
    _check_people(config.dotfiles, faults)
    if not Path(config.space.boot_path).is_absolute():
        faults.append(Fault(path="space.boot_path", found=repr(config.space.boot_path), expected="an absolute path"))
    if config.files.sync_status and not Path(config.files.sync_status).is_absolute():
        found = repr(config.files.sync_status)
        faults.append(Fault(path="files.sync_status", found=found, expected="an absolute path, or nothing"))
    if not config.dotfiles and config.config is None:
        faults.append(Fault(path="(top level)", found="neither [[dotfiles]] nor [config]", expected="at least one"))
    if config.config is not None:
        _check_system(config.config, faults)
    _check_probes(config.verify.probes, faults)
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


def _check_people(people: Sequence[DotfilesConfig], faults: list[Fault]) -> None:
    seen: set[str] = set()
    for i, person in enumerate(people):
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


def _check_system(wanted: SystemConfig, faults: list[Fault]) -> None:
    if not wanted.repo_url and not wanted.checkout:
        faults.append(Fault(path="config.repo_url", found="nothing", expected="a string, or a `checkout`"))
    _check_key(wanted.ssh_key, "config.ssh_key", faults)
    _check_publishing(wanted, faults)
    if wanted.checkout and not Path(wanted.checkout).is_absolute():
        faults.append(Fault(path="config.checkout", found=repr(wanted.checkout), expected="an absolute path"))
    _check_recipe(wanted, faults)
    if wanted.signatures is not None:
        _check_signatures(wanted.signatures, faults)


def _check_probes(probes: Sequence[ProbeConfig], faults: list[Fault]) -> None:
    for i, probe in enumerate(probes):
        ways = [way for way in ("tcp", "http", "command") if getattr(probe, way)]
        path = f"verify.probes[{i}]"
        if len(ways) != 1:
            found = " and ".join(f"`{way}`" for way in ways) or "none"
            faults.append(Fault(path=path, found=found, expected="one of `tcp`, `http`, `command`"))
        if probe.tcp and not re.fullmatch(r".+:\d{1,5}", probe.tcp):
            faults.append(Fault(path=f"{path}.tcp", found=repr(probe.tcp), expected='"host:port"'))
        if probe.http and not re.match(r"https?://\S+$", probe.http):
            faults.append(Fault(path=f"{path}.http", found=repr(probe.http), expected="a URL of http or https"))


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
    if notify.unit and not re.fullmatch(UNIT, notify.unit):
        faults.append(Fault(path="notify.unit", found=repr(notify.unit), expected=as_expected(UnitName)))


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
