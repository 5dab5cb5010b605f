"""The clock: stamps only rise, whatever the wall clock does."""

from harness import FakeClock, Random
from logs import WALL_MS, Bench
from streamline_core.hlc import DRIFT_MS_MAX, HybridClock


def test_stamps_rise_while_the_wall_clock_jumps():
    port = FakeClock(0, 1000)
    clock, random, last = HybridClock(port), Random(2), 0
    for _ in range(500):
        port.wall = max(0, port.wall + random.below(21) - 10)
        stamp = clock.stamp()
        assert stamp > last
        last = stamp


def test_the_counter_carries_into_the_milliseconds():
    clock = HybridClock(FakeClock(0, 5))
    for _ in range(65536):
        clock.stamp()
    assert clock.stamp() == 6 << 16


def test_without_a_wall_clock_it_is_untrusted_until_told():
    port = FakeClock(100, None)
    clock = HybridClock(port)
    clock.resume(5000 << 16)
    assert not clock.trusted and clock.stamp() >> 16 == 5100
    port.advance(50)
    assert clock.learn(900000) == 900000 - 5150 and clock.trusted and clock.learn(1) is None
    port.advance(10)
    assert clock.wall_ms() == 900010 and clock.stamp() >> 16 == 900010


def test_remote_stamps_are_followed_within_the_drift():
    clock = HybridClock(FakeClock(0, 1000))
    assert not clock.observe((1001 + DRIFT_MS_MAX) << 16)
    assert clock.observe((1000 + DRIFT_MS_MAX) << 16) and clock.stamp() == ((1000 + DRIFT_MS_MAX) << 16) + 1
    unset = HybridClock(FakeClock(100, None))
    assert not unset.observe(5000 << 16) and unset.stamp() >> 16 == 100


def test_a_log_that_is_opened_again_never_stamps_below_what_it_holds():
    bench = Bench()
    bench.write(bench.open(), [b"stamped now"])
    bench.clock.wall -= 3600000  # the wall clock is an hour behind after the restart
    log = bench.open()
    assert log.clock.stamp() > WALL_MS << 16


def test_a_head_segment_that_came_back_empty_does_not_let_the_clock_go_back():
    bench = Bench(segment_bytes=1024)
    log = bench.open()
    while len(log.segments.bases) < 2 or log.state.checkpoint < log.segments.bases[-1]:
        bench.write(log, [bytes(300)])
    bench.storage.files[bench.segments()[-1]][:] = b""
    bench.clock.wall -= 3600000
    log = bench.open()
    assert log.clock.stamp() > WALL_MS << 16
