"""What must hold for boots, point by point (the numbers are those of the requirement), on a machine in a directory."""

import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from unit.boot_world import GOLDEN, NEWER, THIRD, Booting, CrashDisk, Rebooted, World, proved

from gitopsd.boot.begin import begin
from gitopsd.boot.disk import Disk
from gitopsd.boot.judge import Rules
from gitopsd.boot.place import Machine
from gitopsd.boot.record import Attempt, Damaged, Generation, Rollback
from gitopsd.boot.verdict import bad, bless, carry_on, known
from gitopsd.boot.verify import verify
from gitopsd.boot.view import view
from gitopsd.cli import render
from gitopsd.config import load
from gitopsd.errors import ConfigError


@pytest.fixture
def world(tmp_path: Path) -> World:
    return proved(tmp_path)


def test_1_a_bad_verdict_a_hang_and_a_power_cut_count_and_an_orderly_shutdown_does_not(world: World) -> None:
    world.rules = Rules(max_attempts=9)
    world.deploy(NEWER, "bad", "hang", "shut-down", "hang", "good")
    for count, ended in ((1, "rebooted"), (2, "hung"), (2, "shut-down"), (3, "hung")):
        assert world.boot() == ended
        assert world.failures(NEWER) == count
    assert world.boot() == "up"
    assert world.failures(NEWER) == 0


def test_1_counts_belong_to_the_generation(world: World) -> None:
    world.deploy(NEWER, "hang")
    world.boot()
    world.deploy(THIRD, "hang")
    world.boot()
    assert (world.failures(NEWER), world.failures(THIRD), world.failures(GOLDEN)) == (1, 1, 0)
    assert world.boot() == "hung"  # the second attempt of THIRD: what NEWER did is none of its doing
    assert world.booted == THIRD


def test_2_golden_is_a_link_that_the_garbage_collector_and_the_boot_loader_see(world: World) -> None:
    profile = world.root / "profiles" / "system-profiles" / "golden"
    assert profile.readlink() == Path("golden-1-link")
    assert str((profile.parent / "golden-1-link").readlink()) == GOLDEN
    assert profile.name.isalnum()  # install-grub.pl takes no other names


def test_3_a_golden_that_fails_too_leaves_the_machine_up_and_blocked(world: World) -> None:
    world.manners[GOLDEN] = ["bad"]
    world.deploy(NEWER, "bad")
    assert world.settle() == GOLDEN
    assert world.own_reboots == 2
    last = world.at().record.rollback()
    assert last is not None
    assert last.how == "golden-failed"
    assert "the golden generation failed too" in last.reason
    assert "blocked" in world.notice()
    for _ in range(4):  # however often somebody reboots it
        assert world.boot() == "up"
        assert "blocked" in world.notice()
    assert world.own_reboots == 2


@pytest.mark.parametrize("attempts", [1, 2, 3, 5])
@pytest.mark.parametrize("manner", ["bad", "hang"])
def test_3_no_more_reboots_than_attempts_and_one(tmp_path: Path, attempts: int, manner: str) -> None:
    world = proved(tmp_path, Rules(max_attempts=attempts))
    world.deploy(NEWER, manner)
    assert world.settle() == GOLDEN
    assert sum(toplevel == NEWER for toplevel, _ in world.history) <= attempts + 1
    assert world.own_reboots <= attempts
    assert len(world.history) - 1 <= attempts + 1


