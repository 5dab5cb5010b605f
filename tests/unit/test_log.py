"""The log: offsets, the durable mark, segments, eviction, producers, limits."""

from harness import MemoryStorage, raises
from logs import Bench, read_all
from streamline_core.errors import QueueFull, StorageFull, UsageError


def test_offsets_follow_each_other_and_durable_waits_for_the_sync():
    bench = Bench()
    log = bench.open()
    assert [log.append(b"v%d" % i) for i in range(5)] == [0, 1, 2, 3, 4]
    assert (log.next, log.written, log.durable) == (5, 0, 0)
    log.commit()
    assert (log.written, log.durable) == (5, 0) and read_all(log) == ([], [])
    bench.settle(log)
    assert log.durable == 5 and log.buffered_bytes == 0 and log.idle
    assert read_all(log)[0] == [(i, b"v%d" % i) for i in range(5)]


def test_a_tick_commits_after_the_interval_and_not_before():
    bench = Bench()
    log = bench.open()
    log.append(b"a")
    assert log.tick(bench.clock.monotonic) == bench.clock.monotonic + 5
    bench.clock.advance(4)
    log.tick(bench.clock.monotonic)
    assert log.written == 0
    bench.clock.advance(1)
    log.tick(bench.clock.monotonic)
    bench.settle(log)
    assert log.durable == 1


def test_files_synced_out_of_order_do_not_move_the_durable_mark_over_a_hole():
    bench = Bench(segment_bytes=512)
    log = bench.open()
    for _ in range(3):
        log.append(bytes(400))
        log.commit()
    tickets = bench.storage.completed()
    assert len(tickets) >= 3
    for ticket in reversed(tickets[1:]):
        log.synced(ticket, None)
    assert log.durable == 0
    log.synced(tickets[0], None)
    bench.settle(log)
    assert log.durable == 3


def test_segments_roll_at_their_size_and_are_named_by_their_base():
    bench = Bench(segment_bytes=1024)
    log = bench.open()
    for i in range(12):
        bench.write(log, [b"%03d" % i * 80])  # batches of 302 bytes: three to a segment
    names = [name.split("/")[-1] for name in bench.segments()]
    assert names == ["%020d.seg" % base for base in (0, 3, 6, 9)] and log.segments.bases == [0, 3, 6, 9]
    assert log.segments.total_bytes == sum([len(bench.storage.files[name]) for name in bench.segments()])
    for start in range(12):
        assert [row[0] for row in read_all(log, start, 700)[0]] == list(range(start, 12))


def test_append_many_is_all_or_none_and_cuts_batches_to_size():
    bench = Bench(segment_bytes=4096)
    log = bench.open()
    log.append(b"first")
    values = [bytes([i % 256]) * (i % 90) for i in range(300)]
    assert log.append_many(values) == 1
    log.commit()
    bench.settle(log)
    assert read_all(log)[0] == list(enumerate([b"first"] + values))
    before = log.next
    raises(UsageError, log.append_many, [b"a", bytes(451)])
    assert log.next == before and log.append_many([]) == before


def test_append_many_that_does_not_fit_the_storage_is_refused_before_any_of_it_is_stored():
    bench = Bench(storage=MemoryStorage(2000, StorageFull))
    log = bench.open()
    bench.write(log, [b"before"])
    raises(StorageFull, log.append_many, [bytes(400)] * 6)  # the first batches would fit
    assert log.next == 1 and log.failure is None
    free = bench.storage.free_bytes()
    bench.storage._capacity -= free - (6 * (230 + 2 + 64) - 1)  # each needs a batch of its own, and one byte is missing
    raises(StorageFull, log.append_many, [bytes(230)] * 6)
    assert log.next == 1 and log.failure is None
    bench.storage._capacity = 2000
    assert log.append_many([bytes(400)] * 2) == 1
    log.commit()
    bench.settle(log)
    assert log.durable == 3


def test_what_is_too_large_or_too_much_is_refused_and_leaves_nothing():
    bench = Bench()
    log = bench.open()
    raises(UsageError, log.append, bytes(451))
    raises(UsageError, log.append_full, bytes(300), bytes(100), (), None)
    raises(UsageError, log.append_full, b"", None, [("h", b"")] * 65, None)
    assert log.next == 0
    log.limits.buffer_bytes = 1024
    error = None
    for _ in range(10):
        try:
            log.append(bytes(400))
        except QueueFull as found:
            error = found
    assert error is not None and log.next < 6
    accepted = log.next
    log.commit()
    bench.settle(log)
    assert log.durable == accepted
    log.append(b"fits again")


