"""What came from the socket, as lines for a person. Pure: the same answer, time and look give the same lines.

Everything here takes the JSON objects of `control.wire`, cleaned by `terminal.cleaned`, and tolerates fields that an
older daemon does not have.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False  # typing's own constant would import typing
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Json = dict[str, Any]

FINE = frozenset({"success", "up-to-date", "offline", "at-reboot", "planned", "suspended"})

_LABEL = 12  # columns; the longest is "boot default"
_RED, _GREEN, _YELLOW, _BOLD = "31", "32", "33", "1"

# What an outcome that is not fine means for the machine. Each is true whatever came before it in the cycle.
MEANINGS = {
    "rejected": "this revision failed before and is not tried again; a new commit, or `gitopsctl retry`, is",
    "diverged": "the branch was rewound or rewritten; the system stays as it is until a person accepts that",
    "unsigned": "nothing of it was evaluated; the system has not changed, and this revision is not tried again",
    "build-failed": "nothing on the system has changed; this revision is not tried again",
    "check-failed": "nothing on the system has changed; this revision is not tried again",
    "switch-failed": "nothing on the system has changed; this revision is not tried again",
    "kept": "the new system runs although it did not prove good, as `on_validation_failure` says",
    "rolled-back": "the system of before runs again; this revision is not tried again",
    "blocked": "there is no automatic way on; the system stays as it is until a person acts",
    "cancelled": "the daemon was stopped before anything changed; the next trigger tries again",
    "interrupted": "the machine went down in the middle of the switch; the old system runs",
    "failed": "the next trigger tries again",
}


class Look:
    """How lines are to look.

    Args:
        now: seconds since the epoch, for ages.
        width: columns of the terminal; 0 if it is none, and nothing is cut off.
        colour: whether the terminal takes colours.

    """

    def __init__(self, now: float, width: int = 0, *, colour: bool = False) -> None:
        self.now = now
        self.width = width
        self.colour = colour

    def paint(self, text: str, style: str) -> str:
        """`text` in a style (ECMA-48, SGR), where colours are wanted."""
        return f"\x1b[{style}m{text}\x1b[0m" if self.colour and style else text

    def cut(self, text: str) -> str:
        """`text` in one row of the terminal."""
        return f"{text[: self.width - 1]}…" if 0 < self.width < len(text) else text


def duration(seconds: float) -> str:
    """Two units at most: `4 s`, `2 min 10 s`, `3 h 5 min`, `12 days`."""
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 and whole < 600 else "")
    if whole < 48 * 3600:
        return f"{whole // 3600} h" + (f" {whole % 3600 // 60} min" if whole % 3600 >= 60 else "")
    return f"{whole // 86400} days"


def ago(at: float, look: Look) -> str:
    """How long ago something was."""
    return f"{duration(look.now - at)} ago"


def clock(at: float) -> str:
    """A time of the past, local."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def short(revision: str | None) -> str:
    """A revision as people compare it."""
    return revision[:12] if revision else "unknown"


def flat(text: str) -> str:
    """A text that must stay in one line, such as a path: a newline in it cannot start a line of its own."""
    return " ".join(text.split("\n"))


def status(answer: Json, look: Look) -> list[str]:
    """Everything that `status` shows."""
    lines = [_headline(answer, look)]
    for label, rows in _sections(answer, look):
        for row in rows:
            lines.append(f"{label:>{_LABEL}}: {row}" if label else f"{'':{_LABEL}}  {row}")
            label = ""  # noqa: PLW2901 - further rows stand below the first, without its label
    return lines


def doing(answer: Json) -> str:
    """What the daemon does, in one line without its time."""
    cycle = f"cycle {answer['cycle']['id']}: " if answer.get("cycle") else ""
    activity = f", {flat(answer['activity'])}" if answer.get("activity") else ""
    return f"{cycle}{answer['state']}{activity}"


