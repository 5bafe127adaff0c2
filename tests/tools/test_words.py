"""What jj, git and chezmoi print, as recorded from jj 0.46, git 2.53 and chezmoi 2.73."""

import pytest

from gitopsd.errors import Cause, Transient
from gitopsd.tools.chezmoi import Row, parse_status
from gitopsd.tools.chezmoi_names import is_encrypted, is_plain_file, same_target
from gitopsd.tools.git import foreign_error, printable
from gitopsd.tools.process import CommandFailed, Result


def test_a_status_line_ends_where_the_known_name_ends() -> None:
    text = "MM .config/a b\n M .config/x\nMM y\nDA z\n"
    assert [row.target for row in parse_status(text, ())] == [".config/a b", ".config/x", "y", "z"]
    assert parse_status(text, {".config/x\nMM y"})[1] == Row(target=".config/x\nMM y", last=" ", next="M")
    assert parse_status("MM new\nline\n", ())[0].target == "new\nline"


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("executable_dot_bashrc", ".bashrc"),
        ("private_dot_ssh/encrypted_private_config.age", ".ssh/config"),
        ("exact_dot_config/dot_x.tmpl", ".config/.x"),
        ("dot_config/run_fast", ".config/fast"),
        ("run_onchange_after_x.sh.tmpl", "x.sh"),
        ("create_private_dot_x", ".x"),
        ("plain", "plain"),
        # What only looks like an attribute is part of the name.
        ("literal_dot_bashrc", "dot_bashrc"),
        ("bin/literal_before_commit", "bin/before_commit"),
        ("exact_list", "exact_list"),
        ("once_a/run_b/empty_dir/x", "once_a/run_b/empty_dir/x"),
        ("key.age", "key.age"),
        ("encrypted_key.age.age", "key.age"),
        ("dot_gitconfig.tmpl.literal", ".gitconfig.tmpl"),
        ("dot_gitconfig.tmpl.literal.tmpl", ".gitconfig.tmpl"),
        (".chezmoitemplates/a.tmpl", ".chezmoitemplates/a.tmpl"),
        (".chezmoiscripts/run_once_a.sh", ".chezmoiscripts/a.sh"),
    ],
)
def test_all_sources_of_one_target_have_one_name(source: str, target: str) -> None:
    assert same_target(source) == target


def test_only_plain_files_can_be_captured() -> None:
    assert is_plain_file("private_dot_netrc")
    assert not any(
        map(is_plain_file, ("dot_a.tmpl", "symlink_dot_b", "modify_dot_c", "dir/create_d", "encrypted_e.tmpl.age"))
    )
    assert all(map(is_plain_file, ("dot_a.tmpl.literal", "literal_create_b", "c.tmpl.age")))
    assert is_encrypted("encrypted_private_dot_netrc.age")
    assert not is_encrypted("encrypted_dir/dot_netrc")


@pytest.mark.parametrize(
    ("stderr", "cause"),
    [
        ("ssh: Could not resolve hostname x: Temporary failure in name resolution", Cause.network),
        ("fatal: unable to access 'https://x/': Failed to connect to x port 443", Cause.network),
        (" ! [rejected]        main -> main (fetch first)\nerror: failed to push some refs to 'x'", Cause.remote_moved),
        ("fatal: Unable to create '/x/.git/index.lock': File exists.", Cause.lock_held),
        (" ! [remote rejected] main -> main (pre-receive hook declined)\nerror: failed to push some refs to 'x'", None),
        ("git@x: Permission denied (publickey).\nfatal: Could not read from remote repository.", None),
    ],
)
def test_what_may_work_the_next_time_is_told_from_what_will_not(stderr: str, cause: Cause | None) -> None:
    error = foreign_error("cannot push", Result(argv=("git", "push"), status=1, stdout="", stderr=stderr))
    if cause is None:
        assert isinstance(error, CommandFailed)
    else:
        assert isinstance(error, Transient)
        assert error.cause is cause


def test_paths_are_printable() -> None:
    assert printable("a\x1b[31m\n\udcff\u6f22") == "a\ufffd[31m\ufffd\ufffd\u6f22"
