"""Recovery: whatever a power cut or rot leaves behind, what is whole is kept, the rest is named, and writing goes on."""

from harness import MemoryStorage, Random
from logs import STREAM, WALL_MS, Bench, pack_batch, read_all
from streamline_core.forking import end, seal
from streamline_core.forking import move as fork
from streamline_core.recovery import recover
from streamline_core.segments import segment_name
from streamline_core.stream import StreamId


def built(batches=5, per_batch=3, segment_bytes=1024):
    """A closed log of batches of equal size: (bench, [values of each batch], bytes of a batch)."""
    bench = Bench(segment_bytes=segment_bytes)
    log = bench.open()
    rows = []
    for i in range(batches):
        values = [b"%04d" % (i * per_batch + j) * 20 for j in range(per_batch)]
        bench.write(log, values)
        rows.append(values)
    return bench, rows, 64 + per_batch * 82


def flat(rows):
    return [value for row in rows for value in row]


def test_a_torn_tail_at_every_byte_of_the_last_batch_costs_that_batch_only():
    bench, rows, size = built(3, 3, 4096)
    name = bench.segments()[-1]
    whole = bytes(bench.storage.files[name])
    assert len(whole) == 3 * size
    for cut in range(2 * size, 3 * size):
        again = Bench(segment_bytes=4096, storage=MemoryStorage())
        again.storage.append(name, whole[:cut])
        log = again.open()
        found, gaps = read_all(log)
        assert [value for _, value in found] == flat(rows[:2]), cut
        header_there = cut >= 2 * size + 64
        assert gaps == ([(6, 9, "torn")] if header_there else []), (cut, gaps)
        assert log.next == (9 if header_there else 6)
        again.write(log, [b"after"])
        assert read_all(again.open())[0][-1] == (log.next - 1, b"after")


