"""What a person allowed is in a file of the repository, and the file tells nothing."""

import pytest

from gitopsd.errors import Failed
from gitopsd.secrets.allow import allow, parse_allowed, with_entry


def test_an_allowed_value_is_found_again_and_no_other() -> None:
    raw = with_entry(b"", allow("dot_app.conf", "generic-api-key", "4711", 'a "demo" account\n'))
    raw = with_entry(raw, allow("dot_bashrc", "literal-after-secret-key", "hunter2hunter2", "an example"))
    first, second = parse_allowed(raw)
    assert (first.path, first.reason) == ("dot_app.conf", 'a "demo" account\n')
    assert first.matches("4711")
    assert not first.matches("4712")
    assert second.matches("hunter2hunter2")


def test_the_file_does_not_have_the_value_and_no_two_entries_look_alike() -> None:
    raw = with_entry(with_entry(b"", allow("a", "r", "hunter2", "x")), allow("a", "r", "hunter2", "x"))
    assert b"hunter2" not in raw
    one, other = parse_allowed(raw)
    assert one.scrypt != other.scrypt


def test_a_damaged_file_closes_the_gate() -> None:
    with pytest.raises(Failed, match="allowed-secrets"):
        parse_allowed(b"[[allowed]]\npath = 1\n")
