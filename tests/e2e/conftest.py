"""End-to-end tests run on machines of the lab; a computer that cannot run those skips them with the reason.

`GITOPSD_LAB_REQUIRED=1` makes a lab that cannot run an error: for a CI that must not skip its main tests in silence.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Iterator

import pytest
from lab import Lab, LabError

# A shell that runs us in the background has Ctrl-C ignored, and what we start would inherit that: tests that send it
# would wait for ever. A handler is not inherited.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "lab: needs machines of the lab (root, Linux namespaces, see tests/lab)")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that needs a lab where there can be none."""
    if item.get_closest_marker("lab") is not None and (reason := why_no_lab()):
        if os.environ.get("GITOPSD_LAB_REQUIRED") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


@functools.cache
def why_no_lab() -> str | None:
    """Return why this computer cannot run a lab, found out by starting one."""
    if sys.platform != "linux":
        return "the lab needs Linux namespaces"
    try:
        with Lab():
            return None
    except (LabError, OSError) as error:
        return str(error)


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Return a lab of the test's own, with no machine in it yet."""
    with Lab() as it:
        yield it
