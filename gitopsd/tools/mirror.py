"""The daemon's own bare mirror of the configuration repository.

Exact revisions are built from it: it has no work tree that could be dirty, belongs to the daemon, and no editor races it.
"""

from pathlib import Path

from gitopsd.errors import Absent
from gitopsd.tools.git import Git
from gitopsd.tools.process import Processes
from gitopsd.types import Revision, parse_revision

_DEPLOYED = "refs/gitopsd/deployed"


class Mirror:
    """`ports.ConfigSource` on a bare repository.

    Args:
        processes: starts git.
        path: of the repository; it is created by the first fetch.
        url: of the remote.
        branch: what is deployed.

    """

    def __init__(self, processes: Processes, path: Path, *, url: str, branch: str) -> None:
        self._git = Git(processes, str(path))
        self._path = path
        self._url = url
        self._branch = branch

    async def fetch(self) -> Revision:
        """See `ports.ConfigSource`. Asks for the branch's head first: nothing new costs one question."""
        if not self._path.exists():
            await self._git.init_bare()
        head = await self._git.ls_remote(self._url, f"refs/heads/{self._branch}")
        if head is None:
            raise Absent(
                f"the configuration repository {self._url} has no branch {self._branch!r}",
                meaning="the system stays as it is",
                advice="push the branch, or correct config.branch",
            )
        revision = parse_revision(head)
        if revision != await self.head():
            # `+`: what the remote says is taken over; whether a rewound branch is deployed is decided in pull.
            await self._git.fetch(self._url, f"+refs/heads/{self._branch}:{self._ref}")
            revision = parse_revision(await self._git.rev_parse(self._ref) or "")
        return revision

    async def head(self) -> Revision | None:
        """See `ports.ConfigSource`."""
        if not self._path.exists():
            return None
        found = await self._git.rev_parse(self._ref)
        return None if found is None else parse_revision(found)

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
    def _ref(self) -> str:
        return f"refs/remotes/origin/{self._branch}"