def _headline(answer: Json, look: Look) -> str:
    state, since = answer["state"], answer["since"]
    style = {"idle": _GREEN, "failed": _RED, "blocked": _RED}.get(state, _YELLOW)
    if answer.get("blocked"):
        style = _RED
    word = state if not answer.get("blocked") or state == "blocked" else f"{state} (blocked)"
    return (
        f"{look.paint('●', style)} {flat(answer['host'])}: {look.paint(word, f'{_BOLD};{style}')}"
        f" since {clock(since)}, {ago(since, look)} (gitopsd {answer['version']})"
    )


def _sections(answer: Json, look: Look) -> Iterator[tuple[str, list[str]]]:
    """Label and rows, the most urgent first."""
    if answer.get("blocked"):
        yield "blocked", [*_painted(answer["blocked"], _RED, look), "repair the cause, then: sudo gitopsctl retry"]
    if answer.get("config_error"):
        yield (
            "config",
            [
                look.paint("the newest file is refused, the one before it is in force", _RED),
                *answer["config_error"].splitlines(),
            ],
        )
    if answer.get("suspended"):
        yield "suspended", [look.paint(suspended(answer["suspended"], look), _YELLOW), "sudo gitopsctl resume"]
    if answer.get("reboot"):
        need = answer["reboot"]
        head = f"required since {clock(need['since'])} ({', '.join(map(flat, need['reasons']))})"
        yield "reboot", [look.paint(head, _YELLOW), *([flat(need["plan"])] if need["plan"] else [])]
    yield from _under_way(answer, look)
    upgrade, sync = answer.get("last_upgrade"), answer.get("last_sync")
    yield "upgrade", _last(upgrade, look)
    if not (upgrade and sync and upgrade["id"] == sync["id"]):  # an upgrade syncs the homes too
        yield "sync", _last(sync, look)
    yield from _system(answer, look)
    yield from _assessed(answer, look)
    for rejected in answer.get("rejected", []):
        yield "rejected", _rejected(rejected, look)
    if checkout := answer.get("checkout"):
        # Whose it is stays unknown where there is none.
        yield "checkout", _person({**checkout, "user": checkout["user"] or "config.checkout"}, look)
    for person in answer.get("people", []):
        yield "dotfiles", _person(person, look)


def suspended(suspension: Json, look: Look) -> str:
    """Until when, by whom and why this host is left alone."""
    until = f"until {clock(suspension['until'])}" if suspension["until"] else "until somebody resumes"
    reason = f": {flat(suspension['reason'])}" if suspension["reason"] else ""
    return f"{until}, by {flat(suspension['by'])}, {ago(suspension['since'], look)}{reason}"


_LANDED = {
    "begun": "it was cut off, and goes on at the next boot",
    "rebooting": "the machine reboots into golden",
    "landed": "golden booted well",
    "failed": "golden could not be made the boot default",
    "golden-failed": "golden booted badly too",
}


_COUNTED = {
    "pending": "no verdict yet",
    "good": "good, no longer counted",
    "bad": "bad, not booted by default any more",
    "unknown": "its entry is not found",
}


def boot(answer: Json) -> list[str]:
    """How this boot and its generation stand. The first line is one that people grep for."""
    lines = [f"Boot failure count: {answer.get('failures', 0)} / {answer.get('max_attempts', 2)}"]
    toplevel = answer.get("toplevel")
    lines.append(f"booted:   {toplevel or 'no NixOS system'}")
    verdict = answer.get("verdict", "unknown")
    reason = f": {first(answer['reason'])}" if answer.get("reason") else ""
    stage = f", {flat(answer['stage'])} runs" if answer.get("stage") else ""
    trial = "; on trial, it has never booted well" if toplevel and answer.get("on_trial") else ""
    lines.append(f"verdict:  {verdict}{reason}{stage}{trial}")
    lines.append(f"golden:   {golden(answer)}")
    if count := answer.get("loader"):
        tries = f"{count['left']} tries left, {count['done']} done"
        lines.append(
            f"loader:   counts too: {_COUNTED.get(count['state'], count['state'])} ({tries}: {flat(count['entry'])})"
        )
    if last := answer.get("rollback"):
        lines.append(f"rollback: {clock(last['at'])}, {_LANDED.get(last['how'], last['how'])}")
        lines += [f"          left {last['left']}", f"          {first(last['reason'])}"]
    lines += [f"trouble:  {flat(trouble)}" for trouble in answer.get("troubles", [])]
    return lines


