"""The builder: which records share a batch, and that nothing is allocated for a bare value."""

import struct

from harness import FakeClock, without_heap
from logs import WALL_MS, pack_batch
from streamline_core.batch import batches, records
from streamline_core.builder import BatchBuilder, control_batch, dense_batch
from streamline_core.hlc import HybridClock


def make(batch_bytes=512, wall=WALL_MS):
    clock = FakeClock(10, wall)
    return BatchBuilder(batch_bytes, HybridClock(clock)), clock


def taken(builder, base=0, term=7):
    return b"".join([bytes(part) for part in builder.take(base, term, 0)])


def test_bare_values_become_the_dense_batch_that_the_format_says():
    builder, _ = make()
    values = [b"", b"a", b"bc"]
    for i, value in enumerate(values):
        assert builder.add(value, 3, 40 + i)
    assert builder.size == 64 + 6 + 3
    assert taken(builder, 99) == pack_batch(99, values, producer=3, sequence=40)
    assert builder.count == 0 and builder.size == 0


def test_dense_batch_and_the_builder_agree():
    builder, _ = make()
    for value in (b"x", b"yz"):
        builder.add(value)
    head, body = dense_batch([b"x", b"yz"], [1, 2], 5, 7, HybridClock(FakeClock(0, WALL_MS)), 0, 0, 0)
    assert bytes(head) + body == taken(builder, 5) == pack_batch(5, [b"x", b"yz"])


def test_a_batch_is_full_at_its_bytes_and_not_before():
    builder, _ = make(512)
    assert builder.add(bytes(444)) and builder.size == 510
    assert builder.add(b"") and builder.size == 512
    assert not builder.add(b"")
    assert len(taken(builder)) == 512
    assert not builder.add(bytes(447)) and builder.count == 0
    assert builder.add(bytes(446)) and builder.size == 512


def test_another_producer_or_a_jump_in_sequence_ends_a_batch():
    builder, _ = make()
    assert builder.add(b"a", 1, 10) and builder.add(b"b", 1, 11)
    assert not builder.add(b"c", 1, 13) and not builder.add(b"c", 2, 12) and not builder.add(b"c")
    assert not builder.add_full(b"c", b"k", (), None, 1, 12)  # dense: the key needs a general batch
    taken(builder)
    assert builder.add_full(b"a", b"k", (), None, 1, 12) and builder.add(b"b", 1, 13)
    assert not builder.add(b"c", 1, 15)


def test_bare_values_join_an_open_general_batch_and_keep_their_times():
    builder, clock = make()
    builder.add_full(b"a", b"k", (("h", b"1"),), 5, 0, 0)
    clock.advance(30)
    builder.add(b"b")
    header, view = list(batches(taken(builder, 8)))[0]
    rows = list(records(header, view))
    assert [(r.offset, r.value, r.key, r.timestamp_ms) for r in rows] == [(8, b"a", b"k", 5), (9, b"b", None, None)]
    assert [r.hlc >> 16 for r in rows] == [WALL_MS, WALL_MS + 30]


def test_without_a_wall_clock_stamps_say_so():
    builder, _ = make(wall=None)
    builder.add(b"a")
    assert not list(batches(taken(builder)))[0][0].trusted
    head, body = control_batch(b"\x01", 4, 7, HybridClock(FakeClock(0, None)), 0)
    header, _ = list(batches(bytes(head) + body))[0]
    assert header.control and not header.trusted and (header.base, header.span, header.count) == (4, 1, 0)


def test_lengths_take_two_bytes():
    builder, _ = make(1024)
    builder.add(bytes(300))
    assert struct.unpack_from("<H", taken(builder), 64)[0] == 300


def test_adding_a_bare_value_allocates_nothing():
    builder, _ = make()
    value = b"0123456789"
    builder.add(value)
    add = builder.add

    def more():
        for _ in range(5):
            add(value, 0, 0)

    without_heap(more)
    assert builder.count == 6
