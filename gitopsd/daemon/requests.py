"""What was asked for and has not begun, in the order in which it begins. Each is in the store too (`save_pending`)."""

from gitopsd.policy import joins, precedence
from gitopsd.types import Cycle, CycleKind


class Requests:
    """The cycles that wait. One that is not in the record yet can be joined, and does not begin."""

    def __init__(self) -> None:
        self._waiting: list[Cycle] = []
        self._recorded: set[int] = set()

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._waiting)

    def put(self, cycle: Cycle) -> Cycle | None:
        """Have it wait; it takes the place of the one with its id, which is returned."""
        before = next((each for each in self._waiting if each.id == cycle.id), None)
        others = [each for each in self._waiting if each.id != cycle.id]
        self._waiting = sorted([*others, cycle], key=precedence)
        return before

    def recorded(self, number: int) -> None:
        """The one with this id is in the record, and may begin; or it has begun already."""
        if number in self.ids:
            self._recorded.add(number)

    def withdraw(self, cycle: Cycle, before: Cycle | None) -> None:
        """It cannot be recorded. What it was merged into waits on, if that is in the record.

        Args:
            cycle: what `put` was given; nothing is done if something else was merged into it since, or it has begun.
            before: what `put` returned.

        """
        if not any(each is cycle for each in self._waiting):
            return
        self._waiting = [each for each in self._waiting if each is not cycle]
        if before is not None and cycle.id in self._recorded:
            self.put(before)

    def take(self) -> Cycle:
        """The one that begins now. There is one that is `ready`."""
        cycle = next(each for each in self._waiting if each.id in self._recorded)
        self._waiting.remove(cycle)
        self._recorded.discard(cycle.id)
        return cycle

    @property
    def ready(self) -> bool:
        """Whether one may begin."""
        return bool(self._recorded)

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
