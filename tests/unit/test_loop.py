"""The loop: record, step, apply; and what a crash at any point leads to."""

import asyncio
import itertools
from pathlib import Path

import msgspec
import pytest
from unit.fakes import NEW, OLD, REV_A, REV_B, FakeDotfiles, unit
from unit.world import Crashing, World, upgraded

from gitopsd.config import HookConfig, ProbeConfig
from gitopsd.errors import Absent, Cause, Failed, PersonNeeded, Rejected, Transient
from gitopsd.machine import RESTING, State
from gitopsd.types import Check, CycleKind, Outcome, Revision, StorePath, SyncWord, UnitHealth, Verdict


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_an_upgrade_tests_then_verifies_then_makes_it_the_boot_default(world: World) -> None:
    summary, updates = await upgraded(world)
    assert summary.outcome is Outcome.success
    assert world.activator.order == ["test new", "profile new", "boot new"]
    assert world.activator.boot_default == world.activator.current == NEW
    assert world.builder.released == [REV_B]
    states = list(dict.fromkeys(update.state.value for update in updates))
    assert states == ["fetch", "capture", "push", "pull", "build", "switch", "verify", "idle"]


async def test_the_lines_that_people_grep_for_are_there_in_order(world: World) -> None:
    _, updates = await upgraded(world)
    assert [update.line for update in updates if update.line and not update.progress] == [
        "Fetching remote changes...",
        "Capturing current dotfiles...",
        "Successfully pushed changes",
        "Pulling latest nix-config...",
        "=== Validating NixOS Build ===",
        "=== Build Validation PASSED ===",
        "=== Deploying New Configuration ===",
        "=== Deployment Successful ===",
        "bbbbbbbbbbbb is deployed and verified",
    ]


async def test_a_sync_ends_after_pull(world: World) -> None:
    summary, updates = await upgraded(world, kind=CycleKind.sync)
    assert summary.outcome is Outcome.success
    assert updates[-1].state is State.idle
    assert world.builder.built == []
    assert world.people[0].calls == ["fetch", "capture", "publish", "apply"]


async def test_a_second_upgrade_has_nothing_to_do(world: World) -> None:
    await upgraded(world)
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.up_to_date
    assert world.builder.built == [REV_B]


async def test_a_build_that_fails_is_refused_and_not_tried_again(world: World) -> None:
    world.builder.build_error = Rejected("does not build: syntax error", advice="push a fix")
    summary, updates = await upgraded(world)
    lines = [update.line for update in updates]
    assert summary.outcome is Outcome.build_failed
    assert "=== Build Validation FAILED ===" in lines
    assert "Deployment aborted" in lines
    assert world.activator.order == []
    for _ in range(3):
        summary, _ = await upgraded(world)
        assert summary.outcome is Outcome.rejected
    assert world.builder.built == [REV_B]


async def test_a_revision_that_is_not_trusted_is_rejected_before_anything_of_it_is_built(world: World) -> None:
    world.signatures.error = Rejected("bbbbbbbbbbbb is not trusted: abc: it is not signed", advice="sign it")
    summary, updates = await upgraded(world)
    assert (summary.outcome, summary.revision) == (Outcome.unsigned, REV_B)
    assert "it is not signed" in summary.message
    assert "  try: sign it" in [update.line for update in updates]
    assert world.builder.built == []
    assert (await upgraded(world))[0].outcome is Outcome.rejected
    assert len(world.signatures.asked) == 1


async def test_a_gate_that_cannot_be_asked_is_closed_and_blames_no_revision(world: World) -> None:
    world.signatures.error = Failed("gpg is not there")
    for _ in range(2):
        summary, _ = await upgraded(world)
        assert (summary.outcome, summary.message) == (Outcome.failed, "gpg is not there")
    assert world.builder.built == []
    world.signatures.error = None
    assert (await upgraded(world))[0].outcome is Outcome.success


async def test_signatures_are_asked_about_from_what_is_deployed_on(world: World) -> None:
    await upgraded(world)
    world.source.remote_head, world.builder.toplevel = REV_A, OLD
    await upgraded(world)
    assert world.signatures.asked == [(REV_B, None), (REV_A, REV_B)]


async def test_a_new_revision_is_tried_after_a_rejected_one(world: World) -> None:
    world.builder.build_error = Rejected("no")
    await upgraded(world)
    world.builder.build_error, world.source.remote_head = None, REV_A
    summary, _ = await upgraded(world)
    assert (summary.outcome, summary.revision) == (Outcome.success, REV_A)


