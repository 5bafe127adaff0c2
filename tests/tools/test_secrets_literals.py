"""Literals that go to SOPS, on real chezmoi, gitleaks, sops and age, as the person."""

import json
import random
import string
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nixmodule
import pytest
from people import Host
from secret_dotfiles import decrypted_as_at_activation, key, left_on_disk, secrets, tree

from gitopsd.secrets import literals
from gitopsd.secrets.literals import Looked
from gitopsd.types import Notice, PersonFacts, SyncWord

Make = Callable[..., Host]

NETRC = "kQ7vR2mW9z"
NETRC_NAME = "netrc_forge_example_net"
NPM = "npm_" + "aZ3bY6cX9dW2eV5fU8gT1hS4iR7jQ0kP3lO6"
GITHUB = "ghp_" + "Zx9Cv8Bn7Mq6Ws5Ed4Rf3Tg2Yh1Uj0IkOl12"
TOML = "9fK2-lQ8w-Zr5t"
YAML = "hM4x!Tp9@Ns2"
JSON = "b7Jd0sVn3Lq8"
URL = "w8Xc5vBn2M"
ACTION = "R4nd-0m-Inside"
MIDDLE = "pG6y-Between-3"
BRACES = "Tt5-Around-9x"
SCRIPT = "Sc7-ript-Value"


def ssh_key() -> str:
    """In the form of a key, and none."""
    text = random.Random(5).choices(string.ascii_letters + string.digits, k=70 * 6)  # noqa: S311 - made up
    lines = ["".join(text[at : at + 70]) for at in range(0, len(text), 70)]
    return "\n".join(("-----BEGIN OPENSSH PRIVATE KEY-----", *lines, "-----END OPENSSH PRIVATE KEY-----", ""))


FILES = {
    "private_dot_netrc": f"machine forge.example.net\n  login rain\n  password {NETRC}\n",
    "dot_npmrc": f"//registry.npmjs.org/:_authToken={NPM}\n",
    "dot_profile": f"export EDITOR=vi\nexport GITHUB_TOKEN='{GITHUB}'\n",
    "dot_config/weather/config.toml": f'city = "Kyiv"\napi_key = "{TOML}"\n',
    "dot_config/mailer/accounts.yaml": f"smtp:\n  host: mail\n  password: '{YAML}'\n",
    "dot_config/vpn.json": f'{{"user": "rain", "password": "{JSON}"}}\n',
    "executable_dot_fetch": f"#!/bin/sh\nexec rsync 'https://rain:{URL}@backup.example.net/x'\n",
    "private_dot_ssh/private_id_ed25519": ssh_key(),
    "dot_in.tmpl": f'{{{{- $token := "{ACTION}" -}}}}\ntoken {{{{ $token }}}}\n',
    "dot_middle.tmpl": f'{{{{ $password := `{MIDDLE}` }}}}a {{{{ printf "%s" $password }}}} {{{{ .chezmoi.os }}}}\n',
    "dot_braces": f"p = {{{{ x }}}} {{{{{{ }}}}\npassword = '{BRACES}'\nx }}}} {{{{- y -}}}}\n",
    "private_dot_two": f"password = {JSON}\nalso_token = {NETRC}\n",
    ".chezmoiscripts/run_once_after_hello.sh": f"#!/bin/sh\n: login --password={SCRIPT}\n",
    ".chezmoitemplates/head": f'api_token = "{TOML}"\n',
    "dot_uses.tmpl": '{{ template "head" . }}x\n',
    "dot_plain": "plain {{ not an action\n",
}
VALUES = (NETRC, NPM, GITHUB, TOML, YAML, JSON, URL, ACTION, MIDDLE, BRACES, SCRIPT, ssh_key().splitlines()[2])
NAMES = {
    "netrc_forge_example_net": NETRC,
    "npmrc__authToken": NPM,
    "github_token": GITHUB,
    "head_api_token": TOML,
    "accounts_password": YAML,
    "vpn_password": JSON,
    "fetch_backup_example_net": URL,
    "ssh_id_ed25519": ssh_key(),
    "in_token": ACTION,
    "middle_password": MIDDLE,
    "braces_password": BRACES,
    "run_once_after_hello_password": SCRIPT,
}