def golden(answer: Json) -> str:
    """The golden generation in one line."""
    if not answer.get("golden"):
        return "none: nothing is fallen back to at boot"
    number, since = answer.get("golden_generation"), answer.get("golden_since")
    pinned = f", pinned {clock(since)}" if since else ""
    return f"{answer['golden']}{f' (generation {number})' if number else ''}{pinned}"


def _assessed(answer: Json, look: Look) -> Iterator[tuple[str, list[str]]]:
    """In status: only what needs a look, and golden."""
    found = answer.get("boot") or {}
    if found.get("verdict") == "bad":
        count = f"{found['failures']} / {found['max_attempts']}"
        yield "boot", [look.paint(f"bad ({count}): {first(found['reason'])}", _RED), "gitopsctl boot status"]
    elif found.get("stage"):
        yield "boot", [f"no verdict yet, {flat(found['stage'])} runs"]
    if (last := found.get("rollback")) and found.get("verdict") != "bad":
        head = f"rolled back at boot, {_LANDED.get(last['how'], last['how'])}"
        yield "boot", [look.paint(head, _YELLOW), first(last["reason"]), "gitopsctl boot status"]
    for trouble in found.get("troubles", []):
        yield "boot", [look.paint(flat(trouble), _RED)]
    if found.get("golden"):
        number = found.get("golden_generation")
        yield "golden", [f"generation {number}" if number else found["golden"]]


def _under_way(answer: Json, look: Look) -> Iterator[tuple[str, list[str]]]:
    cycle, attempt = answer.get("cycle"), answer.get("attempt")
    if cycle:
        whose = f" of {', '.join(map(flat, cycle['users']))}" if cycle.get("users") else ""
        row = f"{cycle['id']}, {cycle['kind']}{whose} for {flat(cycle['requested_by'])}, {duration(look.now - cycle['started'])}"
        yield "cycle", [row, *([flat(answer["activity"])] if answer.get("activity") else [])]
    if attempt:
        wait = attempt["next_try"] - look.now
        when = f"in {duration(wait)}" if wait > 0 else "now"
        text = f"attempt {attempt['number']} of {attempt['limit']} {when} ({attempt['cause']})"
        yield "retry", [look.paint(text, _YELLOW), first(attempt["message"])]
    if answer.get("pending_plan"):
        yield "pending", [f"cycle {answer['pending_plan']} (plan) follows"]
    if answer.get("pending"):
        yield "pending", [f"cycle {answer['pending']} ({answer.get('pending_kind') or 'unknown'}) follows"]


def first(message: str) -> str:
    """A message begins with one sentence; what follows is detail, which `show` has in full."""
    return message.split("\n", 1)[0]


def _last(summary: Json | None, look: Look) -> list[str]:
    if not summary:
        return ["none yet"]
    outcome = summary["outcome"]
    head = f"{look.paint(outcome, _style(outcome))}, {ago(summary['ended'], look)}"
    where = f" (cycle {summary['id']}, for {flat(summary['requested_by'])})"
    if outcome in FINE:
        return [head + where]
    return [head + where, first(summary.get("message", "")), f"gitopsctl show {summary['id']}"]


