"""The verbs about boots and the golden generation. What only shows works without the daemon too: it may be what is down."""

from __future__ import annotations

import json

from gitopsd.cli import render
from gitopsd.cli.terminal import Terminal, cleaned
from gitopsd.control.client import DaemonUnreachable, call

TYPE_CHECKING = False  # typing's own constant would import typing
if TYPE_CHECKING:
    from argparse import Namespace

    from gitopsd.cli.render import Json

DONE, NO_GOLDEN = 0, 1


def status(args: Namespace, terminal: Terminal) -> int:
    """Show how this boot and its generation stand."""
    answer = _asked(args, terminal)
    if args.json:
        terminal.print(json.dumps(answer))
    else:
        terminal.print(*render.boot(cleaned(answer)))
    return DONE


def reset(args: Namespace, terminal: Terminal) -> int:
    """Forget the bad boots of all generations, and the last rollback."""
    count = call(args.socket, "io.gitopsd.Control.ResetBoots")["count"]
    if args.json:
        terminal.print(json.dumps({"count": count}))
    else:
        terminal.print(f"{count} bad boot{'' if count == 1 else 's'} forgotten")
    return DONE


def golden_show(args: Namespace, terminal: Terminal) -> int:
    """Show which generation is golden; 1 if none is."""
    answer = _asked(args, terminal)
    found = {key: answer.get(key) for key in ("golden", "golden_generation", "golden_since")}
    if args.json:
        terminal.print(json.dumps(found))
    elif found["golden"]:
        terminal.print(render.golden(cleaned(answer)))
    else:
        terminal.say("gitopsctl: there is no golden generation", "  nothing is fallen back to at boot")
        terminal.say("  try: sudo gitopsctl golden pin")
    return DONE if found["golden"] else NO_GOLDEN


def golden_pin(args: Namespace, terminal: Terminal) -> int:
    """Make a generation golden."""
    which = args.which or ""
    number = int(which) if which.isdecimal() else None
    parameters = {"generation": number, "toplevel": None if number is not None else which or None}
    pinned = call(args.socket, "io.gitopsd.Control.PinGolden", parameters, timeout=300)["pinned"]
    if args.json:
        terminal.print(json.dumps(pinned))
    else:
        told = cleaned(pinned)
        terminal.print(render.golden({"golden": told["toplevel"], "golden_generation": told["number"]}))
        if told["problem"]:
            terminal.say(f"gitopsctl: {told['problem']}", "  it is kept from the garbage collector all the same")
    return DONE


def golden_unpin(args: Namespace, terminal: Terminal) -> int:
    """Have no golden generation."""
    call(args.socket, "io.gitopsd.Control.UnpinGolden")
    if not args.json:
        terminal.say("there is no golden generation now: nothing is fallen back to at boot")
    return DONE


def program(args: Namespace, _: Terminal) -> int:
    """What the units of the assessment run."""
    from gitopsd.boot.program import run  # noqa: PLC0415 - needed by this verb only

    return run([args.verb])


def _asked(args: Namespace, terminal: Terminal) -> Json:
    try:
        answer: Json = call(args.socket, "io.gitopsd.Status.Get")["status"].get("boot") or {}
    except DaemonUnreachable as error:
        from gitopsd.boot.place import Machine  # noqa: PLC0415 - needed in this case only
        from gitopsd.boot.view import view  # noqa: PLC0415

        terminal.say(f"gitopsctl: {error}", "  this is read from the record itself")
        machine = Machine()
        return view(machine, machine.rules().max_attempts)
    return answer
