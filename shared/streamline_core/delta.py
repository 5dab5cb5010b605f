"""Batches on the wire whose large values travel as differences from what the other side has.

Layout: pieces until the end. A piece that begins with a number n > 0 (LEB128, as all numbers here) goes on with n bytes that are as they
are. One that begins with 0 stands for a value: how far back in what came out so far its key begins, and the key's size; the writer and the
offset of the base (docs/FORMAT.md, a writer); the size of the difference, and the difference (difference.py).

Rule: what comes out is what went in, byte for byte, or nothing does; the batches' own checksums say so, too. Knows nothing of where bases
are kept.
"""

from . import difference
from .batch import DENSE, HEADER_BYTES, parse_header
from .errors import CorruptRecord, ProtocolError
from .record import get_varint
from .record_encoder import put_varint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterator

    from .ports import Buffer

    # (key, writer, offset) to the value of that version, or None
    Bases = Callable[[bytes, bytes, int], "bytes | None"]

VALUE_BYTES_MIN = 256  # below it a difference is not worth its base
DELTAS_BYTES_MAX = 1 << 18  # kept per log
BASE_BYTES_MAX = 80


class Delta:
    """What a value is, seen from its base. writer (packed), offset: the base's dot; cloud_offset: where a feed has sent that."""

    def __init__(self, writer: bytes, offset: int, content: bytes, cloud_offset: int = -1) -> None:
        self.writer = writer
        self.offset = offset
        self.content = content
        self.cloud_offset = cloud_offset


class Deltas:
    """Of records that are not confirmed yet, by offset: as many as fit; a value without one travels whole. writer: who writes this log;
    None: it is a feed, which names where its bases were sent."""

    def __init__(self, writer: "bytes | None", bytes_max: int = DELTAS_BYTES_MAX) -> None:
        self._writer = writer
        self.rows: "dict[int, Delta]" = {}
        self._bytes_max = bytes_max
        self._bytes = 0

    def add(self, offset: int, base: bytes, value: "Buffer", writer: bytes, base_offset: int) -> None:
        """Keep the difference between two values, if it is worth it and there is room. writer, base_offset: whose the base is."""
        if len(value) < VALUE_BYTES_MIN or len(base) < VALUE_BYTES_MIN:
            return
        content = difference.make(base, value, len(value) // 2)
        if content is not None and self._bytes + len(content) <= self._bytes_max:
            self.rows[offset] = Delta(writer, base_offset, content)
            self._bytes += len(content)

    def is_held(self, delta: Delta, acked: int) -> bool:
        """Whether the other side, which has confirmed all below `acked`, has the base: what it has sent itself it has."""
        if self._writer is None:
            return delta.cloud_offset < acked
        return delta.offset < acked or delta.writer != self._writer

    def forget_below(self, offset: int) -> None:
        """What lies below it is confirmed."""
        if self.rows:
            for known in [known for known in self.rows if known < offset]:
                self._bytes -= len(self.rows.pop(known).content)


def shorten(raw: "Buffer", first: int, deltas: Deltas, acked: int) -> "bytes | None":
    """Whole batches, the first of them from offset `first`, with differences for values where there are such from a base that the other
    side holds, which has confirmed all below `acked`; None where there is none."""
    out = bytearray()
    done = at = 0
    while at < len(raw):
        header = parse_header(raw, at)
        if header is None:
            return None
        end = at + header.length
        if not header.control and not header.flags & DENSE and any([header.base <= offset < header.next for offset in deltas.rows]):
            for offset, key_at, key_size, value_at, value_size in _spans(raw, at + HEADER_BYTES, end, header.base, header.count):
                delta = deltas.rows.get(offset)
                if delta is not None and offset >= first and key_size and deltas.is_held(delta, acked):
                    _put_piece(out, raw, done, value_at)
                    out.append(0)
                    put_varint(out, value_at - key_at)
                    put_varint(out, key_size)
                    out += delta.writer
                    put_varint(out, delta.offset)
                    put_varint(out, len(delta.content))
                    out += delta.content
                    done = value_at + value_size
        at = end
    if not done:
        return None
    _put_piece(out, raw, done, len(raw))
    return bytes(out)


def _put_piece(out: bytearray, raw: "Buffer", start: int, end: int) -> None:
    if start < end:
        put_varint(out, end - start)
        out += raw[start:end]


def _spans(data: "Buffer", at: int, end: int, base: int, count: int) -> "Iterator[tuple[int, int, int, int, int]]":
    """(offset, where its key is, its size, where its value is, its size) of each record of a general batch (record.read_records)."""
    offset = base
    for _ in range(count):
        flags = data[at]
        skipped, at = get_varint(data, at + 1, end)
        _, at = get_varint(data, at, end)
        offset += skipped
        key_at = key_size = 0
        if flags & 1:
            key_size, key_at = get_varint(data, at, end)
            at = key_at + key_size
        if flags & 4:
            _, at = get_varint(data, at, end)
        if flags & 2:
            pairs, at = get_varint(data, at, end)
            for _ in range(2 * pairs):
                size, at = get_varint(data, at, end)
                at += size
        if flags & 16:
            size, at = get_varint(data, at, end)
            at += size
        size, at = get_varint(data, at, end)
        yield offset, key_at, key_size, at, size
        at += size
        offset += 1


def lengthen(data: "Buffer", bytes_max: int, bases: "Bases") -> "bytes | None":
    """What `shorten` was given, at most `bytes_max` bytes; None where a base is not here. Raises ProtocolError for anything that is not
    what `shorten` gives."""
    out = bytearray()
    at, end = 0, len(data)
    try:
        while at < end:
            n, at = get_varint(data, at, end)
            if n:
                if n > end - at or len(out) + n > bytes_max:
                    raise ProtocolError("a piece of %d bytes runs out of its frame" % n)
                out += data[at : at + n]
                at += n
                continue
            back, at = get_varint(data, at, end)
            size, at = get_varint(data, at, end)
            writer_size = 5 + (data[at] if at < end else 0)
            writer = bytes(data[at : at + writer_size])
            offset, at = get_varint(data, at + writer_size, end)
            n, at = get_varint(data, at, end)
            if not 0 < size <= back <= len(out) or writer_size > BASE_BYTES_MAX or n > end - at:
                raise ProtocolError("a difference that names no base")
            start = len(out) - back
            base = bases(bytes(out[start : start + size]), writer, offset)
            if base is None:
                return None
            out += difference.apply(base, data[at : at + n], bytes_max - len(out))
            at += n
    except CorruptRecord as error:
        raise ProtocolError("a difference that cannot be applied: %s" % error)
    return bytes(out)
