"""All kinds of sources that chezmoi knows beside plain files, through whole syncs."""

from people import Host, once

from gitopsd.types import PersonFacts, SyncWord


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
