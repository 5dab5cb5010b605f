"""The consumer: records and gaps in order, nothing skipped in silence."""

from harness import FakeEntropy
from logs import Bench, pack_batch
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
    bench.storage.append(segment_name(log.folder, log.bases[-1]), pack_batch(1, [b"?", b"?"], flags=9) + pack_batch(3, [b"b"]))
    partition = opened(bench)
    for size in (1, 4096):
        assert taken(Consumer(partition, 0, bytearray(512)), size) == [(0, b"a"), (1, 3, "corrupt"), (3, b"b")]


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
