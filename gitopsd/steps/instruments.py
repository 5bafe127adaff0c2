"""What verify and rollback look through."""

import msgspec

from gitopsd.ports import Clock, ConfigSource, Prober, Units


class Instruments(msgspec.Struct, frozen=True, kw_only=True):
    """What a proof looks through.

    Args:
        units: systemd.
        prober: asks services.
        source: the configuration's remote.
        clock: time.

    """

    units: Units
    prober: Prober
    source: ConfigSource
    clock: Clock