async def test_retry_forgets_the_rejection(world: World) -> None:
    world.builder.build_error = Rejected("no")
    await upgraded(world)
    world.builder.build_error = None
    daemon = await world.start()
    outcome, _ = await daemon.end_of(await daemon.loop.retry(requested_by="test"))
    assert outcome is Outcome.success
    assert daemon.loop.snapshot().rejected == ()
    await daemon.stop()


async def test_a_transient_build_failure_is_retried_and_never_rejects(world: World) -> None:
    world.builder.build_error = Transient("cache is down", cause=Cause.network)
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.failed
    assert len(world.builder.built) == 2
    world.builder.build_error = None
    assert (await upgraded(world))[0].outcome is Outcome.success


async def test_a_check_that_fails_leaves_the_system_alone(world: World) -> None:
    world.inspector.checks = (
        Check(name="is for this host", verdict=Verdict.failed, said="it is another's", advice="correct the name"),
    )
    summary, updates = await upgraded(world)
    assert summary.outcome is Outcome.check_failed
    assert summary.message.startswith("check `is for this host`: it is another's\n")
    assert "try: correct the name" in summary.message
    assert "=== Build Validation FAILED ===" in [update.line for update in updates]
    assert world.activator.order == []
    assert world.builder.released == [REV_B]
    assert (await upgraded(world))[0].outcome is Outcome.rejected


async def test_what_the_machine_has_no_room_for_is_not_held_against_the_revision(world: World) -> None:
    enough = world.inspector.space
    world.inspector.space = Check(name="has room in the store", verdict=Verdict.prevented, said="1 MiB is free")
    assert (await upgraded(world))[0].outcome is Outcome.failed
    assert world.builder.built == []
    world.inspector.space = enough
    world.inspector.checks = (Check(name="has room on /boot", verdict=Verdict.prevented, said="1 MiB is free"),)
    assert (await upgraded(world))[0].outcome is Outcome.failed
    assert world.activator.order == []
    world.inspector.checks = ()
    assert (await upgraded(world))[0].outcome is Outcome.success


async def test_a_dry_run_builds_and_checks_and_changes_and_remembers_nothing(world: World) -> None:
    summary, updates = await upgraded(world, kind=CycleKind.plan)
    assert summary.outcome is Outcome.planned
    assert summary.message == f"would deploy {REV_B[:12]} (a subject)"
    said = [update.line for update in updates]
    assert "    hello: ∅ → 1.0" in said
    assert "  reboot: only a reboot brings the new kernel into use" in said
    assert world.activator.order == []
    assert world.people[0].calls == []
    assert world.source.marked is None
    assert world.builder.released == [REV_B]
    daemon = await world.start()
    memory = await daemon.store.memory()
    await daemon.stop()
    assert memory.deployed is None
    assert memory.last_sync is None
    assert (await upgraded(world))[0].outcome is Outcome.success


@pytest.mark.parametrize("fails", ["build", "check"])
async def test_a_dry_run_that_fails_rejects_nothing(world: World, fails: str) -> None:
    checks = world.inspector.checks
    if fails == "build":
        world.builder.build_error = Rejected("no")
    else:
        world.inspector.checks = (Check(name="is for this host", verdict=Verdict.failed, said="it is not"),)
    summary, _ = await upgraded(world, kind=CycleKind.plan)
    assert summary.outcome in (Outcome.build_failed, Outcome.check_failed)
    world.builder.build_error, world.inspector.checks = None, checks
    assert (await upgraded(world))[0].outcome is Outcome.success


async def test_a_dry_run_of_what_runs_says_so_and_marks_nothing(world: World) -> None:
    world.builder.toplevel = OLD
    summary, _ = await upgraded(world, kind=CycleKind.plan)
    assert summary.outcome is Outcome.up_to_date
    assert world.source.marked is None


async def test_a_dry_run_that_waits_is_not_merged_with_what_changes_something(world: World) -> None:
    daemon = await world.start()
    first = await daemon.ask()
    await asyncio.sleep(0)
    planned = await daemon.ask(CycleKind.plan)
    synced = await daemon.ask(CycleKind.sync)
    again = await daemon.ask(CycleKind.plan)
    assert planned == again
    assert len({first, planned, synced}) == 3
    assert (await daemon.end_of(planned))[0] is Outcome.up_to_date
    kinds = [summary.kind for summary in await daemon.store.history(9)]
    await daemon.stop()
    assert kinds == [CycleKind.sync, CycleKind.plan, CycleKind.upgrade]


