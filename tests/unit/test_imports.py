"""Imports run one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "gitopsd"
FILES = sorted(ROOT.rglob("*.py"))

PURE = {"machine", "types", "policy", "errors", "events", "windows"}
MAY_BE_IMPORTED_BY_PURE = {"machine", "types", "policy", "errors", "events", "windows"}
ONLY_IN = {
    "transitions": {"machine"},
    "tenacity": {"daemon.retry"},
    "sdnotify": {"daemon.notify"},
    "pydbus": {"tools.systemd"},
    "gi": {"tools.systemd"},
    "prometheus_client": {"daemon.metrics", "cli.verbs"},
    "sqlite3": {"daemon.store", "daemon.store_file", "daemon.store_rows"},
    "subprocess": {"tools.process", "cli.pager", "cli.editor", "boot.programs"},
    "asyncvarlink": {"control.connection", "control.interfaces", "control.server", "control.wire", "control.access"},
}
CHEZMOI = ("tools.chezmoi", "tools.chezmoi_names")
IO = {"os", "pathlib", "socket", "subprocess", "asyncio", "sqlite3", "time", "random", "threading", "shutil"}


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def files_of(name: str) -> list[Path]:
    """The module, or all modules of the package."""
    return [file for file in FILES if inside(name_of(file), name)]


def imported(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(file: Path) -> set[str]:
    return {module.removeprefix("gitopsd.") for module in imported(file) if module.startswith("gitopsd.")}


def inside(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


@pytest.mark.parametrize("name", sorted(PURE))
def test_pure_modules_import_nothing_that_touches_the_world(name: str) -> None:
    assert files_of(name)
    for file in files_of(name):
        assert not {module.split(".")[0] for module in imported(file)} & IO, file
        for module in ours(file):
            assert any(inside(module, pure) for pure in MAY_BE_IMPORTED_BY_PURE), f"{file} imports {module}"


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_each_foreign_library_has_one_room(library: str) -> None:
    users = {name_of(file) for file in FILES if any(inside(module, library) for module in imported(file))}
    assert users <= ONLY_IN[library]
    assert users


def test_steps_know_ports_and_no_tools() -> None:
    for file in (ROOT / "steps").glob("*.py"):
        for module in ours(file):
            assert not any(inside(module, room) for room in ("tools", "repo", "daemon", "control", "cli")), file


def test_the_engine_knows_no_chezmoi() -> None:
    for file in (ROOT / "repo").glob("*.py"):
        assert not any(inside(module, room) for module in ours(file) for room in CHEZMOI), file
        constants = {node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)}
        assert "chezmoi" not in constants, file


def test_begin_imports_the_standard_library_only_and_little_of_it() -> None:
    """It is in the way of every boot; what it imports is measured in the benchmark too."""
    told = subprocess.run(
        [sys.executable, "-I", "-c", ASK.format(root=str(ROOT.parent))], capture_output=True, text=True, check=True
    ).stdout.split()
    loaded = {module.split(".")[0] for module in told}
    assert {module for module in told if module.startswith("gitopsd.")} == {
        f"gitopsd.boot{module}"
        for module in (
            "",
            ".begin",
            ".disk",
            ".fallback",
            ".judge",
            ".notice",
            ".place",
            ".profiles",
            ".program",
            ".record",
        )
    } | {"gitopsd.events"}
    slow = {"asyncio", "dataclasses", "inspect", "logging", "msgspec", "pathlib", "socket", "subprocess", "tomllib"}
    assert not loaded & (slow | {"typing", "argparse", "contextlib", "ast", "tempfile", "shutil", "threading"})


ASK = """
import sys
sys.path.insert(0, "{root}")
before = set(sys.modules)
import gitopsd.boot.program, gitopsd.boot.begin
print(*(set(sys.modules) - before), sep="\\n")
"""


def test_the_command_line_never_imports_the_daemon_or_its_libraries() -> None:
    for file in (ROOT / "cli").glob("*.py"):
        for module in ours(file):
            allowed = ("boot", "cli", "control.client", "config", "doctor", "errors", "secrets.program", "__version__")
            assert any(inside(module, room) for room in allowed), f"{file.name} imports {module}"
        foreign = {module.split(".")[0] for module in imported(file)}
        assert not foreign & {"gi", "pydbus", "asyncvarlink", "structlog", "tenacity", "transitions"}, file


def test_only_the_composition_root_knows_everything() -> None:
    for file in FILES:
        knows = {room for room in ("tools", "steps", "control") for module in ours(file) if inside(module, room)}
        if {"tools", "steps"} <= knows:
            assert name_of(file) == "daemon.assembly"
