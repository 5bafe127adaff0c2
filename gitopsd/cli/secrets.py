"""`gitopsctl secrets`: what is a secret in one's dotfiles, and how it gets out of git. Needs no daemon."""

from __future__ import annotations

import json

from gitopsd.cli import verbs
from gitopsd.cli.render import flat
from gitopsd.cli.terminal import Terminal, cleaned
from gitopsd.errors import GitopsdError

TYPE_CHECKING = False  # typing's own constant would import typing
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable
    from typing import Any

    from gitopsd.secrets.program import Program

KINDS = ("secret", "config", "undecided")


def audit(args: Namespace, terminal: Terminal) -> int:
    """Tell what every variable is, and what is exposed."""
    return _guarded(terminal, lambda: _audit(args, terminal))


def _audit(args: Namespace, terminal: Terminal) -> int:
    found = _program(args).audit(history=args.history, decide=args.decide or ())
    undecided, exposed = found.undecided(), found.exposed()
    if args.json:
        told = {**_plain(found), "undecided": len(undecided), "exposed": exposed}
        terminal.print(json.dumps(told))
        return verbs.CYCLE_FAILED if undecided or exposed else verbs.DONE
    told = cleaned(_plain(found))
    width = max((len(each["name"]) for each in told["variables"]), default=0)
    for each in sorted(told["variables"], key=lambda each: KINDS.index(each["kind"])):
        shown = f"{each['kind']:<9}  {flat(each['name']):<{width}}  {', '.join(map(flat, each['defined']))}"
        terminal.print(shown + ("  EXPOSED" if each["exposed"] else ""))
        if each["kind"] != "config":
            terminal.print(*(f"{'':<11}{flat(reason)}" for reason in each["evidence"]))
            if each["used"]:
                terminal.print(f"{'':<11}used in {', '.join(map(flat, each['used']))}")
    for each in told["literals"]:
        shown = f"{each['kind']:<9}  {flat(each['path'])}:{each['line']}  {flat(each['rule'])}  {each['fingerprint']}"
        terminal.print(f"{shown}  as {flat(each['name'])}" + ("  EXPOSED" if each["kind"] == "secret" else ""))
    for each in told["history"]:
        terminal.print(
            f"EXPOSED    {flat(each['path'])}:{each['line']} in {each['commit'][:12]}  {flat(each['rule'])}, in the history"
            f"  {each['fingerprint']}"
        )
    for each in told["variables"]:
        if each["kind"] == "undecided":
            terminal.say(f"undecided: gitopsctl secrets audit --decide {flat(each['name'])}=secret|config")
    for each in told["literals"]:
        if each["kind"] == "undecided":
            terminal.say(
                f"undecided: gitopsctl secrets audit --decide {each['fingerprint']}=secret:{flat(each['name'])}, or "
                f"gitopsctl secrets allow {each['fingerprint']} --reason TEXT"
            )
    if exposed:
        terminal.say(
            "exposed: gitopsctl secrets migrate for variables and literals; secrets scrub for the history; a literal "
            "that is no secret: gitopsctl secrets allow FINGERPRINT --reason TEXT"
        )
    if not undecided and not exposed:
        terminal.say("nothing is undecided, and nothing exposed")
    return verbs.CYCLE_FAILED if undecided or exposed else verbs.DONE


def migrate(args: Namespace, terminal: Terminal) -> int:
    """Move the values of secrets to a SOPS file."""
    return _guarded(terminal, lambda: _migrate(args, terminal))


def _migrate(args: Namespace, terminal: Terminal) -> int:
    done = _program(args).migrate(file=args.file or "", recipients=args.age or "", dry=args.dry_run)
    if args.json:
        terminal.print(json.dumps({**_plain(done), "dry_run": args.dry_run}))
        return verbs.DONE
    told = cleaned(_plain(done))
    for each in told["left"]:
        terminal.say(
            f"undecided, and left: {flat(each['path'])}:{each['line']} ({flat(each['rule'])}): gitopsctl secrets audit "
            f"--decide {each['fingerprint']}=secret:{flat(each['name'])}"
        )
    if not done.moves:
        terminal.say("there is nothing to migrate")
        return verbs.DONE
    would, becomes = ("would go", "would become") if args.dry_run else ("went", "is now")
    for move in told["moves"]:
        what = flat(move["name"]) if move["kind"] == "variable" else f"a literal ({flat(move['name'])})"
        terminal.print(f"# {what} {would} from {', '.join(map(flat, move['defined']))} to {flat(told['file'])}")
        for template in move["rewritten"]:
            terminal.print(f"#   {flat(template)} includes /run/secrets/{flat(move['secret'])}")
    for old, new in told["renamed"].items():
        terminal.print(f"# {flat(old)} {becomes} the template {flat(new)}")
    terminal.print(f"# {told['targets']} targets render as before, byte for byte. For the NixOS configuration:")
    terminal.print(*told["snippet"].splitlines())
    for sentence in told["by_hand"]:
        terminal.say(flat(sentence))
    if not args.dry_run:
        terminal.say("the values are still in the history: gitopsctl secrets scrub, and rotate them")
    return verbs.DONE


def scrub(args: Namespace, terminal: Terminal) -> int:
    """Name the secrets of old commits, or take them out."""
    return _guarded(terminal, lambda: _scrub(args, terminal))


def _scrub(args: Namespace, terminal: Terminal) -> int:
    done = _program(args).scrub(rewrite=args.rewrite)
    if args.json:
        terminal.print(json.dumps(_plain(done)))
        return verbs.DONE if done.backup or not done.findings else verbs.CYCLE_FAILED
    if not done.findings:
        terminal.say("no commit has anything that looks like a secret")
        return verbs.DONE
    told = cleaned(_plain(done))
    terminal.print("Rotate first, whatever happens to the history:")
    for each in told["findings"]:
        subject = told["subjects"].get(each["commit"], "")
        terminal.print(
            f"  {flat(each['path'])}:{each['line']} ({flat(each['rule'])}) in {each['commit'][:12]} {flat(subject)}"
        )
    if not done.backup:
        terminal.say("nothing was changed; to take them out: gitopsctl secrets scrub --rewrite")
        return verbs.CYCLE_FAILED
    terminal.print(f"The history is rewritten here; as it was it is in {told['backup']}. Nothing was pushed. Next:")
    terminal.print(*told["steps"])
    return verbs.DONE


def allow(args: Namespace, terminal: Terminal) -> int:
    """Let something pass that only looks like a secret."""
    return _guarded(terminal, lambda: _allow(args, terminal))


def _allow(args: Namespace, terminal: Terminal) -> int:
    path = _program(args).allow(args.fingerprint, args.reason)
    if args.json:
        terminal.print(json.dumps({"path": path, "fingerprint": args.fingerprint}))
    else:
        terminal.print(f"{flat(path)}: this value passes from now on, on all hosts; the next sync publishes that")
    return verbs.DONE


def _program(args: Namespace) -> Program:
    from gitopsd.secrets.program import Program  # noqa: PLC0415 - asyncio and more, which only this needs

    return Program(args.source or "", daemon=args.socket)


def _plain(value: Any) -> Any:
    from msgspec import to_builtins  # noqa: PLC0415

    return to_builtins(value)


def _guarded(terminal: Terminal, run: Callable[[], int]) -> int:
    try:
        return run()
    except GitopsdError as error:
        terminal.say(*(f"gitopsctl: {error.explained()}".splitlines()))
        return verbs.CYCLE_FAILED
