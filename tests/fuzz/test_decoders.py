"""Every decoder, with its seeds whole, cut at every length, each bit flipped, changed at random; and all that was ever found.

Rule: the only outcomes are a value or the documented error, in bounded time and memory; what a failure prints is enough to repeat it.
Must not know: decoders.
"""

import random
import time
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as repeat
from hypothesis import strategies as st

from fuzz import mutation
from fuzz.bombs import BOMBS, Bomb
from fuzz.target import Target
from fuzz.targets import TARGETS

REGRESSIONS = Path(__file__).resolve().parent / "regressions"
RUN_SECS_MAX = 5.0  # of one small input
SWEEP_SECS = 0.4  # for one target; what does not fit is left out evenly
EXAMPLES = 60
MUTATIONS = 150
MEMORY_BYTES_MAX = 32 << 20  # that one input may take; the largest promise of a frame is 1 MB
each_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


def check(target: Target, data: bytes) -> None:
    """One run; a failure says how to repeat it."""
    begun = time.perf_counter()
    try:
        target.run(data)
    except Exception as error:
        shown = data.hex() if len(data) < 2000 else data[:2000].hex() + "..."
        pytest.fail("%s: %s: %s, with bytes.fromhex(%r)" % (target.name, type(error).__name__, str(error)[:300], shown))
    took = time.perf_counter() - begun
    assert took < RUN_SECS_MAX, "%s took %.1f s for %d bytes: %s" % (target.name, took, len(data), data[:2000].hex())


def sweep(target: Target, inputs: Iterable[bytes], rand: random.Random) -> None:
    """All of them if there is time, else some of each part."""
    rows = list(inputs)
    rand.shuffle(rows)
    until = time.perf_counter() + SWEEP_SECS
    for data in rows:
        check(target, data)
        if time.perf_counter() > until:
            return


@each_target
def test_seeds_are_good(target: Target) -> None:
    seeds = target.seeds()
    assert seeds
    for data in seeds:
        assert len(data) <= target.bytes_max
        check(target, data)
    for data in (b"", bytes(100), b"\xff" * 100):
        check(target, data)


@each_target
def test_cut_at_every_length(target: Target, seed: int) -> None:
    sweep(target, (piece for data in target.seeds() for piece in mutation.cuts(data)), random.Random(seed))


@each_target
def test_every_bit_flipped(target: Target, seed: int) -> None:
    sweep(target, (copy for data in target.seeds() for copy in mutation.flips(data)), random.Random(seed))


@each_target
def test_changed_at_random(target: Target, seed: int) -> None:
    rand, seeds = random.Random(seed), target.seeds()
    sweep(target, [mutation.mutate(seeds, rand, target.bytes_max) for _ in range(MUTATIONS)], rand)


@each_target
def test_any_bytes(target: Target, seed: int) -> None:
    examples = EXAMPLES // 3 if target.costly else EXAMPLES

    @repeat(seed)
    @settings(max_examples=examples, deadline=None, database=None, report_multiple_bugs=False, suppress_health_check=list(HealthCheck))
    @given(st.binary(max_size=200))
    def any_bytes(data: bytes) -> None:
        check(target, data)

    any_bytes()


@pytest.mark.parametrize("path", sorted(REGRESSIONS.glob("*.bin")), ids=lambda path: path.stem)
def test_found_before(path: Path) -> None:
    check(TARGETS[path.stem.rpartition("-")[0]], path.read_bytes())


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: "%s: %s" % (bomb.target, bomb.name))
def test_bombs_are_over_in_time(bomb: Bomb) -> None:
    data, run = bomb.make(), TARGETS[bomb.target].run
    begun = time.perf_counter()
    run(data)
    took = time.perf_counter() - begun
    assert took < bomb.secs_max, "%.1f s for %d bytes" % (took, len(data))
    if bomb.promises:
        tracemalloc.start()  # by itself: it slows everything down
        try:
            run(data)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < MEMORY_BYTES_MAX, "%.0f MB for %d bytes" % (peak / (1 << 20), len(data))
