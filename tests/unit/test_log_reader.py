"""The reader: from any offset, in pieces of any size, through gaps."""

from logs import Bench, read_all
from streamline_core.log_reader import LogReader


def built():
    bench = Bench()
    log = bench.open()
    for i in range(10):
        bench.write(log, [b"%02d-%d" % (i, j) * 10 for j in range(4)])
    return bench, log


def test_every_start_and_every_size_give_the_same_records():
    bench, log = built()
    expected = read_all(log)[0]
    assert len(expected) == 40
    for start in range(41):
        for size in (1, 300, 700, 5000):
            assert read_all(log, start, size) == (expected[start:], []), (start, size)


def test_a_torn_tail_in_the_middle_of_the_segments_is_passed():
    bench, log = built()
    name = bench.segments()[-1]
    bench.storage.files[name] = bench.storage.files[name][:-7]
    log = bench.open()
    bench.write(log, [b"after"])
    log = bench.open()
    bench.write(log, [b"and after"])
    for start in range(42):
        found, gaps = read_all(log, start)
        assert [row[0] for row in found] == [o for o in range(start, 42) if not 36 <= o < 40], start
        assert [gap[:2] for gap in gaps] == ([(max(36, start), 40)] if start < 40 else [])


def test_rot_that_appears_while_the_log_is_open_is_noted_once():
    bench, log = built()
    bench.storage.files[bench.segments()[1]][70] ^= 1
    first = read_all(log)
    assert len(first[1]) == 1 and first[1][0][2] == "corrupt" and read_all(log) == first and log.state.gaps.rows == first[1]


def test_nothing_above_the_durable_mark_is_read():
    bench, log = built()
    log.append(b"x")
    log.commit()
    reader, buf = LogReader(log, 40), bytearray(600)
    assert reader.read(buf, 600) is None
    reader.to_written = True
    assert reader.read(buf, 600).next == 41
