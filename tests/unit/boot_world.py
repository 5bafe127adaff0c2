# ruff: noqa: PTH106, PTH108, PTH110, PTH112, PTH114, PTH115, PTH118, PTH120, PTH208, PTH211
# It undoes what the code under test does, with the same functions.
"""A machine in a directory that boots, and whose power can be cut between any two steps of any write.

What was written and not synced may survive a cut, be lost, or be torn: `Loss` says which.
"""

import enum
import os
import random
from collections.abc import Callable
from pathlib import Path

from gitopsd.boot.begin import begin
from gitopsd.boot.disk import Disk
from gitopsd.boot.judge import Rules
from gitopsd.boot.loader import Loader
from gitopsd.boot.notice import Notice
from gitopsd.boot.place import Machine
from gitopsd.boot.profiles import Profile
from gitopsd.boot.record import Record
from gitopsd.boot.verdict import bad, bless, emergency, end

GOLDEN = f"/nix/store/{'g' * 32}-nixos-system-golden"
NEWER = f"/nix/store/{'n' * 32}-nixos-system-newer"
THIRD = f"/nix/store/{'t' * 32}-nixos-system-third"


class Cut(BaseException):
    """The power is cut here."""


class Rebooted(BaseException):
    """The machine was asked to reboot, and does."""


class Loss(enum.Enum):
    """What a cut does to what is not synced."""

    nothing = "nothing"  # the disk was quick
    everything = "everything"  # names and bytes
    bytes = "bytes"  # names are there, what was written is not
    half = "half"  # half of the bytes
    some = "some"  # some of the names, in their order


