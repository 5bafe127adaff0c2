# ruff: noqa: INP001, SLF001 - beside the pages that are made with it; it reads the parser's private parts
"""Completions and man pages, from the parser of `gitopsctl`. For packagers: `PYTHONPATH=. python -m docs.shell DIRECTORY`.

They are made when a package is built, so that they cannot be stale. What does that elsewhere (shtab, argparse-manpage)
renders what argparse prints, which differs between versions of Python, and knows nothing of users as arguments.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gitopsd import __version__
from gitopsd.cli import __main__ as cli


class Verb(NamedTuple):
    """One place in the tree of verbs.

    `path` is empty for the program itself; `inner` are the verbs below, with their help; `flags` the options, with
    their help; `values` what an option or an argument (by metavar) may be.
    """

    path: tuple[str, ...]
    help: str
    inner: dict[str, str]
    flags: dict[str, str]
    values: dict[str, str]
    takes: str


def tree(parser: argparse.ArgumentParser, path: tuple[str, ...] = (), text: str = "") -> Iterator[Verb]:
    """Every verb, the program itself first."""
    inner: dict[str, str] = {}
    flags: dict[str, str] = {}
    values: dict[str, str] = {}
    takes = ""
    below: list[tuple[str, argparse.ArgumentParser, str]] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            inner = {name: helps.get(name, "") for name in action.choices}
            below = [(name, verb, inner[name]) for name, verb in action.choices.items()]
        elif action.option_strings:
            for flag in action.option_strings:
                flags[flag] = str(action.help or "")
                if action.nargs != 0:
                    values[flag] = " ".join(map(str, action.choices or ())) or f"<{action.metavar}>"
        else:
            takes = " ".join(map(str, action.choices or ())) or f"<{action.metavar}>"
    yield Verb(path, text or parser.description or "", inner, flags, values, takes)
    for name, verb, words in below:
        yield from tree(verb, (*path, name), words)


# -- completions --------------------------------------------------------------------------------------------------

_BASH = """\
# bash completion for gitopsctl; made by docs/shell.py
_gitopsctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path="" word words="" i
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case "$path/$word" in
@VERBS@) path="$path/$word" ;;
        esac
    done
    case "$path $prev" in
@VALUES@
        *)
            case "$path" in
@WORDS@
            esac
            ;;
    esac
    case "$words" in
        "<USER>") COMPREPLY=($(compgen -u -- "$cur")) ;;
        "<FILE>" | "<PATH>") COMPREPLY=($(compgen -f -- "$cur")) ;;
        "<"*) COMPREPLY=() ;;
        *) COMPREPLY=($(compgen -W "$words" -- "$cur")) ;;
    esac
    if [[ $cur != -* ]]; then
        case "$path $prev" in
