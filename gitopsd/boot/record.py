"""The record: one small JSON file per fact in `boot/` of the state directory.

`generation-HASH.json` holds the boots of one generation since its last good one, `rollback.json` the last rollback at
boot. Each is written as a whole, so that one write is one fact; the counts are not written but follow from the boots. A
file that cannot be understood (damaged, empty, from a newer version) is moved aside and counts as unknown: never as
good, and never as "nothing happened".
"""

import binascii
import errno
import fcntl
import json
import os
import stat
import time

from gitopsd.boot.disk import Disk

TYPE_CHECKING = False  # typing's own constant would import typing
if TYPE_CHECKING:
    from typing import Any, Self

DIRECTORY = "/var/lib/gitopsd/boot"

PENDING, GOOD, BAD, INDETERMINATE, LEFT = "pending", "good", "bad", "indeterminate", "left"
VERDICTS = (PENDING, GOOD, BAD, INDETERMINATE, LEFT)
"""`indeterminate`: shut down in order before the verdict. `left`: its begin fell back to golden at once."""

BEGUN, REBOOTING, LANDED, FAILED, GOLDEN_FAILED = "begun", "rebooting", "landed", "failed", "golden-failed"
STAGES = (BEGUN, REBOOTING, LANDED, FAILED, GOLDEN_FAILED)

_VERSION = 1
_KEEP = 50  # boots in one file, and files
_END_OF_TIME = 253_402_300_800.0
_LONGEST = 1 << 20  # bytes of a file
_PATIENCE = 60.0  # seconds for whoever else writes; a pin takes a moment, a bless as long as the boot loader's script


class Damaged(Exception):
    """A file does not hold a record that this version understands; the message says why."""


class Attempt:
    """One boot of a generation.

    Args:
        boot: its boot ID.
        at: seconds since the epoch, as the clock stood: it may be wrong this early.
        verdict: one of `VERDICTS`.
        reason: why it is bad.

    """

    def __init__(self, boot: str, at: float, verdict: str = PENDING, reason: str = "") -> None:
        self.boot = boot
        self.at = at
        self.verdict = verdict
        self.reason = reason


class Generation:
    """What is known of the boots of one generation.

    Args:
        toplevel: its store path.
        blessed: it has booted well at least once.
        entry: it is pinned as golden, and the boot loader was installed since.
        doubt: the record of before was damaged.
        attempts: its boots, oldest first; those before the last good one are forgotten.

    """

    def __init__(
        self,
        toplevel: str,
        *,
        blessed: bool = False,
        entry: bool = False,
        doubt: bool = False,
        attempts: "list[Attempt] | None" = None,
    ) -> None:
        self.toplevel = toplevel
        self.blessed = blessed
        self.entry = entry
        self.doubt = doubt
        self.attempts = attempts if attempts is not None else []

    def attempt(self, boot: str) -> Attempt | None:
        """The boot of this ID."""
        return next((attempt for attempt in self.attempts if attempt.boot == boot), None)

    def failed(self, boot: str) -> list[Attempt]:
        """The bad boots, as seen from this one: also those that ended with no verdict and in no orderly way."""
        return [
            attempt
            for attempt in self.attempts
            if attempt.verdict == BAD or (attempt.verdict == PENDING and attempt.boot != boot)
        ]

    def fact(self) -> "dict[str, Any]":
        """As it is written."""
        attempts = [[each.boot, each.at, each.verdict, each.reason] for each in self.attempts[-_KEEP:]]
        return {
            "toplevel": self.toplevel,
            "blessed": self.blessed,
            "entry": self.entry,
            "doubt": self.doubt,
            "attempts": attempts,
        }

    @classmethod
    def read(cls, fact: "dict[str, Any]") -> "Self":
        """From what was written.

        Raises:
            Damaged: it is no such fact.

        """
        attempts = []
        for each in _typed(fact, "attempts", list):
            match each:
                case [str(boot), float() | int() as at, str(verdict), str(reason)] if verdict in VERDICTS and _is_time(
                    at
                ):
                    attempts.append(Attempt(boot, at, verdict, reason))
                case _:
                    raise Damaged("an attempt is malformed")
        flags = {name: _typed(fact, name, bool) for name in ("blessed", "entry", "doubt")}
        return cls(_typed(fact, "toplevel", str), attempts=attempts, **flags)