class CrashDisk(Disk):
    """Does everything in a real directory, and knows what a cut would take away again.

    Args:
        at: before which operation the power is cut, from 1; 0 is never.
        loss: what is lost then.
        chance: decides what `Loss.some` means.

    """

    def __init__(self, at: int = 0, loss: Loss = Loss.nothing, chance: random.Random | None = None) -> None:
        self.at = at
        self.loss = loss
        self.chance = chance or random.Random(at)  # noqa: S311 - no secret
        self.done = 0
        self.names: list[tuple[str, Callable[[], None]]] = []  # directory, undo
        self.unsynced: set[int] = set()  # inodes

    def step(self) -> None:
        self.done += 1
        if self.done == self.at:
            self._lose()
            raise Cut

    def write_new(self, path: str, data: bytes) -> None:
        self.step()
        undo = self._undo(path)
        Path(path).write_bytes(data)
        self.unsynced.add(Path(path).stat().st_ino)
        self.names.append((os.path.dirname(path), undo))

    def sync(self, path: str) -> None:
        self.step()
        if Path(path).is_dir():
            self.names = [(directory, undo) for directory, undo in self.names if directory != path]
        else:
            self.unsynced.discard(Path(path).stat().st_ino)

    def rename(self, source: str, target: str) -> None:
        self.step()
        forward, back = self._undo(target), self._undo(source)
        super().rename(source, target)

        def undo() -> None:
            forward()
            back()

        self.names.append((os.path.dirname(target), undo))

    def symlink(self, text: str, path: str) -> None:
        self.step()
        undo = self._undo(path)
        super().symlink(text, path)
        self.names.append((os.path.dirname(path), undo))

    def unlink(self, path: str) -> None:
        if not os.path.lexists(path):
            raise FileNotFoundError(path)
        self.step()
        undo = self._undo(path)
        super().unlink(path)
        self.names.append((os.path.dirname(path), undo))

    def mkdir(self, path: str, mode: int) -> None:
        self.step()
        super().mkdir(path, mode)
        self.names.append((os.path.dirname(path), lambda: _rmdir(path)))

    def _undo(self, path: str) -> Callable[[], None]:
        """Put back what is at a path now."""
        if os.path.islink(path):
            text = os.readlink(path)

            def link() -> None:
                _gone(path)
                os.symlink(text, path)

            return link
        if os.path.exists(path):
            data = Path(path).read_bytes()

            def file() -> None:
                _gone(path)
                Path(path).write_bytes(data)

            return file
        return lambda: _gone(path)

    def _lose(self) -> None:
        kept = {Loss.everything: 0, Loss.some: self.chance.randrange(len(self.names) + 1)}
        lost = self.names[kept.get(self.loss, len(self.names)) :]
        if self.loss in (Loss.bytes, Loss.half, Loss.some):
            self._tear()
        for _, undo in reversed(lost):
            undo()
        self.names, self.unsynced = [], set()

    def _tear(self) -> None:
        for directory in {directory for directory, _ in self.names}:
            for path in Path(directory).iterdir() if Path(directory).is_dir() else ():
                if path.is_file() and not path.is_symlink() and path.stat().st_ino in self.unsynced:
                    data = path.read_bytes()
                    path.write_bytes(data[: len(data) // 2] if self.loss is Loss.half else b"")


def _gone(path: str) -> None:
    if os.path.lexists(path):
        os.unlink(path)


def _rmdir(path: str) -> None:
    if os.path.isdir(path):
        for name in os.listdir(path):
            os.unlink(os.path.join(path, name))
        os.rmdir(path)


class Booting(Machine):
    """One boot of the world."""

    def __init__(self, world: "World", disk: Disk) -> None:
        self.world = world
        self.disk = disk
        self.record = Record(str(world.root / "state" / "boot"), disk)
        self.system = Profile(str(world.root / "profiles" / "system"), disk)
        self.golden = Profile(str(world.root / "profiles" / "system-profiles" / "golden"), disk)
        self.notice = Notice((str(world.root / "run" / "issue"),))
        self.config = ""

    def boot_id(self) -> str:
        return f"boot-{self.world.boots}"

    def booted(self) -> str:
        return self.world.booted

    def switched(self) -> bool:
        return False

    def now(self) -> float:
        return 1.7e9 + self.world.boots

    def whole(self, toplevel: str) -> bool:
        return toplevel not in self.world.gone

    def install(self, toplevel: str) -> str:
        """Entries, then the default; both durable, as the real ones are."""
        if isinstance(self.disk, CrashDisk):
            self.disk.step()
        if self.world.no_loader:
            return "switch-to-configuration ended with status 1"
        self.disk.replace(str(self.world.root / "loader" / "default"), toplevel.encode())
        if isinstance(self.disk, CrashDisk):
            self.disk.step()
        return ""

    def reboot(self) -> str:
        if isinstance(self.disk, CrashDisk):
            self.disk.step()
        raise Rebooted

    def stopping(self) -> bool:
        return True

    def restarted(self, unit: str) -> bool:
        return self.world.restarted

    def verify_broke(self) -> bool:
        return self.world.verify_broke

    def asked_for_emergency(self) -> bool:
        return self.world.repairs

    def allow(self, seconds: float) -> None:
        pass

    def loader(self) -> Loader:
        return Loader(str(self.world.root / "efivars"), (str(self.world.root / "esp"),))

    def rules(self) -> Rules:
        return self.world.rules


class World:
    """What survives a boot, and how each generation boots.

    Args:
        directory: an empty one.
        rules: of the configuration.

    """

    def __init__(self, directory: Path, rules: Rules | None = None) -> None:
        self.root = directory
        self.rules = rules or Rules()
        self.boots = 0
        self.own_reboots = 0  # that we asked for
        self.leaving = False  # it is begin that runs
        self.booted = ""
        self.manners: dict[str, list[str]] = {}  # toplevel: how it boots, the last one for ever
        self.history: list[tuple[str, str]] = []  # toplevel, how its boot ended
        self.troubles: list[str] = []
        self.gone: set[str] = set()
        self.no_loader = False
        self.repairs = False  # emergency mode was asked for
        self.auto_pin = True
        self.restarted = False  # systemd has started the unit again after a kill
        self.verify_broke = False
        for name in ("profiles", "loader", "run"):
            (directory / name).mkdir()

    def at(self, disk: Disk | None = None) -> Booting:
        return Booting(self, disk or CrashDisk())

    def deploy(self, toplevel: str, *manner: str) -> None:
        """Make it the profile and the boot default."""
        self.manners[toplevel] = list(manner)
        machine = self.at()
        machine.system.set(toplevel)
        machine.install(toplevel)

    @property
    def default(self) -> str:
        return (self.root / "loader" / "default").read_text()

    def boot(self, disk: Disk | None = None, *, pick: str = "") -> str:
        """Boot once: the default, or what a person picks. Returns how it ended: up, rebooted, left
        (by its begin), hung, cut, shut-down."""
        self.boots += 1
        self.booted = pick or self.default
        for notice in (self.root / "run").iterdir():  # is in memory
            notice.unlink()
        script = self.manners[self.booted]
        manner = script.pop(0) if len(script) > 1 else script[0]
        machine = self.at(disk)
        try:
            ended = self._live(machine, manner)
        except Rebooted:
            ended = "left" if self.leaving else "rebooted"
            self.own_reboots += 1
        except Cut:
            ended = "cut"
        self.troubles += machine.record.troubles
        self.history.append((self.booted, ended))
        return ended

    def _live(self, machine: Booting, manner: str) -> str:
        self.leaving = True
        begin(machine)
        self.leaving = False
        match manner:
            case "good":
                bless(machine, auto_pin=self.auto_pin)
                return "up"
            case "bad":
                bad(machine, "sshd.service has failed", self.rules)
                return "up"
            case "emergency":
                emergency(machine)
                return "up"
            case "shut-down":
                end(machine)
                return "shut-down"
            case _:
                return "hung"

    def settle(self, disk: Disk | None = None, most: int = 12) -> str:
        """Boot until the machine stays up; whoever is there switches it off and on when it hangs. Returns what runs."""
        for _ in range(most):
            if self.boot(disk) == "up":
                return self.booted
        raise AssertionError(f"never comes up: {self.history}")

    def failures(self, toplevel: str) -> int:
        """As the record has it, seen from the next boot."""
        return len(self.at(Disk()).record.generation(toplevel).failed("later"))

    def notice(self) -> str:
        path = self.root / "run" / "issue"
        return path.read_text() if path.exists() else ""


def proved(directory: Path, rules: Rules | None = None) -> World:
    """A world whose golden generation has booted well."""
    world = World(directory, rules)
    world.deploy(GOLDEN, "good")
    assert world.settle() == GOLDEN
    world.history.clear()
    return world
