"""The fleet needs what the tool tests need: root, jj and chezmoi, in the lab's image."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))  # people.py


@pytest.fixture(scope="session")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Five hosts that were set up and synced once, to be copied for each example."""
    from people import need_people  # noqa: PLC0415  # needs the path above
    from soak import place  # noqa: PLC0415

    need_people()
    prepared = tmp_path_factory.mktemp("soak") / "copy"
    place.prepare(prepared)
    yield prepared
    place.clear()
