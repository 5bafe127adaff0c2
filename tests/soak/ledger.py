"""What has become of each unique line that a person wrote: the checks compare the world with it.

Every line of every file is one word that no other line has (`t0012b`, written on host b). So "nothing is lost" and
"nothing is reverted" are questions about sets of words.
"""

import re
from collections import defaultdict
from collections.abc import Iterable

_WORD = re.compile(r"\bt\d{4}[a-z]\b")
_SECRET = re.compile(r"^password = (tr0ub4dor-\d{4}[a-z])\n", re.MULTILINE)


def words(text: str) -> frozenset[str]:
    """The unique lines in a text."""
    return frozenset(_WORD.findall(text))


def words_of(texts: Iterable[str]) -> set[str]:
    """The unique lines in several texts."""
    return {word for text in texts for word in words(text)}


def secrets_in(text: str) -> list[str]:
    """The planted secrets in a text; every one is made up, and unique."""
    return _SECRET.findall(text)


def without_secrets(text: str) -> str:
    """A text as it is once its planted secrets are taken out."""
    return _SECRET.sub("", text)


class Ledger:
    """The people's actions, as far as they excuse what would be a loss otherwise."""

    def __init__(self) -> None:
        self._count = 0
        self.removed: set[str] = set()  # a person took it out somewhere: it may go everywhere
        self.again: set[str] = set()  # a person put a file with it back
        self.durable: set[str] = set()  # a sync that published said success over it
        self.trunk: set[str] = set()  # on the trunk when last looked at
        self.left_trunk: set[str] = set()  # was on the trunk once, and no more
        self.homes: dict[str, set[str]] = defaultdict(set)  # in that home when last looked at
        self.dropped: dict[str, set[str]] = defaultdict(set)  # its person took it out of that home
        self.authors: dict[str, set[str]] = defaultdict(set)  # hosts on which a target was changed
        self.renamed: set[str] = set()  # targets whose source got another name, since their mode changed
        self.reasons: dict[str, dict[str, str]] = defaultdict(dict)  # why a host may have a notice about a target
        self.secrets: set[str] = set()  # planted anywhere, ever
        self.taken_out: set[str] = set()  # of those, what a person took out of a file again

    def new(self, host: str) -> str:
        """A line that was never written before."""
        self._count += 1
        return f"t{self._count:04}{host}"

    def secret(self, host: str) -> str:
        """A line with a secret that was never written before."""
        self._count += 1
        value = f"tr0ub4dor-{self._count:04}{host}"
        self.secrets.add(value)
        return f"password = {value}"

    def change(self, host: str, target: str, old: str, new: str) -> None:
        """A person replaced a text by another on this host."""
        self.authors[target].add(host)
        self.removed |= words(old) - words(new)
        self.dropped[host] |= words(old) - words(new)
        self.taken_out.update(set(secrets_in(old)).difference(secrets_in(new)))
        self.again |= words(new) & self.left_trunk
