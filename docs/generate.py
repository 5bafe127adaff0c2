# ruff: noqa: INP001, SLF001 - a script beside the pages that it writes; it reads the parser's private parts
"""Write the pages of docs/reference, and what else is made from the code. From the root: `PYTHONPATH=. python docs/generate.py`.

With `--check` it writes nothing, names the pages that are stale, and ends with status 1 if there are any.
"""

import argparse
import enum
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from docs import nixoptions
from gitopsd import config, machine, types
from gitopsd.cli import __main__ as cli
from gitopsd.cli import render
from gitopsd.control.access import TABLE as ACCESS
from gitopsd.control.interfaces import ControlInterface, StatusInterface
from gitopsd.daemon.metrics import Metrics
from gitopsd.errors import Cause
from gitopsd.events import MESSAGE_IDS

ROOT = Path(__file__).parents[1]
NOTE = "<!-- Written by docs/generate.py; edit that, or the code it reads. -->\n"


# -- configuration ------------------------------------------------------------------------------------------------


def configuration() -> str:
    """The options, from the docstrings and fields of `gitopsd.config`."""
    parts = [
        "# Configuration",
        NOTE,
        "The file is `/etc/gitopsd/config.toml`. It is TOML. An unknown key is a fault. All faults are reported at once,",
        "each with its path, what was found and what is expected:",
        "",
        "    gitopsctl config check            # the file in its place",
        "    gitopsctl config check FILE       # before you put it there",
        "",
        "Neither needs the daemon. `systemctl reload gitopsd` (SIGHUP) reads the file again. A file with faults is refused:",
        "the configuration before it stays in force, and `gitopsctl status` says so. A cycle under way keeps the",
        "configuration that it began with. `history.cycles` is read at the start of the daemon only.",
        "",
        'A duration is a number of seconds, or text such as `"30s"`, `"5min"`, `"1h 30min"`; the units are '
        + ", ".join(f"`{unit}`" for unit in config.UNITS)
        + ".",
        "",
        "At least one of `[[dotfiles]]` and `[config]` must be there.",
        "",
        "## Top level",
        "",
        *_options(config.Config, ""),
    ]
    parts += _sections(config.Config, "")
    return "\n".join(parts) + "\n"


def _sections(outer: type[config.Section], path: str) -> Iterator[str]:
    """Each section in a section, with those inside it."""
    for field in msgspec.structs.fields(outer):
        section = nixoptions.section_of(field.type)
        if section is None or outer is config.RetryConfig:
            continue
        where = f"{path}.{field.name}" if path else field.name
        title, _, words = inspect.cleandoc(section.__doc__ or "").partition("\n\n")[0].partition(": ")
        yield from ("", f"## {title}", "", _sentence(words), "")
        yield from _options(section, where)
        yield from _sections(section, where)


def _options(section: type[config.Section], path: str) -> Iterator[str]:
    if section is config.RetryConfig:
        yield from _retries()
        return
    meanings = nixoptions.arguments(section)
    yield "| option | type | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for field in msgspec.structs.fields(section):
        if nixoptions.section_of(field.type) is None:
            name = f"{path}.{field.name}" if path else field.name
            default = "required" if field.required else _default(field.default, field.type)
            meaning = meanings.get(field.name, f"the step {field.name}" if section is config.TimeoutConfig else "")
            yield f"| `{name}` | {_type(field.type)} | {default} | {meaning} |"


def _retries() -> Iterator[str]:
    """The same options for each state, with other defaults."""
    subs = msgspec.structs.fields(config.RetrySection)
    yield "| option | type | meaning |"
    yield "| --- | --- | --- |"
    for sub in subs:
        yield f"| `retry.STATE.{sub.name}` | {_type(sub.type)} | {nixoptions.arguments(config.RetrySection)[sub.name]} |"
    yield ""
    yield f"| defaults for STATE | {' | '.join(f'`{sub.name}`' for sub in subs)} |"
    yield "| --- |" + " --- |" * len(subs)
    for field in msgspec.structs.fields(config.RetryConfig):
        values = (_default(getattr(field.default, sub.name), sub.type) for sub in subs)
        yield f"| `{field.name}` | {' | '.join(values)} |"


