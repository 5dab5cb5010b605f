"""Backoff: full jitter, doubling, reset only by a stable link."""

from harness import FakeEntropy
from streamline_core.backoff import STABLE_MS, Backoff, jitter


class Most:
    """An Entropy whose jitter is always the bound, for bounds one below a power of two."""

    def fill(self, buf):
        for i in range(len(buf)):
            buf[i] = 255


def test_jitter_reaches_both_ends():
    entropy = FakeEntropy(1)
    assert {jitter(entropy, 3) for _ in range(200)} == {0, 1, 2, 3} and jitter(entropy, 0) == 0


def test_waits_double_to_the_bound_and_only_a_stable_link_resets_them():
    backoff = Backoff(FakeEntropy(2), 1000, 8000)
    bounds = []
    for _ in range(6):
        bounds.append(backoff._bound_ms)
        assert 0 <= backoff.wait_ms() <= bounds[-1]
    assert bounds == [1000, 2000, 4000, 8000, 8000, 8000]
    backoff.up(0)
    backoff.down(STABLE_MS - 1)
    assert backoff._bound_ms == 8000
    backoff.up(0)
    backoff.up(STABLE_MS - 1)  # it was up all the time
    backoff.down(STABLE_MS)
    assert backoff._bound_ms == 1000 and Backoff(Most(), 1023, 9000).wait_ms() == 1023


def test_a_fleet_that_waits_does_not_come_back_as_one():
    waits = [Backoff(FakeEntropy(seed), 1000, 8000).wait_ms() for seed in range(1, 40)]
    assert len(set(waits)) > 30 and min(waits) < 200 and max(waits) > 800
