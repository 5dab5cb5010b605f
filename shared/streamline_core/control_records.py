"""Records as they travel over a control socket: how they lie in a body, and what a header says of them.

Rule: sizes must fill a body exactly; a repeat of a producer is told apart from a hole. Must not know: sockets, who stores them.
"""

from .errors import ProtocolError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .consumer import Gap
    from .control_wire import Header
    from .ports import Buffer
    from .record import Record

RECORDS_MAX = 4096  # of one produce request
ACKS = ("buffered", "durable", "cloud")  # what a produce request may wait for: accepted, on the disk, committed by the cloud


def split(body: "Buffer", sizes: "list[int]") -> "list[bytes]":
    """`body` cut into parts of `sizes`, which must fill it exactly. Raises ProtocolError."""
    parts, at = [], 0
    for size in sizes:
        parts.append(bytes(body[at : at + size]))
        at += size
    if at != len(body):
        raise ProtocolError("control message: sizes add up to %d bytes, the body has %d" % (at, len(body)))
    return parts


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
