"""`gitopsctl dotfiles` against a daemon on a real socket."""

import json
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from unit.test_cli_render import PLAIN, as_json
from unit.test_cli_run import finish, run, run_on_terminal
from unit.test_control_fakes import KEN, RAIN, Daemon, conflict, person, snapshot

from gitopsd.cli import __main__ as main
from gitopsd.cli import dotfiles, render, sides
from gitopsd.cli.terminal import cleaned
from gitopsd.errors import Cause, Failed, Transient
from gitopsd.types import Conflict, CycleKind, Outcome, Parked, PersonFacts, Side, Take


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with Daemon(tmp_path / "socket") as running_daemon:
        running_daemon.peer = RAIN
        yield running_daemon


def shown(*conflicts: Conflict, offline: bool = False) -> str:
    answer = {"user": "rain", "offline": offline, "conflicts": [as_json(each) for each in conflicts]}
    return "\n".join(sides.conflicts(cleaned([answer]), PLAIN))


# What is shown.


def test_a_conflict_is_shown_with_both_sides_and_what_to_type() -> None:
    assert shown(conflict()) == (
        ".bashrc: griefling has a version parked on gitopsd/griefling (cccccccccccc)"
        " that conflicts with the trunk's (dddddddddddd)\n"
        "  - theirs, the trunk's version: 15 bytes\n"
        "  + ours, parked by griefling: 15 bytes\n"
        "    @@ -1,2 +1,2 @@\n"
        "    -one of a\n"
        "    +one of b\n"
        "     two\n"
        "  settle it with one of:\n"
        "    gitopsctl dotfiles resolve .bashrc --take theirs  # the trunk's version, the lines with -\n"
        "    gitopsctl dotfiles resolve .bashrc --take ours    # griefling's version, the lines with +\n"
        "    gitopsctl dotfiles resolve .bashrc --take union   # the lines of both\n"
        "    gitopsctl dotfiles resolve .bashrc --edit         # in your editor"
    )


def test_two_hosts_that_parked_one_file_are_told_apart_in_the_commands() -> None:
    text = shown(conflict(), conflict(host="malphas"))
    assert "resolve .bashrc --host griefling --take ours" in text
    assert "resolve .bashrc --host malphas --take ours" in text


def test_a_conflict_without_lines_is_settled_by_taking_a_side() -> None:
    text = shown(conflict("pic ture", ours=Side(exists=True, size=1), theirs=Side(), merged=None))
    assert "theirs, the trunk's version: no such file" in text
    assert "ours, parked by griefling: 1 byte, not shown (binary or long)" in text
    assert "resolve 'pic ture' --take ours" in text
    assert "union" not in text
    assert "--edit" not in text


def test_a_long_difference_is_cut() -> None:
    text = shown(conflict(theirs=Side(exists=True, size=9, text="\n".join(map(str, range(99))))))
    assert "more lines" in text
    assert len(text.splitlines()) < 30


def test_what_is_settled_and_what_is_old_is_said() -> None:
    assert shown(conflict(settled=True), offline=True) == (
        "the remote cannot be reached: this is how it was last seen\n"
        ".bashrc: settled; griefling takes that in at its next sync"
    )
    assert shown() == "nothing is parked"


def test_escapes_and_forged_lines_do_not_reach_the_terminal() -> None:
    evil = "a\n\x1b]0;owned\x07\u202e"
    text = shown(conflict(evil, evil, bookmark=evil, ours=Side(exists=True, size=5, text=f"{evil}\r\n")))
    assert text.replace("\n", "").isprintable()
    assert not any(line.startswith("\ufffd]0;") for line in text.splitlines())


def test_status_names_what_other_hosts_have_parked() -> None:
    parked = Parked(path="dot_bashrc", bookmark="gitopsd/griefling", commit="c" * 40, file=".bashrc")
    rows = render.person(as_json(PersonFacts(user="rain", trunk="f" * 40, elsewhere=(parked,))), PLAIN)
    assert rows == [
        "rain: success",
        "  trunk: ffffffffffff",
        "  parked: .bashrc on gitopsd/griefling (cccccccccccc)",
        "    settle: gitopsctl dotfiles resolve .bashrc --host griefling --take ours|theirs|union",
    ]


# What is asked.


