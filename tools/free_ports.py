"""TCP ports of the loopback interface that belong to one process of ours for its life, listening or not.

Rule: who was given a port may start, stop and start again on it, and nobody else gets it meanwhile. It is held by a socket that is bound
with SO_REUSEADDR and never listens: the kernel gives such a port to no other `bind(0)` and to no outgoing connection, and a server that
sets SO_REUSEADDR (mosquitto and asyncio do) may still bind it. Must not know: who serves there.
"""

import socket

_held: list[socket.socket] = []


def free_port() -> int:
    """A port that nobody listens on, kept from others until this process ends."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    _held.append(holder)
    port: int = holder.getsockname()[1]
    return port
