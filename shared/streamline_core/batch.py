"""The batch: what one commit wrote, and the unit that is stored, sent and stored again without being opened.

Rule: these bytes are the same on disk and on the wire, on every node (docs/FORMAT.md, golden vectors in tests/vectors). The header has
its own CRC, so that a batch whose body rotted still says which offsets it held. Knows nothing of files or frames.
"""

import binascii
import struct

from .errors import CorruptRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

    from .ports import Buffer
    from .record import Record

HEADER_BYTES = 64
BATCH_BYTES_MAX = 65408  # with a frame's header and a seal's it fits the largest frame, 64 KB, even if it does not compress
SPAN_MAX = (1 << 30) - 1
BEHIND_MAX = (1 << 32) - 1
OFFSET_MAX = 1 << 62  # of a stream; a store counts with 63 bits

MAGIC = 0xB15E
MAGIC_BYTES = b"\x5e\xb1"
VERSION = 1
DENSE = 1  # body = `count` lengths of 16 bits, then the values; one time for all
UNTRUSTED = 2  # stamped by a clock that nobody had set
CONTROL = 4  # no records: a CBOR note that takes one offset (span 1, count 0)
KNOWN_FLAGS = DENSE | UNTRUSTED | CONTROL

_HEADER = "<HBBIIIQQIQQIII"
_CRC_AT = HEADER_BYTES - 4


class Header:
    """What a batch says of itself.

    base: first offset. count: records in it. span: offsets it covers; span - count were dropped by compaction as superseded (or are
    the batch's own, for a control batch). hlc: of the first record. term: the opening of the log that wrote it. producer,
    sequence: of its first record, 0 where the producer has no id. behind: the offsets just below base that were not durable yet when
    it was written; all further below were. length: bytes, header included.
    """

    def __init__(self, fields: "tuple[int, ...]") -> None:
        self.flags = fields[2]
        self.length = fields[3]
        self.count = fields[4]
        self.span = fields[5]
        self.base = fields[6]
        self.hlc = fields[7]
        self.term = fields[8]
        self.producer = fields[9]
        self.sequence = fields[10]
        self.behind = fields[11]
        self.body_crc = fields[12]

    @property
    def next(self) -> int:
        return self.base + self.span

    @property
    def control(self) -> bool:
        return self.flags & CONTROL != 0

    @property
    def trusted(self) -> bool:
        return self.flags & UNTRUSTED == 0


def pack_header(
    buf: bytearray,
    flags: int,
    count: int,
    span: int,
    base: int,
    hlc: int,
    term: int,
    producer: int,
    sequence: int,
    behind: int,
    body_bytes: int,
    body_crc: int,
) -> None:
    """Write the 64 bytes of a header to the start of `buf`. The arguments are those of Header."""
    struct.pack_into(
        _HEADER, buf, 0, MAGIC, VERSION, flags, HEADER_BYTES + body_bytes, count, span, base, hlc, term, producer, sequence,
        min(behind, BEHIND_MAX), body_crc, 0,
    )  # fmt: skip
    struct.pack_into("<I", buf, _CRC_AT, binascii.crc32(memoryview(buf)[:_CRC_AT]))


def parse_header(data: "Buffer", at: int = 0) -> "Header | None":
    """The header at `at`, or None where there is no whole and valid one. A valid one may have flags or a version this
    build does not know (`understood` tells)."""
    if len(data) - at < HEADER_BYTES or data[at] != 0x5E or data[at + 1] != 0xB1:
        return None
    fields = struct.unpack_from(_HEADER, data, at)
    if binascii.crc32(memoryview(data)[at : at + _CRC_AT]) != fields[13]:
        return None
    header = Header(fields)
    header.flags |= 0 if fields[1] == VERSION else 0x100
    if not HEADER_BYTES <= header.length <= BATCH_BYTES_MAX or not 1 <= header.span <= SPAN_MAX or header.count > header.span:
        return None
    if header.base > OFFSET_MAX:
        return None
    return header


def understood(header: Header) -> bool:
    """False for a batch of a later version, or with a flag that this build does not know: valid, but not to be applied."""
    return header.flags & ~KNOWN_FLAGS == 0


def body_is_whole(header: Header, data: "Buffer", at: int = 0) -> bool:
    """Whether the batch whose header is at `at` is all there and its body has the CRC that the header promises."""
    end = at + header.length
    return end <= len(data) and binascii.crc32(memoryview(data)[at + HEADER_BYTES : end]) == header.body_crc


def batches(data: "Buffer") -> "Iterator[tuple[Header, memoryview]]":
    """Each whole batch of a concatenation, as (header, its bytes). Raises CorruptRecord at the first that is not valid."""
    view = memoryview(data)
    at = 0
    while at < len(view):
        header = parse_header(view, at)
        if header is None or not body_is_whole(header, view, at):
            raise CorruptRecord("no valid batch at byte %d of %d" % (at, len(view)))
        yield header, view[at : at + header.length]
        at += header.length


def dense_lengths(header: Header, batch: "Buffer") -> "tuple[int, ...]":
    """The value lengths of a dense batch. Raises CorruptRecord unless lengths and values fill the body exactly."""
    if HEADER_BYTES + 2 * header.count > header.length:
        raise CorruptRecord("dense batch at offset %d: %d records do not fit" % (header.base, header.count))
    lengths = struct.unpack_from("<%dH" % header.count, batch, HEADER_BYTES)
    if HEADER_BYTES + 2 * header.count + sum(lengths) != header.length or header.span != header.count:
        raise CorruptRecord("dense batch at offset %d: lengths do not add up" % header.base)
    return lengths


def records(header: Header, batch: "Buffer") -> "Iterator[Record]":
    """The records of one whole batch, in offset order (none for a control batch). Raises CorruptRecord if they do not fill it."""
    if header.control:
        return
    from .record import Record, read_records  # a board that only writes does not pay for them

    trusted = header.trusted
    if header.flags & DENSE:
        view = memoryview(batch)
        at = HEADER_BYTES + 2 * header.count
        offset = header.base
        for length in dense_lengths(header, batch):
            yield Record(offset, header.hlc, trusted, None, None, bytes(view[at : at + length]), (), False)
            at += length
            offset += 1
    else:
        for record in read_records(batch, HEADER_BYTES, header.length, header.base, header.hlc, trusted, header.count, header.span):
            yield record
