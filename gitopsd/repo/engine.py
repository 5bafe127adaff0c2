"""One repository that many hosts share: what this host changed is merged, published or parked, and never lost.

Knows nothing of homes and chezmoi. The working copy is jj's; the merge is computed in git's object store (`side` finds what
is ours, `plan` merges it), where a crash leaves nothing but objects that nobody refers to; then everything is pushed in one atomic
push, read back, and written down in one transaction of refs; last the working copy moves, with jj.

How a merge finds what an edit was made on:

- The working copy stands on a commit, and the newest trunk commit below it is the fork of all its edits.
- Except for parked paths: their fork is where the parked change leaves the trunk. It stands on this host's bookmark
  `gitopsd/<host>` as a commit on an *old* trunk commit, and never becomes an ancestor of the trunk unless a person
  merges it: then, and only then, it is resolved. A single file of it is resolved once the trunk's history has the
  parked version of that file (`settled`, `resolve`); what was edited since comes from that version.
- Except for paths whose fork the caller named (`derive`), since it knew better.

A conflict that jj holds in the working copy, since a person rebased or merged, counts as a parked edit, and moves along
with the working copy as it is: only a person settles it (`unsettled`).

Two hosts may have the same name by mistake. Who wrote a bookmark stands in its commit (`OWNER`); a host that finds its
bookmark with another's commit leaves it alone, and goes on as if its own version stood there (`Standing.other`). Where
nothing is remembered (a host that was installed anew) the bookmark is taken over as it is.

While something is parked the working copy stands on a commit of its own, the trunk with our version put over it
(the local bookmark `gitopsd-home` makes jj see it). What is committed on top of that is taken over file by file.

Commands of a sync with nothing to do: `git ls-remote`, `git for-each-ref` twice, `jj log` (and the caller's own).
"""

from collections.abc import Callable, Collection, Mapping

import msgspec

from gitopsd.errors import Failed, GitopsdError
from gitopsd.ports import Gate
from gitopsd.repo import memory as remembered
from gitopsd.repo.memory import Memory
from gitopsd.repo.plan import Plan, Planner, holds_secret
from gitopsd.repo.push import Pushing
from gitopsd.repo.reconcile import Reconciled
from gitopsd.repo.side import OurSide
from gitopsd.repo.standing import HEADS, HOME, REMOTE, STOPPED, TRACKING, Refs, Standing, named, seen
from gitopsd.repo.traces import WITHHELD
from gitopsd.repo.trees import EMPTY_TREE, Change, Trees
from gitopsd.repo.union import Union
from gitopsd.repo.unsettled import NOISE, Unsettled
from gitopsd.repo.vet import Vet
from gitopsd.tools.git import Git
from gitopsd.tools.jj import Jj, WorkingCopy
from gitopsd.tools.process import Account, Processes
from gitopsd.tools.worktree import WorkTree
from gitopsd.types import Finding


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """How publishing ended.

    Args:
        trunk: the trunk, as merged; empty if there is none yet.
        parked: the commit on this host's bookmark; empty if nothing is parked.
        conflicts: the parked paths.
        marked: those of them that have conflict markers in them, which jj or git wrote and nobody has settled.
        proven: the remote was read back and has it all.
        sent: something was pushed for that.
        left_behind: the local trunk bookmark has commits that the working copy does not stand on.
        rewritten: the trunk as it was before somebody rewrote it; empty if nobody did.
        stopped: what the gate kept out of the commits that are published.
        withheld: the paths of which our newest version is in none of them for that.
        kept: the commit that has it; a ref of ours leads there. Empty if nothing is withheld.
        unsettled: those of `conflicts` that jj holds in the working copy.
        apart: further paths that jj holds there in conflict; they are parked nowhere, since they are no text.
        other: another host with the same name writes our bookmark: what is parked stays on this host.

    """

    trunk: str
    parked: str
    conflicts: tuple[str, ...]
    proven: bool
    marked: tuple[str, ...] = ()
    sent: bool = False
    left_behind: bool = False
    rewritten: str = ""
    stopped: tuple[Finding, ...] = ()
    withheld: tuple[str, ...] = ()
    kept: str = ""
    unsettled: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    other: bool = False


