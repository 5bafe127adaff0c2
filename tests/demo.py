"""python -m demo: two hosts and a forge, from an edited dotfile to a system that is rolled back.

Nothing is faked. The machines are those of the lab (`tests/lab`), each with systemd as PID 1 and the real nix, jj, chezmoi
and sshd; the commands shown are typed as shown, and the lines below them are what they print, with long ones cut. Each
act checks what it claims: a claim that does not hold ends the demo with status 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from e2e.scene import BROKEN_SSHD, HELLO, USER, Scene, set_up
from lab import Host, Lab, LabError
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

CONFIG = "~/nix-config"
WIDEST = 110  # columns that a line keeps where there is no terminal to ask
HASH = re.compile(r"(/nix/store/[0-9a-z]{6})[0-9a-z]{26}-")
STYLES = {"idle": "green", "failed": "red", "blocked": "red"}  # of a state; any other is work under way


class Untrue(Exception):
    """The demo claims something that does not hold."""


class Stopped(KeyboardInterrupt):
    """Ctrl-C, or SIGTERM."""


@dataclass(slots=True)
class Ended:
    """A command that was typed."""

    status: int
    lines: list[str]

    def says(self, text: str) -> bool:
        """Whether a line has this text."""
        return any(text in line for line in self.lines)


class Watched:
    """What a host does, as `gitopsctl watch --json` tells it from inside."""

    def __init__(self, host: Host) -> None:
        self._name = host.name
        self._status: dict[str, Any] = {}
        self._process = host.popen(["gitopsctl", "watch", "--json"])
        self._reader = threading.Thread(target=self._read, name=f"watch-{host.name}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._status = json.loads(line)

    def row(self) -> tuple[Text, Text, Text, Text]:
        """The host, its cycle, its state, and what it does in that state."""
        status = self._status
        state = str(status.get("state", "starting"))
        style = STYLES.get(state, "yellow")
        cycle = f"cycle {status['cycle']['id']}" if status.get("cycle") else ""
        doing = str(status.get("activity", "")).removeprefix(state).removeprefix(": ")
        if cycle:
            doing = f"{time.time() - status['since']:.0f} s  {doing}"
        return Text(f"● {self._name}", style), Text(cycle), Text(state, f"bold {style}"), Text(doing)

    def stop(self) -> None:
        """End it; the reader first, since its pipe is closed with it."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._reader.join(timeout=5)
        end(self._process)


class Stage:
    """Where the story is told: a terminal with a line for each host that changes in place, or a pipe."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._watched: list[Watched] = []
        self.took: list[tuple[str, float]] = []

    @contextmanager
    def watching(self, *hosts: Host) -> Iterator[None]:
        """Show below the story what these hosts do."""
        with ExitStack() as stack:
            if self._live:
                for host in hosts:
                    watched = Watched(host)
                    stack.callback(watched.stop)
                    self._watched.append(watched)
                stack.callback(self._watched.clear)
                stack.enter_context(
                    Live(get_renderable=self._status, console=self._console, refresh_per_second=10, transient=True)
                )
            yield

    def _status(self) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        for width in (11, 7, 8):
            table.add_column(no_wrap=True, min_width=width)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_row()
        for watched in self._watched:
            table.add_row(*watched.row())
        return table

    @contextmanager
    def act(self, title: str) -> Iterator[None]:
        """One act: its title, what happens in it, how long it took."""
        began = time.monotonic()
        self.say()
        self.say(f"{len(self.took) + 1}. {title}", "bold cyan")
        yield
        self.took.append((title, time.monotonic() - began))

    def say(self, text: str = "", style: str = "") -> None:
        """Print one line of our own."""
        self._print(Text(text, style))

    def _print(self, text: Text) -> None:
        text.truncate(self._width(), overflow="ellipsis")
        self._console.print(text)

    def _width(self) -> int:
        return self._console.width if self._console.is_terminal else WIDEST

    def type(self, host: Host, command: str, *, user: str = USER, where: str = "~") -> Ended:
        """Type a command on a host and show what it prints, as it comes.

        Args:
            host: where.
            command: for bash.
            user: who types it.
            where: the directory.

        """
        prompt = "#" if user == "root" else "$"
        self._print(Text.assemble(f"  {user}@{host.name}:{where}{prompt} ", (command, "bold")))
        ended = Ended(status=-1, lines=[])
        with running(host, command, user=user, where=where) as process:
            assert process.stdout is not None
            for line in map(str.rstrip, process.stdout):
                self._print(Text("    " + HASH.sub(r"\1…-", line)))
                ended.lines.append(line)
            ended.status = process.wait()
        return ended

    def steps(self, host: Host) -> None:
        """Show how long each step of a host's last cycle took, from its record."""
        newest = json.loads(host.run(["gitopsctl", "history", "--json", "-n", "1"]).stdout)[0]["id"]
        record = json.loads(host.run(["gitopsctl", "show", str(newest), "--json"]).stdout)
        steps = [f"{step['state']} {step['ended'] - step['started']:.1f}" for step in record["steps"]]
        for row in textwrap.wrap(f"{host.name}, in seconds: {', '.join(steps)}", self._width() - 4):
            self.say(f"    {row}", "dim")

    def check(self, claim: str, *, holds: bool) -> None:
        """Say what is true now.

        Raises:
            Untrue: it is not.

        """
        self._print(Text.assemble("  ", ("ok", "bold green") if holds else ("NOT TRUE", "bold red"), f"  {claim}"))
        if not holds:
            raise Untrue(claim)


