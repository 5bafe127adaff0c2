"""Who may call what."""

import grp
import os
import pwd
import socket

import pytest
from asyncvarlink import varlinksignature
from asyncvarlink.serviceinterface import VarlinkServiceInterface
from unit.test_control_fakes import KEN, NOBODY, RAIN, ROOT, WHEEL

from gitopsd.control import access
from gitopsd.control.access import Credentials, Peer, Who
from gitopsd.control.interfaces import ControlInterface, StatusInterface
from gitopsd.errors import NotPermitted

CONFLICTS = "io.gitopsd.Status.Conflicts"  # what stands in a person's files
STATUS = [method for method in access.TABLE if method.startswith("io.gitopsd.Status.") and method != CONFLICTS]
OWN = [method for method, who in access.TABLE.items() if who is Who.oneself]
UPGRADE, RETRY = (f"io.gitopsd.Control.{verb}" for verb in ("Upgrade", "Retry"))

STEERING = [f"io.gitopsd.Control.{verb}" for verb in ("Rollback", "Suspend", "Resume")]


def may(method: str, peer: Peer, user: object = None) -> bool:
    try:
        access.check(method, peer, user)
    except NotPermitted:
        return False
    return True


def test_the_table_has_a_row_for_every_method_and_no_other() -> None:
    methods = {
        f"{interface.name}.{name}"
        for interface in (StatusInterface, ControlInterface, VarlinkServiceInterface)
        for name in dir(interface)
        if varlinksignature(getattr(interface, name)) is not None
    }
    assert set(access.TABLE) == methods


@pytest.mark.parametrize("method", STATUS)
@pytest.mark.parametrize("peer", [ROOT, WHEEL, RAIN, NOBODY], ids=str)
def test_everybody_may_look(method: str, peer: Peer) -> None:
    assert may(method, peer)


@pytest.mark.parametrize("method", [UPGRADE, RETRY, *STEERING])
def test_the_system_is_for_admins(method: str) -> None:
    assert may(method, ROOT)
    assert may(method, WHEEL)
    assert not may(method, RAIN)
    assert not may(method, NOBODY)


@pytest.mark.parametrize(
    ("peer", "user", "allowed"),
    [
        (RAIN, None, True),
        (RAIN, "rain", True),
        (RAIN, "ken", False),
        (RAIN, "", False),
        (RAIN, 5, False),
        (KEN, "rain", False),
        (WHEEL, "rain", True),
        (ROOT, None, True),
        (ROOT, "ken", True),
        (NOBODY, None, False),
        (NOBODY, "", False),
    ],
)
@pytest.mark.parametrize("method", OWN)
def test_a_person_decides_about_their_own_dotfiles_only(method: str, peer: Peer, user: object, allowed: bool) -> None:
    assert may(method, peer, user) is allowed


def test_what_concerns_one_persons_files_is_for_that_person() -> None:
    verbs = ("Sync", "Resolve", "Initialize", "Adopt")
    assert set(OWN) == {CONFLICTS, *(f"io.gitopsd.Control.{verb}" for verb in verbs)}


def test_a_method_that_is_not_in_the_table_is_for_nobody() -> None:
    assert not may("io.gitopsd.Control.Format", ROOT)


def test_a_refusal_says_what_to_do() -> None:
    with pytest.raises(NotPermitted) as caught:
        access.check(UPGRADE, RAIN)
    assert "rain may not ask for Upgrade" in caught.value.message
    assert "sudo" in caught.value.advice


def test_the_rows_that_change_things_are_never_for_anyone() -> None:
    changing = {method: who for method, who in access.TABLE.items() if ".Control." in method}
    assert len(changing) > 10
    assert Who.anyone not in changing.values()


def test_the_kernel_tells_who_is_at_the_other_end() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert access.peer_of(ours) == Credentials(pid=os.getpid(), uid=os.geteuid(), gid=os.getegid())


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """One user, rain, and one group, ops, that rain may be put into."""
    groups = {"rain": [100]}

    class Entry:
        pw_name, pw_gid, gr_gid = "rain", 100, 500

    def of_uid(uid: int) -> Entry:
        if uid != 1000:
            raise KeyError(uid)
        return Entry()

    def of_group(name: str) -> Entry:
        if name != "ops":
            raise KeyError(name)
        return Entry()

    monkeypatch.setattr(pwd, "getpwuid", of_uid)
    monkeypatch.setattr(grp, "getgrnam", of_group)
    monkeypatch.setattr(os, "getgrouplist", lambda name, _gid: groups[name])
    return groups


def test_members_of_the_group_are_admins_from_the_moment_they_join(accounts: dict[str, list[int]]) -> None:
    credentials = Credentials(pid=1, uid=1000, gid=500)  # a gid that the process brings along does not count
    assert access.identify(credentials, "ops") == Peer(uid=1000, user="rain", admin=False)
    accounts["rain"].append(500)
    assert access.identify(credentials, "ops").admin
    assert not access.identify(credentials, "").admin
    assert not access.identify(credentials, "no-such-group").admin


@pytest.mark.usefixtures("accounts")
def test_a_user_without_a_name_is_nobody() -> None:
    assert access.identify(Credentials(pid=1, uid=4000, gid=100), "ops") == NOBODY
