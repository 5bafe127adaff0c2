"""When a host reboots by itself; and what waited for the reboot proves itself after it."""

import asyncio
import datetime as dt
import zoneinfo
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest
from unit.fakes import NEW, OLD, REV_B, unit
from unit.world import Daemon, World, upgraded

from gitopsd.config import RebootConfig, parse
from gitopsd.errors import ConfigError
from gitopsd.types import BootFacts, Outcome
from gitopsd.windows import opens_in, parse_window

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


def berlin(at: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(at, BERLIN)


def at(text: str) -> float:
    return dt.datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


@pytest.mark.parametrize(
    ("window", "moment", "inside"),
    [
        ("02:00-04:00", "2026-11-24 02:00:00", True),
        ("02:00-04:00", "2026-11-24 04:00:59", True),
        ("02:00-04:00", "2026-11-24 04:01:00", False),
        ("02:00-04:00", "2026-11-24 01:59:59", False),
        ("Sat,Sun 01:00-05:00", "2026-11-28 03:00:00", True),
        ("Sat,Sun 01:00-05:00", "2026-11-27 03:00:00", False),
        ("Fri 22:00-04:00", "2026-11-28 03:00:00", True),  # Saturday's small hours belong to Friday's night
        ("Fri 22:00-04:00", "2026-11-27 03:00:00", False),
        ("Fri 22:00-04:00", "2026-11-27 23:00:00", True),
        ("03:00-03:00", "2026-11-24 03:00:30", True),
    ],
)
def test_a_window_includes_its_bounds_and_belongs_to_the_day_it_begins_on(
    window: str, moment: str, *, inside: bool
) -> None:
    found = parse_window(window)
    assert found is not None
    assert found.has(berlin(at(moment))) is inside


@pytest.mark.parametrize("text", ["", "2:00-4:00", "24:00-25:00", "02:60-03:00", "Xyz 02:00-03:00", "02:00", "02:00-"])
def test_what_is_no_window_is_none(text: str) -> None:
    assert parse_window(text) is None


def opens(window: str, now: float) -> dt.datetime:
    found = parse_window(window)
    assert found is not None
    ahead = opens_in([found], now, berlin)
    assert ahead is not None
    return berlin(now + ahead)


def test_a_window_opens_at_its_time_on_the_wall_over_both_changes_of_the_clock() -> None:
    assert opens("04:00-05:00", at("2026-03-28 12:00")) == dt.datetime(2026, 3, 29, 4, tzinfo=BERLIN)
    assert opens("04:00-05:00", at("2026-10-24 12:00")) == dt.datetime(2026, 10, 25, 4, tzinfo=BERLIN)


def test_a_window_in_the_hour_that_is_skipped_waits_for_the_next_day() -> None:
    assert opens("02:10-02:50", at("2026-03-28 12:00")) == dt.datetime(2026, 3, 30, 2, 10, tzinfo=BERLIN)
    # One that is open when the clock jumps opens with the first minute that there is.
    assert opens("02:30-03:30", at("2026-03-29 00:00")) == dt.datetime(2026, 3, 29, 3, 0, tzinfo=BERLIN)


def test_a_window_in_the_hour_that_is_repeated_comes_at_its_first_showing() -> None:
    assert opens("02:10-02:50", at("2026-10-25 00:00")) == dt.datetime(2026, 10, 25, 2, 10, tzinfo=BERLIN, fold=0)


def test_faults_of_the_section_are_told() -> None:
    text = b'[config]\nrepo_url = "x"\n[reboot]\npolicy = "window"\nwindows = ["night"]\ntime_zone = "Mars/Base"\n'
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert "reboot.windows[0]: found 'night'" in caught.value.message
    assert "reboot.time_zone: found 'Mars/Base'" in caught.value.message
    with pytest.raises(ConfigError, match="at least one"):
        parse(b'[config]\nrepo_url = "x"\n[reboot]\npolicy = "window"\n')


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def looked(daemon: Daemon) -> str:
    """Have the loop look again; returns what status says of the reboot."""
    daemon.loop.use(daemon.loop._next_steps)
    for _ in range(50):
        await asyncio.sleep(0.002)
    need = daemon.loop.snapshot().reboot
    return "" if need is None else f"{', '.join(need.reasons)}: {need.plan}"


async def with_new_kernel(world: World, **reboot: object) -> Daemon:
    await upgraded(world)
    world.activator.reboot_reasons = ("kernel",)
    world.reboot = msgspec.structs.replace(RebootConfig(), **reboot)
    daemon = await world.start()
    await daemon.rests()
    return daemon


async def test_never_is_never_and_status_says_why_and_since_when(world: World) -> None:
    daemon = await with_new_kernel(world)
    assert await looked(daemon) == "kernel: a person decides"
    since = daemon.loop.snapshot().reboot
    await daemon.stop()
    world.clock.time += 5000
    daemon = await world.start()
    assert await looked(daemon) == "kernel: a person decides"
    assert daemon.loop.snapshot().reboot == since
    assert world.power.reboots == 0
    world.activator.reboot_reasons = ()
    assert await looked(daemon) == ""
    await daemon.stop()


async def test_when_required_reboots_once_and_not_again_for_the_same_system(world: World) -> None:
    daemon = await with_new_kernel(world, policy="when-required")
    await looked(daemon)
    assert world.power.reboots == 1
    await looked(daemon)
    assert world.power.reboots == 1
    await daemon.stop()
    world.clock.boot = "boot-2"  # and the boot loader took the old kernel all the same
    daemon = await world.start()
    assert "it was rebooted for that once" in await looked(daemon)
    assert world.power.reboots == 1
    await daemon.stop()


async def test_it_waits_for_people_unless_told_to_ignore_them(world: World) -> None:
    world.power.people = ("olga",)
    daemon = await with_new_kernel(world, policy="when-required")
    assert await looked(daemon) == "kernel: waits until olga has logged out"
    assert world.power.reboots == 0
    world.power.people = ()
    await looked(daemon)
    assert world.power.reboots == 1
    await daemon.stop()


async def test_a_suspended_host_is_not_rebooted(world: World) -> None:
    await upgraded(world)
    daemon = await world.start()
    await daemon.loop.suspend(0, reason="", requested_by="olga")
    await daemon.stop()
    daemon = await _suspended(world)
    assert await looked(daemon) == "kernel: not while it is suspended or blocked"
    assert world.power.reboots == 0
    await daemon.loop.resume()
    await looked(daemon)
    assert world.power.reboots == 1
    await daemon.stop()


async def _suspended(world: World) -> Daemon:
    world.activator.reboot_reasons = ("kernel",)
    world.reboot = RebootConfig(policy="when-required")
    return await world.start()


async def test_it_waits_for_the_window(world: World) -> None:
    world.clock.time = at("2026-11-24 12:00")
    daemon = await with_new_kernel(world, policy="window", windows=("02:00-04:00",), time_zone="Europe/Berlin")
    assert await looked(daemon) == "kernel: in the window that opens 2026-11-25 02:00"
    assert world.power.reboots == 0
    world.clock.time = at("2026-11-25 02:00")
    await looked(daemon)
    assert world.power.reboots == 1
    await daemon.stop()


async def test_a_boot_default_that_gitopsd_did_not_deploy_is_left_to_a_person(world: World) -> None:
    daemon = await with_new_kernel(world, policy="when-required")
    await daemon.stop()
    world.power.reboots = 0
    world.path.unlink()  # what was deployed is forgotten
    daemon = await world.start()
    assert await looked(daemon) == "kernel: the boot default is not what gitopsd deployed: a person decides"
    assert world.power.reboots == 0
    await daemon.stop()


async def test_what_can_only_be_booted_proves_itself_after_the_reboot(world: World) -> None:
    world.activator.statuses["test new"] = 100
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.at_reboot
    assert "init interface changed" in summary.message
    daemon = await world.start()
    assert "init interface changed" in await looked(daemon)
    assert daemon.loop.snapshot().deployed is None
    await daemon.stop()
    world.activator.current, world.clock.boot = NEW, "boot-2"
    daemon = await world.start()
    await daemon.rests()
    await looked(daemon)
    shown = daemon.loop.snapshot()
    assert shown.last_upgrade is not None
    assert (shown.last_upgrade.outcome, shown.last_upgrade.requested_by) == (Outcome.success, "boot")
    assert shown.deployed is not None
    assert shown.deployed.revision == REV_B
    assert shown.reboot is None
    await daemon.stop()


async def test_a_generation_picked_by_hand_while_what_was_booted_is_verified_changes_no_default(tmp_path: Path) -> None:
    world = World(tmp_path, mode="boot")
    await upgraded(world)
    world.activator.current, world.clock.boot = NEW, "boot-2"
    default, generation = world.activator.boot_default, world.activator.generation
    plain, looking = world.units.health, asyncio.Event()

    async def hangs(names: object) -> NoReturn:
        looking.set()
        await asyncio.Event().wait()
        raise AssertionError

    world.units.health = hangs  # type: ignore[method-assign]
    daemon = await world.start()
    await asyncio.wait_for(looking.wait(), 10)
    await daemon.stop()  # the person reboots, and picks the old one
    world.units.health = plain  # type: ignore[method-assign]
    world.activator.current, world.clock.boot = OLD, "boot-3"
    daemon = await world.start()
    await daemon.rests()
    await looked(daemon)
    assert default == NEW
    assert (world.activator.boot_default, world.activator.generation) == (default, generation)
    await daemon.stop()


async def test_what_was_booted_and_is_bad_is_left_and_rejected(tmp_path: Path) -> None:
    world = World(tmp_path, mode="boot")
    await upgraded(world)
    world.activator.current, world.clock.boot = NEW, "boot-2"
    world.activator.done.clear()

    async def health(names: object) -> object:
        return (unit("sshd.service", "active" if world.activator.current == OLD else "failed"),)

    world.units.health = health  # type: ignore[assignment,method-assign]
    daemon = await world.start()
    await daemon.rests()
    await looked(daemon)
    shown = daemon.loop.snapshot()
    assert shown.last_upgrade is not None
    assert shown.last_upgrade.outcome is Outcome.rolled_back
    assert world.activator.current == world.activator.boot_default == OLD
    assert [rejection.revision for rejection in shown.rejected] == [REV_B]
    await daemon.stop()


@pytest.mark.parametrize(("verdict", "proved"), [("good", True), ("bad", False)])
async def test_it_waits_for_the_assessment_of_the_boot_and_leaves_a_bad_one_to_it(
    tmp_path: Path, verdict: str, *, proved: bool
) -> None:
    world = World(tmp_path, mode="boot")
    await upgraded(world)
    world.activator.current, world.clock.boot = NEW, "boot-2"
    world.activator.done.clear()
    verdicts = ["pending", "pending"]

    def facts() -> BootFacts:
        return BootFacts(verdict=verdicts.pop() if verdicts else verdict)

    world.golden.facts = facts  # type: ignore[method-assign]
    daemon = await world.start()
    await looked(daemon)
    shown = daemon.loop.snapshot()
    assert shown.last_upgrade is None or not proved or shown.last_upgrade.requested_by == "boot"
    assert (shown.deployed is not None) is proved
    await daemon.stop()