async def test_hooks_run_in_order_around_the_update_and_not_in_a_dry_run(world: World) -> None:
    world.pre = (HookConfig(unit="snapshot.service"), HookConfig(unit="nice.service", required=False))
    world.post = (HookConfig(unit="smoke.service"),)
    world.hooks.problems["nice.service"] = "nice.service failed"
    await upgraded(world, kind=CycleKind.plan)
    assert world.hooks.ran == []
    summary, updates = await upgraded(world)
    assert summary.outcome is Outcome.success
    assert world.hooks.ran == ["snapshot.service", "nice.service", "smoke.service"]
    assert "note: pre-update hook: nice.service failed" in [update.line for update in updates]


async def test_a_required_hook_that_fails_before_the_update_changes_nothing_and_rejects_nothing(world: World) -> None:
    world.pre = (HookConfig(unit="snapshot.service"),)
    world.hooks.problems["snapshot.service"] = "snapshot.service failed (exit-code)"
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.failed
    assert "snapshot.service failed" in summary.message
    assert world.builder.built == []
    world.hooks.problems.clear()
    assert (await upgraded(world))[0].outcome is Outcome.success


async def test_a_required_hook_that_fails_after_the_switch_rolls_back(world: World) -> None:
    world.post = (HookConfig(unit="smoke.service"),)
    world.hooks.problems["smoke.service"] = "smoke.service failed"
    assert (await upgraded(world))[0].outcome is Outcome.rolled_back
    assert world.activator.boot_default == world.activator.current == OLD


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_hook_runs_once_for_a_cycle_wherever_the_daemon_dies(tmp_path: Path, *, after: bool) -> None:
    points = 0
    for at in range(1, 30):
        directory = tmp_path / str(at)
        directory.mkdir()
        world = World(directory)
        world.pre, world.post = (HookConfig(unit="snapshot.service"),), (HookConfig(unit="smoke.service"),)
        crashing = Crashing(at, after=after)
        crashing.wrap(world.hooks, ("last", "run"))
        daemon = await world.start(crashing)
        await daemon.end_of(await daemon.ask())
        await daemon.stop()
        if not daemon.crashed:
            break
        points += 1
        crashing.at = -1
        daemon = await world.start()
        await daemon.rests()
        ended = await daemon.store.history(1)
        await daemon.stop()
        assert world.hooks.ran == (["snapshot.service", "smoke.service"] if ended else []), f"at {at}"
    assert points > 10


async def test_what_the_checks_found_is_kept_with_the_cycle(world: World) -> None:
    daemon = await world.start()
    number = await daemon.ask()
    await daemon.end_of(number)
    detail = await daemon.loop.detail(number)
    await daemon.stop()
    assert detail is not None
    assert detail.facts.review is not None
    assert [check.name for check in detail.facts.review.checks] == [
        "has room in the store",
        "was evaluated without root's rights",
        "is a NixOS system",
    ]
    assert detail.facts.review.closure == "hello: ∅ → 1.0"


async def test_an_evaluation_by_root_is_noted_with_the_reason_and_stops_nothing(world: World) -> None:
    world.builder.why_root = "there is no user 'gitopsd-build' on this host"
    daemon = await world.start()
    number = await daemon.ask()
    await daemon.end_of(number)
    detail = await daemon.loop.detail(number)
    await daemon.stop()
    assert detail is not None
    assert detail.summary.outcome is Outcome.success
    assert detail.facts.review is not None
    (check,) = (each for each in detail.facts.review.checks if each.verdict is Verdict.noted)
    assert check.said == f"root did it: {world.builder.why_root}"


@pytest.mark.parametrize(
    "bad",
    [
        [{"sshd.service": unit("sshd.service", "failed")}, {}],
        [{}, {"sshd.service": unit("sshd.service", "failed")}, {}],
        [{}, {}, {"sshd.service": unit("sshd.service", restarts=1)}, {}],
    ],
    ids=["fails at once", "dies during the soak", "restarts"],
)
async def test_a_bad_system_is_rolled_back_and_rejected(world: World, bad: list[dict[str, UnitHealth]]) -> None:
    world.units.script = [{}, *bad]  # the first look is the baseline
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.rolled_back
    assert world.activator.current == world.activator.boot_default == OLD
    assert world.activator.order == ["test new", "test old"]
    assert "sshd.service" in summary.message
    assert (await upgraded(world))[0].outcome is Outcome.rejected


