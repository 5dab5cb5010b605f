"""One record of a general batch, written: key, headers, application timestamp, tombstone.

Rule: every number is relative to the batch and small; what most records lack costs no byte. The layout is docs/FORMAT.md; record.py reads
it. Knows nothing of batches beyond the base values that it is given.
"""

from .errors import UsageError
from .utf8 import encode_utf8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from .ports import Buffer

HEADERS_MAX = 64
KEY = 1  # flags
HEADERS = 2
TIMESTAMP = 4
TOMBSTONE = 8
EXTENSION = 16  # bytes that this build keeps and does not understand: where later builds put what a version needs
TIMESTAMP_BOUND_MS = 1 << 47


def put_varint(out: bytearray, n: int) -> None:
    """LEB128, unsigned."""
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)


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
    if timestamp_ms is not None and not -TIMESTAMP_BOUND_MS < timestamp_ms < TIMESTAMP_BOUND_MS:
        raise UsageError("a timestamp of %d ms; it must lie within 2^47 ms of 1970" % timestamp_ms)
    out = bytearray()
    flags = TOMBSTONE if tombstone else 0
    if key is not None:
        flags |= KEY
    if headers:
        flags |= HEADERS
    if timestamp_ms is not None:
        flags |= TIMESTAMP
    if extension:
        flags |= EXTENSION
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
