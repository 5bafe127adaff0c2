"""One repository that many hosts share: what this host changed is merged, published or parked, and never lost.

Knows nothing of homes and chezmoi. The working copy is jj's; the merge is computed in git's object store (`trees`,
`reconcile`), where a crash leaves nothing but objects that nobody refers to; then everything is pushed in one atomic
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

import secrets
from collections.abc import Callable, Collection, Mapping

import msgspec

from gitopsd.errors import Cause, Failed, GitopsdError, Transient
from gitopsd.ports import Gate
from gitopsd.repo import memory as remembered
from gitopsd.repo.memory import Memory
from gitopsd.repo.reconcile import Reconciled, reconcile
from gitopsd.repo.settled import own_versions_at, settled_at
from gitopsd.repo.trees import EMPTY_TREE, Change, Trees
from gitopsd.repo.union import Union
from gitopsd.repo.unsettled import NOISE, Unsettled
from gitopsd.repo.vet import MESSAGE, Vet
from gitopsd.tools.git import NETWORK, Git
from gitopsd.tools.jj import Jj, WorkingCopy
from gitopsd.tools.process import Account, Processes
from gitopsd.tools.worktree import WorkTree
from gitopsd.types import Finding

_REMOTE = "origin"
_TRACKING = f"refs/remotes/{_REMOTE}/"
_HEADS = "refs/heads/"
_HOME = "refs/heads/gitopsd-home"
OWNER = "Gitopsd-Repository: "  # begins the last line of a parked commit's message: `Memory.id` of who wrote it
_STOPPED = "refs/gitopsd/stopped-"  # commits of the person that hold a secret; no push takes them along
_REFS = f"%(refname)%00%(objectname)%00%(HEAD)%00%(if:equals={remembered.REF})%(refname)%(then)%(contents)%(end)%00"


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where the refs of this repository are.

    Args:
        remote: the remote's branches as last seen, by short name; with `other`, this host's bookmark is what it left.
        local: the local branches, by short name.
        checked_out: the commit of the local branch that git's HEAD is attached to; empty if it is detached.
        memory: what the last sync left.
        other: the commit on this host's bookmark, if another host of the same name wrote it; else empty.

    """

    remote: dict[str, str]
    local: dict[str, str]
    checked_out: str
    memory: Memory
    other: str = ""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Our side of a merge.

    Args:
        base: the newest trunk commit below the working copy; empty if there is none.
        fork: the tree that our edits come from.
        ours: our tree.
        found: the working copy's tree, which may lack our parked versions.
        forks: the commits that single paths come from instead of `base`.
        old_parked: the paths of the parked change that is still open.
        below: the commits that the person made and nobody published, to go below ours; empty to leave them out.
        rewritten: the trunk does not contain any more what it did.
        listed: the message of what is parked names the files.

    """

    base: str
    fork: str
    ours: str
    found: str
    forks: dict[str, str]
    old_parked: frozenset[str] = frozenset()
    below: tuple[str, ...] = ()
    rewritten: bool = False
    listed: bool = True


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a merge decided; all its objects exist.

    Args:
        trunk: the trunk's next commit.
        parked: this host's bookmark, or empty to clear it.
        head: the commit that the working copy belongs on.
        ours: the tree of the working copy that it was made from.
        forks: of the parked paths.
        marked: the parked paths that have conflict markers in them.

    """

    trunk: str
    parked: str
    head: str
    ours: str
    forks: dict[str, str]
    marked: frozenset[str]


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
        self._vet = Vet(self._git, self.trees, gate, _REMOTE) if gate is not None else None
        self._jj: Jj | WorkTree = (
            Jj(processes, directory, account, f"{trunk}@{_REMOTE}")
            if jj
            else WorkTree(processes, self._git, directory, account, branch=trunk, identity=self.trees.identity)
        )
        self._unsettled = Unsettled(self._jj, self.trees) if isinstance(self._jj, Jj) else None
        self._apart: frozenset[str] = frozenset()  # as of the last look at the working copy
        self._trunk = trunk
        self.bookmark = f"gitopsd/{host}"
        self.fetched: dict[str, str] = {}  # the remote's branches, as the last `fetch` of this process found them
        self._same_file = same_file
        self._union = Union(union, no_lines)

    async def remote_url(self) -> str:
        """Where the remote is; empty if there is none."""
        arguments = ("config", "--get", f"remote.{_REMOTE}.url")
        return (await self._git.run("cannot read the remote", *arguments, fine=(0, 1))).stdout.strip()

    async def fetch(self) -> str:
        """Learn what the remote has; returns the trunk's commit, empty if there is none. Moves nothing.

        Raises:
            Transient: the remote cannot be reached.

        """
        heads = await self._git.ls_remote_refs(_REMOTE, f"{_HEADS}*")
        remote = {name.removeprefix(_HEADS): commit for name, commit in heads.items()}
        if remote != _seen(standing := await self._standing(), self.bookmark):
            await self._git.fetch(_REMOTE, f"+{_HEADS}*:{_TRACKING}*", prune=True)
            standing = await self._standing()
        self.fetched = remote = standing.remote
        return remote.get(self._trunk, "")

    async def heads(self) -> dict[str, str]:
        """The remote's branches as last seen, by short name; this host's bookmark as it would be published."""
        standing = await self._standing()
        own = self._own_parked(standing)
        return standing.remote | ({self.bookmark: own} if own else {})

    async def advance(self, before: str, commit: str) -> None:
        """Publish a commit on top of the trunk `before` as the trunk, and prove it. No working copy moves.

        Raises:
            Transient: the trunk moved meanwhile, or the remote cannot be reached.
            Failed: it holds a secret.

        """
        if self._vet is not None and (found := await self._vet.look((commit,), before)):
            raise _holds_secret(found)
        await self._send({self._trunk: commit}, {self._trunk: before})
        await self._git.update_ref(f"{_TRACKING}{self._trunk}", commit)

    async def merge(self, *, fork: str, theirs: str, ours: str, unsettled: frozenset[str] = frozenset()) -> Reconciled:
        """Merge a host's tree with the trunk's as every host does; see `reconcile`."""
        return await reconcile(
            self.trees,
            fork=fork,
            theirs=theirs,
            ours=ours,
            same_file=self._same_file,
            union=self._union,
            unsettled=unsettled,
        )

    async def snapshot(self) -> WorkingCopy:
        """Put what is in the working copy's files into its commit; what jj has in conflict is text in it, or apart.

        Raises:
            Failed: git has the conflict in no form that we know.

        """
        here = await self._jj.working_copy()
        if here.conflict:
            here = await self._fit(here, await self._standing())
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
        return here.empty and here.parents == ((await self._standing()).memory.head,)

    async def derive(self, forks: Mapping[str, str]) -> None:
        """Name the commits whose version of these paths the next edit of them comes from.

        Call it before the edit is written to the working copy. Kept until the working copy has moved on.
        """
        memory = (await self._standing()).memory
        await self._remember(msgspec.structs.replace(memory, forks={**memory.forks, **remembered.encode_paths(forks)}))

    async def merged(self) -> tuple[str, ...]:
        """The commits in whose histories stands all that was merged; what is not there is an edit of this host only."""
        standing = await self._standing()
        return tuple(filter(None, (standing.memory.head, standing.remote.get(self._trunk, ""))))

    async def captured(self) -> tuple[str, ...]:
        """The working copy's commit that the last merge was made from, if any: the home may still be as it has it."""
        return tuple(filter(None, ((await self._standing()).memory.captured,)))

    async def baseline(self) -> str:
        """The newest commit that is published, or passed the gate, and that the working copy stands on; empty if none.

        It is found by git, whose `HEAD` is what jj's working-copy commit stands on: jj would take a snapshot.
        """
        return await self._baseline(await self._standing(), await self._git.rev_parse("HEAD") or "")

    async def _baseline(self, standing: Standing, head: str) -> str:
        memory = standing.memory
        trunk, last = standing.remote.get(self._trunk, ""), memory.head
        if not head or head in (last, trunk):
            return head
        # The working copy has not moved since the last merge: another version would look like an edit.
        if memory.stood and await self.trees.parents(memory.captured) == (head,):
            return memory.stood
        base = await self.trees.merge_base(trunk, head)
        if await self._contains(head, last) and (not base or await self._contains(last, base)):
            return last
        return base

    async def parked(self) -> frozenset[str]:
        """The paths of which the working copy has our own version beside the trunk's."""
        return (await self._standing()).memory.conflict_paths()

    async def marked(self) -> frozenset[str]:
        """The paths that are not fit for a home: with conflict markers in them, or in conflict and no text."""
        return (await self._standing()).memory.marked_paths() | self._apart

    async def settled(self, here: WorkingCopy, *, push: bool) -> Published | None:
        """What the last sync published, if neither the remote nor the working copy has anything new; else None."""
        return self._settled(await self._standing(), here, push=push)

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
        standing = await self._standing()
        if push and standing.memory.next is not None:
            # A push did not end well. What the remote has is asked now and not before the wait: whatever comes in between
            # would have the next push refused as well.
            await self.fetch()
            standing = await self._standing()
        standing = _named(standing)
        here = await self.snapshot()
        if settled := self._settled(standing, here, push=push):
            return settled
        trunk = standing.remote.get(self._trunk, "")
        if not trunk and here.empty and not here.parents:
            return Published(trunk="", parked="", conflicts=(), proven=True)
        line = await self._line(standing, here)
        plan, stopped, withheld = await self._fit_plan(standing, here, line, message)
        memory = self._next_memory(standing, plan, here.commit, pushed=push)
        memory = msgspec.structs.replace(memory, stood=await self._baseline(standing, (*here.parents, "")[0]))
        sent = push and await self._push(standing, plan, memory)
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
        standing = await self._standing()
        memory = standing.memory
        if not memory.head:
            return True
        here = await self.snapshot()
        if here.parents != (memory.head,):
            if await self.trees.tree(here.commit) != memory.ours:
                return False
            if not await self._move(here, standing):
                return False
        parked = {path: commit for path, commit in memory.forks.items() if path in memory.conflicts}
        idle = {_HOME: ""} if "gitopsd-home" in standing.local and memory.pushed and not memory.synthetic else {}
        if parked != memory.forks or idle:
            await self._remember(msgspec.structs.replace(memory, forks=parked), idle)
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
        left = await jj.change(here.change)
        if left is None:
            return True
        if left.conflict:
            left = await self._fit(left, standing)
        if await self.trees.tree(left.commit) != memory.ours or left.in_conflict != here.in_conflict:
            await jj.edit(here.change)
            if carrier:
                await jj.abandon(carrier)
            return False
        if not await self._bookmarked(left.raw or left.commit):
            await jj.abandon(here.change)
        return True

    async def _bookmarked(self, commit: str) -> bool:
        """Whether the person gave a commit a bookmark, which jj would delete together with the change."""
        local = (await self._standing()).local
        return any(at == commit for name, at in local.items() if name not in (self._trunk, _HOME.removeprefix(_HEADS)))

    async def _standing(self) -> Standing:
        arguments = ("for-each-ref", f"--format={_REFS}", _TRACKING, _HEADS, remembered.REF)
        fields = (await self._git.run("cannot read the refs", *arguments)).stdout.split("\0")
        remote, local, checked_out, memory = {}, {}, "", Memory()
        for name, commit, head, content in zip(fields[0::4], fields[1::4], fields[2::4], fields[3::4], strict=False):
            match name.strip():
                case remembered.REF:
                    memory = remembered.decode(content)
                case ref if ref.startswith(_TRACKING):
                    remote[ref.removeprefix(_TRACKING)] = commit
                case ref:
                    local[ref.removeprefix(_HEADS)] = commit
                    checked_out = commit if head == "*" else checked_out
        remote.pop("HEAD", None)  # what `git clone` notes as the remote's default branch
        bookmark = remote.get(self.bookmark, "")
        other = bookmark if await self._is_anothers(bookmark, memory) else ""
        # The push was atomic: it has arrived if the trunk has.
        pushed = memory.next if memory.next is not None and (other or memory.next.parked == bookmark) else None
        if pushed is not None and await self._contains(remote.get(self._trunk, ""), pushed.trunk):
            memory = pushed
        if other:
            remote |= {self.bookmark: memory.parked}
            remote = {name: commit for name, commit in remote.items() if commit}
        return Standing(remote=remote, local=local, checked_out=checked_out, memory=memory, other=other)

    async def _is_anothers(self, commit: str, memory: Memory) -> bool:
        """Whether another host of the same name wrote this commit of our bookmark."""
        known = (memory, memory.next or memory)
        if not memory.head or commit in ("", *(each.parked for each in known)):
            return False
        message = (await self._git.run("cannot read a commit", "show", "--no-patch", "--format=%B", commit)).stdout
        last = message.strip().rpartition("\n")[2]
        return last.startswith(OWNER) and last.removeprefix(OWNER) not in {each.id for each in known}

    async def _contains(self, commit: str, ancestor: str) -> bool:
        return bool(commit and ancestor) and (commit == ancestor or await self._git.is_ancestor(ancestor, commit))

    def _own_parked(self, standing: Standing) -> str:
        """What this host has parked, published or not; empty if nothing is."""
        return standing.memory.held or standing.remote.get(self.bookmark, "")

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

    async def _line(self, standing: Standing, here: WorkingCopy) -> Line:
        """Find this host's side: what we have, and what it comes from."""
        trunk, memory = standing.remote.get(self._trunk, ""), standing.memory
        base = trunk if trunk in here.parents else await self.trees.merge_base(trunk, here.commit)
        rewritten = await self._rewritten(standing)
        if rewritten and await self._stands_on(here, memory.trunk):
            base = memory.trunk  # what was taken out of the trunk is no edit of ours, to be put in again
        base_tree = await self.trees.tree(base)
        found = ours = await self.trees.tree(here.commit)
        at_home = await self._stands_on(here, memory.head)
        forks, open_paths = memory.fork_commits(), frozenset[str]()
        if parked := self._own_parked(standing):
            origin = await self.trees.merge_base(trunk, parked)
            if origin == parked:
                # The trunk has taken it in: whatever it made of it is the answer.
                forks |= dict.fromkeys(memory.conflict_paths(), parked)
            else:
                changes = await self.trees.changes(origin or EMPTY_TREE, parked)
                open_paths = frozenset(path for change in changes for path in (change.path, change.origin))
                forks = dict.fromkeys(open_paths, origin) | forks
                waiting = {path: forks.get(path, origin) for path in open_paths | memory.conflict_paths()}
                forks |= await settled_at(self.trees, trunk, parked, waiting, self._same_file)
                if not at_home:
                    left = await self._left_behind(here, memory, base_tree, open_paths)
                    ours = await self._put_back(ours, base_tree, parked, left)
        fork = base_tree
        if not (at_home or rewritten) and await self._merged_before(here, memory, trunk):
            fork = await self.trees.tree(memory.captured)
        fork = await self._forked(fork, forks)
        flat = rewritten or (at_home and memory.synthetic)
        return Line(
            base=base,
            fork=fork,
            ours=ours,
            found=found,
            forks=forks,
            old_parked=open_paths,
            below=() if flat else await self._below(base, here),
            rewritten=rewritten,
        )

    async def _forked(self, fork: str, forks: Mapping[str, str]) -> str:
        """A tree with some paths as other commits have them."""
        for commit in set(forks.values()):
            paths = [path for path, origin in forks.items() if origin == commit]
            entries = await self.trees.entries(commit or EMPTY_TREE, paths)
            fork = await self.trees.replace(fork, {path: entries.get(path) for path in paths})
        return fork

    async def _merged_before(self, here: WorkingCopy, memory: Memory, trunk: str) -> bool:
        """Whether the working copy still stands where the last merge found it: then only what is new is an edit.

        It could not move, since its files were edited at that moment, or we died before it did.
        """
        return memory.pushed and await self._contains(trunk, memory.trunk) and await self._goes_on(here, memory)

    async def _goes_on(self, here: WorkingCopy, memory: Memory) -> bool:
        """Whether the working copy is what the last merge was made from, edited further."""
        if not memory.captured:
            return False
        return here.parents == await self.trees.parents(memory.captured) or await self._stands_on(here, memory.captured)

    async def _left_behind(
        self, here: WorkingCopy, memory: Memory, base_tree: str, paths: frozenset[str]
    ) -> frozenset[str]:
        """Those of the parked paths that the working copy cannot have: all, unless it had our version and goes on."""
        if not await self._goes_on(here, memory):
            return paths
        had, then = await self.trees.entries(memory.captured, paths), await self.trees.entries(base_tree, paths)
        return frozenset(path for path in paths if had.get(path) == then.get(path))

    async def _rewritten(self, standing: Standing) -> bool:
        """Whether the trunk does not contain any more what it contained at the last sync."""
        trunk, before = standing.remote.get(self._trunk, ""), standing.memory.trunk
        return bool(trunk and before) and trunk != before and not await self._git.is_ancestor(before, trunk)

    async def _stands_on(self, here: WorkingCopy, commit: str) -> bool:
        return bool(commit) and (commit in here.parents or await self._git.is_ancestor(commit, here.commit))

    async def _put_back(self, ours: str, base_tree: str, parked: str, paths: frozenset[str]) -> str:
        """Our tree with the parked versions that the working copy left behind (a fresh clone; a person's `jj new`)."""
        now, then = await self.trees.entries(ours, paths), await self.trees.entries(base_tree, paths)
        own = await self.trees.entries(parked, paths)
        return await self.trees.replace(ours, {p: own.get(p) for p in paths if now.get(p) == then.get(p)})

    async def _below(self, base: str, here: WorkingCopy) -> tuple[str, ...]:
        """The person's own commits between the trunk and the working copy, if they can be published as they are."""
        if here.parents in ((base,), ()) or here.conflict:
            return ()
        revset = f"::{here.commit} ~ ::{base}" if base else f"::{here.commit}"
        conflict = isinstance(self._jj, Jj) and await self._jj.any_conflict(revset)
        return () if conflict else here.parents

    async def _fit_plan(
        self, standing: Standing, here: WorkingCopy, line: Line, message: str
    ) -> tuple[Plan, tuple[Finding, ...], tuple[str, ...]]:
        """A plan that publishes no secret, what was found, and the paths that were left out of it for that."""
        description = here.description.strip()
        plan, trunk = (
            await self._plan(standing, here, line, description or message),
            standing.remote.get(self._trunk, ""),
        )
        if self._vet is None or not (found := await self._vet.look((plan.trunk, plan.parked), trunk)):
            return plan, (), ()
        # Commits of the person are not published as they are then: an older one may have what the newest has not.
        # Nor is what they say, if that is where it is: a name in the list of what is parked may hold one.
        line = msgspec.structs.replace(line, below=(), listed=MESSAGE not in found)
        message = message if MESSAGE in found else description or message
        plan, paths = await self._plan(standing, here, line, message), frozenset[str]()
        if newest := await self._vet.look((plan.trunk, plan.parked), trunk):
            paths = await self._belonging(line, newest.keys())
            before = await self.trees.entries(line.fork, paths)
            ours = await self.trees.replace(line.ours, {path: before.get(path) for path in paths})
            plan = await self._plan(standing, here, msgspec.structs.replace(line, ours=ours), message)
            if left := await self._vet.look((plan.trunk, plan.parked), trunk):
                raise _holds_secret(left)
        return plan, tuple(finding for findings in found.values() for finding in findings), tuple(sorted(paths))

    async def _belonging(self, line: Line, paths: Collection[str]) -> frozenset[str]:
        """Those of these paths that we changed, with the other names of the same files."""
        changes = await self.trees.changes(line.fork, line.ours)
        grown, files = set(paths), set(map(self._same_file, paths))
        while True:
            more = {
                path
                for change in changes
                for path in (change.path, change.origin)
                if {change.path, change.origin} & grown or self._same_file(path) in files
            }
            if more <= grown:
                return frozenset(grown & {path for change in changes for path in (change.path, change.origin)})
            grown |= more
            files |= set(map(self._same_file, more))

    async def _plan(self, standing: Standing, here: WorkingCopy, line: Line, message: str) -> Plan:
        trunk = standing.remote.get(self._trunk, "")
        theirs = await self.trees.tree(trunk)
        merged = await self.merge(fork=line.fork, theirs=theirs, ours=line.ours, unsettled=here.unsettled)
        if (unsettled := merged.conflicts - merged.marked - line.forks.keys()) and line.base and not line.rewritten:
            tips = (here.commit, *(await self._jj.earlier(here) if isinstance(self._jj, Jj) else ()))
            if forks := await own_versions_at(self.trees, trunk, tips, line.base, unsettled):
                fork = await self._forked(line.fork, forks)
                line = msgspec.structs.replace(line, fork=fork, forks=line.forks | forks)
                merged = await self.merge(fork=fork, theirs=theirs, ours=line.ours, unsettled=here.unsettled)
        new_trunk = trunk
        if merged.trunk != theirs or not trunk:
            new_trunk = await self._next_trunk(trunk, merged, line, message)
        forks = {path: line.forks.get(path, line.base) for path in merged.conflicts}
        parked = await self._next_parked(standing, merged, line, message) if merged.conflicts else ""
        head = new_trunk
        if merged.home != merged.trunk:
            note = f"what {self.bookmark.removeprefix('gitopsd/')} holds while a change of it is parked\n"
            head = await self.trees.commit(merged.home, (new_trunk, parked), note)
        marked = merged.marked & merged.conflicts
        return Plan(trunk=new_trunk, parked=parked, head=head, ours=line.found, forks=forks, marked=marked)

    async def _next_trunk(self, trunk: str, merged: Reconciled, line: Line, message: str) -> str:
        # A commit of ours may be an ancestor of the trunk only if all of it is in the trunk: else the next merge, by
        # whomever, would take the missing part for something that was removed on purpose.
        below = () if merged.conflicts else line.below
        if not below:
            return await self.trees.commit(merged.trunk, (trunk,) if trunk else (), message)
        ahead = trunk == line.base
        if ahead and len(below) == 1 and await self.trees.tree(below[0]) == merged.trunk:
            return below[0]
        return await self.trees.commit(merged.trunk, below if ahead else (trunk, *below), message)

    async def _next_parked(self, standing: Standing, merged: Reconciled, line: Line, message: str) -> str:
        """The commit for this host's bookmark: the conflicting edits, on a trunk commit that is older than them all."""
        paths = merged.conflicts
        origin = line.base
        for commit in {line.forks[path] for path in paths if path in line.forks}:
            origin = await self.trees.merge_base(origin, commit)
        own = await self.trees.entries(line.ours, paths)
        tree, files = await self.trees.tree(origin), set(map(self._same_file, paths))
        # The older commit may know the file by another name.
        old_names = [path for path in await self.trees.paths(tree) if self._same_file(path) in files]
        tree = await self.trees.replace(tree, {**dict.fromkeys(old_names), **{path: own.get(path) for path in paths}})
        before = self._own_parked(standing)
        grows = bool(line.old_parked) and line.old_parked <= paths
        if grows and await self.trees.tree(before) == tree:
            return before
        named = "\n".join(sorted(path.encode(errors="replace").decode() for path in paths)) if line.listed else "a file"
        text = f"{message}\n\nParked: conflicts with {self._trunk} in\n{named}\n\n{OWNER}{standing.memory.id}\n"
        parent = before if grows else origin
        return await self.trees.commit(tree, (parent,) if parent else (), text)

    async def _push(self, standing: Standing, plan: Plan, memory: Memory) -> bool:
        """Push trunk and bookmark together or not at all, and prove it; False if the remote has it all already."""
        wanted = {self._trunk: plan.trunk} | ({} if standing.other else {self.bookmark: plan.parked})
        old = {name: standing.remote.get(name, "") for name in wanted}
        if wanted == old:
            return False
        await self._remember(msgspec.structs.replace(standing.memory, next=memory))
        return await self._send(wanted, old)

    async def _send(self, wanted: Mapping[str, str], old: Mapping[str, str]) -> bool:
        changed = [name for name in wanted if wanted[name] != old[name]]
        if not changed:
            return False
        # The trunk is not forced. The bookmark is: only this host writes it, and the lease proves even that.
        force = [f"--force-with-lease={_HEADS}{self.bookmark}:{old[self.bookmark]}"] if self.bookmark in changed else []
        refspecs = [f"{wanted[name]}:{_HEADS}{name}" for name in changed]
        await self._git.run(
            *("cannot push", "push", "--quiet", "--atomic", "--no-verify", "--no-follow-tags", *force),
            *("--", _REMOTE, *refspecs),
            timeout=NETWORK,
        )
        await self._prove(wanted, old)
        return True

    async def _prove(self, wanted: Mapping[str, str], old: Mapping[str, str]) -> None:
        heads = await self._git.ls_remote_refs(_REMOTE, *(f"{_HEADS}{name}" for name in wanted))
        found = {name: heads.get(f"{_HEADS}{name}", "") for name in wanted}
        if found == wanted:
            return
        if found == old:
            raise Failed(
                f"the push to {_REMOTE} ended well, and yet the remote has nothing of it",
                meaning="everything is committed on this host; the next sync pushes it again",
                advice=f"git ls-remote {_REMOTE}",
            )
        # By git's own refs the push has arrived. Whether it is still there can only the remote tell.
        await self.fetch()
        raise Transient(f"{_REMOTE} moved while it was read back", cause=Cause.remote_moved)

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
            keep: a commit that a ref of ours is to keep as well; empty is none.

        """
        first, pushed = not standing.memory.head, memory.pushed
        # jj can only go to a commit that a branch leads to.
        updates = {_HOME: plan.head} if plan.head != plan.trunk or not pushed else {}
        if keep:
            updates[f"{_STOPPED}{keep[:12]}"] = keep
        if pushed:
            updates |= {f"{_TRACKING}{self._trunk}": plan.trunk}
            updates |= {} if standing.other else {f"{_TRACKING}{self.bookmark}": plan.parked}
        local = standing.local.get(self._trunk, "")
        below = ("", plan.trunk, standing.remote.get(self._trunk, ""))  # the next trunk has the last one below it
        left_behind = local not in below and not await self._git.is_ancestor(local, plan.trunk)
        if left_behind and any([await self._contains(commit, local) for commit in drop]):
            updates[f"{_STOPPED}{local[:12]}"] = local
            left_behind = False
        # All that the working copy stands on went into the plan, as one commit of ours or in another shape.
        left_behind = left_behind and not await self._contains(memory.captured, local)
        if plan.trunk and not left_behind and isinstance(self._jj, Jj):  # a work tree's branch moves with its files
            if standing.checked_out:
                # jj takes a HEAD that moved for a checkout by git, and the old files for edits made since. It detaches
                # HEAD itself, but only once it moves the working copy.
                detach = f"option no-deref\nupdate HEAD {standing.checked_out}\n"
                await self._git.run("cannot detach HEAD", "update-ref", "--stdin", stdin=detach.encode())
            updates[f"{_HEADS}{self._trunk}"] = plan.trunk
        await self._remember(memory, updates)
        if first and plan.trunk and pushed and isinstance(self._jj, Jj):
            await self._jj.track(self._trunk, _REMOTE)
        return left_behind

    async def _remember(self, memory: Memory, updates: Mapping[str, str] | None = None) -> None:
        """Move refs together with the memory; an empty commit takes the ref away."""
        named = [commit for known in (memory, memory.next) if known for commit in (known.head, known.captured)]
        parents = dict.fromkeys(filter(None, named))  # keeps them from being collected
        note = await self.trees.commit(EMPTY_TREE, parents, memory.encode())
        refs = {**(updates or {}), remembered.REF: note}
        lines = [f"update {ref} {commit or '0' * 40}" for ref, commit in refs.items()]
        await self._git.run(
            "cannot write refs", "update-ref", "--stdin", stdin="".join(f"{line}\n" for line in lines).encode()
        )


def _named(standing: Standing) -> Standing:
    """With a name for this repository, if it has none yet."""
    if standing.memory.id:
        return standing
    memory = msgspec.structs.replace(standing.memory, id=secrets.token_hex(8))
    return msgspec.structs.replace(standing, memory=memory)


def _seen(standing: Standing, bookmark: str) -> dict[str, str]:
    """The remote's branches as they really were."""
    return standing.remote | ({bookmark: standing.other} if standing.other else {})


def _published(memory: Memory, here: WorkingCopy, *, trunk: str, parked: str, proven: bool) -> Published:
    parts = (memory.conflict_paths(), memory.marked_paths(), memory.conflict_paths() & here.unsettled, here.apart)
    conflicts, marked, unsettled, apart = (tuple(sorted(paths)) for paths in parts)
    found = Published(trunk=trunk, parked=parked, conflicts=conflicts, marked=marked, proven=proven)
    return msgspec.structs.replace(found, unsettled=unsettled, apart=apart)


def _holds_secret(found: Mapping[str, tuple[Finding, ...]]) -> Failed:
    places = ", ".join(f"{each.path}:{each.line} ({each.rule})" for findings in found.values() for each in findings)
    return Failed(
        f"it looks like a secret: {places}",
        meaning="nothing was published",
        advice="take it out; or, if it is none, gitopsctl secrets allow FINGERPRINT --reason TEXT",
    )
