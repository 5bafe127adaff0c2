"""First contact: of a host with the person's repository, and of a file in the home with the one in the repository.

Nothing in a home is overwritten here without a copy that is named. Each command looks before it acts, so that what was
killed is finished by asking again.
"""

import datetime as dt
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from gitopsd.config import DotfilesConfig
from gitopsd.dotfiles import notices as say
from gitopsd.errors import Failed, GitopsdError, Transient
from gitopsd.repo.engine import Engine
from gitopsd.secrets.held import Held
from gitopsd.secrets.rules import names_secret, told
from gitopsd.tools.chezmoi import Home, Row
from gitopsd.tools.chezmoi_names import is_plain_file, is_template
from gitopsd.tools.files import Files
from gitopsd.tools.git import Git, printable
from gitopsd.tools.jj import Jj
from gitopsd.tools.process import Account, Processes
from gitopsd.types import Adopted, Beginning, Notice

BACKUPS = ".local/state/gitopsd/backups"  # below the home
_CONFIGURATIONS = tuple(f".config/chezmoi/chezmoi.{kind}" for kind in ("toml", "yaml", "yml", "json", "jsonc"))


class Contact:
    """Sets up the repository of one person, and settles files that differ from it.

    Args:
        processes: starts the programs.
        account: the person.
        config: their section of the configuration.
        engine: of their repository, which need not exist yet.
        now: the time, seconds since the epoch.
        held: keeps what looks like a secret out of the snapshots.

    """

    def __init__(
        self,
        processes: Processes,
        account: Account,
        config: DotfilesConfig,
        engine: Engine,
        *,
        now: Callable[[], float],
        held: Held,
    ) -> None:
        self._processes = processes
        self._account = account
        self._config = config
        self._engine = engine
        self._held = held
        self._now = now
        self._source = Path(account.home) / config.source
        self._home = Home(processes, account, str(self._source), hidden=names_secret, told=told)
        self._files = Files(processes, account)

    async def begin(self) -> Beginning:
        """See `ports.Choices.initialize`."""
        made = await self._make_repository()
        notices = [*await self._make_configuration()]
        seen = await self._home.compare()
        notices += [
            Notice(what=f"chezmoi cannot read or make {printable(target)}: {printable(reason)}", advice="chezmoi diff")
            for target, reason in (*seen.waiting.items(), *((("some targets", seen.broken),) if seen.broken else ()))
        ]
        records = await self._home.records()
        await self._home.recognize(seen)
        before = [row for row in seen.rows if row.last == " " and row.next == "M" and row.target not in records]
        sources = await self._home.sources() if before else {}
        notices += [say.differs(self._home, row, sources.get(row.target)) for row in before]
        return Beginning(source=str(self._source), made=made, notices=tuple(notices))

    async def adopt(self, files: Sequence[str], *, mine: bool) -> tuple[Adopted, ...]:
        """See `ports.Choices.adopt`."""
        targets = [self._target(file) for file in files]
        seen, sources = await self._home.compare(), await self._home.sources()
        rows = {row.target: row for row in seen.rows}
        refuse = self._refuse_mine if mine else self._refuse_theirs
        for target in targets:  # all of them, before anything is done
            refuse(target, sources.get(target))
        async with self._held.aside():
            await self._engine.snapshot()  # whatever is in the working copy stays in jj's operation log
        act = self._take_mine if mine else self._take_theirs
        return tuple([await act(target, rows.get(target), sources.get(target)) for target in targets])

    # The repository.

    async def _make_repository(self) -> bool:
        """Clone, in steps that can be repeated; returns whether the working copy was put on the trunk."""
        git = Git(self._processes, str(self._source), self._account)
        if not (self._source / ".git/HEAD").is_file():
            self._refuse_other_files()
            arguments = ("init", "--quiet", f"--initial-branch={self._config.trunk}", "--", str(self._source))
            await git.run("cannot create the repository", *arguments, inside=False)
        url = await self._engine.remote_url()
        if not url:
            await git.run("cannot set the remote", "remote", "add", "--", "origin", self._config.repo_url)
        elif url != self._config.repo_url:
            raise Failed(
                f"{self._source} belongs to {printable(url)}, and repo_url is {self._config.repo_url}",
                meaning="nothing was changed",
                advice=f"git -C {self._source} remote set-url origin {self._config.repo_url}",
            )
        try:
            await self._engine.fetch()
        except Transient as error:
            raise Transient(
                f"{self._config.repo_url} cannot be fetched: {error.message}",
                cause=error.cause,
                meaning="the home is as it was; the first contact needs the remote",
                advice="gitopsctl dotfiles init, once the remote can be reached",
            ) from error
        jj = Jj(self._processes, str(self._source), self._account, f"{self._config.trunk}@origin")
        if not (self._source / ".jj").is_dir():
            await jj.init()
        trunk = self._engine.fetched.get(self._config.trunk)
        async with self._held.aside():
            here = await self._engine.snapshot()
            if trunk is None or here.parents or not here.empty:
                return False  # what the person has there already is merged by the first sync
            await jj.new(trunk)
        await jj.track(self._config.trunk, "origin")
        return True

    def _refuse_other_files(self) -> None:
        if self._source.exists() and any(entry.name != ".git" for entry in self._source.iterdir()):
            raise Failed(
                f"{self._source} has files and is no git repository",
                meaning="nothing was changed",
                advice=f"mv {self._source} {self._source}.old  # or `git init` there, to keep them",
            )

    async def _make_configuration(self) -> tuple[Notice, ...]:
        """Let chezmoi make its configuration from the repository's template, if there is one and none was made yet."""
        if any((Path(self._account.home) / name).exists() for name in _CONFIGURATIONS):
            return ()
        try:
            await self._home.configure()
        except GitopsdError as error:
            what = f"chezmoi's configuration is not made, since its template asks or fails: {printable(error.message)}"
            return (Notice(what=what, advice="chezmoi init  # on a terminal"),)
        return ()

    # Files.

    def _target(self, file: str) -> str:
        path = os.path.normpath(Path(self._account.home) / file.removeprefix("~/"))
        if not path.startswith(f"{self._account.home}/"):
            raise Failed(
                f"{printable(file)} is not below {self._account.home}",
                meaning="nothing was changed",
                advice="name a file of the home",
            )
        return path.removeprefix(f"{self._account.home}/")

    def _refuse_mine(self, target: str, source: str | None) -> None:
        name = printable(target)
        kind = self._home.kind(target)
        if kind == stat.S_IFDIR or (source is None and kind not in (stat.S_IFREG, stat.S_IFLNK)):
            raise Failed(f"~/{name} is no file", meaning="nothing was changed", advice="name the files one by one")
        if source is not None and not is_plain_file(source):
            what = "comes from a template" if is_template(source) else "is no plain file to chezmoi"
            raise Failed(
                f"~/{name} {what}: the home's version cannot be taken as it is",
                meaning="nothing was changed",
                advice=f"chezmoi edit ~/{name}  # or adopt --theirs",
            )

    def _refuse_theirs(self, target: str, source: str | None) -> None:
        name = printable(target)
        if source is None:
            raise Failed(
                f"~/{name} is not in the repository",
                meaning="nothing was changed",
                advice=f"gitopsctl dotfiles adopt --mine ~/{name}",
            )
        if self._home.kind(target) == stat.S_IFDIR:
            raise Failed(f"~/{name} is a directory", meaning="nothing was changed", advice="name the files one by one")
        for parent in reversed(Path(target).parents[:-1]):  # chezmoi would make a directory of it, whatever it is
            if self._home.kind(str(parent)) and not (Path(self._account.home) / parent).is_dir():
                raise Failed(
                    f"~/{printable(str(parent))} is no directory here, and ~/{name} belongs into it",
                    meaning="nothing was changed",
                    advice=f"mv ~/{printable(str(parent))} ~/{printable(str(parent))}.mine, and then the same again",
                )

    async def _take_mine(self, target: str, row: Row | None, source: str | None) -> Adopted:
        if source is None:
            await self._home.add([target])
        elif row is None:
            return Adopted(file=printable(target), took="same")
        elif not (kind := self._home.kind(target)):
            await self._home.forget([target])
            return Adopted(file=printable(target), took="deletion")
        elif kind == stat.S_IFLNK:  # re-add takes in files only
            await self._home.add([target])
        else:
            for reason in (await self._home.re_add([target])).values():
                raise Failed(
                    f"~/{printable(target)} cannot be captured: {printable(reason)}",
                    meaning="it is as it was, and so is the repository",
                    advice=f"chezmoi re-add ~/{printable(target)}",
                )
        return Adopted(file=printable(target), took="mine")

    async def _take_theirs(self, target: str, row: Row | None, source: str | None) -> Adopted:  # noqa: ARG002 - see adopt
        if row is None:
            return Adopted(file=printable(target), took="same")
        backup = await self._put_away(target) if self._home.kind(target) else None
        try:
            await self._home.overwrite(target)
        except GitopsdError:
            if backup is not None and not self._home.kind(target):
                await self._files.move(str(backup), f"{self._account.home}/{target}", replace=False)
            raise
        return Adopted(file=printable(target), took="theirs", backup=printable(str(backup or "")))

    async def _put_away(self, target: str) -> Path:
        """Move the home's version to a place of its own: an editor that still writes to it writes to the backup."""
        when = dt.datetime.fromtimestamp(self._now(), dt.UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
        place = Path(self._account.home) / BACKUPS
        names = (when, *(f"{when}-{number}" for number in range(2, 1000)))
        backup = place / next(name for name in names if not self._home.kind(f"{BACKUPS}/{name}/{target}")) / target
        await self._files.make_directory(str(place.parent), mode=0o700)
        await self._files.move(f"{self._account.home}/{target}", str(backup), replace=False)
        return backup