def _system(answer: Json, look: Look) -> Iterator[tuple[str, list[str]]]:
    deployed, system = answer.get("deployed"), answer.get("system") or {}
    current, profile, generation = system.get("current"), system.get("profile"), system.get("generation", 0)
    if deployed:
        yield "deployed", [f"{short(deployed['revision'])}, {ago(deployed['at'], look)}", deployed["toplevel"]]
    else:
        yield "deployed", ["nothing by gitopsd yet"]
    if trial := answer.get("trial"):
        again = ", and again after the upgrade that follows" if trial.get("trunk") else ""
        head = f"{short(trial['revision'])} runs since {ago(trial['at'], look)}, until the next reboot{again}"
        yield "testing", [look.paint(head, _YELLOW), trial["toplevel"]]
    wanted = deployed["toplevel"] if deployed else None
    if current and current == profile:
        yield "system", [f"generation {generation} runs and is the boot default{_compared(current, wanted, look)}"]
    else:
        yield "running", ["the system that is tested" if answer.get("trial") else _named(current, wanted, look)]
        number = f"generation {generation}, " if generation else ""
        yield "boot default", [number + _named(profile, wanted, look)]
    if back := answer.get("gone_back"):
        where = f" in cycle {back['cycle']}" if back["cycle"] else ""
        said = f"to {flat(back['name'])}, {ago(back['at'], look)}, by {flat(back['by'])}{where}; no cycle has built it"
        yield "gone back", [look.paint(said, _YELLOW)]
    if system.get("drift"):
        yield "drift", [look.paint("what runs is not what was deployed last", _YELLOW)]
    if system.get("reboot") and not answer.get("reboot"):  # else it is told in full
        yield "reboot", [look.paint(f"needed for the new {', '.join(map(flat, system['reboot']))}", _YELLOW)]


def _compared(toplevel: str, wanted: str | None, look: Look) -> str:
    if wanted is None or toplevel == wanted:
        return f": {toplevel}" if wanted is None else ""
    return f", {look.paint('not the deployed system', _YELLOW)}: {toplevel}"


def _named(toplevel: str | None, wanted: str | None, look: Look) -> str:
    if toplevel is None:
        return look.paint("unknown", _YELLOW)
    if wanted is None:
        return toplevel
    if toplevel == wanted:
        return "the deployed system"
    return f"{look.paint('not the deployed system', _YELLOW)}: {toplevel}"


def _rejected(rejected: Json, look: Look) -> list[str]:
    head = (
        f"{short(rejected['revision'])}, {rejected['outcome']}, {ago(rejected['at'], look)} (cycle {rejected['cycle']})"
    )
    return [look.paint(head, _RED), first(rejected["reason"])]


def person(person: Json, look: Look) -> list[str]:
    """One person's dotfiles, with the trunk that their home goes by."""
    rows = _person(person, look)
    if person.get("trunk"):
        rows.insert(1, f"  trunk: {short(person['trunk'])}")
    return rows


def _parked(parked: Json, option: str) -> list[str]:
    file = flat(parked.get("file") or parked["path"])
    return [
        f"  parked: {file} on {flat(parked['bookmark'])} ({short(parked['commit'])})",
        f"    settle: gitopsctl dotfiles resolve {quoted(file)}{option} --take ours|theirs|union",
    ]


def _quarantined(finding: Json, look: Look) -> list[str]:
    line = f":{finding['line']}" if finding.get("line") else ""
    what = f"{flat(finding['path'])}{line} looks like a secret ({flat(finding['rule'])}): it stays here"
    if finding["rule"] == "no-scanner":
        return [
            f"  {look.paint('held back', _YELLOW)}: {flat(finding['path'])} is new, and no scanner has looked at it",
            "    install gitleaks or betterleaks where the daemon finds it, then: gitopsctl doctor",
        ]
    return [
        f"  {look.paint('held back', _YELLOW)}: {what}",
        f"    take it out; or, if it is none: gitopsctl secrets allow {finding['fingerprint']} --reason TEXT",
    ]


def quoted(word: str) -> str:
    """A word as it is typed in a shell."""
    safe = all(character.isalnum() or character in "._-/+~" for character in word)
    return word if word and safe else "'" + word.replace("'", "'\\''") + "'"


def _person(person: Json, look: Look) -> list[str]:
    rows = [f"{flat(person['user'])}: {look.paint(person['word'], _style(person['word']))}"]
    if person.get("offline"):
        rows[0] += ", offline: published by the next sync with a network"
    for parked in person.get("parked", []):
        rows += _parked(parked, "")
    for parked in person.get("elsewhere", []):
        rows += _parked(parked, f" --host {flat(parked['bookmark'].partition('/')[2])}")
    for finding in person.get("quarantined", []):
        rows += _quarantined(finding, look)
    return rows + [f"  {row}" for row in notices(person.get("notices", []), look)]


