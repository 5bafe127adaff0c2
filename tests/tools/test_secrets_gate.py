"""The gate on real scanners."""

import base64
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from gitopsd.secrets.allow import FILE, allow, with_entry
from gitopsd.secrets.gate import NO_SCANNER, RepositoryGate
from gitopsd.tools.leak_scanner import PROGRAMS, LeakScanner, Scanner
from gitopsd.tools.process import Processes
from gitopsd.types import Candidate

TOKEN = "ghp_" + hashlib.sha256(b"a token that the tests made up").hexdigest()[:36]
CANDIDATE = Candidate(path="dot_bashrc", content=f"alias ll='ls -l'\nexport GITHUB={TOKEN}\n".encode())


# Of forms that our own rules do not know.
HOOK = "https://hooks.slack.com/services/T0{}/B0{}/{}"
HOOKS = [
    HOOK.format(*(hashlib.sha256(f"{number}{part}".encode()).hexdigest()[:24].upper() for part in "abc")).replace(
        "/T0", "/T"
    )
    for number in range(3)
]
LONG = b"alias a='ls -l'  # and so on\n" * 2000  # 58 kB


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    return tmp_path


async def test_a_scanner_tells_the_line_of_each_text(scanners: Sequence[Scanner]) -> None:
    texts = [b"", b"one\ntwo\n", f"\n\ntoken: {TOKEN}".encode(), CANDIDATE.content]
    found = await LeakScanner(Processes(), scanners=scanners).scan(texts)
    assert [[(match.line, match.value) for match in each] for each in found] == [[], [], [(3, TOKEN)], [(2, TOKEN)]]


async def test_so_it_does_of_many_and_long_texts(scanners: Sequence[Scanner]) -> None:
    """gitleaks counts lines anew with each chunk: what was found is not to be taken for another file's."""
    line = f"token: {TOKEN}\n".encode()
    texts = [LONG, LONG + line + LONG + line, b"x\n" * 9, line, LONG, base64.b64encode(line * 3), LONG, b"\n" + line]
    found = await LeakScanner(Processes(), scanners=scanners).scan(texts)
    places = [sorted({match.line for match in each if match.value == TOKEN}) for each in found]
    assert places == [[], [2001, 4002], [], [1], [], [1], [], [2]]


async def test_so_it_does_of_many_short_texts(scanners: Sequence[Scanner]) -> None:
    """Where there are blank lines, gitleaks begins to count anew after 10 kB."""
    texts = [b"alias a='ls -l'\n\n" * 60 + f"token: {TOKEN}\n".encode()] * 20  # 1 kB each
    found = await LeakScanner(Processes(), scanners=scanners).scan(texts)
    assert [sorted({match.line for match in each if match.value == TOKEN}) for each in found] == [[121]] * 20


async def test_what_only_a_scanner_knows_is_found_in_its_file_among_large_ones(
    directory: Path, scanners: Sequence[Scanner]
) -> None:
    gate = RepositoryGate(Processes(), None, str(directory), scanners=scanners)
    large = [Candidate(path=f"large{number}", content=LONG) for number in range(3)]
    small = [Candidate(path=f"small{number}", content=f"\n{hook}\n".encode()) for number, hook in enumerate(HOOKS)]
    mixed = [each for pair in zip(large, small, strict=True) for each in pair]
    found = await gate.check(mixed)
    assert {path: [each.line for each in told] for path, told in found.items()} == {
        f"small{at}": [2] for at in range(3)
    }


@pytest.mark.parametrize("word", ["gitleaks:allow", "betterleaks:allow"])
async def test_a_comment_does_not_switch_the_scanner_off(scanners: Sequence[Scanner], word: str) -> None:
    found = await LeakScanner(Processes(), scanners=scanners).scan([f"token = {TOKEN}  # {word}\n".encode()])
    assert len(found[0]) == 1


async def test_a_configuration_does_not_switch_the_scanner_off(directory: Path, scanners: Sequence[Scanner]) -> None:
    nothing = directory / "nothing.toml"
    nothing.write_text('title = "knows nothing"\n')
    for name in (".gitleaks.toml", ".betterleaks.toml"):
        (directory / name).write_text(nothing.read_text())
    names = [f"{program}_CONFIG{ending}" for program in ("GITLEAKS", "BETTERLEAKS") for ending in ("", "_TOML")]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        for name in names:
            patch.setenv(name, nothing.read_text() if name.endswith("_TOML") else str(nothing))
        patch.setenv("BETTERLEAKS_VALIDATE", "true")
        found = await LeakScanner(Processes(), scanners=scanners).scan([CANDIDATE.content])
    assert len(found[0]) == 1