def begin(host: Host, files: dict[str, str]) -> None:
    """Dotfiles with literals, pushed once by hand and applied."""
    host.run("chezmoi", "init")
    for path, content in files.items():
        host.write(f".local/share/chezmoi/{path}", content)
    host.begin({})
    host.run("chezmoi", "apply", "--exclude=scripts")
    key(host)


@pytest.fixture
def a(host: Make) -> Host:
    one = host("a")
    begin(one, FILES)
    return one


@pytest.fixture
def decrypted() -> Iterator[Path]:
    with decrypted_as_at_activation() as folder:
        yield folder


def rendered(host: Host) -> dict[str, str]:
    managed = host.run("chezmoi", "managed", "--include=files,symlinks,scripts", "--exclude=externals").splitlines()
    return {target: host.run("chezmoi", "cat", str(host.home / target)) for target in managed}


def sops_file(host: Host) -> dict[str, str]:
    raw = host.run("sops", "decrypt", "--output-type", "json", str(host.source / ".secrets/dotfiles.yaml"))
    found: dict[str, str] = json.loads(raw)
    return found


def audited(host: Host) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(secrets(host, "audit", "--json")[1])["literals"]
    return found


def test_literals_of_every_kind_go_to_sops_and_everything_renders_as_before(a: Host, decrypted: Path) -> None:
    before = rendered(a)
    told = audited(a)
    assert {each["name"] for each in told} == NAMES.keys(), told
    status, out, err = secrets(a, "migrate")
    assert status == 0, err
    assert sops_file(a) == NAMES
    for name, value in NAMES.items():
        (decrypted / name).write_text(value)
    assert rendered(a) == before
    assert not any(value in out + err for value in VALUES)
    # The homes keep what was applied there: of the tree, nothing has a value.
    for path, content in tree(a).items():
        if Path(path).is_relative_to(a.source):
            assert not any(value.encode() in content for value in VALUES), path
    assert not left_on_disk(VALUES, but=(a.home, decrypted))
    assert 'sops.secrets."ssh_id_ed25519" = {' in out
    files = {str(path.relative_to(a.source)) for path in a.source.rglob("*") if ".git/" not in str(path)}
    assert "private_dot_netrc.tmpl" in files
    assert "private_dot_netrc" not in files
    assert "private_dot_ssh/private_id_ed25519.tmpl" in files
    assert (a.source / "private_dot_ssh/private_id_ed25519.tmpl").read_text() == (
        '{{ include "/run/secrets/ssh_id_ed25519" }}'
    )
    assert (a.source / "dot_npmrc.tmpl").read_text() == (
        '//registry.npmjs.org/:_authToken={{ include "/run/secrets/npmrc__authToken" | trim }}\n'
    )
    assert (a.source / "dot_in.tmpl").read_text() == (
        '{{- $token := (include "/run/secrets/in_token" | trim) -}}\ntoken {{ $token }}\n'
    )
    assert (a.source / "dot_plain").read_text() == FILES["dot_plain"]
    assert secrets(a, "audit")[0] == 0


def test_a_dry_run_tells_all_and_a_second_run_does_nothing(a: Host) -> None:
    before = tree(a)
    status, out, err = secrets(a, "migrate", "--dry-run")
    assert status == 0, err
    assert "would go from private_dot_netrc:3, private_dot_two:2 to" in out
    assert "# dot_npmrc would become the template dot_npmrc.tmpl" in out
    assert not any(value in out + err for value in VALUES)
    assert tree(a) == before
    told = json.loads(secrets(a, "migrate", "--dry-run", "--json")[1])
    (netrc,) = [each for each in told["moves"] if each["secret"] == NETRC_NAME]
    assert netrc["defined"] == ["private_dot_netrc:3", "private_dot_two:2"]
    assert netrc["rewritten"] == ["private_dot_netrc.tmpl", "private_dot_two.tmpl"]
    assert tree(a) == before
    assert secrets(a, "migrate")[0] == 0
    after = tree(a)
    status, _, err = secrets(a, "migrate")
    assert status == 0
    assert "nothing to migrate" in err
    assert tree(a) == after
    # One of them comes again somewhere else: it has its secret already.
    a.write(".local/share/chezmoi/dot_again", f"password = {NETRC}\n")
    held = sops_file(a)
    assert secrets(a, "migrate")[0] == 0
    assert sops_file(a) == held
    assert "/run/secrets/netrc_forge_example_net" in (a.source / "dot_again.tmpl").read_text()