def test_4_no_golden_no_rollback_no_reboot_and_the_reason_is_shown(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.deploy(NEWER, "bad")
    for count in range(1, 5):
        assert world.boot() == "up"
        assert world.failures(NEWER) == count
        assert "no golden generation" in world.notice()
    assert world.own_reboots == 0
    assert world.default == NEWER


def test_2_golden_says_since_when_unless_the_clock_was_not_set(world: World) -> None:
    link = world.root / "profiles" / "system-profiles" / "golden-1-link"
    assert world.at().golden.since() == pytest.approx(time.time(), abs=600)
    os.utime(link, (2e9, 2e9), follow_symlinks=False)
    world.boot()  # it is golden already, and stays so since then
    assert world.at().golden.since() == 2e9
    os.utime(link, (60.0, 60.0), follow_symlinks=False)
    assert world.at().golden.since() == 0
    world.at().golden.remove()
    assert world.at().golden.since() == 0


def test_6_what_was_deployed_is_not_golden_before_it_has_booted_well(world: World) -> None:
    world.deploy(NEWER, "good")
    assert world.at().golden.target() == GOLDEN
    world.boot()
    assert world.at().golden.target() == NEWER


def test_6_without_auto_pin_golden_stays_what_it_is(world: World) -> None:
    world.auto_pin = False
    world.deploy(NEWER, "good")
    world.boot()
    assert world.at().golden.target() == GOLDEN
    assert not world.at().record.generation(GOLDEN).doubt


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "truncated": lambda raw: raw[: len(raw) // 2],
    "garbage": lambda raw: b"\0" * len(raw),
    "changed": lambda raw: raw.replace(b'"blessed": false', b'"blessed": true'),
    "from a newer version": lambda raw: raw.replace(b'"version": 1', b'"version": 2'),
    "another shape": lambda _: b"[]",
}


@pytest.mark.parametrize("how", DAMAGE)
def test_7_a_damaged_record_is_unknown_never_good_and_is_kept_and_told(world: World, how: str) -> None:
    world.deploy(NEWER, "hang", "bad")
    world.boot()
    path = next((world.root / "state" / "boot").glob("generation-n*.json"))
    raw = path.read_bytes()
    path.write_bytes(DAMAGE[how](raw))
    assert world.boot() == "rebooted"  # it is bad, and of how many it is the last nobody knows: golden at once
    assert world.boot() == "up"
    assert world.booted == world.default == GOLDEN
    assert path.with_name(path.name + ".damaged-1").read_bytes() == DAMAGE[how](raw)


@pytest.mark.parametrize("how", DAMAGE)
def test_7_of_a_damaged_rollback_it_is_not_known_whether_it_was_so_nothing_reboots(world: World, how: str) -> None:
    world.deploy(NEWER, "bad")
    world.settle()
    path = world.root / "state" / "boot" / "rollback.json"
    path.write_bytes(DAMAGE["garbage" if how == "changed" else how](path.read_bytes()))
    reboots = world.own_reboots
    assert world.boot(pick=NEWER) == "up"
    assert world.own_reboots == reboots
    assert "counts as unknown" in world.notice()


def test_8_a_record_that_cannot_be_written_does_not_stop_the_boot_and_nothing_is_rebooted(world: World) -> None:
    world.deploy(NEWER, "bad")

    class Full(Disk):
        def write_new(self, path: str, data: bytes) -> None:
            raise OSError(28, "No space left on device", path)

    for _ in range(4):
        assert world.boot(Full()) == "up"
        assert "No space left on device" in world.notice()
    assert world.own_reboots == 0


def test_9_a_generation_picked_by_hand_is_assessed_and_does_not_change_the_default(world: World) -> None:
    world.deploy(NEWER, "good")
    world.boot()
    world.deploy(THIRD, "good")
    world.manners[GOLDEN] = ["bad"]
    assert world.boot(pick=GOLDEN) == "up"
    assert world.default == THIRD
    world.manners[NEWER] = ["bad"]
    world.at().record.generation(NEWER)
    assert world.boot(pick=NEWER) == "up"
    assert world.failures(NEWER) == 1
    world.manners[NEWER] = ["good"]
    assert world.boot(pick=NEWER) == "up"
    assert world.failures(NEWER) == 0
    assert world.default == THIRD
    assert world.own_reboots == 0


def test_9_one_on_trial_that_is_picked_by_hand_is_not_rebooted_from(world: World) -> None:
    world.manners[THIRD] = ["bad"]
    for count in (1, 2, 3):
        assert world.boot(pick=THIRD) == "up"
        assert world.failures(THIRD) == count
    assert "picked by hand" in world.notice()
    assert world.default == GOLDEN


def test_10_one_that_has_proved_itself_is_reported_and_left_alone(world: World) -> None:
    world.deploy(NEWER, "good", "bad")
    world.boot()
    world.at().golden.set(GOLDEN)  # a person has pinned another one
    for count in (1, 2, 3):
        assert world.boot() == "up"
        assert world.failures(NEWER) == count
    assert "has booted well before" in world.notice()
    assert world.own_reboots == 0
    assert world.default == NEWER


def test_10_unless_the_person_wants_it_otherwise(world: World) -> None:
    world.rules = Rules(trial_only=False)
    world.deploy(NEWER, "good", "bad")
    world.boot()
    world.at().golden.set(GOLDEN)
    assert world.settle() == GOLDEN
    assert world.own_reboots == 2


def test_a_bad_boot_may_be_left_alone(world: World) -> None:
    world.rules = Rules(stay=True)
    world.deploy(NEWER, "bad")
    assert world.boot() == "up"
    assert world.boot() == "up"
    assert "on_boot_failure" in world.notice()
    assert world.own_reboots == 0
    assert world.boot() == "left"  # two attempts were bad
    assert world.settle() == GOLDEN


def test_a_boot_that_ends_in_emergency_mode_is_bad(world: World) -> None:
    world.deploy(NEWER, "emergency")
    assert world.boot() == "rebooted"
    assert world.failures(NEWER) == 1
    assert world.settle() == GOLDEN


def test_emergency_mode_that_a_person_asked_for_is_left_alone(world: World) -> None:
    world.repairs = True
    world.deploy(NEWER, "emergency")
    assert world.boot() == "up"
    assert world.own_reboots == 0


def test_a_golden_that_is_gone_is_not_fallen_back_to(world: World) -> None:
    world.deploy(NEWER, "bad")
    world.gone.add(GOLDEN)
    assert [world.boot() for _ in range(4)] == ["up"] * 4
    assert "gone or not whole" in world.notice()
    assert world.default == NEWER


def test_a_missing_profile_does_not_keep_it_from_falling_back(world: World) -> None:
    world.deploy(NEWER, "bad")
    world.boot()
    (world.root / "profiles" / "system").unlink()
    assert world.settle() == GOLDEN
    assert world.at().system.target() == GOLDEN


def test_a_boot_loader_that_cannot_be_installed_leaves_the_machine_up_and_is_tried_again_later(world: World) -> None:
    world.deploy(NEWER, "bad")
    world.boot()
    world.no_loader = True
    assert world.boot() == "up"
    assert "rollback did not work" in world.notice()
    assert world.boot() == "up"
    world.no_loader = False
    assert world.boot() == "left"
    assert world.boot() == "up"
    assert world.booted == GOLDEN


def test_what_was_rolled_back_and_is_made_the_default_again_is_fallen_back_from_again(world: World) -> None:
    world.deploy(NEWER, "bad")
    assert world.settle() == GOLDEN
    world.deploy(NEWER, "bad")
    assert world.settle() == GOLDEN
    assert world.failures(GOLDEN) == 0


def test_what_was_rolled_back_and_is_picked_by_hand_stays_up(world: World) -> None:
    world.deploy(NEWER, "bad")
    world.settle()
    assert world.boot(pick=NEWER) == "up"
    assert "rolled back already" in world.notice()
    assert world.default == GOLDEN


def test_a_clock_of_1970_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unit.boot_world.Booting.now", lambda _: 0.0)
    world.deploy(NEWER, "hang")
    assert world.settle() == GOLDEN
    assert any("the clock was not set" in trouble for trouble in view(world.at(), 2)["troubles"])


def test_forgiven_boots_are_forgotten(world: World) -> None:
    world.deploy(NEWER, "bad")
    world.settle()
    assert world.at().record.forgive() == 2
    assert world.failures(NEWER) == 0
    assert world.at().record.rollback() is None


def test_records_of_generations_long_gone_are_removed(world: World) -> None:
    toplevels = [f"/nix/store/{number:032d}-nixos-system-x" for number in range(120)]
    for toplevel in toplevels:
        world.deploy(toplevel, "good")
        world.boot()
    files = list((world.root / "state" / "boot").glob("generation-*"))
    assert len(files) <= 51
    assert (
        json.loads(max(files, key=lambda path: path.stat().st_mtime_ns).read_text())["fact"]["toplevel"]
        == toplevels[-1]
    )


def test_11_what_userspace_cannot_see_is_said_with_what_covers_it() -> None:
    page = Path(__file__).parents[2] / "docs" / "explanation" / "what-userspace-cannot-see.md"
    text = page.read_text(encoding="utf-8")
    for words in ("kernel hangs", "boot.loader.systemd-boot.bootCounting", "panic=", "RuntimeWatchdogSec"):
        assert words in text, words


class Killed(BaseException):
    """The process is killed here, and the machine runs on."""


class KillDisk(CrashDisk):
    """Kills the process that writes, before one of its steps; what it wrote is there."""

    def step(self) -> None:
        self.done += 1
        if self.done == self.at:
            raise Killed


def killed_then_restarted(world: World, at: int) -> str:
    """A boot whose begin, verify or bless is killed at a step, and started again by systemd; how it ends.

    Empty if there is no such step any more.
    """
    world.boots += 1
    world.booted = world.default
    disk = KillDisk(at)
    machine, again = world.at(disk), world.at(CrashDisk())
    manner = world.manners[world.booted][0]
    try:
        for step in (begin, lambda it: verdict(it, manner, world)):
            try:
                step(machine)
            except Killed:
                world.restarted = True
                step(again)
                world.restarted = False
    except Rebooted:
        world.restarted = False
        world.own_reboots += 1
        return "rebooted" if disk.done >= at else ""
    return "up" if disk.done >= at else ""


def verdict(machine: Booting, manner: str, world: World) -> None:
    """What verify and bless do, without asking systemd about units."""
    if manner == "good":
        bless(machine, auto_pin=True)
    elif known(machine) == "bad" and machine.restarted(""):
        carry_on(machine, world.rules)
    else:
        bad(machine, "sshd.service has failed", world.rules)


def killed_at_each_step(directory: Path, prepare: Callable[[World], None]) -> Iterator[World]:
    """Worlds whose next boot was killed, each at another step."""
    for at in itertools.count(1):
        (directory / str(at)).mkdir()
        world = proved(directory / str(at))
        prepare(world)
        if not killed_then_restarted(world, at):
            assert at > 8
            return
        yield world


@pytest.mark.parametrize("boot", [1, 2], ids=["first bad boot", "second bad boot"])
def test_1_whoever_kills_begin_or_verify_the_bad_boot_is_counted_and_what_follows_is_done(
    tmp_path: Path, boot: int
) -> None:
    def bad_boots(world: World) -> None:
        world.deploy(NEWER, "bad")
        for _ in range(boot - 1):
            assert world.boot() == "rebooted"

    for world in killed_at_each_step(tmp_path, bad_boots):
        assert world.own_reboots == boot
        assert world.failures(NEWER) == boot
        assert world.settle() == GOLDEN
        assert world.own_reboots == 2
        assert world.default == world.at().system.target() == world.at().golden.target() == GOLDEN
        last = world.at().record.rollback()
        assert last is not None
        assert last.how == "landed"


def test_1_whoever_kills_begin_when_it_falls_back_the_rollback_is_finished(tmp_path: Path) -> None:
    def hangs(world: World) -> None:
        world.deploy(NEWER, "hang")
        assert [world.boot(), world.boot()] == ["hung", "hung"]

    for world in killed_at_each_step(tmp_path, hangs):
        assert world.settle() == GOLDEN
        assert world.own_reboots == 1
        assert world.failures(NEWER) == 2


def test_1_whoever_kills_bless_the_generation_is_golden_and_has_its_boot_entry(tmp_path: Path) -> None:
    for world in killed_at_each_step(tmp_path, lambda world: world.deploy(NEWER, "good")):
        assert world.at().golden.target() == NEWER
        assert world.at().record.generation(NEWER).entry
        assert (world.own_reboots, world.failures(NEWER)) == (0, 0)


def test_1_a_bad_verdict_is_not_acted_on_again_when_a_person_starts_verify(world: World) -> None:
    world.rules = Rules(stay=True)
    world.deploy(NEWER, "bad")
    world.boot()
    said = world.notice()
    world.rules = Rules()
    assert verify(world.at()) == 1
    assert (world.own_reboots, world.notice()) == (0, said)


def test_1_a_shutdown_in_order_does_not_excuse_a_boot_whose_verify_broke(world: World) -> None:
    world.verify_broke = True
    world.deploy(NEWER, "shut-down", "shut-down", "good")
    world.boot()
    assert world.failures(NEWER) == 1
    world.boot()
    assert world.boot() == "left"
    assert world.settle() == GOLDEN


def test_3_no_more_attempts_than_the_record_remembers(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    host = '[config]\nrepo_url = "git@example.org:rain/nix-config.git"\n'
    for wrong in ("0", "-1", "21", "10000", "true", '"2"', "2.0"):
        path.write_text(f"{host}[boot]\nmax_attempts = {wrong}\n")
        with pytest.raises(ConfigError, match="max_attempts"):
            load(path)
        machine = Machine(str(tmp_path / "boot"), str(path))
        assert machine.rules().max_attempts == 2
        assert "boot.max_attempts" in machine.record.troubles[0]
    path.write_text(f"{host}[boot]\nmax_attempts = 20\n")
    assert load(path).boot.max_attempts == Machine(str(tmp_path / "boot"), str(path)).rules().max_attempts == 20
    (tmp_path / "world").mkdir()
    world = proved(tmp_path / "world", Rules(max_attempts=20))
    world.deploy(NEWER, "bad")
    assert world.settle(most=30) == GOLDEN
    assert world.own_reboots == 20


def test_7_a_file_that_never_ends_makes_nobody_wait(world: World) -> None:
    world.deploy(NEWER, "hang", "bad")
    world.boot()
    path = next((world.root / "state" / "boot").glob("generation-n*.json"))
    for make in (
        lambda: os.mkfifo(path),
        path.mkdir,
        lambda: path.write_text("[" * 200_000),
        lambda: path.write_bytes(b" " * (2 << 20)),
        lambda: path.symlink_to(path),
    ):
        path.unlink() if path.exists() or path.is_symlink() else None
        make()
        assert world.at(Disk()).record.generation(NEWER, mend=True).doubt
        assert not os.path.lexists(path)
    assert world.settle() == GOLDEN


@pytest.mark.parametrize("at", [float("inf"), float("nan"), -1.0, 1e300])
def test_7_a_time_that_cannot_be_told_is_damage(world: World, at: float) -> None:
    record = world.at().record
    record.save(Generation(NEWER, attempts=[Attempt("x", at)]))
    record.save(Rollback(left=NEWER, to=GOLDEN, reason="x", boot="x", at=at))
    assert record.generation(NEWER).doubt
    with pytest.raises(Damaged):
        record.rollback()
    assert render.boot(view(world.at(), 2))[0] == "Boot failure count: 0 / 2"


def test_7_whoever_holds_the_lock_does_not_keep_a_bad_boot_from_its_verdict(world: World) -> None:
    world.deploy(NEWER, "bad")
    fd = world.at().record.lock()
    machine = world.at()
    machine.record.patience = 0.1
    with pytest.raises(OSError, match="locked"):
        machine.record.lock()
    world.boots, world.booted = world.boots + 1, world.default
    begin(machine)
    with pytest.raises(Rebooted):
        bad(machine, "sshd.service has failed", world.rules)
    assert world.failures(NEWER) == 1
    os.close(fd)


@pytest.mark.parametrize("what", ["file", "dangling link", "link to itself", "link elsewhere"])
@pytest.mark.parametrize("where", ["state/boot", "state"])
def test_8_whatever_stands_where_the_record_belongs_the_machine_boots_and_is_not_rebooted(
    tmp_path: Path, what: str, where: str
) -> None:
    world = proved(tmp_path)
    world.deploy(NEWER, "bad")
    place, aside = tmp_path / where, tmp_path / "elsewhere"
    place.rename(aside)
    match what:
        case "file":
            place.write_text("not a directory")
        case "dangling link":
            place.symlink_to(tmp_path / "nowhere")
        case "link to itself":
            place.symlink_to(place)
        case _:
            place.symlink_to(aside)
    ended = [world.boot() for _ in range(3)]
    if what == "link elsewhere":  # which is fine
        assert ended == ["rebooted", "rebooted", "up"]
        assert world.booted == GOLDEN
        return
    assert ended == ["up"] * 3
    assert world.own_reboots == 0
    assert "cannot be recorded" in world.notice()


def test_2_a_golden_that_a_person_has_linked_by_hand_counts(world: World) -> None:
    path = world.root / "profiles" / "system-profiles" / "golden"
    path.unlink()
    path.symlink_to(GOLDEN)
    assert world.at().golden.target() == GOLDEN
    world.deploy(NEWER, "bad")
    assert world.settle() == GOLDEN
    assert path.readlink() == Path("golden-1-link")  # as nix has it, and the boot loader's scripts