def test_a_full_storage_is_an_error_of_the_producer():
    bench = Bench(storage=MemoryStorage(1500, StorageFull))
    log = bench.open()
    accepted = 0
    try:
        for _ in range(50):
            log.append(bytes(200))
            accepted += 1
            log.commit()
            bench.settle(log)
    except StorageFull:
        pass
    assert 0 < accepted < 50 and log.failure is not None and log.durable > 0
    raises(StorageFull, log.append, b"x")


def test_eviction_of_what_is_owed_is_a_gap_noted_before_the_file_goes():
    bench = Bench(segment_bytes=512)
    log = bench.open()
    for _ in range(3):
        bench.write(log, [bytes(400)])
    first = bench.segments()[0]
    assert log.evict_oldest() > 0 and log.first == 1
    assert first in bench.storage.files  # the note is not durable yet
    assert log.gap_at(0) == (0, 1, "evicted") and log.gap_at(1) is None
    bench.settle(log)
    assert first not in bench.storage.files
    assert read_all(log)[1] == [(0, 1, "evicted")] and [r[0] for r in read_all(log)[0]] == [1, 2]
    bench.storage.power_cut()
    assert read_all(bench.open())[1] == [(0, 1, "evicted")]


def test_eviction_of_what_the_cloud_has_is_no_loss():
    bench = Bench(segment_bytes=512)
    log = bench.open()
    for _ in range(3):
        bench.write(log, [bytes(400)])
    log.state.acked = 2
    assert log.evict_oldest() and log.evict_oldest() and log.state.gaps.at(0) is None
    assert not log.evict_oldest() and log.first == 2  # never the one being written
    assert log.state.gaps.rows == []


def test_a_state_that_cannot_be_written_holds_the_file_back_and_is_tried_again():
    bench = Bench(segment_bytes=512)
    log = bench.open()
    for _ in range(3):
        bench.write(log, [bytes(400)])
    replace = bench.storage.replace

    def refuse(name, data):
        raise OSError("no room")

    bench.storage.replace = refuse
    assert log.evict_oldest() > 0
    assert len(bench.segments()) == 3
    bench.storage.replace = replace
    bench.clock.advance(6000)
    log.tick(bench.clock.monotonic)
    bench.settle(log)
    assert len(bench.segments()) == 2
    bench.storage.power_cut()
    assert bench.open().state.gaps.rows == [(0, 1, "evicted")]


def test_many_gaps_and_producers_do_not_break_the_saved_state():
    bench = Bench(producers_max=600)
    log = bench.open()
    for i in range(600):
        log.state.producers.note(i + 1, 5, i, 1)
        log.state.gaps.add(2 * i, 2 * i + 1, "corrupt")
    log.save_state(0)
    bench.settle(log)
    bench.storage.power_cut()
    state = bench.open().state
    assert state.producers.last(600) == 5 and state.gaps.at(510) is not None


def test_a_failed_sync_is_a_failure_and_nothing_of_it_counts():
    bench = Bench()
    log = bench.open()
    log.append(b"a")
    log.commit()
    for ticket in bench.storage.completed():
        log.synced(ticket, OSError("EIO"))
    assert log.durable == 0 and "EIO" in str(raises(StorageFull, log.append, b"x" * 10))


def test_what_is_not_durable_is_never_evicted():
    bench = Bench()
    log = bench.open()
    log.append_many([b"x" * 100] * 30)
    assert len(log.segments.bases) > 2 and not log.can_evict and log.evict_oldest() == 0
    bench.settle(log)
    assert log.can_evict and log.evict_oldest() > 0


def test_a_cursor_that_moves_is_saved_no_more_often_than_the_limits_allow():
    """Each save wears the flash of a board: see tools/bench_wear.py."""
    for interval_ms in (5000, 600000):
        bench = Bench()
        bench.limits.cursor_interval_ms = interval_ms
        log = bench.open()
        bench.write(log, [b"%d" % i for i in range(100)])
        versions, minutes = log.state.slots.version, 30
        for second in range(60 * minutes):
            log.state.acked = min(99, log.state.acked + second % 2)
            if second % 60 == 0:
                log.state.acked = second // 60
            bench.clock.advance(1000)
            deadline_ms = log.tick(bench.clock.monotonic)
            assert deadline_ms < 0 or deadline_ms > bench.clock.monotonic
            bench.settle(log)
        saves = log.state.slots.version - versions
        assert 1 <= saves <= 60 * minutes * 1000 // interval_ms, saves
        assert bench.clock.monotonic - log._state_saved_ms <= interval_ms + 1000, "the last one was forgotten"