def test_the_person_names_it_leaves_it_and_lets_it_pass(a: Host) -> None:
    by_path = {each["path"]: each for each in audited(a)}
    netrc, npm, profile = (by_path[path] for path in ("private_dot_netrc", "dot_npmrc", "dot_profile"))
    status, _, err = secrets(a, "audit", "--decide", f"{netrc['fingerprint']}=config")
    assert status == 1
    assert "secrets allow" in err
    assert secrets(a, "audit", "--decide", "0123456789abcdef=secret")[0] == 1
    assert secrets(a, "audit", "--decide", f"{netrc['fingerprint']}=secret:a/b")[0] == 1
    assert not (a.source / ".gitopsd/secrets.toml").exists()
    secrets(
        a, "audit", "--decide", f"{netrc['fingerprint']}=secret:forge", "--decide", f"{npm['fingerprint']}=undecided"
    )
    assert secrets(a, "allow", profile["fingerprint"], "--reason", "of a public demo")[0] == 0
    a.write(".local/share/chezmoi/dot_note", f"I keep {NETRC} in mind\n")  # nothing says there that it is one
    status, _, err = secrets(a, "migrate")
    assert status == 0, err
    assert f"{npm['fingerprint']}=secret" in err
    held = sops_file(a)
    assert held["forge"] == NETRC
    assert not {NPM, GITHUB} & set(held.values())
    assert (a.source / "dot_npmrc").read_text() == FILES["dot_npmrc"]
    assert (a.source / "dot_profile").read_text() == FILES["dot_profile"]
    assert (a.source / "dot_note.tmpl").read_text() == 'I keep {{ include "/run/secrets/forge" | trim }} in mind\n'
    raw = (a.source / ".gitopsd/secrets.toml").read_text()
    assert f'{netrc["fingerprint"]} = {{ kind = "secret", name = "forge", file = "private_dot_netrc" }}' in raw
    assert not any(value in raw for value in VALUES)


def test_what_only_looks_random_is_left_to_the_person(host: Make) -> None:
    a = host("a")
    begin(a, {"dot_x": "auth = Zq8sW2eD4rF6tG8yH1uJ3\n"})
    (found,) = audited(a)
    assert (found["kind"], found["decided"]) == ("undecided", False)
    status, _, err = secrets(a, "migrate")
    assert status == 0
    assert f"--decide {found['fingerprint']}=secret:x_auth" in err
    assert not (a.source / ".secrets").exists()
    secrets(a, "audit", "--decide", f"{found['fingerprint']}=secret")
    assert secrets(a, "migrate")[0] == 0
    assert sops_file(a) == {"x_auth": "Zq8sW2eD4rF6tG8yH1uJ3"}


