"""Where the refs of a repository are, what the last sync left there, and how both move: in one transaction."""

import secrets
from collections.abc import Mapping

import msgspec

from gitopsd.repo import memory as remembered
from gitopsd.repo.memory import Memory
from gitopsd.repo.trees import EMPTY_TREE, Trees
from gitopsd.tools.git import Git

REMOTE = "origin"
TRACKING = f"refs/remotes/{REMOTE}/"
HEADS = "refs/heads/"
HOME = "refs/heads/gitopsd-home"
OWNER = "Gitopsd-Repository: "  # begins the last line of a parked commit's message: `Memory.id` of who wrote it
STOPPED = "refs/gitopsd/stopped-"  # commits of the person that hold a secret; no push takes them along
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


class Refs:
    """Reads and moves them.

    Args:
        git: of the repository.
        trees: its objects.
        trunk: the branch that all hosts share.
        bookmark: the branch that only this host writes.

    """

    def __init__(self, git: Git, trees: Trees, *, trunk: str, bookmark: str) -> None:
        self._git = git
        self._trees = trees
        self._trunk = trunk
        self._bookmark = bookmark

    async def read(self) -> Standing:
        """Where they are now."""
        arguments = ("for-each-ref", f"--format={_REFS}", TRACKING, HEADS, remembered.REF)
        fields = (await self._git.run("cannot read the refs", *arguments)).stdout.split("\0")
        remote, local, checked_out, memory = {}, {}, "", Memory()
        for name, commit, head, content in zip(fields[0::4], fields[1::4], fields[2::4], fields[3::4], strict=False):
            match name.strip():
                case remembered.REF:
                    memory = remembered.decode(content)
                case ref if ref.startswith(TRACKING):
                    remote[ref.removeprefix(TRACKING)] = commit
                case ref:
                    local[ref.removeprefix(HEADS)] = commit
                    checked_out = commit if head == "*" else checked_out
        remote.pop("HEAD", None)  # what `git clone` notes as the remote's default branch
        bookmark = remote.get(self._bookmark, "")
        other = bookmark if await self._is_anothers(bookmark, memory) else ""
        # The push was atomic: it has arrived if the trunk has.
        pushed = memory.next if memory.next is not None and (other or memory.next.parked == bookmark) else None
        if pushed is not None and await self.contains(remote.get(self._trunk, ""), pushed.trunk):
            memory = pushed
        if other:
            remote |= {self._bookmark: memory.parked}
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

    async def contains(self, commit: str, ancestor: str) -> bool:
        """Whether one commit is the other, or a descendant of it; the empty name is no commit."""
        return bool(commit and ancestor) and (commit == ancestor or await self._git.is_ancestor(ancestor, commit))

    def own_parked(self, standing: Standing) -> str:
        """What this host has parked, published or not; empty if nothing is."""
        return standing.memory.held or standing.remote.get(self._bookmark, "")

    async def remember(self, memory: Memory, updates: Mapping[str, str] | None = None) -> None:
        """Move refs together with the memory; an empty commit takes the ref away."""
        both = [known for known in (memory, memory.next) if known]
        named = [commit for known in both for commit in (known.head, known.captured, *known.stayed.values())]
        parents = dict.fromkeys(filter(None, named))  # keeps them from being collected
        note = await self._trees.commit(EMPTY_TREE, parents, memory.encode())
        refs = {**(updates or {}), remembered.REF: note}
        lines = [f"update {ref} {commit or '0' * 40}" for ref, commit in refs.items()]
        await self._git.run(
            "cannot write refs", "update-ref", "--stdin", stdin="".join(f"{line}\n" for line in lines).encode()
        )


def named(standing: Standing) -> Standing:
    """With a name for this repository, if it has none yet."""
    if standing.memory.id:
        return standing
    memory = msgspec.structs.replace(standing.memory, id=secrets.token_hex(8))
    return msgspec.structs.replace(standing, memory=memory)


def seen(standing: Standing, bookmark: str) -> dict[str, str]:
    """The remote's branches as they really were."""
    return standing.remote | ({bookmark: standing.other} if standing.other else {})
