"""The records of a stored chunk: decompressed, checked, and cut to what the chunk newly brought.

Rule: a chunk yields exactly the `count` records that it promised, or CorruptRecord; offsets outside [first, next) were
applied by another chunk and are skipped. Where only values are asked for, a dense batch costs no Python per record.
Must not know: SQL.
"""

import struct
from collections.abc import Iterator

from streamline_core.batch import DENSE, HEADER_BYTES, Header, batches, dense_lengths, records
from streamline_core.codec import Codecs
from streamline_core.errors import CorruptRecord, ProtocolError
from streamline_core.record import Record


class StoredChunk:
    """A row of `chunks` with the names of what it belongs to. Cloud offsets [cloud_offset, cloud_offset + count)."""

    def __init__(self, row: tuple[object, ...]) -> None:
        self.id: int
        self.node: str
        self.partition: int
        self.epoch: int
        self.cloud_offset: int
        self.count: int
        self.first: int
        self.next: int
        self.codec_id: int
        self.raw_bytes: int
        self.data: bytes
        (  # the order of store_reader.CHUNK_COLUMNS
            self.id,
            self.node,
            self.partition,
            self.epoch,
            self.cloud_offset,
            self.count,
            self.first,
            self.next,
            self.codec_id,
            self.raw_bytes,
            self.data,
        ) = row  # type: ignore[assignment]

    def __str__(self) -> str:
        return "chunk %d (node %s, partition %d, epoch %08x, offsets %d to %d)" % (
            (self.id, self.node, self.partition, self.epoch, self.first, self.next)
        )


def chunk_records(chunk: StoredChunk, codecs: Codecs) -> Iterator[Record]:
    """Each record, in offset order. Raises CorruptRecord, before or after some of them."""
    count = 0
    for header, view in _batches(chunk, codecs):
        for record in records(header, view):
            if chunk.first <= record.offset < chunk.next:
                count += 1
                yield record
    _check(chunk, count)


def chunk_values(chunk: StoredChunk, codecs: Codecs) -> list[bytes]:
    """The values of the chunk, in offset order. Raises CorruptRecord."""
    values: list[bytes] = []
    for header, view in _batches(chunk, codecs):
        if header.flags & DENSE and not header.control:
            lengths = dense_lengths(header, view)
            # One call cuts all values; a Struct of its own, since the module would keep every layout it ever saw in a
            # cache.
            cut = struct.Struct("%ds" * len(lengths) % lengths)
            found = cut.unpack_from(view, HEADER_BYTES + 2 * len(lengths))
            if header.base < chunk.first or header.next > chunk.next:
                found = found[max(0, chunk.first - header.base) : chunk.next - header.base]
            values.extend(found)
        else:
            values.extend([r.value for r in records(header, view) if chunk.first <= r.offset < chunk.next])
    _check(chunk, len(values))
    return values


def _batches(chunk: StoredChunk, codecs: Codecs) -> Iterator[tuple[Header, memoryview]]:
    try:
        raw = codecs.by_id(chunk.codec_id).decompress(chunk.data, chunk.raw_bytes)
        for header, view in batches(raw):
            if header.next > chunk.first and header.base < chunk.next:
                yield header, view
    except (ProtocolError, CorruptRecord) as error:
        raise CorruptRecord("%s cannot be read: %s" % (chunk, error))


def _check(chunk: StoredChunk, count: int) -> None:
    if count != chunk.count:
        raise CorruptRecord("%s holds %d records where %d were stored" % (chunk, count, chunk.count))
