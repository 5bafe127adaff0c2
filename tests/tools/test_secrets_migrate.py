"""Audit, migration and history, on real chezmoi, sops, age and git-filter-repo, as the person."""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from onlooker import onlooker
from people import Host
from secret_dotfiles import (
    LITERAL_VALUES,
    LITERALS,
    VALUES,
    begin,
    decrypted_as_at_activation,
    left_on_disk,
    secrets,
    tree,
)

from gitopsd.errors import Failed
from gitopsd.secrets.replacing import Replacing

Make = Callable[..., Host]
TARGETS = (".config/beets/config.yaml", ".forge", ".mail", ".plain")


@pytest.fixture
def a(host: Make) -> Host:
    one = host("a")
    begin(one)
    return one


@pytest.fixture
def decrypted() -> Iterator[Path]:
    """Where NixOS would have put the secrets."""
    with decrypted_as_at_activation() as folder:
        yield folder


def rendered(host: Host) -> dict[str, str]:
    return {target: host.run("chezmoi", "cat", str(host.home / target)) for target in TARGETS}


def test_the_audit_proposes_and_the_person_decides(a: Host) -> None:
    status, out, _ = secrets(a, "audit", "--json")
    assert status == 1
    told = json.loads(out)
    kinds = {each["name"]: each["kind"] for each in told["variables"]}
    assert kinds == {
        "acoustid_api": "secret",
        "tokens.forge": "secret",
        "email_personal": "undecided",
        "desktop": "config",
        "name": "config",
        "colors": "config",
    }
    (acoustid,) = [each for each in told["variables"] if each["name"] == "acoustid_api"]
    assert acoustid["defined"] == [".chezmoidata.yaml:5"]
    assert acoustid["used"] == ["dot_config/beets/config.yaml.tmpl:2"]
    assert acoustid["exposed"]
    assert (told["undecided"], told["exposed"]) == (1, 2)
    assert not any(value in out for value in VALUES)
    secrets(a, "audit", "--decide", "email_personal=config", "--decide", "acoustid_api=config")
    _, out, _ = secrets(a, "audit", "--json")
    kinds = {each["name"]: (each["kind"], each["decided"]) for each in json.loads(out)["variables"]}
    assert kinds["email_personal"] == kinds["acoustid_api"] == ("config", True)
    assert 'email_personal = "config"' in (a.source / ".gitopsd/secrets.toml").read_text()


def test_the_audit_of_the_history_names_the_commit(a: Host) -> None:
    commit = a.run("git", "rev-parse", "HEAD", where=a.source).strip()
    _, out, _ = secrets(a, "audit", "--history", "--json")
    found = {(each["path"], each["line"], each["commit"]) for each in json.loads(out)["history"]}
    assert found == {(".chezmoidata.yaml", 5, commit), (".chezmoidata.yaml", 7, commit)}


def test_everything_renders_the_same_after_the_migration_and_nothing_is_left(a: Host, decrypted: Path) -> None:
    before = rendered(a)
    status, out, err = secrets(a, "migrate")
    assert status == 0, err
    held = json.loads(a.run("sops", "decrypt", "--output-type", "json", str(a.source / ".secrets/dotfiles.yaml")))
    assert sorted(held.values()) == sorted(VALUES)
    for name, value in held.items():
        (decrypted / name).write_text(value)  # as sops-nix does at activation
    assert rendered(a) == before
    for path, content in tree(a).items():
        assert not any(value.encode() in content for value in VALUES), path
    assert not left_on_disk(VALUES, but=(decrypted,))
    text = (a.source / ".chezmoidata.yaml").read_text()
    assert text.startswith("# about me\nname: Rain\n")
    assert 'sops.secrets."acoustid_api"' in out
    assert 'mode = "0400"' in out
    assert secrets(a, "audit")[0] == 1  # one variable is undecided still
    assert secrets(a, "audit", "--decide", "email_personal=config")[0] == 0


def test_a_second_migration_and_a_dry_one_change_nothing(a: Host) -> None:
    before = tree(a)
    status, out, _ = secrets(a, "migrate", "--dry-run")
    assert status == 0
    assert "targets render as before" in out
    assert tree(a) == before
    assert secrets(a, "migrate")[0] == 0
    after = tree(a)
    status, _, err = secrets(a, "migrate")
    assert status == 0
    assert "nothing to migrate" in err
    assert tree(a) == after


