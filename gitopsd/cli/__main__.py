"""`gitopsctl`: the entry, the arguments, and how errors are told."""

from __future__ import annotations

import argparse
import os
import sys

from gitopsd import __version__
from gitopsd.cli import boot, dotfiles, secrets, verbs
from gitopsd.cli.terminal import Terminal, cleaned
from gitopsd.control.client import DEFAULT_PATH, CallFailed, DaemonUnreachable

TYPE_CHECKING = False  # typing's own constant would import typing
if TYPE_CHECKING:
    from typing import Any

_EPILOG = """\
exit status: 0 done (offline and parked conflicts included), 1 the cycle failed, 2 usage or configuration,
3 the daemon cannot be reached, 4 not permitted, 5 blocked: a person is needed
"""

# What an error of the daemon means here: exit status, and what it means for the machine if the daemon does not say.
_ERRORS = {
    "NotPermitted": (verbs.NOT_PERMITTED, "nothing was changed"),
    "PermissionDenied": (verbs.NOT_PERMITTED, "nothing was changed"),
    "Blocked": (verbs.BLOCKED, "nothing was changed"),
    "NoSuchCycle": (verbs.USAGE, ""),
    "InvalidParameter": (verbs.USAGE, "nothing was changed"),
    "Suspended": (verbs.CYCLE_FAILED, "nothing was begun"),
    "Refused": (verbs.CYCLE_FAILED, "nothing was changed"),
}
_NEXT = {"Refused": "gitopsctl status", "PermissionDenied": "the same, with sudo"}  # where the daemon does not say
# What a word must be that the daemon does not take, and what to type: by the parameter that it refuses.
_EXPECTED = {
    "duration": ("how long must be a time of up to ten years", "sudo gitopsctl suspend --for 1h30min"),
    "reason": ("a reason is one line of at most 500 characters", 'sudo gitopsctl suspend --reason "a talk"'),
    "target": (
        "what to go back to is golden, previous, or the number of a generation",
        "sudo gitopsctl rollback previous",
    ),
    "toplevel": ("what becomes golden is a number or a path below /nix/store", "sudo gitopsctl golden pin"),
    "user": ("an empty name is nobody's", "gitopsctl sync rain"),
    "requested_by": (
        "a word for the record is up to 32 letters, digits and .:@_-",
        "gitopsctl upgrade --requested-by timer",
    ),
}
_OTHER_VERSION = frozenset({"InterfaceNotFound", "MethodNotFound", "MethodNotImplemented"})


def main(verb: tuple[str, ...] = ()) -> None:
    """Run `gitopsctl` with the arguments of this process, and exit.

    Args:
        verb: what stands before them, for a program that is one verb.

    """
    try:
        code = run([*verb, *sys.argv[1:]])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough, as with `| head`; SIGPIPE's status, and no traceback at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except KeyboardInterrupt:
        code = verbs.INTERRUPTED
    sys.exit(code)


def run(argv: list[str]) -> int:
    """Run one verb.

    Args:
        argv: the arguments, without the program's name.

    Returns:
        The exit status.

    """
    # Given here and not as defaults of the parser: those would overwrite, after the verb, what stood before it.
    given = argparse.Namespace(json=False, socket=os.environ.get("GITOPSD_SOCKET") or DEFAULT_PATH)
    args = _parser().parse_args(argv, given)
    terminal = Terminal()
    try:
        code: int = args.run(args, terminal)
    except DaemonUnreachable as error:
        terminal.progress("")
        terminal.say(
            f"gitopsctl: {error}",
            "  the system and the homes stay as they are; nothing is fetched or deployed until the daemon is back",
            "  try: systemctl status gitopsd",
        )
        return verbs.UNREACHABLE
    except CallFailed as error:
        terminal.progress("")
        return _tell(error, terminal)
    return code


