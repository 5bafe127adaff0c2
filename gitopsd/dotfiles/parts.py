"""What one person's dotfiles consist of."""

from functools import cached_property
from pathlib import Path

from gitopsd.config import DotfilesConfig
from gitopsd.repo.engine import Engine
from gitopsd.repo.repair import Repair
from gitopsd.repo.resolve import Resolver
from gitopsd.secrets.gate import RepositoryGate
from gitopsd.secrets.held import Held, guard
from gitopsd.secrets.rules import names_secret, told
from gitopsd.tools.chezmoi import Home
from gitopsd.tools.chezmoi_names import is_link, same_target
from gitopsd.tools.files import Files
from gitopsd.tools.jj import WorkingCopy
from gitopsd.tools.process import Account, Processes


class Parts:
    """Each part is made when it is first asked for: neither the person nor the source directory need exist before that.

    Args:
        processes: starts the programs.
        config: the person's section of the configuration.
        host: the name of this host.
        account: the person; looked up by name if not given.

    """

    def __init__(self, processes: Processes, config: DotfilesConfig, *, host: str, account: Account | None) -> None:
        self._processes = processes
        self._config = config
        self._host = host
        self._account = account

    @cached_property
    def person(self) -> Account:
        """Whose they are."""
        return self._account or Account.of(self._config.user)

    @property
    def source(self) -> str:
        """The source directory."""
        return str(Path(self.person.home) / self._config.source)

    @cached_property
    def engine(self) -> Engine:
        """Of the repository."""
        return Engine(
            self._processes,
            self.source,
            self.person,
            trunk=self._config.trunk,
            host=self._host,
            same_file=same_target,
            union=self._config.merge.union,
            no_lines=is_link,
            ssh_key=self._config.ssh_key,
            gate=self.gate,
        )

    @cached_property
    def gate(self) -> RepositoryGate:
        """Keeps secrets out of the repository."""
        return RepositoryGate(self._processes, self.person, self.source, same_file=same_target)

    @cached_property
    def held(self) -> Held:
        """What the gate has stopped in the working copy."""
        return guard(self._processes, self.person, self.source, self.engine, self.gate, same_file=same_target)

    @property
    def files(self) -> Files:
        """Read as the person."""
        return Files(self._processes, self.person)

    def resolver(self) -> Resolver:
        """Of what is parked."""
        return Resolver(self.engine, trunk=self._config.trunk, same_file=same_target)

    def repair(self) -> Repair:
        """Of the repository."""
        return Repair(self._processes, self.source, self.person, trunk=self._config.trunk)

    def home(self) -> Home:
        """The home as it is from now on: what one of these has read of the source directory, it does not read again."""
        return Home(self._processes, self.person, self.source, hidden=self._hidden, told=told)

    def _hidden(self, target: str) -> bool:
        return names_secret(target) or self.held.hides(target)

    async def snapshot(self) -> WorkingCopy:
        """Take in what is in the working copy and may pass the gate."""
        async with self.held.aside():
            return await self.engine.snapshot()
