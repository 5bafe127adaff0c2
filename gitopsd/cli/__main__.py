"""`gitopsctl`: the entry, the arguments, and how errors are told."""

from __future__ import annotations

import argparse
import os
import sys

from gitopsd import __version__
from gitopsd.cli import verbs
from gitopsd.cli.terminal import Terminal, cleaned
from gitopsd.control.client import DEFAULT_PATH, CallFailed, DaemonUnreachable

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
    "Refused": (verbs.CYCLE_FAILED, "nothing was changed"),
}
_OTHER_VERSION = frozenset({"InterfaceNotFound", "MethodNotFound", "MethodNotImplemented"})


def main() -> None:
    """Run `gitopsctl` with the arguments of this process, and exit."""
    try:
        code = run(sys.argv[1:])
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
    advice = told.get("advice", "")
    reason = told.get("reason") or " ".join([error.error, *map(str, told.values())])
    if error.name in _OTHER_VERSION:
        reason = f"the running daemon does not know {next(iter(told.values()), 'this')}: it is of another version"
        meaning, advice = "nothing was changed", "sudo systemctl restart gitopsd"
    terminal.say(f"gitopsctl: {reason}")
    meaning = told.get("meaning") or meaning
    if meaning:
        terminal.say(f"  {meaning}")
    if advice:
        terminal.say(f"  try: {advice}")
    return code


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="JSON instead of text")
    common.add_argument(
        "--socket",
        metavar="PATH",
        default=argparse.SUPPRESS,
        help=f"the daemon's socket (else $GITOPSD_SOCKET, else {DEFAULT_PATH})",
    )
    parser = argparse.ArgumentParser(
        prog="gitopsctl",
        description="Ask gitopsd what it does, and what it should do.",
        epilog=_EPILOG,
        parents=[common],
        allow_abbrev=False,  # a long option that is added later must not break what people typed
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
    upgrade.add_argument("--accept-diverged", action="store_true", help="accept a rewound or rewritten branch once")
    add_request("retry", verbs.retry, "forget rejected revisions and what blocks, and upgrade")
    add("watch", verbs.watch, "show what is true, and what changes")
    history = add("history", verbs.history, "list finished cycles")
    history.add_argument("-n", "--number", type=_positive, default=20, metavar="N", help="how many (20)")
    show = add("show", verbs.show, "show one finished cycle")
    show.add_argument("cycle", type=_positive, metavar="CYCLE", help="its number, as in history")
    config = subparsers.add_parser("config", help="about the configuration file", allow_abbrev=False)
    check = config.add_subparsers(metavar="VERB", required=True, prog=config.prog).add_parser(
        "check", parents=[common], help="tell whether the file is right, without the daemon", allow_abbrev=False
    )
    check.add_argument("file", nargs="?", metavar="FILE", help="else /etc/gitopsd/config.toml")
    check.set_defaults(run=verbs.config_check)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


if __name__ == "__main__":
    main()
