"""The daemon's own bare mirror of the configuration repository.

Exact revisions are built from it: it has no work tree that could be dirty, belongs to the daemon, and no editor races it.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

from gitopsd.errors import Absent
from gitopsd.tools.git import Git
from gitopsd.tools.process import Processes
from gitopsd.types import Revision, parse_revision

_DEPLOYED = "refs/gitopsd/deployed"
_HEADS = "refs/heads/"
_TRACKING = "refs/remotes/origin/"


class Mirror:
    """`ports.ConfigSource` on a bare repository.

    Args:
        processes: starts git.
        path: of the repository; it is created by the first fetch.
        url: of the remote.
        branch: the trunk: what is deployed.
        testing: the branch that is tested on top of it; empty if none is.
        ssh_key: see `Git`.
        origin: tells the remote's URL where `url` is empty.

    """

    def __init__(
        self,
        processes: Processes,
        path: Path,
        *,
        url: str,
        branch: str,
        testing: str = "",
        ssh_key: str = "",
        origin: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        self._origin = origin
        self._git = Git(processes, str(path), ssh_key=ssh_key)
        self._path = path
        self._url = url
        self._branch = branch
        self._testing = testing
        # What the mirror has of these branches; nobody else writes to it.
        self._known: dict[str, Revision] | None = None

    async def fetch(self) -> Revision:
        """See `ports.ConfigSource`. Asks for both branches first, in one question: nothing new costs no more than that."""
        if not self._path.exists():
            await self._git.init_bare()
            self._known = None
        url = await self._origin() if self._origin is not None and not self._url else self._url
        answer = await self._git.ls_remote_refs(url, *(f"{_HEADS}{branch}" for branch in self._branches))
        remote = {branch: answer[f"{_HEADS}{branch}"] for branch in self._branches if f"{_HEADS}{branch}" in answer}
        if self._branch not in remote:
            raise Absent(
                f"the configuration repository {url} has no branch {self._branch!r}",
                meaning="the system stays as it is",
                advice="push the branch, or correct config.branch",
            )
        known = await self._heads()
        if remote != known:
            await self._take_over(url, remote, known)
            known = await self._heads()
        return known[self._branch]

    async def _take_over(self, url: str, remote: dict[str, str], known: dict[str, Revision]) -> None:
        self._known = None
        new = [branch for branch, commit in remote.items() if commit != known.get(branch)]
        if new:
            # `+`: what the remote says is taken over; whether a rewound branch is deployed is decided in pull.
            await self._git.fetch(url, *(f"+{_HEADS}{branch}:{_TRACKING}{branch}" for branch in new))
        for branch in known.keys() - remote.keys():
            await self._git.delete_ref(f"{_TRACKING}{branch}")

    async def head(self) -> Revision | None:
        """See `ports.ConfigSource`."""
        return (await self._heads()).get(self._branch)

    async def testing(self) -> Revision | None:
        """See `ports.ConfigSource`."""
        return (await self._heads()).get(self._testing)

    async def descends(self, revision: Revision, ancestor: Revision) -> bool:
        """See `ports.ConfigSource`. An ancestor that the mirror does not know any more counts as not contained."""
        if await self._git.rev_parse(ancestor) is None:
            return False
        return await self._git.is_ancestor(ancestor, revision)

    async def subject(self, revision: Revision) -> str:
        """See `ports.ConfigSource`."""
        return await self._git.subject(revision)

    async def mark_deployed(self, revision: Revision) -> None:
        """See `ports.ConfigSource`. A ref also keeps the commit from git's garbage collector."""
        await self._git.update_ref(_DEPLOYED, revision)

    async def marked_deployed(self) -> Revision | None:
        """See `ports.ConfigSource`."""
        if not self._path.exists():
            return None
        found = await self._git.rev_parse(_DEPLOYED)
        return None if found is None else parse_revision(found)

    @property
    def _branches(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(filter(None, (self._branch, self._testing))))

    async def _heads(self) -> dict[str, Revision]:
        if not self._path.exists():
            return {}
        if self._known is None:
            found = await self._git.refs(*(f"{_TRACKING}{branch}" for branch in self._branches))
            short = {name.removeprefix(_TRACKING): commit for name, commit in found.items()}
            self._known = {branch: parse_revision(short[branch]) for branch in self._branches if branch in short}
        return self._known
