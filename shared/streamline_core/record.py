"""One record of a general batch, read: key, headers, application timestamp, tombstone.

Rule: nothing is believed before it is checked. Written by record_encoder.py; a board that only writes does not load this. Knows nothing of
batches beyond the base values that it is given.
"""

from .errors import CorruptRecord, ProtocolError
from .record_encoder import EXTENSION, HEADERS, HEADERS_MAX, KEY, TIMESTAMP, TIMESTAMP_BOUND_MS, TOMBSTONE
from .utf8 import decode_utf8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Sequence

    from .ports import Buffer

_KNOWN = KEY | HEADERS | TIMESTAMP | TOMBSTONE | EXTENSION


class Record:
    """offset; hlc (64 bits: 48 of ms, 16 of counter), trusted: whether the clock was set when it was stamped;
    timestamp_ms: the application's, since 1970 UTC, or None; key: bytes or None; value: bytes; headers: ((name, bytes), …)."""

    def __init__(
        self,
        offset: int,
        hlc: int,
        trusted: bool,
        timestamp_ms: "int | None",
        key: "bytes | None",
        value: bytes,
        headers: "Sequence[tuple[str, bytes]]",
        tombstone: bool,
        extension: bytes = b"",
    ) -> None:
        self.offset = offset
        self.hlc = hlc
        self.trusted = trusted
        self.timestamp_ms = timestamp_ms
        self.key = key
        self.value = value
        self.headers = headers
        self.tombstone = tombstone
        self.extension = extension

    @property
    def time_ms(self) -> int:
        """The application's timestamp if it gave one, else when the node accepted the record."""
        return self.hlc >> 16 if self.timestamp_ms is None else self.timestamp_ms


def get_varint(data: "Buffer", at: int, end: int) -> "tuple[int, int]":
    n = shift = 0
    while True:
        if at >= end or shift > 56:
            raise CorruptRecord("a number runs out of its batch")
        b = data[at]
        at += 1
        n |= (b & 127) << shift
        if b < 128:
            return n, at
        shift += 7


def _get_bytes(data: "Buffer", at: int, end: int) -> "tuple[bytes, int]":
    n, at = get_varint(data, at, end)
    if n > end - at:
        raise CorruptRecord("a field runs out of its batch")
    return bytes(memoryview(data)[at : at + n]), at + n


def read_records(
    data: "Buffer", at: int, end: int, base: int, hlc: int, trusted: bool, count: int, span: int
) -> "Iterator[Record]":
    """`count` records in data[at:end]. Raises CorruptRecord unless they fill it exactly and stay within the span."""
    offset = base
    for _ in range(count):
        if at >= end or data[at] & ~_KNOWN:
            raise CorruptRecord("no record where the batch at offset %d promises one" % base)
        flags = data[at]
        skipped, at = get_varint(data, at + 1, end)
        delay_ms, at = get_varint(data, at, end)
        offset += skipped
        if offset >= base + span or delay_ms >= TIMESTAMP_BOUND_MS:
            raise CorruptRecord("a record of the batch at offset %d lies beyond it" % base)
        key = None
        timestamp_ms = None
        headers: "Sequence[tuple[str, bytes]]" = ()
        if flags & KEY:
            key, at = _get_bytes(data, at, end)
        if flags & TIMESTAMP:
            n, at = get_varint(data, at, end)
            timestamp_ms = (hlc >> 16) + (-(n >> 1) - 1 if n & 1 else n >> 1)
            if not -TIMESTAMP_BOUND_MS < timestamp_ms < TIMESTAMP_BOUND_MS:
                raise CorruptRecord("a record of the batch at offset %d has a timestamp of %d ms" % (base, timestamp_ms))
        if flags & HEADERS:
            headers, at = _get_headers(data, at, end)
        extension = b""
        if flags & EXTENSION:
            extension, at = _get_bytes(data, at, end)
        value, at = _get_bytes(data, at, end)
        tombstone = flags & TOMBSTONE != 0
        yield Record(offset, hlc + (delay_ms << 16), trusted, timestamp_ms, key, value, headers, tombstone, extension)
        offset += 1
    if at != end:
        raise CorruptRecord("the batch at offset %d is longer than its records" % base)


def _get_headers(data: "Buffer", at: int, end: int) -> "tuple[Sequence[tuple[str, bytes]], int]":
    n, at = get_varint(data, at, end)
    if not 0 < n <= HEADERS_MAX:
        raise CorruptRecord("a record with %d headers; at most %d are allowed" % (n, HEADERS_MAX))
    pairs = []
    for _ in range(n):
        name, at = _get_bytes(data, at, end)
        content, at = _get_bytes(data, at, end)
        try:
            pairs.append((decode_utf8(name), content))
        except ProtocolError:
            raise CorruptRecord("a header's name is not UTF-8")
    return tuple(pairs), at
