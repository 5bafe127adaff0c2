"""Hosts, their remote, and what people do there. Every action is written down as a line of shell, and followed by checks."""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from people import Killed, Remote
from soak import invariants
from soak.ledger import Ledger, secrets_in, without_secrets, words
from soak.place import HOSTS, PLACE, clear
from soak.site import TARGETS, TEMPLATES, Site
from soak.views import File, RemoteView, source_paths

from gitopsd.ports import Dotfiles
from gitopsd.types import PersonFacts


class Fleet:
    """Some hosts that share dotfiles.

    Args:
        copy: what `prepare` put away.
        size: how many hosts.
        make: the daemon of a host; the real one by default.

    """

    def __init__(self, copy: Path, size: int, make: Callable[[Site], Dotfiles] | None = None) -> None:
        clear()
        PLACE.mkdir(mode=0o755)
        names = HOSTS[:size]
        subprocess.run(["cp", "-a", *(str(copy / name) for name in ("remote.git", *names)), str(PLACE)], check=True)
        remote = Remote(PLACE / "remote.git")
        self.sites = {name: Site(name, "rain", PLACE / name, remote, make) for name in names}
        self.remote = RemoteView(remote.path)
        self.ledger = Ledger()
        self.script: list[str] = []
        self.syncs = self.kills = 0
        self._loop = asyncio.Runner()
        invariants.always(self)

    def close(self) -> int:
        """End it; returns how many commands the daemons ran."""
        self._loop.close()
        return sum(site.processes.total for site in self.sites.values())

    # What a person does. Each returns whether it was possible.

    def edit(self, name: str, target: str, how: str, line: int, *, source: bool = False) -> bool:
        """Change one line of a target in the home, or of its source.

        Args:
            name: the host.
            target: relative to the home.
            how: append, insert, replace or remove.
            line: counted from 0, modulo the number of lines.
            source: edit the source directory, not the home.

        """
        path = self._file(name, target, source=source)
        if path is None:
            return False
        lines = path.read_text().splitlines()
        if how == "remove" and len(lines) < 2:
            return False  # an empty source means something else to chezmoi
        at = line % len(lines) if lines else 0
        new = [] if how == "remove" else [self.ledger.new(name)]
        match how:
            case "append":
                lines += new
            case "insert":
                lines[at:at] = new
            case _:
                lines[at : at + 1] = new
        said = f"{at + 1}{ {'replace': 'c ', 'insert': 'i ', 'append': '$a ', 'remove': 'd'}[how] }{''.join(new)}"
        self._say(name, f"sed -i '{said}' {path}")
        self._write(name, target, path, "".join(f"{text}\n" for text in lines), source=source)
        return True

    def add(self, name: str, target: str) -> bool:
        """Put a new file under chezmoi, or write one that is not under it."""
        site = self.sites[name]
        if target in site.managed():
            return False
        path = site.home / target
        before = path.read_text() if path.exists() else ""
        if not path.exists():
            site.write(target, f"{self.ledger.new(name)}\n{self.ledger.new(name)}\n")
        self._say(name, f"echo {' '.join(path.read_text().split())} > {path}; chezmoi add {path}")
        self.ledger.change(name, target, before, path.read_text())
        self.ledger.again |= words(path.read_text())
        self.ledger.reasons[name].pop(target, None)
        site.run("chezmoi", "add", "--", str(path))
        return True

    def write_unmanaged(self, name: str, target: str) -> bool:
        """A file that chezmoi does not know, at least on this host."""
        site = self.sites[name]
        if target in site.managed() or (site.home / target).exists():
            return False
        word = self.ledger.new(name)
        self._say(name, f"echo {word} > {site.home / target}  # not under chezmoi")
        site.write(target, f"{word}\n")
        self._changed(site, target, "", word, source=False)
        return True

    def plant(self, name: str, target: str, line: int, *, source: bool = False) -> bool:
        """Write a secret into a target in the home, or into its source.

        Args:
            name: the host.
            target: relative to the home.
            line: before which one, counted from 0, modulo the number of lines.
            source: into the source directory, not the home.

        """
        path = self._file(name, target, source=source)
        if path is None:
            return False
        lines = path.read_text().splitlines(keepends=True)
        at = line % len(lines) if lines else 0
        secret = self.ledger.secret(name)
        self._say(name, f"sed -i '{at + 1}i {secret}' {path}")
        lines.insert(at, f"{secret}\n")
        self._write(name, target, path, "".join(lines), source=source)
        return True

    def take_out(self, name: str) -> bool:
        """Take all secrets out of a home and its source directory, as the person is told to."""
        done = False
        for source in (False, True):
            for target in TARGETS:
                path = self._file(name, target, source=source)
                if path is not None and secrets_in(text := path.read_text()):
                    self._say(name, f"sed -i '/^password = /d' {path}")
                    self._write(name, target, path, without_secrets(text), source=source)
                    done = True
        return done

    def chmod(self, name: str, target: str, mode: int) -> bool:
        """Change the mode of a target in the home."""
        path = self.sites[name].home / target
        if not path.is_file() or path.stat().st_mode & 0o777 == mode:
            return False
        self._say(name, f"chmod {mode:o} {path}")
        path.chmod(mode)
        self.ledger.renamed.add(target)
        self._changed(self.sites[name], target, "", "", source=False)
        return True

    def unlink(self, name: str, target: str) -> bool:
        """Delete a target in the home only."""
        path = self.sites[name].home / target
        if not path.is_file():
            return False
        self._say(name, f"rm {path}")
        self.ledger.dropped[name] |= words(path.read_text())
        self.ledger.reasons[name][target] = "it was deleted here"
        path.unlink()
        return True

    def write_again(self, name: str, target: str) -> bool:
        """Write a target anew that was deleted in the home, without what it had."""
        site = self.sites[name]
        managed = site.managed()
        if target not in managed or (site.home / target).exists():
            return False
        word = self.ledger.new(name)
        self._say(name, f"echo {word} > {site.home / target}")
        site.write(target, f"{word}\n")
        lost = "".join(self.ledger.dropped[name])
        self._changed(site, target, managed[target].text + lost, word, source=False)
        return True

    def destroy(self, name: str, target: str) -> bool:
        """Delete a target and its source."""
        site = self.sites[name]
        if target not in site.managed():
            return False
        home = site.files().get(target, File(0, ""))
        self._say(name, f"chezmoi destroy --force {site.home / target}")
        self.ledger.change(name, target, home.text + site.managed()[target].text, "")
        self.ledger.reasons[name].pop(target, None)
        site.run("chezmoi", "destroy", "--force", "--", str(site.home / target))
        return True

    def forget(self, name: str, target: str) -> bool:
        """Delete a source, and keep the target."""
        site = self.sites[name]
        if target not in site.managed():
            return False
        self._say(name, f"chezmoi forget --force {site.home / target}")
        self.ledger.change(name, target, site.managed()[target].text, "")
        self.ledger.reasons[name][target] = "it was forgotten here"
        site.run("chezmoi", "forget", "--force", "--", str(site.home / target))
        return True

    def settle_notice(self, name: str, target: str, *, keep_home: bool) -> bool:
        """Follow the advice of a notice: take the home's version, or the source's."""
        site = self.sites[name]
        managed, home = site.managed().get(target), site.files().get(target)
        if managed is None or target not in self.ledger.reasons[name] or (keep_home and home is None):
            return False
        verb = "add" if keep_home else "apply"
        self._say(name, f"chezmoi {verb} --force {site.home / target}")
        if keep_home and home is not None:
            self.ledger.change(name, target, managed.text, home.text)
        else:
            self.ledger.change(name, target, home.text if home else "", managed.text)
        self.ledger.reasons[name].pop(target)
        site.run("chezmoi", verb, "--force", "--", str(site.home / target))
        return True

    def step_back(self, name: str) -> bool:
        """Take the trunk's version of what is parked by this host."""
        site = self.sites[name]
        trunk = self.remote.files(self.remote.heads.get("main", ""))
        targets = [
            target for target in invariants.parked(site) if target in trunk.keys() & site.files().keys() - TEMPLATES
        ]
        for target in targets:
            before = site.files()[target]
            self._say(name, f"git -C {site.source} show origin/main:… > {site.home / target}  # step back")
            site.write(target, trunk[target].text)
            (site.home / target).chmod(trunk[target].mode)
            self._changed(site, target, before.text, trunk[target].text, source=False)
        return bool(targets)

    def by_hand(self, name: str, commands: Sequence[Sequence[str]]) -> bool:
        """Use jj or git in the source directory; a command may refuse, and a rebase that conflicts is undone."""
        site = self.sites[name]
        self._say(name, " && ".join(" ".join(command) for command in commands))
        if secrets_in(invariants.Before.of(site).everything()):
            self.ledger.reasons[name][invariants.COMMITS] = "a secret may have been committed by hand"
        before = site.run("jj", "op", "log", "-n1", "--no-graph", "-T", "id", where=site.source)
        try:
            for command in commands:
                site.run(*command, where=site.source)
        except AssertionError as refused:
            self.script[-1] += f"  # {str(refused).splitlines()[-1]}"
        if site.run("jj", "log", "--no-graph", "-r", "conflicts() & ::@", "-T", "'x'", where=site.source):
            self._say(name, "jj op restore …  # it conflicts")
            site.run("jj", "op", "restore", "--quiet", before, where=site.source)
        return True

    def connect(self, name: str, *, online: bool) -> bool:
        """Let the network come or go."""
        if self.sites[name].online is online:
            return False
        self._say(name, f"nmcli networking {'on' if online else 'off'}")
        self.sites[name].connect(online)
        return True

    # What the daemon does.

    def sync(self, name: str, at: int | None = None, strike: Callable[[], object] | None = None) -> PersonFacts | None:
        """One sync, and the checks that follow it; None if it was killed.

        Args:
            name: the host.
            at: the command before which something happens.
            strike: what happens; killing the daemon by default.

        """
        site = self.sites[name]
        self.syncs += 1
        before = invariants.Before.of(site)
        facts = self._loop.run(self._sync(site, at, strike))
        note = facts.word.value if facts is not None else "killed"
        if site.processes.struck:
            note += f", with an interruption {site.processes.struck}"
        self.kills += facts is None
        self._say(name, f"gitopsctl sync  # {note}")
        disturbed = bool(site.processes.struck)
        invariants.always(self)
        if facts is not None:
            invariants.synced(self, site, before, facts, disturbed=disturbed)
        return facts

    async def _sync(self, site: Site, at: int | None, strike: Callable[[], object] | None) -> PersonFacts | None:
        async def happens() -> None:
            if strike is None:
                raise Killed
            self._say(site.name, "gitopsctl sync &")
            if isinstance(event := strike(), Awaitable):
                await event

        return await site.cycle(at, happens)

    async def sync_inside(self, name: str) -> None:
        """A sync of another host, while one is under way."""
        facts = await self.sites[name].cycle()
        self.syncs += 1
        self._say(name, f"gitopsctl sync  # {facts.word.value if facts else 'killed'}")

    def _file(self, name: str, target: str, *, source: bool) -> Path | None:
        site = self.sites[name]
        path = source_paths(site.source).get(target) if source else site.home / target
        return path if path is not None and path.is_file() else None

    def _write(self, name: str, target: str, path: Path, text: str, *, source: bool) -> None:
        site, before = self.sites[name], path.read_text()
        site.write(str(path.relative_to(site.home)), text)
        self._changed(site, target, before, text, source=source)

    def _changed(self, site: Site, target: str, before: str, after: str, *, source: bool) -> None:
        self.ledger.change(site.name, target, before, after)
        if source:
            self.ledger.authors[target].add(f"the source of {site.name}")
        if target in TEMPLATES:
            self.ledger.reasons[site.name].setdefault(target, "it comes from a template")
        elif source:
            self.ledger.reasons[site.name].setdefault(target, "its source was edited here")
        elif target not in site.managed():
            self.ledger.reasons[site.name].setdefault(target, "chezmoi did not know it here")

    def _say(self, name: str, line: str) -> None:
        short = line.replace(f"{PLACE / name}/.local/share/chezmoi", "$source").replace(str(PLACE / name), "~")
        self.script.append(f"{name}$ {short}")
