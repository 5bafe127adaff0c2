"""What a boot must prove, over time."""

import msgspec
import pytest
from unit.fakes import FakeClock, FakeProber, FakeUnits, unit

from gitopsd.boot.watching import Watching
from gitopsd.config import ProbeConfig
from gitopsd.errors import Cause, Transient

PROBE = ProbeConfig(tcp="127.0.0.1:22", boot=True)


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.units = FakeUnits(self.clock)
        self.prober = FakeProber()

    async def problem(self, *probes: ProbeConfig) -> str:
        return await Watching(
            self.units,
            self.prober,
            self.clock.monotonic,
            names=("sshd.service",),
            own="gitopsd.service",
            probes=probes,
            deadline=20.0,
            soak=5.0,
        ).problem()


async def test_a_boot_is_good_once_the_units_are_active_and_stay_so_for_the_soak() -> None:
    world = World()
    world.units.script = [{"sshd.service": unit("sshd.service", "inactive")}] * 3 + [{}]
    started = world.clock.monotonic()
    assert await world.problem() == ""
    assert world.clock.monotonic() - started >= 3 + 5


async def test_a_unit_that_fails_is_told_at_once() -> None:
    world = World()
    world.units.script = [{"sshd.service": unit("sshd.service", "failed")}]
    assert await world.problem() == "sshd.service has failed"
    assert world.clock.slept == []


async def test_a_unit_that_does_not_exist_is_told() -> None:
    world = World()
    world.units.script = [{"sshd.service": unit("sshd.service", "inactive", loaded=False)}]
    assert "does not exist" in await world.problem()


async def test_a_unit_that_never_becomes_active_is_told_at_the_deadline() -> None:
    world = World()
    world.units.script = [{"sshd.service": unit("sshd.service", "activating")}]
    assert await world.problem() == "sshd.service not active after 20 s"


@pytest.mark.parametrize("state", ["failed", "activating"])
async def test_a_daemon_that_this_boot_should_have_and_that_does_not_run_is_told(state: str) -> None:
    world = World()
    daemon = msgspec.structs.replace(unit("gitopsd.service", state), wanted=True)
    world.units.script = [{"gitopsd.service": daemon}]
    assert (await world.problem()).startswith("gitopsd.service ")


@pytest.mark.parametrize("more", [{"wanted": False}, {"loaded": False}], ids=["disabled", "masked, or not there"])
async def test_a_daemon_that_nobody_wants_is_not_asked_for(more: dict[str, bool]) -> None:
    world = World()
    daemon = msgspec.structs.replace(unit("gitopsd.service", "inactive"), **{"wanted": True, **more})
    world.units.script = [{"gitopsd.service": daemon}]
    assert await world.problem() == ""


async def test_a_unit_that_restarts_in_the_soak_is_told() -> None:
    world = World()
    world.units.script = [{}, {}, {"sshd.service": unit("sshd.service", restarts=1, pid=8)}]
    assert await world.problem() == "sshd.service restarted"


async def test_a_probe_is_waited_for_and_asked_again_at_the_end() -> None:
    world = World()
    world.prober.problems = ["no answer", "no answer", "", "it is gone again"]
    assert await world.problem(PROBE) == "it is gone again"
    world.prober.problems = ["no answer", ""]
    assert await world.problem(PROBE) == ""
    world.prober.problems = ["no answer"]
    assert await world.problem(PROBE) == "no answer after 20 s"


async def test_a_bus_that_is_not_up_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    health, asked = world.units.health, 0

    async def later(names: tuple[str, ...]) -> object:
        nonlocal asked
        asked += 1
        if asked < 4:
            raise Transient("no bus", cause=Cause.timeout)
        return await health(names)

    monkeypatch.setattr(world.units, "health", later)
    assert await world.problem() == ""


async def test_a_bus_that_never_comes_up_is_told_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    async def never(names: tuple[str, ...]) -> object:
        raise Transient("no bus", cause=Cause.timeout)

    monkeypatch.setattr(world.units, "health", never)
    assert await world.problem() == "no bus after 20 s"
