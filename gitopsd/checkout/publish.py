"""A checkout whose edits are published, by the same engine as dotfiles: merged with the trunk, or parked beside it.

The gate stands before all of it. What looks like a secret stops the whole checkout, before jj takes a snapshot: it stays
as it is, with everything that was edited beside it, until its owner has looked.
"""

from pathlib import Path

from msgspec.structs import replace

from gitopsd.checkout.follow import has_jj
from gitopsd.checkout.owner import owner_of
from gitopsd.errors import Failed, GitopsdError
from gitopsd.repo.engine import Engine
from gitopsd.repo.repair import Repair
from gitopsd.repo.vet import Vet
from gitopsd.secrets.gate import RepositoryGate
from gitopsd.tools.git import printable
from gitopsd.tools.process import Account, Processes
from gitopsd.tools.worktree import WorkTree
from gitopsd.types import Finding, Notice, Parked, PersonFacts, SyncWord

_REMOTE = "origin"
_UPDATE = 600.0  # seconds for asking every input of a flake
_STOPPED = frozenset({SyncWord.not_initialized, SyncWord.failed, SyncWord.fetch_failed, SyncWord.push_failed})


class Publishing:
    """`ports.PublishedCheckout`.

    Args:
        processes: starts the programs.
        directory: the checkout.
        repo_url: what its `origin` must be; empty if the configuration's remote is whatever that is.
        branch: the trunk.
        host: names the bookmark for what is parked.
        ssh_key: see `Git`; its owner must be able to read it.
        flake: the directory of the flake whose inputs are refreshed; None refreshes nothing.

    """

    def __init__(
        self,
        processes: Processes,
        directory: str,
        *,
        repo_url: str,
        branch: str,
        host: str,
        ssh_key: str = "",
        flake: str | None = None,
    ) -> None:
        self._processes = processes
        self._directory = directory
        self._repo_url = repo_url
        self._branch = branch
        self._host = host
        self._ssh_key = ssh_key
        self._flake = flake
        self._refreshed = False  # what this cycle captured are the inputs, and nothing else

    async def fetch(self, facts: PersonFacts) -> PersonFacts:
        """See `ports.PublishedCheckout`."""
        try:
            owner = owner_of(Path(self._directory))
        except Failed as error:
            notice = Notice(what=error.message, advice=error.advice)
            return replace(facts, word=SyncWord.not_initialized).noted(notice)
        facts = replace(facts, user=owner.name)
        repair = Repair(self._processes, self._directory, owner, trunk=self._branch)
        if (halt := repair.halted()) is not None:
            return replace(facts, word=SyncWord.failed).noted(halt)
        engine = self._engine(owner)
        found = await engine.remote_url()
        if self._repo_url and found != self._repo_url:
            what = f"{self._directory} belongs to {printable(found) or 'no remote'}, and repo_url is {self._repo_url}"
            verb = "set-url" if found else "add"
            advice = f"git -C {self._directory} remote {verb} origin {self._repo_url}"
            return replace(facts, word=SyncWord.not_initialized).noted(Notice(what=what, advice=advice))
        await engine.fetch()
        return facts

    async def capture(self, facts: PersonFacts) -> PersonFacts:
        """See `ports.PublishedCheckout`."""
        self._refreshed = False
        if facts.word in _STOPPED:
            return facts
        owner = owner_of(Path(self._directory))
        engine = self._engine(owner)
        if found := await self._secrets(engine, owner, facts.trunk):
            places = ", ".join(f"{each.path}:{each.line} ({each.rule})" for each in found)
            what = f"{self._directory} is not published, since this looks like a secret: {places}"
            advice = f"take it out of {self._directory}, or encrypt it with sops"
            stopped = replace(facts, word=SyncWord.success_local_only, quarantined=found)
            return stopped.noted(Notice(what=what, advice=advice))
        here = await engine.snapshot()
        if self._flake is not None and here.empty and here.parents == (facts.trunk,):
            facts = await self._refresh(facts, owner)
            here = await engine.snapshot()
            self._refreshed = not here.empty
        changes = () if here.empty else await engine.changes(here)
        return replace(facts, captured=tuple(sorted(printable(change.path) for change in changes)))

    async def publish(self, facts: PersonFacts, message: str) -> PersonFacts:
        """See `ports.PublishedCheckout`."""
        if facts.word in _STOPPED or facts.quarantined:
            return facts
        if self._refreshed:
            message = message.replace("auto-update", "update flake inputs")
        engine = self._engine(owner_of(Path(self._directory)))
        done = await engine.publish(message, push=True)
        parked = tuple(
            Parked(path=printable(path), bookmark=engine.bookmark, commit=done.parked, file=printable(path))
            for path in done.conflicts
        )
        word = SyncWord.conflicts_preserved if parked or done.apart else facts.word
        waiting = [printable(path) for path in (*done.unsettled, *done.apart)]
        what = f"in conflict in {self._directory}, and not on {self._branch} until you settle it"
        advice = f"cd {self._directory} && jj resolve --list"
        facts = facts.noted(*(Notice(what=f"{path} is {what}", path=path, advice=advice) for path in waiting))
        if done.other:
            what = f"another host writes {engine.bookmark} too: what is parked stays here until one has another name"
            facts = facts.noted(Notice(what=what, advice="networking.hostName, or `host` in gitopsd's configuration"))
        return replace(facts, word=word, published=done.proven, sent=done.sent, parked=parked)

    async def apply(self, facts: PersonFacts) -> PersonFacts:
        """See `ports.Checkout`."""
        if facts.word in _STOPPED or facts.quarantined:
            return facts
        owner = owner_of(Path(self._directory))
        engine, in_git = self._engine(owner), f"cd {self._directory} && git"
        if facts.parked and not has_jj(self._directory):
            # git would have the owner's next push take the trunk's version away: only they can decide.
            what = f"{self._directory} stays behind {self._branch} until you have merged what is parked"
            advice = f"{in_git} stash && git pull && git merge --no-edit -X theirs origin/{engine.bookmark} && git push"
            return facts.noted(Notice(what=what, advice=advice))
        if not await engine.move():
            what = f"{self._directory} was edited meanwhile, or a file is in the way; the next upgrade looks again"
            return facts.noted(Notice(what=what, advice=f"{in_git} status"))
        return facts

    async def _secrets(self, engine: Engine, owner: Account, trunk: str) -> tuple[Finding, ...]:
        """What looks like a secret in the files, or in commits that nobody pushed."""
        branch = "" if has_jj(self._directory) else self._branch
        identity = engine.trees.identity
        tree = WorkTree(self._processes, engine.git, self._directory, owner, branch=branch, identity=identity)
        here = await tree.working_copy()
        vet = Vet(engine.git, engine.trees, RepositoryGate(self._processes, owner, self._directory), _REMOTE)
        found = await vet.look((here.commit,), trunk)
        return tuple(finding for findings in found.values() for finding in findings)

    async def _refresh(self, facts: PersonFacts, owner: Account) -> PersonFacts:
        """Ask every input of the flake for what is new. A failure is told, and holds nothing up."""
        place = str(Path(self._directory, self._flake or ""))
        argv = ("nix", "--extra-experimental-features", "nix-command flakes", "flake", "update", "--flake", place)
        try:
            await self._processes.run(argv, timeout=_UPDATE, account=owner)
        except GitopsdError as error:
            what = f"the inputs of {place} could not be refreshed: {error.message}"
            return facts.noted(Notice(what=what, advice=f"nix flake update --flake {place}"))
        return facts

    def _engine(self, owner: Account) -> Engine:
        return Engine(
            self._processes,
            self._directory,
            owner,
            trunk=self._branch,
            host=self._host,
            same_file=str,
            ssh_key=self._ssh_key,
            gate=RepositoryGate(self._processes, owner, self._directory),
            jj=has_jj(self._directory),
        )
