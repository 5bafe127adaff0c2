"""On the machine: the least that asyncio can do. Answers each message that ends in NUL with as many bytes as asked for.

Arguments: the socket's path, and how long an answer is.
"""

from __future__ import annotations

import asyncio
import sys


class Echo(asyncio.Protocol):
    """One client."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.transport: asyncio.BaseTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer."""
        assert isinstance(self.transport, asyncio.WriteTransport)
        self.transport.write(self.answer * data.count(b"\0"))


async def main(path: str, size: int) -> None:
    """Serve until a signal ends it."""
    answer = b"x" * (size - 1) + b"\0"
    server = await asyncio.get_running_loop().create_unix_server(lambda: Echo(answer), path)
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