def _tell(error: CallFailed, terminal: Terminal) -> int:
    told = cleaned(error.parameters)
    code, meaning = _ERRORS.get(error.name, (verbs.CYCLE_FAILED, ""))
    advice = told.get("advice") or _NEXT.get(error.name, "")
    reason = told.get("reason") or " ".join([error.error, *map(str, told.values())])
    if error.name in _OTHER_VERSION:
        reason = f"the running daemon does not know {next(iter(told.values()), 'this')}: it is of another version"
        meaning, advice = "nothing was changed", "sudo systemctl restart gitopsd"
    if error.name == "InvalidParameter":
        parameter = str(told.get("parameter", ""))
        reason, advice = _EXPECTED.get(parameter, (f"the daemon does not take this {parameter}", "gitopsctl --help"))
    terminal.say(f"gitopsctl: {reason}")
    meaning = told.get("meaning") or meaning
    if meaning:
        terminal.say(f"  {meaning}")
    if advice:
        terminal.say(f"  try: {advice}")
    return code


class _Help(argparse.RawDescriptionHelpFormatter):
    """The help formatter, which argparse makes for every single argument; what its default imports costs 20 ms."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=int(os.environ.get("COLUMNS") or 100) - 2)

    def _set_color(self, *_: object, **__: object) -> None:
        """Called by argparse of Python 3.14 each time; what it imports is needed only where help is printed."""

    def __getattr__(self, name: str) -> Any:
        """Find what `_set_color` would have set."""
        if name not in ("_theme", "_decolor"):
            raise AttributeError(name)
        super()._set_color(False)  # type: ignore[misc]  # there in 3.14, where alone these names are asked for
        return self.__dict__[name]


class _Parser(argparse.ArgumentParser):
    """A parser whose verbs have the lean help formatter too."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_Help, **options)


def _parser() -> argparse.ArgumentParser:
    common = _Parser(add_help=False)
    common.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="JSON instead of text")
    common.add_argument(
        "--socket",
        metavar="PATH",
        default=argparse.SUPPRESS,
        help=f"the daemon's socket (else $GITOPSD_SOCKET, else {DEFAULT_PATH})",
    )
    parser = _Parser(
        prog="gitopsctl",
        description="Ask gitopsd what it does, and what it should do.",
        epilog=_EPILOG,
        parents=[common],
        allow_abbrev=False,  # a long option that is added later must not break what people typed
    )
    parser.add_argument("--version", action="version", version=f"gitopsctl {__version__}")
    _add_verbs(parser, common)
    return parser


