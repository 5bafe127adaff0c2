"""The events that people alert on: their names, and the journal's `MESSAGE_ID` of each. Pure.

The ids (sd-id128) are stable for ever. What each event means and what to do about it is in `packaging/gitopsd.catalog`,
which `journalctl -x` shows. Names are what `[notify] events` chooses by.
"""

DEPLOYED = "deployed"
ROLLED_BACK = "rolled back"
BLOCKED = "blocked"
BUILD_FAILED = "build failed"
REJECTED = "revision rejected"
CYCLE_FAILED = "cycle failed"
CYCLE_FINISHED = "cycle finished"
CYCLE_RESUMED = "cycle resumed"
PARKED = "changes parked"
OFFLINE = "offline for long"
STATE_DAMAGED = "state file damaged"
CONFIG_REFUSED = "configuration refused"
RESTARTING = "restarting"
GOLDEN_PINNED = "golden pinned"
BOOT_BAD = "boot bad"
BOOT_ROLLBACK = "boot rollback"
UNDELIVERED = "notification dropped"

MESSAGE_IDS: dict[str, str] = {
    CYCLE_FINISHED: "0e4ac1bb5a4c4e7f8d3bfb4c2f4d8a01",
    CYCLE_FAILED: "0e4ac1bb5a4c4e7f8d3bfb4c2f4d8a02",
    DEPLOYED: "0e4ac1bb5a4c4e7f8d3bfb4c2f4d8a03",
    ROLLED_BACK: "0e4ac1bb5a4c4e7f8d3bfb4c2f4d8a04",
    REJECTED: "0e4ac1bb5a4c4e7f8d3bfb4c2f4d8a05",
    BLOCKED: "0e4ac1bb5a4c4e7f8d3bfb4c2f4d8a06",
    PARKED: "0e4ac1bb5a4c4e7f8d3bfb4c2f4d8a07",
    CYCLE_RESUMED: "0e4ac1bb5a4c4e7f8d3bfb4c2f4d8a08",
    STATE_DAMAGED: "0e4ac1bb5a4c4e7f8d3bfb4c2f4d8a09",
    CONFIG_REFUSED: "0e4ac1bb5a4c4e7f8d3bfb4c2f4d8a0a",
    BUILD_FAILED: "0e4ac1bb5a4c4e7f8d3bfb4c2f4d8a0b",
    OFFLINE: "0e4ac1bb5a4c4e7f8d3bfb4c2f4d8a0c",
    RESTARTING: "0e4ac1bb5a4c4e7f8d3bfb4c2f4d8a0d",
    GOLDEN_PINNED: "0e4ac1bb5a4c4e7f8d3bfb4c2f4d8a0e",
    BOOT_BAD: "0e4ac1bb5a4c4e7f8d3bfb4c2f4d8a0f",
    BOOT_ROLLBACK: "0e4ac1bb5a4c4e7f8d3bfb4c2f4d8a10",
    UNDELIVERED: "0e4ac1bb5a4c4e7f8d3bfb4c2f4d8a11",
}

# What somebody should look at; the default of `[notify] events`.
ALARMS = (ROLLED_BACK, BLOCKED, BUILD_FAILED, CYCLE_FAILED, OFFLINE, BOOT_BAD, BOOT_ROLLBACK, STATE_DAMAGED)
