"""Whose a checkout is: everything that touches it runs as that person.

A repository names programs in many places: hooks, filters, a file system monitor, what ssh is. Run as its owner they can
do what the owner can do anyway. So a checkout is root's only if nobody else can write to it, or to where it stands.
"""

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from gitopsd.errors import Failed
from gitopsd.tools.process import Account


def owner_of(checkout: Path) -> Account:
    """The person that a checkout belongs to.

    Raises:
        Failed: there is no such checkout, or it is not clear whose it is.

    """
    uid = _owner(checkout, "config.checkout names a directory")
    if _owner(checkout / ".git", "a checkout has a directory `.git` of its own") != uid:
        raise _left_alone(f"{checkout} and its .git belong to different people", f"chown -R its owner {checkout}")
    if uid == 0:
        for place in _writable_by_others(checkout):
            raise _left_alone(
                f"{checkout} belongs to root, and others can write to {place}: they would act as root there",
                f"chown -R the person who edits it {checkout}, or chmod go-w {place}",
            )
    try:
        return Account.of(pwd.getpwuid(uid).pw_name)
    except KeyError:
        raise _left_alone(f"{checkout} belongs to uid {uid}, and no user has that", f"chown -R {checkout}") from None


def _owner(path: Path, expected: str) -> int:
    try:
        found = path.lstat()
    except OSError as error:
        raise _left_alone(f"{path}: {error.strerror}; {expected}", "clone the configuration there") from error
    if not stat.S_ISDIR(found.st_mode):
        raise _left_alone(f"{path} is no directory; {expected}", "name the directory itself in config.checkout")
    return found.st_uid


def _writable_by_others(checkout: Path) -> Iterator[Path]:
    """What somebody beside root could change, from the root directory down to the repository's configuration."""
    git = checkout / ".git"
    for place in (*reversed(checkout.parents), checkout, git, git / "config"):
        found = place.lstat()
        shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX
        if found.st_uid != os.geteuid() or shared or stat.S_ISLNK(found.st_mode):
            yield place


def _left_alone(message: str, advice: str) -> Failed:
    return Failed(message, meaning="the checkout is left alone; upgrades do not need it", advice=advice)