async def test_a_unit_that_never_starts_is_given_up_after_the_deadline(world: World) -> None:
    slow = {"sshd.service": unit("sshd.service", "activating")}
    world.units.script = [{}, *[slow] * 12, {}]
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.rolled_back
    assert "not active after 10 s" in summary.message


async def test_a_unit_that_had_failed_before_is_no_reason(world: World) -> None:
    world.units.failed_script = [("old.service",)]
    assert (await upgraded(world))[0].outcome is Outcome.success


async def test_another_unit_that_fails_is_a_reason(world: World) -> None:
    world.units.failed_script = [(), ("other.service",), ()]
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.rolled_back
    assert "other.service" in summary.message


async def test_a_newer_revision_ends_the_waiting_for_a_system_that_is_not_good_yet(world: World) -> None:
    starting = {"sshd.service": unit("sshd.service", "activating")}
    world.wanted = msgspec.structs.replace(world.wanted, deadline=1e9)

    async def wait(seconds: float) -> None:
        await world.clock.sleep(seconds)
        await asyncio.sleep(0)

    world.units.wait = wait  # type: ignore[method-assign]

    async def health(names: object) -> object:
        bad = world.activator.current == NEW
        return (starting["sshd.service"] if bad else unit("sshd.service"),)

    world.units.health = health  # type: ignore[assignment,method-assign]
    daemon = await world.start()
    first = await daemon.ask()
    while daemon.loop.snapshot().state is not State.verify:
        await asyncio.sleep(0)
    for _ in range(100):  # a request alone ends nothing
        await asyncio.sleep(0)
    second = await daemon.ask()
    for _ in range(100):
        await asyncio.sleep(0)
    assert daemon.loop.snapshot().state is State.verify
    world.source.remote_head = REV_A
    outcome, updates = await daemon.end_of(first)
    assert outcome is Outcome.rolled_back
    assert "sshd.service not active; given up for aaaaaaaaaaaa, which is newer" in updates[-1].line
    assert daemon.loop.snapshot().rejected == ()
    world.builder.toplevel = OLD
    outcome, _ = await daemon.end_of(second)
    assert outcome is Outcome.up_to_date
    await daemon.stop()


async def test_a_soak_that_goes_well_is_not_cut_short(world: World) -> None:
    world.wanted = msgspec.structs.replace(world.wanted, soak=30.0)
    daemon = await world.start()
    first = await daemon.ask()
    while daemon.loop.snapshot().state is not State.verify:
        await asyncio.sleep(0)
    await daemon.ask()
    world.source.remote_head = REV_A
    outcome, _ = await daemon.end_of(first)
    await daemon.stop()
    assert outcome is Outcome.success


PROBED = ProbeConfig(tcp="localhost:22")


async def test_a_probe_that_never_passes_is_a_reason(world: World) -> None:
    world.wanted = msgspec.structs.replace(world.wanted, probes=(PROBED,))
    world.prober.problems = [*["probe tcp localhost:22: refused"] * 12, ""]
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.rolled_back
    assert "probe tcp localhost:22: refused after 10 s" in summary.message


async def test_a_probe_must_pass_before_the_soak_and_after_it(world: World) -> None:
    world.wanted = msgspec.structs.replace(world.wanted, probes=(PROBED,))
    world.prober.problems = ["not yet", "", "gone again", ""]
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.rolled_back
    assert "gone again" in summary.message


def cut_off_by(world: World, *, always: bool) -> None:
    """The remote answers at first; then only through the old system, or not at all."""
    fetch, calls = world.source.fetch, []

    async def guarded() -> Revision:
        calls.append(world.activator.current)
        if len(calls) > 1 and (always or world.activator.current == NEW):
            raise Transient("no route to host", cause=Cause.network)
        return await fetch()

    world.source.fetch = guarded  # type: ignore[method-assign]


async def test_a_system_that_cuts_the_host_off_is_rolled_back_and_rejected(world: World) -> None:
    cut_off_by(world, always=False)
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.rolled_back
    assert world.activator.current == world.activator.boot_default == OLD
    assert summary.message.endswith("cannot be reached any more (no route to host); it can be reached again")
    assert (await upgraded(world))[0].outcome is Outcome.rejected


