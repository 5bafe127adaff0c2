"""Decisions, as functions. Pure: everything they look at is an argument."""

from gitopsd.policy.choice import (
    Choice,
    choose,
    falls_of,
    is_of_the_trunk,
    prefer_testing,
    same_system,
    target_of,
    tested_only,
)
from gitopsd.policy.ending import (
    CANCELLABLE,
    GOOD_WORDS,
    after_error,
    end_of,
    made_contact,
    rejection_of,
    rest,
    sum_up,
    takes_the_machine_down,
)
from gitopsd.policy.health import broken, newly_failed, reads_switch, still_starting, unsteady
from gitopsd.policy.past import after_boot, after_guard, after_takeover
from gitopsd.policy.requests import TIMER, admits, heeds, is_suspended, joins, merge_requests, precedence
from gitopsd.policy.review import explained, plan, stopping
from gitopsd.policy.standing import is_back, is_drift, last_deployed, left_by, runs
from gitopsd.policy.words import called, first_line, local_time, short

__all__ = [
    "CANCELLABLE",
    "GOOD_WORDS",
    "TIMER",
    "Choice",
    "admits",
    "after_boot",
    "after_error",
    "after_guard",
    "after_takeover",
    "broken",
    "called",
    "choose",
    "end_of",
    "explained",
    "falls_of",
    "first_line",
    "heeds",
    "is_back",
    "is_drift",
    "is_of_the_trunk",
    "is_suspended",
    "joins",
    "last_deployed",
    "left_by",
    "local_time",
    "made_contact",
    "merge_requests",
    "newly_failed",
    "plan",
    "precedence",
    "prefer_testing",
    "reads_switch",
    "rejection_of",
    "rest",
    "runs",
    "same_system",
    "short",
    "still_starting",
    "stopping",
    "sum_up",
    "takes_the_machine_down",
    "target_of",
    "tested_only",
    "unsteady",
]
