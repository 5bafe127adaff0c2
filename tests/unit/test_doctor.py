"""The examination of a host; what it finds on a real one is shown in tests/e2e/test_operations.py."""

import json
import os
import shutil
from pathlib import Path

import pytest
from unit.test_cli_run import run
from unit.test_control_fakes import Daemon

from gitopsd.config import SystemConfig
from gitopsd.doctor import examination, host, remotes
from gitopsd.doctor.finding import Verdict
from gitopsd.tools import memory
from gitopsd.tools.process import Processes


async def test_a_configuration_with_faults_ends_with_status_2_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[contrl]\n")
    async with Daemon(tmp_path / "socket") as daemon:
        ran = await run(daemon, "doctor", "--json", "--config", str(tmp_path / "config.toml"))
    assert ran.code == 2
    found = json.loads(ran.out)
    (faulty,) = [each for each in found if each["check"] == "configuration"]
    assert faulty["verdict"] == "fault"
    assert "contrl" in faulty["what"]
    assert any(each["check"] == "daemon" and each["verdict"] == "ok" for each in found)


# What git and ssh print (LC_ALL=C), and what it is taken for.
@pytest.mark.parametrize(
    ("text", "offline", "verdict", "words"),
    [
        ("Host key verification failed.\nfatal: Could not read from remote repository.", False, "fault", "host key"),
        ("git@forge: Permission denied (publickey).\nfatal: Could not read", False, "fault", "takes no key of rain"),
        ("ssh: Could not resolve hostname forge: Name or service not known", True, "warning", "cannot be reached"),
        ("ERROR: Repository not found.\nfatal: Could not read", False, "fault", "no repository"),
        ("something new\n", False, "fault", "something new"),
        ("", False, "fault", "no message"),
    ],
)
def test_what_git_says_is_taken_for_what_it_is(text: str, offline: bool, verdict: str, words: str) -> None:
    finding = next(remotes._reasons("dotfiles", "git@forge:dotfiles.git", "rain", text, offline=offline))
    assert finding.verdict is Verdict(verdict)
    assert words in finding.what
    assert finding.fix


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("git@forge:dotfiles.git", "forge"),
        ("ssh://git@forge:2222/x", "forge"),
        ("https://example.org/x", "example.org"),
        ("/srv/git/x", "/srv/git/x"),
    ],
)
def test_the_host_of_a_url_is_found(url: str, name: str) -> None:
    assert remotes._host(url) == name


async def test_a_missing_and_an_old_program_are_named(tmp_path: Path) -> None:
    for name in ("git", "ssh", "setpriv", "jj", "chezmoi"):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho {name} {'0.30.0' if name == 'jj' else '99.1.2'}\n")
        program.chmod(0o755)
    found = [
        each async for each in host.programs(Processes(f"{tmp_path}:/bin"), None) if each.verdict is not Verdict.ok
    ]
    old = [each for each in found if each.what.startswith("jj 0.30.0 is older than 0.42")]
    assert [each.verdict for each in old] == [Verdict.warning]


async def test_a_host_without_a_scanner_is_told_which_would_do(tmp_path: Path) -> None:
    (finding,) = [each async for each in host.scanner(Processes(str(tmp_path)), None)]
    assert finding.verdict is Verdict.fault
    assert all(name in finding.what and name in finding.fix for name in ("betterleaks", "gitleaks"))


def test_a_socket_in_a_directory_of_others_is_a_fault(tmp_path: Path) -> None:
    import socket  # noqa: PLC0415

    place = tmp_path / "open"
    place.mkdir()
    place.chmod(0o777)
    with socket.socket(socket.AF_UNIX) as it:
        it.bind(str(place / "io.gitopsd"))
        (place / "io.gitopsd").chmod(0o666)
        (finding,) = host.socket_rights(str(place / "io.gitopsd"), "")
        assert finding.verdict is Verdict.fault
        assert "answer in the daemon's place" in finding.what
    assert next(host.socket_rights(str(place / "nothing"), "")).verdict is Verdict.fault


def test_what_holds_an_evaluation_to_its_limit_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    controllers = tmp_path / "cgroup.controllers"
    monkeypatch.setattr(memory, "_CONTROLLERS", controllers)
    system = SystemConfig(repo_url="x", memory_max="2G")
    held = ["prlimit", f"--data={2 * 1024**3}", "--"]
    for text, words in ((None, held), ("cpu pids\n", held), ("cpu memory pids\n", [])):
        if text is not None:
            controllers.write_text(text)
        assert memory.held_by_rlimit("2G") == words
        assert ("RLIMIT_DATA" in host.memory(system).what) is bool(words)
    controllers.unlink()
    assert memory.held_by_rlimit("infinity") == []
    assert "limits nothing" in host.memory(SystemConfig(repo_url="x", memory_max="infinity")).what


@pytest.mark.parametrize(("limit", "most"), [("512", 512), ("3K", 3072), ("1T", 1024**4)])
def test_a_limit_of_memory_is_read_as_systemd_reads_it(limit: str, most: int) -> None:
    assert memory.in_bytes(limit) == most
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory.in_bytes("50%") == total // 2
    with pytest.raises(ValueError, match="no limit of memory"):
        memory.in_bytes("much")


@pytest.mark.parametrize(("user", "verdict"), [("root", Verdict.ok), ("nobody-of-that-name", Verdict.warning)])
async def test_whether_root_evaluates_is_told_with_the_reason(user: str, verdict: Verdict) -> None:
    finding = await host.builds(Processes(), SystemConfig(repo_url="x", build_user=user))
    assert finding.verdict is verdict
    assert finding.what.startswith("root evaluates the configuration: ")


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
async def test_where_only_a_checkout_is_named_its_origin_is_asked(tmp_path: Path) -> None:
    remote, checkout = tmp_path / "remote.git", tmp_path / "checkout"
    git = ("git", "-c", "init.defaultBranch=main", "-c", "user.name=x", "-c", "user.email=x@x")
    for words in (
        ("init", "-q", str(checkout)),
        ("-C", str(checkout), "commit", "-q", "--allow-empty", "-m", "one"),
        ("clone", "-q", "--bare", str(checkout), str(remote)),
        ("-C", str(checkout), "remote", "add", "origin", str(remote)),
    ):
        await Processes().run([*git, *words], timeout=30)
    found = await examination._source(Processes(), SystemConfig(checkout=str(checkout), branch="main"))
    assert (found.verdict, found.what) == (Verdict.ok, f"{remote} answers root and has main")
    missing = await examination._source(Processes(), SystemConfig(checkout=str(tmp_path / "none")))
    assert (missing.verdict, "set config.repo_url" in missing.fix) == (Verdict.fault, True)
