"""The how-to "Move your secrets to SOPS", typed as it is written."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

from people import Host
from secret_dotfiles import VALUES, begin, secrets

PAGE = Path(__file__).parents[2] / "docs/how-to/move-secrets-to-sops.md"


def page() -> Path:
    """The page, also where only the tests and the package are."""
    return PAGE if PAGE.exists() else Path("/src/docs/how-to/move-secrets-to-sops.md")


async def test_the_how_to_works_as_it_is_written(host: Callable[..., Host]) -> None:
    a = host("a")
    begin(a)
    text = page().read_text()
    (rule,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    recipient = a.run("age-keygen", "-y", ".config/sops/age/keys.txt").strip()
    a.write(".local/share/chezmoi/.sops.yaml", rule.replace("age1...,age1...", recipient))
    typed = re.findall(r"^\$ gitopsctl (.*)$", text, re.MULTILINE)  # there is no daemon to be stopped here
    ran = []
    before = Path("/run/secrets")
    before.mkdir()
    try:
        for line in typed:
            words = shlex.split(line)
            if words == ["sync"]:
                assert (await a.sync()).published
                continue
            status, out, err = secrets(a, *words[1:])
            ran.append((words[1:], status))
            assert not any(value in out + err for value in VALUES)
            if words[1:] == ["migrate"]:  # what NixOS does at activation
                for name, value in (("acoustid_api", VALUES[0]), ("tokens_forge", VALUES[1])):
                    (before / name).write_text(value)
    finally:
        for file in before.iterdir():
            file.unlink()
        before.rmdir()
    assert ran == [
        (["audit"], 1),
        (["audit", "--decide", "email_personal=config"], 1),
        (["migrate", "--dry-run"], 0),
        (["migrate"], 0),
        (["scrub"], 1),
        (["scrub", "--rewrite"], 0),
    ]
    assert secrets(a, "audit", "--history")[0] == 0
    (snippet,) = re.findall(r"```nix\n(.*?)```", text, re.DOTALL)
    assert snippet.splitlines()[0] == 'sops.secrets."acoustid_api" = {'
