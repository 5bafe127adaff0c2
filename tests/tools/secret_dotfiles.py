"""Dotfiles as people have them before they move their secrets, and `gitopsctl secrets` run by that person."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from people import Host

FILES = {
    ".chezmoidata.yaml": (
        "# about me\nname: Rain\ndesktop: true\nemail_personal: rain@example.org\nacoustid_api: Ab3dE9fGh1\n"
        "tokens:\n    forge: s3cr3t-Fort-77x\ncolors: [red, blue]\n"
    ),
    "dot_config/beets/config.yaml.tmpl": "acoustid:\n  apikey: {{ .acoustid_api }}\nui: {{ if .desktop }}yes{{ end }}\n",
    "dot_forge.tmpl": 'login {{ .name }}\ntoken {{ $.tokens.forge | quote }} {{ printf "%s" .tokens.forge }}\n',
    "dot_mail.tmpl": "mail = {{ .email_personal }}\n",
    "dot_plain": "plain\n",
}
VALUES = ("Ab3dE9fGh1", "s3cr3t-Fort-77x")
# With literals: one that is a secret, and one that only looks random.
LITERALS = {
    "private_dot_netrc": "machine forge.example.net login rain password kQ7vR2mW9z\n",
    "dot_config/radio.conf": "auth = Zq8sW2eD4rF6tG8yH1uJ3\n",
}
LITERAL_VALUES = {"netrc_forge_example_net": "kQ7vR2mW9z", "radio_login": "Zq8sW2eD4rF6tG8yH1uJ3"}


def begin(host: Host, files: Mapping[str, str] = FILES) -> None:
    """Give a host dotfiles, pushed once by hand as people did, and an age key."""
    host.run("chezmoi", "init")
    for path, content in files.items():
        host.write(f".local/share/chezmoi/{path}", content)
    host.begin({})
    key(host)


def key(host: Host) -> None:
    """An age key of the person, and the rule that says to encrypt for it."""
    host.run("mkdir", "-p", ".config/sops/age")
    host.run("age-keygen", "-o", ".config/sops/age/keys.txt")
    recipient = host.run("age-keygen", "-y", ".config/sops/age/keys.txt").strip()
    rules = f"creation_rules:\n  - path_regex: \\.secrets/.*\n    age: {recipient}\n"
    host.write(".local/share/chezmoi/.sops.yaml", rules)


def environment(host: Host) -> dict[str, str]:
    """What the person's programs find."""
    path = os.pathsep.join(filter(None, sys.path))
    return {
        "HOME": str(host.home),
        "PATH": os.environ["PATH"],
        "LC_ALL": "C.UTF-8",
        "USER": host.account.name,
        "PYTHONPATH": path,
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def tree(host: Host) -> dict[str, bytes]:
    """Every file of the home and the source directory; git's and jj's own are compressed, and of no interest here."""
    files = (path for path in host.home.rglob("*") if path.is_file() and not {".git", ".jj", ".cache"} & {*path.parts})
    return {str(path): path.read_bytes() for path in files}


@contextmanager
def decrypted_as_at_activation() -> Iterator[Path]:
    """Where NixOS puts the secrets."""
    folder = Path("/run/secrets")
    folder.mkdir()
    yield folder
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def left_on_disk(values: Sequence[str], *, but: Sequence[Path]) -> list[str]:
    """The files that hold a value in plain, where programs leave things; `but` are places where it may be."""
    patterns = [option for value in values for option in ("-e", value)]
    found = subprocess.run(
        ["grep", "-rlF", "--exclude-dir=pytest-of-root", *patterns, "/dev/shm", "/tmp", "/run", "/var/tmp"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    return [path for path in found if not any(Path(path).is_relative_to(place) for place in but)]


def secrets(host: Host, *arguments: str, program: Sequence[str] = ("-m", "gitopsd.cli")) -> tuple[int, str, str]:
    """`gitopsctl secrets ...` as the person: exit status, stdout and stderr."""
    done = subprocess.run(
        [sys.executable, *program, "secrets", *arguments],
        cwd=host.home,
        env=environment(host),
        user=host.account.uid,
        group=host.account.gid,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
        umask=0o022,
    )
    return done.returncode, done.stdout, done.stderr
