"""Clients see what the daemon knows, field by field."""

import dataclasses
import enum
from typing import Any

import msgspec
import pytest
from unit.test_control_fakes import NOW, detail, rejection, running, snapshot, update

from gitopsd import types
from gitopsd.control import wire
from gitopsd.control.interfaces import ControlInterface, StatusInterface
from gitopsd.machine import State
from gitopsd.types import CycleKind

PAIRS: dict[type, type[msgspec.Struct]] = {
    wire.Notice: types.Notice,
    wire.Parked: types.Parked,
    wire.Finding: types.Finding,
    wire.Person: types.PersonFacts,
    wire.Side: types.Side,
    wire.Conflict: types.Conflict,
    wire.Conflicts: types.Conflicts,
    wire.Settled: types.Settled,
    wire.Adopted: types.Adopted,
    wire.Adoption: types.Adoption,
    wire.Beginning: types.Beginning,
    wire.Built: types.Built,
    wire.Switching: types.Switching,
    wire.Check: types.Check,
    wire.Review: types.Review,
    wire.HookRun: types.HookRun,
    wire.Facts: types.Facts,
    wire.Cycle: types.Cycle,
    wire.Step: types.StepRecord,
    wire.Summary: types.CycleSummary,
    wire.Detail: types.CycleDetail,
    wire.Rejection: types.Rejection,
    wire.Deployed: types.Deployed,
    wire.Trial: types.Trial,
    wire.GoneBack: types.GoneBack,
    wire.Attempt: types.Attempt,
    wire.System: types.SystemFacts,
    wire.BootRollback: types.BootRollback,
    wire.LoaderCount: types.LoaderCount,
    wire.Reboot: types.RebootNeed,
    wire.Suspension: types.Suspension,
    wire.Boot: types.BootFacts,
    wire.LastGood: types.LastGood,
    wire.Pinned: types.Pinned,
    wire.Status: types.Snapshot,
    wire.Update: types.Update,
}
# What is of no use to a client.
LEFT_OUT: dict[type, set[str]] = {
    wire.Cycle: {"boot_id"},
    wire.HookRun: {"boot_id", "before"},
    wire.Trial: {"boot_id", "in_order", "falls"},
}


@pytest.mark.parametrize("shape", PAIRS, ids=lambda shape: shape.__name__)
def test_each_shape_has_the_fields_of_its_value(shape: Any) -> None:
    theirs = {field.name for field in dataclasses.fields(shape)}
    ours = {field.name for field in msgspec.structs.fields(PAIRS[shape])}
    assert theirs == ours - LEFT_OUT.get(shape, set())


def test_every_shape_is_paired() -> None:
    shapes = {shape for shape in vars(wire).values() if dataclasses.is_dataclass(shape)}
    assert shapes == set(PAIRS)


@pytest.mark.parametrize("words", [State, CycleKind])
def test_words_that_go_by_the_name_of_their_member_are_spelled_like_it(words: type[enum.Enum]) -> None:
    assert all(member.name == member.value for member in words)


def test_values_become_shapes() -> None:
    full = snapshot(cycle=running(), rejected=(rejection(),))
    status = wire.to_wire(full, wire.Status)
    assert status.people[0].word == "conflicts-preserved"
    assert status.cycle is not None
    assert status.cycle.state is State.push
    assert wire.to_wire(detail(5), wire.Detail).steps[1].attempts == 2
    assert wire.to_wire(update(7, "x"), wire.Update) == wire.Update(
        cycle=7, state=State.build, at=NOW, line="x", progress=False, outcome=None
    )


@pytest.mark.parametrize("interface", [StatusInterface, ControlInterface])
def test_the_interfaces_describe_themselves(interface: Any) -> None:
    text = interface.render_interface_description()
    assert text.startswith("# ")
    assert f"interface {interface.name}\n" in text
    assert "object" not in text  # what asyncvarlink writes for a type that it does not know
