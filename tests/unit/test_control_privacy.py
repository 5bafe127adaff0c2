"""What concerns a person's home is for that person and the admins."""

import msgspec
import pytest
from unit.test_control_fakes import (
    KEN,
    NOBODY,
    NOW,
    RAIN,
    ROOT,
    WHEEL,
    detail,
    person,
    running,
    snapshot,
    summary,
    update,
)

from gitopsd.control.access import Peer
from gitopsd.control.privacy import View
from gitopsd.machine import State
from gitopsd.types import Attempt, CycleKind, Snapshot

BUSY = snapshot(
    state=State.push,
    cycle=running(7, State.push),
    activity="rain_secret_activity",
    attempt=Attempt(number=2, limit=5, next_try=NOW, cause="network", message="rain_secret_error"),
)


def text(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()


@pytest.mark.parametrize("peer", [ROOT, WHEEL], ids=str)
def test_admins_see_everything(peer: Peer) -> None:
    view = View(peer, BUSY)
    assert view.snapshot(BUSY) == BUSY
    assert view.detail(detail(5)) == detail(5)


def test_a_person_sees_their_own_home_and_nothing_of_another() -> None:
    shown = text(View(RAIN, BUSY).snapshot(BUSY))
    assert "rain_secret_captured" in shown
    assert "rain_secret_parked" in shown
    assert "ken_secret" not in shown


@pytest.mark.parametrize("peer", [KEN, NOBODY], ids=str)
def test_others_see_how_it_went_and_no_more(peer: Peer) -> None:
    shown = View(peer, BUSY).snapshot(BUSY)
    assert "rain_secret" not in text(shown)
    assert [(each.user, each.word) for each in shown.people] == [(each.user, each.word) for each in BUSY.people]
    assert shown.attempt is not None
    assert shown.attempt.cause == "network"
    assert shown.system == BUSY.system
    assert "rain_secret" not in text(View(peer, BUSY).detail(detail(5)))


def test_free_texts_of_a_sync_are_left_out() -> None:
    sync = summary(6, CycleKind.sync)
    assert View(RAIN, BUSY).summary(sync).message == ""
    assert View(RAIN, BUSY).summary(summary(5)).message != ""
    assert View(ROOT, BUSY).summary(sync) == sync


def test_what_the_system_half_says_is_for_everybody() -> None:
    building = msgspec.structs.replace(BUSY, state=State.build)
    assert View(KEN, building).snapshot(building).activity
    assert View(KEN, building).update(update(7, "copying")).line == "copying"


def test_lines_about_homes_are_for_the_only_person_they_can_be_about() -> None:
    line = update(7, "rain_secret_line", state=State.push)

    def sees(peer: Peer, now: Snapshot) -> bool:
        shown = View(peer, now).update(line)
        assert shown.state is State.push
        return shown.line != ""

    alone = snapshot(people=(person("rain"),))
    own = snapshot(cycle=running(7, State.push, users=("rain",)))
    other = snapshot(cycle=running(8, State.push, users=("rain",)))
    assert sees(ROOT, BUSY)
    assert not sees(RAIN, BUSY)
    assert sees(RAIN, alone)
    assert sees(RAIN, own)
    assert not sees(KEN, own)
    assert not sees(RAIN, other)
    assert not sees(NOBODY, snapshot(people=()))


def test_a_person_reads_the_texts_of_their_own_sync() -> None:
    own = msgspec.structs.replace(BUSY, cycle=running(7, State.push, users=("rain",)))
    assert View(RAIN, own).snapshot(own).activity == "rain_secret_activity"
    assert "rain_secret" not in text(View(KEN, own).snapshot(own))


def test_a_checkout_is_its_owners_and_only_its_owners() -> None:
    theirs = person("olga")
    shown = snapshot(people=(person("rain"),), checkout=theirs)
    view = View(RAIN, shown)  # the only person with dotfiles here, and yet not the only one with something to hide
    seen = view.snapshot(shown).checkout
    assert seen is not None
    assert (seen.user, seen.notices, seen.parked) == ("olga", (), ())
    mine = msgspec.structs.replace(shown, checkout=person("rain"))
    assert View(RAIN, mine).snapshot(mine).checkout == mine.checkout
    assert View(ROOT, shown).snapshot(shown) == shown
