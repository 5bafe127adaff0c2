"""On the machine: call the daemon's status over one connection, in turn with an echo that answers as many bytes.

Standard input: {"socket": path, "method": name, "calls": N}; standard output: {"daemon": [ms], "echo": [ms],
"bytes": N}.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WARM_UP = 20


def main() -> None:
    """Make the calls."""
    question = json.load(sys.stdin)
    request = json.dumps({"method": question["method"], "parameters": {}}).encode() + b"\0"
    daemon = connect(question["socket"])
    size = len(call(daemon, request))
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/echo"
        argv = [sys.executable, "-I", str(Path(__file__).with_name("echo.py")), path, str(size)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            server.stdout.readline()  # it listens
            echo = connect(path)
            times: dict[str, list[float]] = {"daemon": [], "echo": []}
            for number in range(WARM_UP + question["calls"]):
                for name, connection in (("daemon", daemon), ("echo", echo)):
                    before = time.perf_counter()
                    call(connection, request)
                    if number >= WARM_UP:
                        times[name].append((time.perf_counter() - before) * 1000)
            server.terminate()
    json.dump({**times, "bytes": size}, sys.stdout)


def connect(path: str) -> socket.socket:
    """Connect to a Unix socket."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(10)
    connection.connect(path)
    return connection


def call(connection: socket.socket, request: bytes) -> bytes:
    """Send a message and return the one that answers it, with its NUL."""
    connection.sendall(request)
    answer = bytearray()
    while not answer.endswith(b"\0"):
        chunk = connection.recv(65536)
        if not chunk:
            sys.exit("the connection was closed before the answer")
        answer += chunk
    if b'"error"' in answer[:64]:
        sys.exit(f"the call failed: {answer[:200]!r}")
    return bytes(answer)


if __name__ == "__main__":
    main()
