"""What the loop runs, as one configuration says."""

from collections.abc import Mapping

import msgspec

from gitopsd.config import RetrySection
from gitopsd.daemon.reboots import Reboots
from gitopsd.machine import State
from gitopsd.ports import Activator, Choices, ConfigSource, Golden
from gitopsd.steps import Step


class StepSet(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that another configuration may change.

    Args:
        steps: one for each state that is no resting state.
        limits: how long each may take, in seconds.
        retry: of the states whose transient failures are tried again; never switch, verify or rollback.
        activator: tells what runs, for status; frees the activation's unit at a cycle's end.
        golden: tells how the boot is assessed, for status.
        reboots: decides whether this host is to reboot by itself.
        users: the people whose dotfiles are kept in step here.
        choices: what each of them may decide.
        offline_after: seconds without an answer of any remote, after which somebody should know.
        source: the configuration repository; None if none is followed.

    """

    steps: Mapping[State, Step]
    limits: Mapping[State, float]
    retry: Mapping[State, RetrySection]
    activator: Activator
    golden: Golden
    reboots: Reboots
    users: tuple[str, ...]
    choices: Mapping[str, Choices] = {}
    offline_after: float = 86400.0
    source: ConfigSource | None = None
