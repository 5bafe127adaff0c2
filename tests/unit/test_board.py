"""What status shows of what is remembered."""

import msgspec

from gitopsd.daemon.board import at_start, of_memory
from gitopsd.types import LastGood, Memory, Snapshot

# What the memory and the snapshot have under one name, and which is worked out anew.
_WORKED_OUT = {"since", "pending", "reboot"}


def names(kind: type[msgspec.Struct]) -> set[str]:
    return {field.name for field in msgspec.structs.fields(kind)}


def test_everything_that_is_remembered_and_shown_is_shown_as_it_is_remembered() -> None:
    assert of_memory(Memory()).keys() == (names(Memory) & names(Snapshot)) - _WORKED_OUT


def test_a_daemon_that_starts_shows_when_things_last_went_well() -> None:
    memory = Memory(last_good=LastGood(sync=20.0, upgrade=10.0, contact=30.0))
    assert at_start("malphas", "/etc/gitopsd/config.toml", memory, None, 40.0).last_good == memory.last_good
