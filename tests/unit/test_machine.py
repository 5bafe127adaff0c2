"""The state machine is a table that can be trusted."""

import itertools

import pytest

from gitopsd.machine import RESTING, RESUME, TABLE, Event, IllegalEvent, Machine, Resume, State
from gitopsd.policy import CANCELLABLE


def test_no_two_rows_share_a_state_and_an_event() -> None:
    keys = [(source, event) for source, event, _ in TABLE]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(("source", "event", "target"), TABLE)
def test_each_row_leads_where_it_says(source: State, event: Event, target: State) -> None:
    assert Machine(source).apply(event) is target


def test_every_pair_without_a_row_raises_and_changes_nothing() -> None:
    rows = {(source, event) for source, event, _ in TABLE}
    others = [pair for pair in itertools.product(State, Event) if pair not in rows]
    assert len(others) > 40
    for state, event in others:
        machine = Machine(state)
        with pytest.raises(IllegalEvent, match=f"no transition for '{event.value}' in state '{state.value}'"):
            machine.apply(event)
        assert machine.state is state


def test_an_upgrade_passes_the_states_in_the_order_of_the_document() -> None:
    machine = Machine()
    seen = [machine.apply(event) for event in (Event.start, *[Event.done] * 6, Event.settled)]
    names = [state.value for state in seen]
    assert names == ["fetch", "capture", "push", "pull", "build", "switch", "verify", "idle"]


def test_every_state_can_be_reached_and_left() -> None:
    reached, frontier = {State.idle}, {State.idle}
    while frontier:
        frontier = {target for source, _, target in TABLE if source in frontier} - reached
        reached |= frontier
    assert reached == set(State)
    assert {source for source, _, _ in TABLE} == set(State)


def test_rollback_follows_switch_and_verify_only() -> None:
    assert {source for source, _, target in TABLE if target is State.rollback} == {State.switch, State.verify}


def test_every_cycle_can_come_to_rest_from_everywhere() -> None:
    can_rest = set(RESTING)
    while more := {source for source, _, target in TABLE if target in can_rest} - can_rest:
        can_rest |= more
    assert can_rest == set(State)


def test_a_cycle_can_be_dropped_only_before_the_system_may_have_changed() -> None:
    assert {source for source, event, _ in TABLE if event is Event.cancel} == CANCELLABLE
    assert not CANCELLABLE & {State.switch, State.verify, State.rollback}


def test_a_crash_resumes_every_state_and_never_repeats_blindly_what_touches_the_system() -> None:
    assert set(RESUME) == set(State)
    assert {state for state, how in RESUME.items() if how is Resume.rest} == RESTING
    assert {state for state, how in RESUME.items() if how is Resume.look} == {
        State.switch,
        State.verify,
        State.rollback,
    }
