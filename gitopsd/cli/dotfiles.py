"""`gitopsctl dotfiles`: what a person decides about their dotfiles."""

from __future__ import annotations

import json
import os
import pwd
import sys

from gitopsd.cli import render, verbs
from gitopsd.cli.terminal import Terminal, cleaned
from gitopsd.control.client import CallFailed, call

TYPE_CHECKING = False  # typing's own constant would import typing
if TYPE_CHECKING:
    from argparse import Namespace

    from gitopsd.cli.render import Json

_PATIENCE = 330.0  # seconds: the daemon asks the remote, which may be slow, and waits for a step of the cycle to end
_LONGEST = 56 * 1024  # bytes of a text that fit in one message to the daemon
_MARKERS = ("<<<<<<< ", "||||||| ", ">>>>>>> ")


def status(args: Namespace, terminal: Terminal) -> int:
    """Show how the dotfiles of one person, or for root of everybody, stand."""
    whose = args.user or _oneself()
    people = call(args.socket, "io.gitopsd.Status.Get")["status"].get("people", [])
    found = [person for person in people if whose is None or person["user"] == whose]
    if not found:
        terminal.say(
            f"gitopsctl: no sync of {whose or 'anybody'}'s dotfiles has ended yet",
            "  try: gitopsctl sync",
        )
        return verbs.USAGE
    if args.json:
        terminal.print(json.dumps(found))
        return verbs.DONE
    for person in cleaned(found):
        terminal.print(*render.person(person, verbs.look(terminal)))
    return verbs.DONE


def conflicts(args: Namespace, terminal: Terminal) -> int:
    """Show what is parked, by all hosts, with both sides."""
    from gitopsd.cli import sides  # noqa: PLC0415 - compares texts, which only this needs

    users = [args.user]
    if args.user is None and _oneself() is None:
        users = [each["user"] for each in call(args.socket, "io.gitopsd.Status.Get")["status"].get("people", [])]
    answers = [_conflicts(args, user) for user in users]
    if args.json:
        terminal.print(json.dumps(answers[0] if args.user or len(answers) == 1 else answers))
    else:
        verbs.print_long(terminal, sides.conflicts(cleaned(answers), verbs.look(terminal)))
    return verbs.DONE


def resolve(args: Namespace, terminal: Terminal) -> int:
    """Settle one parked file for all hosts, and follow the sync that brings it home."""
    from gitopsd.cli import sides  # noqa: PLC0415

    if not _names_somebody(args, terminal):
        return verbs.USAGE
    wanted: Json = {"file": _named(args.file, args.user), "host": args.host, "user": args.user, "take": args.take}
    if args.edit:
        return _edited(args, terminal, wanted)
    answer = call(args.socket, "io.gitopsd.Control.Resolve", wanted, _PATIENCE)["settled"]
    return _told(args, terminal, answer, sides.settled(cleaned(answer), verbs.look(terminal)))


def init(args: Namespace, terminal: Terminal) -> int:
    """Set up the dotfiles on this host, and follow the sync that writes to the home what is new there."""
    if not _names_somebody(args, terminal):
        return verbs.USAGE
    answer = call(args.socket, "io.gitopsd.Control.Initialize", {"user": args.user}, _PATIENCE)["beginning"]
    told = cleaned(answer)
    state = "is on the trunk now" if told["made"] else "was there already; the sync merges what it has"
    lines = [f"{render.flat(told['source'])} {state}", *render.notices(told["notices"], verbs.look(terminal))]
    return _told(args, terminal, answer, lines)


def adopt(args: Namespace, terminal: Terminal) -> int:
    """Settle files that differ between home and repository, and follow the sync."""
    if not _names_somebody(args, terminal):
        return verbs.USAGE
    wanted: Json = {
        "files": [_named(file, args.user) for file in args.files],
        "take": "mine" if args.mine else "theirs",
        "user": args.user,
    }
    answer = call(args.socket, "io.gitopsd.Control.Adopt", wanted, _PATIENCE)["adoption"]
    return _told(args, terminal, answer, [_adopted(each) for each in cleaned(answer)["adopted"]])


