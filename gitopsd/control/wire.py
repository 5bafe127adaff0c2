"""What clients see: the shapes of the Varlink interfaces.

They mirror `gitopsd.types` and are filled from it field by field, so that a value that the daemon learns is shown once
a field of its name stands here. Interface versions only grow: fields are added, never renamed, removed or retyped.
asyncvarlink reads these annotations at run time, has no tuples, and writes enums by the names of their members; words
with a hyphen in them are therefore plain strings.
"""

from dataclasses import dataclass
from typing import TypeVar

import msgspec

from gitopsd.machine import State
from gitopsd.types import CycleKind, Value

W = TypeVar("W")


@dataclass(kw_only=True)
class Notice:
    """See `types.Notice`."""

    what: str
    path: str
    advice: str


@dataclass(kw_only=True)
class Parked:
    """See `types.Parked`."""

    path: str
    bookmark: str
    commit: str
    file: str


@dataclass(kw_only=True)
class Finding:
    """See `types.Finding`."""

    path: str
    line: int
    rule: str
    fingerprint: str
    commit: str


@dataclass(kw_only=True)
class Person:
    """See `types.PersonFacts`; `word` is a `types.SyncWord`."""

    user: str
    word: str
    offline: bool
    trunk: str
    captured: list[str]
    published: bool
    sent: bool
    applied: list[str]
    parked: list[Parked]
    notices: list[Notice]
    elsewhere: list[Parked]
    quarantined: list[Finding]


@dataclass(kw_only=True)
class Side:
    """See `types.Side`."""

    exists: bool
    size: int
    text: str | None


@dataclass(kw_only=True)
class Conflict:
    """See `types.Conflict`."""

    file: str
    paths: list[str]
    host: str
    bookmark: str
    commit: str
    trunk: str
    settled: bool
    base: Side
    theirs: Side
    ours: Side
    merged: str | None


@dataclass(kw_only=True)
class Conflicts:
    """See `types.Conflicts`."""

    user: str
    offline: bool
    conflicts: list[Conflict]


@dataclass(kw_only=True)
class Settled:
    """See `types.Settled`."""

    conflict: Conflict
    took: str
    commit: str
    cycle: int


@dataclass(kw_only=True)
class Adopted:
    """See `types.Adopted`."""

    file: str
    took: str
    backup: str


@dataclass(kw_only=True)
class Adoption:
    """See `types.Adoption`."""

    adopted: list[Adopted]
    cycle: int


@dataclass(kw_only=True)
class Beginning:
    """See `types.Beginning`."""

    source: str
    made: bool
    notices: list[Notice]
    cycle: int


@dataclass(kw_only=True)
class Built:
    """See `types.Built`."""

    revision: str
    toplevel: str
    why_root: str
    of_this_machine: list[str]


@dataclass(kw_only=True)
class Switching:
    """See `types.Switching`."""

    boot_id: str
    previous: str
    previous_generation: int
    failed_before: list[str]
    active_before: list[str]
    mode: str
    reason: str
    cut_off: bool
    own: str


@dataclass(kw_only=True)
class Check:
    """See `types.Check`; `verdict` is a `types.Verdict`."""

    name: str
    verdict: str
    said: str
    advice: str


@dataclass(kw_only=True)
class Review:
    """See `types.Review`."""

    checks: list[Check]
    closure: str
    activation: str
    inhibitors: list[str]
    reboot: list[str]


@dataclass(kw_only=True)
class HookRun:
    """See `types.HookRun`."""

    when: str
    unit: str
    at: float
    ended: bool
    problem: str


@dataclass(kw_only=True)
class Facts:
    """See `types.Facts`."""

    people: list[Person]
    config_offline: bool
    config_error: str
    head: str | None
    candidate: str | None
    built: Built | None
    switching: Switching | None
    testing: str | None
    trial: bool
    tried_before: str | None
    checkout: Person | None
    review: Review | None
    chosen: str
    generation: int
    left: list[str]
    hooks: list[HookRun]


@dataclass(kw_only=True)
class Cycle:
    """See `types.Cycle`."""

    id: int
    kind: CycleKind
    users: list[str]
    requested_by: str
    accept_diverged: bool
    started: float
    state: State
    state_since: float
    facts: Facts