def _add_verbs(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    # `prog` is what argparse would find out itself, with the help formatter and all that it imports.
    subparsers = parser.add_subparsers(metavar="VERB", required=True, prog=parser.prog)

    def add(name: str, run: object, text: str) -> argparse.ArgumentParser:
        verb = subparsers.add_parser(name, parents=[common], help=text, description=text, allow_abbrev=False)
        verb.set_defaults(run=run)
        return verb

    def add_request(name: str, run: object, text: str) -> argparse.ArgumentParser:
        verb = add(name, run, f"{text}, and follow it")
        verb.add_argument("--no-wait", action="store_true", help="ask and do not follow")
        verb.add_argument("--requested-by", metavar="WORD", help="a word for the record, such as timer (admins only)")
        return verb

    add("status", verbs.status, "show what is true now")
    sync = add_request("sync", verbs.sync, "bring dotfiles in step")
    sync.add_argument("user", nargs="?", metavar="USER", help="whose (else your own; for root everybody's)")
    upgrade = add_request("upgrade", verbs.upgrade, "bring dotfiles and the system in step")
    upgrade.add_argument(
        "--dry-run", action="store_true", help="build, check and show what would be done; change nothing"
    )
    upgrade.add_argument("--accept-diverged", action="store_true", help="accept a rewound or rewritten branch once")
    add_request("retry", verbs.retry, "forget rejected revisions and what blocks, and upgrade")
    rollback = add_request("rollback", verbs.rollback, "go back to another generation, and reject what is left")
    rollback.add_argument(
        "target", nargs="?", default="previous", metavar="golden|previous|N", help="which generation (previous)"
    )
    suspend = add("suspend", verbs.suspend, "have this host left alone: no upgrade begins, and no timer's sync")
    suspend.add_argument("--for", dest="duration", metavar="DURATION", help="such as 2h (else until resume)")
    suspend.add_argument("--reason", metavar="TEXT", help="for whoever looks at status")
    add("resume", verbs.resume, "end a suspension")
    add("watch", verbs.watch, "show what is true, and what changes")
    history = add("history", verbs.history, "list finished cycles")
    history.add_argument("-n", "--number", type=_positive, default=20, metavar="N", help="how many (20)")
    show = add("show", verbs.show, "show one finished cycle")
    show.add_argument("cycle", type=_positive, metavar="CYCLE", help="its number, as in history")
    doctor = add("doctor", _doctor, "check everything that must be right on this host, and tell how to put it right")
    doctor.add_argument("--config", metavar="FILE", help="else /etc/gitopsd/config.toml")
    add("metrics", verbs.metrics, "print the figures, as Prometheus reads them")
    _add_dotfiles(subparsers.add_parser("dotfiles", help="decide about your dotfiles", allow_abbrev=False), common)
    _add_golden(subparsers, common)
    _add_boot(subparsers, common)
    _add_secrets(subparsers.add_parser("secrets", help="keep secrets out of git", allow_abbrev=False), common)
    config = subparsers.add_parser("config", help="about the configuration file", allow_abbrev=False)
    check = config.add_subparsers(metavar="VERB", required=True, prog=config.prog).add_parser(
        "check", parents=[common], help="tell whether the file is right, without the daemon", allow_abbrev=False
    )
    check.add_argument("file", nargs="?", metavar="FILE", help="else /etc/gitopsd/config.toml")
    check.set_defaults(run=verbs.config_check)


def _add_golden(parent: Any, common: argparse.ArgumentParser) -> None:
    parser = parent.add_parser("golden", help="about the generation that is fallen back to", allow_abbrev=False)
    subparsers = parser.add_subparsers(metavar="VERB", required=True, prog=parser.prog)
    for name, run, text in (
        ("show", boot.golden_show, "show which one it is; also without the daemon"),
        ("pin", boot.golden_pin, "make a generation golden: what runs, or another one"),
        ("unpin", boot.golden_unpin, "have none: nothing is fallen back to at boot"),
    ):
        verb = subparsers.add_parser(name, parents=[common], help=text, description=text, allow_abbrev=False)
        verb.set_defaults(run=run)
        if name == "pin":
            verb.add_argument("which", nargs="?", metavar="N|PATH", help="its number, or its store path")


def _add_boot(parent: Any, common: argparse.ArgumentParser) -> None:
    parser = parent.add_parser("boot", help="about the assessment of boots", allow_abbrev=False)
    subparsers = parser.add_subparsers(metavar="VERB", required=True, prog=parser.prog)
    for name, run, text in (
        ("status", boot.status, "show how this boot and its generation stand; for root also without the daemon"),
        ("reset", boot.reset, "forget the bad boots of all generations, and the last rollback"),
        ("begin", boot.program, "for gitopsd-boot-begin.service: record that a boot begins"),
        ("verify", boot.program, "for gitopsd-boot-verify.service: give this boot its verdict"),
        ("bless", boot.program, "for gitopsd-boot-bless.service: this boot was good"),
        ("emergency", boot.program, "for gitopsd-boot-emergency.service: the boot ended in emergency mode"),
        ("end", boot.program, "for gitopsd-boot-end.service: the machine is shut down in order"),
    ):
        verb = subparsers.add_parser(name, parents=[common], help=text, description=text, allow_abbrev=False)
        verb.set_defaults(run=run, verb=name)


def _doctor(args: argparse.Namespace, terminal: Terminal) -> int:
    from gitopsd.cli.doctor import doctor  # noqa: PLC0415 - needed by this verb only

    return doctor(args, terminal)


_SIDES = """\
`theirs` is the trunk's version, which all other hosts have. `ours` is the version that a host has parked beside it:
this host's if it has one, else the only one there is; --host names another. `union` keeps the lines of both.
`gitopsctl dotfiles conflicts` shows both sides. What is settled here is settled for all hosts.
"""


def _add_dotfiles(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    subparsers = parser.add_subparsers(metavar="VERB", required=True, prog=parser.prog)

    def add(name: str, run: object, text: str, epilog: str = "") -> argparse.ArgumentParser:
        verb = subparsers.add_parser(
            name,
            parents=[common],
            help=text,
            description=text,
            epilog=epilog,
            allow_abbrev=False,
        )
        verb.set_defaults(run=run)
        return verb

    text = "set them up on this host, without overwriting anything in the home, and sync"
    init = add("init", dotfiles.init, text)
    init.add_argument("user", nargs="?", metavar="USER", help="whose (else your own)")
    init.add_argument("--no-wait", action="store_true", help="do not follow the sync")
    for name, run, text in (
        ("status", dotfiles.status, "show how they stand: what is parked, what needs a look"),
        ("conflicts", dotfiles.conflicts, "show what is parked, by all hosts, with both sides"),
    ):
        add(name, run, text).add_argument("user", nargs="?", metavar="USER", help="whose (else your own)")
    resolve = add("resolve", dotfiles.resolve, "settle one parked file for all hosts, and sync", _SIDES)
    resolve.add_argument("file", metavar="FILE", help="as `conflicts` names it, or its path")
    how = resolve.add_mutually_exclusive_group(required=True)
    how.add_argument("--take", choices=("ours", "theirs", "union"), help="which version")
    how.add_argument("--edit", action="store_true", help="write it yourself, in $EDITOR, from both versions")
    resolve.add_argument("--host", metavar="HOST", help="whose parked version is meant")
    resolve.add_argument("--user", metavar="USER", help="whose dotfiles (else your own)")
    resolve.add_argument("--no-wait", action="store_true", help="do not follow the sync")
    adopt = add("adopt", dotfiles.adopt, "settle files that differ between home and repository, and sync")
    adopt.add_argument("files", nargs="+", metavar="FILE", help="in the home")
    side = adopt.add_mutually_exclusive_group(required=True)
    side.add_argument("--mine", action="store_true", help="the repository takes the home's version")
    side.add_argument("--theirs", action="store_true", help="the home takes the repository's; yours is backed up")
    adopt.add_argument("--user", metavar="USER", help="whose dotfiles (else your own)")
    adopt.add_argument("--no-wait", action="store_true", help="do not follow the sync")


def _add_secrets(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    subparsers = parser.add_subparsers(metavar="VERB", required=True, prog=parser.prog)

    def add(name: str, run: object, text: str) -> argparse.ArgumentParser:
        verb = subparsers.add_parser(name, parents=[common], help=text, description=text, allow_abbrev=False)
        verb.add_argument(
            "--source", metavar="DIR", help="the source directory (else the configuration's or chezmoi's)"
        )
        verb.set_defaults(run=run)
        return verb

    audit = add(
        "audit", secrets.audit, "tell what every variable is, and what is exposed (exit status 1 if anything is)"
    )
    audit.add_argument("--history", action="store_true", help="look at every commit too")
    audit.add_argument(
        "--decide",
        metavar="WHAT=KIND",
        type=_decision,
        action="append",
        help="write down that a variable is secret, config or undecided; or that a literal, by its fingerprint, is "
        "secret, secret:NAME or undecided",
    )
    migrate = add("migrate", secrets.migrate, "move secrets from chezmoi's data and from files to a SOPS file")
    migrate.add_argument("--dry-run", action="store_true", help="prove that it can be done, and change nothing")
    migrate.add_argument(
        "--file", metavar="FILE", help="the SOPS file (else .secrets/dotfiles.yaml in the source directory)"
    )
    migrate.add_argument("--age", metavar="RECIPIENTS", help="whom to encrypt for (else as .sops.yaml says)")
    scrub = add("scrub", secrets.scrub, "name the secrets of old commits and what to rotate; pushes nothing")
    scrub.add_argument("--rewrite", action="store_true", help="take them out of this host's history, after a backup")
    allow = add("allow", secrets.allow, "let pass what only looks like a secret; recorded in the repository")
    allow.add_argument("fingerprint", metavar="FINGERPRINT", help="as status and audit name it on this host")
    allow.add_argument("--reason", metavar="TEXT", required=True, help="why it is none, for whoever reviews it")


def _decision(text: str) -> tuple[str, str, str]:
    name, _, word = text.rpartition("=")
    kind, _, called = word.partition(":")
    if not name or kind not in secrets.KINDS or (":" in word and (kind != "secret" or not called)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not NAME=secret, NAME=config, NAME=undecided or FINGERPRINT=secret:NAME"
        )
    return name, kind, called


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


if __name__ == "__main__":
    main()
