"""What literals are called, what is said of files that cannot be templates, and what is left of a value in a tree."""

import base64
import gzip
import json
import urllib.parse

import pytest

from gitopsd.errors import Failed
from gitopsd.secrets import decisions, literals
from gitopsd.secrets.keys import Kind
from gitopsd.secrets.rules import scan
from gitopsd.tools.chezmoi_names import target_of

VALUE = 'pA"s5 & w0rd+q9'


@pytest.mark.parametrize(
    ("path", "text", "name"),
    [
        ("dot_netrc", "machine a login x password aaBB1122\nmachine b.c\n  password Zz99-yyXX\n", "netrc_b_c"),
        ("dot_bashrc", "export GITHUB_TOKEN='x9-Zz99-yyXX'\n", "github_token"),
        ("dot_config/app/config.toml", 'api_key = "x9-Zz99-yyXX"\n', "app_api_key"),
        ("dot_config/app/secrets.yaml.tmpl", "db:\n  password: x9-Zz99-yyXX\n", "app_password"),
        ("dot_pgpass", "db.example.net:5432:app:rain:x9-Zz99-yyXX\n", "pgpass_rain"),
        ("executable_dot_sync", "curl https://rain:x9Zz99yyXX@host.example.net/\n", "sync_host_example_net"),
        ("dot_x.json", '{"user": "rain", "password": "x9-Zz99-yyXX"}\n', "x_password"),
        ("dot_x", "Authorization: Bearer x9Zz99yyXX11\n", "x_Authorization"),
    ],
)
def test_a_literal_is_called_after_what_stands_before_it(path: str, text: str, name: str) -> None:
    hit = scan(path, text.encode())[-1]
    assert literals.moved_text(text, hit) == hit.value
    assert literals.proposed_name(target_of(path), text, hit) == name


def test_names_are_told_apart_by_a_number() -> None:
    assert literals.distinct("a", ("b",)) == "a"
    assert literals.distinct("a", ("a", "a_2")) == "a_3"


@pytest.mark.parametrize(
    "content",
    [
        f"x {VALUE}".encode(),
        json.dumps({"x": VALUE}).encode(),
        urllib.parse.quote(VALUE, safe="").encode(),
        b"x pA&quot;s5 &amp; w0rd+q9",
        VALUE.encode().hex().encode(),
        *(base64.b64encode(b"u" * shift + VALUE.encode() + b"tail") for shift in range(4)),
        *(base64.urlsafe_b64encode(b"u" * shift + VALUE.encode()) for shift in range(3)),
        base64.b64encode(base64.b64encode(f"rain:{VALUE}".encode())),
        f"x = '{VALUE}' and more of it".encode("utf-16"),
        gzip.compress(f"x {VALUE}".encode()),
    ],
)
def test_a_value_is_found_in_whatever_form_it_is_left(content: bytes) -> None:
    forms = {"one": literals.forms_of(VALUE), "other": literals.forms_of("other-0ne-9")}
    assert [name for _, name in literals.leftovers(content, forms)] == ["one"]


def test_a_short_value_is_looked_for_as_a_word() -> None:
    forms = {"pin": literals.forms_of("1234")}
    assert list(literals.leftovers(b"port 12345\n", forms)) == []
    assert list(literals.leftovers(b"\npin=1234\n", forms)) == [(2, "pin")]


def test_decisions_about_literals_are_read_as_they_were_written() -> None:
    literal = decisions.Literal(kind=Kind.secret, name="forge", file='a "file"')
    known = decisions.Decisions({"a.b": Kind.config}, {"0123456789abcdef": literal})
    assert decisions.parse(decisions.encode(known)) == known
    assert decisions.parse(b"") == decisions.Decisions()
    with pytest.raises(Failed, match="no name of a secret"):
        decisions.parse(b'[literals]\nabc = { kind = "secret", name = "../x" }\n')
