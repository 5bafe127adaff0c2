"""kill -9 between any two commands of a sync: nothing is lost, and plain syncs finish the work.

Between two commands that only read, nothing differs: so the sync is killed after each one that wrote something.
"""

from collections.abc import Callable

from people import Host

from gitopsd.types import SyncWord

MERGED = "one of a\ntwo\nthree\nfour\nfive\nsix\nseven of b\n"
# Commands that leave no trace, or add objects that nothing points to. `op` is `jj op log`: `jj op restore` is not part
# of a sync that goes well.
READS = frozenset(
    [
        "config",
        "ls-remote",
        "for-each-ref",
        "rev-parse",
        "merge-base",
        "diff-tree",
        "ls-tree",
        "cat-file",
        "var",
        "managed",
        "dump",
        "dump-config",
        "status",
        "rev-list",
        "ls-files",
        "op",
        "merge-tree",
        "read-tree",
        "update-index",
        "write-tree",
        "commit-tree",
    ]
)


async def a_sync_of_all_sorts(a: Host, b: Host) -> None:
    """The next sync of b captures, merges one file, parks another, publishes, and applies both to its home."""
    a.edit(".bashrc", "one", "one of a")
    a.edit(".config/app.conf", "x = 1", "x = a")
    await a.sync()
    b.edit(".bashrc", "seven", "seven of b")
    b.edit(".config/app.conf", "x = 1", "x = b")


def writes(ran: list[tuple[str, ...]]) -> list[int]:
    """The numbers of the commands that come right after one that wrote."""
    return [0, *(number for number, argv in enumerate(ran, 1) if not READS & set(argv))]


async def test_a_sync_killed_between_any_two_commands_loses_nothing(
    restore: Callable[[], tuple[Host, Host]], keep: Callable[[], None]
) -> None:
    a, b = restore()
    await a_sync_of_all_sorts(a, b)
    keep()
    assert not await b.dies(10_000)
    points = writes(b.processes.ran)
    assert len(points) > 10
    for at in points:
        a, b = restore()
        await b.dies(at)
        facts = await b.sync()
        await a.sync()
        where = f"killed before command {at}: {b.processes.ran}"
        assert facts.word is SyncWord.conflicts_preserved, where
        assert [parked.path for parked in facts.parked] == ["dot_config/app.conf"], where
        assert not facts.notices, where
        assert a.read(".bashrc") == b.read(".bashrc") == MERGED, where
        assert (a.read(".config/app.conf"), b.read(".config/app.conf")) == ("x = a\n", "x = b\n"), where
        assert a.remote.show("main", "dot_bashrc") == MERGED, where
        assert a.remote.show("gitopsd/b", "dot_config/app.conf") == "x = b\n", where


async def test_what_is_edited_after_a_kill_in_apply_is_kept(
    restore: Callable[[], tuple[Host, Host]], keep: Callable[[], None]
) -> None:
    a, b = restore()
    a.edit(".bashrc", "one", "one of a")
    await a.sync()
    keep()
    await b.dies(10_000)
    last = writes(b.processes.ran)[-4:]
    assert last
    for at in last:
        a, b = restore()
        await b.dies(at)
        b.edit(".bashrc", "seven", "seven of b")  # of the old file or of the new one
        await b.sync()
        await a.sync()
        assert a.read(".bashrc") == b.read(".bashrc") == MERGED, f"killed before command {at}"
