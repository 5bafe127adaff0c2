"""What the gate lets pass since a person said so: a file in the repository, to be reviewed like any other.

An entry names a file, and the value by scrypt with a salt of its own. What is allowed is published in plain beside it, so
the entry tells nothing that the repository does not; it is slow and salted for the case that it was allowed by mistake
and taken back before it was published.
"""

import hashlib
import hmac
import secrets
import tomllib

import msgspec

from gitopsd.errors import Failed

FILE = ".gitopsd/allowed-secrets.toml"
_HEADER = """\
# What looks like a secret to gitopsd and is none. Written by `gitopsctl secrets allow`; taking an entry out ends it.
"""
_WORK = 2**14  # scrypt's n: about 50 ms and 16 MiB for each try


class Allowed(msgspec.Struct, frozen=True, kw_only=True):
    """One entry.

    Args:
        path: the file, in the repository.
        rule: what found it.
        reason: why it is no secret, in the person's words.
        salt: hexadecimal.
        scrypt: of the value with the salt, hexadecimal.

    """

    path: str
    rule: str
    reason: str
    salt: str
    scrypt: str

    def matches(self, value: str) -> bool:
        """Whether this is the value that was allowed."""
        return hmac.compare_digest(_derive(value, self.salt), self.scrypt)


class _File(msgspec.Struct, frozen=True):
    allowed: tuple[Allowed, ...] = ()


def allow(path: str, rule: str, value: str, reason: str) -> Allowed:
    """Make an entry for a value."""
    salt = secrets.token_hex(16)
    return Allowed(path=path, rule=rule, reason=reason, salt=salt, scrypt=_derive(value, salt))


def parse_allowed(raw: bytes) -> tuple[Allowed, ...]:
    """Read the file; an empty one has no entries.

    Raises:
        Failed: it is damaged; nothing is allowed then.

    """
    try:
        return msgspec.convert(tomllib.loads(raw.decode()), type=_File).allowed
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise Failed(
            f"{FILE} cannot be read: {error}",
            meaning="nothing is committed or published before it can: what it allows is not known",
            advice=f"correct {FILE}, or remove it and allow again what is needed",
        ) from error


def with_entry(raw: bytes, entry: Allowed) -> bytes:
    """The file with one more entry at its end."""
    text = raw.decode() or _HEADER
    fields = "".join(f"{name} = {quoted(getattr(entry, name))}\n" for name in entry.__struct_fields__)
    return f"{text.rstrip()}\n\n[[allowed]]\n{fields}".encode()


def quoted(text: str) -> str:
    """A TOML basic string; JSON's are those, for what is printable."""
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")


def _derive(value: str, salt: str) -> str:
    raw = value.encode(errors="replace")
    return hashlib.scrypt(raw, salt=salt.encode(), n=_WORK, r=8, p=1, maxmem=64 * 1024 * 1024, dklen=32).hex()
