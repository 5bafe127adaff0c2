"""Random worlds of two to five hosts, until the time is over.

`SOAK_MINUTES` says how long (default two, and the same worlds each time); `SOAK_SEED` repeats a batch, whose seed is
printed before it begins.
"""

import os
import random
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from soak.acts import shorten
from soak.rules import FleetMachine

_BATCH = 5  # examples between two looks at the clock
_SHORTEN = float(
    os.environ.get("SOAK_SHORTEN", "120")
)  # seconds to make an example shorter: hypothesis' own way needs too many real syncs
SETTINGS = settings(
    max_examples=_BATCH,
    stateful_step_count=25,
    deadline=None,
    database=None,
    print_blob=True,
    report_multiple_bugs=False,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


def test_no_edit_is_lost_whatever_people_and_networks_do(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    FleetMachine.copy, FleetMachine.totals, FleetMachine.failed = copy, {}, None
    begin, minutes = time.monotonic(), float(os.environ.get("SOAK_MINUTES", "2"))
    given = os.environ.get("SOAK_SEED")
    # Without SOAK_MINUTES it is part of every check of a change, and looks at the same worlds each time: what fails then
    # was broken by the change. A soak explores.
    batch = int(given) if given else random.SystemRandom().randrange(2**32) if "SOAK_MINUTES" in os.environ else 1
    while True:
        with capsys.disabled():
            print(f"\nSOAK_SEED={batch}: {_said(time.monotonic() - begin)}", flush=True)
        try:
            run_state_machine_as_test(seed(batch)(FleetMachine), settings=SETTINGS)
        except Exception as error:
            error.add_note(_short_story(copy))
            raise
        if given or time.monotonic() - begin > minutes * 60:
            break
        batch += 1
    with capsys.disabled():
        print(f"\nheld: {_said(time.monotonic() - begin)}", flush=True)


def _short_story(copy: Path) -> str:
    if FleetMachine.failed is None:
        return "it failed before it began"
    size, acts = FleetMachine.failed
    kept, found = shorten(copy, size, acts, seconds=_SHORTEN)
    acts_left = "".join(f"\n    {act}," for act in kept)
    return f"in short, on {size} hosts: {found or 'it did not happen again'}\nas acts: [{acts_left}\n]"


def _said(seconds: float) -> str:
    counts = ", ".join(f"{number} {what}" for what, number in FleetMachine.totals.items())
    return f"{counts or 'begins'}, {seconds:.0f} s"
