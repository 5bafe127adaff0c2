"""The rehearsal of a new gitopsd is its unit, without what would disturb the one that runs."""

from gitopsd.tools.rehearsal import rehearsal

UNIT = r"""[Unit]
Description=Keeps things in step
OnFailure=tell.service
[Service]
Type=notify
ExecStartPre=/bin/rm -rf /important
ExecStart=/usr/bin/gitopsd \
  --config /etc/x.toml
Restart=always
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
    for word in ("important", "OnFailure", "Type=notify", "Restart=", "WantedBy", "[Install]"):
        assert word not in text


def test_a_rehearsal_ends_by_itself_and_leaves_the_socket_of_the_one_that_runs() -> None:
    last = rehearsal(UNIT, errors_to="/run/said").rpartition("[Service]\n")[2]
    assert "Type=oneshot\n" in last
    assert "TimeoutStartSec=60\n" in last
    assert "RuntimeDirectoryPreserve=yes\n" in last
