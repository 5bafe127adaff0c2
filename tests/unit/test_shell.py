"""Completions and man pages say what the parser says."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from docs import shell
from gitopsd.cli.__main__ import _parser

FILES = shell.files()
VERBS = list(shell.tree(_parser()))


def complete(*words: str) -> set[str]:
    """What bash offers for the last of the words."""
    script = FILES["completions/gitopsctl.bash"]
    listed = " ".join(f"'{word}'" for word in ("gitopsctl", *words))
    ask = f'COMP_WORDS=({listed}); COMP_CWORD={len(words)}; _gitopsctl; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", f"{script}\n{ask}"], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_bash_completes_verbs_options_and_what_they_may_be() -> None:
    assert {"status", "sync", "upgrade", "dotfiles"} <= complete("")
    assert complete("stat") == {"status"}
    assert {"conflicts", "resolve"} <= complete("dotfiles", "")
    assert "--accept-diverged" in complete("upgrade", "--a")
    assert complete("dotfiles", "resolve", "--take", "") == {"ours", "theirs", "union"}
    assert "root" in complete("sync", "roo")


@pytest.mark.parametrize(
    ("name", "program"), [("gitopsctl.bash", "bash"), ("_gitopsctl", "zsh"), ("gitopsctl.fish", "fish")]
)
def test_each_shell_can_read_its_completion(name: str, program: str, tmp_path: Path) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    file = tmp_path / name
    file.write_text(FILES[f"completions/{name}"], encoding="utf-8")
    subprocess.run([program, "-n", str(file)], check=True, capture_output=True)


def test_fish_completes_too(tmp_path: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("needs fish")
    file = tmp_path / "gitopsctl.fish"
    file.write_text(FILES["completions/gitopsctl.fish"], encoding="utf-8")
    ask = f"source {file}; complete -C 'gitopsctl do'; complete -C 'gitopsctl dotfiles res'"
    done = subprocess.run(["fish", "--no-config", "-c", ask], capture_output=True, text=True, check=True)
    assert {line.split("\t")[0] for line in done.stdout.splitlines()} == {"doctor", "dotfiles", "resolve"}


def test_every_verb_speaks_json() -> None:
    for verb in VERBS:
        assert verb.inner or "--json" in verb.flags, verb.path


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_verb_is_in_every_file(name: str) -> None:
    if name.endswith("gitopsd.8"):
        return
    text = re.sub(r"\\f[BR]", " ", FILES[name]).replace("\\-", "-")
    for verb in VERBS[1:]:
        assert re.search(rf"\b{re.escape(verb.path[-1])}\b", text), verb.path


def test_no_line_of_a_man_page_is_taken_for_a_request() -> None:
    known = {".TH", ".SH", ".TP", ".B", ".BR", ".I", ".RS", ".RE"}
    for name, text in FILES.items():
        if name.startswith("man/"):
            assert {line.split()[0] for line in text.splitlines() if line.startswith(".")} <= known


@pytest.mark.parametrize("name", ["man/gitopsctl.1", "man/gitopsd.8"])
def test_a_man_page_is_one_that_man_can_show(name: str) -> None:
    if shutil.which("groff") is None:
        pytest.skip("needs groff")
    shown = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z"], input=FILES[name], capture_output=True, text=True, check=True
    )
    assert shown.stderr == ""
