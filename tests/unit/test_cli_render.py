"""What the socket says, as lines for a person."""

import json
from typing import Any

import msgspec
import pytest
from unit.test_control_fakes import NOW, OTHER, TOPLEVEL, detail, person, rejection, running, snapshot, summary

from gitopsd.cli import render
from gitopsd.cli.render import Look
from gitopsd.cli.terminal import cleaned
from gitopsd.machine import State
from gitopsd.types import Attempt, CycleKind, Notice, Outcome, Parked, PersonFacts, SyncWord, SystemFacts

PLAIN = Look(NOW)


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "clock", lambda at: f"T{at - NOW:+.0f}")


def as_json(value: msgspec.Struct) -> Any:
    return json.loads(msgspec.json.encode(value))


def status(look: Look = PLAIN, **changes: Any) -> str:
    return "\n".join(render.status(as_json(snapshot(**changes)), look))


def test_a_host_at_rest_on_one_page() -> None:
    calm = snapshot(people=(PersonFacts(user="rain"),))
    assert render.status(as_json(calm), PLAIN) == [
        "● malphas: idle since T-600, 10 min ago (gitopsd 0.1.0)",
        "     upgrade: success, 10 min ago (cycle 5, for timer)",
        "        sync: success, 10 min ago (cycle 6, for timer)",
        "    deployed: 1a2b3c4d5e6f, 10 min ago",
        f"              {TOPLEVEL}",
        "      system: generation 213 runs and is the boot default",
        "    dotfiles: rain: success",
    ]


def test_a_host_in_trouble_says_what_to_type() -> None:
    shown = status(
        state=State.blocked,
        blocked="rollback failed: unit sshd.service\nsecond line",
        last_upgrade=summary(5, outcome=Outcome.blocked),
        rejected=(rejection("error: attribute 'x' missing\n  at flake.nix:3"),),
        config_error="config.toml has 1 fault:\n  verify.soak: found 'x'",
    )
    assert (
        "     blocked: rollback failed: unit sshd.service\n              second line\n"
        "              repair the cause, then: sudo gitopsctl retry\n" in shown
    )
    assert "blocked, 10 min ago (cycle 5, for timer)\n              upgrade_secret_message\n" in shown
    assert "gitopsctl show 5" in shown
    assert "    rejected: 999999999999, build-failed, 2 h ago (cycle 4)\n" in shown
    assert "attribute 'x' missing" in shown
    assert "at flake.nix:3" not in shown  # one sentence here; `show` has the rest
    assert "the newest file is refused, the one before it is in force" in shown


def test_blocked_is_said_while_a_sync_runs() -> None:
    assert "push (blocked) since" in status(state=State.push, blocked="x", cycle=running())


def test_work_under_way_with_its_retry_and_what_follows() -> None:
    shown = status(
        state=State.build,
        activity="building nixos-system-malphas",
        cycle=running(7, State.build, users=("rain", "ken")),
        attempt=Attempt(number=2, limit=5, next_try=NOW + 12, cause="network", message="cannot fetch from origin"),
        pending=8,
        pending_kind=CycleKind.sync,
    )
    assert (
        "       cycle: 7, upgrade of rain, ken for timer, 1 min\n              building nixos-system-malphas\n" in shown
    )
    assert "       retry: attempt 2 of 5 in 12 s (network)\n              cannot fetch from origin\n" in shown
    assert "     pending: cycle 8 (sync) follows\n" in shown


def test_a_system_that_is_not_what_was_deployed() -> None:
    shown = status(system=SystemFacts(current=OTHER, profile=TOPLEVEL, generation=213, drift=True))
    assert f"     running: not the deployed system: {OTHER}\n" in shown
    assert "boot default: generation 213, the deployed system\n" in shown
    assert "       drift: what runs is not what was deployed last" in shown
    both = status(system=SystemFacts(current=OTHER, profile=OTHER, generation=214, drift=True))
    assert f"generation 214 runs and is the boot default, not the deployed system: {OTHER}" in both