class Rollback:
    """The last rollback at boot.

    Args:
        left: the generation that booted badly.
        to: the golden one.
        reason: why.
        boot: the ID of the boot that decided it.
        at: seconds since the epoch, as the clock stood.
        how: one of `STAGES`.

    """

    def __init__(self, *, left: str, to: str, reason: str, boot: str, at: float, how: str = BEGUN) -> None:
        self.left = left
        self.to = to
        self.reason = reason
        self.boot = boot
        self.at = at
        self.how = how

    def fact(self) -> "dict[str, Any]":
        """As it is written."""
        return dict(vars(self))

    @classmethod
    def read(cls, fact: "dict[str, Any]") -> "Self":
        """From what was written.

        Raises:
            Damaged: it is no such fact.

        """
        texts = {name: _typed(fact, name, str) for name in ("left", "to", "reason", "boot", "how")}
        if texts["how"] not in STAGES:
            raise Damaged(f"unknown stage {texts['how']!r}")
        at = fact.get("at")
        if not isinstance(at, int | float) or not _is_time(at):
            raise Damaged("`at` is no time")
        return cls(at=at, **texts)


class Record:
    """The directory.

    Args:
        directory: where it is.
        disk: writes.

    What was wrong with what was read is collected in `troubles`, one sentence each.

    """

    def __init__(self, directory: str, disk: Disk) -> None:
        self.directory = directory
        self.troubles: list[str] = []
        self.patience = _PATIENCE
        self._disk = disk

    def generation(self, toplevel: str, *, mend: bool = False) -> Generation:
        """What is known of a generation; one of which nothing is known has no boots.

        Args:
            toplevel: its store path.
            mend: move a damaged file aside.

        """
        path = self._generation(toplevel)
        try:
            fact = self._load(path)
            found = Generation.read(fact) if fact is not None else Generation(toplevel)
        except Damaged as error:
            self._aside(path, error, mend=mend)
            return Generation(toplevel, doubt=True)
        if found.toplevel != toplevel:
            self._aside(path, Damaged(f"it is about {found.toplevel}"), mend=mend)
            return Generation(toplevel, doubt=True)
        return found

    def rollback(self, *, mend: bool = False) -> Rollback | None:
        """The last rollback at boot; None if there was none.

        Args:
            mend: move a damaged file aside.

        Raises:
            Damaged: it is not known whether there was one; told in `troubles`.

        """
        path = self._rollback()
        try:
            fact = self._load(path)
            return Rollback.read(fact) if fact is not None else None
        except Damaged as error:
            self._aside(path, error, mend=mend)
            raise

    def save(self, what: Generation | Rollback) -> None:
        """Write a fact; durable on return.

        Raises:
            OSError: the old one stands.

        """
        fact = what.fact()
        text = _canonical(fact)
        whole = json.dumps({"version": _VERSION, "crc32": binascii.crc32(text.encode()), "fact": fact})
        self._make()
        path = self._generation(what.toplevel) if isinstance(what, Generation) else self._rollback()
        self._disk.replace(path, whole.encode() + b"\n")

    def forget_rollback(self) -> None:
        """Remove the fact; durable on return."""
        self._disk.remove(self._rollback())

    def forgive(self) -> int:
        """Forget the bad boots of all generations, and the rollback; returns how many bad boots there were.

        Raises:
            OSError: not all of it could be forgotten.

        """
        bad = 0
        for name in self._files():
            path = os.path.join(self.directory, name)
            try:
                fact = self._load(path)
                generation = Generation.read(fact) if fact is not None else None
            except Damaged as error:
                self._aside(path, error, mend=True)
                continue
            if generation is None:
                continue
            kept = [attempt for attempt in generation.attempts if attempt.verdict in (PENDING, GOOD)][-1:]
            bad += sum(attempt.verdict == BAD for attempt in generation.attempts)
            bad += sum(attempt.verdict == PENDING for attempt in generation.attempts if attempt not in kept)
            generation.attempts, generation.doubt = kept, False
            self.save(generation)
        self.forget_rollback()
        return bad

    def prune(self) -> None:
        """Remove the oldest records beyond what is kept, of generations that are gone; what cannot be removed stays."""
        for name in self._files()[_KEEP:]:
            try:
                self._disk.remove(os.path.join(self.directory, name))
            except OSError as error:
                self.troubles.append(f"cannot remove {name}: {error.strerror}")

    def lock(self) -> int:
        """Hold the record against the other programs that write it; returns a descriptor to close.

        Raises:
            OSError: the directory cannot be written to; or another program has held it for too long.

        """
        self._make()
        fd = os.open(os.path.join(self.directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + self.patience
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(fd)
                    raise OSError(errno.EBUSY, "another program has it locked", self.directory) from None
                time.sleep(0.05)
            else:
                return fd

    def _make(self) -> None:
        """Nobody but root may look into the state directory, whoever makes it first."""
        self._disk.directory(os.path.dirname(self.directory))
        self._disk.directory(self.directory)

    def _files(self) -> list[str]:
        """The files about generations, newest first."""
        try:
            names = [name for name in os.listdir(self.directory) if name.startswith("generation-")]
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = [name for name in names if name.endswith(".json")]
        return sorted(names, key=lambda name: -os.stat(os.path.join(self.directory, name)).st_mtime)

    def _load(self, path: str) -> "dict[str, Any] | None":
        try:
            raw = _read(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Damaged(f"cannot read it: {error.strerror}") from None
        if not raw:
            raise Damaged("it is empty")
        if len(raw) > _LONGEST:
            raise Damaged(f"it is longer than {_LONGEST} bytes")
        try:
            whole = json.loads(raw)
        except (ValueError, RecursionError):
            raise Damaged("it is cut off or no JSON") from None
        if not isinstance(whole, dict):
            raise Damaged("it is no object")
        if isinstance(whole.get("version"), int) and whole["version"] > _VERSION:
            raise Damaged(f"it has version {whole['version']}, and this gitopsd knows up to {_VERSION}")
        fact = whole.get("fact")
        if not isinstance(fact, dict) or whole.get("crc32") != binascii.crc32(_canonical(fact).encode()):
            raise Damaged("its checksum is wrong")
        return fact

    def _aside(self, path: str, why: Damaged, *, mend: bool) -> None:
        trouble = f"{path} counts as unknown: {why}"
        if mend:
            number = 1
            while os.path.lexists(aside := f"{path}.damaged-{number}"):
                number += 1
            try:
                self._disk.move(path, aside)
                trouble += f"; it is kept as {aside}"
            except OSError as error:
                trouble += f"; it cannot be moved aside: {error.strerror}"
        self.troubles.append(trouble)

    def _generation(self, toplevel: str) -> str:
        return os.path.join(self.directory, f"generation-{os.path.basename(toplevel)[:32]}.json")

    def _rollback(self) -> str:
        return os.path.join(self.directory, "rollback.json")


def _read(path: str) -> bytes:
    """A file, and nothing that could make its reader wait or that never ends; one byte more than is allowed at most."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Damaged("it is no file")
        return file.read(_LONGEST + 1)


def _canonical(fact: "dict[str, Any]") -> str:
    return json.dumps(fact, sort_keys=True, separators=(",", ":"))


def _is_time(at: float) -> bool:
    """Whether it can be told: up to the end of the year 9999."""
    return 0 <= at < _END_OF_TIME


def _typed(fact: "dict[str, Any]", name: str, kind: type) -> "Any":
    value = fact.get(name)
    if not isinstance(value, kind):
        raise Damaged(f"`{name}` is no {kind.__name__}")
    return value
