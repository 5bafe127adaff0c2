"""Who may call what: one table, decided by the credentials that the kernel gives for the peer (unix(7), SO_PEERCRED).

The socket file itself is open to all local users; this table is what keeps them apart. A method that is not in the
table may be called by nobody.
"""

import enum
import grp
import os
import pwd
import socket
import struct

import msgspec

from gitopsd.errors import NotPermitted

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


class Who(enum.Enum):
    """Who may call a method."""

    anyone = "anyone"  # every local user
    oneself = "oneself"  # every user for their own dotfiles, and the admins for everybody's
    admins = "admins"  # root, and the members of `[control] group`


TABLE: dict[str, Who] = {
    "org.varlink.service.GetInfo": Who.anyone,
    "org.varlink.service.GetInterfaceDescription": Who.anyone,
    # Read only; `privacy` leaves out what concerns another person's home.
    "io.gitopsd.Status.Get": Who.anyone,
    "io.gitopsd.Status.Watch": Who.anyone,
    "io.gitopsd.Status.History": Who.anyone,
    "io.gitopsd.Status.Show": Who.anyone,
    "io.gitopsd.Status.Follow": Who.anyone,
    "io.gitopsd.Status.Metrics": Who.anyone,
    "io.gitopsd.Status.Conflicts": Who.oneself,
    # Changes something.
    "io.gitopsd.Control.Sync": Who.oneself,
    "io.gitopsd.Control.Resolve": Who.oneself,
    "io.gitopsd.Control.Initialize": Who.oneself,
    "io.gitopsd.Control.Adopt": Who.oneself,
    "io.gitopsd.Control.Upgrade": Who.admins,
    "io.gitopsd.Control.Retry": Who.admins,
    "io.gitopsd.Control.Rollback": Who.admins,
    "io.gitopsd.Control.Suspend": Who.admins,
    "io.gitopsd.Control.Resume": Who.admins,
    "io.gitopsd.Control.PinGolden": Who.admins,
    "io.gitopsd.Control.UnpinGolden": Who.admins,
    "io.gitopsd.Control.ResetBoots": Who.admins,
}


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """Who connected, as the kernel recorded it at connect(2).

    Args:
        pid: the process.
        uid: its effective user id.
        gid: its effective group id.

    """

    pid: int
    uid: int
    gid: int


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls, as far as the decision needs it.

    Args:
        uid: the user id.
        user: the login name; empty if this host knows none for the uid.
        admin: root or a member of the control group.

    """

    uid: int
    user: str
    admin: bool

    def __str__(self) -> str:
        return self.user or f"uid {self.uid}"


def peer_of(connection: socket.socket) -> Credentials:
    """Ask the kernel who is at the other end of a Unix socket."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    return Credentials(pid=pid, uid=uid, gid=gid)


def identify(credentials: Credentials, group: str) -> Peer:
    """Look up the name and the groups of a user, now: a person who left the group has lost the right at once.

    It asks the name service, which may take its time while the system is being switched: not for the event loop.

    Args:
        credentials: of the peer.
        group: `[control] group`; empty means that only root is an admin.

    """
    try:
        entry = pwd.getpwuid(credentials.uid)
    except KeyError:
        return Peer(uid=credentials.uid, user="", admin=credentials.uid == 0)
    admin = credentials.uid == 0 or _is_member(entry, group)
    return Peer(uid=credentials.uid, user=entry.pw_name, admin=admin)


def _is_member(entry: pwd.struct_passwd, group: str) -> bool:
    if not group:
        return False
    try:
        wanted = grp.getgrnam(group).gr_gid
    except KeyError:  # a group that is not there has no members
        return False
    return wanted in os.getgrouplist(entry.pw_name, entry.pw_gid)


def check(method: str, peer: Peer, user: object = None) -> None:
    """Refuse the call unless the table permits it.

    Args:
        method: its full name, such as `io.gitopsd.Control.Sync`.
        peer: who calls.
        user: the parameter of that name, as it came from the client; None is the peer themselves.

    Raises:
        NotPermitted: with what the peer can do about it.

    """
    who = TABLE.get(method)
    if who is Who.anyone or (who is not None and peer.admin):
        return
    verb = method.rpartition(".")[2]
    if who is Who.oneself:
        if peer.user and user in (None, peer.user):
            return
        raise NotPermitted(
            f"{peer} may ask for {verb} of their own dotfiles only",
            meaning="nothing was changed",
            advice="the same command without a user, or with sudo",
        )
    raise NotPermitted(
        f"{peer} may not ask for {verb}: that is for root and the members of the group in `[control] group`",
        meaning="nothing was changed",
        advice="the same command with sudo",
    )