def test_a_host_that_never_did_anything() -> None:
    shown = status(deployed=None, last_sync=None, last_upgrade=None, people=(), system=SystemFacts())
    assert "     upgrade: none yet\n        sync: none yet\n    deployed: nothing by gitopsd yet\n" in shown
    assert "boot default: unknown" in shown


def test_dotfiles_show_what_is_parked_and_what_to_do() -> None:
    shown = status(people=(person("rain"), PersonFacts(user="ken", word=SyncWord.fetch_failed, offline=True)))
    assert "    dotfiles: rain: conflicts-preserved\n" in shown
    assert (
        "                parked: rain_secret_parked on gitopsd/malphas (cccccccccccc)\n"
        "                  settle: gitopsctl dotfiles resolve rain_secret_parked --take ours|theirs|union\n" in shown
    )
    assert (
        "                note: .ssh/config: rain_secret_notice\n                  try: chezmoi add .ssh/config\n"
        in shown
    )
    assert "    dotfiles: ken: fetch-failed, offline" in shown


def test_it_reads_what_an_older_or_newer_daemon_says() -> None:
    least = {"version": "0", "host": "h", "state": "idle", "since": NOW, "from_the_future": {"x": 1}}
    assert render.status(least, PLAIN)[0].startswith("● h: idle")


def test_colour_is_in_the_look_only() -> None:
    assert "\x1b" not in status()
    assert "\x1b[1;32midle\x1b[0m" in status(Look(NOW, colour=True))
    assert "\x1b[1;31mblocked\x1b[0m" in status(Look(NOW, colour=True), state=State.blocked, blocked="x")


def test_escapes_and_forged_lines_do_not_reach_the_terminal() -> None:
    evil = "\x1b]0;owned\x07\x9b31m\u202etxt"
    forged = "a\n    deployed: nothing"
    hostile = snapshot(
        activity=forged,
        blocked=evil,
        cycle=running(),
        people=(
            PersonFacts(
                user="rain",
                parked=(Parked(path=forged + evil, bookmark=evil, commit="c" * 40),),
                notices=(Notice(what=forged, path=forged, advice=forged),),
            ),
        ),
    )
    lines = render.status(cleaned(as_json(hostile)), PLAIN)
    text = "".join(lines)
    assert text.isprintable()
    assert not any(line.startswith("    deployed: nothing") for line in lines)
    assert not any("\n" in line for line in lines)


def test_history_is_a_table_that_fits_the_terminal() -> None:
    cycles = [as_json(summary(12, outcome=Outcome.build_failed)), as_json(summary(5, CycleKind.sync))]
    cycles[1]["revision"] = None
    assert render.history(cycles, PLAIN) == [
        "CYCLE  KIND     STARTED  TOOK        OUTCOME       REVISION",
        "12     upgrade  T-700    1 min 40 s  build-failed  1a2b3c4d5e6f  upgrade_secret_message",
        "5      sync     T-700    1 min 40 s  success       -             sync_secret_message",
    ]
    narrow = render.history(cycles, Look(NOW, width=60, colour=True))
    assert narrow[1].endswith("…")
    assert "\x1b[31mbuild-failed\x1b[0m" in narrow[1]
    assert render.history([], PLAIN) == ["no cycle has finished yet"]


def test_a_cycle_with_its_steps() -> None:
    shown = "\n".join(render.detail(as_json(detail(5, Outcome.rolled_back)), PLAIN))
    assert shown.startswith("cycle 5: rolled-back\nupgrade for timer, T-700, took 1 min 40 s\n")
    assert " capture  10 s  rain_secret_step\n   build  1 min 30 s, 2 attempts  built it\n" in shown
    assert "  captured: rain_secret_captured" in shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0.9, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (130, "2 min 10 s"),
        (700, "11 min"),
        (3600, "1 h"),
        (11_100, "3 h 5 min"),
        (200_000, "2 days"),
    ],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert render.duration(seconds) == text


def test_every_outcome_that_is_not_fine_has_a_meaning() -> None:
    assert set(render.MEANINGS) | render.FINE == {outcome.value for outcome in Outcome}
