"""Imports run one way."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
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


ARCHITECTURE = ROOT.parent / "docs" / "explanation" / "architecture.md"
ROWS = re.findall(r"^\| `gitopsd/(\w+)(?:\.py|/)` \| .* \| (.*) \|$", ARCHITECTURE.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize(("room", "may"), ROWS, ids=[room for room, _ in ROWS])
def test_a_room_knows_no_other_than_the_architecture_says(room: str, may: str) -> None:
    assert files_of(room)
    known = {module.split(".")[0] for file in files_of(room) for module in ours(file)} - {room, "__version__"}
    assert may.startswith("everything") or known <= set(re.findall(r"\w+", may))
    for allowed in re.findall(r"tools: ([\w, ]+)", may):
        tools = {module.split(".")[1] for file in files_of(room) for module in ours(file) if inside(module, "tools")}
        assert tools <= set(allowed.split(", ")), room
    for part, whole in re.findall(r"the (client|program) of (\w+)", may):
        used = {module for file in files_of(room) for module in ours(file) if inside(module, whole)}
        assert {name for name in used if not inside(name, f"{whole}.{part}")} <= {whole}, room


def test_the_architecture_has_a_row_for_each_room_and_no_module_knows_itself_over_others() -> None:
    assert {room for room, _ in ROWS} == {name_of(file).split(".")[0] for file in FILES} - {""}
    names = {name_of(file) for file in FILES}
    knows = {name_of(file): (ours(file) & names) - {name_of(file)} for file in FILES}
    assert len(list(TopologicalSorter(knows).static_order())) == len(names)


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
    assert len(files_of("steps")) > 8
    for file in files_of("steps"):
        for module in ours(file):
            assert not any(inside(module, room) for room in ("tools", "repo", "daemon", "control", "cli")), file


def test_the_engine_knows_no_chezmoi() -> None:
    assert len(files_of("repo")) > 8
    for file in files_of("repo"):
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
    assert len(files_of("cli")) > 8
    for file in files_of("cli"):
        for module in ours(file):
            allowed = ("boot", "cli", "control.client", "config", "doctor", "errors", "secrets.program", "__version__")
            assert any(inside(module, room) for room in allowed), f"{file.name} imports {module}"
        foreign = {module.split(".")[0] for module in imported(file)}
        assert not foreign & {"gi", "pydbus", "asyncvarlink", "structlog", "tenacity", "transitions"}, file


def test_only_the_composition_root_knows_everything() -> None:
    rooms = {name_of(file): {module.split(".")[0] for module in ours(file)} for file in FILES}
    assert [name for name, known in rooms.items() if {"tools", "steps"} <= known] == ["daemon.assembly"]