def notices(found: list[Json], look: Look) -> list[str]:
    """What a person should know, and what to type."""
    rows = []
    for notice in found:
        subject = f"{flat(notice['path'])}: " if notice.get("path") else ""
        rows.append(f"{look.paint('note', _YELLOW)}: {subject}{flat(notice['what'])}")
        if notice.get("advice"):
            rows.append(f"  try: {flat(notice['advice'])}")
    return rows


def history(cycles: list[Json], look: Look) -> list[str]:
    """One line per cycle, newest first."""
    if not cycles:
        return ["no cycle has finished yet"]
    rows = [("CYCLE", "KIND", "STARTED", "TOOK", "OUTCOME", "REVISION", "")]
    rows += [
        (
            str(cycle["id"]),
            cycle["kind"],
            clock(cycle["started"]),
            duration(cycle["ended"] - cycle["started"]),
            cycle["outcome"],
            cycle["revision"][:12] if cycle.get("revision") else "-",
            first(cycle.get("message", "")),
        )
        for cycle in cycles
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = []
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)]
        line = look.cut("  ".join([*cells, row[6]]).rstrip())
        # Coloured after it was cut: an escape sequence takes no columns, and half of one would spill.
        lines.append(line.replace(row[4], look.paint(row[4], _style(row[4])), 1) if row is not rows[0] else line)
    return lines


def detail(answer: Json, look: Look) -> list[str]:
    """One finished cycle with its steps."""
    summary = answer["summary"]
    took = duration(summary["ended"] - summary["started"])
    lines = [
        f"cycle {summary['id']}: {look.paint(summary['outcome'], _style(summary['outcome']))}",
        f"{summary['kind']} for {flat(summary['requested_by'])}, {clock(summary['started'])}, took {took}",
    ]
    lines += [f"  {line}" for line in summary.get("message", "").splitlines()]
    for label, value in (("revision", summary.get("revision")), ("toplevel", summary.get("toplevel"))):
        if value:
            lines.append(f"{label}: {value}")
    lines.append("")
    for step in answer.get("steps", []):
        tries = f", {step['attempts']} attempts" if step["attempts"] > 1 else ""
        took = duration(step["ended"] - step["started"])
        lines.append(f"{step['state']:>8}  {took}{tries}  {first(step['message'])}".rstrip())
    lines.append("")
    if review := (answer.get("facts") or {}).get("review"):
        lines += [*_review(review, look), ""]
    for person in answer.get("facts", {}).get("people", []):
        lines += _person(person, look)
        for label in ("captured", "applied"):
            lines += [f"  {label}: {flat(path)}" for path in person.get(label, [])]
    return lines if lines[-1] else lines[:-1]


def _review(review: Json, look: Look) -> list[str]:
    """What the checks before the switch found."""
    lines = []
    for check in review.get("checks", []):
        style = {"passed": _GREEN, "noted": _YELLOW}.get(check["verdict"], _RED)
        said = f": {first(check['said'])}" if check.get("said") else ""
        lines.append(f"{look.paint(check['verdict'], style)} {flat(check['name'])}{said}")
        lines += [f"    {line}" for line in check.get("said", "").split("\n")[1:]]
        if check.get("advice") and check["verdict"] != "passed":
            lines.append(f"    try: {flat(check['advice'])}")
    if review.get("reboot"):
        lines.append(f"reboot: only a reboot brings the new {', '.join(map(flat, review['reboot']))} into use")
    for label, text in (("closure", review.get("closure")), ("dry-activate", review.get("activation"))):
        if text:
            lines += [f"{label}:", *(f"    {line}" for line in text.split("\n"))]
    return lines


def ended(cycle: int, outcome: str, took: float, look: Look) -> str:
    """The last line of following a cycle."""
    return f"cycle {cycle}: {look.paint(outcome, _style(outcome))} ({duration(took)})"


def _painted(text: str, style: str, look: Look) -> list[str]:
    return [look.paint(line, style) for line in text.splitlines()]


def _style(word: str) -> str:
    if word in {"success", "success-local-only", "up-to-date", "at-reboot", "planned"}:
        return _GREEN
    return _YELLOW if word in {"offline", "fetch-failed", "conflicts-preserved", "not-initialized"} else _RED
