"""What the model is checked against needs what the tool tests need: root, jj and chezmoi, in the lab's image."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))  # people.py

PLACE = Path("/tmp/gitopsd-scale")


@pytest.fixture
def place() -> Iterator[Path]:
    """Where real hosts may be."""
    from people import need_people  # noqa: PLC0415  # needs the path above

    need_people()
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(mode=0o755)
    yield PLACE
    shutil.rmtree(PLACE)
