"""One record inside a general batch: key, headers, application timestamp, tombstone.

Rule: every number is relative to the batch and small; what most records lack costs no byte. The layout is docs/FORMAT.md.
Knows nothing of batches beyond the base values that it is given.
"""

from .errors import CorruptRecord, ProtocolError, UsageError
from .utf8 import decode_utf8, encode_utf8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Sequence

    from .ports import Buffer

HEADERS_MAX = 64
_KEY = 1
_HEADERS = 2
_TIMESTAMP = 4
_TOMBSTONE = 8
_EXTENSION = 16  # bytes that this build keeps and does not understand: where later builds put what a version needs
_KNOWN = 31
_TIMESTAMP_BOUND_MS = 1 << 47


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


def put_varint(out: bytearray, n: int) -> None:
    """LEB128, unsigned."""
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)


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


def encode_record(
    skipped: int,
    delay_ms: int,
    base_ms: int,
    value: "Buffer",
    key: "Buffer | None",
    headers: "Sequence[tuple[str, Buffer]]",
    timestamp_ms: "int | None",
    tombstone: bool = False,
    extension: bytes = b"",
) -> bytearray:
    """skipped: offsets that compaction dropped just before it; delay_ms: since the batch's hlc; base_ms: the batch's
    hlc in ms. Raises UsageError for what no reader would take: too many headers, a name that is not text, a timestamp
    2^47 ms or more away from 1970."""
    if len(headers) > HEADERS_MAX:
        raise UsageError("a record with %d headers; at most %d are allowed" % (len(headers), HEADERS_MAX))
    if timestamp_ms is not None and not -_TIMESTAMP_BOUND_MS < timestamp_ms < _TIMESTAMP_BOUND_MS:
        raise UsageError("a timestamp of %d ms; it must lie within 2^47 ms of 1970" % timestamp_ms)
    out = bytearray()
    flags = _TOMBSTONE if tombstone else 0
    if key is not None:
        flags |= _KEY
    if headers:
        flags |= _HEADERS
    if timestamp_ms is not None:
        flags |= _TIMESTAMP
    if extension:
        flags |= _EXTENSION
    out.append(flags)
    put_varint(out, skipped)
    put_varint(out, delay_ms)
    if key is not None:
        put_varint(out, len(key))
        out.extend(key)
    if timestamp_ms is not None:
        delta = timestamp_ms - base_ms
        put_varint(out, delta * 2 if delta >= 0 else -delta * 2 - 1)
    if headers:
        put_varint(out, len(headers))
        for name, content in headers:
            encoded = encode_utf8(name)
            put_varint(out, len(encoded))
            out.extend(encoded)
            put_varint(out, len(content))
            out.extend(content)
    if extension:
        put_varint(out, len(extension))
        out.extend(extension)
    put_varint(out, len(value))
    out.extend(value)
    return out


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
        if offset >= base + span or delay_ms >= _TIMESTAMP_BOUND_MS:
            raise CorruptRecord("a record of the batch at offset %d lies beyond it" % base)
        key = None
        timestamp_ms = None
        headers: "Sequence[tuple[str, bytes]]" = ()
        if flags & _KEY:
            key, at = _get_bytes(data, at, end)
        if flags & _TIMESTAMP:
            n, at = get_varint(data, at, end)
            timestamp_ms = (hlc >> 16) + (-(n >> 1) - 1 if n & 1 else n >> 1)
            if not -_TIMESTAMP_BOUND_MS < timestamp_ms < _TIMESTAMP_BOUND_MS:
                raise CorruptRecord("a record of the batch at offset %d has a timestamp of %d ms" % (base, timestamp_ms))
        if flags & _HEADERS:
            headers, at = _get_headers(data, at, end)
        extension = b""
        if flags & _EXTENSION:
            extension, at = _get_bytes(data, at, end)
        value, at = _get_bytes(data, at, end)
        tombstone = flags & _TOMBSTONE != 0
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
