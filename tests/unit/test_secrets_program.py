"""A history is rewritten only while no daemon can come in between."""

import socket
from pathlib import Path

import pytest

from gitopsd.errors import Failed
from gitopsd.secrets.program import Program, is_listened_to


def test_scrub_rewrites_nothing_while_the_daemon_or_its_socket_is_there(tmp_path: Path) -> None:
    place = str(tmp_path / "io.gitopsd")
    assert not is_listened_to(place)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(place)
        server.listen()
        (tmp_path / ".git").mkdir()
        with pytest.raises(Failed, match="daemon runs") as caught:
            Program(str(tmp_path), daemon=place).scrub(rewrite=True)
        assert "systemctl stop gitopsd.socket" in caught.value.advice
        assert not list((tmp_path / ".git").iterdir())
    assert not is_listened_to(place)  # a socket that nobody listens to is left over
