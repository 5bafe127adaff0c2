"""Dotfiles as people have them before they move their secrets, and `gitopsctl secrets` run by that person."""

import os
import subprocess
import sys

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


def begin(host: Host) -> None:
    """Give a host these dotfiles, pushed once by hand as people did, and an age key."""
    host.run("chezmoi", "init")
    for path, content in FILES.items():
        host.write(f".local/share/chezmoi/{path}", content)
    host.begin({})
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


def secrets(host: Host, *arguments: str) -> tuple[int, str, str]:
    """`gitopsctl secrets ...` as the person: exit status, stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "gitopsd.cli", "secrets", *arguments],
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
