"""All checks of a toplevel, in order: what it is, what this machine has room for, how it differs, what the person asks."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from gitopsd.checks import comparison, space, toplevel
from gitopsd.config import SpaceConfig
from gitopsd.errors import GitopsdError, Transient
from gitopsd.tools.process import CommandFailed, Processes
from gitopsd.types import Check, Review, StorePath, Verdict

RUNNING = Path("/run/current-system")
BOOTED = Path("/run/booted-system")
_LOOK = 120.0  # seconds for nix's comparison, and for dry-activate: it waits for a boot that has not ended
_KEPT = 8000  # characters of a text that is kept with the cycle
_STOPS = (Verdict.failed, Verdict.prevented)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a toplevel, as the configuration says.

    Args:
        host: the name of this host in the configuration.
        origin: what the toplevel is built from, for advice.
        units: what verify will ask for.
        mode: `switch.mode`.
        space: what must be free.
        commands: the person's own checks.
        limit: seconds that each of those may take.

    """

    host: str
    origin: str
    units: tuple[str, ...] = ()
    mode: str = "switch"
    space: SpaceConfig = SpaceConfig()
    commands: tuple[str, ...] = ()
    limit: float = 60.0

    def longest(self) -> float:
        """Seconds that an inspection takes at most."""
        return 2 * _LOOK + self.limit * len(self.commands)


class Inspection:
    """`ports.Inspector`.

    Args:
        processes: starts nix, switch-to-configuration and the person's checks.
        wanted: what is asked of a toplevel.

    """

    def __init__(self, processes: Processes, wanted: Wanted) -> None:
        self._processes = processes
        self._wanted = wanted

    async def room(self) -> Check:
        """See `ports.Inspector`."""
        return space.in_store(self._wanted.space.store)

    async def inspect(self, new: StorePath, progress: Callable[[str], None]) -> Review:
        """See `ports.Inspector`. What only reads a few files comes first, and what runs a program of a person's last."""
        wanted = self._wanted
        checks = [toplevel.is_nixos(new, wanted.origin)]
        if _stops(checks):
            return Review(checks=tuple(checks))
        checks += [toplevel.is_for(new, wanted.host, RUNNING), toplevel.has_units(new, wanted.units)]
        checks.append(space.on_boot(new, wanted.space.boot, Path(wanted.space.boot_path)))
        found, unread = _inhibitors(new)
        checks.append(unread or comparison.may_switch(found, wanted.mode))
        review = Review(
            checks=tuple(checks), inhibitors=found, reboot=comparison.needs_reboot(new, BOOTED)
        )  # what is known so far is kept if one of them stops it
        if _stops(checks):
            return review
        progress("comparing it with what runs")
        closure, said = await self._said(["nix", *_NIX, "store", "diff-closures", str(RUNNING), new])
        checks.append(_noted("closure compared", said))
        progress("asking switch-to-configuration what it would do")
        activation, said = await self._said([f"{new}/bin/switch-to-configuration", "dry-activate"])
        checks.append(_noted("dry-activate", said))
        for command in wanted.commands:
            progress(f"validation check `{command}`")
            checks.append(await self._person(command, new))
        return msgspec.structs.replace(review, checks=tuple(checks), closure=closure, activation=activation)

    async def _said(self, argv: Sequence[str]) -> tuple[str, str]:
        """What a program says that changes nothing, and what went wrong with it, if anything.

        Not in a transient unit: that one's name is the mutex of real activations, and this one may be ended at any time.
        """
        try:
            result = await self._processes.run(argv, timeout=_LOOK)
        except GitopsdError as error:
            return "", error.message
        return _cut(f"{result.stdout}\n{result.stderr}".strip()), ""

    async def _person(self, command: str, new: StorePath) -> Check:
        """One of the person's own checks. One that does not end is as good as one that fails."""
        name = f"validation check `{command}`"
        advice = "see what it asks of $TOPLEVEL, mend the configuration, and push a new commit"
        try:
            await self._processes.run(
                ["sh", "-c", command], timeout=self._wanted.limit, env={"TOPLEVEL": new}, output_limit=_LOUD
            )
        except CommandFailed as error:
            result = error.result
            how = f"exit status {result.status}" if result.status >= 0 else f"killed by signal {-result.status}"
            said = _cut("\n".join([how, result.stderr.strip() or result.stdout.strip()]).strip())
            return Check(name=name, verdict=Verdict.failed, said=said, advice=advice)
        except Transient:
            said = f"it did not end within {self._wanted.limit:g} s"
            return Check(name=name, verdict=Verdict.failed, said=said, advice=advice)
        except GitopsdError as error:
            return Check(name=name, verdict=Verdict.prevented, said=error.message, advice=error.advice)
        return Check(name=name, verdict=Verdict.passed)


_NIX = ("--extra-experimental-features", "nix-command")
_LOUD = 1024**2  # bytes that a check may print


def _inhibitors(new: StorePath) -> tuple[tuple[str, ...], Check | None]:
    try:
        return comparison.inhibitors(new, RUNNING), None
    except ValueError as error:
        return (), Check(name="may be switched to", verdict=Verdict.noted, said=str(error))


def _stops(checks: Sequence[Check]) -> bool:
    return any(check.verdict in _STOPS for check in checks)


def _noted(name: str, problem: str) -> Check:
    return Check(name=name, verdict=Verdict.noted if problem else Verdict.passed, said=problem)


def _cut(text: str) -> str:
    return text if len(text) <= _KEPT else f"{text[:_KEPT]}\n… ({len(text) - _KEPT} more characters)"