async def test_a_network_that_went_down_by_itself_is_not_held_against_the_revision(world: World) -> None:
    cut_off_by(world, always=True)
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.rolled_back
    daemon = await world.start()
    assert daemon.loop.snapshot().rejected == ()
    await daemon.stop()


async def test_a_host_that_was_offline_before_is_not_asked_to_reach_anything(world: World) -> None:
    world.source.error = Transient("no network", cause=Cause.network)
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.offline
    assert world.activator.order == []


async def test_what_was_deployed_is_remembered_beside_the_mirror(world: World) -> None:
    await upgraded(world)
    assert world.source.marked == REV_B
    world.path.unlink()
    world.source.remote_head, world.source.contained = REV_A, False
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.diverged
    assert "--accept-diverged" in summary.message
    world.builder.toplevel = OLD
    assert (await upgraded(world, accept_diverged=True))[0].outcome is Outcome.success


async def test_keep_keeps_the_new_system_and_the_old_boot_default(tmp_path: Path) -> None:
    world = World(tmp_path, on_failure="keep")
    world.units.script = [{}, {"sshd.service": unit("sshd.service", "failed")}]
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.kept
    assert (world.activator.current, world.activator.boot_default) == (NEW, OLD)


@pytest.mark.parametrize(
    ("status", "outcome", "order"),
    [
        (1, Outcome.switch_failed, ["test new"]),
        (100, Outcome.at_reboot, ["test new", "profile new", "boot new"]),
        (2, Outcome.rolled_back, ["test new", "test old"]),
        (-1, Outcome.rolled_back, ["test new", "test old"]),
        (4, Outcome.success, ["test new", "profile new", "boot new"]),
    ],
)
async def test_exit_statuses_are_read_for_what_they_mean(
    world: World, status: int, outcome: Outcome, order: list[str]
) -> None:
    world.activator.statuses["test new"] = status
    summary, _ = await upgraded(world)
    assert (summary.outcome, world.activator.order) == (outcome, order)


@pytest.mark.parametrize("how", ["the new system runs", "a unit was stopped", "a unit failed"])
async def test_a_status_that_means_that_nothing_was_changed_is_believed_when_it_is_so(world: World, how: str) -> None:
    world.activator.statuses["test new"] = 1
    activate = world.activator.activate

    async def half(toplevel: StorePath, action: str, tag: str, **more: bool) -> int:
        status = await activate(toplevel, action, tag, **more)
        if toplevel == NEW and how == "the new system runs":
            world.activator.current = NEW
        if toplevel == NEW and how == "a unit was stopped":
            world.units.script = [{"sshd.service": unit("sshd.service", "inactive")}, {}]
        if toplevel == NEW and how == "a unit failed":
            world.units.failed_script = [("cups.service",), ()]
        return status

    world.activator.activate = half  # type: ignore[method-assign]
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.rolled_back
    assert "it gave up half-way (status 1)" in summary.message
    assert world.activator.current == OLD
    assert world.activator.order == ["test new", "test old"]


async def test_what_ran_is_kept_from_the_garbage_collector_before_anything_is_activated(world: World) -> None:
    held: list[StorePath | None] = []
    activate = world.activator.activate

    async def activated(toplevel: StorePath, action: str, tag: str, **more: bool) -> int:
        held.append(world.builder.held)
        return await activate(toplevel, action, tag, **more)

    world.activator.activate = activated  # type: ignore[method-assign]
    await upgraded(world)
    assert held[0] == OLD


async def test_a_new_configuration_of_ours_that_leads_nowhere_is_rolled_back(world: World) -> None:
    world.ahead.error = Absent("it has no branch 'master'")
    activate = world.activator.activate

    async def with_our_configuration(toplevel: StorePath, action: str, tag: str, **more: bool) -> int:
        world.successor.own = f"unit config of {toplevel}"
        return await activate(toplevel, action, tag, **more)

    world.activator.activate = with_our_configuration  # type: ignore[method-assign]
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.rolled_back
    assert "this host would never fetch again: it has no branch 'master'" in summary.message
    assert world.activator.boot_default == world.activator.current == OLD
    assert (await upgraded(world))[0].outcome is Outcome.rejected


async def test_a_remote_that_a_person_has_spoilt_before_is_not_held_against_a_new_system(world: World) -> None:
    world.ahead.error = Absent("it has no branch 'master'")
    assert (await upgraded(world))[0].outcome is Outcome.success


