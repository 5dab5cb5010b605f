"""Cuts a batch that is larger than the receiver's largest frame into smaller ones that say the same.

Rule: offsets, times, keys, producer and order stay as they were; only where one batch ends and the next begins changes (and, for a
feed, from where offsets count). A record that does not fit by itself is named, never dropped in silence. Loaded only by who needs it.
"""

import binascii
import struct

from .batch import DENSE, HEADER_BYTES, SPAN_MAX, batches, pack_header, records, understood
from .record_encoder import encode_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterator

    from .batch import Header
    from .ports import Buffer
    from .record import Record

    Part = tuple[int, int, bytes | None]


def recut(
    header: "Header", batch: "Buffer", bytes_max: int, start: int = 0, change: "Callable[[Record], None] | None" = None
) -> "list[Part]":
    """Parts of a whole batch, each at most `bytes_max` bytes: (first offset, next offset, bytes), or bytes None for a record that
    is larger. start: what lies below it is left out; change: what is done to each record of a general batch before.
    Raises CorruptRecord if the batch is not what its header says."""
    if header.control or not understood(header):
        return [(max(start, header.base), header.next, None)]
    dense = header.flags & DENSE != 0
    parts: "list[Part]" = []
    bodies: "list[bytes]" = []
    first = at = max(start, header.base)
    room = bytes_max - HEADER_BYTES
    size = 0
    for record in records(header, batch):
        if record.offset < start:
            continue
        if change is not None:
            change(record)
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
    elif first < header.next:
        parts.append((first, header.next, _pack(header, dense, first, header.next, bodies)))
    return parts


def rebased(data: "Buffer", first: int, next_: int, base: int) -> "Iterator[bytes]":
    """The records of whole batches that lie in offsets [first, next), as batches whose offsets begin at `base` and have no holes. Raises
    CorruptRecord."""
    for header, batch in batches(data):
        if header.control or header.next <= first or header.base >= next_:
            continue
        inside = header.base >= first and header.next <= next_
        if inside and header.span == header.count:
            head = bytearray(HEADER_BYTES)
            pack_header(
                head, header.flags, header.count, header.span, base, header.hlc, header.term, 0, 0, 0, header.length - HEADER_BYTES,
                header.body_crc,
            )  # fmt: skip
            yield bytes(head) + bytes(batch[HEADER_BYTES:])
            base += header.count
            continue
        dense = header.flags & DENSE != 0
        found = [record for record in records(header, batch) if first <= record.offset < next_]
        bodies = [record.value if dense else _encode(header, record, 0) for record in found]
        if found:
            yield _pack(header, dense, base, base + len(bodies), bodies)
            base += len(bodies)


class Merged:
    """General batches that follow one another, as one that covers the same offsets and holds what is left of their records. All of it is
    durable."""

    def __init__(self, header: "Header") -> None:
        self.size = HEADER_BYTES
        self._header = header
        self._next = self._at = header.base
        self._bodies: "list[bytes]" = []
        header.behind = 0

    def takes(self, header: "Header") -> bool:
        """Whether a batch goes on where this one ends: written by the same opening, for the same producer, by a clock that is believed or
        not alike."""
        first = self._header
        if (header.base, header.term, header.flags, header.producer) != (self._next, first.term, first.flags, first.producer):
            return False
        if header.hlc < first.hlc or header.next - first.base > SPAN_MAX:
            return False
        return not first.producer or header.sequence == first.sequence + self._next - first.base

    def add(self, header: "Header", left: "list[Record]", bytes_max: int) -> bool:
        """Take a batch over. False, and nothing is taken, where it would be more than `bytes_max`."""
        bodies, at = [], self._at
        for record in left:
            bodies.append(_encode(self._header, record, record.offset - at))
            at = record.offset + 1
        size = sum(map(len, bodies))
        if self.size + size > bytes_max:
            return False
        self._bodies += bodies
        self._next, self._at = header.next, at
        self.size += size
        return True

    def pack(self) -> bytes:
        return _pack(self._header, False, self._header.base, self._next, self._bodies)


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
    sequence = max(0, header.sequence + first - header.base) if header.producer else 0
    pack_header(
        head, header.flags, len(bodies), next_ - first, first, header.hlc, header.term, header.producer, sequence,
        max(0, header.behind + first - header.base), len(body), binascii.crc32(body),
    )  # fmt: skip
    return bytes(head) + body
