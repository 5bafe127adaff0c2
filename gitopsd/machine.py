"""The state machine: what gitopsd does, in which order, and what a crash resumes to.

    idle -> fetch -> capture -> push -> pull -> build -> switch -> verify -> idle
                                          from switch on: rollback
    resting states: idle, failed (tries again at the next trigger), blocked (a person is needed)

The table is the whole truth: an event that it has no row for raises `IllegalEvent` and changes nothing. Facts that do
not belong to the order of work (suspended, offline, parked changes, rejected revisions ...) stand beside it, in
`types.Snapshot`. A cycle of the kind `sync` ends after pull; one of the kind `upgrade` goes on.
"""

import enum
from collections.abc import Callable

from transitions import Machine as TransitionsMachine
from transitions import MachineError


class State(enum.Enum):
    """Where the machine is. The names are the ones to grep for in the journal."""

    idle = "idle"
    fetch = "fetch"  # learn what the remotes have; touches no working copy, no home, no system
    capture = "capture"  # turn what was edited in each home into commits
    push = "push"  # merge with the trunk what merges; publish everything, merged or parked
    pull = "pull"  # apply what others changed to the homes; choose the revision of the configuration
    build = "build"  # build and check the toplevel; nothing on the system has changed yet
    switch = "switch"  # activate it, outside our own process
    verify = "verify"  # units over time; then make it the boot default
    rollback = "rollback"  # back to the toplevel that ran before, verified too
    failed = "failed"
    blocked = "blocked"


class Event(enum.Enum):
    """What a step, a person or the daemon says to the machine."""

    start = "start"  # a cycle begins
    booted = "booted"  # what waited for a reboot runs now, and must prove itself
    back = "back"  # a person goes back to a system that is there already
    done = "done"  # the step did its work; the next one follows
    settled = "settled"  # the cycle ends well, early or at its end
    fail = "fail"  # the cycle ends badly; the next trigger tries again
    undo = "undo"  # the system may have changed and must go back
    block = "block"  # no automatic way on
    cancel = "cancel"  # the daemon stops before anything changed


RESTING = frozenset({State.idle, State.failed, State.blocked})

TABLE: tuple[tuple[State, Event, State], ...] = (
    # A cycle begins.
    (State.idle, Event.start, State.fetch),
    (State.failed, Event.start, State.fetch),
    (State.blocked, Event.start, State.fetch),
    # A person goes back to another generation: there is nothing to fetch or to build.
    (State.idle, Event.back, State.switch),
    (State.failed, Event.back, State.switch),
    (State.blocked, Event.back, State.switch),
    # A deployment that waited for the reboot was booted.
    (State.idle, Event.booted, State.verify),
    (State.failed, Event.booted, State.verify),
    (State.blocked, Event.booted, State.verify),
    # The dotfiles half never ends the cycle: what goes wrong is recorded, and the system half still runs.
    (State.fetch, Event.done, State.capture),
    (State.capture, Event.done, State.push),
    (State.push, Event.done, State.pull),
    # The system half.
    (State.pull, Event.done, State.build),
    (State.build, Event.done, State.switch),
    (State.switch, Event.done, State.verify),
    # Good ends: a sync is over, nothing new, offline; no change; boot mode waits for the reboot; verified.
    (State.pull, Event.settled, State.idle),
    (State.build, Event.settled, State.idle),
    (State.switch, Event.settled, State.idle),
    (State.verify, Event.settled, State.idle),
    # Bad ends while the system is untouched, or kept on purpose (verify, on_validation_failure = "keep").
    (State.pull, Event.fail, State.failed),
    (State.build, Event.fail, State.failed),
    (State.switch, Event.fail, State.failed),
    (State.verify, Event.fail, State.failed),
    # The way back.
    (State.switch, Event.undo, State.rollback),
    (State.verify, Event.undo, State.rollback),
    (State.rollback, Event.fail, State.failed),
    (State.rollback, Event.block, State.blocked),
    # A sync that ends while the system half still waits for a person.
    (State.pull, Event.block, State.blocked),
    # SIGTERM before switch: the cycle is dropped, nothing has changed.
    (State.fetch, Event.cancel, State.idle),
    (State.capture, Event.cancel, State.idle),
    (State.push, Event.cancel, State.idle),
    (State.pull, Event.cancel, State.idle),
    (State.build, Event.cancel, State.idle),
)


class Resume(enum.Enum):
    """What the next start does with a cycle that it finds in a state."""

    rest = "rest"  # nothing was under way
    again = "again"  # the step is repeatable: run it again
    look = "look"  # the step looks at the world first: it never acts twice


RESUME: dict[State, Resume] = {
    State.idle: Resume.rest,
    State.fetch: Resume.again,
    State.capture: Resume.again,
    State.push: Resume.again,
    State.pull: Resume.again,
    State.build: Resume.again,
    State.switch: Resume.look,
    State.verify: Resume.look,
    State.rollback: Resume.look,
    State.failed: Resume.rest,
    State.blocked: Resume.rest,
}


class IllegalEvent(Exception):
    """The table has no row for this event in this state. A bug: it is reported, and the state does not change."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"no transition for {event.value!r} in state {state.value!r}")
        self.state = state
        self.event = event


class Machine:
    """The table with a current state, checked by `transitions`' plain `Machine`.

    No callbacks, no conditions, no automatic transitions: the work is done by the loop, between two events.

    Args:
        state: where to start; after a crash, the recorded state.

    """

    def __init__(self, state: State = State.idle) -> None:
        self._model = _Model()
        TransitionsMachine(
            model=self._model,
            states=[s.value for s in State],
            initial=state.value,
            transitions=[[event.value, source.value, target.value] for source, event, target in TABLE],
            auto_transitions=False,
            send_event=False,
        )

    @property
    def state(self) -> State:
        """The current state."""
        return State(self._model.state)

    def apply(self, event: Event) -> State:
        """Move along the table.

        Args:
            event: what happened.

        Returns:
            The state after it.

        Raises:
            IllegalEvent: the table has no row; the state is unchanged.

        """
        before = self.state
        try:
            self._model.trigger(event.value)
        except (MachineError, AttributeError) as error:
            raise IllegalEvent(before, event) from error
        return self.state


class _Model:
    """What `transitions` writes its state to and adds its trigger to."""

    state: str
    trigger: Callable[[str], bool]