def test_a_flipped_bit_is_a_gap_of_exactly_its_batch():
    for walked in (False, True):
        bench, rows, size = built(9)
        originals = {name: bytes(bench.storage.files[name]) for name in bench.segments()}
        for hurt in range(8):  # the last one is a tail
            name = bench.segments()[hurt // 3]
            for at in (0, 3, 4, 20, 53, 57, 59, 60, 63, 64, 70, size - 1):
                bench.storage.files[name][hurt % 3 * size + at] ^= 0x10
                twin = Bench(storage=bench.storage)
                if walked:  # without a saved state all of it is walked
                    twin.storage = MemoryStorage()
                    for other in originals:
                        twin.storage.append(other, bench.storage.files[other])
                found, gaps = read_all(twin.open())
                expected = [(i, v) for i, v in enumerate(flat(rows)) if i // 3 != hurt]
                assert found == expected, (walked, hurt, at)
                assert [g[:2] for g in gaps] == [(hurt * 3, hurt * 3 + 3)], (walked, hurt, at, gaps)
                bench.storage.files[name][:] = originals[name]
                for slot in ("/state.0", "/state.1"):
                    bench.storage.remove(STREAM.folder() + slot)


def test_reading_from_the_middle_of_a_batch_passes_damage_before_it():
    bench, rows, size = built(3, 3, 4096)
    log = bench.open()
    bench.storage.files[bench.segments()[0]][10] ^= 1
    found, gaps = read_all(log, 4)
    assert [row[0] for row in found] == [4, 5, 6, 7, 8] and gaps == []


def test_a_value_that_holds_a_batch_is_not_taken_for_one():
    inner = pack_batch(6, [b"a lie"] * 3)
    bench = Bench(segment_bytes=4096)
    log = bench.open()
    for values in ([b"0", b"1", b"2"], [b"3", inner, b"5"], [b"6"]):
        bench.write(log, values)
    name = bench.segments()[0]
    bench.storage.files[name][64 + 2 * 3 + 3 + 64 + 6] ^= 1  # the body of the second batch
    for storage in (bench.storage, MemoryStorage()):
        if storage is not bench.storage:
            storage.append(name, bench.storage.files[name])
        log = Bench(segment_bytes=4096, storage=storage).open()
        found, gaps = read_all(log)
        assert log.next == 7 and found == [(0, b"0"), (1, b"1"), (2, b"2"), (6, b"6")] and [g[:2] for g in gaps] == [(3, 6)]


def test_empty_and_garbage_segments_do_not_wedge():
    for junk in (b"", b"\x00" * 10, b"\x5e\xb1" * 300, bytes(2000)):
        bench, rows, size = built(4)
        bench.storage.append(segment_name(STREAM.folder(), 12), junk)
        log = bench.open()
        assert log.next == 12 and [v for _, v in read_all(log)[0]] == flat(rows)
        bench.write(log, [b"after"])
        assert read_all(bench.open())[0][-1] == (12, b"after")
    bench, rows, size = built(9)
    bench.storage.files[bench.segments()[1]][:] = b"\xff" * 100
    found, gaps = read_all(bench.open())
    assert gaps == [(9, 18, "corrupt")] and [r[0] for r in found] == list(range(9)) + list(range(18, 27))
    bench.storage.append(STREAM.folder() + "/notes.txt", b"x")
    bench.storage.append(STREAM.folder() + "/0000000000000000000x.seg", b"x")
    bench.open()


def test_a_segment_that_is_gone_is_a_gap():
    bench, rows, size = built(9)
    bench.storage.remove(bench.segments()[1])
    found, gaps = read_all(bench.open())
    assert gaps == [(9, 18, "corrupt")] and len(found) == 18


def test_without_slots_or_with_both_torn_the_records_are_all_there():
    for tear in (None, 5, 11, 20):
        bench, rows, size = built(7)
        for slot in ("/state.0", "/state.1"):
            name = STREAM.folder() + slot
            if tear is None:
                bench.storage.remove(name)
            elif name in bench.storage.files:
                bench.storage.files[name] = bench.storage.files[name][:tear]
        log = bench.open()
        assert [v for _, v in read_all(log)[0]] == flat(rows) and not log.saved
        bench.write(log, [b"after"])
        assert read_all(bench.open())[0][-1] == (21, b"after")


def test_a_checkpoint_above_what_is_there_never_gives_an_offset_twice():
    bench, rows, size = built(9)  # bases 0, 9, 18; checkpoint 18
    for name in bench.segments()[1:]:
        bench.storage.remove(name)
    name = bench.segments()[0]
    bench.storage.files[name] = bench.storage.files[name][: 2 * size]
    log = bench.open()
    assert log.next == 18 and read_all(log)[1] == [(6, 18, "corrupt")]
    for name in bench.segments():
        bench.storage.remove(name)
    log = bench.open()
    assert log.next == 18
    bench.write(log, [b"after"])
    assert read_all(log)[0] == [(18, b"after")]


def test_power_cuts_at_random_moments_keep_what_was_durable_in_order():
    for seed in range(1, 25):
        random = Random(seed)
        bench = Bench(seed, segment_bytes=1024)
        log = bench.open()
        durable, count = {}, 0
        for _ in range(60):
            for _ in range(random.below(6)):
                value = b"%d." % count + bytes(random.below(120))
                count += 1
                log.append(value)
            what = random.below(10)
            if what < 5:
                log.commit()
            if what == 3 and log.can_evict and len(log.segments.bases) > 3:
                log.evict_oldest()
            if what < 4:
                bench.settle(log)
                for offset, value in read_all(log)[0]:
                    assert durable.get(offset, value) == value, (seed, offset)
                    durable[offset] = value
            if what == 9:
                torn = {}
                for name in bench.storage.files:  # some unsynced bytes reach the disk all the same
                    kept = len(bench.storage._durable.get(name, b""))
                    more = len(bench.storage.files[name]) - kept
                    if name.endswith(".seg") and more > 0 and random.below(2):
                        torn[name] = bytes(bench.storage.files[name][: kept + random.below(more + 1)])
                bench.storage.power_cut()
                for name in torn:
                    bench.storage.files[name] = bytearray(torn[name])
                mark = max(durable) + 1 if durable else 0
                log = bench.open()
                assert log.next >= mark, (seed, log.next, mark)
        found, gaps = read_all(log)
        lost = {}
        for first, next_, cause in gaps:
            for offset in range(first, next_):
                lost[offset] = cause
        rows = dict(found)
        assert [row[0] for row in found] == sorted(rows)
        for offset in durable:
            if offset in lost:
                assert lost[offset] == "evicted", (seed, offset, lost[offset])
            else:
                assert rows[offset] == durable[offset], (seed, offset)
        assert sorted(list(rows) + list(lost)) == list(range(log.durable)), seed


def test_producers_outlive_a_power_cut_as_far_as_their_records_do():
    bench = Bench()
    log = bench.open()
    bench.write(log, [b"a", b"b"], 7, 100)
    log.append(b"c", 7, 102)
    assert log.producers.last(7) == 102 and log.state.producers.last(7) == 101
    log.save_state(0)  # must not remember what only the buffer holds
    bench.settle(log)
    bench.storage.power_cut()
    log = bench.open()
    assert log.producers.last(7) == 101 and log.producers.offset_of(7, 100) == 0 and log.next == 2
    log.append(b"c", 7, 102)
    log.commit()
    bench.settle(log)
    assert bench.open().producers.offset_of(7, 102) == 2


def test_producers_of_many_segments_are_known_without_walking_them():
    bench = Bench()
    log = bench.open()
    bench.write(log, [b"once"], 7, 1)
    for i in range(20):
        bench.write(log, [bytes(300)], 8, i)
    assert len(log.segments.bases) > 3
    bench.storage.power_cut()
    log = bench.open()
    assert (log.producers.last(7), log.producers.offset_of(7, 1)) == (1, 0)
    assert (log.producers.last(8), log.producers.offset_of(8, 19)) == (19, 20)


def test_what_a_walk_finds_of_a_producer_outlives_the_next_checkpoint():
    bench = Bench(segment_bytes=512)
    bench.write(bench.open(), [b"once"], 7, 1)
    log = bench.open()
    assert log.state.checkpoint == 0  # so that it is the walk that knows
    for _ in range(3):
        bench.write(log, [bytes(400)])
    assert log.state.checkpoint > 1
    log = bench.open()
    assert (log.producers.last(7), log.producers.offset_of(7, 1)) == (1, 0)


def test_a_storage_failure_forgets_producers_of_what_was_lost():
    bench = Bench()
    log = bench.open()
    bench.write(log, [b"a"], 7, 1)
    log.append(b"b", 7, 2)
    recover(log, bench.entropy)
    bench.settle(log)
    assert log.producers.last(7) == 1 and log.next == 1


def test_a_second_walk_does_not_double_a_term():
    bench = Bench(segment_bytes=512)
    log = bench.open()
    for _ in range(3):
        bench.write(log, [bytes(300)])
    first = log.term
    log = bench.open()
    log.append(bytes(300))
    log.commit()
    log.save_state(0)  # durable before the data is
    bench.storage._pending = [row for row in bench.storage._pending if "state" in row[1]]
    bench.settle(log)
    bench.storage.power_cut()
    assert bench.open().state.lineage == [(first, 0)]


def test_untrusted_stamps_go_on_where_they_were_and_do_not_jump_when_a_log_is_opened_again():
    bench = Bench()
    bench.clock.wall = None
    log = bench.open()
    bench.write(log, [b"a"])
    bench.clock.advance(5000)
    bench.write(log, [b"b"])
    before = log.clock.stamp() >> 16
    recover(log, bench.entropy)
    bench.settle(log)
    assert (log.clock.stamp() >> 16) - before <= 1


def test_a_forked_log_ends_at_its_seal_whatever_is_synced_later():
    bench, rows, size = built(4)
    log = bench.open()
    log.append(b"late")
    log.cut()
    other = StreamId("e1", "t", 0, 1)
    successor = bench.open(other)
    at = fork(log, 6, successor)
    end(log, at, successor)
    seal(log, 6, 6, {})
    log.commit()
    bench.settle(log, successor)
    assert at == 6 and log.durable == 6 and successor.durable == 7
    assert [v for _, v in read_all(successor)[0]] == flat(rows[2:]) + [b"late"]
    log.save_state(0)
    bench.settle(log)
    log = bench.open()
    assert log.sealed and (log.written, log.durable) == (6, 6) and [v for _, v in read_all(log)[0]] == flat(rows[:2])


def test_a_fork_in_the_middle_of_a_batch_seals_at_its_beginning():
    bench, rows, size = built(3)
    log = bench.open()
    successor = bench.open(StreamId("e1", "t", 0, 1))
    assert fork(log, 4, successor) == 3
    bench.settle(log, successor)
    assert [v for _, v in read_all(successor)[0]] == flat(rows[1:])


def test_a_gap_at_the_end_of_a_fork_keeps_its_offsets_after_an_opening():
    bench, rows, size = built(3)
    log = bench.open()
    log.note_gap(6, 9, "corrupt")
    other = StreamId("e1", "t", 0, 1)
    successor = bench.open(other)
    fork(log, 3, successor)
    successor.save_state(0)
    bench.settle(log, successor)
    assert successor.next == 6 and successor.durable == 6
    bench.storage.power_cut()
    successor = bench.open(other)
    assert successor.next == 6 and read_all(successor)[1] == [(3, 6, "corrupt")]
    bench.write(successor, [b"after"])
    assert read_all(successor)[0][-1] == (6, b"after")


def test_a_fork_knows_the_producers_of_what_stayed_behind():
    bench = Bench()
    log = bench.open()
    bench.write(log, [b"a", b"b"], 7, 1)
    bench.write(log, [b"c"], 8, 50)
    bench.write(log, [b"d", b"e"], 7, 3)
    successor = bench.open(StreamId("e1", "t", 0, 1))
    fork(log, 3, successor)
    bench.settle(log, successor)
    for view in (successor.producers, successor.state.producers):
        assert (view.last(8), view.offset_of(8, 50)) == (50, -1)
        assert (view.last(7), view.offset_of(7, 3), view.offset_of(7, 4)) == (4, 0, 1)
    assert WALL_MS


def test_a_removal_that_a_power_cut_undid_does_not_make_forget_who_wrote_what():
    bench = Bench()
    for _ in range(4):
        log = bench.open()
        for _ in range(3):
            bench.write(log, [b"x" * 90])
    log = bench.open()
    files, lineage = dict(bench.storage.files), list(log.state.lineage)
    log.state.acked = log.state.reported = log.durable
    while log.can_evict:
        log.evict_oldest()
        bench.settle(log)
    assert not log.segments.bases and len(lineage) == 4
    name = segment_name(log.folder, 0)
    bench.storage.files[name] = files[name]
    log = bench.open()
    assert (log.segments.bases, log.written, log.state.lineage) == ([0], 12, lineage)