REFUSED = {
    "allowed elsewhere": ({"dot_a": f"password = {NETRC}\n", "dot_decoy": f"password = {NETRC}\n"}, "dot_decoy:1"),
    "in a comment of a template": ({"dot_a.tmpl": f"{{{{/* {NETRC} */}}}}\npassword = {NETRC}\n"}, "dot_a.tmpl:1"),
    "in base64 elsewhere": (
        {"dot_a": f"password = {NETRC}\n", "dot_b": "x " + "cmFpbjprUTd2UjJtVzl6" + "\n"},
        "dot_b",
    ),
    "escaped elsewhere": (
        {"dot_a": "password = 'p\"Q7-x9wZ'\n", "dot_b.json": '{"x": "p\\"Q7-x9wZ"}\n'},
        "dot_b.json:1",
    ),
    "in UTF-16": ({"dot_a": f"password = {NETRC}\n".encode("utf-16-le").decode("latin-1")}, "dot_a"),
    "no file of chezmoi's": ({"README.md": f"password = {NETRC}\n", ".chezmoiignore": "README.md\n"}, "README.md:1"),
    "chezmoi's configuration": ({".chezmoi.toml.tmpl": f'[github]\ntoken = "{NETRC}"\n'}, ".chezmoi.toml.tmpl:2"),
    "other delimiters": (
        {"dot_a.tmpl": f"# chezmoi:template:left-delimiter=[[ right-delimiter=]]\npassword = {NETRC}\n"},
        "dot_a.tmpl:2",
    ),
    "a modify template": ({"modify_dot_a": f"# chezmoi:modify-template\npassword = {NETRC}\n"}, "modify_dot_a:2"),
    "needed before anything": (
        {".chezmoiexternal.toml": f'[".x"]\ntype = "file"\nurl = "https://rain:{NETRC}@h.example.net/x"\n'},
        ".chezmoiexternal.toml:3",
    ),
    "removed": ({"remove_dot_a": f"password = {NETRC}\n"}, "remove_dot_a:1"),
    "there is one already": (
        {"dot_a": f"password = {NETRC}\n", "dot_a.tmpl": "other\n", ".chezmoiignore": ".a\n"},
        "dot_a",
    ),
    "escaped in an action": (
        {"dot_a.tmpl": '{{ $x := "a" }}{{ $password := "a\\x41-77-Zz-q" }}\n'},
        "nothing was changed",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_moved_is_named_and_nothing_is_changed(host: Make, case: str) -> None:
    a = host("a")
    files, says = REFUSED[case]
    a.run("chezmoi", "init")
    for path, content in files.items():
        a.write(f".local/share/chezmoi/{path}", "")
        (a.source / path).write_bytes(content.encode("latin-1" if case == "in UTF-16" else "utf-8"))
    a.run("git", "add", "-A", where=a.source)
    key(a)
    if case == "allowed elsewhere":
        a.run("mv", "dot_a", "../", where=a.source)
        (found,) = audited(a)
        assert secrets(a, "allow", found["fingerprint"], "--reason", "a decoy")[0] == 0
        a.run("mv", "../dot_a", ".", where=a.source)
    before = tree(a)
    status, out, err = secrets(a, "migrate")
    assert status == 1, out
    assert says in err
    assert "nothing was changed" in err
    assert NETRC not in out + err
    assert {path: raw for path, raw in tree(a).items() if "/.git/" not in path} == before


def test_a_failure_in_the_middle_leaves_everything_as_it_was(a: Host) -> None:
    before = tree(a)
    folder = a.source / "dot_config/weather"
    folder.chmod(0o500)  # what is in it cannot be renamed
    status, _, err = secrets(a, "migrate")
    assert status != 0, err
    folder.chmod(0o700)
    assert tree(a) == before
    assert secrets(a, "migrate")[0] == 0


KILLED = """
import os, sys
from gitopsd.cli.__main__ import main
left = LEFT
def audit(event, arguments):
    global left
    if event in ("os.rename", "os.remove", "os.rmdir", "os.link") and "/chezmoi" in str(arguments):
        if left == 0:
            os.kill(os.getpid(), 9)
        left -= 1
sys.addaudithook(audit)
main()
"""


def test_a_migration_that_is_killed_comes_back(host: Make) -> None:
    a = host("a")
    begin(a, {path: FILES[path] for path in ("private_dot_netrc", "dot_npmrc", "dot_in.tmpl")})
    before, done = tree(a), 0
    for at in range(200):
        status, _, err = secrets(a, "migrate", program=("-c", KILLED.replace("LEFT", str(at))))
        if status == 0:
            break
        assert status == -9, err
        done += 1
        # What comes next takes it back or, if all of it was done, finds nothing to do.
        status, _, err = secrets(a, "migrate", "--dry-run")
        assert status == 0, err
        if "nothing to migrate" in err:
            break
        assert tree(a) == before, at
    assert done > 15
    assert sops_file(a) == {name: NAMES[name] for name in ("netrc_forge_example_net", "npmrc__authToken", "in_token")}
    assert not (a.source / ".git/gitopsd/migration").exists()


async def test_nothing_is_published_of_a_migration_that_was_killed(a: Host) -> None:
    await a.sync()
    heads = a.remote.heads()
    assert secrets(a, "migrate", program=("-c", KILLED.replace("LEFT", "40")))[0] == -9  # half of it is done
    assert (a.source / ".git/gitopsd/migration/journal.json").exists()
    facts = await a.sync()
    assert facts.word is SyncWord.failed
    assert "gitopsctl secrets migrate" in [notice.advice.partition("  #")[0] for notice in facts.notices]
    assert a.remote.heads() == heads
    assert secrets(a, "migrate")[0] == 0
    assert (await a.sync()).published
    assert "private_dot_netrc.tmpl" in a.remote.files("main")


async def test_the_daemon_publishes_it_and_another_host_waits_for_its_secrets(
    a: Host, host: Make, decrypted: Path
) -> None:
    (a.source / ".chezmoiscripts/run_once_after_hello.sh").unlink()
    b = host("b")
    b.join()
    await a.sync()
    await b.sync()
    before = {path: b.read(path) for path in (".netrc", ".npmrc", ".ssh/id_ed25519")}
    assert secrets(a, "migrate")[0] == 0
    facts = await a.sync()
    assert not facts.quarantined
    assert facts.published
    assert "private_dot_netrc.tmpl" in a.remote.files("main")
    assert "private_dot_netrc" not in a.remote.files("main")
    b.write(".plain", "edited there\n")
    facts = await b.sync()
    waiting = {notice.path for notice in facts.notices if "waits for /run/secrets/" in notice.what}
    assert {".netrc", ".npmrc", ".ssh/id_ed25519"} <= waiting, facts.notices
    assert {path: b.read(path) for path in before} == before
    assert a.remote.show("main", "dot_plain") == "edited there\n"
    for name, value in sops_file(a).items():
        (decrypted / name).write_text(value)
    (decrypted / "netrc_forge_example_net").write_text("rotated-3Xq9\n")
    facts = await b.sync()
    assert not [notice for notice in facts.notices if "waits" in notice.what], facts.notices
    assert "password rotated-3Xq9\n" in b.read(".netrc")
    assert [b.read(path) for path in (".npmrc", ".ssh/id_ed25519")] == [before[".npmrc"], before[".ssh/id_ed25519"]]


def kept_notices(facts: PersonFacts) -> list[Notice]:
    return [each for each in facts.notices if "is kept as refs/gitopsd/withheld-" in each.what]


@pytest.mark.parametrize("captured", [False, True], ids=["in the home", "captured already"])
async def test_an_edit_on_another_host_meanwhile_is_kept_and_does_not_bring_the_secret_back(
    a: Host, host: Make, decrypted: Path, captured: bool
) -> None:
    b = host("b")
    b.join()
    await a.sync()
    await b.sync()
    b.edit(".npmrc", "//registry", "# mine\n//registry")
    if captured:
        await b.sync(cut="publish")
    assert secrets(a, "migrate")[0] == 0
    for name, value in sops_file(a).items():
        (decrypted / name).write_text(value)
    await a.sync()
    facts = await b.sync()
    assert [each.rule for each in facts.quarantined] == ["npm-token"]
    if captured:
        (notice,) = [each for each in facts.notices if "is not published, and kept in" in each.what]
        assert notice.path == ".npmrc"
        assert "# mine" in b.run("sh", "-c", notice.advice)
        (later,) = kept_notices(await b.sync())
        show, remove = later.advice.split("; ")
        assert "+# mine" in b.run("sh", "-c", show)
        assert kept_notices(await b.sync()) == [later]
        b.run("sh", "-c", remove)
        assert kept_notices(await b.sync()) == []
    for _ in range(3):
        await a.sync()
        await b.sync()
        assert "# mine\n" in b.read(".npmrc")
    heads = set(a.remote.heads())
    assert not any("dot_npmrc" in a.remote.files(head) for head in heads)
    assert a.read(".npmrc") == FILES["dot_npmrc"]


def test_secrets_of_chezmois_own_configuration_are_moved_and_what_is_left_there_is_named(
    host: Make, decrypted: Path
) -> None:
    a = host("a")
    template = (
        f'{{{{ $name := promptStringOnce . "name" "Name" "Rain" }}}}[data]\nname = "Rain"\nforge_token = "{NETRC}"\n'
        'mail_password = {{ promptStringOnce . "mail_password" "Mail" | quote }}\n'
    )
    a.write(
        ".config/chezmoi/chezmoi.toml", f'[data]\nname = "Rain"\nforge_token = "{NETRC}"\nmail_password = "{YAML}"\n'
    )
    a.run("git", "init", "--quiet", str(a.source))
    key(a)
    a.write(".local/share/chezmoi/.chezmoi.toml.tmpl", template)
    a.write(".local/share/chezmoi/dot_x.tmpl", "{{ .name }} {{ .forge_token | quote }} {{ .mail_password }}\n")
    before = rendered(a)
    status, out, err = secrets(a, "migrate")
    assert status == 0, err
    assert "chezmoi.toml:3 still has forge_token in plain" in err
    assert "chezmoi.toml:4 still has mail_password in plain" in err
    assert ".chezmoi.toml.tmpl:4 asks for mail_password, and nothing uses the answer" in err
    assert sops_file(a) == {"forge_token": NETRC, "mail_password": YAML}
    assert (a.source / ".chezmoi.toml.tmpl").read_text() == template.replace(f'forge_token = "{NETRC}"\n', "")
    for name, value in sops_file(a).items():
        (decrypted / name).write_text(value)
    assert rendered(a) == before
    a.edit(".config/chezmoi/chezmoi.toml", f'forge_token = "{NETRC}"\nmail_password = "{YAML}"\n', "")
    assert rendered(a) == before
    status, _, err = secrets(a, "migrate")
    assert status == 0
    assert "nothing to migrate" in err
    assert NETRC not in out + err


# The options that sops-nix has for a secret, as in its modules/sops/default.nix.
SOPS_NIX = """
{ lib, ... }:
{
  options.sops.secrets = lib.mkOption {
    default = { };
    type = lib.types.attrsOf (
      lib.types.submodule (
        { name, ... }:
        {
          options = {
            path = lib.mkOption {
              type = lib.types.str;
              default = "/run/secrets/${name}";
            };
            format = lib.mkOption {
              type = lib.types.enum [
                "yaml"
                "json"
                "binary"
                "dotenv"
                "ini"
              ];
              default = "yaml";
            };
            mode = lib.mkOption { type = lib.types.str; };
            owner = lib.mkOption { type = lib.types.nullOr lib.types.str; };
            sopsFile = lib.mkOption { type = lib.types.path; };
          };
        }
      )
    );
  };
}
"""
EVALUATE = """
let lib = import (builtins.getEnv "GITOPSD_NIXPKGS_LIB" + "/lib"); in
(lib.evalModules { modules = [ ./sops.nix ./snippet.nix ]; }).config.sops.secrets
"""


@pytest.mark.skipif(bool(nixmodule.why_not()), reason=nixmodule.why_not())
@pytest.mark.parametrize("kind", ["yaml", "json"])
def test_the_snippet_of_a_literal_is_what_sops_nix_takes(a: Host, tmp_path: Path, kind: str) -> None:
    status, out, err = secrets(a, "migrate", "--file", str(a.source / f".secrets/all.{kind}"), "--json")
    assert status == 0, err
    (tmp_path / "secrets").mkdir()
    (tmp_path / f"secrets/all.{kind}").touch()
    (tmp_path / "sops.nix").write_text(SOPS_NIX)
    (tmp_path / "snippet.nix").write_text("{\n" + json.loads(out)["snippet"] + "}\n")
    (tmp_path / "evaluate.nix").write_text(EVALUATE)
    done = subprocess.run(
        ["nix-instantiate", "--eval", "--strict", "--json", "--read-write-mode", str(tmp_path / "evaluate.nix")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.keys() == NAMES.keys()
    assert {each["owner"] for each in told.values()} == {"rain"}
    assert {each["mode"] for each in told.values()} == {"0400"}
    assert {each["format"] for each in told.values()} == {kind}
    assert told["ssh_id_ed25519"]["path"] == "/run/secrets/ssh_id_ed25519"


def test_any_text_renders_what_it_was_once_it_is_a_template(host: Make) -> None:
    """Made of what templates could stumble over, with values anywhere: real chezmoi renders all of them at once."""
    a, chance = host("a"), random.Random(11)  # noqa: S311 - to be repeated
    a.run("chezmoi", "init")
    values = {"Va1ue-0ne": "one", "Va1ue-0ne-longer": "two", "k3y\nof two\nlines\n": "three"}
    for value, name in values.items():
        a.write(f"values/{name}", value)
    pieces = [
        "{",
        "{{",
        "}",
        "}}",
        "{{-",
        "-}}",
        "{{/*",
        "*/}}",
        '"',
        "`",
        "'",
        "\\",
        "\n",
        "\r\n",
        " ",
        "\t",
        "-",
        "x",
        "é",
    ]
    pieces += ["{{ x }}", '{{ "y" }}', "$", "end", *values]
    texts = ["".join(chance.choices(pieces, k=chance.randrange(1, 30))) for _ in range(400)]
    texts += [before + value + after for value in values for before in pieces for after in ("", "}", "{{", "\n")]
    looked = Looked(
        expressions={
            value: f'include "{a.home}/values/{name}"' + (" | trim" if value.strip() == value else "")
            for value, name in values.items()
        }
    )
    for number, text in enumerate(texts):
        new = literals.as_template(text, looked)
        assert not any(value in new for value in values)
        a.write(f".local/share/chezmoi/empty_dot_t{number:03}.tmpl", "")
        (a.source / f"empty_dot_t{number:03}.tmpl").write_bytes(new.encode())
    a.run("chezmoi", "apply")
    for number, text in enumerate(texts):
        found = (a.home / f".t{number:03}").read_bytes()
        assert found == text.encode(), (text, (a.source / f"empty_dot_t{number:03}.tmpl").read_text())


TEMPLATES = {
    'a {{ "V-alue-1" }} b': 'a {{ include "P" | trim }} b',
    "{{- `V-alue-1` -}}": '{{- include "P" | trim -}}',
    '{{ "V-alue-1" | quote }}': '{{ (include "P" | trim) | quote }}',
    '{{ if eq .chezmoi.os "V-alue-1" }}x{{ end }}': '{{ if eq .chezmoi.os (include "P" | trim) }}x{{ end }}',
    '{{ printf "%s-%s" "V-alue-1" "%V-alue-1%" }}': (
        '{{ printf "%s-%s" (include "P" | trim) (print "%" (include "P" | trim) "%") }}'
    ),
    '{{ "}} V-alue-1 {{" }}': '{{ print "}} " (include "P" | trim) " {{" }}',
    '{{/* a " quote */}}{V-alue-1}{{ "x" }}': '{{/* a " quote */}}{{ "{" }}{{ include "P" | trim }}}{{ "x" }}',
    '{{ $x := `a\nV-alue-1` }}{{ $x }}{{ "\\"V-alue-1" }}': (
        '{{ $x := (print `a\n` (include "P" | trim)) }}{{ $x }}{{ print "\\"" (include "P" | trim) }}'
    ),
    '{{ dict "password" "V-alue-1" "n" 7 | toJson }}': '{{ dict "password" (include "P" | trim) "n" 7 | toJson }}',
    '{{ include\n  "V-alue-1.txt" }}V-alue-1': None,
}


@pytest.mark.parametrize("text", TEMPLATES)
def test_a_value_within_an_action_becomes_a_part_of_it(host: Make, text: str) -> None:
    a = host("a")
    a.run("chezmoi", "init")
    a.write("value", "V-alue-1")
    a.write(".local/share/chezmoi/V-alue-1.txt", "a file\n")
    new = literals.in_template(text, Looked(expressions={"V-alue-1": 'include "P" | trim'}))
    if TEMPLATES[text] is not None:
        assert new == TEMPLATES[text]
    a.write("old", text)
    a.write("new", new.replace('"P"', f'"{a.home}/value"'))
    before, after = (a.run("chezmoi", "execute-template", "--file", str(a.home / name)) for name in ("old", "new"))
    assert before == after
    assert "V-alue-1" not in new
