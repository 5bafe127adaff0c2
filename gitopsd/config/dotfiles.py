"""`[[dotfiles]]`: one person's files."""

import typing

from gitopsd.config.kinds import Section


class MergeConfig(Section, frozen=True, kw_only=True):
    """`[dotfiles.merge]`: files that are merged in a way of their own, for the `[[dotfiles]]` entry above it.

    Args:
        union: patterns of repository paths, such as `dot_bash_history` or `**/known_hosts`. These are lists of lines:
            where both sides changed the same lines, both are kept and nobody is asked.

    """

    union: tuple[str, ...] = ()


class DotfilesConfig(Section, frozen=True, kw_only=True):
    """`[[dotfiles]]`: one person of this host whose dotfiles are kept in step.

    Args:
        user: login name; every command for these dotfiles runs as this person.
        repo_url: the remote, as git takes it.
        trunk: the branch that all hosts share.
        source: chezmoi's source directory, relative to the home.
        auto_commit: capture edits of the home.
        auto_push: publish what was captured.
        deletions: what to do with a file that was deleted in the home: `report` it, or `capture` it, which takes it
            out of the repository. A home that looks lost deletes nothing.
        ssh_key: a private key, which this person can read: the one that is shown to the remote, and no other. Host keys
            are always checked: a remote that ssh does not know is refused.
        merge: see below.

    """

    user: str
    repo_url: str
    trunk: str = "main"
    source: str = ".local/share/chezmoi"
    auto_commit: bool = True
    auto_push: bool = True
    deletions: typing.Literal["report", "capture"] = "report"
    ssh_key: str = ""
    merge: MergeConfig = MergeConfig()
