"""What the model is checked against needs what the tool tests need: root, jj and chezmoi, in the lab's image."""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))  # people.py

PLACE = Path("/tmp/gitopsd-scale")


@pytest.fixture
def place() -> Iterator[Path]:
    """Where real hosts may be."""
    if os.geteuid() != 0 or shutil.which("jj") is None or shutil.which("chezmoi") is None:
        reason = "needs root, jj and chezmoi: run it in the lab's image, with `make tools`"
        if os.environ.get("GITOPSD_LAB_REQUIRED") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    if "rain" not in {entry.pw_name for entry in pwd.getpwall()}:
        subprocess.run(["useradd", "--uid", "1000", "--create-home", "rain"], check=True)
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(mode=0o755)
    yield PLACE
    shutil.rmtree(PLACE)
