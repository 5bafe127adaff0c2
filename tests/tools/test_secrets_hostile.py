"""Ways for a secret to get out that nobody thinks of at first: all of them at once, and the remote's raw objects searched.

Each is a value of its own, so that the one that got out is named. Beside them goes an ordinary edit, which must travel.
"""

import base64
import bz2
import gzip
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from checkouts import Checkout
from people import Host, Remote, settle
from test_secrets_dotfiles import objects

from gitopsd.secrets.allow import FILE, allow, with_entry
from gitopsd.types import SyncWord

BIG = "alias a='ls -l'  # and so on\n" * 80_000  # 2.3 MB
OTHER = "qu4rtz-lantern-Harbor"


def token(way: str) -> str:
    """A value of the way that it takes, in the form of a forge's token."""
    return "ghp_" + hashlib.sha256(f"made up for {way}".encode()).hexdigest()[:36]


def password(way: str) -> str:
    """Likewise, as people choose them: no scanner knows it by its form."""
    return f"otter+{hashlib.sha256(way.encode()).hexdigest()[:10]}Q7"


def files() -> dict[str, tuple[str, bytes]]:
    """By way: where in the source directory it is, and what it holds."""

    def line(way: str) -> str:
        return f"password = {password(way)}\n"

    def tar(way: str) -> bytes:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            member = tarfile.TarInfo("home/.env")
            member.size = len(line(way))
            archive.addfile(member, io.BytesIO(line(way).encode()))
        return packed.getvalue()

    def packed(way: str) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x/.netrc", f"machine example.org login rain password {password(way)}\n")
        return file.getvalue()

    armor = "-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVuY3J5\n-----END AGE ENCRYPTED FILE-----\n"
    return {
        "file name": (f"dot_{token('file name')}", b"nothing in it\n"),
        "directory name": (f"dot_config/{token('directory name')}/conf", b"nothing in it\n"),
        "UTF-16": ("dot_utf16", line("UTF-16").encode("utf-16")),
        "UTF-16 without a mark": ("dot_utf16le", line("UTF-16 without a mark").encode("utf-16-le")),
        "gzip": ("dot_backup.gz", gzip.compress(line("gzip").encode())),
        "bzip2": ("dot_backup.bz2", bz2.compress(line("bzip2").encode())),
        "tar": ("dot_backup.tgz", tar("tar")),
        "zip": ("dot_backup.zip", packed("zip")),
        "binary": ("dot_cache.bin", bytes(range(256)) * 20 + token("binary").encode() + bytes(5000)),
        "a zero in a text": ("dot_zero", b"x\0y\n" + line("a zero in a text").encode() + b"and more\n" * 90),
        "template": ("dot_t.tmpl", f'{{{{ if .x }}}}pass = "{password("template")}"{{{{ end }}}}\n'.encode()),
        "argument of a template": ("dot_d.tmpl", f'{{{{ dict "password" "{password("argument of a template")}" }}}}\n'.encode()),
        "shell, two lines": ("dot_sh", f"PASSWORD=\\\n{password('shell, two lines')}\n".encode()),
        "YAML, two lines": ("dot_y.yaml", f"password: >-\n  {password('YAML, two lines')}\n".encode()),
        "large": ("dot_large", (BIG + line("large")).encode()),
        "long line": ("dot_long.json", ('{"a": [' + "1, " * 9000 + f'1], "password": "{password("long line")}"}}\n').encode()),
        "base64": ("dot_b64", base64.b64encode(line("base64").encode()) + b"\n"),
        "base64 twice": ("dot_b64b64", base64.b64encode(base64.b64encode(line("base64 twice").encode())) + b"\n"),
        "script": (".chezmoiscripts/run_once_x.sh", f"#!/bin/sh\nexport TOKEN={token('script')}\n".encode()),
        "external": (
            ".chezmoiexternal.toml",
            f'[".x"]\ntype = "file"\nurl = "https://rain:{password("external")}@example.org/x"\n'.encode(),
        ),
        "attributes": (".gitattributes", f"# {token('attributes')}\n".encode()),
        "submodule": (".gitmodules", f'[submodule "x"]\n\turl = https://rain:{password("submodule")}@example.org\n'.encode()),
        "behind an encrypted block": ("dot_a.age", (armor + line("behind an encrypted block")).encode()),
        "by an encrypted name": (".store/encrypted_dot_b.age", line("by an encrypted name").encode()),
        "decisions": (".gitopsd/secrets.toml", f"# {token('decisions')}\n".encode()),
        "carriage returns": ("dot_crlf", line("carriage returns").replace("\n", "\r\n").encode()),
        "not UTF-8": ("dot_latin1", f"# caf\xe9\n{line('not UTF-8')}".encode("latin-1")),
    }  # fmt: skip


