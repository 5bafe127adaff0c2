"""A name that holds a secret is in no list of arguments and no environment: every user of the host could read it there."""

import stat
import subprocess
from pathlib import Path

import pytest
from onlooker import onlooker
from people import Host, settle
from test_secrets_hostile import token

from gitopsd.errors import Failed
from gitopsd.tools.files import Files
from gitopsd.tools.process import Processes

WAYS = ["file", "folder", "script", "template", "home", "published", "conflict", "deleted"]


def told(*hosts: Host) -> list[str]:
    """The commands of these hosts that have a secret among their words."""
    commands = [(host.name, argv) for host in hosts for argv in host.processes.ran]
    return [f"{name}: {argv}" for name, argv in commands if any(token(way) in word for way in WAYS for word in argv)]


def put(host: Host, path: str, content: str) -> None:
    """Into the source directory."""
    host.write(f".local/share/chezmoi/{path}", content)


def test_an_onlooker_sees_what_is_there_for_a_moment() -> None:
    with onlooker([token("seen")]) as seen:
        subprocess.run(["sh", "-c", "sleep 0.1; true", token("seen")], check=True)
        subprocess.run(["sleep", "0.1"], env={"PATH": "/usr/bin:/bin", "X": token("seen")}, check=True)
    assert {each.partition(" ")[0] for each in seen} == {"cmdline", "environ"}


async def test_a_name_that_holds_a_secret_is_seen_by_nobody(pair: tuple[Host, Host]) -> None:
    a, b = pair
    with onlooker([token(way) for way in WAYS]) as seen:
        # Published by the person, past the gate: the name is in the repository from now on.
        for way in ("published", "conflict", "deleted"):
            put(a, f"dot_{token(way)}", "one\ntwo\nthree\n")
        for command in ("add -A", "commit --quiet -m mine", "push --quiet origin HEAD:refs/heads/main"):
            a.run("git", *command.split(), where=a.source)
        put(a, f"dot_{token('file')}", "nothing in it\n")
        put(a, f"dot_config/{token('folder')}/conf", "nothing in it\n")
        put(a, f".chezmoiscripts/run_{token('script')}.sh", "#!/bin/sh\ntouch ~/ran\n")
        put(a, f"dot_{token('template')}.tmpl", "{{ .nothing }}\n")
        put(a, "dot_broken.tmpl", "{{ .nothing }}\n")  # which makes us ask for each target by its name
        a.write(f".{token('home')}", "mine\n")
        put(a, f"dot_{token('home')}", "another\n")
        a.edit(".bashrc", "one", "ONE")
        await settle(a, b)
        b.write(f".{token('published')}", "of the home\n")
        a.write(f".{token('published')}", "of the home\n")
        put(a, f"dot_{token('conflict')}", "one of a\ntwo\nthree\n")
        put(b, f"dot_{token('conflict')}", "one of b\ntwo\nthree\n")
        (a.source / f"dot_{token('deleted')}").unlink()
        b.edit(".bashrc", "seven", "SEVEN")
        await settle(a, b, a, b)
        facts = [await a.sync(), await b.sync()]
    assert not told(a, b)
    assert not seen
    fields = [getattr(each, name) for each in facts for name in each.__struct_fields__]
    everything = [repr(part) for field in fields for part in (field if isinstance(field, tuple) else (field,))]
    assert not [part for part in everything if any(token(way) in part for way in WAYS)]
    assert a.read(".bashrc") == b.read(".bashrc") == "ONE\ntwo\nthree\nfour\nfive\nsix\nSEVEN\n"
    for path, content in ((f"dot_{token('file')}", "nothing in it\n"), (f"dot_{token('home')}", "another\n")):
        assert (a.source / path).read_text() == content
    assert a.read(f".{token('home')}") == "mine\n"
    assert b.read(f".{token('published')}") == "of the home\n"
    assert not (a.home / "ran").exists()
    said = {finding.path for each in facts for finding in each.quarantined} | {
        notice.path for each in facts for notice in each.notices
    }
    assert {"dot_***", "dot_config/***/conf", ".***"} <= said


async def test_a_conflict_that_jj_holds_is_carried_along_without_its_name(pair: tuple[Host, Host]) -> None:
    a, b = pair
    name = f"dot_{token('conflict')}"
    with onlooker([token("conflict")]) as seen:
        put(a, name, "one\n")
        for command in ("add -A", "commit --quiet -m mine", "push --quiet origin HEAD:refs/heads/main"):
            a.run("git", *command.split(), where=a.source)
        await settle(a, b)
        put(a, name, "one of a\n")
        await a.sync()
        put(b, name, "one of b\n")
        for command in ("commit --quiet -m mine", "git fetch --quiet", "new --quiet main@origin @-"):
            b.run("jj", *command.split(), where=b.source)
        a.edit(".bashrc", "one", "ONE")
        await settle(a, b)
    assert any("gitopsd-chosen" in argv for argv in b.processes.ran)
    assert not told(a, b)
    assert not seen
    assert "<<<<<<<" in (b.source / name).read_text()


async def test_files_are_written_and_moved_as_the_person_and_what_fails_is_told_without_a_name(
    pair: tuple[Host, Host],
) -> None:
    a, _ = pair
    files, name = Files(Processes(), a.account), f"{a.home}/new/{token('file')} \udcff\n"
    (a.home / ".bashrc").chmod(0o755)
    with onlooker([token("file")]) as seen:
        await files.write(name, b"\0 one", like=f"{a.home}/.bashrc")
        await files.move(name, f"{name}.moved")
        await files.write(name, b"two")
        await files.move(name, f"{name}.moved", replace=False)
        found = await files.read(f"{a.home}/new", [f"{token('file')} \udcff\n", f"{token('file')} \udcff\n.moved"])
        assert list(found.values()) == [b"two", b"\0 one"]
        was = Path(f"{name}.moved").stat()
        assert (was.st_uid, stat.S_IMODE(was.st_mode)) == (a.account.uid, 0o755)
        assert stat.S_IMODE(Path(name).stat().st_mode) == 0o600
        await files.remove(name)
        await files.remove(name)
        with pytest.raises(Failed, match="could not be moved: No such file or directory") as moved:
            await files.move(name, f"{name}.moved")
        with pytest.raises(Failed, match="could not be written: Permission denied") as written:
            await files.write(f"/etc/{token('file')}", b"")
    assert not seen
    assert not any(token("file") in error.value.explained() for error in (moved, written))
    assert {path.name for path in (a.home / "new").iterdir()} == {Path(f"{name}.moved").name}