async def test_what_a_damaged_mirror_builds_is_not_held_against_the_revision(world: World) -> None:
    world.builder.build_error = Rejected("does not build: object not found")
    world.source.whole = False
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.failed
    assert "the mirror of the configuration is damaged" in summary.message
    world.builder.build_error, world.source.whole = None, True
    assert (await upgraded(world))[0].outcome is Outcome.success


async def test_a_boot_loader_that_fails_restores_the_profile_too(world: World) -> None:
    world.activator.statuses["boot new"] = 1
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.rolled_back
    assert world.activator.facts().profile == world.activator.current == world.activator.boot_default == OLD


async def test_somebody_elses_switch_is_left_alone_and_the_revision_stays_eligible(world: World) -> None:
    world.activator.statuses["test new"] = Transient("busy", cause=Cause.lock_held)
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.failed
    world.activator.statuses.clear()
    assert (await upgraded(world))[0].outcome is Outcome.success


async def test_a_rollback_that_fails_blocks_until_a_person_retries(world: World) -> None:
    world.units.script = [{"sshd.service": unit("sshd.service", "failed")}]
    world.activator.statuses["test old"] = 2
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.blocked
    daemon = await world.start()
    assert daemon.loop.snapshot().state is State.blocked
    with pytest.raises(PersonNeeded):
        await daemon.ask()
    outcome, _ = await daemon.end_of(await daemon.ask(CycleKind.sync))
    assert outcome is Outcome.success  # dotfiles go on
    assert daemon.loop.snapshot().state is State.blocked
    await daemon.stop()


async def test_boot_mode_activates_nothing_now(tmp_path: Path) -> None:
    world = World(tmp_path, mode="boot")
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.at_reboot
    assert (world.activator.current, world.activator.boot_default) == (OLD, NEW)
    again, _ = await upgraded(world)
    assert again.outcome is Outcome.at_reboot
    world.activator.current = NEW  # it was booted
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.up_to_date
    assert world.activator.order == ["profile new", "boot new"]


async def test_offline_is_normal(world: World) -> None:
    world.source.error = Transient("no network", cause=Cause.network)
    world.people[0].errors["fetch"] = Transient("no network", cause=Cause.network)
    summary, updates = await upgraded(world)
    assert summary.outcome is Outcome.offline
    assert "Warning: Could not fetch (no network?)" in [update.line for update in updates]
    assert world.people[0].calls.count("fetch") == 3
    assert "capture" in world.people[0].calls


async def test_retries_are_visible_while_they_happen(world: World) -> None:
    seen = []
    world.source.error = Transient("no network", cause=Cause.network)
    daemon = await world.start()
    sleep = world.clock.sleep

    async def watching(seconds: float) -> None:
        seen.append(daemon.loop.snapshot().attempt)
        await sleep(seconds)

    world.clock.sleep = watching  # type: ignore[method-assign]
    await daemon.end_of(await daemon.ask())
    await daemon.stop()
    assert [(attempt.number, attempt.limit, attempt.cause) for attempt in seen if attempt] == [
        (2, 3, "network"),
        (3, 3, "network"),
    ]


async def test_dotfiles_that_fail_do_not_hold_the_system_back(world: World) -> None:
    world.people[0].errors["publish"] = Failed("remote says no", advice="ask it")
    summary, _ = await upgraded(world)
    assert world.activator.boot_default == NEW
    assert summary.outcome is Outcome.failed
    assert summary.message.startswith("dotfiles of rain: push-failed; bbbbbbbbbbbb is deployed")


async def test_one_persons_failure_does_not_hold_another_back(world: World) -> None:
    world.people = [FakeDotfiles("olga", {"capture": Failed("no")}), FakeDotfiles("rain")]
    daemon = await world.start()
    await daemon.end_of(await daemon.ask(CycleKind.sync))
    words = {person.user: person.word for person in daemon.loop.snapshot().people}
    await daemon.stop()
    assert words == {"olga": SyncWord.failed, "rain": SyncWord.success}