def values(ways: list[str]) -> dict[str, list[bytes]]:
    """All forms of each way's value that would be seen in raw objects."""
    return {
        way: [
            text.encode(encoding)
            for text in (token(way), password(way))
            for encoding in ("utf-8", "utf-16-le", "utf-16-be")
        ]
        for way in ways
    }


def out(remote: Path, ways: list[str], packed: dict[str, bytes]) -> list[str]:
    """The ways on which a value got into the remote's raw objects, reachable or not."""
    raw = objects(remote)
    return [
        way
        for way, forms in values(ways).items()
        if any(form in raw for form in forms) or (way in packed and packed[way] in raw)
    ]


async def test_no_disguise_of_a_secret_gets_out_and_the_rest_does(pair: tuple[Host, Host]) -> None:
    a, b = pair
    planted = files()
    for path, content in planted.values():
        target = a.source / path
        a.write(str(target.relative_to(a.home)), "")
        target.write_bytes(content)
    a.run("ln", "-s", f"https://rain:{password('link')}@example.org", ".link", where=a.source)
    a.edit(".config/app.conf", "x = 1", f"# token {token('home')}\nx = 1")
    a.edit(".bashrc", "one", "ONE")
    ways = [*planted, "link", "home"]
    contents = {way: content for way, (_, content) in planted.items()}
    for _ in range(2):
        facts = await a.sync()
        told = {finding.path for finding in facts.quarantined}
        assert facts.word is SyncWord.success_local_only
        expected = {path.replace(token(way), "***") for way, (path, _) in planted.items()}
        assert expected | {".link", ".config/app.conf"} == told
        assert not out(a.remote.path, ways, contents)
        leaked = {
            way for way, forms in values(ways).items() if any(form.decode("latin-1") in repr(facts) for form in forms)
        }
        assert not leaked
    assert not out(a.source, ways, contents)  # jj has not got them either
    await b.sync()
    assert b.read(".bashrc").startswith("ONE\n")
    for path, content in planted.values():  # and nothing is lost
        assert (a.source / path).read_bytes() == content


async def test_what_a_person_commits_and_names_and_tags_by_hand_does_not_get_out(pair: tuple[Host, Host]) -> None:
    a, b = pair
    ways = ["renamed", "message", "tagged", "beside", "deleted", "merged"]
    a.run("git", "mv", "dot_bashrc", f"dot_{token('renamed')}", where=a.source)  # the remote has its content already
    a.run("jj", "commit", "--quiet", "-m", f"works with {token('message')}", where=a.source)
    a.run("jj", "undo", "--quiet", where=a.source)
    a.run("jj", "commit", "--quiet", "-m", f"now with {token('message')}", where=a.source)
    a.write(".local/share/chezmoi/dot_x", f"token {token('deleted')}\n")
    a.run("jj", "commit", "--quiet", "-m", "add", where=a.source)
    a.run("git", "tag", "kept", "HEAD", where=a.source)
    a.run("jj", "new", "--quiet", "main", where=a.source)
    a.write(".local/share/chezmoi/dot_y", f"token {token('merged')}\n")
    a.run("jj", "commit", "--quiet", "-m", "a side", where=a.source)
    a.run("jj", "bookmark", "create", "--quiet", "topic", "-r", "@-", where=a.source)
    a.run("jj", "new", "--quiet", "kept", "topic", where=a.source)
    (a.source / "dot_x").write_text("gone\n")
    (a.source / "dot_y").write_text("gone\n")
    a.write(".local/share/chezmoi/dot_profile", "umask 077\n")
    for _ in range(3):
        await a.sync()
        assert not out(a.remote.path, ways, {})
    await settle(b, a)
    assert b.read(".profile") == "umask 077\n"
    assert {*a.remote.heads()} <= {"main", "gitopsd/a", "gitopsd/b"}
    assert not out(a.remote.path, ways, {})


