"""What hypothesis may do to a fleet: any order of people's actions, syncs, kills and networks that come and go."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from soak import invariants
from soak.acts import BY_HAND, Act, come_to_rest, perform
from soak.fleet import Fleet
from soak.site import Site

from gitopsd.ports import Dotfiles

HOST = st.integers(0, 4)
FILE = st.integers(0, 9)
LINE = st.integers(0, 8)
HOW = st.sampled_from(["insert", "replace", "append", "remove"])
MODE = st.sampled_from([0o755, 0o644, 0o600])
MOMENT = st.integers(0, 45)  # a sync that has everything to do runs about as many commands


class FleetMachine(RuleBasedStateMachine):
    """Two to five hosts; at the end, all come online and sync twice."""

    copy: ClassVar[Path]
    totals: ClassVar[dict[str, int]] = {}
    failed: ClassVar[tuple[int, list[Act]] | None] = None  # the number of hosts, and what was done

    @staticmethod
    def make(site: Site) -> Dotfiles:
        """The daemon of one host."""
        return site.start()

    def __init__(self) -> None:
        super().__init__()
        self.fleet: Fleet | None = None
        self.acts: list[Act] = []
        self.broken = False

    @initialize(size=st.sampled_from([2, 2, 3, 3, 4, 5]))
    def begin(self, size: int) -> None:
        self.fleet = Fleet(self.copy, size, self.make)

    @rule(host=HOST, pick=FILE, how=HOW, line=LINE)
    def edit(self, host: int, pick: int, how: str, line: int) -> None:
        self._do(Act("edit", host, pick, how, line))

    @rule(host=HOST, other=HOST, pick=FILE, line=LINE)
    def edit_the_same_line_on_two_hosts(self, host: int, other: int, pick: int, line: int) -> None:
        self._do(Act("edit on two hosts", host, pick, "replace", line, other=other))

    @rule(host=HOST, pick=FILE, how=HOW, line=LINE)
    def edit_the_source(self, host: int, pick: int, how: str, line: int) -> None:
        self._do(Act("edit", host, pick, how, line, flag=True))

    @rule(host=HOST, pick=FILE, line=LINE, source=st.booleans())
    def plant_a_secret(self, *, host: int, pick: int, line: int, source: bool) -> None:
        self._do(Act("plant a secret", host, pick, line=line, flag=source))

    @precondition(lambda self: self.fleet is not None and self.fleet.ledger.secrets)
    @rule(host=HOST)
    def take_secrets_out(self, host: int) -> None:
        self._do(Act("take secrets out", host))

    @rule(host=HOST, pick=FILE)
    def add(self, host: int, pick: int) -> None:
        self._do(Act("add", host, pick))

    @rule(host=HOST, pick=FILE)
    def write_a_new_file(self, host: int, pick: int) -> None:
        self._do(Act("write", host, pick))

    @rule(host=HOST, pick=FILE, mode=MODE)
    def chmod(self, host: int, pick: int, mode: int) -> None:
        self._do(Act("chmod", host, pick, number=mode))

    @rule(host=HOST, pick=FILE, verb=st.sampled_from(["unlink", "destroy", "forget"]))
    def delete(self, host: int, pick: int, verb: str) -> None:
        self._do(Act(verb, host, pick))

    @precondition(lambda self: self.fleet is not None and any(self.fleet.ledger.reasons.values()))
    @rule(host=HOST, pick=FILE, keep_home=st.booleans())
    def follow_the_advice(self, host: int, pick: int, keep_home: bool) -> None:
        self._do(Act("follow the advice", host, pick, flag=keep_home))

    @precondition(lambda self: self.fleet is not None and any(map(invariants.parked, self.fleet.sites.values())))
    @rule(host=HOST)
    def step_back(self, host: int) -> None:
        self._do(Act("step back", host))

    @rule(host=HOST, how=st.sampled_from(list(BY_HAND)))
    def work_by_hand(self, host: int, how: str) -> None:
        self._do(Act("by hand", host, how=how))

    @rule(host=HOST, online=st.booleans())
    def network(self, host: int, online: bool) -> None:
        self._do(Act("network", host, flag=online))

    @rule(host=HOST)
    def sync(self, host: int) -> None:
        self._do(Act("sync", host))

    @rule(host=HOST)
    def sync_again(self, host: int) -> None:
        self._do(Act("sync", host))

    @rule(host=HOST, at=MOMENT, pick=FILE, how=HOW, line=LINE)
    def sync_killed_with_something_to_do(self, host: int, at: int, pick: int, how: str, line: int) -> None:
        self._do(Act("edit", host, pick, how, line))
        self._do(Act("sync, killed", host, number=at))

    @rule(host=HOST, at=MOMENT, pick=FILE, how=HOW, line=LINE, source=st.booleans())
    def sync_while_a_person_edits(self, *, host: int, at: int, pick: int, how: str, line: int, source: bool) -> None:
        self._do(Act("sync, edit", host, pick, how, line, at, flag=source))

    @rule(host=HOST, other=HOST, at=MOMENT, pick=FILE, line=LINE)
    def sync_while_another_host_syncs(self, host: int, other: int, at: int, pick: int, line: int) -> None:
        self._do(Act("edit on two hosts", host, pick, "replace", line, other=other))
        self._do(Act("sync, sync", host, number=at, other=other))

    @rule(host=HOST, at=MOMENT)
    def sync_while_the_network_goes(self, host: int, at: int) -> None:
        self._do(Act("sync, network", host, number=at))

    def teardown(self) -> None:
        if self.fleet is None:
            return
        try:
            if not self.broken:
                self._guarded(come_to_rest)
        finally:
            self._count("examples", 1)
            self._count("hosts", len(self.fleet.sites))
            self._count("acts", len(self.acts))
            self._count("syncs", self.fleet.syncs)
            self._count("kills", self.fleet.kills)
            self._count("commands", self.fleet.close())

    def _do(self, act: Act) -> None:
        self.acts.append(act)
        self._guarded(lambda fleet: perform(fleet, act))

    def _guarded(self, function: Callable[[Fleet], None]) -> None:
        assert self.fleet is not None
        try:
            function(self.fleet)
        except BaseException:
            self.broken = True
            type(self).failed = (len(self.fleet.sites), self.acts)
            raise

    @classmethod
    def _count(cls, what: str, by: int) -> None:
        cls.totals[what] = cls.totals.get(what, 0) + by
