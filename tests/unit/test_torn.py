"""A power cut in the middle of writing: what it tore, what counts all the same, and which offsets are never given out again.

What was not synced may be there, or not, or in part, in any order; each batch says how far the log was durable before it.
"""

from logs import STREAM, Bench, pack_batch, read_all
from streamline_core.segments import segment_name


def rot(bench, value):
    """Flip a bit in a value that stands once in the segments; returns the segment's name."""
    for name in bench.segments():
        at = bytes(bench.storage.files[name]).find(value)
        if at >= 0:
            bench.storage.files[name][at] ^= 1
            return name
    raise AssertionError("no segment holds %r" % value)


def forget_state(bench):
    for slot in ("/state.0", "/state.1"):
        bench.storage.remove(STREAM.folder() + slot)


def test_a_whole_batch_behind_a_torn_one_of_its_sync_group_is_torn_and_its_producer_sends_both_again():
    for segment_bytes, gone in ((4096, False), (100, False), (100, True)):  # in one file, in two, and the first one without its name
        bench = Bench(segment_bytes=segment_bytes)
        log = bench.open()
        bench.write(log, [b"durable"], 7, 1)
        for sequence, value in ((2, b"first"), (3, b"second")):
            log.append(value, 7, sequence)
            log.cut()
        log.commit()
        name = rot(bench, b"first")
        if gone:
            bench.storage.remove(name)
        log = bench.open()
        assert log.producers.last(7) == 1 and read_all(log) == ([(0, b"durable")], [(1, 3, "torn")])
        bench.write(log, [b"first", b"second"], 7, 2)
        log = bench.open()
        assert log.producers.last(7) == 3 and read_all(log)[0] == [(0, b"durable"), (3, b"first"), (4, b"second")]


def test_a_hole_below_what_a_later_batch_knew_as_durable_is_corrupt_and_what_follows_counts():
    bench = Bench()
    log = bench.open()
    for i, value in enumerate((b"first", b"second", b"third")):
        bench.write(log, [value], 7, i)
    rot(bench, b"second")
    forget_state(bench)
    log = bench.open()
    assert read_all(log) == ([(0, b"first"), (2, b"third")], [(1, 2, "corrupt")]) and log.producers.last(7) == 2


def test_what_rots_at_the_beginning_of_an_opening_is_corrupt_and_not_torn():
    for hurt, at in ((0, 0), (0, 66), (1, 0), (1, 66)):  # which opening; in its first header, in its first body
        bench = Bench()
        for _ in range(2):
            log = bench.open()
            for i in range(3):
                bench.write(log, [b"%d" % i])
        bench.storage.files[bench.segments()[hurt]][at] ^= 1
        forget_state(bench)
        assert read_all(bench.open())[1] == [(3 * hurt, 3 * hurt + 1, "corrupt")], (hurt, at)


def test_what_a_later_opening_wrote_behind_a_torn_hole_counts():
    bench = Bench()
    log = bench.open()
    bench.write(log, [b"durable"])
    log.append(b"torn")
    log.commit()
    rot(bench, b"torn")
    log = bench.open()
    bench.write(log, [b"later"], 7, 1)
    forget_state(bench)
    log = bench.open()
    assert read_all(log) == ([(0, b"durable"), (2, b"later")], [(1, 2, "torn")]) and log.producers.last(7) == 1


def test_what_was_given_up_as_torn_stays_so_when_the_hole_before_it_has_been_evicted():
    bench = Bench()
    folder = STREAM.folder()
    bench.storage.append(segment_name(folder, 0), pack_batch(0, [b"torn"])[:-1])
    bench.storage.append(segment_name(folder, 1), pack_batch(1, [b"whole"], producer=7, sequence=1, behind=1))
    log = bench.open()
    assert log.producers.last(7) == -1 and read_all(log) == ([], [(0, 2, "torn")])
    assert log.evict_oldest()
    bench.settle(log)
    bench.storage.power_cut()
    assert len(bench.segments()) == 1
    log = bench.open()
    assert log.producers.last(7) == -1 and read_all(log) == ([], [(0, 2, "torn")])


def test_a_first_segment_that_was_never_synced_is_torn_and_not_rolled_back():
    bench = Bench(segment_bytes=512)
    log = bench.open()
    for _ in range(2):
        log.append(bytes(400))
        log.commit()
    bench.storage.remove(bench.segments()[0])  # gone with its name; the next one has reached the disk
    log = bench.open()
    assert read_all(log) == ([], [(0, 2, "torn")]) and log.next == 2


def test_a_last_segment_that_holds_nothing_readable_still_says_which_offsets_were_given_out():
    for junk in (b"", b"\x5e\xb1" * 300):
        bench = Bench()
        bench.storage.append(segment_name(STREAM.folder(), 9), junk)
        log = bench.open()
        assert log.next == 9
        bench.write(log, [b"after"])
        assert read_all(bench.open()) == ([(9, b"after")], [(0, 9, "torn")])


def test_a_whole_batch_behind_a_file_whose_beginning_never_came_to_the_disk_is_torn_too():
    bench = Bench()
    log = bench.open()
    for i in range(3):
        log.append(b"lost %d" % i)
        log.cut()
    log.append(b"whole", 7, 2)
    log.commit()
    name = bench.segments()[0]
    content = bytes(bench.storage.files[name])
    bench.storage.files[name] = bytearray(bytes(content.find(b"whole") - 66) + content[content.find(b"whole") - 66 :])
    forget_state(bench)
    log = bench.open()
    assert log.producers.last(7) == -1 and read_all(log) == ([], [(0, 4, "torn")])
    bench.write(log, [b"whole"], 7, 2)
    assert read_all(log)[0] == [(4, b"whole")]
