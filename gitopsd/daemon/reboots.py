"""Whether this host is to reboot by itself, and when: asked between two cycles, where nothing is under way."""

import datetime as dt
import time
import zoneinfo
from collections.abc import Callable

import msgspec

from gitopsd.config import RebootConfig
from gitopsd.ports import Clock, Power
from gitopsd.types import Memory, RebootNeed, StorePath, SystemFacts
from gitopsd.windows import Wall, opens_in, parse_window

_LOOK = 900.0  # seconds between two looks while a reboot is due: the clock may be set, and people log out
_LOOK_SOON = 60.0  # while it waits for people only


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What comes of a need.

    Args:
        words: for people.
        now: reboot now.
        look: seconds until it is worth looking again; None if only a person can change it.

    """

    words: str
    now: bool = False
    look: float | None = None


class Reboots:
    """Decides.

    Args:
        wanted: the configuration.
        power: tells who is logged in.
        clock: time.

    """

    def __init__(self, wanted: RebootConfig, power: Power, clock: Clock) -> None:
        self.power = power
        self._wanted = wanted
        self._clock = clock

    def need(self, system: SystemFacts, memory: Memory) -> RebootNeed | None:
        """That a reboot is required: the one that is remembered, if it still is for the same reasons."""
        reasons = system.reboot
        waits = memory.at_reboot
        if waits is not None and waits.facts.built is not None and system.current != waits.facts.built.toplevel:
            reasons = (*reasons, waits.why)
        if not reasons:
            return None
        since = memory.reboot.since if memory.reboot is not None else self._clock.now()
        return RebootNeed(reasons=reasons, since=since)

    async def plan(self, need: RebootNeed, system: SystemFacts, memory: Memory) -> Plan:
        """When it comes, if it comes by itself."""
        last = memory.rebooting
        if system.profile is None or system.profile not in _deployed(memory):
            return Plan(words="the boot default is not what gitopsd deployed: a person decides")
        if system.current != system.profile and memory.at_reboot is None:
            return Plan(words="what runs is not the boot default, and a reboot would end it: a person decides")
        if last is not None and last.toplevel == system.profile:
            if last.boot_id == self._clock.boot_id():
                return Plan(words="under way")
            return Plan(words=f"it was rebooted for that once, and still needs it ({', '.join(need.reasons)})")
        if self._wanted.policy == "never":
            return Plan(words="a person decides")
        if self._wanted.policy == "window":
            windows = [window for text in self._wanted.windows if (window := parse_window(text)) is not None]
            ahead = opens_in(windows, self._clock.now(), self._wall())
            if ahead is None:
                return Plan(words="no window comes within a week")
            if ahead > 0:
                begins = self._wall()(self._clock.now() + ahead)
                return Plan(words=f"in the window that opens {begins:%Y-%m-%d %H:%M}", look=min(ahead, _LOOK))
        people = await self.power.sessions() if self._wanted.sessions == "wait" else ()
        if people:
            return Plan(words=f"waits until {', '.join(people)} has logged out", look=_LOOK_SOON)
        return Plan(words="now", now=True)

    def _wall(self) -> Wall:
        if self._wanted.time_zone:
            return _in_zone(zoneinfo.ZoneInfo(self._wanted.time_zone))
        time.tzset()  # the host's zone may have been changed by a switch
        return dt.datetime.fromtimestamp


def _in_zone(zone: dt.tzinfo) -> Callable[[float], dt.datetime]:
    return lambda at: dt.datetime.fromtimestamp(at, zone)


def _deployed(memory: Memory) -> set[StorePath]:
    found = set()
    if memory.deployed is not None:
        found.add(memory.deployed.toplevel)
    if memory.at_reboot is not None and memory.at_reboot.facts.built is not None:
        found.add(memory.at_reboot.facts.built.toplevel)
    return found
