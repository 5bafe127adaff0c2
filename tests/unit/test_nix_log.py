"""What nix says, recorded (tests/unit/samples): who is at fault, which derivation it was, and how far it is."""

import json
from pathlib import Path

import pytest

from gitopsd.errors import Failed, GitopsdError, Rejected, Transient
from gitopsd.tools.nix_log import Fault, NixLog, judged
from gitopsd.types import Revision

SAMPLES = Path(__file__).parent / "samples" / "nix-2.34"
REVISION = Revision("1234567890ab" + "0" * 28)
ORIGIN = 'nixosConfigurations."malphas".config.system.build.toplevel'


def read(text: str) -> NixLog:
    log = NixLog(lambda _: None)
    for line in text.splitlines():
        log.feed(line)
    return log


def sample(name: str) -> NixLog:
    return read((SAMPLES / f"{name}.log").read_text(encoding="utf-8"))


def said(message: str) -> str:
    return "@nix " + json.dumps({"action": "msg", "level": 0, "msg": f"error: {message}", "raw_msg": message})


def verdict(log: NixLog) -> GitopsdError:
    return judged(log, REVISION, ORIGIN, Failed("`nix build` failed (exit status 1)"))


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("fails", Fault.revision),
        ("throw", Fault.revision),
        ("missing", Fault.revision),
        ("fod", Fault.revision),
        ("curl", Fault.network),
        ("fetch", Fault.network),
        ("input", Fault.network),
        ("input-tarball", Fault.network),
        ("killed", Fault.memory),
        ("corrupt-db", Fault.store),
    ],
)
def test_recorded_failures_are_told_apart(name: str, fault: Fault) -> None:
    assert sample(name).fault() is fault


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("writing to file: No space left on device", Fault.space),
        ("executing SQLite statement: database or disk is full", Fault.space),
        ("getting status of '/nix/store/x': Input/output error", Fault.store),
        ("unable to download 'https://x': HTTP error 503", Fault.network),
        ("hash mismatch importing path '/nix/store/x'", Fault.store),
        ("opening a connection to remote store: cannot connect to socket: Connection refused", Fault.network),
        ("cannot connect to socket at '/nix/var/nix/daemon-socket/socket': Connection refused", Fault.daemon),
        ("Nix daemon disconnected unexpectedly (maybe it crashed?)", Fault.daemon),
        ("NAR hash mismatch in input 'github:x': unable to download", Fault.revision),
        ("a module asserts something", Fault.revision),
    ],
)
def test_what_nix_calls_an_error_is_told_apart(message: str, fault: Fault) -> None:
    assert read(said(message)).fault() is fault


def test_only_the_revisions_own_fault_rejects_it() -> None:
    kinds: list[tuple[type[GitopsdError], str]] = [
        (Rejected, said("undefined variable")),
        (Transient, said("unable to download 'x'")),
        (Transient, said("Nix daemon disconnected unexpectedly (maybe it crashed?)")),
        (Failed, said("No space left on device")),
        (Failed, said("disk image is malformed")),
        (Failed, said("out of memory")),
        (Failed, "Failed to connect to bus: No such file or directory"),
        (Failed, ""),
    ]
    for kind, text in kinds:
        error = verdict(read(text))
        assert isinstance(error, kind), text
        assert error.advice


def test_the_derivation_that_failed_is_named_with_the_end_of_its_own_log() -> None:
    error = verdict(sample("fails"))
    assert error.message.startswith("1234567890ab does not build: inner-1.2: builder failed with exit code 3\n")
    assert "last lines of inner-1.2:\n" in error.message
    assert error.message.endswith("line 40")
    assert "line 1\n" not in error.message  # the end of it only


def test_builds_at_the_same_time_do_not_mix_their_logs() -> None:
    log = sample("two")
    assert log.failing() == ("slow-1", "builder failed with exit code 1")
    assert log.last_lines() == "slow log"


def test_a_test_suite_that_says_connection_refused_is_no_network_that_is_down() -> None:
    text = (SAMPLES / "fails.log").read_text(encoding="utf-8").replace("line 40", "connect: Connection refused")
    assert read(text).fault() is Fault.revision


def test_a_builder_that_finds_no_space_is_not_held_against_the_revision() -> None:
    text = (SAMPLES / "fails.log").read_text(encoding="utf-8").replace("line 40", "write: No space left on device")
    assert isinstance(verdict(read(text)), Failed)


def test_a_host_without_a_configuration_is_a_sentence_that_says_what_to_do() -> None:
    error = verdict(sample("missing"))
    assert isinstance(error, Rejected)
    assert error.message.splitlines()[0] == f"1234567890ab has no {ORIGIN}"
    assert "correct `host`" in error.advice


def test_progress_counts_derivations_and_bytes() -> None:
    heard: list[str] = []
    time = [0.0]
    log = NixLog(heard.append, lambda: time[0])

    def feed(**event: object) -> None:
        time[0] += 1
        log.feed("@nix " + json.dumps(event))

    feed(action="start", id=1, type=104, text="", level=0)
    feed(action="result", id=1, type=105, fields=[1, 12, 1, 0])
    feed(action="result", id=1, type=106, fields=[101, 120 * 1024**2])
    feed(
        action="start",
        id=2,
        type=101,
        text="downloading 'https://cache/x.nar'",
        level=4,
        fields=["https://cache/x.nar"],
    )
    feed(action="result", id=2, type=105, fields=[14 * 1024**2, 0, 0, 0])
    assert heard[-1] == "downloading 'https://cache/x.nar', 1 of 12 built, 14 of 120 MiB downloaded"
    feed(action="start", id=3, type=105, text="building '/nix/store/…", fields=[f"/nix/store/{'0' * 32}-hello-2.12.drv", "", 1, 1])  # fmt: skip
    assert heard[-1] == "building hello-2.12, 1 of 12 built, 14 of 120 MiB downloaded"


def test_progress_is_told_no_more_often_than_it_can_be_read() -> None:
    heard: list[str] = []
    log = NixLog(heard.append, lambda: 0.0)
    log.feed('@nix {"action":"start","id":1,"type":104,"text":"","level":0}')
    for done in range(1000):
        log.feed("@nix " + json.dumps({"action": "result", "id": 1, "type": 105, "fields": [done, 1000, 1, 0]}))
    assert len(heard) == 1


def test_what_is_no_log_of_nix_is_no_verdict_on_a_revision() -> None:
    assert read("@nix {not json\nfatal: this is git").fault() is None
