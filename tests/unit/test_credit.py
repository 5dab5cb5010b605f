"""Credit: what is granted never exceeds the pool, and nobody waits for what others do not use."""

from harness import Random
from streamline_core.credit import WINDOW_BYTES_MAX, WINDOW_BYTES_MIN, CreditPool, Window
from world import World, produce


def test_a_window_grows_shrinks_and_gives_back():
    pool = CreditPool(64 << 20)
    window = Window(pool)
    assert window.open() == WINDOW_BYTES_MIN
    for _ in range(20):
        window.grow()
    assert window.size == WINDOW_BYTES_MAX == pool.granted
    for _ in range(20):
        window.shrink()
    assert window.size == WINDOW_BYTES_MIN == pool.granted
    window.close()
    assert pool.granted == 0


def test_the_pool_holds_whatever_the_windows_do():
    random = Random(4)
    pool = CreditPool(1000000)
    windows = [Window(pool) for _ in range(40)]
    for _ in range(3000):
        window = windows[random.below(40)]
        (window.open, window.grow, window.shrink, window.close, lambda w=window: w.covers(random.below(100000)))[random.below(5)]()
        assert 0 <= pool.granted <= pool.total and pool.granted == sum([w.size for w in windows])
        assert all([w.size == 0 or w.size >= WINDOW_BYTES_MIN for w in windows])  # a splinter lets frames go that cannot be taken


def test_who_has_nothing_to_send_gives_his_credit_at_once_to_who_starves():
    world = World()
    world.hub.streams.pool.total = 2 * WINDOW_BYTES_MIN
    for name in ("e1", "e2"):
        produce(world.edge(name).connect(), 5)
    world.run_until(world.drained)
    assert world.hub.streams.pool.granted == world.hub.streams.pool.total
    produce(world.edge("e3").connect(), 500)
    world.run_until(world.drained, 1000)
