"""The wheel has every program and all that a program imports; it runs where only it is installed."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("setuptools", reason="needs setuptools: pip install -e '.[dev]'")
    tmp_path = tmp_path_factory.mktemp("wheel")
    copy = tmp_path / "source"  # building writes beside the source
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("units", "packaging"):
        shutil.copytree(ROOT / name, copy / name)
    shutil.copytree(ROOT / "gitopsd", copy / "gitopsd", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-c", BUILD, str(tmp_path)], cwd=copy, check=True, capture_output=True)
    return next(tmp_path.glob("*.whl"))


def test_the_wheel_has_every_module_and_program(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        entries = packed.read(next(name for name in names if name.endswith("entry_points.txt"))).decode()
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "gitopsd").rglob("*.py")}
    assert modules | {"gitopsd/py.typed"} <= names
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    for name, entry in scripts.items():
        assert f"{name} = {entry}" in entries


def test_the_wheel_has_the_units_and_the_catalog_where_systemd_looks_below_a_prefix(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = {name.partition(".data/data/")[2] for name in packed.namelist()}
    wanted = {f"lib/systemd/system/{unit.name}" for unit in (ROOT / "units").glob("*.*")}
    assert wanted | {"lib/systemd/catalog/gitopsd.catalog"} == names - {""}


def test_units_name_our_programs_without_a_path() -> None:
    for unit in [*(ROOT / "units").glob("*.service"), *(ROOT / "units/compat").glob("*.service")]:
        commands = re.findall(r"(?m)^Exec\w+=(\S+)", unit.read_text(encoding="utf-8"))
        assert commands
        assert set(commands) <= {"gitopsd", "gitopsctl", "gitopsd-boot", "/bin/kill"}, unit


def test_gitopsctl_runs_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    run = "import sys; sys.path.insert(0, sys.argv.pop(1)); from gitopsd.cli.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-I", "-c", run, str(wheel), "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("gitopsctl ")
