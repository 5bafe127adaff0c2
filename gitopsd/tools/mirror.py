"""The daemon's own bare mirror of the configuration repository.

Exact revisions are built from it: it has no work tree that could be dirty, belongs to the daemon, and no editor races it.
All that it holds is the remote's. So one that a power cut or a disk has damaged is fetched anew, and nobody has to see to
it: a host whose mirror stays broken takes no fix any more.
"""

import contextlib
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import structlog

from gitopsd.errors import Absent, Failed
from gitopsd.tools.git import Git
from gitopsd.tools.process import Processes
from gitopsd.types import Revision, parse_revision

_DEPLOYED = "refs/gitopsd/deployed"
_HEADS = "refs/heads/"
_DAMAGED = "gitopsd-damaged"  # in the mirror: something in it could not be read
_WHOLE = 300.0  # seconds to read all that the mirror has

T = TypeVar("T")

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
        self._processes = processes
        self._ssh_key = ssh_key
        self._git = Git(processes, str(path), ssh_key=ssh_key)
        self._path = path
        self._url = url
        self._branch = branch
        self._testing = testing
        # What the mirror has of these branches; nobody else writes to it.
        self._known: dict[str, Revision] | None = None

    async def fetch(self) -> Revision:
        """See `ports.ConfigSource`. Asks for both branches first, in one question: nothing new costs no more than that."""
        if not (self._path / _DAMAGED).exists():
            try:
                return await self._fetch()
            except Absent:
                raise
            except Failed:
                if await self.sound():
                    raise
        return await self._fetch_anew()

    async def reach(self) -> None:
        """See `ports.ConfigSource`."""
        await self._ask()

    async def sound(self) -> bool:
        """See `ports.ConfigSource`."""
        whole = await self._is_whole()
        if not whole:
            with contextlib.suppress(OSError):  # on a full disk it is found out again
                (self._path / _DAMAGED).touch()
        return whole

    async def _fetch(self) -> Revision:
        if not self._path.exists():
            await self._git.init_bare()
            self._known = None
        url, remote = await self._ask()
        known = await self._heads()
        if remote != known:
            await self._take_over(url, remote, known)
            known = await self._heads()
        return known[self._branch]

    async def _fetch_anew(self) -> Revision:
        """Beside the damaged one, which goes only once the remote has given all of it."""
        beside = self._path.with_name(f"{self._path.name}.new")
        shutil.rmtree(beside, ignore_errors=True)
        fresh = Mirror(
            self._processes,
            beside,
            url=self._url,
            branch=self._branch,
            testing=self._testing,
            ssh_key=self._ssh_key,
            origin=self._origin,
        )
        head = await fresh._fetch()
        deployed = self._deployed_by_name()
        if deployed is not None and await fresh._git.rev_parse(deployed) is not None:
            await fresh._git.update_ref(_DEPLOYED, deployed)
        shutil.rmtree(self._path, ignore_errors=True)
        beside.rename(self._path)
        self._known = None
        structlog.get_logger().warning(
            "mirror renewed", message=f"{self._path} was damaged; what the remote has was fetched anew"
        )
        return head

    def _deployed_by_name(self) -> Revision | None:
        """What `mark_deployed` was told last, though git may not read this repository any more; it never packs its refs."""
        try:
            return parse_revision((self._path / _DEPLOYED).read_text(encoding="ascii").strip())
        except (OSError, ValueError):
            return None

    async def _ask(self) -> tuple[str, dict[str, str]]:
        """The remote, and the heads of the branches there."""
        url = await self._origin() if self._origin is not None and not self._url else self._url
        answer = await self._git.ls_remote_refs(url, *(f"{_HEADS}{branch}" for branch in self._branches))
        remote = {branch: answer[f"{_HEADS}{branch}"] for branch in self._branches if f"{_HEADS}{branch}" in answer}
        if self._branch not in remote:
            raise Absent(
                f"the configuration repository {url} has no branch {self._branch!r}",
                meaning="the system stays as it is",
                advice="push the branch, or correct config.branch",
            )
        return url, remote

    async def _is_whole(self) -> bool:
        """Whether everything that the mirror should have can be read. A daemon that has none yet has no damaged one."""
        if not self._path.exists():
            return True
        try:
            await self._git.refs()
            await self._git.verify_objects(timeout=_WHOLE)
        except Failed:
            return False
        return True

    async def _read(self, question: Awaitable[T]) -> T:
        """What the mirror says itself; if it cannot, the next fetch makes it anew."""
        try:
            return await question
        except Failed:
            await self.sound()
            raise

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
        return (await self._read(self._heads())).get(self._branch)

    async def testing(self) -> Revision | None:
        """See `ports.ConfigSource`."""
        return (await self._read(self._heads())).get(self._testing)

    async def descends(self, revision: Revision, ancestor: Revision) -> bool:
        """See `ports.ConfigSource`. An ancestor that the mirror does not know any more counts as not contained."""
        if await self._read(self._git.rev_parse(ancestor)) is None:
            if not await self.sound():  # that it has it not says nothing then
                raise Failed(
                    f"the mirror {self._path} is damaged",
                    meaning="the system stays as it is",
                    advice="`gitopsctl upgrade`, which fetches it anew",
                )
            return False
        return await self._read(self._git.is_ancestor(ancestor, revision))

    async def subject(self, revision: Revision) -> str:
        """See `ports.ConfigSource`."""
        return await self._read(self._git.subject(revision))

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
