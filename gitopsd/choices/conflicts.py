"""A person's conflicts by the names that people use for files: `.bashrc`, not `dot_bashrc`."""

from collections.abc import Sequence

from gitopsd.errors import Cause, Failed, Transient
from gitopsd.repo.engine import Engine
from gitopsd.repo.resolve import Resolver, Standoff
from gitopsd.repo.resolve import Side as Version
from gitopsd.tools.chezmoi_names import is_link, target_of
from gitopsd.tools.git import printable
from gitopsd.types import Conflict, Conflicts, Settled, Side, Take

_ATTEMPTS = 5  # with a trunk that moves each time
_SHOWN = 64 * 1024  # characters of one version that travel over the socket


class ConflictList:
    """Lists what is parked, and settles it.

    Args:
        engine: of the person's repository.
        resolver: for the same repository.
        user: the person.
        host: the name of this host.

    """

    def __init__(self, engine: Engine, resolver: Resolver, *, user: str, host: str) -> None:
        self._engine = engine
        self._resolver = resolver
        self._user = user
        self._host = host

    async def read(self) -> Conflicts:
        """See `ports.Choices`."""
        offline = False
        try:
            await self._engine.fetch()
        except Transient as error:
            if error.cause not in (Cause.network, Cause.timeout):
                raise
            offline = True
        found = [await self._shown(standoff) for standoff in await self._resolver.standoffs()]
        return Conflicts(user=self._user, offline=offline, conflicts=tuple(found))

    async def settle(self, file: str, host: str, choice: Take | str, seen: str) -> Settled:
        """See `ports.Choices.resolve`."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self._engine.fetch()
                return await self._settle(file, host, choice, seen)
            except Transient as error:
                if error.cause is not Cause.remote_moved or attempt == _ATTEMPTS:
                    raise Transient(
                        f"{printable(file)} is not settled: {error.message}",
                        cause=error.cause,
                        meaning="nothing was changed; a resolution needs the remote, since it is for all hosts",
                        advice="the same command once the remote can be reached",
                    ) from error
        raise AssertionError("unreachable")

    async def _settle(self, file: str, host: str, choice: Take | str, seen: str) -> Settled:
        standoff = pick(await self._resolver.standoffs(), file, host, self._host)
        if seen and standoff.commit != seen:
            raise Failed(
                f"{standoff.host} has parked another version of {name_of(standoff)} meanwhile",
                meaning="nothing was changed: you have not seen it yet",
                advice="gitopsctl dotfiles conflicts",
            )
        if is_link(standoff.name) and (
            choice is Take.union or (not isinstance(choice, Take) and "\n" in choice.strip("\n"))
        ):
            raise Failed(
                f"{name_of(standoff)} is a link: it leads to one place, and that is one line",
                meaning="nothing was changed",
                advice="take one side (ours or theirs), or type one line",
            )
        shown = await self._shown(standoff)
        took = choice.value if isinstance(choice, Take) else "content"
        message = f"chore({self._host}): settle {name_of(standoff)} of {standoff.bookmark} with {took}\n"
        chosen = choice.value if isinstance(choice, Take) else choice.encode()
        commit = await self._resolver.settle(standoff, chosen, message)
        return Settled(conflict=shown, took=took, commit=commit)

    async def _shown(self, standoff: Standoff) -> Conflict:
        merged = None
        if standoff.mergeable and not standoff.settled:
            merged = _text(await self._resolver.marked(standoff))
        return Conflict(
            file=name_of(standoff),
            paths=tuple(map(printable, standoff.paths)),
            host=standoff.host,
            bookmark=standoff.bookmark,
            commit=standoff.commit,
            trunk=standoff.trunk,
            settled=standoff.settled,
            base=_side(standoff.base),
            theirs=_side(standoff.theirs),
            ours=_side(standoff.ours),
            merged=merged,
        )


def name_of(standoff: Standoff) -> str:
    """What people call the file."""
    return printable(target_of(standoff.name))


def pick(standoffs: Sequence[Standoff], file: str, host: str, here: str) -> Standoff:
    """The conflict that a person means.

    Args:
        standoffs: all of them.
        file: the target relative to the home, or a name in the repository.
        host: whose version is parked; empty is this host's, or else the only one there is.
        here: this host.

    Raises:
        Failed: there is none, or more than one.

    """
    named = [each for each in standoffs if file == name_of(each) or file in map(printable, each.paths)]
    named = [each for each in named if host in ("", each.host)]
    still = [each for each in named if not each.settled]
    where = f" on {printable(host)}" if host else ""
    if not still and named:
        raise Failed(
            f"{printable(file)} is settled already{where}",
            meaning=f"nothing was changed; {', '.join(each.host for each in named)} takes it in at the next sync there",
            advice="edit the file if you want it otherwise: the next sync carries that to all hosts",
        )
    if not still:
        raise Failed(
            f"nothing is parked for {printable(file)}{where}",
            meaning="nothing was changed",
            advice="gitopsctl dotfiles conflicts",
        )
    own = [each for each in still if each.host == here]
    if len(still) > 1 and len(own) != 1:
        hosts = ", ".join(each.host for each in still)
        raise Failed(
            f"{printable(file)} is parked on more than one host: {hosts}",
            meaning="nothing was changed: it is not clear whose version `ours` is",
            advice=f"the same command with --host {still[0].host}",
        )
    return own[0] if own else still[0]


def _side(version: Version) -> Side:
    return Side(exists=bool(version.path), size=version.size, text=_text(version.content))


def _text(content: bytes | None) -> str | None:
    """A text that can travel as JSON; None for anything else."""
    if content is None:
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return text if len(text) <= _SHOWN else None
