"""What each verb of `gitopsctl` does. All but `config check` only ask the daemon.

Each takes the parsed arguments and the terminal and returns the exit status; errors are told by `__main__`.
"""

from __future__ import annotations

import json
import time

from gitopsd.cli import follow, render
from gitopsd.cli.render import Look
from gitopsd.cli.terminal import Terminal, cleaned
from gitopsd.control.client import CallFailed, call

TYPE_CHECKING = False  # typing's own constant would import typing
if TYPE_CHECKING:
    from argparse import Namespace

    from gitopsd.cli.render import Json

DONE, CYCLE_FAILED, USAGE, UNREACHABLE, NOT_PERMITTED, BLOCKED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

_PAGE = 500  # cycles in one answer of the daemon at most


def status(args: Namespace, terminal: Terminal) -> int:
    """Show what is true now."""
    answer = call(args.socket, "io.gitopsd.Status.Get")["status"]
    if args.json:
        terminal.print(json.dumps(answer))
    else:
        terminal.print(*render.status(cleaned(answer), look(terminal)))
    return DONE


def watch(args: Namespace, terminal: Terminal) -> int:
    """Show what is true, again and again, until the person has seen enough."""
    if args.json or not terminal.live:
        return _watch_lines(args, terminal)
    latest: Json | None = None
    with terminal.full_screen() as screen:
        for reply in follow.steadily(args.socket, "io.gitopsd.Status.Watch", {}):
            latest = cleaned(reply["status"]) if reply is not None else latest
            if latest is not None:
                screen.show(render.status(latest, look(terminal)))
    return DONE


def _watch_lines(args: Namespace, terminal: Terminal) -> int:
    last = ""
    for reply in follow.steadily(args.socket, "io.gitopsd.Status.Watch", {}):
        if reply is None:
            continue
        if args.json:
            terminal.print(json.dumps(reply["status"]))
            continue
        line = render.doing(cleaned(reply["status"]))
        if line != last:
            terminal.print(f"{render.clock(time.time())} {line}")
        last = line
    return DONE


def sync(args: Namespace, terminal: Terminal) -> int:
    """Bring dotfiles in step."""
    return _request(args, terminal, "Sync", {"user": args.user})


def upgrade(args: Namespace, terminal: Terminal) -> int:
    """Bring dotfiles and the system in step."""
    given = {"accept_diverged": args.accept_diverged or None, "dry_run": args.dry_run or None}
    return _request(args, terminal, "Upgrade", given)


def retry(args: Namespace, terminal: Terminal) -> int:
    """Forget what is rejected and what blocks, and upgrade."""
    return _request(args, terminal, "Retry", {})


def history(args: Namespace, terminal: Terminal) -> int:
    """List finished cycles."""
    cycles: list[Json] = []
    while len(cycles) < args.number:
        wanted = min(args.number - len(cycles), _PAGE)
        before = cycles[-1]["id"] if cycles else None
        page = call(args.socket, "io.gitopsd.Status.History", {"limit": wanted, "before": before})["cycles"]
        cycles += page
        if len(page) < wanted:
            break
    if args.json:
        terminal.print(json.dumps(cycles))
    else:
        print_long(terminal, render.history(cleaned(cycles), look(terminal)))
    return DONE


def show(args: Namespace, terminal: Terminal) -> int:
    """Show one finished cycle."""
    detail = call(args.socket, "io.gitopsd.Status.Show", {"cycle": args.cycle})["detail"]
    if args.json:
        terminal.print(json.dumps(detail))
    else:
        print_long(terminal, render.detail(cleaned(detail), look(terminal)))
    return DONE


def rollback(args: Namespace, terminal: Terminal) -> int:
    """Go back to another generation."""
    return _request(args, terminal, "Rollback", {"target": args.target})


def suspend(args: Namespace, terminal: Terminal) -> int:
    """Have this host left alone."""
    given = {"duration": args.duration, "reason": args.reason}
    told = call(args.socket, "io.gitopsd.Control.Suspend", given)["suspended"]
    terminal.print(json.dumps(told) if args.json else render.suspended(cleaned(told), look(terminal)))
    return DONE


def resume(args: Namespace, terminal: Terminal) -> int:
    """End a suspension."""
    was = call(args.socket, "io.gitopsd.Control.Resume")["was_suspended"]
    if args.json:
        terminal.print(json.dumps({"was_suspended": was}))
    else:
        terminal.print("it goes on at the next timer; now: gitopsctl upgrade" if was else "it was not suspended")
    return DONE


