"""The gate on real gitleaks."""

import hashlib
import shutil
from pathlib import Path

import pytest

from gitopsd.secrets.allow import FILE, allow, with_entry
from gitopsd.secrets.gate import NO_SCANNER, RepositoryGate
from gitopsd.tools.gitleaks import Gitleaks
from gitopsd.tools.process import Processes
from gitopsd.types import Candidate

TOKEN = "ghp_" + hashlib.sha256(b"a token that the tests made up").hexdigest()[:36]
CANDIDATE = Candidate(path="dot_bashrc", content=f"alias ll='ls -l'\nexport GITHUB={TOKEN}\n".encode())


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    if shutil.which("gitleaks") is None:
        pytest.skip("needs gitleaks: run it in the lab's image, with `make tools`")
    (tmp_path / ".git").mkdir()
    return tmp_path


async def test_gitleaks_tells_the_line_of_each_text(directory: Path) -> None:
    texts = [b"", b"one\ntwo\n", f"\n\ntoken: {TOKEN}".encode(), CANDIDATE.content]
    found = await Gitleaks(Processes()).scan(texts)
    assert [[(match.line, match.value) for match in each] for each in found] == [[], [], [(3, TOKEN)], [(2, TOKEN)]]


async def test_a_comment_does_not_switch_the_scanner_off(directory: Path) -> None:
    found = await Gitleaks(Processes()).scan([f"token = {TOKEN}  # gitleaks:allow\n".encode()])
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
    for program in ("tar", "mkdir", "mktemp", "dd", "mv"):
        (empty / program).symlink_to(shutil.which(program) or "")
    gate = RepositoryGate(Processes(path=str(empty)), None, str(directory))
    edit = Candidate(path="dot_vimrc", content=b"set number\n", published=b"set nonumber\n", is_new=False)
    new = Candidate(path="dot_new", content=b"set number\n")
    random = Candidate(path="dot_x", content=b"x 9fKq28LzPw71mXcV0aTb\n", published=b"x\n", is_new=False)
    found = await gate.check([edit, new, random])
    assert {path: each[0].rule for path, each in found.items()} == {"dot_new": NO_SCANNER, "dot_x": "looks-random"}
    assert "gitleaks" in gate.broken


async def test_a_scanner_that_finds_nothing_is_no_scanner(directory: Path) -> None:
    blind = directory / "gitleaks"
    blind.write_text("#!/bin/sh\necho '[]'\n")
    blind.chmod(0o755)
    gate = RepositoryGate(Processes(path=f"{directory}:/usr/bin:/bin"), None, str(directory))
    found = await gate.check([Candidate(path="new", content=b"x\n")])
    assert found["new"][0].rule == NO_SCANNER
