"""Decisions."""

import pytest
from unit.fakes import NEW, OLD, REV_A, REV_B, cycle, unit

from gitopsd.errors import Cause, Failed, PersonNeeded, Rejected, Transient
from gitopsd.machine import RESTING, TABLE, Event, State
from gitopsd.policy import (
    admits,
    after_error,
    broken,
    choose,
    is_drift,
    merge_requests,
    newly_failed,
    reads_switch,
    rest,
    still_starting,
    sum_up,
    unsteady,
)
from gitopsd.types import (
    CycleKind,
    Deployed,
    Facts,
    Outcome,
    PersonFacts,
    Rejection,
    Revision,
    Switching,
    SyncWord,
    SystemFacts,
)

STEP_STATES = [state for state in State if state not in RESTING]
DEPLOYED = Deployed(revision=REV_A, toplevel=OLD, at=1.0)
RUNS_OLD = SystemFacts(current=OLD, profile=OLD, generation=1)


def choice(head: Revision | None = REV_B, **changes: object) -> tuple[Revision | None, Outcome]:
    arguments = {
        "offline": False,
        "error": "",
        "deployed": DEPLOYED,
        "before": REV_A,
        "system": RUNS_OLD,
        "rejected": (),
        "descends": True,
        "accept_diverged": False,
    } | changes
    made = choose(head, **arguments)  # type: ignore[arg-type]
    assert made.message
    return made.deploy, made.outcome


def test_a_new_revision_is_deployed() -> None:
    assert choice() == (REV_B, Outcome.success)


def test_the_deployed_revision_is_not_deployed_again() -> None:
    assert choice(REV_A) == (None, Outcome.up_to_date)


def test_drift_is_corrected() -> None:
    assert choice(REV_A, system=SystemFacts(current=NEW))[0] == REV_A


def test_offline_ends_well() -> None:
    assert choice(offline=True) == (None, Outcome.offline)
    assert choice(None) == (None, Outcome.offline)


def test_a_remote_that_cannot_be_read_fails() -> None:
    assert choice(error="no such branch") == (None, Outcome.failed)


def test_a_rejected_revision_is_not_tried_again() -> None:
    no = Rejection(revision=REV_B, outcome=Outcome.build_failed, reason="x", cycle=3, at=1.0)
    assert choice(rejected=(no,)) == (None, Outcome.rejected)


def test_a_rewound_trunk_needs_a_person() -> None:
    assert choice(descends=False) == (None, Outcome.diverged)
    assert choice(descends=False, accept_diverged=True)[0] == REV_B


def test_a_rewound_trunk_is_refused_even_if_the_state_file_was_lost() -> None:
    assert choice(deployed=None, descends=False) == (None, Outcome.diverged)
    assert choice(deployed=None, before=None)[0] == REV_B


def test_nothing_known_is_no_drift() -> None:
    assert not is_drift(SystemFacts(), DEPLOYED)
    assert not is_drift(RUNS_OLD, None)
    assert is_drift(SystemFacts(current=NEW), DEPLOYED)


def test_two_requests_become_one_that_satisfies_both() -> None:
    a = cycle(kind=CycleKind.sync)
    merged = merge_requests(a, cycle(kind=CycleKind.upgrade))
    assert merged.kind is CycleKind.upgrade
    assert merged.id == a.id
    assert merged.users == ()


def test_units_on_their_way_are_waited_for_and_failed_ones_are_not() -> None:
    assert still_starting((unit("a.service", "activating"), unit("b.service"))) == ("a.service",)
    assert still_starting((unit("a.service", "reloading"), unit("b.mount", "maintenance"))) == ("a.service", "b.mount")
    assert broken((unit("a.service", "failed"),)) == "a.service has failed"
    assert "does not exist" in broken((unit("a.service", "inactive", loaded=False),))
    assert broken((unit("a.service"),)) == ""


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (unit("a.service"), ""),
        (unit("a.service", "reloading"), ""),
        (unit("a.service", "failed"), "did not stay active"),
        (unit("a.service", "maintenance"), "did not stay active"),
        (unit("a.service", restarts=1), "restarted"),
        (unit("a.service", pid=8), "restarted"),
    ],
)
def test_steady_means_the_same_process_all_the_time(now: object, said: str) -> None:
    problem = unsteady((unit("a.service"),), (now,))  # type: ignore[arg-type]
    assert (said in problem) if said else problem == ""