async def test_status_is_that_of_the_person_who_is_named(daemon: Daemon) -> None:
    ran = await run(daemon, "dotfiles", "status", "rain")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("rain: conflicts-preserved\n  trunk: ffffffffffff\n")
    assert "ken" not in ran.out
    assert [each["user"] for each in json.loads((await run(daemon, "dotfiles", "status", "ken", "--json")).out)] == [
        "ken"
    ]
    assert (await run(daemon, "dotfiles", "status", "nobody")).code == 2


async def test_conflicts_are_listed_and_private(daemon: Daemon) -> None:
    ran = await run(daemon, "dotfiles", "conflicts", "rain")
    assert (ran.code, ran.err) == (0, "")
    assert "-one of a\n" in ran.out
    assert (
        json.loads((await run(daemon, "dotfiles", "conflicts", "rain", "--json")).out)["conflicts"][0]["settled"]
        is False
    )
    daemon.peer = KEN
    refused = await run(daemon, "dotfiles", "conflicts", "rain")
    assert (refused.code, refused.out) == (4, "")


async def test_resolve_settles_shows_and_follows(daemon: Daemon) -> None:
    await finish(daemon, Outcome.success)
    ran = await run(
        daemon, "dotfiles", "resolve", "./.bashrc", "--take", "ours", "--host", "griefling", "--user", "rain"
    )
    assert (ran.code, ran.err) == (0, "")
    assert daemon.supervisor.deciding["rain"].asked == [(".bashrc", Take.ours, "griefling", "")]
    assert [request[0:3] for request in daemon.supervisor.requests] == [(CycleKind.sync, "rain", ("rain",))]
    assert "settled for all hosts with the version that griefling had parked (ours) (eeeeeeeeeeee)" in ran.out
    assert "-one of a\n" in ran.out
    assert ran.out.splitlines()[-1].startswith("cycle 7: success")
    first = (await run(daemon, "dotfiles", "resolve", ".x", "--take", "union", "--user", "rain", "--json")).out
    assert json.loads(first.splitlines()[0])["cycle"] == 7


async def test_a_file_is_named_by_its_path_in_the_home_too(daemon: Daemon) -> None:
    home = Path("~root").expanduser()
    wanted = f"{home}/.config/app.conf"
    await run(daemon, "dotfiles", "resolve", wanted, "--take", "ours", "--user", "root", "--no-wait")
    assert dotfiles._named(wanted, "root") == ".config/app.conf"
    assert dotfiles._named("~/x", "root") == "x"
    assert dotfiles._named(".bashrc", "root") == ".bashrc"


async def test_what_cannot_be_settled_is_1_and_says_what_to_do(daemon: Daemon) -> None:
    choices = daemon.supervisor.deciding["rain"]
    choices.refusal = Failed("it is parked on more than one host: a, b", meaning="m", advice="--host a")
    ran = await run(daemon, "dotfiles", "resolve", ".x", "--take", "ours", "--user", "rain")
    assert (ran.code, ran.err) == (1, "gitopsctl: it is parked on more than one host: a, b\n  m\n  try: --host a\n")
    choices.refusal = Transient("cannot push", cause=Cause.network, meaning="nothing was changed")
    assert (
        "nothing was changed"
        in (await run(daemon, "dotfiles", "resolve", ".x", "--take", "ours", "--user", "rain")).err
    )
    daemon.supervisor.deciding.clear()
    assert (await run(daemon, "dotfiles", "conflicts", "rain")).code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["resolve", ".x"],
        ["resolve", ".x", "--take", "mine"],
        ["resolve", ".x", "--take", "ours", "--edit"],
        ["adopt", ".x"],
        ["adopt", "--mine"],
        [],
    ],
)
def test_usage_is_checked_before_anything_is_asked(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.run(["dotfiles", *arguments])
    assert caught.value.code == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="asks as root")
async def test_root_has_to_say_whose(daemon: Daemon) -> None:
    for words in (["resolve", ".x", "--take", "ours"], ["adopt", "--mine", ".x"], ["init"]):
        ran = await run(daemon, "dotfiles", *words)
        assert (ran.code, "root has to say whose" in ran.err) == (2, True)
    daemon.peer = msgspec.structs.replace(RAIN, admin=True)
    ran = await run(daemon, "dotfiles", "conflicts")
    assert ran.out.startswith("rain:\n")
    assert "\nken:\n" in ran.out


