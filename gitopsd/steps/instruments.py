"""What verify and rollback look through."""

from collections.abc import Callable

import msgspec

from gitopsd.ports import Clock, ConfigSource, Prober, Units


class Instruments(msgspec.Struct, frozen=True, kw_only=True):
    """What a proof looks through.

    Args:
        units: systemd.
        prober: asks services.
        source: the configuration's remote.
        ahead: the remote that is followed from now on, by our configuration as the running system has it; None if that is
            the same one, or cannot be told.
        clock: time.

    """

    units: Units
    prober: Prober
    source: ConfigSource
    ahead: Callable[[], ConfigSource | None]
    clock: Clock
