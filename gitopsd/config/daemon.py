"""The sections about the daemon itself: its patience, its socket, and what it keeps and tells."""

from gitopsd.config.kinds import Seconds, Section
from gitopsd.events import ALARMS


class RetrySection(Section, frozen=True, kw_only=True):
    """`[retry.STATE]`: how often a transient failure of a state is tried again.

    Args:
        attempts: at most; 1 is no retry.
        first: the upper bound of the first wait; it doubles with each attempt, with full jitter.
        longest: the upper bound of any wait.

    """

    attempts: int = 4
    first: Seconds = 1.0
    longest: Seconds = 60.0


class RetryConfig(Section, frozen=True, kw_only=True):
    """`[retry]`: for the states that are ever tried again. Switch, verify and rollback never are."""

    fetch: RetrySection = RetrySection(attempts=3)
    capture: RetrySection = RetrySection()
    push: RetrySection = RetrySection(attempts=5)
    pull: RetrySection = RetrySection()
    build: RetrySection = RetrySection(attempts=3, first=5.0)


class TimeoutConfig(Section, frozen=True, kw_only=True):
    """`[timeouts]`: after which a step is ended with everything it started."""

    fetch: Seconds = 300.0
    capture: Seconds = 300.0
    push: Seconds = 300.0
    pull: Seconds = 300.0


class ControlConfig(Section, frozen=True, kw_only=True):
    """`[control]`: who may change things over the socket, beside root.

    Args:
        group: members may do everything; empty is nobody.

    """

    group: str = ""


class FilesConfig(Section, frozen=True, kw_only=True):
    """`[files]`: what is written for scripts.

    Args:
        sync_status: the last sync in one word, as it was before gitopsd; empty is no file.

    """

    sync_status: str = "/var/lib/chezmoi-sync/last-sync-status"


class HistoryConfig(Section, frozen=True, kw_only=True):
    """`[history]`: what is remembered.

    Args:
        cycles: how many finished cycles are kept.

    """

    cycles: int = 5000


class MetricsConfig(Section, frozen=True, kw_only=True):
    """`[metrics]`: figures for Prometheus.

    Args:
        textfile: where they are written for node_exporter's textfile collector, which must be told the directory; empty
            writes none.
        listen: `address:port` of the loopback interface where they are served over HTTP; empty serves none.

    """

    textfile: str = "/run/gitopsd/metrics/gitopsd.prom"
    listen: str = ""


class NotifyConfig(Section, frozen=True, kw_only=True):
    """`[notify]`: who is told of events. A receiver that is slow or away holds nothing up, and is told again later.

    Args:
        command: a program with its arguments; the event is JSON on its standard input. It runs as root, in `/`, with a
            small environment; another status than 0 is a failure.
        webhook: a URL that the event is posted to as JSON, or the absolute path of a file that holds one: a URL may be a
            secret. A status of 300 or more is a failure.
        unit: a unit to start. Of a template such as `gitopsd-notify@.service`, the instance is the event with hyphens,
            such as `rolled-back`.
        events: which events, by their names in the journal.
        timeout: how long a receiver may take.
        give_up: for how long a receiver that fails is tried again.
        offline_after: how long no remote may answer before that is an event.

    """

    command: tuple[str, ...] = ()
    webhook: str = ""
    unit: str = ""
    events: tuple[str, ...] = ALARMS
    timeout: Seconds = 30.0
    give_up: Seconds = 86400.0
    offline_after: Seconds = 86400.0
