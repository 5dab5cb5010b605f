"""The messages of a node's control socket: what both of its sides agree on, whatever runs them.

Rule: a message is two big-endian 32-bit lengths (header, body), a JSON object, and bytes; both lengths are bounded before a byte of them is
read. Requests carry `op` and `id`; answers carry the `id` and `ok`, or `error` with its `kind`; an answer with `more` is not the last.
Must not know: what the operations do, sockets.
"""

import struct

from .errors import ProtocolError, QueueFull, StorageFull, StreamlineError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Header = dict[str, Any]

SOCKET_NAME = "control.sock"  # in the data directory
PATH_BYTES_MAX = 107  # sockaddr_un
PREFIX_BYTES = 8
HEADER_BYTES_MAX = 1 << 20
BODY_BYTES_MAX = 8 << 20
KINDS = (
    (UsageError, "usage"),
    (QueueFull, "queue_full"),
    (StorageFull, "storage_full"),
    (ProtocolError, "protocol"),
    (StreamlineError, "other"),
)


def check_path(path: str) -> str:
    """`path` of a control socket. Raises UsageError where it does not fit a socket address."""
    size = len(path.encode())
    if size > PATH_BYTES_MAX:
        text = "control socket %s: the path is %d bytes long and %d are allowed; choose a shorter data directory"
        raise UsageError(text % (path, size, PATH_BYTES_MAX))
    return path


def lengths(prefix: bytes) -> "tuple[int, int]":
    """Header and body length of the message that begins with `prefix` (8 bytes). Raises ProtocolError."""
    header_bytes, body_bytes = struct.unpack(">II", prefix)
    if not 2 <= header_bytes <= HEADER_BYTES_MAX or body_bytes > BODY_BYTES_MAX:
        raise ProtocolError("control message announces %d + %d bytes" % (header_bytes, body_bytes))
    return header_bytes, body_bytes


def kind_of(error: BaseException) -> str:
    """The kind of an error in an answer; "internal" for one that nobody meant."""
    for known, kind in KINDS:
        if isinstance(error, known):
            return kind
    return "internal"


def text(header: "Header", name: str) -> str:
    """A field of a request. Raises UsageError unless it is text."""
    value = header.get(name)
    if not isinstance(value, str):
        raise UsageError("%s: text is wanted, not %r" % (name, value))
    return value


def number(header: "Header", name: str, default: int = 0) -> int:
    """A field of a request. Raises UsageError unless it is a whole number from -1 on."""
    value = header.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not -1 <= value < 1 << 63:
        raise UsageError("%s: a whole number is wanted, not %r" % (name, value))
    return value
