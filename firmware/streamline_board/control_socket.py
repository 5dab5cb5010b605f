"""The socket of a board where programs of the same machine ask it: made once, private to its user.

Rule: whether there can be one is tried, never deduced; one that others could open is none. It is loaded at the start, and let go of. Must
not know: what is said over it.
"""

import errno
import os
import socket
import struct
import sys

from streamline_core.control_wire import SOCKET_NAME, check_path
from streamline_core.errors import UsageError

WAITING_MAX = 8  # who has come and was not greeted yet
_OTHERS = 0o077


def listen(folder):
    """The listening socket in a data directory, which this node holds: what lies there already is a dead one's. None where this platform
    has none. Raises UsageError where the path is too long, or cannot be had."""
    if not hasattr(socket, "AF_UNIX") or not os.stat(folder)[1]:  # without inodes it is a file system of this process
        return None
    path = check_path(folder + "/" + SOCKET_NAME)
    try:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError:
        return None
    remove(folder)
    try:
        listener.bind(struct.pack("H", socket.AF_UNIX) + path.encode() + b"\0")
        if not _private(path):
            listener.close()
            remove(folder)
            print("no control socket: %s cannot be made private to its user; start with umask 077" % path, file=sys.stderr)
            return None
        listener.listen(WAITING_MAX)  # before this, nobody can connect
    except OSError as error:
        listener.close()
        raise UsageError("control socket %s: %s" % (path, errno.errorcode.get(error.errno, error)))
    listener.setblocking(False)
    return listener


def remove(folder):
    """Nobody listens there any more."""
    try:
        os.remove(folder + "/" + SOCKET_NAME)
    except OSError:
        pass


def _private(path):
    """Whether nobody but its user may open it, if need be after a change of its mode."""
    if os.stat(path)[0] & _OTHERS:
        if hasattr(os, "chmod"):
            os.chmod(path, 0o600)
        elif hasattr(os, "system"):  # MicroPython's unix port has no chmod
            os.system("chmod 600 -- '%s'" % path.replace("'", "'\\''"))
    return not os.stat(path)[0] & _OTHERS