async def test_requests_that_come_meanwhile_are_merged_into_one(world: World) -> None:
    daemon = await world.start()
    first = await daemon.ask(CycleKind.sync, users=["rain"])
    while daemon.loop.snapshot().cycle is None:
        await asyncio.sleep(0)
    later = {await daemon.ask(CycleKind.sync, users=["rain"]), await daemon.ask(CycleKind.upgrade)}
    assert len(later) == 1
    outcome, _ = await daemon.end_of(later.pop())
    assert outcome is Outcome.success
    history = await daemon.store.history(10)
    assert [(entry.id == first, entry.kind) for entry in history] == [
        (False, CycleKind.upgrade),
        (True, CycleKind.sync),
    ]
    await daemon.stop()


async def test_an_error_that_nobody_foresaw_ends_the_step_and_not_the_daemon(world: World) -> None:
    world.builder.build_error = ZeroDivisionError("a bug")
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.failed
    assert "ZeroDivisionError: a bug" in summary.message
    world.builder.build_error = None
    assert (await upgraded(world))[0].outcome is Outcome.success


async def test_a_step_that_runs_over_its_time_is_ended(world: World) -> None:
    world.limits = 0.05

    async def forever(facts: object) -> None:
        await asyncio.Event().wait()

    world.people[0].fetch = forever  # type: ignore[assignment,method-assign]
    daemon = await world.start()
    assert daemon.loop.healthy()
    outcome, _ = await daemon.end_of(await daemon.ask(CycleKind.sync))
    assert outcome is Outcome.offline
    detail = await daemon.store.detail(1)
    assert detail is not None
    assert detail.steps[0].message == "fetch ran over its time, and was ended with everything that it had started"
    await daemon.stop()


async def test_the_watchdog_is_fed_only_while_the_step_is_within_its_time(world: World) -> None:
    daemon = await world.start()

    async def stuck(facts: object) -> None:
        world.clock.time += world.limits + 61
        unhealthy.append(not daemon.loop.healthy())

    unhealthy: list[bool] = []
    world.people[0].fetch = stuck  # type: ignore[assignment,method-assign]
    await daemon.end_of(await daemon.ask(CycleKind.sync))
    assert unhealthy == [True]
    assert daemon.loop.healthy()
    await daemon.stop()


@pytest.mark.parametrize("state", [State.fetch, State.capture, State.push, State.pull, State.build])
async def test_stopping_before_switch_drops_the_cycle_and_records_it(world: World, state: State) -> None:
    reached, never = asyncio.Event(), asyncio.Event()

    async def hang(*_: object) -> None:
        reached.set()
        await never.wait()

    match state:
        case State.build:
            world.builder.build = hang  # type: ignore[assignment,method-assign]
        case State.pull:
            world.people[0].apply = hang  # type: ignore[assignment,method-assign]
        case State.push:
            world.people[0].publish = hang  # type: ignore[assignment,method-assign]
        case _:
            setattr(world.people[0], state.value, hang)
    daemon = await world.start()
    await daemon.ask()
    await reached.wait()
    daemon.task.cancel()
    await asyncio.gather(daemon.task, return_exceptions=True)
    assert await daemon.store.unfinished_cycle() is None
    (entry,) = await daemon.store.history(1)
    assert entry.outcome is Outcome.cancelled
    assert state.value in entry.message
    await daemon.store.close()


async def test_stopping_during_switch_leaves_it_running_and_the_next_start_takes_its_result(world: World) -> None:
    reached, never = asyncio.Event(), asyncio.Event()
    activate = world.activator.activate

    async def slow(toplevel: object, action: str, tag: str) -> int:
        status = await activate(toplevel, action, tag)  # type: ignore[arg-type]
        reached.set()
        await never.wait()
        return status

    world.activator.activate = slow  # type: ignore[method-assign, assignment]
    daemon = await world.start()
    await daemon.ask()
    await reached.wait()
    await daemon.stop()
    world.activator.activate = activate  # type: ignore[method-assign]
    daemon = await world.start()
    assert daemon.loop.snapshot().state is State.switch
    await daemon.rests()
    assert world.activator.order == ["test new", "profile new", "boot new"]
    assert (await daemon.store.history(1))[0].outcome is Outcome.success
    await daemon.stop()


