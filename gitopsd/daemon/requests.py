"""What was asked for and has not begun, in the order in which it begins. Each is in the store too (`save_pending`)."""

from gitopsd.policy import joins, precedence
from gitopsd.types import Cycle, CycleKind


class Requests:
    """The cycles that wait."""

    def __init__(self) -> None:
        self._waiting: list[Cycle] = []

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._waiting)

    def put(self, cycle: Cycle) -> None:
        """Have it wait; it takes the place of the one with its id."""
        others = [each for each in self._waiting if each.id != cycle.id]
        self._waiting = sorted([*others, cycle], key=precedence)

    def take(self) -> Cycle:
        """The one that begins now. There is one."""
        return self._waiting.pop(0)

    def joined(self, kind: CycleKind) -> Cycle | None:
        """The cycle that a request of this kind is merged into; None if it gets one of its own."""
        return next((each for each in self._waiting if joins(kind, each)), None)

    def upgrade_is_awaited(self) -> bool:
        """Whether somebody waits for what is newest on the branch."""
        return any(joins(CycleKind.upgrade, each) and each.kind is CycleKind.upgrade for each in self._waiting)

    @property
    def changing(self) -> Cycle | None:
        """The first that is more than a question; None if there is none."""
        return next((each for each in self._waiting if each.kind is not CycleKind.plan), None)

    @property
    def question(self) -> Cycle | None:
        """The dry run that waits; None if there is none."""
        return next((each for each in self._waiting if each.kind is CycleKind.plan), None)

    @property
    def ids(self) -> tuple[int, ...]:
        """Of all that wait, in their order."""
        return tuple(each.id for each in self._waiting)