class Engine:
    """Merges and publishes one colocated jj repository.

    Args:
        processes: starts the programs.
        directory: the working copy.
        account: the person whose repository it is; everything runs as them.
        trunk: the branch that all hosts share.
        host: names the bookmark that only this host writes.
        same_file: see `reconcile`.
        union: patterns of the paths that are merged as a union, see `Union`.
        no_lines: see `Union`.
        ssh_key: see `Git`.
        gate: keeps secrets out of what is published; None lets everything pass.
        jj: the working copy is jj's; else it is the work tree of a plain git repository with the trunk checked out.

    """

    def __init__(
        self,
        processes: Processes,
        directory: str,
        account: Account,
        *,
        trunk: str,
        host: str,
        same_file: Callable[[str], str],
        union: Collection[str] = (),
        no_lines: Callable[[str], bool] = lambda _: False,
        ssh_key: str = "",
        gate: Gate | None = None,
        jj: bool = True,
    ) -> None:
        self.git = self._git = Git(processes, directory, account, ssh_key=ssh_key)
        self.trees = Trees(self._git, directory, account, host)
        self._vet = Vet(self._git, self.trees, gate, REMOTE) if gate is not None else None
        self._jj: Jj | WorkTree = (
            Jj(processes, directory, account, f"{trunk}@{REMOTE}")
            if jj
            else WorkTree(processes, self._git, directory, account, branch=trunk, identity=self.trees.identity)
        )
        self._unsettled = Unsettled(self._jj, self.trees) if isinstance(self._jj, Jj) else None
        self._apart: frozenset[str] = frozenset()  # as of the last look at the working copy
        self._trunk = trunk
        self.bookmark = f"gitopsd/{host}"
        self.fetched: dict[str, str] = {}  # the remote's branches, as the last `fetch` of this process found them
        self._refs = refs = Refs(self._git, self.trees, trunk=trunk, bookmark=self.bookmark)
        side = OurSide(self._git, self.trees, self._jj, refs, trunk=trunk, same_file=same_file)
        self._side = side
        self._planner = Planner(
            self.trees,
            self._jj,
            refs,
            side,
            self._vet,
            trunk=trunk,
            bookmark=self.bookmark,
            same_file=same_file,
            union=Union(union, no_lines),
        )
        self._pushing = Pushing(self._git, refs, trunk=trunk, bookmark=self.bookmark, fetch=self.fetch)

    async def remote_url(self) -> str:
        """Where the remote is; empty if there is none."""
        arguments = ("config", "--get", f"remote.{REMOTE}.url")
        return (await self._git.run("cannot read the remote", *arguments, fine=(0, 1))).stdout.strip()

    async def fetch(self) -> str:
        """Learn what the remote has; returns the trunk's commit, empty if there is none. Moves nothing.

        Raises:
            Transient: the remote cannot be reached.

        """
        heads = await self._git.ls_remote_refs(REMOTE, f"{HEADS}*")
        remote = {name.removeprefix(HEADS): commit for name, commit in heads.items()}
        if remote != seen(standing := await self._refs.read(), self.bookmark):
            await self._git.fetch(REMOTE, f"+{HEADS}*:{TRACKING}*", prune=True)
            standing = await self._refs.read()
        self.fetched = remote = standing.remote
        return remote.get(self._trunk, "")

    async def heads(self) -> dict[str, str]:
        """The remote's branches as last seen, by short name; this host's bookmark as it would be published."""
        standing = await self._refs.read()
        own = self._refs.own_parked(standing)
        return standing.remote | ({self.bookmark: own} if own else {})

    async def advance(self, before: str, commit: str) -> None:
        """Publish a commit on top of the trunk `before` as the trunk, and prove it. No working copy moves.

        Raises:
            Transient: the trunk moved meanwhile, or the remote cannot be reached.
            Failed: it holds a secret.

        """
        if self._vet is not None and (found := await self._vet.look((commit,), before)):
            raise holds_secret(found)
        await self._pushing.send({self._trunk: commit}, {self._trunk: before})
        await self._git.update_ref(f"{TRACKING}{self._trunk}", commit)

    async def merge(self, *, fork: str, theirs: str, ours: str, unsettled: frozenset[str] = frozenset()) -> Reconciled:
        """Merge a host's tree with the trunk's as every host does; see `reconcile`."""
        return await self._planner.merge(fork=fork, theirs=theirs, ours=ours, unsettled=unsettled)

    async def snapshot(self) -> WorkingCopy:
        """Put what is in the working copy's files into its commit; what jj has in conflict is text in it, or apart.

        Raises:
            Failed: git has the conflict in no form that we know.

        """
        here = await self._jj.working_copy()
        if here.conflict:
            here = await self._fit(here, await self._refs.read())
        self._apart = here.apart
        return here

    async def _fit(self, here: WorkingCopy, standing: Standing) -> WorkingCopy:
        if self._unsettled is None:
            raise Failed(
                "a conflict is being resolved in the working copy",
                meaning="nothing is published before it is resolved; all of it stays where it is",
                advice="git status",
            )
        head, trunk = standing.memory.head, standing.remote.get(self._trunk, "")
        base = head if head in here.parents else await self.trees.merge_base(trunk, here.commit)
        return await self._unsettled.fit(here, base)

    async def changes(self, here: WorkingCopy) -> tuple[Change, ...]:
        """What the working-copy commit changes."""
        found = await self.trees.changes(here.parents[0] if here.parents else EMPTY_TREE, here.commit)
        return tuple(change for change in found if not change.path.startswith(NOISE))

    async def left_out(self, here: WorkingCopy) -> tuple[str, ...]:
        """Files of the working copy that jj did not take in, since they are too big; ignored ones are not among them."""
        arguments = ("ls-files", "--others", "--exclude-standard", "-z")
        others = (await self._git.run("cannot list new files", *arguments)).stdout.split("\0")
        new = {path for path in others if path}
        return tuple(sorted(new - (await self.trees.entries(here.commit, new)).keys()))

    async def not_tracked(self, here: WorkingCopy) -> frozenset[str]:
        """Files of the working copy that jj did not take in, for whatever reason: ignored ones, odd names, big ones."""
        others = (await self._git.run("cannot list new files", "ls-files", "--others", "-z")).stdout.split("\0")
        new = {path for path in others if path and not path.endswith("/")}
        return frozenset(new - (await self.trees.entries(here.commit, new)).keys())

    async def untouched(self, here: WorkingCopy) -> bool:
        """Whether the working copy is what the last sync left, and nothing was changed in it since."""
        return here.empty and here.parents == ((await self._refs.read()).memory.head,)

    async def derive(self, forks: Mapping[str, str]) -> None:
        """Name the commits whose version of these paths the next edit of them comes from.

        Call it before the edit is written to the working copy. Kept until the working copy has moved on.
        """
        memory = (await self._refs.read()).memory
        await self._refs.remember(
            msgspec.structs.replace(memory, forks={**memory.forks, **remembered.encode_paths(forks)})
        )

    async def merged(self) -> tuple[str, ...]:
        """The commits in whose histories stands all that was merged; what is not there is an edit of this host only."""
        standing = await self._refs.read()
        return tuple(filter(None, (standing.memory.head, standing.remote.get(self._trunk, ""))))

    async def captured(self) -> tuple[str, ...]:
        """The working copy's commits that the home may still be as: that of the last merge, and those of `stay`."""
        memory = (await self._refs.read()).memory
        return tuple(dict.fromkeys(filter(None, (memory.captured, *memory.stayed.values()))))

    async def stay(self, origins: Mapping[str, str]) -> None:
        """Remember the commits whose version of these paths those edits were made on that stay in the home.

        They may be in no history: what was captured is published as it was merged, and a home with such an edit does not
        follow. Replaces what was remembered before.
        """
        memory, stayed = (await self._refs.read()).memory, remembered.encode_paths(origins)
        if memory.head and stayed != memory.stayed:
            await self._refs.remember(msgspec.structs.replace(memory, stayed=stayed))

    async def baseline(self) -> str:
        """The newest commit that is published, or passed the gate, and that the working copy stands on; empty if none.

        It is found by git, whose `HEAD` is what jj's working-copy commit stands on: jj would take a snapshot.
        """
        return await self._baseline(await self._refs.read(), await self._git.rev_parse("HEAD") or "")

    async def _baseline(self, standing: Standing, head: str) -> str:
        memory = standing.memory
        trunk, last = standing.remote.get(self._trunk, ""), memory.head
        if not head or head in (last, trunk):
            return head
        # The working copy has not moved since the last merge: another version would look like an edit.
        if memory.stood and await self.trees.parents(memory.captured) == (head,):
            return memory.stood
        base = await self.trees.merge_base(trunk, head)
        if await self._refs.contains(head, last) and (not base or await self._refs.contains(last, base)):
            return last
        return base

    async def parked(self) -> frozenset[str]:
        """The paths of which the working copy has our own version beside the trunk's."""
        return (await self._refs.read()).memory.conflict_paths()

    async def marked(self) -> frozenset[str]:
        """The paths that are not fit for a home: with conflict markers in them, or in conflict and no text."""
        return (await self._refs.read()).memory.marked_paths() | self._apart

    async def settled(self, here: WorkingCopy, *, push: bool) -> Published | None:
        """What the last sync published, if neither the remote nor the working copy has anything new; else None."""
        return self._settled(await self._refs.read(), here, push=push)

    async def publish(self, message: str, *, push: bool) -> Published:
        """Merge with the trunk as last fetched, push what merged and park the rest, and read the remote back.

        Repeatable: what the remote has already is not pushed again.

        Args:
            message: of the commit, where the person gave none.
            push: publish; else merge only here.

        Raises:
            Transient: the trunk moved meanwhile (the next call fetches it), or the remote cannot be reached.
            Failed: a conflict in the working copy has no form that we know, or the remote lies.

        """
        standing = await self._refs.read()
        if push and standing.memory.next is not None:
            # A push did not end well. What the remote has is asked now and not before the wait: whatever comes in between
            # would have the next push refused as well.
            await self.fetch()
            standing = await self._refs.read()
        standing = named(standing)
        here = await self.snapshot()
        if settled := self._settled(standing, here, push=push):
            return settled
        trunk = standing.remote.get(self._trunk, "")
        if not trunk and here.empty and not here.parents:
            return Published(trunk="", parked="", conflicts=(), proven=True)
        line = await self._side.line(standing, here)
        plan, stopped, withheld = await self._planner.fit(standing, here, line, message)
        memory = self._next_memory(standing, plan, here.commit, pushed=push)
        memory = msgspec.structs.replace(memory, stood=await self._baseline(standing, (*here.parents, "")[0]))
        sent = push and await self._pushing.push(standing, plan, memory)
        kept = here.commit if withheld else ""
        left_behind = await self._settle(standing, plan, memory, drop=here.parents if stopped else (), keep=kept)
        other = bool(standing.other)
        found = _published(
            memory, here, trunk=plan.trunk, parked=plan.parked, proven=push and not (other and plan.parked)
        )
        found = msgspec.structs.replace(found, other=other)
        rewritten = standing.memory.trunk if line.rewritten else ""
        found = msgspec.structs.replace(found, stopped=stopped, withheld=withheld, kept=kept)
        return msgspec.structs.replace(found, sent=sent, left_behind=left_behind, rewritten=rewritten)

    async def move(self) -> bool:
        """Put the working copy where the last merge wants it; False if it was edited meanwhile and stays.

        Repeatable. What is in the working copy is in its commit before a file is written, and that commit is hidden
        only if all of it went into the merge.
        """
        standing = await self._refs.read()
        memory = standing.memory
        if not memory.head:
            return True
        here = await self.snapshot()
        # An edit of an older version may come to nothing new: then it is the trunk's that belongs here.
        # A conflict of jj's is carried on, and stays where it is.
        merged = not (here.empty or here.in_conflict) and here.commit == memory.captured
        if here.parents != (memory.head,) or merged:
            if await self.trees.tree(here.commit) != memory.ours:
                return False
            if not await self._move(here, standing):
                return False
        parked = {path: commit for path, commit in memory.forks.items() if path in memory.conflicts}
        idle = {HOME: ""} if "gitopsd-home" in standing.local and memory.pushed and not memory.synthetic else {}
        if parked != memory.forks or idle:
            await self._refs.remember(msgspec.structs.replace(memory, forks=parked), idle)
        return True

    async def _move(self, here: WorkingCopy, standing: Standing) -> bool:
        if isinstance(self._jj, WorkTree):
            return await self._jj.move(here, standing.memory.head)
        operation = await self._jj.operation()
        try:
            return await self._move_with_jj(self._jj, here, standing)
        except GitopsdError:
            await self._jj.restore(operation)
            raise

    async def _move_with_jj(self, jj: Jj, here: WorkingCopy, standing: Standing) -> bool:
        memory, carrier = standing.memory, ""
        if carried := (here.unsettled & memory.conflict_paths()) | here.apart:
            carrier = await jj.beside(memory.head, here.raw, carried)
            await jj.edit(carrier)
        else:
            await jj.new(memory.head)
        # Both take a snapshot first: an edit of the last moment is in the commit that was left.
        left = await jj.left(here)
        if left is None:
            return True
        if left.conflict:
            left = await self._fit(left, standing)
        commit = left.raw or left.commit
        if await self.trees.tree(left.commit) != memory.ours or left.in_conflict != here.in_conflict:
            await jj.edit(commit)
            if carrier:
                await jj.abandon(carrier)
            return False
        if not await self._bookmarked(commit):
            await jj.abandon(commit)
        return True

    async def _bookmarked(self, commit: str) -> bool:
        """Whether the person gave a commit a bookmark, which jj would delete together with the change."""
        local = (await self._refs.read()).local
        return any(at == commit for name, at in local.items() if name not in (self._trunk, HOME.removeprefix(HEADS)))

    def _settled(self, standing: Standing, here: WorkingCopy, *, push: bool) -> Published | None:
        memory = standing.memory
        if not (
            memory.head
            and here.empty
            and here.parents == (memory.head,)
            and memory.trunk == standing.remote.get(self._trunk, "")
            and memory.parked == standing.remote.get(self.bookmark, "")
            and memory.forks.keys() <= set(memory.conflicts)
            and memory.pushed == push
        ):
            return None
        parked, other = memory.held or memory.parked, bool(standing.other)
        proven = push and not (other and parked)
        found = _published(memory, here, trunk=memory.trunk, parked=parked, proven=proven)
        return msgspec.structs.replace(found, other=other)

    def _next_memory(self, standing: Standing, plan: Plan, captured: str, *, pushed: bool) -> Memory:
        kept = {path: commit for path, commit in standing.memory.fork_commits().items() if path not in plan.forks}
        return Memory(
            head=plan.head,
            trunk=plan.trunk if pushed else standing.remote.get(self._trunk, ""),
            parked=plan.parked if pushed else standing.remote.get(self.bookmark, ""),
            held="" if pushed else plan.parked,
            ours=plan.ours,
            captured=captured,
            pushed=pushed,
            synthetic=plan.head != plan.trunk,
            # Forks that are settled are dropped once the working copy has moved off the edits that they are about.
            forks=remembered.encode_paths({**kept, **plan.forks}),
            conflicts=tuple(sorted(map(remembered.encode_path, plan.forks))),
            marked=tuple(sorted(map(remembered.encode_path, plan.marked))),
            stayed=standing.memory.stayed,
            id=standing.memory.id,
        )

    async def _settle(
        self, standing: Standing, plan: Plan, memory: Memory, drop: Collection[str] = (), keep: str = ""
    ) -> bool:
        """Write down what was decided, in one transaction; returns whether the local trunk was left behind.

        Args:
            standing: as before.
            plan: what was decided.
            memory: likewise.
            drop: commits that hold a secret; a local trunk that has them follows the plan, and a ref of ours keeps them.
            keep: a commit that a ref is to keep until the person removes it; empty is none.

        """
        first, pushed = not standing.memory.head, memory.pushed
        # jj can only go to a commit that a branch leads to.
        updates = {HOME: plan.head} if plan.head != plan.trunk or not pushed else {}
        if keep:
            updates[f"{WITHHELD}{keep[:12]}"] = keep
        if pushed:
            updates |= {f"{TRACKING}{self._trunk}": plan.trunk}
            updates |= {} if standing.other else {f"{TRACKING}{self.bookmark}": plan.parked}
        local = standing.local.get(self._trunk, "")
        below = ("", plan.trunk, standing.remote.get(self._trunk, ""))  # the next trunk has the last one below it
        left_behind = local not in below and not await self._git.is_ancestor(local, plan.trunk)
        if left_behind and any([await self._refs.contains(commit, local) for commit in drop]):
            updates[f"{STOPPED}{local[:12]}"] = local
            left_behind = False
        # All that the working copy stands on went into the plan, as one commit of ours or in another shape.
        left_behind = left_behind and not await self._refs.contains(memory.captured, local)
        if plan.trunk and not left_behind and isinstance(self._jj, Jj):  # a work tree's branch moves with its files
            if standing.checked_out:
                # jj takes a HEAD that moved for a checkout by git, and the old files for edits made since. It detaches
                # HEAD itself, but only once it moves the working copy.
                detach = f"option no-deref\nupdate HEAD {standing.checked_out}\n"
                await self._git.run("cannot detach HEAD", "update-ref", "--stdin", stdin=detach.encode())
            updates[f"{HEADS}{self._trunk}"] = plan.trunk
        await self._refs.remember(memory, updates)
        if first and plan.trunk and pushed and isinstance(self._jj, Jj):
            await self._jj.track(self._trunk, REMOTE)
        return left_behind


def _published(memory: Memory, here: WorkingCopy, *, trunk: str, parked: str, proven: bool) -> Published:
    parts = (memory.conflict_paths(), memory.marked_paths(), memory.conflict_paths() & here.unsettled, here.apart)
    conflicts, marked, unsettled, apart = (tuple(sorted(paths)) for paths in parts)
    found = Published(trunk=trunk, parked=parked, conflicts=conflicts, marked=marked, proven=proven)
    return msgspec.structs.replace(found, unsettled=unsettled, apart=apart)
