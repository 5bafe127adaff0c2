"""The machine, as far as the assessment of a boot touches it: what tests replace."""

import os
import signal
import time

from gitopsd.boot.disk import Disk
from gitopsd.boot.judge import MOST_ATTEMPTS, Case, Rules
from gitopsd.boot.notice import Notice
from gitopsd.boot.profiles import GOLDEN, SYSTEM, Profile, whole
from gitopsd.boot.record import DIRECTORY, Damaged, Generation, Record

TYPE_CHECKING = False  # typing's own constant would import typing
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitopsd.boot.loader import Loader

CONFIG = "/etc/gitopsd/config.toml"
VERIFY = "gitopsd-boot-verify.service"
GOES_DOWN = 75  # how verify ends when the machine is shut down before its verdict
_TRIES = 10
_REPAIRS = frozenset({"emergency", "-b", "rescue", "single", "s", "S", "1"})
SWITCHED = "another system was activated since this boot, so it is not assessed any more"
INSTALL = 240.0  # seconds for switch-to-configuration boot


class Machine:
    """Paths and programs of this machine.

    Args:
        record: the directory of the record.
        config: the configuration file.

    """

    def __init__(self, record: str = DIRECTORY, config: str = CONFIG) -> None:
        self.disk = Disk()
        self.record = Record(record, self.disk)
        self.system = Profile(SYSTEM, self.disk)
        self.golden = Profile(GOLDEN, self.disk)
        self.notice = Notice()
        self.config = config

    def boot_id(self) -> str:
        """Which boot this is.

        Raises:
            OSError: the kernel does not say.

        """
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()

    def booted(self) -> str:
        """The toplevel that was booted; empty if this is no NixOS boot."""
        path = os.path.realpath("/run/booted-system")
        return path if path.startswith("/nix/store/") else ""

    def switched(self) -> bool:
        """Whether another system was activated since the boot: what runs says nothing of what was booted then."""
        return os.path.realpath("/run/current-system") != os.path.realpath("/run/booted-system")

    def asked_for_emergency(self) -> bool:
        """Whether a person has booted into a mode for repairs (kernel-command-line(7))."""
        try:
            with open("/proc/cmdline", encoding="utf-8", errors="replace") as file:
                words = set(file.read().split())
        except OSError:
            return False
        return bool(words & _REPAIRS) or any(word.startswith("systemd.unit=") for word in words)

    def now(self) -> float:
        """Seconds since the epoch, as the clock stands."""
        return time.time()

    def whole(self, toplevel: str) -> bool:
        """Whether it can be booted and switched to."""
        return whole(toplevel)

    def install(self, toplevel: str) -> str:
        """Make it the boot loader's default; returns what went wrong, empty if nothing did.

        Never `switch`: that waits for the end of a boot that waits for us.
        """
        from gitopsd.boot.programs import run  # noqa: PLC0415 - needed once in a hundred boots

        environment = {"NIXOS_INSTALL_BOOTLOADER": "0"}
        return run([f"{toplevel}/bin/switch-to-configuration", "boot"], INSTALL, environment)

    def reboot(self) -> str:
        """Ask systemd for a reboot; returns what went wrong, empty if it is on its way."""
        from gitopsd.boot.programs import run  # noqa: PLC0415 - needed once in a hundred boots

        for _ in range(_TRIES):
            if not run(["systemctl", "--no-block", "reboot"], 30):
                return ""
            time.sleep(1)  # jobs of emergency mode that are not done yet cannot be replaced
        return run(["systemctl", "--force", "reboot"], 30)

    def allow(self, seconds: float) -> None:
        """Be killed after so many seconds, whatever we hang in: the boot goes on then."""
        signal.alarm(int(seconds))

    def stopping(self) -> bool:
        """Whether the machine is going down, in order."""
        from gitopsd.boot.programs import output  # noqa: PLC0415 - not needed by begin

        return output(["systemctl", "is-system-running"], 10) == "stopping"

    def restarted(self, unit: str) -> bool:
        """Whether systemd has restarted this unit since its process was killed (`NRestarts`, systemd.service(5))."""
        from gitopsd.boot.programs import output  # noqa: PLC0415 - not needed by begin

        return output(["systemctl", "show", "--property=NRestarts", "--value", unit], 10) not in ("", "0")

    def verify_broke(self) -> bool:
        """Whether verify has ended without being able to give a verdict: killed for good, or it does not even start."""
        from gitopsd.boot.programs import output  # noqa: PLC0415 - not needed by begin

        names = "ActiveState,ExecMainCode,ExecMainStatus"
        shown = set(output(["systemctl", "show", f"--property={names}", VERIFY], 10).split())
        # systemd ends it with SIGTERM at a shutdown, which is a failure of a oneshot, too.
        ended = {f"ExecMainCode={int(os.CLD_KILLED)}", f"ExecMainStatus={int(signal.SIGTERM)}"} <= shown
        return "ActiveState=failed" in shown and not ended and f"ExecMainStatus={GOES_DOWN}" not in shown

    def rules(self) -> Rules:
        """`[boot]` of the configuration; what cannot be read there is the default, and told.

        Everything else of the file is none of our business here: the daemon reports it.
        """
        import tomllib  # noqa: PLC0415 - not needed by the boot of a generation that never failed

        try:
            with open(self.config, "rb") as file:
                section = tomllib.load(file).get("boot", {})
            attempts = section.get("max_attempts", 2)
            trial_only, stay = section.get("trial_only", True), section.get("on_boot_failure", "reboot") == "stay"
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            self.record.troubles.append(f"cannot read [boot] of {self.config}, its defaults are used: {error}")
            return Rules()
        if type(attempts) is not int or not 1 <= attempts <= MOST_ATTEMPTS:  # a boolean is an int, too
            self.record.troubles.append(
                f"boot.max_attempts of {self.config} is no number from 1 to {MOST_ATTEMPTS}: 2 is used"
            )
            attempts = 2
        return Rules(max_attempts=attempts, trial_only=trial_only is not False, stay=stay)

    def loader(self) -> "Loader":
        """The boot loader."""
        from gitopsd.boot.loader import Loader  # noqa: PLC0415 - not needed by begin

        return Loader()

    def case(self, generation: Generation, boot: str, *, recorded: bool) -> Case:
        """Everything that a decision looks at."""
        known = True
        try:
            last = self.record.rollback(mend=True)
        except Damaged:  # told in its troubles
            last, known = None, False
        golden = self.golden.target()
        return Case(
            generation=generation,
            boot=boot,
            recorded=recorded,
            golden=golden,
            golden_whole=bool(golden) and self.whole(golden),
            default=self.system.target(),
            rollback=last,
            rollback_known=known,
        )

    def tell_troubles(self) -> None:
        """Say what was wrong with what was read, once."""
        troubles, self.record.troubles = self.record.troubles, []
        if troubles:
            self.notice.alert(*troubles)


def shown(paths: "Sequence[str]") -> str:
    """Store paths as people compare them: without the store and most of the hash."""
    return ", ".join(f"{os.path.basename(path)[:8]}…{os.path.basename(path)[32:]}" for path in paths)