def _adopted(each: Json) -> str:
    file = render.flat(each["file"])
    backup = f"; yours is {render.flat(each['backup'])}" if each["backup"] else ""
    what = {
        "mine": "the repository has the home's version now",
        "theirs": f"the home has the repository's version now{backup}",
        "deletion": "it is gone from the repository too",
        "same": "home and repository have the same; nothing was done",
    }
    return f"{file}: {what.get(each['took'], each['took'])}"


def _edited(args: Namespace, terminal: Terminal, wanted: Json) -> int:
    """Settle it with what the person makes of it in their editor."""
    from gitopsd.cli import editor, sides  # noqa: PLC0415

    if not (sys.stdin.isatty() and terminal.is_terminal):
        return _misused(terminal, "--edit needs a terminal", "the same command with --take ours|theirs|union")
    found = _conflicts(args, args.user)["conflicts"]
    named = [each for each in found if wanted["file"] in (each["file"], *each["paths"]) and not each["settled"]]
    named = [each for each in named if wanted["host"] in (None, each["host"])]
    if len(named) != 1:
        what = "is parked on more than one host" if named else "is not parked"
        hosts = " or ".join(f"--host {each['host']}" for each in named)
        advice = f"the same command with {hosts}" if named else "gitopsctl dotfiles conflicts"
        return _misused(terminal, f"{wanted['file']} {what}", advice)
    conflict = named[0]
    if conflict["merged"] is None:
        return _misused(terminal, f"{conflict['file']} is no text, or too long", "take one side: --take ours|theirs")
    path, text = editor.edit(conflict["file"], conflict["merged"])
    if problem := _unfit(text):
        terminal.say(f"gitopsctl: {problem}", "  nothing was changed", f"  your text is in {path}")
        return verbs.CYCLE_FAILED
    wanted |= {"take": None, "content": text, "host": conflict["host"], "seen": conflict["commit"]}
    try:
        answer = call(args.socket, "io.gitopsd.Control.Resolve", wanted, _PATIENCE)["settled"]
    except CallFailed:
        terminal.say(f"your text is in {path}")
        raise
    editor.discard(path)
    return _told(args, terminal, answer, sides.settled(cleaned(answer), verbs.look(terminal)))


def _unfit(text: str | None) -> str:
    """Why an edited text cannot be submitted; empty if it can."""
    if text is None:
        return "the editor failed"
    if any(line.startswith(_MARKERS) for line in text.splitlines()):
        return "there are conflict markers left"
    if len(json.dumps(text)) > _LONGEST:
        return "the text is too long to be submitted: take one side, then edit the file itself"
    return ""


def _told(args: Namespace, terminal: Terminal, answer: Json, lines: list[str]) -> int:
    """Say what was decided, and follow the sync that brings it home."""
    terminal.print(*([json.dumps(answer)] if args.json else lines))
    if args.no_wait or not answer["cycle"]:
        return verbs.DONE
    return verbs.followed(args, terminal, answer["cycle"])


def _conflicts(args: Namespace, user: str | None) -> Json:
    found: Json = call(args.socket, "io.gitopsd.Status.Conflicts", {"user": user}, _PATIENCE)["conflicts"]
    return found


def _oneself() -> str | None:
    """The name of the caller; None for root, who asks for everybody."""
    if os.geteuid() == 0:
        return None
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""


def _names_somebody(args: Namespace, terminal: Terminal) -> bool:
    if args.user is None and _oneself() is None:
        _misused(terminal, "root has to say whose dotfiles", "the same command with --user NAME")
        return False
    return True


def _misused(terminal: Terminal, what: str, advice: str) -> int:
    terminal.say(f"gitopsctl: {cleaned(what)}", "  nothing was changed", f"  try: {cleaned(advice)}")
    return verbs.USAGE


def _named(file: str, user: str | None) -> str:
    """A file as the daemon names it: relative to the home, if it is there; else as it was typed."""
    home = os.path.expanduser(f"~{user or ''}").rstrip("/")  # noqa: PTH111 - pathlib is heavy
    path = os.path.abspath(file)  # noqa: PTH100
    below = path.startswith(f"{home}/") and (os.path.isabs(file) or os.path.lexists(path))  # noqa: PTH117
    return path[len(home) + 1 :] if below else file.removeprefix("./").removeprefix("~/")
