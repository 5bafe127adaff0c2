"""The how-to "Move your secrets to SOPS", typed as it is written."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

from people import Host
from secret_dotfiles import FILES, LITERAL_VALUES, LITERALS, VALUES, begin, decrypted_as_at_activation, secrets

PAGE = Path(__file__).parents[2] / "docs/how-to/move-secrets-to-sops.md"


def page() -> Path:
    """The page, also where only the tests and the package are."""
    return PAGE if PAGE.exists() else Path("/src/docs/how-to/move-secrets-to-sops.md")


async def test_the_how_to_works_as_it_is_written(host: Callable[..., Host]) -> None:
    a = host("a")
    begin(a, FILES | LITERALS)
    a.run("chezmoi", "apply")
    values = {"acoustid_api": VALUES[0], "tokens_forge": VALUES[1], **LITERAL_VALUES}
    before = {path: a.read(path) for path in (".netrc", ".config/radio.conf", ".forge")}
    text = page().read_text()
    (rule,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    recipient = a.run("age-keygen", "-y", ".config/sops/age/keys.txt").strip()
    a.write(".local/share/chezmoi/.sops.yaml", rule.replace("age1...,age1...", recipient))
    typed = re.findall(r"^\$ gitopsctl (.*)$", text, re.MULTILINE)  # there is no daemon to be stopped here
    ran = []
    literals = json.loads(secrets(a, "audit", "--json")[1])["literals"]
    (undecided,) = [each["fingerprint"] for each in literals if each["kind"] == "undecided"]
    (shown,) = re.findall(r"^secret     private_dot_netrc.*$", text, re.MULTILINE)
    with decrypted_as_at_activation() as folder:
        for line in typed:
            words = shlex.split(line.replace("FINGERPRINT", undecided))
            if words == ["sync"]:
                assert (await a.sync()).published
                continue
            status, out, err = secrets(a, *words[1:])
            ran.append((words[1:], status))
            assert not any(value in out + err for value in values.values())
            if len(ran) == 1:  # what the page shows of it
                told = re.sub(r"\b[0-9a-f]{16}\b", "FINGERPRINT", out)
                assert shown in told.splitlines()
                assert re.findall(r"^undecided  dot_config/radio.*$", text, re.MULTILINE)[0] in told.splitlines()
            if words[1:] == ["migrate"]:  # what NixOS does at activation
                for name, value in values.items():
                    (folder / name).write_text(value)
        assert {path: a.run("chezmoi", "cat", str(a.home / path)) for path in before} == before
    assert ran == [
        (["audit"], 1),
        (["audit", "--decide", "email_personal=config"], 1),
        (["audit", "--decide", f"{undecided}=secret:radio_login"], 1),
        (["migrate", "--dry-run"], 0),
        (["migrate"], 0),
        (["scrub"], 1),
        (["scrub", "--rewrite"], 0),
    ]
    assert secrets(a, "audit", "--history")[0] == 0
    (snippet,) = re.findall(r"```nix\n(.*?)```", text, re.DOTALL)
    assert snippet.splitlines()[0] == 'sops.secrets."acoustid_api" = {'