def _type(kind: Any) -> str:
    return config.as_expected(kind).partition(" such as")[0].rstrip(",")


def _default(value: object, kind: Any) -> str:
    if value is msgspec.NODEFAULT:
        return "the hostname"  # the one default that is made by a function
    match value:
        case bool():
            return f"`{str(value).lower()}`"
        case float() if kind == config.Seconds:
            number, unit = next((value / (size or 1), unit) for size, unit in _SIZES if value >= size)
            return f'`"{number:g}{unit}"`'
        case int() if kind == config.Size:
            number, unit = next((value // size, unit) for unit, size in _BINARY if value % size == 0)
            return f'`"{number}{unit}"`'
        case tuple():
            return "`[]`"
        case str():
            return f'`"{value}"`'
        case _:
            return f"`{value}`"


_BINARY = (("G", 1024**3), ("M", 1024**2), ("K", 1024), ("", 1))
_SIZES = ((3600, "h"), (60, "min"), (0, "s"))


# -- states -------------------------------------------------------------------------------------------------------


def states() -> str:
    """The machine, from its table."""
    parts = [
        "# States, events and outcomes",
        NOTE,
        "The machine is the table in `gitopsd/machine.py`. An event without a row is a bug: it is reported, and the state",
        "does not change.",
        "",
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> idle",
        *(
            f"    {source.value} --> {target.value}: {' / '.join(event.value for event in events)}"
            for (source, target), events in _edges().items()
        ),
        "```",
        "",
        "## States",
        "",
        "After a crash, a reboot or a restart of the daemon, the cycle goes on in the state that the record names.",
        "*Again*: the step is repeatable and is run again. *Looks*: the step looks at the world first and never acts",
        "twice. *Rests*: there is nothing to do.",
        "",
        "| state | what it does | resumed |",
        "| --- | --- | --- |",
        *(
            f"| `{state.value}` | {_STATES.get(state.name) or _RESTING[state]} | {_RESUMED[machine.RESUME[state]]} |"
            for state in machine.State
        ),
        "",
        "## Events",
        "",
        "| event | meaning |",
        "| --- | --- |",
        *(f"| `{event.value}` | {_comments(machine.Event)[event.name]} |" for event in machine.Event),
        "",
        "## The table",
        "",
        "| in state | event | goes to |",
        "| --- | --- | --- |",
        *(f"| `{source.value}` | `{event.value}` | `{target.value}` |" for source, event, target in machine.TABLE),
        "",
        "## Outcomes of a cycle",
        "",
        "`gitopsctl` ends with status 0 after the fine ones, 5 after `blocked`, and 1 after all others.",
        "",
        "| outcome | meaning | status |",
        "| --- | --- | --- |",
        *(f"| `{outcome.value}` | {_outcome(outcome)} | {_status(outcome)} |" for outcome in types.Outcome),
        "",
        "## Words of a person's sync",
        "",
        "| word | meaning |",
        "| --- | --- |",
        *(
            f"| `{word.value}` | {_comments(types.SyncWord).get(word.name) or _WORDS[word]} |"
            for word in types.SyncWord
        ),
        "",
        "## Causes of a retry",
        "",
        "A failure of one of these causes is tried again where the state allows it (`[retry]` in the",
        "[configuration](configuration.md)), and is never held against a revision: "
        + ", ".join(f"`{cause.value}`" for cause in Cause)
        + ".",
    ]
    return "\n".join(parts) + "\n"


def _edges() -> dict[tuple[machine.State, machine.State], list[machine.Event]]:
    edges: dict[tuple[machine.State, machine.State], list[machine.Event]] = {}
    for source, event, target in machine.TABLE:
        edges.setdefault((source, target), []).append(event)
    return edges


def _comments(kind: type[enum.Enum]) -> dict[str, str]:
    """The comment behind each member of an enum."""
    source = inspect.getsource(kind)
    return {
        name: words.strip() for name, words in re.findall(r"^    (\w+) = \"[^\"]*\"  # (.*)$", source, re.MULTILINE)
    }


_STATES = _comments(machine.State)
_RESTING = {
    machine.State.idle: "rests; the last cycle ended well",
    machine.State.failed: "rests; the next trigger tries again",
    machine.State.blocked: "rests; a person is needed. Dotfiles go on, upgrades are refused until `gitopsctl retry`",
}
_RESUMED = {machine.Resume.rest: "rests", machine.Resume.again: "again", machine.Resume.look: "looks"}
_WORDS = {types.SyncWord.success: "all of it", types.SyncWord.push_failed: "captured locally; the notices say why",
          types.SyncWord.not_initialized: "the source directory is missing, or is no jj repository of that remote"}  # fmt: skip


def _outcome(outcome: types.Outcome) -> str:
    return _comments(types.Outcome).get(outcome.name) or render.MEANINGS[outcome.value]


def _status(outcome: types.Outcome) -> int:
    return 0 if outcome in types.FINE else 5 if outcome is types.Outcome.blocked else 1


# -- socket -------------------------------------------------------------------------------------------------------


def socket() -> str:
    """The Varlink interfaces, as `varlinkctl introspect` shows them."""
    parts = [
        "# Socket",
        NOTE,
        "`/run/gitopsd/io.gitopsd` speaks [Varlink](https://varlink.org). `gitopsctl` is one client; `varlinkctl`, which",
        "comes with systemd, is another:",
        "",
        "    varlinkctl introspect /run/gitopsd/io.gitopsd",
        "    varlinkctl call /run/gitopsd/io.gitopsd io.gitopsd.Status.Get '{}'",
        "    varlinkctl call --more /run/gitopsd/io.gitopsd io.gitopsd.Status.Watch '{}'",
        "",
        "Every local user may connect. Who may call what is decided per method, by the credentials that the kernel gives",
        "for the peer:",
        "",
        "| method | who |",
        "| --- | --- |",
        *(f"| `{method}` | {_WHO[who.value]} |" for method, who in ACCESS.items()),
        "",
        "What concerns another person's home is left out of every answer: paths, notices, parked changes, and texts that",
        "may name them. Interface versions only grow.",
    ]
    for interface in (StatusInterface, ControlInterface):
        text = "\n".join(map(str.rstrip, interface.render_interface_description().strip().splitlines()))
        parts += ["", f"## {interface.name}", "", "```varlink", text, "```"]
    return "\n".join(parts) + "\n"


_WHO = {
    "anyone": "every local user",
    "oneself": "every user for their own dotfiles; root and the control group for everybody's",
    "admins": "root and the members of `[control] group`",
}


# -- command line -------------------------------------------------------------------------------------------------


def command_line() -> str:
    """The verbs, from the parser."""
    parser = cli._parser()
    parts = [
        "# gitopsctl",
        NOTE,
        parser.description or "",
        "",
        "The result goes to standard output, talk to standard error. Colour and the live progress line are for terminals",
        "only; `NO_COLOR` is honoured. Ctrl-C stops following, never the cycle (status 130).",
        "",
        "| option | meaning |",
        "| --- | --- |",
        *_flags(parser),
        "",
        "`--json` and `--socket` may also stand after the verb.",
        "",
        "| status | meaning |",
        "| --- | --- |",
        "| 0 | done; being offline and parked conflicts included |",
        "| 1 | the cycle failed |",
        "| 2 | usage or configuration |",
        "| 3 | the daemon cannot be reached |",
        "| 4 | not permitted |",
        "| 5 | blocked: a person is needed |",
    ]
    for name, verb in _verbs(parser):
        usage = " ".join(filter(None, ["gitopsctl", name, *_usage(verb)]))
        parts += ["", f"## {name}", "", f"    {usage}", "", _sentence(verb.description or _help_of(parser, name))]
        own = [line for line in _flags(verb) if not line.startswith(("| `--json`", "| `--socket"))]
        if own:
            parts += ["", "| argument | meaning |", "| --- | --- |", *own]
    return "\n".join(parts) + "\n"


def _verbs(parser: argparse.ArgumentParser, before: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, verb in action.choices.items():
                inner = list(_verbs(verb, f"{before}{name} "))
                yield from inner or [(f"{before}{name}", verb)]


def _help_of(parser: argparse.ArgumentParser, name: str) -> str:
    """The line that the help of the verb above has for a verb without a description."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            first, _, rest = name.partition(" ")
            if rest:
                return _help_of(action.choices[first], rest)
            return next(choice.help or "" for choice in action._choices_actions if choice.dest == first)
    raise LookupError(name)


def _usage(verb: argparse.ArgumentParser) -> Iterator[str]:
    for action in verb._actions:
        if action.dest in {"help", "json", "socket"}:
            continue
        words = " ".join(filter(None, [*action.option_strings[:1], str(action.metavar or "")]))
        yield words if action.required and not action.option_strings else f"[{words}]"


def _flags(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction | argparse._HelpAction):
            continue
        names = [" ".join(filter(None, [name, str(action.metavar or "")])) for name in action.option_strings]
        words = ", ".join(f"`{name}`" for name in names or [str(action.metavar)])
        text = "print the version" if isinstance(action, argparse._VersionAction) else action.help
        yield f"| {words} | {text or ''} |"


# -- journal ------------------------------------------------------------------------------------------------------


def journal() -> str:
    """What a log entry has."""
    parts = [
        "# Journal",
        NOTE,
        "Under systemd the daemon writes to the journal's native protocol, with these fields:",
        "",
        "| field | what it holds |",
        "| --- | --- |",
        *(f"| `{field(name)}` | {words} |" for name, words in FIELDS.items()),
        "",
        "    journalctl -u gitopsd GITOPSD_CYCLE=12",
        "    journalctl -u gitopsd GITOPSD_STATE=verify -o verbose",
        "",
        "On a terminal it writes readable text, elsewhere JSON lines; `gitopsd --log` chooses (`journal`, `text`, `json`).",
        "",
        "switch-to-configuration runs in a unit of its own:",
        "",
        "    journalctl -u nixos-rebuild-switch-to-configuration",
        "",
        "## Message ids",
        "",
        "Events that people alert on have a `MESSAGE_ID` that never changes:",
        "",
        "    journalctl MESSAGE_ID=" + MESSAGE_IDS["rolled back"],
        "",
        "With the message catalog of gitopsd installed (`packaging/gitopsd.catalog`), `journalctl -x` shows beside each of them",
        "what it means for the machine, and what to do:",
        "",
        "    journalctl -x -u gitopsd -p warning",
        "",
        "| event | `MESSAGE_ID` | when |",
        "| --- | --- | --- |",
        *(f"| {event} | `{number}` | {catalog()[number][0]} |" for event, number in MESSAGE_IDS.items()),
        "",
        "## What the catalog says",
        *(
            line
            for event, number in MESSAGE_IDS.items()
            for line in ("", f"### {event}", "", re.sub(r"@(\w+)@", r"`\1`", _blocks(catalog()[number][1])))
        ),
    ]
    return "\n".join(parts) + "\n"


def _blocks(text: str) -> str:
    """Commands as blocks of Markdown, which wants an empty line on both sides."""
    lines: list[str] = []
    for line in text.splitlines():
        if lines and lines[-1] and line and lines[-1].startswith("    ") != line.startswith("    "):
            lines.append("")
        lines.append(line)
    return "\n".join(lines)


def field(name: str) -> str:
    """The journal's name of a key of a log call."""
    return name if name.isupper() else f"GITOPSD_{ {'machine_event': 'event'}.get(name, name).upper() }"


FIELDS = {
    "MESSAGE": "the event, and after a colon what it is about",
    "MESSAGE_ID": "which event, for those below",
    "PRIORITY": "2 blocked, 3 failed or rolled back, 4 somebody should know, 6 everything else",
    "cycle": "the cycle's number, in everything that is logged while it runs",
    "state": "the state",
    "machine_event": "what the step said to the machine",
    "outcome": "how the cycle ended",
    "revision": "the configuration's revision",
    "toplevel": "the store path that was built from it",
    "user": "whose dotfiles",
    "message": "what `MESSAGE` has after the colon",
    "detail": "the whole of it, where `GITOPSD_MESSAGE` is its first line only",
    "method": "the method on the socket that failed",
    "peer": "who called it",
    "reason": "why a client's connection was closed",
    "uid": "that client's user id",
    "pid": "that client's process",
    "error": "why the socket could not accept a client for a moment",
}


def catalog() -> dict[str, tuple[str, str]]:
    """The message catalog (systemd.io/CATALOG): by MESSAGE_ID, the subject and the text."""
    text = (Path(__file__).parents[1] / "packaging" / "gitopsd.catalog").read_text(encoding="utf-8")
    entries = {}
    for entry in re.split(r"^-- (?=[0-9a-f]{32}$)", text, flags=re.MULTILINE)[1:]:
        head, _, words = entry.partition("\n\n")
        number, *lines = head.splitlines()
        headers = dict(line.split(": ", 1) for line in lines)
        entries[number] = (headers["Subject"], words.strip())
    return entries


# -- metrics -------------------------------------------------------------------------------------------------------


def metrics() -> str:
    """The figures, from a registry with a snapshot that has everything."""
    meter = Metrics()
    path = types.StorePath("/nix/store/" + "0" * 32 + "-nixos-system")
    revision = types.Revision("0" * 40)
    meter.show(
        lambda: types.Snapshot(
            version="",
            host="",
            state=machine.State.idle,
            since=0,
            people=(types.PersonFacts(user="x"),),
            deployed=types.Deployed(revision=revision, toplevel=path, at=0),
            boot=types.BootFacts(golden=path),
        )
    )
    rows = []
    for family in meter.families():
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        name = {"counter": f"{family.name}_total", "info": f"{family.name}_info"}.get(family.type, family.name)
        rows.append(
            f"| `{name}` | {family.type} | {', '.join(f'`{label}`' for label in labels)} | {family.documentation} |"
        )
    parts = [
        "# Metrics",
        NOTE,
        "`gitopsctl metrics` prints them. They are written to `metrics.textfile` when something changes, and served at",
        "`metrics.listen` if that is set ([configuration](configuration.md)); how to have them collected is told",
        "[here](../how-to/monitor.md). No label has a path of a home or a text that a person wrote.",
        "",
        "| metric | type | labels | meaning |",
        "| --- | --- | --- | --- |",
        *sorted(rows),
        "",
        "Counters and histograms begin anew when the daemon starts; `increase()` knows that.",
    ]
    return "\n".join(parts) + "\n"


# -- writing ------------------------------------------------------------------------------------------------------


def _sentence(words: str) -> str:
    words = " ".join(words.split())
    return f"{words[:1].upper()}{words[1:].rstrip('.')}." if words else ""


PAGES: dict[str, Callable[[], str]] = {
    "docs/reference/configuration.md": configuration,
    "docs/reference/states.md": states,
    "docs/reference/socket.md": socket,
    "docs/reference/cli.md": command_line,
    "docs/reference/journal.md": journal,
    "docs/reference/metrics.md": metrics,
    "docs/reference/module.md": lambda: nixoptions.page(ROOT),
    "packaging/options.nix": nixoptions.module,
}


def main() -> int:
    """Write the pages, or check them."""
    check = sys.argv[1:] == ["--check"]
    stale = []
    for name, page in PAGES.items():
        path, text = ROOT / name, page()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                path.write_text(text, encoding="utf-8")
    print(f"stale: {', '.join(stale)}" if check and stale else f"written: {', '.join(stale) or 'nothing new'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
