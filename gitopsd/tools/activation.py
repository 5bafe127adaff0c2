"""Activation: switch-to-configuration in a named transient unit.

Never as our own child: the switch may stop, replace or restart us, re-execute PID 1 and drop the bus. The unit's name is
the one nixos-rebuild uses, so that systemd itself refuses two switches at the same moment. It is of type `exec`: a
`oneshot` would stay a pending job, and switch-to-configuration waits for the boot's job queue to become empty. It stays
loaded after its end, so that a daemon that was killed meanwhile still learns the result.
"""

import os
from pathlib import Path

from gitopsd.checks.comparison import needs_reboot
from gitopsd.errors import Cause, Failed, Transient
from gitopsd.ports import Clock
from gitopsd.tools.nix import Nix, store_path_at
from gitopsd.tools.systemd import Systemd, Unit, command, exit_statuses, flag, microseconds, text, texts
from gitopsd.types import StorePath, SystemFacts

UNIT = "nixos-rebuild-switch-to-configuration.service"
_LOOK = 1.0  # seconds between two looks when no signal comes
_MARK = "gitopsd: "  # begins the description of our activations


class Switching:
    """Runs switch-to-configuration.

    Args:
        systemd: the connection to PID 1.
        clock: time.
        timeout: seconds that one activation may take.

    """

    def __init__(self, systemd: Systemd, clock: Clock, *, timeout: float) -> None:
        self._systemd = systemd
        self._clock = clock
        self._timeout = timeout

    async def activate(self, toplevel: StorePath, action: str, tag: str, *, in_turn: bool = False) -> int:
        """See `ports.Activator`."""
        wanted = f"{_MARK}{action} {toplevel} ({tag})"
        async with self._systemd.watch() as watch:
            await self._started(toplevel, action, wanted, patience=self._timeout + 30 if in_turn else 0)
            deadline = self._clock.monotonic() + self._timeout + 30
            while (unit := await self._systemd.unit(UNIT)) is None or not _ended(unit):
                if unit is None:
                    raise Transient(f"{UNIT} was removed while it ran", cause=Cause.timeout)
                if self._clock.monotonic() > deadline:
                    raise Transient(f"{UNIT} did not end within {self._timeout:g} s", cause=Cause.timeout)
                await watch.wait(_LOOK)
        if unit["Result"] == "timeout":
            raise Failed(
                f"`switch-to-configuration {action}` did not end within {self._timeout:g} s and was ended",
                meaning="what it had done by then is not known",
                advice=f"`journalctl -u {UNIT}` tells how far it got; a longer limit is `switch.timeout`",
            )
        status = int(unit["ExecMainStatus"])
        return status if unit["ExecMainCode"] == os.CLD_EXITED else -status

    async def forget(self) -> None:
        """See `ports.Activator`."""
        unit = await self._systemd.unit(UNIT)
        if unit is not None and str(unit["Description"]).startswith(_MARK) and _ended(unit):
            await self._remove(unit)

    async def _started(self, toplevel: StorePath, action: str, wanted: str, *, patience: float) -> None:
        """Start the unit, unless it is there already: from before a crash, or from a start that nobody answered."""
        give_up, unanswered = self._clock.monotonic() + patience, 0
        while True:
            unit = await self._systemd.unit(UNIT)
            if unit is not None and unit["Description"] == wanted:
                return
            try:
                if unit is not None:
                    await self._make_room(unit)
                await self._systemd.start_transient(UNIT, self._properties(toplevel, action, wanted))
            except Transient as error:
                unanswered += error.cause is Cause.timeout
                waits = error.cause is Cause.lock_held and self._clock.monotonic() < give_up
                if not waits and (error.cause is not Cause.timeout or unanswered > 1):
                    raise
                if waits:
                    await self._clock.sleep(_LOOK)
            else:
                return

    async def _make_room(self, unit: Unit) -> None:
        """Remove an earlier activation that has ended; one that runs belongs to somebody else."""
        if not _ended(unit):
            raise Transient(
                f"another activation is running: {unit['Description']}",
                cause=Cause.lock_held,
                meaning="two switches at the same moment would leave neither system whole; nothing was started",
                advice=f"wait for it: `journalctl -fu {UNIT}`",
            )
        await self._remove(unit)

    async def _remove(self, unit: Unit) -> None:
        if unit["ActiveState"] == "failed":
            await self._systemd.reset_failed(UNIT)
        else:
            await self._systemd.stop_unit(UNIT)
        async with self._systemd.watch() as watch:
            deadline = self._clock.monotonic() + 10
            while await self._systemd.unit(UNIT) is not None:
                if self._clock.monotonic() > deadline:
                    raise Transient(f"{UNIT} has ended and does not go away", cause=Cause.lock_held)
                await watch.wait(0.05)

    def _properties(self, toplevel: StorePath, action: str, description: str) -> list[tuple[str, object]]:
        """As nixos-rebuild-ng runs it, with the result kept (nixos-rebuild-ng, `switch_to_configuration`)."""
        passed = [f"{name}={os.environ[name]}" for name in ("LOCALE_ARCHIVE", "NIXOS_NO_CHECK") if name in os.environ]
        return [
            ("Description", text(description)),
            ("Type", text("exec")),
            ("RemainAfterExit", flag(value=True)),
            ("ExecStart", command([f"{toplevel}/bin/switch-to-configuration", action])),
            ("Environment", texts(["NIXOS_INSTALL_BOOTLOADER=0", *passed])),
            # "It switched, but units failed": the activation itself is no unit that failed.
            ("SuccessExitStatus", exit_statuses([4])),
            ("RuntimeMaxUSec", microseconds(self._timeout)),
        ]


class Activation(Switching):
    """`ports.Activator`.

    Args:
        systemd: the connection to PID 1.
        nix: the system profile.
        clock: time.
        timeout: seconds that one activation may take.

    """

    def __init__(self, systemd: Systemd, nix: Nix, clock: Clock, *, timeout: float) -> None:
        super().__init__(systemd, clock, timeout=timeout)
        self._nix = nix

    def facts(self) -> SystemFacts:
        """See `ports.Activator`."""
        profile, booted = self._nix.profile(), Path("/run/booted-system")
        return SystemFacts(
            current=store_path_at(Path("/run/current-system")),
            booted=store_path_at(booted),
            profile=profile,
            generation=self._nix.generation(),
            reboot=needs_reboot(profile, booted) if profile is not None else (),
        )

    def generations(self) -> dict[int, StorePath]:
        """See `ports.Activator`."""
        return self._nix.generations()

    async def set_profile(self, toplevel: StorePath) -> int:
        """See `ports.Activator`."""
        return await self._nix.set_profile(toplevel)

    async def restore_profile(self, generation: int) -> None:
        """See `ports.Activator`."""
        await self._nix.restore_profile(generation)


def _ended(unit: Unit) -> bool:
    """Whether the program has run to its end. `dead` is not it: that is also a unit whose start is still queued."""
    return unit["SubState"] in ("exited", "failed")