@USERS@) COMPREPLY+=($(compgen -u -- "$cur")) ;;
@FILES@) COMPREPLY+=($(compgen -f -- "$cur")) ;;
        esac
    fi
}
complete -F _gitopsctl gitopsctl
"""


def bash(verbs: list[Verb]) -> str:
    """A completion for bash: verbs, options, what they may be, users and files."""
    nested = [verb for verb in verbs if verb.path]
    values = [
        f'        "{_slashed(verb)} {flag}") words="{value}" ;;'
        for verb in verbs
        for flag, value in verb.values.items()
    ]
    words = [
        f'                "{_slashed(verb)}") words="{" ".join([*verb.inner, *verb.flags, *_choices(verb)])}" ;;'
        for verb in verbs
    ]
    return (
        _BASH.replace("@VERBS@", "            " + " | ".join(f'"{_slashed(verb)}"' for verb in nested))
        .replace("@VALUES@", "\n".join(values))
        .replace("@WORDS@", "\n".join(words))
        .replace("@USERS@", _positions(verbs, "<USER>"))
        .replace("@FILES@", _positions(verbs, "<FILE>"))
    )


def _slashed(verb: Verb) -> str:
    return "".join(f"/{name}" for name in verb.path)


def _choices(verb: Verb) -> list[str]:
    return [] if verb.takes.startswith("<") else verb.takes.split()


def _positions(verbs: list[Verb], takes: str) -> str:
    found = [f'"{_slashed(verb)} {verb.path[-1]}"' for verb in verbs if verb.takes == takes]
    return "            " + (" | ".join(found) or '"none"')


def zsh(verbs: list[Verb]) -> str:
    """A completion for zsh, with what each verb and option means."""
    places = "|".join(_slashed(verb) for verb in verbs if verb.path)
    lines = ["#compdef gitopsctl", "# made by docs/shell.py", "", "_gitopsctl() {", '    local place="" word']
    lines += ["    local -a offers", '    for word in "${(@)words[2,CURRENT-1]}"; do', '        case "$place/$word" in']
    lines += [f'            {places}) place="$place/$word" ;;', "        esac", "    done", '    case "$place" in']
    for verb in verbs:
        lines.append(f'        "{_slashed(verb)}") offers=(')
        for name, text in (verb.inner | verb.flags).items():
            lines.append(f"            {_quoted(f'{name}:{text}')}")
        lines += [f"            {_quoted(choice)}" for choice in _choices(verb)]
        lines.append("        ) ;;")
    lines += ["    esac", "    _describe gitopsctl offers"]
    for takes, action in (("<USER>", "_users"), ("<FILE>", "_files")):
        places = "|".join(_slashed(verb) for verb in verbs if verb.takes == takes)
        if places:
            lines += [f'    case "$place" in {places}) {action} ;; esac']
    return "\n".join([*lines, "}", '_gitopsctl "$@"', ""])


def fish(verbs: list[Verb]) -> str:
    """A completion for fish."""
    lines = ["# made by docs/shell.py", "complete -c gitopsctl -f"]
    for verb in verbs:
        seen = [f"__fish_seen_subcommand_from {name}" for name in verb.path]
        without = [f"not __fish_seen_subcommand_from {' '.join(verb.inner)}"] if verb.inner else []
        condition = _quoted("; and ".join([*seen, *without])) if seen or without else "''"
        for name, text in verb.inner.items():
            lines.append(f"complete -c gitopsctl -n {condition} -a {name} -d {_quoted(text)}")
        for flag, text in verb.flags.items():
            kind = "-l" if flag.startswith("--") else "-s"
            value = verb.values.get(flag, "")
            more = "" if not value else " -x" if value.startswith("<") else f" -x -a {_quoted(value)}"
            lines.append(f"complete -c gitopsctl -n {condition} {kind} {flag.lstrip('-')}{more} -d {_quoted(text)}")
        dynamic = {"<USER>": "'(__fish_complete_users)'", "<FILE>": "'(__fish_complete_path)'"}.get(verb.takes)
        given = dynamic or (_quoted(verb.takes) if verb.takes and not verb.takes.startswith("<") else "")
        if given:
            lines.append(f"complete -c gitopsctl -n {condition} -a {given}")
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "\u2019") + "'"


# -- man pages ----------------------------------------------------------------------------------------------------


def gitopsctl_1(verbs: list[Verb]) -> str:
    """The man page of the command line."""
    program = verbs[0]
    lines = [f'.TH GITOPSCTL 1 "" "gitopsd {__version__}" "gitopsd"', ".SH NAME"]
    lines += [r"gitopsctl \- ask gitopsd what it does, and what it should do", ".SH SYNOPSIS", ".B gitopsctl"]
    lines += [r"[\fIOPTION\fR...] \fIVERB\fR [\fIARGUMENT\fR...]", ".SH DESCRIPTION", _roff(program.help)]
    lines += ["The result goes to standard output, talk to standard error.", ".SH VERBS"]
    for verb in verbs[1:]:
        if verb.inner:
            continue
        lines += [
            ".TP",
            rf"\fB{_roff(' '.join(verb.path))}\fR {_roff(_argument(verb.takes))}".rstrip(),
            _roff(verb.help) + ".",
        ]
        own = {flag: text for flag, text in verb.flags.items() if flag not in {*program.flags, "-h", "--help"}}
        for flag, text in own.items():
            lines += [".RS", ".TP", rf"\fB{_roff(flag)}\fR {_roff(_argument(verb.values.get(flag, '')))}".rstrip()]
            lines += [_roff(text) + ".", ".RE"]
    lines += [".SH OPTIONS"]
    for flag, text in program.flags.items():
        lines += [
            ".TP",
            rf"\fB{_roff(flag)}\fR {_roff(_argument(program.values.get(flag, '')))}".rstrip(),
            _roff(text) + ".",
        ]
    lines += [".SH EXIT STATUS"]
    for status, words in EXITS.items():
        lines += [".TP", str(status), f"{words}."]
    lines += [".SH FILES", ".TP", ".I /etc/gitopsd/config.toml", "The configuration.", ".TP"]
    lines += [".I /run/gitopsd/io.gitopsd", "The daemon's socket.", ".SH SEE ALSO"]
    return "\n".join([*lines, ".BR gitopsd (8), varlinkctl (1), chezmoi (1)", ""])


EXITS = {
    0: "done; being offline and parked conflicts included",
    1: "the cycle failed",
    2: "usage or configuration",
    3: "the daemon cannot be reached",
    4: "not permitted",
    5: "blocked: a person is needed",
}


def gitopsd_8() -> str:
    """The man page of the daemon."""
    return f"""\
.TH GITOPSD 8 "" "gitopsd {__version__}" "gitopsd"
.SH NAME
gitopsd \\- keeps dotfiles and the NixOS system in step through git
.SH SYNOPSIS
.B gitopsd
[\\fB\\-\\-config\\fR \\fIFILE\\fR] [\\fB\\-\\-state\\-dir\\fR \\fIDIRECTORY\\fR] [\\fB\\-\\-socket\\fR \\fIPATH\\fR]
[\\fB\\-\\-log\\fR \\fIHOW\\fR]
.SH DESCRIPTION
The daemon is started by systemd as gitopsd.service. It runs one cycle at a time: fetch, capture, push, pull, build,
switch, verify; and rollback, if a new system does not prove good. Ask it with
.BR gitopsctl (1).
.SH SIGNALS
.TP
SIGHUP
Read the configuration again. A file with faults is refused, and the one before it stays in force.
.TP
SIGTERM
Stop. Before a switch the cycle is cancelled; from the switch on, the next start goes on.
.SH FILES
.TP
.I /etc/gitopsd/config.toml
The configuration.
.TP
.I /var/lib/gitopsd
The state: the record, the mirror of the configuration, and roots of builds.
.TP
.I /var/lib/chezmoi-sync/last-sync-status
The last sync in one word, for scripts.
.SH SEE ALSO
.BR gitopsctl (1),
.BR systemd.service (5)
"""


def _argument(takes: str) -> str:
    return takes.strip("<>") if takes.startswith("<") else takes.replace(" ", "|")


def _roff(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


# -- writing ------------------------------------------------------------------------------------------------------


def files() -> dict[str, str]:
    """All of them: name → text."""
    verbs = list(tree(cli._parser()))
    return {
        "completions/gitopsctl.bash": bash(verbs),
        "completions/_gitopsctl": zsh(verbs),
        "completions/gitopsctl.fish": fish(verbs),
        "man/gitopsctl.1": gitopsctl_1(verbs),
        "man/gitopsd.8": gitopsd_8(),
    }


def main() -> None:
    """Write them below the directory that is named."""
    for name, text in files().items():
        path = Path(sys.argv[1]) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
