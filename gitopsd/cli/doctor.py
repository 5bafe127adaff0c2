"""`gitopsctl doctor`: the examination, shown."""

from __future__ import annotations

import json

from gitopsd.cli import render, verbs
from gitopsd.cli.terminal import Terminal, cleaned

TYPE_CHECKING = False  # typing's own constant would import typing
if TYPE_CHECKING:
    from argparse import Namespace

_SIGNS = {"ok": ("✓", "32"), "warning": ("!", "33"), "fault": ("✗", "31"), "unknown": ("?", "2")}


def doctor(args: Namespace, terminal: Terminal) -> int:
    """Examine this host; exit status 1 if something does not work, 2 if that is the configuration."""
    import asyncio  # noqa: PLC0415 - heavy, as what follows, and needed by this verb only
    from pathlib import Path  # noqa: PLC0415

    from gitopsd.config import DEFAULT_PATH  # noqa: PLC0415
    from gitopsd.doctor.examination import examine  # noqa: PLC0415

    found: list[dict[str, str]] = []

    async def work() -> None:
        async for finding in examine(Path(args.config) if args.config else DEFAULT_PATH, args.socket):
            plain = {
                "check": finding.check,
                "verdict": finding.verdict.value,
                "what": finding.what,
                "fix": finding.fix,
            }
            found.append(plain)
            if not args.json:
                terminal.progress("")
                terminal.print(*_lines(cleaned(plain), terminal))
                terminal.progress("looking …")

    asyncio.run(work())
    terminal.progress("")
    faults = [each for each in found if each["verdict"] == "fault"]
    if args.json:
        terminal.print(json.dumps(found))
    else:
        count = len(faults)
        terminal.say("nothing is at fault" if not count else f"{count} fault{'s' if count > 1 else ''}")
    if any(each["check"] == "configuration" for each in faults):
        return verbs.USAGE
    return verbs.CYCLE_FAILED if faults else verbs.DONE


def _lines(finding: dict[str, str], terminal: Terminal) -> list[str]:
    sign, colour = _SIGNS[finding["verdict"]]
    look = verbs.look(terminal)
    first, *rest = finding["what"].splitlines()
    lines = [f"{look.paint(sign, colour)} {finding['check']}: {first}", *(f"    {line}" for line in rest)]
    if finding["fix"]:
        lines.append(f"    try: {render.flat(finding['fix'])}")
    return lines