async def test_what_was_allowed_is_that_value_and_no_other(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.edit(".bashrc", "one", f"password = {password('allowed')}")
    (a.source / FILE).parent.mkdir()
    entry = allow("dot_bashrc", "literal-after-secret-key", password("allowed"), "of a public demo")
    a.write(f".local/share/chezmoi/{FILE}", with_entry(b"", entry).decode())
    await settle(a, b)
    assert password("allowed") in b.read(".bashrc")
    a.edit(".bashrc", password("allowed"), OTHER)
    assert [each.path for each in (await a.sync()).quarantined] == [".bashrc"]
    a.edit(".bashrc", f"password = {OTHER}", f"password = {password('allowed')}\nSECRET={OTHER}")
    assert [each.line for each in (await a.sync()).quarantined] == [2]
    assert OTHER.encode() not in objects(a.remote.path)


async def test_a_secret_that_one_host_holds_back_survives_the_conflict_with_another(pair: tuple[Host, Host]) -> None:
    a, b = pair
    (a.source / "dot_bashrc").write_text(a.read(".bashrc").replace("four", f"password = {password('source')}"))
    a.edit(".config/app.conf", "x = 1", f"password = {password('home')}")
    b.edit(".bashrc", "four", "FOUR")
    b.edit(".config/app.conf", "x = 1", "x = 2")
    await settle(b, a, b)
    a.run("jj", "describe", "--quiet", "-m", "mine", where=a.source)  # a snapshot that is not ours: it is in jj now
    await settle(a, b)
    assert not out(a.remote.path, ["source", "home"], {})
    everywhere = [path.read_text(errors="replace") for path in a.home.rglob("*") if path.is_file()]
    assert any(password("source") in text for text in everywhere)
    assert password("home") in a.read(".config/app.conf")
    assert b.read(".config/app.conf") == "x = 2\n"


@pytest.mark.parametrize("jj", [False, True], ids=["git", "jj"])
async def test_a_checkout_that_is_published_lets_none_out(place: Path, remote: Remote, jj: bool) -> None:
    checkout = Checkout(place, remote)
    if jj:
        checkout.run("jj", "git", "init", "--colocate", "--quiet")
    before = remote.heads()
    for way, (name, content) in {
        "file name": (f"{token('file name')}.nix", b"{ }\n"),
        "UTF-16": ("x.reg", f"password={password('UTF-16')}".encode("utf-16")),
        "module": ("x.nix", f"{{ services.x.password = ''{password('module')}''; }}\n".encode()),
        "rename": (token("rename"), b"1\n"),  # which the remote has already, as `flake`
    }.items():
        checkout.write(name, "")
        (checkout.path / name).write_bytes(content)
        checkout.write("other", "2")
        facts = await checkout.upgrade()
        assert facts.quarantined, way
        assert remote.heads() == before
        assert not out(remote.path, [way], {})
        assert token(way) not in repr(facts)
        assert (checkout.path / name).read_bytes() == content
        (checkout.path / name).unlink()
