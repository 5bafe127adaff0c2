"""One machine: a root file system of its own over the image, booted with systemd as PID 1 by systemd-nspawn."""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from .errors import CommandFailed, LabError, TimedOut
from .namespace import ENVIRONMENT, Namespace, run_group

REBOOT = 133
"""Exit status of systemd-nspawn --keep-unit when the machine asked for a reboot."""

POLL = 0.01
"""Seconds between two looks at something that has no event to wait for."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Machine:
    """A machine of the lab. Its files outlive reboots and power cuts, and end with the lab."""

    def __init__(self, namespace: Namespace, name: str, address: str) -> None:
        """Lay out a machine that is switched off.

        Args:
            namespace: the lab's.
            name: host name, at most 12 characters (the kernel limits names of interfaces).
            address: in 10.77.0.0/24, without the prefix length.
        """
        if not (name.isalnum() and name.islower() and len(name) <= 12):
            raise LabError(f"{name!r} is no name for a machine: 1 to 12 lower-case letters and digits")
        self.name = name
        self.address = address
        self._namespace = namespace
        self._directory = f"/run/lab/machines/{name}"
        self._root = f"{self._directory}/root"
        self._console = f"{self._directory}/console"
        self._change = threading.Condition()
        self._pid: int | None = None
        self._boots = 0
        self._runner: threading.Thread | None = None
        self._closing = False
        namespace.sh(LAY_OUT, name, address, self._directory)

    # -- power ---------------------------------------------------------------------------------------------------

    def boot(self, *, wait: bool = True, timeout: float = 30) -> None:
        """Switch the machine on.

        Args:
            wait: return when systemd says that the boot is over (`running` or `degraded`); else at once.
            timeout: seconds to wait.

        Raises:
            TimedOut: with the end of the console and of the journal.
        """
        with self._change:
            if self._runner is not None and self._runner.is_alive():
                raise LabError(f"{self.name} is already on")
            self._runner = threading.Thread(target=self._keep_running, name=f"lab-{self.name}", daemon=True)
            self._runner.start()
        if wait:
            self.wait_boot(timeout=timeout)

    def wait_boot(self, previous_boot_id: str | None = None, *, timeout: float = 30) -> str:
        """Wait until the machine has booted, and return its boot ID.

        Args:
            previous_boot_id: the boot that does not count.
            timeout: seconds.

        Raises:
            TimedOut: with the end of the console and of the journal.
            LabError: the machine went off instead.
        """
        deadline = time.monotonic() + timeout
        question = "cat /proc/sys/kernel/random/boot_id; systemctl is-system-running --wait"
        answer, over = "", None
        while (left := deadline - time.monotonic()) > 0:
            if not self.is_on():
                raise LabError(f"{self.name} is off, it will not finish booting\n{self._last_words()}")
            pid = self._pid
            if pid is None or pid == over:
                # Entering a machine that is going down would keep it from doing so.
                with self._change:
                    self._change.wait(timeout=min(left, 0.1))
                continue
            try:
                answer = self.run(["sh", "-c", question], check=False, timeout=left).stdout
            except TimedOut:
                break
            except LabError:
                continue  # between two boots
            match answer.split():
                case [boot_id, *_] if boot_id == previous_boot_id:
                    over = pid
                case [boot_id, "running" | "degraded"]:
                    return boot_id
            time.sleep(POLL)
        raise TimedOut(f"{self.name} did not finish booting in {timeout:g} s: {answer!r}\n{self._last_words()}")

    def boot_id(self) -> str:
        """Return the boot ID of the running system."""
        return self.read("/proc/sys/kernel/random/boot_id").strip()

    def is_on(self) -> bool:
        """Tell whether the machine is switched on (also while it boots)."""
        return self._runner is not None and self._runner.is_alive()

    def reboot(self, *, timeout: float = 30) -> str:
        """Reboot in the orderly way and return the new boot ID."""
        previous = self.boot_id()
        # The command may be killed by the shutdown that it starts.
        self.run(["systemctl", "reboot"], check=False)
        return self.wait_boot(previous, timeout=timeout)

    def shutdown(self, *, timeout: float = 30) -> None:
        """Power the machine off in the orderly way."""
        self.run(["systemctl", "poweroff"], check=False)
        self._wait_off(timeout)

    def power_cut(self) -> None:
        """Switch the machine off with no warning: every process is gone at once, nothing is written any more."""
        pid = self._pid
        if pid is None:
            raise LabError(f"{self.name} is off already")
        self._kill(pid)
        self._wait_off(10)

    def stop_rebooting(self) -> None:
        """Let the next end of the machine be the last; used when the lab closes."""
        self._closing = True

    def _wait_off(self, timeout: float) -> None:
        assert self._runner is not None
        self._runner.join(timeout)
        if self._runner.is_alive():
            raise TimedOut(f"{self.name} did not go off in {timeout:g} s\n{self._last_words()}")

    @staticmethod
    def _kill(pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, 9)

    def _keep_running(self) -> None:
        """Run the machine until it goes off; a reboot is another run (in a thread of its own)."""
        status = REBOOT
        while status == REBOOT and not self._closing:
            self._boots += 1
            # nspawn divides the cgroup that it is in, so the next boot cannot use the same.
            cgroup = f"{self._namespace.cgroup}/{self.name}-{self._boots}"
            place = [f"--directory={self._root}", f"--network-namespace-path=/run/netns/{self.name}"]
            command = [*NSPAWN, f"--machine={self.name}", *place, "/usr/sbin/init"]
            nspawn = self._namespace.start(["sh", "-euc", BOOT, "sh", self._console, cgroup, *command])
            self._set_pid(_first_process(nspawn))
            status = nspawn.wait()
            self._set_pid(None)
            if not self._closing:
                self._namespace.run(["find", cgroup, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+"], check=False)

    def _set_pid(self, pid: int | None) -> None:
        with self._change:
            self._pid = pid
            self._change.notify_all()

    # -- network -------------------------------------------------------------------------------------------------

    def cut_network(self, *, silent: bool = False) -> None:
        """Cut the machine off from all others.

        Args:
            silent: packets vanish, and whoever waits for an answer finds out for himself (a new connection fails after
                3 s). Else the interface goes down and new connections fail at once, as without a cable.
        """
        self._namespace.sh('ip link set "vb-$1" down', self.name)
        if not silent:
            self._namespace.sh('ip -n "$1" link set host0 down', self.name)

    def restore_network(self) -> None:
        """Undo `cut_network`."""
        self._namespace.sh(
            'ip link set "vb-$1" up; ip -n "$1" link set host0 up; ip -n "$1" route replace default via 10.77.0.1',
            self.name,
        )

    # -- commands and files --------------------------------------------------------------------------------------

    def run(
        self,
        argv: Sequence[str],
        *,
        user: str = "root",
        check: bool = True,
        input: str | None = None,  # noqa: A002 - the name that subprocess.run has
        timeout: float = 180,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, in the user's home, with a clean environment and no terminal.

        Args:
            argv: the command.
            user: whose user ID, groups, HOME and USER it gets.
            check: raise `CommandFailed` if it ends with another status than 0.
            input: its standard input.
            timeout: seconds after which it is killed with its children.
            env: added to the environment.

        Raises:
            CommandFailed: the message has both outputs.
            TimedOut: the message has what it printed until then.
            LabError: the machine is off.
        """
        done = run_group(self.command(argv, user, env), data=input, timeout=timeout, env=ENVIRONMENT)
        done.args = list(argv)
        if check and done.returncode != 0:
            raise CommandFailed(
                f"{self.name}: {shlex.join(argv)} ({user}) ended with {done.returncode}\n"
                f"--- stdout\n{done.stdout}--- stderr\n{done.stderr}"
            )
        return done

    def sh(
        self,
        text: str,
        *,
        user: str = "root",
        check: bool = True,
        input: str | None = None,  # noqa: A002 - the name that subprocess.run has
        timeout: float = 180,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run shell text inside (bash, stops at the first error); otherwise like `run`."""
        argv = ["bash", "-euo", "pipefail", "-c", text]
        return self.run(argv, user=user, check=check, input=input, timeout=timeout, env=env)

    def popen(
        self, argv: Sequence[str], *, user: str = "root", env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a command inside and return at once; its outputs are pipes. It ends with the machine at the latest."""
        return subprocess.Popen(
            self.command(argv, user, env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            start_new_session=True,
            text=True,
        )

    def command(self, argv: Sequence[str], user: str = "root", env: Mapping[str, str] | None = None) -> list[str]:
        """Return a command for outside that runs `argv` inside, as `run` does."""
        pid = self._pid
        if pid is None:
            raise LabError(f"{self.name} is off: cannot run {shlex.join(argv)}")
        return ["nsenter", "-t", str(pid), "-a", "--no-fork", "--", *RUN_INSIDE, *as_user(user, argv, env or {})]

    def write(self, path: str, text: str, *, owner: str = "root", mode: int = 0o644) -> None:
        """Write a file as its owner, with the directories it needs; also while the machine is off."""
        script = 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"'
        self._file_command(["sh", "-euc", script, "sh", path, f"{mode:o}"], user=owner, data=text)

    def read(self, path: str) -> str:
        """Return a file's text; also while the machine is off."""
        return self._file_command(["cat", "--", path])

    def exists(self, path: str) -> bool:
        """Tell whether a path exists, also as a dangling link; also while the machine is off."""
        return self._file_command(["sh", "-c", '[ -e "$1" ] || [ -L "$1" ]; echo $?', "sh", path]).strip() == "0"

    def _file_command(self, argv: Sequence[str], *, user: str = "root", data: str | None = None) -> str:
        if self._pid is not None:
            return self.run(argv, user=user, input=data).stdout
        return self.offline(argv, user=user, data=data).stdout

    def offline(
        self, argv: Sequence[str], *, user: str = "root", check: bool = True, data: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the files of a machine that is off."""
        if self.is_on():
            raise LabError(f"{self.name} is on: its files are its own")
        command = ["sh", "-c", OFFLINE, "sh", self._root, *as_user(user, argv, {})]
        done = self._namespace.run(command, data=data, check=False)
        done.args = list(argv)
        if check and done.returncode != 0:
            raise CommandFailed(
                f"{self.name} (off): {shlex.join(argv)} ended with {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    # -- looking -------------------------------------------------------------------------------------------------

    def until(self, condition: Callable[[], object], *, timeout: float = 120, what: str = "") -> None:
        """Wait until `condition()` is true.

        Args:
            condition: asked every 50 ms; a `LabError`, such as of a machine that reboots, means "not yet".
            timeout: seconds.
            what: what is waited for, for the message.

        Raises:
            TimedOut: with the end of the journal.
        """
        deadline = time.monotonic() + timeout
        while True:
            trouble = ""
            try:
                if condition():
                    return
            except LabError as error:
                trouble = f" ({error})"
            if time.monotonic() > deadline:
                message = f"{self.name}: not in {timeout:g} s: {what or condition!r}{trouble}"
                raise TimedOut(f"{message}\n{self._last_words()}")
            time.sleep(0.05)

    def journal(self, unit: str | None = None, *, since_boot: bool = True, lines: int | None = None) -> str:
        """Return the journal as text, one line per entry.

        Args:
            unit: of this unit only.
            since_boot: of this boot only.
            lines: the last so many only.
        """
        argv = ["journalctl", "--no-pager", "--quiet", "--output=short-precise"]
        argv += ["--boot"] if since_boot else []
        argv += [f"--unit={unit}"] if unit else []
        argv += [f"--lines={lines}"] if lines else []
        return self.run(argv, check=False).stdout

    def console(self) -> str:
        """Return everything that the machine has printed on its console, over all boots."""
        return self._namespace.run(["cat", self._console], check=False).stdout

    def _last_words(self) -> str:
        console = "\n".join(self.console().splitlines()[-20:])
        try:
            journal = self.journal(lines=30)
        except LabError as error:
            journal = str(error)
        return f"--- console of {self.name}\n{console}\n--- journal of {self.name}\n{journal}"


# $1 name, $2 address, $3 directory. The network outlives reboots and power cuts, so that an address is there before the
# first process of a boot, and a killed machine leaves no interface behind.
LAY_OUT = """
mkdir -p "$3/upper/etc" "$3/work" "$3/root"
printf '%s\\n' "$1" >"$3/upper/etc/hostname"
printf '%s' "gitopsd-lab $1" | md5sum | cut -c1-32 >"$3/upper/etc/machine-id"
mount -t overlay overlay -o "lowerdir=/run/lab/image,upperdir=$3/upper,workdir=$3/work" "$3/root"
: >"$3/console"
ip netns add "$1"
ip link add "vb-$1" type veth peer name host0 netns "$1"
ip link set "vb-$1" master lab up
ip -n "$1" link set lo up
ip -n "$1" addr add "$2/24" dev host0
ip -n "$1" link set host0 up
ip -n "$1" route add default via 10.77.0.1
"""

NSPAWN = (
    "systemd-nspawn",
    "--quiet",
    "--register=no",
    "--keep-unit",
    "--console=pipe",
    "--resolv-conf=off",
    "--timezone=off",
    "--link-journal=no",
    # Given a network namespace, nspawn does not grant this by itself.
    "--capability=CAP_NET_ADMIN",
    "--bind-ro=/run/lab/installed:/opt/gitopsd-src",
    "--bind-ro=/run/lab/hosts:/etc/hosts",
)

# $1 console, $2 cgroup, then nspawn
BOOT = """
exec >>"$1" 2>&1
mkdir -p "$2"
echo 0 >"$2/cgroup.procs"
shift 2
exec "$@"
"""

# $1 root, then a command
OFFLINE = """
exec unshare --mount --pid --fork --kill-child --propagation private sh -c '
    root=$1; shift
    mount -t proc proc "$root/proc" && mount -t tmpfs tmpfs "$root/run" && mount --rbind /dev "$root/dev" &&
    mount --bind /run/lab/hosts "$root/etc/hosts" && exec chroot "$root" "$@"' sh "$@"
"""

# nsenter's own fork stops itself when its child is stopped, and nobody continues it. At a shutdown systemd stops every
# process for a moment: the child would stay unreaped and the kernel wait for it for ever. A shell does not do that.
# What comes in from outside has all of root's capabilities, and a machine's clock is the one of its host.
NOT_INSIDE = ("setpriv", "--bounding-set=-sys_time,-sys_module", "--")
RUN_INSIDE = (*NOT_INSIDE, "/bin/sh", "-c", '"$@"; exit $?', "sh")

HOMES = {"root": "/root", "git": "/srv/git"}


def as_user(user: str, argv: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """Return `argv` as a command that root runs inside a machine: other identity, clean environment, in the home."""
    home = HOMES.get(user, f"/home/{user}")
    variables = {"HOME": home, "USER": user, "LOGNAME": user, "SHELL": "/bin/bash", "PATH": PATH, "LANG": "C.UTF-8"}
    variables |= env
    identity = [] if user == "root" else ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"]
    settings = [f"{key}={value}" for key, value in variables.items()]
    return ["/usr/bin/env", "-i", "-C", home, *settings, *identity, *argv]


def _first_process(nspawn: subprocess.Popen[bytes]) -> int | None:
    """Return the process ID, as seen from outside, of the PID 1 that `nspawn` starts; None if it ended first."""
    while nspawn.poll() is None:
        for pid in _descendants(nspawn.pid):
            # One more namespace than its starter has, and the first process there.
            ids = _namespace_pids(pid)
            if ids[-1:] == ["1"] and len(ids) == _depth() + 2:
                return pid
        time.sleep(POLL / 4)
    return None


def _descendants(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [found for child in children for found in (int(child), *_descendants(int(child)))]


def _namespace_pids(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    return next(line.split()[1:] for line in text.splitlines() if line.startswith("NSpid:"))


@functools.cache
def _depth() -> int:
    """How many PID namespaces deep we are ourselves, as this /proc counts."""
    return len(_namespace_pids(os.getpid()))
