"""The batch: what it says of itself, and that a flipped bit never goes unnoticed."""

import binascii
import struct

from harness import cuts, flips, raises
from logs import WALL_MS, pack_batch
from streamline_core import batch as b
from streamline_core.errors import CorruptRecord

VALUES = [b"", b"one", b"two two", bytes(300)]
GOOD = pack_batch(1000, VALUES, producer=5, sequence=9)


def head_with(**changes):
    """A header like GOOD's with some fields changed and a right CRC."""
    names = ("magic", "version", "flags", "length", "count", "span", "base", "hlc", "term", "producer", "sequence", "behind", "body_crc")
    fields = list(struct.unpack("<HBBIIIQQIQQII", GOOD[:60]))
    for name in changes:
        fields[names.index(name)] = changes[name]
    head = struct.pack("<HBBIIIQQIQQII", *fields)
    return head + struct.pack("<I", binascii.crc32(head))


def test_a_batch_packed_by_hand_is_read():
    found = list(b.batches(GOOD + pack_batch(1004, [b"x"], flags=3)))
    assert len(found) == 2
    header, view = found[0]
    assert (header.base, header.count, header.span, header.next, header.term) == (1000, 4, 4, 1004, 7)
    assert (header.producer, header.sequence, header.trusted, header.control, header.length) == (5, 9, True, False, len(GOOD))
    rows = list(b.records(header, view))
    assert [(r.offset, r.value) for r in rows] == [(1000 + i, v) for i, v in enumerate(VALUES)]
    assert all([r.hlc == WALL_MS << 16 and r.key is None and r.headers == () and r.timestamp_ms is None for r in rows])
    assert not found[1][0].trusted and not list(b.records(*found[1]))[0].trusted


def test_a_batch_cut_anywhere_is_no_batch():
    for cut in cuts(GOOD):
        if cut:
            raises(CorruptRecord, list, b.batches(cut))
        assert b.parse_header(cut) is None or not b.body_is_whole(b.parse_header(cut), cut)


def test_every_flipped_bit_of_a_batch_is_noticed():
    for bit, copy in flips(pack_batch(77, [b"abc", b"defgh"])):
        header = b.parse_header(copy)
        assert header is None or not b.body_is_whole(header, copy), bit
        raises(CorruptRecord, list, b.batches(copy))


def test_a_header_that_contradicts_itself_is_none():
    for changes in (
        {"count": 5}, {"span": 0, "count": 0}, {"span": 1 << 30}, {"length": 59}, {"length": 65409}, {"magic": 0xB15D},
    ):  # fmt: skip
        assert b.parse_header(head_with(**changes)) is None, changes
    assert b.parse_header(head_with()) is not None


def test_a_later_version_or_flag_is_valid_and_not_understood():
    assert b.understood(b.parse_header(head_with()))
    for changes in ({"version": 2}, {"flags": 9}, {"flags": 0x81}):
        header = b.parse_header(head_with(**changes))
        assert header is not None and not b.understood(header), changes


def test_dense_lengths_must_fill_the_body():
    body = struct.pack("<HH", 3, 4) + b"abcdef"
    head = head_with(length=64 + len(body), count=2, span=2, body_crc=binascii.crc32(body))
    header = b.parse_header(head)
    raises(CorruptRecord, list, b.records(header, head + body))
    head = head_with(length=66, count=2, span=2, body_crc=binascii.crc32(b"ab"))
    raises(CorruptRecord, list, b.records(b.parse_header(head), head + b"ab"))
    body = struct.pack("<H", 1) + b"a"  # a dense batch has no holes
    head = head_with(length=67, count=1, span=2, body_crc=binascii.crc32(body))
    raises(CorruptRecord, list, b.records(b.parse_header(head), head + body))


def test_a_control_batch_has_no_records():
    head = head_with(flags=4, length=67, count=0, span=1, body_crc=binascii.crc32(b"abc"))
    header, view = list(b.batches(head + b"abc"))[0]
    assert header.control and header.next == 1001 and list(b.records(header, view)) == []
