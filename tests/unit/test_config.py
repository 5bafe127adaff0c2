"""The configuration: all faults at once, none accepted silently."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitopsd.config import Config, duration, load, parse
from gitopsd.errors import ConfigError

GOOD = b"""
host = "malphas"
[[dotfiles]]
user = "rain"
repo_url = "git@example.org:rain/dotfiles.git"
[config]
repo_url = "git@example.org:rain/nix-config.git"
[verify]
validate_units = ["sshd.service"]
soak = "1min 30s"
[retry.fetch]
attempts = 5
"""


def test_a_good_file_becomes_a_frozen_config() -> None:
    config = parse(GOOD)
    assert config.host == "malphas"
    assert config.dotfiles[0].trunk == "main"
    assert config.config is not None
    assert config.config.branch == "main"
    assert config.verify.soak == 90.0
    assert config.retry.fetch.attempts == 5
    with pytest.raises(AttributeError):
        config.host = "other"  # type: ignore[misc]


def test_all_faults_are_reported_at_once_with_path_found_and_expected() -> None:
    bad = b'hots = "x"\n[[dotfiles]]\nuser = 3\n[verify]\nsoak = "long"\nvalidate_units = ["sshd"]\n'
    with pytest.raises(ConfigError) as caught:
        parse(bad, "c.toml")
    assert caught.value.message.splitlines() == [
        "c.toml has 5 faults:",
        "  hots: found an unknown key, expected `host`",
        "  dotfiles[0].user: found 3, expected a string",
        "  dotfiles[0].repo_url: found nothing, expected a string",
        "  verify.validate_units[0]: found 'sshd', expected a unit with its suffix, such as \"sshd.service\"",
        '  verify.soak: found \'long\', expected a duration such as "30s" or "5min"',
    ]
    assert caught.value.advice == "correct it, then `gitopsctl config check c.toml`"


def test_what_is_no_toml_is_said_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"c.toml is not TOML: .*line 2"):
        parse(b"host = 'x'\nnot toml", "c.toml")


def test_bytes_that_are_no_text_are_a_clear_error() -> None:
    with pytest.raises(ConfigError, match="is not TOML"):
        parse(b"\xff\xfe\x00")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"[[dotfiles]]\nuser='a'\nrepo_url='x'\n[[dotfiles]]\nuser='a'\nrepo_url='y'", "each user once"),
        (b"[[dotfiles]]\nuser='a'\nrepo_url='x'\nsource='/abs'", "a path below the home"),
        (b"[[dotfiles]]\nuser='a'\nrepo_url='x'\nsource='../x'", "a path below the home"),
        (b"host='x'", "neither"),
        (b"[config]\nrepo_url='x'\n[retry.push]\nattempts=0", "1 or more"),
        (b"[config]\nrepo_url='x'\n[switch]\nmode='tset'", '"switch" or "boot"'),
        (b"[config]\nrepo_url='x'\n[history]\ncycles=true", "a whole number"),
        (b"[config]\nrepo_url='x'\n[[verify.probes]]\ntimeout='1s'", "one of `tcp`, `http`, `command`"),
        (b"[config]\nrepo_url='x'\n[[verify.probes]]\ntcp='a:1'\nhttp='http://x'", "found `tcp` and `http`"),
        (b"[config]\nrepo_url='x'\n[[verify.probes]]\ntcp='localhost'", '"host:port"'),
        (b"[config]\nrepo_url='x'\n[[verify.probes]]\nhttp='file:///etc/passwd'", "a URL of http or https"),
        (b"verify = 3\n[config]\nrepo_url='x'", "a table"),
    ],
)
def test_each_kind_of_fault_says_what_is_expected(line: bytes, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(line)
    assert expected in caught.value.message


def test_a_file_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file") as caught:
        load(tmp_path / "none.toml")
    assert "gitopsctl config check" in caught.value.advice


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30.0), ("5min", 300.0), ("1h 30min", 5400.0), ("250ms", 0.25), (7, 7.0), (1.5, 1.5), ("2 d", 172800.0)],
)
def test_durations_are_read_as_systemd_writes_them(text: object, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "5", "5 minutes", "-3s", -1, True, None, "3s garbage"])
def test_what_is_no_duration_is_none(text: object) -> None:
    assert duration(text) is None


@given(st.binary(max_size=200))
def test_any_bytes_give_a_config_or_a_config_error(raw: bytes) -> None:
    try:
        assert isinstance(parse(raw), Config)
    except ConfigError as error:
        assert error.message


def test_a_signature_policy_names_signers_that_can_be_looked_up() -> None:
    policy = b'[config]\nrepo_url = "x"\n[config.signatures]\n'
    good = parse(policy + b'gpg_keyring = "/etc/k"\ngpg_fingerprints = ["' + b"A" * 40 + b'"]')
    assert good.config is not None
    assert good.config.signatures is not None
    for text, said in (
        (b"", "found no signer, expected `ssh_allowed_signers` or `gpg_keyring`, or both"),
        (b'ssh_allowed_signers = "signers"', "found 'signers', expected an absolute path"),
        (b'ssh_allowed_signers = "/s"\ngpg_fingerprints = ["' + b"A" * 40 + b'"]', "found fingerprints without"),
        (b'gpg_keyring = "/k"\ngpg_fingerprints = ["DEADBEEF"]', "gpg_fingerprints[0]: found 'DEADBEEF'"),
    ):
        with pytest.raises(ConfigError) as caught:
            parse(policy + text)
        assert said in caught.value.message


def test_keys_and_checkouts_are_absolute_paths() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(
            b'[config]\nrepo_url = "x"\ncheckout = "nix-config"\nssh_key = "/a key"\n'
            b'[[dotfiles]]\nuser = "rain"\nrepo_url = "x"\nssh_key = "~/.ssh/id"\n'
        )
    for said in ("config.checkout: found 'nix-config'", "config.ssh_key: found '/a key'", "dotfiles[0].ssh_key: found"):
        assert said in caught.value.message


def test_a_checkout_is_published_only_where_that_can_work() -> None:
    start = b'[config]\nrepo_url = "x"\n'
    for text, said in (
        (b"commit_local = true", "config.commit_local: found true without a checkout"),
        (b'checkout = "/c"\nupdate_inputs = true', "config.update_inputs: found true without commit_local"),
        (
            b'checkout = "/c"\ncommit_local = true\n[config.signatures]\ngpg_keyring = "/k"',
            "config.commit_local: found true beside config.signatures",
        ),
    ):
        with pytest.raises(ConfigError) as caught:
            parse(start + text)
        assert said in caught.value.message
