"""TCP connections that nobody waits for.

Rule: a socket is returned while it still connects; what comes of it shows when it is written. Names are looked up by `names`, where a
network has put something there; else by the interpreter, which waits. Must not know: what is said on a connection.
"""

import errno
import socket

names = None  # with `address(host)`, as name_server.Names
_IPPROTO_TCP, _TCP_NODELAY = 6, 1  # some ports have no names for them


def resolve(host, port, kind=socket.SOCK_STREAM):
    """The address of a host, as sockets take it. Raises OSError, as one that is still looked up."""
    if names is not None:
        host = names.address(host)
    return socket.getaddrinfo(host, port, 0, kind)[0][-1]


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