@dataclass(kw_only=True)
class Step:
    """See `types.StepRecord`."""

    state: State
    started: float
    ended: float
    event: str
    attempts: int
    message: str


@dataclass(kw_only=True)
class Summary:
    """See `types.CycleSummary`; `outcome` is a `types.Outcome`."""

    id: int
    kind: CycleKind
    requested_by: str
    started: float
    ended: float
    outcome: str
    message: str
    revision: str | None
    toplevel: str | None


@dataclass(kw_only=True)
class Detail:
    """See `types.CycleDetail`."""

    summary: Summary
    steps: list[Step]
    facts: Facts


@dataclass(kw_only=True)
class Rejection:
    """See `types.Rejection`."""

    revision: str
    outcome: str
    reason: str
    cycle: int
    at: float


@dataclass(kw_only=True)
class Deployed:
    """See `types.Deployed`."""

    revision: str
    toplevel: str
    at: float


@dataclass(kw_only=True)
class Trial:
    """See `types.Trial`."""

    revision: str
    toplevel: str
    at: float
    trunk: bool


@dataclass(kw_only=True)
class GoneBack:
    """See `types.GoneBack`."""

    toplevel: str
    name: str
    by: str
    cycle: int
    at: float


@dataclass(kw_only=True)
class Attempt:
    """See `types.Attempt`."""

    number: int
    limit: int
    next_try: float
    cause: str
    message: str


@dataclass(kw_only=True)
class System:
    """See `types.SystemFacts`."""

    current: str | None
    booted: str | None
    profile: str | None
    generation: int
    drift: bool
    reboot: list[str]


@dataclass(kw_only=True)
class BootRollback:
    """See `types.BootRollback`."""

    left: str
    to: str
    reason: str
    at: float
    how: str


@dataclass(kw_only=True)
class LoaderCount:
    """See `types.LoaderCount`."""

    state: str
    left: int
    done: int
    entry: str


@dataclass(kw_only=True)
class Boot:
    """See `types.BootFacts`."""

    toplevel: str | None
    verdict: str
    reason: str
    failures: int
    max_attempts: int
    on_trial: bool
    golden: str | None
    golden_generation: int
    rollback: BootRollback | None
    troubles: list[str]
    stage: str
    golden_since: float
    loader: LoaderCount | None


@dataclass(kw_only=True)
class Suspension:
    """See `types.Suspension`."""

    since: float
    until: float
    reason: str
    by: str


@dataclass(kw_only=True)
class LastGood:
    """See `types.LastGood`."""

    sync: float
    upgrade: float
    contact: float


@dataclass(kw_only=True)
class Pinned:
    """See `types.Pinned`."""

    toplevel: str
    number: int
    problem: str


@dataclass(kw_only=True)
class Reboot:
    """See `types.RebootNeed`."""

    reasons: list[str]
    since: float
    plan: str


@dataclass(kw_only=True)
class Status:
    """See `types.Snapshot`."""

    version: str
    host: str
    state: State
    since: float
    activity: str
    cycle: Cycle | None
    attempt: Attempt | None
    pending: int
    pending_kind: CycleKind | None
    last_sync: Summary | None
    last_upgrade: Summary | None
    people: list[Person]
    system: System
    deployed: Deployed | None
    rejected: list[Rejection]
    blocked: str
    config_path: str
    config_error: str
    boot: Boot
    trial: Trial | None
    pending_plan: int
    checkout: Person | None
    suspended: Suspension | None
    last_good: LastGood
    reboot: Reboot | None
    waiting: list[int]
    gone_back: GoneBack | None


@dataclass(kw_only=True)
class Update:
    """See `types.Update`; `outcome` is set on the last one only."""

    cycle: int
    state: State
    at: float
    line: str
    progress: bool
    outcome: str | None


def to_wire(value: Value, kind: type[W]) -> W:
    """Fill a wire shape from a domain value, field by field of the same name.

    Args:
        value: from `gitopsd.types`.
        kind: the shape of this module that mirrors it.

    Raises:
        msgspec.ValidationError: the two have grown apart; a bug that the unit tests look for.

    """
    return msgspec.convert(msgspec.to_builtins(value), kind)
