"""TCP connections that nobody waits for.

Rule: a socket is returned while it still connects; what comes of it shows when it is written. Must not know: what is said on it.
"""

import errno
import socket

_IPPROTO_TCP, _TCP_NODELAY = 6, 1  # some ports have no names for them


def resolve(host, port):
    """The address of a host. Resolving a name blocks: MicroPython has no other way to do it. Raises OSError."""
    return socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[0][-1]


def open_tcp(host, port):
    """A socket that does not block, on its way to be connected. Raises OSError."""
    address = resolve(host, port)
    sock = socket.socket()
    try:
        sock.setblocking(False)
        _send_at_once(sock)
        sock.connect(address)
    except OSError as error:
        if error.errno not in (errno.EINPROGRESS, errno.EAGAIN):
            sock.close()
            raise
    return sock


def _send_at_once(sock):
    """A frame does not wait until the other side has confirmed the one before it, which takes it 40 ms where it has nothing to say."""
    try:
        sock.setsockopt(_IPPROTO_TCP, _TCP_NODELAY, 1)
    except OSError:
        pass  # a network stack that cannot: slower, nothing else
