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

    from .consumer import Gap
    from .ports import Buffer
    from .record import Record

    Header = dict[str, Any]

SOCKET_NAME = "control.sock"  # in the data directory
PATH_BYTES_MAX = 107  # sockaddr_un
PREFIX_BYTES = 8
HEADER_BYTES_MAX = 1 << 20
BODY_BYTES_MAX = 8 << 20
RECORDS_MAX = 4096  # of one produce request
ACKS = ("buffered", "durable", "cloud")  # what a produce request may wait for: accepted, on the disk, committed by the cloud
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


def split(body: "Buffer", sizes: "list[int]") -> "list[bytes]":
    """`body` cut into parts of `sizes`, which must fill it exactly. Raises ProtocolError."""
    parts, at = [], 0
    for size in sizes:
        parts.append(bytes(body[at : at + size]))
        at += size
    if at != len(body):
        raise ProtocolError("control message: sizes add up to %d bytes, the body has %d" % (at, len(body)))
    return parts


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


def ack_of(header: "Header") -> str:
    """What a produce request waits for. Raises UsageError."""
    ack = header.get("ack", "durable")
    if ack not in ACKS:
        raise UsageError("ack %r is not allowed; use one of %s" % (ack, ", ".join(ACKS)))
    return str(ack)


def _sizes(header: "Header", name: str, least: int, records_max: int) -> "list[int]":
    sizes = header.get(name)
    if not isinstance(sizes, list) or not 0 < len(sizes) <= records_max:
        raise UsageError("%s: a list of 1 to %d sizes is wanted" % (name, records_max))
    if not all([type(size) is int and size >= least for size in sizes]):
        raise UsageError("%s: sizes are whole numbers of at least %d" % (name, least))
    return sizes


def records_of(header: "Header", body: "Buffer", records_max: int = RECORDS_MAX) -> "tuple[list[bytes], list[bytes | None] | None]":
    """Values, and keys where there are any (a size of -1: no key). The body is all values, then all keys. Raises UsageError,
    ProtocolError."""
    sizes = _sizes(header, "sizes", 0, records_max)
    if "key_sizes" not in header:
        return split(body, sizes), None
    key_sizes = _sizes(header, "key_sizes", -1, records_max)
    if len(key_sizes) != len(sizes):
        raise UsageError("key_sizes: as many as sizes are wanted")
    parts = split(body, sizes + [max(0, size) for size in key_sizes])
    keys = [parts[len(sizes) + i] if key_sizes[i] >= 0 else None for i in range(len(sizes))]
    return parts[: len(sizes)], keys


def repeats_of(last: int, producer: int, partition: int, sequence: int, count: int) -> int:
    """How many of `count` records from `sequence` on are repeats. last: the last sequence accepted of the producer (-1: not known). Raises
    UsageError for a hole."""
    if not producer:
        return 0
    if partition < 0:
        raise UsageError("an idempotent producer names the partition")
    if last >= 0 and sequence > last + 1:
        raise UsageError("sequence %d leaves a hole: the last one stored is %d" % (sequence, last))
    return min(count, max(0, last + 1 - sequence))


def row_of(item: "Record | Gap") -> "list[Any]":
    """What the header of a piece of `consume` says of a record, or of a gap; key and value stand in the body."""
    if hasattr(item, "cause"):
        gap: "Any" = item
        return [gap.first, gap.next, gap.cause]
    record: "Any" = item
    key_bytes = -1 if record.key is None else len(record.key)
    headers = [[name, _shown(value)] for name, value in record.headers]
    return [record.offset, record.time_ms, record.trusted, key_bytes, len(record.value), headers, record.tombstone]


def _shown(value: bytes) -> str:
    """Text; where it is none, what is not ASCII is shown as not known, alike on every interpreter."""
    from .utf8 import decode_utf8

    try:
        return decode_utf8(value)
    except ProtocolError:
        return "".join([chr(byte) if byte < 128 else "\ufffd" for byte in value])
