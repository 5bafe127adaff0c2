"""What the gate looks at, and what it finds. Pure."""

from gitopsd.types.values import Value


class Finding(Value, frozen=True, kw_only=True):
    """A place that looks like a secret. The value itself is never part of it.

    Args:
        path: the file, in the repository or relative to the home.
        line: from 1; 0 if it is about the file as a whole.
        rule: what it was found by, such as `github-pat` or `literal-after-secret-key`.
        fingerprint: names this value of this rule on this host; says nothing about the value.
        commit: the commit that has it, if it is in one.

    """

    path: str
    line: int
    rule: str
    fingerprint: str
    commit: str = ""


class Candidate(Value, frozen=True, kw_only=True, repr_omit_defaults=True):
    """A file that is about to be committed or published, for the gate to look at.

    Args:
        path: in the repository, as it is.
        content: what it holds.
        published: what the published version of it holds, if there is one: what was found there already is no news.
        is_new: there is no published version.

    """

    path: str
    content: bytes
    published: bytes = b""
    is_new: bool = True

    def __repr__(self) -> str:  # what it holds must not get into a log by way of a message
        return f"Candidate(path={self.path!r})"