@contextmanager
def running(host: Host, command: str, *, user: str, where: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command; it is ended if the caller does not wait for it."""
    process = host.popen(["bash", "-euo", "pipefail", "-c", f"cd {where}; exec 2>&1; {command}"], user=user)
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """End a command in a machine with all its children: they share a process group, inside and outside."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def a_dotfile_travels(stage: Stage, scene: Scene) -> None:
    """Act 1."""
    malphas, griefling = scene.hosts["malphas"], scene.hosts["griefling"]
    line = "export EDITOR=nano"
    stage.type(malphas, f"echo '{line}' >> ~/.bashrc")
    here = stage.type(malphas, "gitopsctl sync")
    there = stage.type(griefling, "gitopsctl sync")
    stage.check("both cycles ended well", holds=here.status == there.status == 0)
    found = stage.type(griefling, "tail -n 1 ~/.bashrc")
    stage.check("the line stands in griefling's home", holds=found.lines == [line])
    stage.check("and in the repository", holds=line in scene.forge.show("dotfiles", "dot_bashrc"))


def a_configuration_is_deployed(stage: Stage, scene: Scene) -> None:
    """Act 2."""
    malphas, griefling = scene.hosts["malphas"], scene.hosts["griefling"]
    before = {host.name: host.generations() for host in (malphas, griefling)}
    stage.type(malphas, "for h in malphas griefling; do cp ~/hello.service hosts/$h/units/; done", where=CONFIG)
    stage.type(malphas, "git add . && git commit -qm 'say hello' && git push -q", where=CONFIG)
    with running(griefling, "gitopsctl upgrade", user="root", where="~") as meanwhile:
        here = stage.type(malphas, "gitopsctl upgrade", user="root")
        stage.say("  and on griefling at the same time")
        assert meanwhile.stdout is not None
        there = meanwhile.stdout.read().splitlines()
        for line in there[-2:]:
            stage.say(f"    {line}")
        status = meanwhile.wait()
    stage.steps(malphas)
    stage.check("both cycles ended well", holds=here.status == status == 0)
    stage.type(malphas, "gitopsctl status", user="root")
    for host in (malphas, griefling):
        now = host.generations()
        new = max(now)
        stage.check(
            f"{host.name}: generation {new} is new, runs, and is the boot default; hello.service is active",
            holds=new == max(before[host.name]) + 1
            and now[new] == host.current_system() == host.boot_default()
            and host.active_state("hello.service") == "active",
        )


def a_configuration_that_does_not_build_is_refused(stage: Stage, scene: Scene) -> None:
    """Act 3."""
    malphas = scene.hosts["malphas"]
    before, default, generations = malphas.current_system(), malphas.boot_default(), malphas.generations()
    stage.type(malphas, "echo '{ this is not nix' > hosts/malphas.nix", where=CONFIG)
    stage.type(malphas, "git commit -qam 'a slip of the pen' && git push -q", where=CONFIG)
    refused = stage.type(malphas, "gitopsctl upgrade", user="root")
    stage.steps(malphas)
    stage.check(
        "the upgrade was refused, and says why", holds=refused.status == 1 and refused.says("error: syntax error")
    )
    stage.check(
        "what runs, the boot default and the generations are as before",
        holds=(malphas.current_system(), malphas.boot_default(), malphas.generations())
        == (before, default, generations),
    )


def a_configuration_that_breaks_sshd_is_rolled_back(stage: Stage, scene: Scene) -> None:
    """Act 4."""
    malphas, griefling = scene.hosts["malphas"], scene.hosts["griefling"]
    before, default, generations = malphas.current_system(), malphas.boot_default(), malphas.generations()
    stage.type(malphas, "git revert --no-edit HEAD >/dev/null", where=CONFIG)
    stage.type(malphas, "cp ~/sshd.service hosts/malphas/units/", where=CONFIG)
    stage.type(malphas, "git commit -qam 'a better sshd' && git push -q", where=CONFIG)
    bad = stage.type(malphas, "gitopsctl upgrade", user="root")
    stage.steps(malphas)
    stage.check(
        "it was built and switched to, did not prove good, and was rolled back",
        holds=bad.status == 1 and bad.says("=== Build Validation PASSED ===") and bad.says("rolled-back"),
    )
    stage.check(
        "what runs, the boot default and the generations are as before",
        holds=(malphas.current_system(), malphas.boot_default(), malphas.generations())
        == (before, default, generations),
    )
    stage.type(malphas, "systemctl is-active sshd.service", user="root")
    answer = stage.type(griefling, "head -n 1 </dev/tcp/malphas/22")
    stage.check("sshd on malphas answers again, and no unit has failed", holds=_answers(malphas, answer))
    stage.type(malphas, "gitopsctl history", user="root")


def _answers(host: Host, answer: Ended) -> bool:
    return answer.says("SSH-2.0-") and host.active_state("sshd.service") == "active" and host.failed_units() == []


ACTS: tuple[tuple[str, Callable[[Stage, Scene], None]], ...] = (
    ("A dotfile edited on malphas arrives on griefling", a_dotfile_travels),
    ("A configuration is pushed: built, switched to, verified", a_configuration_is_deployed),
    ("One that does not build is refused", a_configuration_that_does_not_build_is_refused),
    ("One that breaks sshd is rolled back", a_configuration_that_breaks_sshd_is_rolled_back),
)


def prepare(lab: Lab) -> Scene:
    """Boot the machines and give the person a checkout of the configuration and two unit files to try."""
    scene = set_up(lab, "malphas", "griefling")
    malphas = scene.hosts["malphas"]
    malphas.write(f"/home/{USER}/hello.service", HELLO.format(word="world"), owner=USER)
    malphas.write(f"/home/{USER}/sshd.service", BROKEN_SSHD, owner=USER)
    malphas.sh("git clone --quiet git@forge:nix-config.git", user=USER)
    return scene


def tell(stage: Stage, lab: Lab) -> Scene:
    """Boot, and play all acts."""
    began = time.monotonic()
    stage.say("Booting a forge and two hosts, malphas and griefling ...")
    scene = prepare(lab)
    stage.say(f"... up after {time.monotonic() - began:.1f} s, each with systemd as PID 1")
    with stage.watching(*scene.hosts.values()):
        for title, act in ACTS:
            with stage.act(title):
                act(stage, scene)
    stage.say()
    for number, (title, seconds) in enumerate(stage.took, start=1):
        stage.say(f"{number}. {title:<58}{seconds:5.1f} s")
    stage.say(f"   {'All of it, with the boot':<58}{time.monotonic() - began:5.1f} s", "bold")
    return scene


def open_shell(stage: Stage, scene: Scene, name: str) -> None:
    """Give the terminal to a shell on a host, until the person leaves it."""
    stage.say()
    stage.say(f"A shell on {name}. Leaving it ends the machines. Try:", "bold")
    for command in ("gitopsctl status", "gitopsctl show 2", "journalctl -u gitopsd", "su - rain"):
        stage.say(f"  {command}")
    # Ctrl-C is for what runs in the shell. Not SIG_IGN: that would be inherited, and nothing in there could be stopped.
    handler = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        terminal = {"TERM": os.environ.get("TERM", "dumb")}
        subprocess.run(scene.hosts[name].command(["bash", "-l"], env=terminal), check=False)
    finally:
        signal.signal(signal.SIGINT, handler)


def how_to_look_around(stage: Stage) -> None:
    """Say how to get inside."""
    python = Path(sys.executable)
    with suppress(ValueError):
        python = python.relative_to(Path.cwd())
    stage.say()
    stage.say("The machines are gone. To play it again and stay, with a shell on malphas:")
    stage.say(f"  PYTHONPATH=.:tests {python} -m demo --shell malphas")
    stage.say("and there")
    stage.say("  gitopsctl status")
    stage.say("  journalctl -u gitopsd")


def main(arguments: list[str] | None = None) -> int:
    """Play, and return the exit status: 1 if a claim does not hold, 2 if this computer cannot run the lab."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="gitopsd on machines of the lab")
    parser.add_argument("--shell", choices=("malphas", "griefling"), help="stay, with a shell on this host")
    chosen = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    stage = Stage()
    try:
        with Lab() as lab:
            scene = tell(stage, lab)
            if chosen.shell:
                open_shell(stage, scene, chosen.shell)
    except Untrue as error:
        print(f"demo: this does not hold: {error}", file=sys.stderr)
        return 1
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except Stopped:
        start = "\r" if sys.stderr.isatty() else ""  # over the ^C that the terminal shows
        print(f"{start}demo: stopped; the machines are gone", file=sys.stderr)
        return 130
    if not chosen.shell:
        how_to_look_around(stage)
    return 0


def stop(_number: int, _frame: FrameType | None) -> NoReturn:
    """Unwind once; whoever is impatient must not keep the lab from cleaning up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise Stopped


if __name__ == "__main__":
    sys.exit(main())
