"""Builds one batch at a time in buffers allocated once.

Rule: a value without key, headers or timestamp goes into a dense batch: two small stores and one copy a record, nothing
allocated, on no interpreter. The first record that needs more starts a general batch. Knows nothing of files.
"""

import binascii
import struct

from .batch import CONTROL, DENSE, HEADER_BYTES, UNTRUSTED, pack_header
from .record_encoder import encode_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from .hlc import HybridClock
    from .ports import Buffer

COUNT_MAX = 8192


def _slices_allocate() -> bool:
    """Whether assigning to a slice makes an object of the slice first, as MicroPython 1.25 does: 16 bytes for each record."""
    try:
        from micropython import heap_lock, heap_unlock
    except ImportError:
        return False  # nobody counts
    buf = bytearray(4)
    heap_lock()
    try:
        buf[1:3] = b"ab"
    except MemoryError:
        return True
    finally:
        heap_unlock()
    return False


EXTENDS = _slices_allocate()  # then a value is copied by `extend`, into room that the buffer keeps when it is emptied


class BatchBuilder:
    """batch_bytes: how large a batch may get, header included. `count`: records in it so far."""

    def __init__(self, batch_bytes: int, clock: "HybridClock") -> None:
        self._batch_bytes = batch_bytes
        self._count_max = min(COUNT_MAX, batch_bytes // 8)
        self._head = bytearray(HEADER_BYTES + 2 * self._count_max)  # header and, if dense, lengths
        self._body = bytearray(batch_bytes)
        self._extends = EXTENDS
        self._clock = clock
        self._room = 0
        self._at = 0
        self._opened_ms = 0
        self.count = 0
        self.hlc = 0
        self.flags = 0
        self.producer = 0
        self.sequence = 0

    @property
    def size(self) -> int:
        """Bytes that the batch has now."""
        if not self.count:
            return 0
        return HEADER_BYTES + self._at + (2 * self.count if self.flags & DENSE else 0)

    def _open(self, flags: int, producer: int, sequence: int) -> None:
        self.hlc = self._clock.stamp()
        self.flags = flags | (0 if self._clock.trusted else UNTRUSTED)
        self._opened_ms = self._clock.monotonic_ms()
        self.producer = producer
        self.sequence = sequence
        self._at = 0
        self._room = self._batch_bytes - HEADER_BYTES
        if self._extends:
            self._body[:] = b""  # it is as large as ever: MicroPython gives nothing back

    def add(self, value: "Buffer", producer: int = 0, sequence: int = 0) -> bool:
        """Add a bare value. False if this batch cannot take it (full, or another producer's, or its sequences would not
        follow each other): flush and try again."""
        count = self.count
        n = len(value)
        if count:
            if self.producer != producer or (producer and self.sequence + count != sequence):
                return False
            if not self.flags & DENSE:
                return self._add_general(value, None, (), None)
            if n + 2 > self._room or count == self._count_max:
                return False
        else:
            self._open(DENSE, producer, sequence)
            if n + 2 > self._room:
                return False
        at = self._at
        if self._extends:
            self._body.extend(value)
        else:
            self._body[at : at + n] = value
        self._at = at + n
        self._room -= n + 2
        head = self._head
        at = HEADER_BYTES + 2 * count
        head[at] = n & 255
        head[at + 1] = n >> 8
        self.count = count + 1
        return True

    def add_full(
        self,
        value: "Buffer",
        key: "Buffer | None",
        headers: "Sequence[tuple[str, Buffer]]",
        timestamp_ms: "int | None",
        producer: int,
        sequence: int,
        tombstone: bool = False,
        extension: bytes = b"",
    ) -> bool:
        """Add a record that has more than a value. False as in `add`."""
        if not self.count:
            self._open(0, producer, sequence)
        elif self.flags & DENSE or self.producer != producer or (producer and self.sequence + self.count != sequence):
            return False
        return self._add_general(value, key, headers, timestamp_ms, tombstone, extension)

    def _add_general(
        self,
        value: "Buffer",
        key: "Buffer | None",
        headers: "Sequence[tuple[str, Buffer]]",
        timestamp_ms: "int | None",
        tombstone: bool = False,
        extension: bytes = b"",
    ) -> bool:
        delay_ms = self._clock.monotonic_ms() - self._opened_ms
        encoded = encode_record(0, delay_ms, self.hlc >> 16, value, key, headers, timestamp_ms, tombstone, extension)
        n = len(encoded)
        if n > self._room:
            return False
        at = self._at
        if self._extends:
            self._body.extend(encoded)
        else:
            self._body[at : at + n] = encoded
        self._at = at + n
        self._room -= n
        self.count += 1
        return True

    def take(self, base: int, term: int, behind: int) -> "tuple[memoryview, memoryview]":
        """Close the batch: (header and lengths, the rest), valid until the next record is added. The arguments are those of Header."""
        head_bytes = HEADER_BYTES + (2 * self.count if self.flags & DENSE else 0)
        head, body = memoryview(self._head)[:head_bytes], memoryview(self._body)[: self._at]
        crc = binascii.crc32(body, binascii.crc32(head[HEADER_BYTES:]))
        body_bytes = head_bytes - HEADER_BYTES + self._at
        pack_header(
            self._head, self.flags, self.count, self.count, base, self.hlc, term, self.producer, self.sequence, behind, body_bytes, crc
        )
        self.count = 0
        return head, body


def dense_batch(
    values: "Sequence[bytes]",
    lengths: "Sequence[int]",
    base: int,
    term: int,
    clock: "HybridClock",
    producer: int,
    sequence: int,
    behind: int,
) -> "tuple[bytearray, bytes]":
    """A whole dense batch at once, (header, body): one join, nothing per record."""
    body = b"".join([struct.pack("<%dH" % len(lengths), *lengths)] + list(values))
    head = bytearray(HEADER_BYTES)
    flags = DENSE if clock.trusted else DENSE | UNTRUSTED
    n = len(lengths)
    pack_header(head, flags, n, n, base, clock.stamp(), term, producer, sequence, behind, len(body), binascii.crc32(body))
    return head, body


def control_batch(note: bytes, base: int, term: int, clock: "HybridClock", behind: int) -> "tuple[bytearray, bytes]":
    """A batch without records that takes one offset and carries `note` (CBOR)."""
    head = bytearray(HEADER_BYTES)
    flags = CONTROL if clock.trusted else CONTROL | UNTRUSTED
    pack_header(head, flags, 0, 1, base, clock.stamp(), term, 0, 0, behind, len(note), binascii.crc32(note))
    return head, note