def metrics(args: Namespace, terminal: Terminal) -> int:
    """Print the figures."""
    text = call(args.socket, "io.gitopsd.Status.Metrics")["text"]
    if not args.json:
        print_long(terminal, cleaned(text).splitlines())
        return DONE
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - heavy

    samples = [
        {"name": sample.name, "labels": sample.labels, "value": sample.value}
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
    terminal.print(json.dumps(samples))
    return DONE


def config_check(args: Namespace, terminal: Terminal) -> int:
    """Tell whether a configuration file is right, without the daemon."""
    from pathlib import Path  # noqa: PLC0415 - heavy, as what follows, and needed by this verb only

    from gitopsd.config import DEFAULT_PATH, load  # noqa: PLC0415
    from gitopsd.errors import ConfigError  # noqa: PLC0415

    path = Path(args.file) if args.file else DEFAULT_PATH
    try:
        load(path)
    except ConfigError as error:
        if args.json:
            terminal.print(json.dumps({"file": str(path), "error": error.message}))
        else:
            terminal.say(f"gitopsctl: {error.explained()}")
        return USAGE
    terminal.print(json.dumps({"file": str(path), "error": None}) if args.json else f"{path} is right")
    return DONE


def _request(args: Namespace, terminal: Terminal, method: str, parameters: Json) -> int:
    parameters["requested_by"] = args.requested_by
    try:
        cycle = call(args.socket, f"io.gitopsd.Control.{method}", parameters)["cycle"]
    except CallFailed as error:
        if error.name != "Suspended" or not args.requested_by:
            raise
        terminal.print(f"{cleaned(error.parameters)['reason']}; nothing was begun")  # as a person wants it
        return DONE
    if args.no_wait:
        terminal.print(json.dumps({"cycle": cycle}) if args.json else f"cycle {cycle} is asked for")
        if not args.json:
            terminal.say("it is not waited for; see: gitopsctl watch")
        return DONE
    return followed(args, terminal, cycle)


def followed(args: Namespace, terminal: Terminal, cycle: int) -> int:
    """Follow a cycle to its end, and say how it ended; Ctrl-C stops following and not the cycle."""
    began = time.monotonic()
    try:
        outcome = follow.cycle(args.socket, cycle, terminal, as_json=args.json)
    except KeyboardInterrupt:
        terminal.progress("")
        terminal.say(f"cycle {cycle} is still running: gitopsctl watch")
        return INTERRUPTED
    except CallFailed as error:
        if error.name != "NoSuchCycle":
            raise
        terminal.progress("")
        terminal.say(
            f"gitopsctl: the daemon does not know cycle {cycle} any more: its record was lost, or it was never begun",
            "  how it ended is not known; what is true now is in the status",
            "  try: gitopsctl status, then ask again",
        )
        return CYCLE_FAILED
    if not args.json:
        terminal.print(render.ended(cycle, outcome, time.monotonic() - began, look(terminal)))
    if outcome in render.FINE:
        return DONE
    _explain_outcome(args, terminal, cycle, outcome)
    return BLOCKED if outcome == "blocked" else CYCLE_FAILED


def _explain_outcome(args: Namespace, terminal: Terminal, cycle: int, outcome: str) -> None:
    """What happened, what it means for the machine, the next command."""
    try:
        message = cleaned(call(args.socket, "io.gitopsd.Status.Show", {"cycle": cycle}))["detail"]["summary"]["message"]
    except CallFailed:  # the record is gone or not ours to read; the outcome says enough
        message = ""
    terminal.say(f"gitopsctl: cycle {cycle} ended as {outcome}" + (f": {render.first(message)}" if message else ""))
    meaning = render.MEANINGS.get(outcome)
    if getattr(args, "dry_run", False):  # it is nothing that is remembered
        meaning = "this was a dry run: nothing was changed"
    if meaning:
        terminal.say(f"  {meaning}")
    terminal.say(f"  try: gitopsctl show {cycle}")


def look(terminal: Terminal) -> Look:
    """How lines are to look there."""
    return Look(time.time(), terminal.width, colour=terminal.colour)


def print_long(terminal: Terminal, lines: list[str]) -> None:
    """Print, through the pager what does not fit on a terminal."""
    if terminal.is_terminal and len(lines) >= terminal.height:
        from gitopsd.cli.pager import page  # noqa: PLC0415 - imports subprocess, which status has no time for

        if page(lines):
            return
    terminal.print(*lines)
