"""All kinds of sources that chezmoi knows beside plain files, through whole syncs."""

import os
import subprocess
from pathlib import Path

import pytest
from people import Host, Remote, git, once

from gitopsd.errors import Failed, GitopsdError
from gitopsd.types import PersonFacts, SyncWord, Take


def paths(facts: PersonFacts) -> list[str]:
    return sorted(notice.path for notice in facts.notices)


async def test_an_encrypted_file_travels_and_is_never_published_in_plain(pair: tuple[Host, Host]) -> None:
    a, b = pair
    key = a.run("age-keygen")
    recipient = next(line.split()[-1] for line in key.splitlines() if line.startswith("# public key"))
    for host in pair:
        host.write("key.txt", key)
        table = f'encryption = "age"\n[age]\nidentity = "~/key.txt"\nrecipient = "{recipient}"\n'
        host.write(".config/chezmoi/chezmoi.toml", table)
    a.add(".netrc", "secret one\n", "--encrypt")
    await once(a, b)
    assert b.read(".netrc") == "secret one\n"
    b.write(".netrc", "secret two\n")
    facts = await b.sync()
    assert facts.captured == ("encrypted_dot_netrc.age",)
    await a.sync()
    assert a.read(".netrc") == "secret two\n"
    a.write(".netrc", "secret of a\n")
    b.write(".netrc", "secret of b\n")
    await a.sync()
    assert (await b.sync()).word is SyncWord.conflicts_preserved
    await once(a, b)
    assert (a.read(".netrc"), b.read(".netrc")) == ("secret of a\n", "secret of b\n")
    assert "secret" not in a.remote.everything()


async def test_an_exact_directory_loses_what_others_took_out_and_nothing_of_ones_own(pair: tuple[Host, Host]) -> None:
    a, b = pair
    for name in ("one", "two", "three"):
        a.write(f".exact/{name}", f"{name}\n")
    a.run("chezmoi", "add", "--exact", str(a.home / ".exact"))
    await once(a, b)
    b.write(".exact/own", "own\n")
    (a.source / "exact_dot_exact/one").unlink()
    await a.sync()
    facts = await b.sync()
    assert not (b.home / ".exact/one").exists()  # chezmoi wrote it, and nobody touched it
    assert b.read(".exact/own") == "own\n"
    assert ".exact/own" in paths(facts)
    b.write(".exact/two", "two of b\n")
    await b.sync()
    assert a.remote.show("main", "exact_dot_exact/two") == "two of b\n"
    # With an edit, chezmoi captures what is new in its exact_ directory as well: better than to take it away.
    await once(a, b)
    for host in pair:
        assert host.read(".exact/two") == "two of b\n"
        assert host.read(".exact/own") == "own\n"


