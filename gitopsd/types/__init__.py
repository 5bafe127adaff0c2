"""What the daemon knows, as frozen values. Pure.

Times are seconds since the epoch (UTC) as `float`; durations are seconds. Everything here is written to the store and
shown on the socket as it stands: the status a person sees is the record that was written.
"""

from gitopsd.types.boot import BootFacts, BootRollback, LoaderCount, Pinned
from gitopsd.types.choices import Adopted, Adoption, Beginning, Conflict, Conflicts, Settled, Side, Take
from gitopsd.types.cycle import (
    BOOTED,
    FINE,
    Cycle,
    CycleDetail,
    CycleKind,
    CycleSummary,
    Facts,
    Outcome,
    StepRecord,
    StepResult,
)
from gitopsd.types.dotfiles import Notice, Parked, PersonFacts, SyncWord
from gitopsd.types.memory import (
    Announcement,
    BootConclusion,
    CycleEnd,
    Deployed,
    GoneBack,
    LastGood,
    Memory,
    Rejection,
    Suspension,
    Trial,
)
from gitopsd.types.reboot import AtReboot, Rebooting, RebootNeed
from gitopsd.types.secrets import Candidate, Finding
from gitopsd.types.status import Attempt, Snapshot, Update
from gitopsd.types.system import Built, Check, HookRun, Review, Switching, SystemFacts, UnitHealth, Verdict
from gitopsd.types.takeover import Life, Takeover
from gitopsd.types.values import Revision, StorePath, Value, parse_revision, parse_store_path

__all__ = [
    "BOOTED",
    "FINE",
    "Adopted",
    "Adoption",
    "Announcement",
    "AtReboot",
    "Attempt",
    "Beginning",
    "BootConclusion",
    "BootFacts",
    "BootRollback",
    "Built",
    "Candidate",
    "Check",
    "Conflict",
    "Conflicts",
    "Cycle",
    "CycleDetail",
    "CycleEnd",
    "CycleKind",
    "CycleSummary",
    "Deployed",
    "Facts",
    "Finding",
    "GoneBack",
    "HookRun",
    "LastGood",
    "Life",
    "LoaderCount",
    "Memory",
    "Notice",
    "Outcome",
    "Parked",
    "PersonFacts",
    "Pinned",
    "RebootNeed",
    "Rebooting",
    "Rejection",
    "Review",
    "Revision",
    "Settled",
    "Side",
    "Snapshot",
    "StepRecord",
    "StepResult",
    "StorePath",
    "Suspension",
    "Switching",
    "SyncWord",
    "SystemFacts",
    "Take",
    "Takeover",
    "Trial",
    "UnitHealth",
    "Update",
    "Value",
    "Verdict",
    "parse_revision",
    "parse_store_path",
]
