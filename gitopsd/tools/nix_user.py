"""Who evaluates and builds: a system user without rights of its own, who asks the nix daemon for what is built.

Whoever may push to the configuration decides what root runs. But what is only evaluated has not passed its checks, and
an evaluation that is not pure reads what its user may read, and puts it into the store, which everybody may read.
"""

import os
import shutil
from pathlib import Path

import msgspec

from gitopsd.errors import Failed, GitopsdError
from gitopsd.tools.process import Account, Processes

NIX = ("nix", "--extra-experimental-features", "nix-command flakes")
ROOT = "root"
WORKSHOP = Path("/var/cache/gitopsd-build")
_ANSWER = 20.0  # seconds in which the nix daemon should answer
_HOME = "home"


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """Who evaluates and builds.

    Args:
        account: the build user; None is root.
        env: what nix needs to know of it.
        why_root: why it is root; empty if it is not.
        advice: what a person can do about that.

    """

    account: Account | None = None
    env: dict[str, str] = {}
    why_root: str = ""
    advice: str = ""


class Workshop:
    """What belongs to a build under way, in one directory, `WORKSHOP`.

        source        GC root of what is evaluated
        input, …      GC roots of its inputs, numbered by nix
        flake.lock    which inputs those are
        home/         the build user's: nix's cache, and for a moment the GC root of what it has built

    The directory is root's: in one of the build user's own, root would write where the build user's links lead.

    Args:
        place: the directory; it is created if need be.

    """

    def __init__(self, place: Path) -> None:
        self.source = place / "source"
        self.inputs = place / "input"
        self.lock_file = place / "flake.lock"
        self.home = place / _HOME
        self.result = self.home / "result"
        self._place = place

    def open(self, worker: Worker) -> None:
        """Make the directories, and clear away what an interrupted build has left.

        Raises:
            Failed: it cannot be done.

        """
        account = worker.account
        try:
            self._place.mkdir(mode=0o755, exist_ok=True)
            if account is not None:
                if self.home.exists() and self.home.stat().st_uid != account.uid:
                    shutil.rmtree(self.home)  # of a user of that name who had another number
                self.home.mkdir(mode=0o700, exist_ok=True)
                os.chown(self.home, account.uid, account.gid)
            self.clear()
        except OSError as error:
            raise Failed(
                f"cannot make {error.filename or self._place}: {error.strerror}",
                meaning="nothing can be built; the system is unchanged, and the revision stays eligible",
                advice=f"see what is wrong with {self._place.parent}, then `gitopsctl upgrade`",
            ) from error

    def clear(self) -> None:
        """Drop all but nix's cache."""
        for path in (self.source, *self._place.glob(f"{self.inputs.name}*"), self.lock_file, self.result):
            path.unlink(missing_ok=True)


async def worker(processes: Processes, user: str, place: Path) -> Worker:
    """Find out who can build here: the build user if there is one and the nix daemon serves it, else root.

    Args:
        processes: starts nix.
        user: the build user's name; `root` is nobody else.
        place: see `Workshop`.

    """
    if user == ROOT:
        return Worker(why_root="config.build_user says so", advice="name a system user as config.build_user")
    try:
        account = Account.of(user)
    except Failed:
        return Worker(
            why_root=f"there is no user {user!r} on this host",
            advice=f"useradd --system --user-group --home-dir {place / _HOME} {user} (on NixOS, declare it in users.users)",
        )
    if account.uid == 0:
        return Worker(why_root=f"{user!r} is root", advice="name a system user as config.build_user")
    home = str(place / _HOME)
    env = {"HOME": home, "XDG_CACHE_HOME": f"{home}/.cache", "NIX_REMOTE": "daemon"}
    why = await _refusal(processes, account, env)
    if why:
        return Worker(
            why_root=f"the nix daemon does not serve {user!r}: {why}",
            advice=f"systemctl enable --now nix-daemon.socket; in nix.conf, let `allowed-users` have {user}",
        )
    return Worker(account=account, env=env)


async def _refusal(processes: Processes, account: Account, env: dict[str, str]) -> str:
    """Why the nix daemon does not serve this user; empty if it does."""
    ask = (*NIX, "store", "info")
    try:
        result = await processes.run(ask, timeout=_ANSWER, account=account, cwd="/", env=env, check=False)
    except GitopsdError as error:
        return error.message
    said = result.tail().splitlines()
    return "" if result.status == 0 else said[-1].strip() if said else f"exit status {result.status}"