def test_the_snippet_evaluates(a: Host, tmp_path: Path) -> None:
    recipient = a.run("age-keygen", "-y", ".config/sops/age/keys.txt").strip()
    file = str(a.home / "nix-config/secrets/rain.yaml")
    _, out, _ = secrets(a, "migrate", "--file", file, "--age", recipient, "--json")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/rain.yaml").write_text("")
    snippet = tmp_path / "snippet.nix"
    snippet.write_text("{\n" + json.loads(out)["snippet"] + "}\n")
    argv = [
        "nix-instantiate",
        "--eval",
        "--strict",
        "--json",
        "--expr",
        f"(import {snippet}).sops.secrets.acoustid_api",
    ]
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, env={**os.environ, "NIX_REMOTE": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["owner"], told["mode"]) == ("rain", "0400")


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda host: host.write(".local/share/chezmoi/dot_note", f"do not lose {VALUES[0]}\n"), "dot_note:1"),
        (
            lambda host: host.write(".local/share/chezmoi/dot_x.tmpl", "{{ (. | toJson | fromJson).acoustid_api }}\n"),
            "nothing was changed",
        ),
        (lambda host: (host.source / ".sops.yaml").unlink(), "nothing was changed"),
        (lambda host: (host.home / ".config/sops/age/keys.txt").unlink(), "nothing was changed"),
    ],
    ids=["a value elsewhere", "a use that is not rewritten", "no recipient", "no key to prove it with"],
)
def test_what_cannot_be_proven_is_not_done(a: Host, break_it: Callable[[Host], object], says: str) -> None:
    break_it(a)
    before = tree(a)
    status, out, err = secrets(a, "migrate")
    assert status == 1
    assert says in err
    assert not any(value in out + err for value in VALUES)
    assert tree(a) == before


def test_a_migration_killed_in_the_middle_is_taken_back_by_the_next(tmp_path: Path) -> None:
    files = {tmp_path / "tree/a": b"new a", tmp_path / "tree/b": b"new b", tmp_path / "tree/c": b"new c"}
    (tmp_path / "tree").mkdir()
    for name in "abd":
        (tmp_path / "tree" / name).write_bytes(f"old {name}".encode())
    (tmp_path / "tree/d").chmod(0o755)
    for at in range(40):
        done = subprocess.run(
            ["python3", "-c", KILLED, str(tmp_path), str(at)],
            check=False,
            capture_output=True,
            text=True,
            env=os.environ,
        )
        if done.returncode == 0:
            break
        assert done.returncode == 9, done.stderr
        Replacing(tmp_path / "place").recover()
        found = {path.name: path.read_bytes() for path in (tmp_path / "tree").iterdir()}
        assert found in (
            {"a": b"old a", "b": b"old b", "d": b"old d"},
            {path.name: new for path, new in files.items()},
        ), at
        if found["a"] == b"new a":
            break
    assert at > 11
    assert (tmp_path / "tree/c").stat().st_mode & 0o777 == 0o755
    assert not (tmp_path / "place").exists()


def test_what_somebody_wrote_after_a_migration_was_killed_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    for name in "abd":
        (tmp_path / "tree" / name).write_bytes(f"old {name}".encode())
    left = 0
    while not (tmp_path / "tree/c").exists():
        done = subprocess.run(["python3", "-c", KILLED, str(tmp_path), str(left)], check=False, env=os.environ)
        assert done.returncode == 9
        left += 1
    (tmp_path / "tree/a").write_bytes(b"mine")
    with pytest.raises(Failed, match="tree/a was changed since") as caught:
        Replacing(tmp_path / "place").recover()
    assert (tmp_path / "tree/a").read_bytes() == b"mine"
    assert "old-0" in caught.value.meaning
    (tmp_path / "tree/a").rename(tmp_path / "mine")
    Replacing(tmp_path / "place").recover()
    found = {path.name: path.read_bytes() for path in (tmp_path / "tree").iterdir()}
    assert found == {"a": b"old a", "b": b"old b", "d": b"old d"}


