"""The consumer: records and gaps in order, nothing skipped in silence."""

import binascii

from harness import FakeEntropy
from logs import Bench, pack_batch
from streamline_core.batch import HEADER_BYTES, pack_header, parse_header
from streamline_core.consumer import Consumer, Gap, offset_at
from streamline_core.hlc import HybridClock
from streamline_core.partition import Partition
from streamline_core.segments import segment_name
from streamline_core.sender import Parting
from streamline_core.topic import TopicDefinition


def opened(bench):
    clock = HybridClock(bench.clock)
    partition = Partition("e1", "t", 0, TopicDefinition(), bench.storage, bench.limits, clock, FakeEntropy(6))
    bench.settle(*partition.logs())
    return partition


def taken(consumer, bytes_max=1):
    rows = []
    while True:
        found = consumer.take(bytes_max)
        if not found:
            return rows
        rows += [(r.first, r.next, r.cause) if isinstance(r, Gap) else (r.offset, r.value) for r in found]


def test_a_mark_is_not_the_end():
    bench = Bench()
    partition = opened(bench)
    log = partition.current
    bench.write(log, [b"a"])
    log.append_mark(b"\x80")
    bench.write(log, [b"b"])
    assert taken(Consumer(partition, 0, bytearray(512))) == [(0, b"a"), (2, b"b")]
    assert taken(Consumer(partition, 1, bytearray(512))) == [(2, b"b")]


def test_what_this_build_cannot_read_is_a_gap_and_its_neighbours_are_shown():
    bench = Bench()
    partition = opened(bench)
    log = partition.current
    bench.write(log, [b"a"])
    bench.storage.append(segment_name(log.folder, log.segments.bases[-1]), pack_batch(1, [b"?", b"?"], flags=9) + pack_batch(3, [b"b"]))
    partition = opened(bench)
    for size in (1, 4096):
        assert taken(Consumer(partition, 0, bytearray(512)), size) == [(0, b"a"), (1, 3, "corrupt"), (3, b"b")]


def test_one_at_a_time_it_gives_what_it_gives_at_once():
    bench = Bench()
    partition = opened(bench)
    log = partition.current
    for n in range(5):
        bench.write(log, [b"%d" % n, b"x"])
    bench.storage.append(segment_name(log.folder, log.segments.bases[-1]), pack_batch(10, [b"?"], flags=9) + pack_batch(11, [b"b"]))
    partition = opened(bench)
    for size in (1, 100, 4096):
        one, other = Consumer(partition, 3, bytearray(512)), Consumer(partition, 3, bytearray(512))
        while True:
            found = other.take(size)
            rows = [(item.first, item.cause) if isinstance(item, Gap) else (item.offset, item.value) for item in one.each(size)]
            assert rows == [(item.first, item.cause) if isinstance(item, Gap) else (item.offset, item.value) for item in found]
            assert one.offset == other.offset
            if not found:
                break
        assert one.offset == 12


def test_a_batch_that_lies_is_a_gap_and_nothing_of_it_is_shown():
    bench = Bench()
    partition = opened(bench)
    log = partition.current
    bench.write(log, [b"a"])
    batch = bytearray(pack_batch(1, [b"one", b"two"]))
    whole = bytes(batch)
    batch[HEADER_BYTES + 2] += 1  # the second of two lengths
    crc = binascii.crc32(batch[HEADER_BYTES:])
    header = parse_header(whole)
    head = bytearray(HEADER_BYTES)
    pack_header(head, header.flags, header.count, header.span, header.base, header.hlc, header.term, header.producer, header.sequence,
                header.behind, len(batch) - HEADER_BYTES, crc)
    name = log.segments.name_of(log.segments.bases[-1])
    bench.storage.append(name, bytes(head) + bytes(batch[HEADER_BYTES:]) + pack_batch(3, [b"b"]))
    partition = opened(bench)
    for at_once in (False, True):
        rows = []
        reader = Consumer(partition, 0, bytearray(512))
        while reader.offset < 4:
            rows += [(item.first, item.next) if isinstance(item, Gap) else item.value for item in reader.each(1, at_once)]
        assert rows == [b"a", (1, 3), b"b"], rows


def test_offset_at_finds_the_first_batch_at_or_after_a_time():
    bench = Bench()
    log = opened(bench).current
    times = []
    for i in range(20):
        bench.clock.advance(1000)
        times.append(bench.clock.wall)
        bench.write(log, [b"%d" % i * 50, b"x"])
    for i in range(20):
        assert offset_at(log, times[i]) == 2 * i and offset_at(log, times[i] - 500) == 2 * i
    assert offset_at(log, times[19] + 1) == 40 == log.durable and offset_at(log, 0) == 0
    for name in bench.segments():  # rot in the first batch's header: rather earlier than later
        bench.storage.files[name][20] ^= 1
        assert all([0 <= offset_at(log, times[i]) <= 2 * i for i in range(20)])
        bench.storage.files[name][20] ^= 1
    assert offset_at(opened(Bench()).current, 5) == 0


def test_a_consumer_follows_a_fork():
    bench = Bench()
    partition = opened(bench)
    log = partition.current
    for i in range(4):
        bench.write(log, [b"%d" % i, b"x"])
    behind, ahead = Consumer(partition, 0, bytearray(512)), Consumer(partition, 6, bytearray(512))
    partition.fork(log, Parting(4, 4, 4, {}))
    for _ in range(6):
        bench.settle(*partition.all_logs())
        partition.tick()
    successor = partition.current
    bench.write(successor, [b"new"])
    assert taken(behind) == [(0, b"0"), (1, b"x"), (2, b"1"), (3, b"x"), (0, b"2"), (1, b"x"), (2, b"3"), (3, b"x"), (4, b"new")]
    assert [row[1] for row in taken(ahead)][-1] == b"new"


def test_what_has_rotted_is_shown_as_a_gap_and_not_stepped_over():
    bench = Bench()
    partition = opened(bench)
    log = partition.current
    for value in (b"a", b"b", b"c"):
        bench.write(log, [value])
    name = bench.segments()[0]
    bench.storage.files[name][len(bench.storage.files[name]) // 2] ^= 1  # in the middle one of three batches
    assert taken(Consumer(partition, 0, bytearray(512))) == [(0, b"a"), (1, 2, "corrupt"), (2, b"c")]
