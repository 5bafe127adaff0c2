"""What verify and rollback look through."""

from collections.abc import Awaitable, Callable

import msgspec

from gitopsd.ports import Clock, ConfigSource, Prober, Units


class Instruments(msgspec.Struct, frozen=True, kw_only=True):
    """What a proof looks through.

    Args:
        units: systemd.
        prober: asks services.
        source: the configuration's remote.
        ahead: asks the remote that is followed from now on, by our configuration as the running system has it, unless that
            is the same one; raises as `ConfigSource.reach` does.
        clock: time.

    """

    units: Units
    prober: Prober
    source: ConfigSource
    ahead: Callable[[], Awaitable[None]]
    clock: Clock
