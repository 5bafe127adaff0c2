"""Publishing: one atomic push, and the remote read back."""

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from gitopsd.errors import Cause, Failed, Transient
from gitopsd.repo.memory import Memory
from gitopsd.repo.plan import Plan
from gitopsd.repo.standing import HEADS, REMOTE, Refs, Standing
from gitopsd.tools.git import NETWORK, Git


class Pushing:
    """Pushes.

    Args:
        git: of the repository.
        refs: of the repository.
        trunk: the branch that all hosts share.
        bookmark: the branch that only this host writes.
        fetch: looks again where the remote is.

    """

    def __init__(
        self, git: Git, refs: Refs, *, trunk: str, bookmark: str, fetch: Callable[[], Awaitable[object]]
    ) -> None:
        self._git = git
        self._refs = refs
        self._trunk = trunk
        self._bookmark = bookmark
        self._fetch = fetch

    async def push(self, standing: Standing, plan: Plan, memory: Memory) -> bool:
        """Push trunk and bookmark together or not at all, and prove it; False if the remote has it all already."""
        wanted = {self._trunk: plan.trunk} | ({} if standing.other else {self._bookmark: plan.parked})
        old = {name: standing.remote.get(name, "") for name in wanted}
        if wanted == old:
            return False
        await self._refs.remember(msgspec.structs.replace(standing.memory, next=memory))
        return await self.send(wanted, old)

    async def send(self, wanted: Mapping[str, str], old: Mapping[str, str]) -> bool:
        """Push branches, and prove it; False if there is nothing to push.

        Args:
            wanted: their commits, by short name; an empty one takes the branch away.
            old: likewise, as the remote was last seen.

        Raises:
            Transient: the remote moved meanwhile, or cannot be reached.
            Failed: the remote lies.

        """
        changed = [name for name in wanted if wanted[name] != old[name]]
        if not changed:
            return False
        # The trunk is not forced. The bookmark is: only this host writes it, and the lease proves even that.
        force = (
            [f"--force-with-lease={HEADS}{self._bookmark}:{old[self._bookmark]}"] if self._bookmark in changed else []
        )
        refspecs = [f"{wanted[name]}:{HEADS}{name}" for name in changed]
        await self._git.run(
            *("cannot push", "push", "--quiet", "--atomic", "--no-verify", "--no-follow-tags", *force),
            *("--", REMOTE, *refspecs),
            timeout=NETWORK,
        )
        await self._prove(wanted, old)
        return True

    async def _prove(self, wanted: Mapping[str, str], old: Mapping[str, str]) -> None:
        heads = await self._git.ls_remote_refs(REMOTE, *(f"{HEADS}{name}" for name in wanted))
        found = {name: heads.get(f"{HEADS}{name}", "") for name in wanted}
        if found == wanted:
            return
        if found == old:
            raise Failed(
                f"the push to {REMOTE} ended well, and yet the remote has nothing of it",
                meaning="everything is committed on this host; the next sync pushes it again",
                advice=f"git ls-remote {REMOTE}",
            )
        # By git's own refs the push has arrived. Whether it is still there can only the remote tell.
        await self._fetch()
        raise Transient(f"{REMOTE} moved while it was read back", cause=Cause.remote_moved)