KILLED = """
import os, pathlib, sys
from gitopsd.errors import Failed
from gitopsd.secrets.replacing import Replacing
root, left = pathlib.Path(sys.argv[1]), int(sys.argv[2])
def audit(event, arguments):
    global left
    if event in ("os.rename", "os.remove", "os.rmdir", "os.link") and str(root) in str(arguments):
        if left == 0:
            os._exit(9)
        left -= 1
sys.addaudithook(audit)
tree = root / "tree"
files = {tree / name: f"new {name}".encode() for name in "abc"}
Replacing(root / "place").replace(files, gone=[tree / "d"], like={tree / "c": tree / "d"})
"""


def test_no_value_is_in_an_argument_or_an_environment_while_it_runs(a: Host) -> None:
    for path, content in LITERALS.items():
        a.write(f".local/share/chezmoi/{path}", content)
    values = (*VALUES, *LITERAL_VALUES.values())
    with onlooker(values) as seen:
        told = [
            secrets(a, *verb) for verb in (("audit", "--history"), ("migrate", "--dry-run"), ("migrate",), ("scrub",))
        ]
    assert not seen
    assert not any(value in out + err for _, out, err in told for value in values)


async def test_a_target_waits_for_its_secret_and_the_others_do_not(a: Host, host: Make, decrypted: Path) -> None:
    secrets(a, "migrate")
    await a.sync()
    b = host("b")
    b.run("chezmoi", "init", str(b.remote.path))
    b.run("jj", "git", "init", "--colocate", "--quiet", where=b.source)
    facts = await b.sync()
    assert b.read(".mail") == "mail = rain@example.org\n"
    assert b.read(".plain") == "plain\n"
    waits = {notice.path: notice.what for notice in facts.notices if "waits for" in notice.what}
    assert "/run/secrets/tokens_forge" in waits[".forge"]
    (decrypted / "tokens_forge").write_text(VALUES[1])
    (decrypted / "acoustid_api").write_text(VALUES[0])
    await b.sync()
    assert VALUES[1] in b.read(".forge")


async def test_scrub_takes_the_values_out_of_every_commit_and_pushes_nothing(a: Host, decrypted: Path) -> None:
    status, _, err = secrets(a, "scrub", "--rewrite")
    assert status == 1
    assert "still in use" in err
    secrets(a, "migrate")
    for name, value in (("acoustid_api", VALUES[0]), ("tokens_forge", VALUES[1])):
        (decrypted / name).write_text(value)
    await a.sync()
    heads = a.remote.heads()
    status, out, _ = secrets(a, "scrub")
    assert status == 1
    assert "Rotate" in out
    assert ".chezmoidata.yaml:5" in out
    status, out, err = secrets(a, "scrub", "--rewrite")
    assert status == 0, err
    assert a.remote.heads() == heads
    (step,) = [line for line in out.splitlines() if " push --force-with-lease" in line]
    a.run("sh", "-c", step)
    raw = a.run("git", "cat-file", "--batch-all-objects", "--batch", where=a.source)
    assert not any(value in raw for value in VALUES)
    assert not any(value in a.remote.everything() for value in VALUES)
    assert secrets(a, "scrub")[0] == 0
    (bundle,) = (a.home / ".local/state/gitopsd/backups").glob("*.bundle")
    assert bundle.stat().st_mode & 0o777 == 0o600
    a.start()
    a.edit(".plain", "plain", "PLAIN")
    facts = await a.sync()
    assert facts.published, facts
    assert a.remote.show("main", "dot_plain") == "PLAIN\n"
    assert not any(value in a.remote.everything() for value in VALUES)


def test_scrub_refuses_while_edits_are_in_no_commit(a: Host) -> None:
    secrets(a, "migrate")
    status, _, err = secrets(a, "scrub", "--rewrite")
    assert status == 1
    assert "no commit" in err


