"""Conflicts as lines for a person: which file, whose versions, how they differ, and what to type. Pure."""

from __future__ import annotations

import difflib

from gitopsd.cli.render import flat, quoted, short

TYPE_CHECKING = False  # typing's own constant would import typing
if TYPE_CHECKING:
    from gitopsd.cli.render import Json, Look

_LINES = 16  # of one difference
_RED, _GREEN, _YELLOW, _BOLD = "31", "32", "33", "1"


def conflicts(answers: list[Json], look: Look) -> list[str]:
    """What is parked for some people."""
    lines: list[str] = []
    for answer in answers:
        if len(answers) > 1:
            lines.append(f"{flat(answer['user'])}:")
        if answer["offline"]:
            lines.append(look.paint("the remote cannot be reached: this is how it was last seen", _YELLOW))
        lines += _of_one(answer["conflicts"], look) or ["nothing is parked"]
    return lines


def _of_one(found: list[Json], look: Look) -> list[str]:
    lines: list[str] = []
    for conflict in found:
        file, host = flat(conflict["file"]), flat(conflict["host"])
        if conflict["settled"]:
            lines.append(f"{file}: settled; {host} takes that in at its next sync")
            continue
        lines.append(
            f"{look.paint(file, _BOLD)}: {host} has a version parked on {flat(conflict['bookmark'])}"
            f" ({short(conflict['commit'])}) that conflicts with the trunk's ({short(conflict['trunk'])})"
        )
        lines += [f"  {line}" for line in difference(conflict, look)]
        rivals = [other for other in found if other["file"] == conflict["file"] and not other["settled"]]
        lines += [f"  {line}" for line in _commands(conflict, f" --host {quoted(host)}" if len(rivals) > 1 else "")]
    return lines


def difference(conflict: Json, look: Look) -> list[str]:
    """The trunk's version against the parked one, in short."""
    theirs, ours = conflict["theirs"], conflict["ours"]
    lines = [
        look.paint(f"- theirs, the trunk's version: {_described(theirs)}", _RED),
        look.paint(f"+ ours, parked by {flat(conflict['host'])}: {_described(ours)}", _GREEN),
    ]
    if theirs["text"] is None or ours["text"] is None:
        return lines
    before, after = theirs["text"].split("\n"), ours["text"].split("\n")
    found = list(difflib.unified_diff(before, after, lineterm="", n=1))[2:]
    shown = [look.cut(f"  {line}") for line in found[:_LINES]]
    styles = {"-": _RED, "+": _GREEN}
    lines += [look.paint(line, styles.get(line[2:3], "")) for line in shown]
    if len(found) > _LINES:
        lines.append(f"  … and {len(found) - _LINES} more lines")
    return lines


def settled(answer: Json, look: Look) -> list[str]:
    """What settled a conflict."""
    conflict, took = answer["conflict"], answer["took"]
    host, file = flat(conflict["host"]), flat(conflict["file"])
    what = {
        "ours": f"the version that {host} had parked (ours)",
        "theirs": "the trunk's version (theirs)",
        "union": "the lines of both versions, the trunk's first (union)",
        "content": "what you wrote",
    }.get(took, took)
    return [
        *difference(conflict, look),
        f"{look.paint(file, _BOLD)}: settled for all hosts with {what} ({short(answer['commit'])})",
        f"  the other version stays in the history: {short(conflict['commit'])}; each host takes this at its next sync",
    ]


def _described(side: Json) -> str:
    if not side["exists"]:
        return "no such file"
    size = f"{side['size']} byte{'' if side['size'] == 1 else 's'}"
    return size if side["text"] is not None else f"{size}, not shown (binary or long)"


def _commands(conflict: Json, option: str) -> list[str]:
    command = f"gitopsctl dotfiles resolve {quoted(flat(conflict['file']))}{option}"
    choices = [
        ("--take theirs", "the trunk's version, the lines with -"),
        ("--take ours", f"{flat(conflict['host'])}'s version, the lines with +"),
    ]
    if conflict.get("merged") is not None:
        choices += [("--take union", "the lines of both"), ("--edit", "in your editor")]
    return ["settle it with one of:", *(f"  {command} {choice:<13}  # {text}" for choice, text in choices)]
