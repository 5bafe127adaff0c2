"""What the loop has to tell: the journal, and whoever wants to know."""

import msgspec
import structlog

from gitopsd import events
from gitopsd.daemon.board import Board
from gitopsd.policy import first_line
from gitopsd.ports import Clock, Herald
from gitopsd.types import FINE, Announcement, BootFacts, Cycle, CycleKind, CycleSummary, Outcome, PersonFacts


class News:
    """Makes announcements.

    Args:
        board: knows the name of this host.
        clock: time.
        herald: tells those who want to know.

    """

    def __init__(self, board: Board, clock: Clock, herald: Herald) -> None:
        self._board = board
        self._clock = clock
        self._herald = herald
        self._started = clock.now()
        self._offline_since: float | None = None  # what was told already
        self._log = structlog.get_logger()

    def of_end(self, summary: CycleSummary, cycle: Cycle) -> list[tuple[str, Announcement]]:
        """What the end of a cycle is the news of, each with its level in the log."""
        news = [
            (
                "warning",
                self._announcement(events.PARKED, ", ".join(each.path for each in person.parked), cycle, person),
            )
            for person in cycle.facts.people
            if person.parked
        ]
        match summary.outcome:
            case Outcome.rolled_back:
                level, event = "error", events.ROLLED_BACK
            case Outcome.blocked:
                level, event = "critical", events.BLOCKED
            case Outcome.build_failed | Outcome.check_failed:
                level, event = "error", events.BUILD_FAILED
            case Outcome.success if summary.toplevel is not None and summary.kind is CycleKind.upgrade:
                level, event = "info", events.DEPLOYED
            case outcome:
                fine = outcome in FINE
                level, event = ("info", events.CYCLE_FINISHED) if fine else ("error", events.CYCLE_FAILED)
        end = msgspec.structs.replace(
            self._announcement(event, first_line(summary.message), cycle),
            detail=summary.message if summary.message != first_line(summary.message) else "",
            outcome=summary.outcome.value,
            revision=summary.revision,
            toplevel=summary.toplevel,
        )
        return [*news, (level, end)]

    def _announcement(self, event: str, message: str, cycle: Cycle, person: PersonFacts | None = None) -> Announcement:
        return Announcement(
            id=f"{self._board.snapshot.host}-{cycle.id}-{event}{f'-{person.user}' if person else ''}",
            event=event,
            message_id=events.MESSAGE_IDS[event],
            host=self._board.snapshot.host,
            at=self._clock.now(),
            cycle=cycle.id,
            message=message,
            user=person.user if person else "",
        )

    def log(self, level: str, news: Announcement) -> None:
        """Tell the journal.

        Args:
            level: of its entry.
            news: what.

        """
        facts = ("user", "outcome", "message", "detail", "revision", "toplevel")
        getattr(self._log, level)(news.event, **{name: value for name in facts if (value := getattr(news, name))})

    def tell_if_offline(self, contact: float, limit: float) -> None:
        """Say that no remote has answered for too long, once.

        Args:
            contact: when one did last, seconds since the epoch; 0 is never.
            limit: seconds.

        """
        since = contact or self._started
        if self._clock.now() - since <= limit or since == self._offline_since:
            return
        self._offline_since = since
        hours = (self._clock.now() - since) / 3600
        message = f"no remote has answered for {hours:.0f} hours"
        self._log.warning(events.OFFLINE, message=message)
        self._herald.tell(events.OFFLINE, message, occasion=str(since))

    def tell_of_boot(self, boot: BootFacts) -> None:
        """The assessment of boots works without us; what it found is announced once, by whoever runs next."""
        if boot.golden is not None:
            self._herald.tell(events.GOLDEN_PINNED, boot.golden, occasion=boot.golden, toplevel=boot.golden)
        if boot.failures and boot.toplevel is not None:
            reason = boot.reason or f"{boot.failures} of {boot.max_attempts} boots of this generation were bad"
            self._herald.tell(
                events.BOOT_BAD, reason, occasion=f"{boot.toplevel} {boot.failures}", toplevel=boot.toplevel
            )
        if boot.rollback is not None:
            self._herald.tell(
                events.BOOT_ROLLBACK,
                boot.rollback.reason,
                occasion=str(boot.rollback.at),
                toplevel=boot.rollback.left,
            )
