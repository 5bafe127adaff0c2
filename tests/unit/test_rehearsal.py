"""The rehearsal of a new gitopsd is its unit, without what would disturb the one that runs."""

from pathlib import Path

from gitopsd.tools.rehearsal import rehearsal
from gitopsd.tools.unit_files import unit_of

UNIT = r"""[Unit]
Description=Keeps things in step
OnFailure=tell.service
[Service]
Type=notify
ExecStartPre=/bin/rm -rf /important
ExecStart=/usr/bin/gitopsd \
  --config /etc/x.toml
Restart=always
RuntimeMaxSec=5s
ProtectSystem=strict
StateDirectory=gitopsd
RuntimeDirectory=gitopsd
[Install]
WantedBy=multi-user.target
"""


def test_a_rehearsal_keeps_the_sandbox_and_runs_nothing_else() -> None:
    text = rehearsal(UNIT, errors_to="/run/said")
    assert "ExecStart=/usr/bin/gitopsd    --config /etc/x.toml --rehearse\n" in text
    assert "ProtectSystem=strict\n" in text
    assert "StateDirectory=gitopsd\n" in text
    for word in ("important", "OnFailure", "Type=notify", "Restart=", "RuntimeMaxSec=", "WantedBy", "[Install]"):
        assert word not in text


def test_a_rehearsal_ends_by_itself_and_leaves_the_socket_of_the_one_that_runs() -> None:
    last = rehearsal(UNIT, errors_to="/run/said").rpartition("[Service]\n")[2]
    assert "Type=oneshot\n" in last
    assert "TimeoutStartSec=60\n" in last
    assert "RuntimeDirectoryPreserve=yes\n" in last


def system(directory: Path, **drop_ins: str) -> Path:
    """A toplevel with our unit and these drop-ins."""
    units = directory / "etc/systemd/system"
    (units / "gitopsd.service.d").mkdir(parents=True)
    (units / "gitopsd.service").write_text(UNIT)
    for name, text in drop_ins.items():
        (units / "gitopsd.service.d" / f"{name}.conf").write_text(text)
    return directory


def test_a_unit_is_another_one_too_if_only_a_drop_in_differs_and_is_rehearsed_with_it(tmp_path: Path) -> None:
    plain = unit_of(system(tmp_path / "plain"))
    more = unit_of(system(tmp_path / "more", b="[Service]\nNice=2\n", a="[Service]\nNice=1\n"))
    assert plain is not None
    assert more is not None
    assert more.startswith(plain)
    assert more.split()[-4:] == ["[Service]", "Nice=1", "[Service]", "Nice=2"]
    assert "Nice=2\n" in rehearsal(more, errors_to="/run/said")


def test_what_means_nothing_to_systemd_makes_no_other_unit(tmp_path: Path) -> None:
    triggers = "[Unit]\nX-Reload-Triggers=/nix/store/{}\n"
    texts = {unit_of(system(tmp_path / each, a=triggers.format(each))) for each in ("one", "two")}
    assert len(texts) == 1


def test_a_system_without_our_unit_has_none(tmp_path: Path) -> None:
    assert unit_of(tmp_path) is None