async def test_a_revision_that_takes_the_machine_down_twice_is_not_tried_a_third_time(world: World) -> None:
    async def hang() -> tuple[str, ...]:
        if world.activator.current == NEW:
            reached.set()
            await asyncio.Event().wait()
        return ()

    world.units.failed = hang  # type: ignore[method-assign]
    for attempt in (1, 2):
        reached = asyncio.Event()
        daemon = await world.start()
        await daemon.ask()
        await reached.wait()
        await daemon.stop()
        world.clock.boot = f"boot-{attempt + 1}"
        world.activator.current = OLD
        world.activator.done.clear()
        daemon = await world.start()
        await daemon.rests()
        (entry,) = await daemon.store.history(1)
        rejected = daemon.loop.snapshot().rejected
        await daemon.stop()
        assert entry.outcome is Outcome.interrupted
        assert len(rejected) == attempt - 1
    assert (await upgraded(world))[0].outcome is Outcome.rejected


async def test_the_next_version_takes_over_between_two_cycles_and_never_in_one(world: World) -> None:
    activate = world.activator.activate
    during = []

    async def with_a_new_daemon(toplevel: object, action: str, tag: str) -> int:
        world.successor.ready = True
        during.append(world.successor.handed_over)
        return await activate(toplevel, action, tag)  # type: ignore[arg-type]

    world.activator.activate = with_a_new_daemon  # type: ignore[method-assign, assignment]
    daemon = await world.start()
    outcome, _ = await daemon.end_of(await daemon.ask())
    while not world.successor.handed_over:  # at rest
        await asyncio.sleep(0.01)
    assert outcome is Outcome.success
    assert during == [0, 0]
    assert world.successor.handed_over == 1
    await daemon.stop()


async def test_a_version_that_was_not_handed_over_to_is_tried_again_at_rest_and_less_and_less_often(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gitopsd.daemon.loop._RENEW_FIRST", 0.1)
    tried: list[float] = []

    async def in_vain(spare: StorePath | None) -> None:
        tried.append(world.clock.time)
        if len(tried) == 5:
            world.successor.ready = False
        raise Failed("it does not start")

    world.successor.hand_over = in_vain  # type: ignore[method-assign]
    world.successor.ready = True
    daemon = await world.start()
    while world.successor.ready:
        world.clock.time += 0.05
        await asyncio.sleep(0.05)
    await daemon.stop()
    pauses = [after - before for before, after in itertools.pairwise(tried)]
    assert pauses == sorted(pauses)
    assert pauses[-1] > 5 * pauses[0] > 0


WRITES = ("activate", "set_profile", "restore_profile", "forget")


async def crash_once(world: World, at: int, *, after: bool, reboot: bool) -> bool:
    """Run an upgrade that is killed at the `at`-th write; then start again. Whether it was killed at all."""
    crashing = Crashing(at, after=after)
    crashing.wrap(world.activator, WRITES)
    daemon = await world.start(crashing)
    await daemon.end_of(await daemon.ask())
    await daemon.stop()
    crashed = daemon.crashed
    crashing.at = -1
    if crashed:
        if reboot:
            world.clock.boot = "boot-2"
            world.activator.current = world.activator.boot_default
            world.activator.done.clear()
        daemon = await world.start()
        await daemon.rests()
        await daemon.stop()
    return crashed


@pytest.mark.parametrize("reboot", [False, True], ids=["kill -9", "power cut"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("bad", [False, True], ids=["good system", "bad system"])
async def test_killed_at_any_write_it_comes_back_and_the_world_is_right(
    tmp_path: Path, *, reboot: bool, after: bool, bad: bool
) -> None:
    points = 0
    for at in range(1, 60):
        directory = tmp_path / str(at)
        directory.mkdir()
        world = World(directory)
        if bad:

            async def health(names: object, world: World = world) -> object:
                good = world.activator.current == OLD
                return (unit("sshd.service", "active" if good else "failed"),)

            world.units.health = health  # type: ignore[assignment,method-assign]
        if not await crash_once(world, at, after=after, reboot=reboot):
            break
        points += 1
        tags = [tag for _, _, tag in world.activator.activations]
        assert reboot or len(tags) == len(set(tags)), "a switch was done twice"
        assert world.activator.current == world.activator.boot_default, f"between two systems at {at}"
        assert world.activator.facts().profile == world.activator.boot_default, f"profile differs at {at}"
        daemon = await world.start()
        snapshot = daemon.loop.snapshot()
        assert snapshot.state in RESTING
        assert await daemon.store.unfinished_cycle() is None
        if bad:
            assert world.activator.current == OLD
            assert snapshot.state is not State.idle or snapshot.last_upgrade is None
        if snapshot.deployed is not None:
            assert snapshot.deployed.toplevel == world.activator.current, "a success that it did not see"
        await daemon.stop()
    assert points >= 10
