"""How much of the daemon one client can have."""

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What clients get.

    Args:
        message: bytes of one message from a client.
        waiting: calls that a client may send ahead of their answers.
        idle: seconds a connection may be open without a call.
        send: seconds a client may take to read one message.
        backlog: updates that may wait for a client.
        catch_up: seconds a client gets to read half of a full backlog.
        connections: of all users but root, whom others must not be able to lock out.
        per_user: connections of one user; root has no limit.

    """

    message: int = 64 * 1024
    waiting: int = 16
    idle: float = 60.0
    send: float = 30.0
    backlog: int = 1024
    catch_up: float = 10.0
    connections: int = 256
    per_user: int = 64
