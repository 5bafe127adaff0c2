"""The fleet needs what the tool tests need: root, jj and chezmoi, in the lab's image."""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))  # people.py


@pytest.fixture(scope="session")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Five hosts that were set up and synced once, to be copied for each example."""
    from soak import place  # noqa: PLC0415  # needs the path above

    if os.geteuid() != 0 or shutil.which("jj") is None or shutil.which("chezmoi") is None:
        reason = "needs root, jj and chezmoi: run it in the lab's image, with `make soak`"
        if os.environ.get("GITOPSD_LAB_REQUIRED") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    if "rain" not in {entry.pw_name for entry in pwd.getpwall()}:
        subprocess.run(["useradd", "--uid", "1000", "--create-home", "rain"], check=True)
    prepared = tmp_path_factory.mktemp("soak") / "copy"
    place.prepare(prepared)
    yield prepared
    place.clear()