def test_only_new_failures_count() -> None:
    assert newly_failed(("old.service",), ("old.service",)) == ""
    assert newly_failed(("old.service",), ("new.service", "old.service")).startswith("new.service failed")


@pytest.mark.parametrize("status", [1, 2, 4, 100, 77])
def test_every_exit_status_of_a_switch_has_a_meaning(status: int) -> None:
    assert reads_switch(status)
    assert reads_switch(0) == ""


@pytest.mark.parametrize("state", STEP_STATES)
@pytest.mark.parametrize(
    "error", [RuntimeError("bug"), Transient("x", cause=Cause.network), Rejected("x"), Failed("x"), TimeoutError()]
)
@pytest.mark.parametrize("begun", [True, False])
def test_every_error_in_every_state_has_a_row_in_the_table(state: State, error: Exception, begun: bool) -> None:
    facts = Facts(switching=Switching(boot_id="b", previous=OLD, previous_generation=1) if begun else None)
    result = after_error(state, facts, error)
    assert (state, result.event) in {(source, event) for source, event, _ in TABLE}


def test_the_dotfiles_half_never_ends_the_cycle() -> None:
    for state in (State.fetch, State.capture, State.push):
        assert after_error(state, Facts(), RuntimeError("x")).event is Event.done


def test_a_transient_failure_never_rejects() -> None:
    switching = Switching(boot_id="b", previous=OLD, previous_generation=1)
    for state in STEP_STATES:
        for cause in Cause:
            assert not after_error(state, Facts(switching=switching), Transient("x", cause=cause)).reject


def test_a_switch_that_may_have_begun_is_undone() -> None:
    switching = Switching(boot_id="b", previous=OLD, previous_generation=1)
    assert after_error(State.switch, Facts(switching=switching), RuntimeError("x")).event is Event.undo
    assert after_error(State.switch, Facts(), RuntimeError("x")).event is Event.fail
    busy = Transient("somebody else's", cause=Cause.lock_held)
    assert after_error(State.switch, Facts(switching=switching), busy).event is Event.fail


def test_blocked_stops_upgrades_and_lets_dotfiles_go_on() -> None:
    with pytest.raises(PersonNeeded, match="blocked: why") as caught:
        admits(CycleKind.upgrade, (), ("rain",), "why")
    assert "gitopsctl retry" in caught.value.advice
    admits(CycleKind.sync, (), ("rain",), "why")
    assert rest(Event.settled, State.pull, "why", ()) is Event.block
    assert rest(Event.settled, State.pull, "", ()) is Event.settled


def test_dotfiles_that_are_not_here_are_a_clear_error() -> None:
    with pytest.raises(Failed, match="the dotfiles of olga are not kept in step on this host"):
        admits(CycleKind.sync, ("olga",), ("rain",), "")
    with pytest.raises(Failed, match="nobody's dotfiles are"):
        admits(CycleKind.sync, (), (), "")
    admits(CycleKind.upgrade, (), (), "")


def test_a_cycle_tells_both_halves() -> None:
    bad = (PersonFacts(user="rain", word=SyncWord.push_failed),)
    assert sum_up(Outcome.success, "deployed", bad, CycleKind.upgrade) == (
        Outcome.failed,
        "dotfiles of rain: push-failed; deployed",
    )
    assert sum_up(Outcome.rolled_back, "back", bad, CycleKind.upgrade)[0] is Outcome.rolled_back


@pytest.mark.parametrize("state", [state for state, event, _ in TABLE if event is Event.settled])
def test_a_cycle_whose_dotfiles_failed_rests_in_failed(state: State) -> None:
    bad = (PersonFacts(user="rain", word=SyncWord.push_failed),)
    assert rest(Event.settled, state, "", bad) is Event.fail
    assert (state, Event.fail) in {(source, event) for source, event, _ in TABLE}


def test_offline_and_parked_are_no_failure() -> None:
    offline = (PersonFacts(user="rain", word=SyncWord.fetch_failed, offline=True),)
    assert sum_up(Outcome.success, "x", offline, CycleKind.sync)[0] is Outcome.offline
    parked = (PersonFacts(user="rain", word=SyncWord.conflicts_preserved),)
    assert sum_up(Outcome.success, "x", parked, CycleKind.sync)[0] is Outcome.success
