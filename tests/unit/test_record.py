"""General records: what goes in comes out, and any other bytes are a CorruptRecord."""

from harness import Random, cuts, flips, raises
from streamline_core.errors import CorruptRecord, UsageError
from streamline_core.record import read_records
from streamline_core.record_encoder import encode_record, put_varint

HLC = 1700000000000 << 16


def read(data, count=1, span=None):
    return list(read_records(data, 0, len(data), 50, HLC, True, count, span or count))


def as_tuple(r):
    return (r.offset, r.hlc, r.timestamp_ms, r.key, r.value, r.headers, r.tombstone)


def test_every_field_comes_back():
    base = HLC >> 16
    rows = [
        (b"v", None, (), None, False),
        (b"", b"", (), base, False),
        (bytes(200), b"k" * 130, (("a", b""), ("äöü€", bytes(300))), base - 5, True),
        (b"x", None, (("n", b"1"),), -1, False),
        (b"x", None, (), (1 << 47) - 1, False),
    ]
    data = b""
    for i, (value, key, headers, timestamp, tombstone) in enumerate(rows):
        data += bytes(encode_record(0, i * 100, base, value, key, headers, timestamp, tombstone))
    found = read(data, 5)
    for i, (value, key, headers, timestamp, tombstone) in enumerate(rows):
        assert as_tuple(found[i]) == (50 + i, HLC + (i * 100 << 16), timestamp, key, value, headers, tombstone)
    assert [r.time_ms for r in found] == [base, base, base - 5, -1, (1 << 47) - 1]


def test_what_compaction_dropped_shows_in_the_offsets():
    data = bytes(encode_record(2, 0, 0, b"a", None, (), None) + encode_record(3, 0, 0, b"b", None, (), None))
    assert [r.offset for r in read(data, 2, 7)] == [52, 56]
    assert [r.offset for r in read(data, 2, 9)] == [52, 56]
    raises(CorruptRecord, read, data, 2, 6)


def test_what_no_reader_would_take_is_refused_before_it_is_written():
    many = [("h", b"")] * 65
    raises(UsageError, encode_record, 0, 0, 0, b"", None, many, None)
    assert len(read(encode_record(0, 0, 0, b"", None, many[:64], None))[0].headers) == 64
    for timestamp in (1 << 47, -(1 << 47), 1 << 70):
        raises(UsageError, encode_record, 0, 0, 0, b"", None, (), timestamp)
    raises(UsageError, encode_record, 0, 0, 0, b"", None, (("\ud800", b""),), None)


def test_a_header_name_that_is_not_utf8_is_corrupt_on_every_interpreter():
    good = bytes(encode_record(0, 0, 0, b"", None, (("abc", b""),), None))
    for name in (b"\xc0\x80a", b"\xed\xa0\x80", b"\xff\xfe\xfd"):
        raises(CorruptRecord, read, good.replace(b"abc", name))


def test_cut_anywhere_or_followed_by_more_it_is_corrupt():
    data = bytes(encode_record(0, 3, 0, b"value", b"key", (("h", b"1"),), 77))
    for cut in cuts(data):
        raises(CorruptRecord, read, cut)
    raises(CorruptRecord, read, data + b"\x00")
    raises(CorruptRecord, read, data, 2)


def test_any_flipped_bit_and_any_garbage_give_records_or_corrupt():
    data = bytes(encode_record(0, 3, 0, b"value", b"key", (("h", b"1"),), 77))
    random = Random(5)
    samples = [copy for _, copy in flips(data)] + [random.bytes(1 + random.below(40)) for _ in range(300)]
    for sample in samples:
        try:
            for record in read(sample, 1, 1 << 20):
                assert record.offset >= 50 and isinstance(record.value, bytes)
        except CorruptRecord:
            pass


def test_a_number_has_at_most_nine_bytes():
    out = bytearray()
    for n in (0, 127, 128, 16383, 16384, (1 << 62) - 1):
        put_varint(out, n)
    assert bytes(out) == b"\x00\x7f\x80\x01\xff\x7f\x80\x80\x01" + b"\xff" * 8 + b"\x3f"
    raises(CorruptRecord, read, b"\x00" + b"\xff" * 9 + b"\x01\x00\x00")
