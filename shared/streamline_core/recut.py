"""Cuts a batch that is larger than the receiver's largest frame into smaller ones that say the same.

Rule: offsets, times, keys, producer and order stay as they were; only where one batch ends and the next begins
changes. A record that does not fit by itself is named, never dropped in silence. Loaded only when a peer's frames are
that small.
"""

import binascii
import struct

from .batch import DENSE, HEADER_BYTES, pack_header, records, understood
from .record import encode_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .batch import Header
    from .ports import Buffer
    from .record import Record

    Part = tuple[int, int, bytes | None]


def recut(header: "Header", batch: "Buffer", bytes_max: int) -> "list[Part]":
    """Parts of a whole batch, each at most `bytes_max` bytes: (first offset, next offset, bytes), or bytes None for a record that
    is larger.
    Raises CorruptRecord if the batch is not what its header says."""
    if header.control or not understood(header):
        return [(header.base, header.next, None)]
    dense = header.flags & DENSE != 0
    parts: "list[Part]" = []
    bodies: "list[bytes]" = []
    first = at = header.base
    room = bytes_max - HEADER_BYTES
    size = 0
    for record in records(header, batch):
        body = record.value if dense else _encode(header, record, record.offset - (at if bodies else first))
        need = len(body) + (2 if dense else 0)
        if bodies and size + need > room:
            parts.append((first, record.offset, _pack(header, dense, first, record.offset, bodies)))
            first, bodies, size = record.offset, [], 0
            if not dense:
                body = _encode(header, record, 0)
                need = len(body)
        if need > room:
            parts.append((first, record.offset + 1, None))
            first = record.offset + 1
        else:
            bodies.append(body)
            size += need
        at = record.offset + 1
    if bodies:
        parts.append((first, header.next, _pack(header, dense, first, header.next, bodies)))
    elif first < header.next and parts:
        parts[-1] = (parts[-1][0], header.next, parts[-1][2])
    return parts


def _encode(header: "Header", record: "Record", skipped: int) -> bytes:
    delay_ms, base_ms = (record.hlc - header.hlc) >> 16, header.hlc >> 16
    r = record
    return bytes(
        encode_record(skipped, delay_ms, base_ms, r.value, r.key, r.headers, r.timestamp_ms, r.tombstone, r.extension)
    )


def _pack(header: "Header", dense: bool, first: int, next_: int, bodies: "list[bytes]") -> bytes:
    body = b"".join(bodies)
    if dense:
        body = struct.pack("<%dH" % len(bodies), *[len(b) for b in bodies]) + body
    head = bytearray(HEADER_BYTES)
    sequence = header.sequence + first - header.base if header.producer else 0
    pack_header(
        head, header.flags, len(bodies), next_ - first, first, header.hlc, header.term, header.producer, sequence,
        header.behind + first - header.base, len(body), binascii.crc32(body),
    )  # fmt: skip
    return bytes(head) + body