async def test_a_finding_names_the_place_and_not_the_value(directory: Path) -> None:
    found = await RepositoryGate(Processes(), None, str(directory)).check([CANDIDATE])
    (finding,) = found["dot_bashrc"]
    assert (finding.path, finding.line) == ("dot_bashrc", 2)
    assert TOKEN not in repr(found)
    assert TOKEN not in repr(CANDIDATE)


async def test_a_fingerprint_is_the_same_after_a_restart_and_another_on_another_host(directory: Path) -> None:
    one = await RepositoryGate(Processes(), None, str(directory)).fingerprint("4711")
    assert one == await RepositoryGate(Processes(), None, str(directory)).fingerprint("4711")
    (directory / ".git/gitopsd/fingerprints").unlink()
    assert one != await RepositoryGate(Processes(), None, str(directory)).fingerprint("4711")
    assert (directory / ".git/gitopsd/fingerprints").stat().st_mode & 0o777 == 0o600


async def test_what_is_published_already_is_no_news(directory: Path) -> None:
    gate = RepositoryGate(Processes(), None, str(directory))
    edited = Candidate(path="dot_bashrc", content=CANDIDATE.content + b"x\n", published=CANDIDATE.content, is_new=False)
    assert not await gate.check([edited])


async def test_what_a_person_allowed_passes_in_that_file_only(directory: Path) -> None:
    (directory / FILE).parent.mkdir()
    (directory / FILE).write_bytes(with_entry(b"", allow("dot_bashrc", "github-token", TOKEN, "made up")))
    gate = RepositoryGate(Processes(), None, str(directory))
    assert not await gate.check([CANDIDATE])
    assert await gate.check([Candidate(path="dot_zshrc", content=CANDIDATE.content)])


async def test_without_a_scanner_nothing_new_passes_and_edits_are_held_to_a_stricter_rule(directory: Path) -> None:
    empty = directory / "empty"
    empty.mkdir()
    (empty / "tar").symlink_to(shutil.which("tar") or "")
    gate = RepositoryGate(Processes(path=str(empty)), None, str(directory))
    edit = Candidate(path="dot_vimrc", content=b"set number\n", published=b"set nonumber\n", is_new=False)
    new = Candidate(path="dot_new", content=b"set number\n")
    random = Candidate(path="dot_x", content=b"x 9fKq28LzPw71mXcV0aTb\n", published=b"x\n", is_new=False)
    found = await gate.check([edit, new, random])
    assert {path: each[0].rule for path, each in found.items()} == {"dot_new": NO_SCANNER, "dot_x": "looks-random"}
    assert all(program in gate.broken for program in PROGRAMS)


def _programs(directory: Path, **scripts: str) -> Processes:
    """A PATH with programs of these names before the others."""
    for name, script in scripts.items():
        program = directory / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    return Processes(path=f"{directory}:/usr/local/bin:/usr/bin:/bin")


async def test_a_scanner_that_finds_nothing_is_no_scanner(directory: Path) -> None:
    processes = _programs(directory, gitleaks="echo '[]'", betterleaks="echo '{\"findings\": []}'")
    gate = RepositoryGate(processes, None, str(directory))
    found = await gate.check([Candidate(path="new", content=b"x\n")])
    assert found["new"][0].rule == NO_SCANNER


async def test_where_one_scanner_does_not_do_its_work_the_other_does(directory: Path) -> None:
    scanner = LeakScanner(_programs(directory, betterleaks="exit 126"))
    found = await scanner.scan([CANDIDATE.content])
    assert len(found[0]) == 1
    assert scanner.first.program == "gitleaks"


def _packets(*argv: str) -> int:
    """How many packets a program sends, where every address leads back to it."""
    script = 'ip link set lo up && ip route add local default dev lo && "$@" >/dev/null; cat /proc/net/dev'
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", script, "sh", *argv], input=CANDIDATE.content, capture_output=True, check=True
    )
    rows = [line.split() for line in done.stdout.decode().splitlines() if ":" in line]
    return sum(int(row[10]) for row in rows)


def test_a_scanner_shows_what_it_found_to_nobody(scanners: Sequence[Scanner]) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: run it in the lab's image, with `make tools`")
    for scanner in scanners:
        assert _packets(scanner.program, "stdin", *scanner.options) == 0
    if scanners[0].program == "betterleaks":
        assert _packets("betterleaks", "stdin", "--no-banner", "--validate"), "it would be seen"
