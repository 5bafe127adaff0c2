"""The journal's native protocol, and its fields."""

import json
import re
import subprocess
import sys
from pathlib import Path

from gitopsd.daemon.log import encode, to_journal
from gitopsd.events import MESSAGE_IDS


def parsed(datagram: bytes) -> dict[str, str]:
    """Read a datagram as journald does."""
    fields = {}
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        if b"=" in line:
            name, _, value = line.partition(b"=")
            datagram = rest
        else:
            name, size = line, int.from_bytes(rest[:8], "little")
            value, datagram = rest[8 : 8 + size], rest[8 + size + 1 :]
        fields[name.decode()] = value.decode()
    return fields


def test_values_with_newlines_keep_their_lines() -> None:
    assert parsed(encode({"MESSAGE": "one\ntwo=2", "PRIORITY": "6"})) == {"MESSAGE": "one\ntwo=2", "PRIORITY": "6"}


def test_a_fact_becomes_fields() -> None:
    event = {
        "event": "rolled back",
        "level": "error",
        "message": "sshd.service has failed",
        "cycle": 7,
        "revision": None,
    }
    fields = parsed(to_journal(None, "", event).encode("utf-8", "surrogateescape"))
    assert fields["MESSAGE"] == "rolled back: sshd.service has failed"
    assert fields["PRIORITY"] == "3"
    assert fields["GITOPSD_CYCLE"] == "7"
    assert fields["MESSAGE_ID"] == MESSAGE_IDS["rolled back"]
    assert "GITOPSD_REVISION" not in fields


def test_an_event_of_the_machine_has_the_documented_field() -> None:
    event = {"event": "step", "level": "info", "machine_event": "done", "state": "fetch"}
    fields = parsed(to_journal(None, "", event).encode())
    assert (fields["GITOPSD_EVENT"], fields["GITOPSD_STATE"]) == ("done", "fetch")


def test_a_message_that_would_not_fit_a_datagram_is_cut_and_says_so() -> None:
    value = parsed(encode({"MESSAGE": "x" * 200_000}))["MESSAGE"]
    assert len(value) < 60_000
    assert value.endswith("[cut]")


def test_message_ids_are_unique_and_well_formed() -> None:
    assert len(set(MESSAGE_IDS.values())) == len(MESSAGE_IDS)
    assert all(re.fullmatch("[0-9a-f]{32}", identifier) for identifier in MESSAGE_IDS.values())


def test_message_ids_never_change() -> None:
    """What people alert on: an event may be added, with an id of its own."""
    ends = {
        "cycle finished": "01",
        "cycle failed": "02",
        "deployed": "03",
        "rolled back": "04",
        "revision rejected": "05",
        "blocked": "06",
        "changes parked": "07",
        "cycle resumed": "08",
        "state file damaged": "09",
        "configuration refused": "0a",
        "build failed": "0b",
        "offline for long": "0c",
        "restarting": "0d",
        "golden pinned": "0e",
        "boot bad": "0f",
        "boot rollback": "10",
        "notification dropped": "11",
    }
    for event, end in ends.items():
        assert MESSAGE_IDS[event] == f"0e4ac1bb5a4c4e7f8d3bfb4c2f4d8a{end}"


def test_without_journal_and_terminal_lines_are_json() -> None:
    code = "from gitopsd.daemon.log import set_up; import structlog; set_up(); structlog.get_logger().info('hello', cycle=3)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env={"PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    line = json.loads(done.stderr)
    assert (line["event"], line["cycle"], line["level"]) == ("hello", 3, "info")
