"""What a boot means for what is deployed and what is rejected."""

from pathlib import Path

import msgspec
import pytest
from unit.fakes import NEW, OLD, REV_A, REV_B

from gitopsd.daemon.store import SqliteStore
from gitopsd.policy import after_boot
from gitopsd.types import (
    BootFacts,
    BootRollback,
    CycleKind,
    CycleSummary,
    Deployed,
    Memory,
    Outcome,
    Revision,
    StorePath,
)


def ended(number: int, toplevel: StorePath, revision: Revision, outcome: Outcome) -> CycleSummary:
    return CycleSummary(
        id=number,
        kind=CycleKind.upgrade,
        requested_by="test",
        started=1.0,
        ended=2.0,
        outcome=outcome,
        message="",
        revision=revision,
        toplevel=toplevel,
    )


HISTORY = (ended(4, NEW, REV_B, Outcome.at_reboot), ended(3, OLD, REV_A, Outcome.success))
BEFORE = Memory(deployed=Deployed(revision=REV_A, toplevel=OLD, at=1.0))


def rolled_back(how: str) -> BootFacts:
    last = BootRollback(left=NEW, to=OLD, reason="2 bad boots", at=5.0, how=how)
    return BootFacts(toplevel=OLD, verdict="pending", golden=OLD, rollback=last)


@pytest.mark.parametrize("how", ["rebooting", "landed", "golden-failed"])
def test_5_the_revision_that_was_rolled_back_at_boot_is_rejected_once(how: str) -> None:
    conclusion = after_boot(rolled_back(how), BEFORE, HISTORY, 9.0)
    assert conclusion is not None
    assert conclusion.rejection is not None
    assert (conclusion.rejection.revision, conclusion.rejection.cycle) == (REV_B, 4)
    assert "rolled back at boot: 2 bad boots" in conclusion.rejection.reason
    assert bool(conclusion.blocked) is (how == "golden-failed")
    told = msgspec.structs.replace(BEFORE, boot_told=conclusion.told)
    assert after_boot(rolled_back(how), told, HISTORY, 9.0) is None


@pytest.mark.parametrize("later", ["landed", "golden-failed"])
def test_a_rollback_that_got_further_rejects_nothing_anew(later: str) -> None:
    """The daemon of the bad boot may have told it: then a person's `retry` after the reboot holds."""
    first = after_boot(rolled_back("rebooting"), BEFORE, HISTORY, 9.0)
    assert first is not None
    told = msgspec.structs.replace(BEFORE, boot_told=first.told, deployed=first.deployed)
    second = after_boot(rolled_back(later), told, HISTORY, 19.0)
    assert second is not None
    assert (second.rejection, second.deployed, second.gone_back) == (None, None, None)
    assert bool(second.blocked) is (later == "golden-failed")
    assert after_boot(rolled_back(later), msgspec.structs.replace(told, boot_told=second.told), HISTORY, 20.0) is None


def test_a_way_back_that_works_after_one_that_did_not_rejects() -> None:
    failed = after_boot(rolled_back("failed"), BEFORE, HISTORY, 9.0)
    assert failed is not None
    worked = after_boot(rolled_back("rebooting"), msgspec.structs.replace(BEFORE, boot_told=failed.told), HISTORY, 9.0)
    assert worked is not None
    assert worked.rejection is not None


def test_a_rollback_that_did_not_work_needs_a_person_and_rejects_nothing_yet() -> None:
    conclusion = after_boot(rolled_back("failed"), BEFORE, HISTORY, 9.0)
    assert conclusion is not None
    assert conclusion.blocked
    assert conclusion.rejection is None


def test_a_generation_that_no_cycle_has_made_rejects_nothing() -> None:
    conclusion = after_boot(rolled_back("landed"), Memory(), (), 9.0)
    assert conclusion is not None
    assert conclusion.rejection is None


def test_what_waited_for_a_reboot_is_deployed_once_it_has_booted_well() -> None:
    booted = BootFacts(toplevel=NEW, verdict="good")
    conclusion = after_boot(booted, BEFORE, HISTORY, 9.0)
    assert conclusion is not None
    assert conclusion.deployed == Deployed(revision=REV_B, toplevel=NEW, at=9.0)
    after = msgspec.structs.replace(BEFORE, deployed=conclusion.deployed)
    assert after_boot(booted, after, HISTORY, 9.0) is None


@pytest.mark.parametrize("verdict", ["pending", "bad", "unknown"])
def test_nothing_is_deployed_by_a_boot_without_a_good_verdict(verdict: str) -> None:
    assert after_boot(BootFacts(toplevel=NEW, verdict=verdict), BEFORE, HISTORY, 9.0) is None


def test_a_good_boot_of_something_else_deploys_nothing() -> None:
    assert after_boot(BootFacts(toplevel=OLD, verdict="good"), BEFORE, HISTORY, 9.0) is None


async def test_a_conclusion_is_remembered_as_a_whole(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    await store.open()
    conclusion = after_boot(rolled_back("golden-failed"), BEFORE, HISTORY, 9.0)
    assert conclusion is not None
    await store.conclude_boot(conclusion)
    memory = await store.memory()
    assert memory.boot_told == conclusion.told
    assert memory.rejected == (conclusion.rejection,)
    assert memory.blocked == conclusion.blocked
    assert memory.deployed is not None
    assert memory.deployed.toplevel == OLD
    await store.close()


def test_golden_that_no_cycle_has_built_is_gone_back_to_and_is_no_drift() -> None:
    conclusion = after_boot(rolled_back("landed"), Memory(), (), 9.0)
    assert conclusion is not None
    assert conclusion.gone_back is not None
    assert (conclusion.gone_back.toplevel, conclusion.gone_back.name) == (OLD, "the golden generation")
    known = after_boot(rolled_back("landed"), BEFORE, HISTORY, 9.0)
    assert known is not None
    assert (known.gone_back is None) is (known.deployed is not None)