async def test_allow_lets_the_value_of_a_fingerprint_pass(a: Host, host: Make) -> None:
    secrets(a, "migrate")
    await a.sync()
    a.edit(".plain", "plain", "password = kept-In-Mind-22")
    (finding,) = (await a.sync()).quarantined
    assert finding.path == ".plain"
    assert secrets(a, "allow", "0000000000000000", "--reason", "x")[0] == 1
    status, _, err = secrets(a, "allow", finding.fingerprint, "--reason", "of a public demo")
    assert status == 0, err
    assert "of a public demo" in (a.source / ".gitopsd/allowed-secrets.toml").read_text()
    assert not (await a.sync()).quarantined
    assert "kept-In-Mind-22" in a.remote.show("main", "dot_plain")
    assert secrets(a, "audit", "--decide", "email_personal=config")[0] == 0


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (".chezmoidata.yaml", '"my.token": tT8vR2mW9z2\nmy-token: kK8vR2mW9z3\nmy:\n  token: uU8vR2mW9z4\nname: x\n'),
        (".chezmoidata.toml", 'my-token = "kK8vR2mW9z3"\n"my.token" = "tT8vR2mW9z2"\nname = "x"\n[my]\ntoken = "uU8vR2mW9z4"\n'),
        (".chezmoidata.json", '{"my.token": "tT8vR2mW9z2", "my-token": "kK8vR2mW9z3", "my": {"token": "uU8vR2mW9z4"}, "name": "x"}'),
    ],
)  # fmt: skip
def test_names_with_signs_in_them_are_moved_too(host: Make, decrypted: Path, path: str, text: str) -> None:
    template = '{{ index . "my.token" }} {{ index $ "my-token" | quote }} {{ .my.token }} {{ index .my "token" }} {{ .name }}\n'
    a = host("a")
    begin(a, {path: text, "dot_x.tmpl": template})
    before = a.run("chezmoi", "cat", str(a.home / ".x"))
    status, _, err = secrets(a, "migrate")
    assert status == 0, err
    held = json.loads(a.run("sops", "decrypt", "--output-type", "json", str(a.source / ".secrets/dotfiles.yaml")))
    for name, value in held.items():
        (decrypted / name).write_text(value)
    assert a.run("chezmoi", "cat", str(a.home / ".x")) == before
    assert "R2mW9z" not in (a.source / path).read_text()


def test_a_password_in_a_list_is_exposed_and_moved_by_hand(host: Make) -> None:
    a = host("a")
    data = "accounts:\n  - user: a\n    password: vV8vR2mW9z2\n"
    begin(a, {".chezmoidata.yaml": data, "dot_x.tmpl": "{{ range .accounts }}{{ .password }}{{ end }}\n"})
    status, out, _ = secrets(a, "audit", "--json")
    assert (status, json.loads(out)["exposed"]) == (1, 1)
    status, _, err = secrets(a, "migrate")
    assert (status, "a line of its own" in err) == (1, True)
    assert (a.source / ".chezmoidata.yaml").read_text() == data


def test_what_was_moved_out_of_a_command_is_found_by_no_scanner_again(host: Make) -> None:
    a = host("a")
    begin(a, {"run_once_a.sh": "#!/bin/sh\ncurl -u rain:qQ8vR2mW9z2 https://x.example.net\n"})
    assert secrets(a, "migrate")[0] == 0
    assert secrets(a, "audit")[0] == 0
    status, _, err = secrets(a, "migrate")
    assert (status, "nothing to migrate" in err) == (0, True)


@pytest.mark.parametrize("state", ["on a disk", "closed", "full"])
def test_plaintext_touches_no_disk_whatever_is_mounted(a: Host, state: str) -> None:
    disk = Path(tempfile.mkdtemp(dir="/var/tmp"))
    disk.chmod(0o777)
    kind = {"on a disk": ("--bind", str(disk)), "closed": ("-t", "tmpfs", "-o", "mode=755", "x")}
    options = kind.get(state, ("-t", "tmpfs", "-o", "size=16k,mode=1777", "x"))
    a.write(".local/share/chezmoi/dot_plain", "plain\n" * 20_000)
    before = tree(a)
    subprocess.run(["mount", *options, "/dev/shm"], check=True)
    try:
        status, _, err = secrets(a, "migrate")
        left = [*Path("/dev/shm").iterdir()]
    finally:
        subprocess.run(["umount", "/dev/shm"], check=True)
        disk.rmdir()
    assert (status, left) == (1, [])
    assert ("no room" if state == "full" else "is a tmpfs") in err
    assert "Traceback" not in err
    assert tree(a) == before