async def test_init_names_what_needs_a_decision(daemon: Daemon) -> None:
    ran = await run(daemon, "dotfiles", "init", "rain", "--no-wait")
    assert ran.code == 0
    assert ran.out == (
        "/home/rain/.local/share/chezmoi is on the trunk now\n"
        "note: .vimrc: .vimrc differs\n"
        "  try: gitopsctl dotfiles adopt --mine ~/.vimrc\n"
    )


async def test_adopt_names_the_backup(daemon: Daemon) -> None:
    ran = await run(daemon, "dotfiles", "adopt", "--theirs", ".vimrc", "--user", "rain", "--no-wait")
    assert (ran.code, ran.out) == (
        0,
        ".vimrc: the home has the repository's version now; yours is /backup/x\n",
    )
    await run(daemon, "dotfiles", "adopt", ".a", ".b", "--mine", "--user", "rain", "--no-wait")
    assert daemon.supervisor.deciding["rain"].asked == [(".vimrc", False), (".a", ".b", True)]


# In an editor.


def editor(tmp_path: Path, script: str) -> dict[str, str]:
    program = tmp_path / "editor"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    return {"EDITOR": str(program), "TMPDIR": str(tmp_path)}


EDIT = ("dotfiles", "resolve", ".bashrc", "--edit", "--user", "rain", "--no-wait")


async def test_what_the_person_writes_is_submitted(daemon: Daemon, tmp_path: Path) -> None:
    sees = f'cp "$1" {tmp_path}/seen; ls -ld "${{1%/*}}" > {tmp_path}/mode; printf "both\\ntwo\\n" > "$1"'
    code, written = await run_on_terminal(daemon, *EDIT, **editor(tmp_path, sees))
    assert code == 0, written
    assert "settled for all hosts with what you wrote" in written
    assert (tmp_path / "seen").read_text().startswith("<<<<<<< main\none of a\n")
    assert (tmp_path / "mode").read_text().startswith(stat.filemode(stat.S_IFDIR | 0o700))
    assert daemon.supervisor.deciding["rain"].asked == [(".bashrc", "both\ntwo\n", "griefling", "c" * 40)]
    assert not list(tmp_path.glob("gitopsctl-*"))


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 1", "the editor failed"),
        ("true", "there are conflict markers left"),
        ('head -c 70000 /dev/zero | tr "\\0" x > "$1"', "too long"),
    ],
)
async def test_what_cannot_be_submitted_is_kept(daemon: Daemon, tmp_path: Path, script: str, why: str) -> None:
    code, written = await run_on_terminal(daemon, *EDIT, **editor(tmp_path, script))
    assert code == 1
    assert why in written
    assert "nothing was changed" in written
    assert list(tmp_path.glob("gitopsctl-*/.bashrc"))
    assert daemon.supervisor.deciding["rain"].asked == []


async def test_a_text_that_is_refused_is_kept(daemon: Daemon, tmp_path: Path) -> None:
    daemon.supervisor.deciding["rain"].refusal = Failed("another version is parked meanwhile")
    code, written = await run_on_terminal(daemon, *EDIT, **editor(tmp_path, 'echo both > "$1"'))
    assert code == 1
    assert "another version is parked meanwhile" in written
    assert "your text is in" in written
    assert (next(tmp_path.glob("gitopsctl-*")) / ".bashrc").read_text() == "both\n"


async def test_an_editor_needs_a_terminal_and_one_conflict_of_lines(daemon: Daemon) -> None:
    assert (await run(daemon, *EDIT)).code == 2
    choices = daemon.supervisor.deciding["rain"]
    for listed, why in (
        ((), "is not parked"),
        ((conflict(), conflict(host="malphas")), "--host griefling or --host malphas"),
        ((conflict(merged=None),), "no text, or too long"),
    ):
        choices.listed = listed
        code, written = await run_on_terminal(daemon, *EDIT, EDITOR="false")
        assert code == 2
        assert why in written


async def test_an_older_daemon_has_no_such_fields(daemon: Daemon) -> None:
    least = {"user": "rain", "word": "success"}
    assert render.person(least, PLAIN) == ["rain: success"]
    daemon.supervisor.current = snapshot(people=(person("rain"),))
    assert (await run(daemon, "dotfiles", "status", "rain")).code == 0
