"""verify: this boot is good once the units that matter are active, stay so, and the probes for a boot pass.

It begins early and has a deadline of its own, so that a boot that hangs somewhere else gets its verdict too. It asks
systemd over D-Bus and needs no daemon. But a system whose daemon does not run would never fetch its next update: no push
could mend it, so its boot is not good.
"""

import asyncio
import traceback
from pathlib import Path

from gitopsd.boot.place import GOES_DOWN, SWITCHED, VERIFY, Machine
from gitopsd.boot.record import BAD
from gitopsd.boot.verdict import bad, carry_on, known

GOOD_BOOT, BAD_BOOT = 0, 1
_ANYWAY = ("multi-user.target",)  # what must be reached where no units are named
_DAEMON = "gitopsd.service"


def verify(machine: Machine) -> int:
    """Repeatable: a verdict is given once in a boot, and what follows from it is done once.

    Whoever has killed it, systemd starts it again: only then is what follows taken up where it was left.

    Returns:
        `GOOD_BOOT`; or `BAD_BOOT` or `GOES_DOWN`: `boot-complete.target` requires the unit that this runs in.

    """
    if not machine.booted():
        return GOOD_BOOT
    is_bad = known(machine) == BAD
    if is_bad and not machine.restarted(VERIFY):
        machine.notice.say("this boot is bad already")
        return BAD_BOOT
    if machine.switched():
        machine.notice.say(SWITCHED)
        return GOOD_BOOT
    if is_bad:
        carry_on(machine, machine.rules())
        return BAD_BOOT
    try:
        problem = asyncio.run(_watched(machine.config))
    except Exception as error:  # noqa: BLE001 - a system whose verify does not work has not proved itself
        problem = f"it cannot be verified: {_said(error)}"
    if not problem:
        return GOOD_BOOT
    if machine.stopping():
        machine.notice.say(f"the machine goes down before the verdict ({problem})")
        return GOES_DOWN
    bad(machine, problem, machine.rules())
    return BAD_BOOT


def _said(error: Exception) -> str:
    from gitopsd.errors import GitopsdError  # noqa: PLC0415 - what verify imports may be what is broken

    if isinstance(error, GitopsdError):
        return error.message
    traceback.print_exception(error)
    return f"{type(error).__name__}: {error}"


async def _watched(path: str) -> str:
    """What is wrong with this boot, one sentence; empty if it proved itself."""
    from gitopsd.boot.watching import Watching  # noqa: PLC0415 - as in `_said`
    from gitopsd.config import load  # noqa: PLC0415
    from gitopsd.tools.probe import Probes  # noqa: PLC0415
    from gitopsd.tools.process import Processes  # noqa: PLC0415
    from gitopsd.tools.systemd import Systemd  # noqa: PLC0415

    config = load(Path(path))
    systemd, prober = Systemd(), Probes(Processes())
    await systemd.start()
    watching = Watching(
        systemd,
        prober,
        asyncio.get_running_loop().time,
        names=config.verify.validate_units or _ANYWAY,
        own=_DAEMON,
        probes=tuple(probe for probe in config.verify.probes if probe.boot),
        deadline=config.boot.deadline,
        soak=config.boot.soak,
    )
    try:
        return await watching.problem()
    finally:
        await systemd.stop()
