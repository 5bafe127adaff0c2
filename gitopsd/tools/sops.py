"""sops: values encrypted for the recipients that `.sops.yaml` names, or for those that are given.

What is encrypted goes in by stdin, and what is decrypted comes out by stdout: no value is in an argument list, an
environment or a file. Checked with sops 3.11.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gitopsd.errors import Failed, ToolMissing
from gitopsd.tools.process import Account, CommandFailed, Processes

_TIMEOUT = 120.0  # seconds; a key service or a token may take its time
# Where sops looks for keys; what they hold are paths and addresses, except for SOPS_AGE_KEY, which is not passed on.
_KEYS = ("SOPS_AGE_KEY_FILE", "SOPS_AGE_SSH_PRIVATE_KEY_FILE", "SOPS_CONFIG", "GNUPGHOME", "XDG_CONFIG_HOME")


class Sops:
    """Encrypts and decrypts for one person, with the keys that sops finds for them.

    Args:
        processes: starts sops.
        account: the person.

    """

    def __init__(self, processes: Processes, account: Account) -> None:
        self._processes = processes
        self._account = account

    async def decrypt(self, file: Path) -> dict[str, Any]:
        """What a SOPS file holds.

        Raises:
            ToolMissing: there is no sops.
            Failed: there is no key for it here, or it is damaged.

        """
        raw = await self._run("decrypt", "--output-type", "json", str(file), where=file.parent)
        found = json.loads(raw)
        return found if isinstance(found, dict) else {}

    async def encrypt(self, values: Mapping[str, Any], file: Path, *, recipients: str = "") -> bytes:
        """A SOPS file with these values, in the format that the name says; nothing is written.

        Args:
            values: what it is to hold.
            file: where it is to be: its name decides the format and the rule of `.sops.yaml`.
            recipients: age recipients with commas between; empty goes by `.sops.yaml`.

        Raises:
            ToolMissing: there is no sops.
            Failed: nothing says whom to encrypt it for.

        """
        whom = ("--age", recipients) if recipients else ()
        raw = json.dumps(dict(values)).encode()
        arguments = ("encrypt", *whom, "--input-type", "json", "--filename-override", str(file))
        return (await self._run(*arguments, where=file.parent, stdin=raw)).encode(errors="surrogateescape")

    async def _run(self, *arguments: str, where: Path, stdin: bytes | None = None) -> str:
        try:
            result = await self._processes.run(
                ("sops", *arguments),
                timeout=_TIMEOUT,
                account=self._account,
                cwd=_nearest(where),
                env={name: os.environ[name] for name in _KEYS if name in os.environ},
                stdin=stdin,
            )
        except ToolMissing as error:
            raise ToolMissing(
                "sops is not installed",
                meaning="nothing was changed",
                advice="install sops (nixpkgs: sops; elsewhere: github.com/getsops/sops)",
            ) from error
        except CommandFailed as error:
            raise Failed(
                f"sops cannot {arguments[0]}: {error.result.tail()}",
                meaning="nothing was changed",
                advice="sops needs a key for this file: ~/.config/sops/age/keys.txt or SOPS_AGE_KEY_FILE; "
                "and a rule in .sops.yaml, or --age RECIPIENT",
            ) from error
        return result.stdout


def _nearest(directory: Path) -> str:
    """The directory, or the next one above it that exists: sops looks for `.sops.yaml` from there upwards."""
    while not directory.is_dir():
        directory = directory.parent
    return str(directory)
