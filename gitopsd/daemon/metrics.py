"""Figures for Prometheus: what is counted while we run, and what the snapshot says at the moment that somebody asks.

No label has a path of a home, a message, or anything else that a person wrote. Every series that can be known in advance
is there from the start, since a counter that appears with its first event has no increase that an alert could see.
"""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric, StateSetMetricFamily
from prometheus_client.registry import Collector

from gitopsd.machine import RESTING, State
from gitopsd.types import CycleKind, CycleSummary, Outcome, Snapshot, StepRecord

_SECONDS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600)  # of a step: from an empty sync to a long build


class Metrics:
    """`ports.Meter`, and the text for whoever asks."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._steps = Histogram(
            "gitopsd_step_duration_seconds",
            "How long the steps of a cycle took.",
            ["step"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._retries = Counter(
            "gitopsd_step_retries", "How often a step tried again what failed.", ["step"], registry=self._registry
        )
        self._cycles = Counter(
            "gitopsd_cycles", "Cycles that have ended, by their outcome.", ["kind", "outcome"], registry=self._registry
        )
        for state in State:
            if state not in RESTING:
                self._steps.labels(state.value)
                self._retries.labels(state.value)
        for kind in CycleKind:
            for outcome in Outcome:
                self._cycles.labels(kind.value, outcome.value)

    def show(self, snapshot: Callable[[], Snapshot]) -> None:
        """Take what is true now from here."""
        self._registry.register(_Now(snapshot))

    def stepped(self, step: StepRecord) -> None:
        """See `ports.Meter`."""
        self._steps.labels(step.state.value).observe(max(0.0, step.ended - step.started))
        self._retries.labels(step.state.value).inc(step.attempts - 1)

    def finished(self, summary: CycleSummary) -> None:
        """See `ports.Meter`."""
        self._cycles.labels(summary.kind.value, summary.outcome.value).inc()

    def families(self) -> Iterator[Metric]:
        """All of it, as prometheus_client has it."""
        return iter(self._registry.collect())

    def text(self) -> str:
        """All of it, in Prometheus' text format 0.0.4."""
        return generate_latest(self._registry).decode()


class _Now(Collector):
    """What a snapshot says.

    Args:
        snapshot: gives the present one; asked once for each collection.

    """

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        now = self._snapshot()
        yield InfoMetricFamily("gitopsd", "The daemon.", value={"version": now.version, "host": now.host})
        states = {state.value: state is now.state for state in State}
        yield StateSetMetricFamily("gitopsd_state", "Where the machine is.", value=states)
        yield _gauge("state_since_timestamp_seconds", "Since when it is there.", now.since)
        yield from _successes(now)
        yield from _systems(now)
        yield from _people(now)
        yield _gauge("blocked", "A person is needed; no upgrade runs until then.", bool(now.blocked))
        yield _gauge("suspended", "A person wants this host left alone.", now.suspended is not None)
        yield _gauge("rejected_revisions", "Revisions that are not tried again.", len(now.rejected))
        yield _gauge("config_refused", "The newest configuration file has faults.", bool(now.config_error))


def _successes(now: Snapshot) -> Iterator[Metric]:
    last = GaugeMetricFamily(
        "gitopsd_last_success_timestamp_seconds", "When a cycle last ended well; 0 is never.", labels=["kind"]
    )
    last.add_metric(["sync"], now.last_good.sync)
    last.add_metric(["upgrade"], now.last_good.upgrade)
    yield last
    yield _gauge("last_contact_timestamp_seconds", "When a remote last answered; 0 is never.", now.last_good.contact)


def _systems(now: Snapshot) -> Iterator[Metric]:
    deployed, golden = now.deployed, now.boot.golden
    yield _info(
        "deployed",
        "The last deployment that was verified.",
        {"revision": deployed.revision, "toplevel": deployed.toplevel} if deployed is not None else None,
    )
    at = deployed.at if deployed is not None else 0
    yield _gauge("deployed_timestamp_seconds", "When it was verified; 0 if there is none.", at)
    number = str(now.boot.golden_generation)
    yield _info(
        "golden",
        "The generation that a bad boot falls back to.",
        {"toplevel": golden, "generation": number} if golden is not None else None,
    )
    yield _gauge(
        "golden_timestamp_seconds",
        "When it was pinned; 0 if there is none, or the clock was not set then.",
        now.boot.golden_since if golden is not None else 0,
    )
    yield _gauge("drift", "What runs is not what was deployed last.", now.system.drift)
    yield _gauge(
        "reboot_required", "The boot default has parts that only a reboot brings into use.", bool(now.system.reboot)
    )
    yield _gauge("boot_attempts", "Bad boots of this generation since its last good one.", now.boot.failures)
    yield _gauge("boot_max_attempts", "How many of them make it fall back to golden.", now.boot.max_attempts)
    yield _gauge("boot_good", "This boot has proved itself.", now.boot.verdict == "good")


def _people(now: Snapshot) -> Iterator[Metric]:
    families = {
        "parked_conflicts": "Changes of this host that are parked beside the trunk.",
        "quarantined_files": "Files that look like they hold a secret and are not published.",
        "dotfiles_offline": "The remote of the dotfiles could not be reached by the last cycle.",
    }
    found = {name: GaugeMetricFamily(f"gitopsd_{name}", text, labels=["user"]) for name, text in families.items()}
    for person in now.people:
        found["parked_conflicts"].add_metric([person.user], len(person.parked))
        found["quarantined_files"].add_metric([person.user], len({each.path for each in person.quarantined}))
        found["dotfiles_offline"].add_metric([person.user], person.offline)
    yield from found.values()


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"gitopsd_{name}", text, value=float(value))


def _info(name: str, text: str, labels: dict[str, str] | None) -> GaugeMetricFamily:
    """A gauge that is 1 and says it in labels; no series where there is nothing to say."""
    family = GaugeMetricFamily(f"gitopsd_{name}_info", text, labels=list(labels or ()))
    if labels is not None:
        family.add_metric(list(labels.values()), 1)
    return family