async def test_a_remove_list_takes_away_what_chezmoi_wrote_and_nothing_else(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.add(".old", "old\n")
    await once(a, b)
    b.write(".older", "mine, and never in the repository\n")
    b.write(".config/app.conf", "x = 1\nmine\n")
    (a.source / "dot_old").unlink()
    (a.source / ".chezmoiremove").write_text(".old\n.older\n")
    await a.sync()
    facts = await b.sync()
    assert not (b.home / ".old").exists()
    assert b.read(".older") == "mine, and never in the repository\n"
    assert paths(facts) == [".older"]


async def test_ignored_targets_externals_and_symlinks(pair: tuple[Host, Host]) -> None:
    a, b = pair
    b.write(".ignored", "mine\n")
    external = '[".cache/external"]\ntype = "file"\nurl = "https://nowhere.invalid/file"\n'
    for name, content in (
        ("dot_ignored", "theirs\n"),
        (".chezmoiignore", ".ignored\n"),
        (".chezmoiexternal.toml", external),
        ("symlink_dot_link", ".bashrc\n"),
    ):
        (a.source / name).write_text(content)
    a.edit(".bashrc", "one", "ONE")
    await once(a, b)
    assert b.read(".ignored") == "mine\n"
    assert b.read(".link").startswith("ONE")
    assert (b.home / ".link").is_symlink()
    assert not (b.home / ".cache/external").exists()
    assert (await b.sync()).notices == ()
    b.run("ln", "-sfn", ".config/app.conf", ".link")
    b.edit(".bashrc", "two", "TWO")
    facts = await b.sync()
    assert facts.published
    assert paths(facts) == [".link"]
    assert b.read(".link") == "x = 1\n"  # kept, and named
    assert a.remote.show("main", "symlink_dot_link") == ".bashrc\n"


async def test_a_link_to_nowhere_among_the_sources_stops_chezmoi_is_named_and_loses_nothing(
    pair: tuple[Host, Host],
) -> None:
    a, _ = pair
    (a.source / "dot_link").symlink_to("/nowhere")
    a.edit(".bashrc", "one", "ONE")
    with pytest.raises(Failed) as stopped:
        await a.sync()
    said = stopped.value.explained().splitlines()
    assert said[0].startswith("cannot list what chezmoi manages: ")
    assert "dot_link" in said[0]
    assert said[1:] == [
        "  nothing in the home was changed by this, and its dotfiles wait until chezmoi can go on",
        "  try: put right what it names: `chezmoi status`",
    ]
    assert a.read(".bashrc").startswith("ONE")
    (a.source / "dot_link").unlink()
    assert (await a.sync()).word is SyncWord.success
    assert a.remote.show("main", "dot_bashrc").startswith("ONE")


async def test_scripts_run_as_chezmoi_says_and_one_that_fails_holds_nothing_back(pair: tuple[Host, Host]) -> None:
    a, b = pair
    for name, body in (
        ("run_once_first.sh", "echo once >> $HOME/ran"),
        ("run_onchange_second.sh", "echo change >> $HOME/ran"),
        ("run_after_bad.sh", "exit 3"),
    ):
        (a.source / name).write_text(f"#!/bin/sh\n{body}\n")
    a.edit(".bashrc", "one", "ONE")
    await a.sync()
    facts = await b.sync()
    assert facts.published
    assert b.read(".bashrc").startswith("ONE")
    assert sorted(b.read("ran").split()) == ["change", "once"]
    assert "bad.sh" in str(facts.notices)
    (a.source / "run_onchange_second.sh").write_text("#!/bin/sh\necho changed >> $HOME/ran\n")
    (a.source / "run_after_bad.sh").unlink()
    a.edit(".bashrc", "two", "TWO")
    await once(a, b)
    facts = await b.sync()
    assert facts.notices == ()
    assert facts.word is SyncWord.success
    assert sorted(b.read("ran").split()) == ["change", "changed", "once"]
    assert b.read(".bashrc").startswith("ONE\nTWO")


async def test_odd_names_are_parked_settled_and_deleted_like_others(pair: tuple[Host, Host]) -> None:
    a, b = pair
    names = [".a b", ".new\nline", ".\u00fc\u00f1\u6f22", ".'q\"*?[x]", "-dash", ".caf\u0065\u0301"]
    for name in names:
        a.add(name, "one\n")
    await once(a, b)
    for name in names:
        a.write(name, "one of a\n")
        b.write(name, "one of b\n")
    await a.sync()
    facts = await b.sync()
    assert len(facts.parked) == len(names)
    found = (await a.choices.conflicts()).conflicts
    assert {(each.theirs.text, each.ours.text) for each in found} == {("one of a\n", "one of b\n")}
    for each in found:
        await a.choices.resolve(each.file, Take.ours)
    await once(b, a)
    assert {a.read(name) for name in names} == {"one of b\n"}
    b.set(deletions="capture")
    for name in names:
        (b.home / name).unlink()
    facts = await b.sync()
    assert facts.word is SyncWord.success, facts
    assert a.remote.files("main") == {"dot_bashrc", "dot_config/app.conf"}
    facts = await a.sync()
    assert (facts.word, facts.notices) == (SyncWord.success, ())
    assert {a.read(name) for name in names} == {"one of b\n"}  # chezmoi leaves what it does not manage any more


async def test_a_repository_with_its_sources_in_a_directory(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.run("mkdir", "home", where=a.source)
    a.run("mv", "dot_bashrc", "dot_config", "home", where=a.source)
    (a.source / ".chezmoiroot").write_text("home\n")
    (a.source / "README.md").write_text("not for homes\n")
    await once(a, b)
    assert not (b.home / "README.md").exists()
    b.edit(".bashrc", "one", "one of b")
    a.edit(".bashrc", "seven", "seven of a")
    await once(b, a)
    facts = await b.sync()
    assert (facts.word, facts.notices) == (SyncWord.success, ())
    assert a.read(".bashrc") == b.read(".bashrc") == a.remote.show("main", "home/dot_bashrc")
    assert a.read(".bashrc").startswith("one of b")
    assert a.read(".bashrc").endswith("seven of a\n")


async def test_an_external_that_the_person_fetched_is_theirs(pair: tuple[Host, Host]) -> None:
    a, b = pair
    origin = b.home / "origin"
    b.write("origin", "fetched\n")
    (a.source / ".chezmoiexternal.toml").write_text(f'[".external"]\ntype = "file"\nurl = "file://{origin}"\n')
    await once(a, b)
    b.run("chezmoi", "apply", "--refresh-externals=always")
    assert b.read(".external") == "fetched\n"
    b.write(".external", "edited\n")
    b.edit(".bashrc", "one", "ONE")
    facts = await b.sync()
    assert (facts.word, facts.notices) == (SyncWord.success, ())
    assert b.read(".external") == "edited\n"
    assert "edited" not in a.remote.everything()


@pytest.mark.parametrize(
    ("one", "other"), [(".gc", ".gc.tmpl"), ("key", "key.age"), ("list", "exact_list"), ("once_x/a", "x/a")]
)
async def test_two_files_whose_names_only_look_alike_are_two_files(
    pair: tuple[Host, Host], one: str, other: str
) -> None:
    a, b = pair
    a.add(one, "one\n")
    await once(a, b)
    a.add(other, "other\n")
    assert (await a.sync()).word is SyncWord.success
    await b.sync()
    b.write(one, "one of b\n")
    b.write(other, "other of b\n")
    facts = await b.sync()
    assert (facts.word, facts.notices) == (SyncWord.success, ())
    await a.sync()
    assert (a.read(one), a.read(other)) == ("one of b\n", "other of b\n")


async def test_a_file_that_git_ignores_is_named_and_not_called_a_success(pair: tuple[Host, Host]) -> None:
    a, _ = pair
    a.write(".config/git/ignore", "*.local\n")
    a.add(".bashrc.local", "mine\n")
    odd = os.fsdecode(b"caf\xe9")
    a.add(odd, "mine\n")
    for _ in range(2):
        facts = await a.sync()
        assert facts.word is SyncWord.success_local_only
        assert [notice.path for notice in facts.notices] == ["caf\ufffd", "dot_bashrc.local"]
    a.write(".config/git/ignore", "")
    a.run("chezmoi", "forget", "--force", str(a.home / odd))
    facts = await a.sync()
    assert (facts.word, facts.notices) == (SyncWord.success, ())
    assert "dot_bashrc.local" in a.remote.files("main")


IDENTITY = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")


def tree_of(remote: Remote, *entries: tuple[str, str, str]) -> str:
    """A tree of these entries (mode, name, object), as git writes it and whatever git thinks of it."""
    raw = b"".join(f"{mode} {name}".encode() + b"\0" + bytes.fromhex(made) for mode, name, made in entries)
    argv = ("git", "-C", str(remote.path), "hash-object", "-t", "tree", "--literally", "-w", "--stdin")
    return subprocess.run(argv, input=raw, capture_output=True, check=True).stdout.decode().strip()


def evil_entries(remote: Remote, kind: str) -> list[tuple[str, str, str]]:
    argv = ("git", "-C", str(remote.path), "hash-object", "-w", "--stdin")
    blob = subprocess.run(argv, input=b"#!/bin/sh\ntouch $HOME/ran\n", capture_output=True, check=True)
    file = blob.stdout.decode().strip()
    match kind:
        case "..":
            return [("40000", "..", tree_of(remote, ("100644", "escaped", file)))]
        case "a slash":
            return [("100644", "dot_config/../../../../../escaped", file)]
        case ".git":
            return [
                (
                    "40000",
                    ".git",
                    tree_of(remote, ("40000", "hooks", tree_of(remote, ("100755", "post-checkout", file)))),
                )
            ]
        case ".GIT of another case":
            return [("40000", ".GIT", tree_of(remote, ("100644", "config", file)))]
        case ".jj":
            return [("40000", ".jj", tree_of(remote, ("40000", "repo", tree_of(remote, ("100644", "store", file)))))]
        case "names that differ in their case":
            return [("100644", "dot_Case", file), ("100644", "dot_case", file)]
        case "the same name twice":
            return [("100644", "dot_twice", file), ("100644", "dot_twice", file)]
        case "five hundred directories":
            inner = tree_of(remote, ("100644", "file", file))
            for _ in range(500):
                inner = tree_of(remote, ("40000", "d", inner))
            return [("40000", "dot_deep", inner)]
        case _:
            return []


@pytest.mark.parametrize(
    "kind",
    [
        *("..", "a slash", ".git", ".GIT of another case", ".jj", "the same name twice"),
        *("names that differ in their case", "five hundred directories", "escapes in the message"),
    ],
)
async def test_a_trunk_that_no_tool_would_write_harms_no_home_and_loses_no_edit(
    pair: tuple[Host, Host], kind: str
) -> None:
    a, b = pair
    where, good = str(a.remote.path), a.remote.heads()["main"]
    listed = git("-C", where, "ls-tree", good).splitlines()
    there = [(each.split()[0].lstrip("0"), each.split("\t")[1], each.split()[2]) for each in listed]
    tree = tree_of(a.remote, *sorted([*there, *evil_entries(a.remote, kind)], key=lambda entry: entry[1]))
    message = "\x1b[2J\x1b]0;owned\x07\rok: nothing to see\n\ngitopsd-home: 1\n"
    commit = git(*IDENTITY, "-C", where, "commit-tree", tree, "-p", good, "-m", message).strip()
    git("-C", where, "update-ref", "refs/heads/main", commit)
    before = {path: path.read_bytes() for path in (b.source / ".git").glob("hooks/*")}
    b.edit(".bashrc", "seven", "seven of b")
    said = ""
    for _ in range(2):
        try:
            said += str(await b.sync())
        except GitopsdError as error:  # the loop notes it for this person, and goes on
            said += error.explained()
    assert "\x1b" not in said
    assert "seven of b" in b.read(".bashrc")
    assert not (b.home / "ran").exists()
    assert not [path for root in (b.home.parent, Path("/")) for path in root.glob("escaped*")]
    assert not (b.home / "escaped").exists()
    assert {path: path.read_bytes() for path in (b.source / ".git").glob("hooks/*")} == before
    assert (b.source / ".jj/repo").is_dir()

    # What git and jj take is a trunk like any other; what they refuse waits for somebody who puts it right.
    if "seven of b" not in a.remote.show("main", "dot_bashrc"):
        assert kind in {"..", "a slash", ".git", ".GIT of another case"}
        git("-C", where, "update-ref", "refs/heads/main", good)
        await once(b, b)
        facts = await b.sync()
        assert facts.word is SyncWord.success, facts
        assert git("-C", where, "ls-tree", "main", "--name-only").split() == [name for _, name, _ in there]
    assert "seven of b" in a.remote.show("main", "dot_bashrc")
