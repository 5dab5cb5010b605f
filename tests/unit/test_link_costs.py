"""What keyed topics cost on the link: bytes, counted on wires without compression. They are the same in every run."""

from harness import Random
from streamline_core.frames import DATA, DIFF, STATE
from table_world import at_rest, converged, value, world_of
from test_reconcile import listen

VALUE_BYTES = 200
KEYS = 10000
DIFFERENT = 10
LOG = {"segment_bytes": 1 << 20, "batch_bytes": 32768}

# Ten thousand keys take MicroPython minutes, and the bytes are the same.
CPYTHON_ONLY = ("test_ten_of_ten_thousand_keys_that_differ_cost_a_twentieth_of_all",)


def values(random, n):
    return [random.bytes(VALUE_BYTES) for _ in range(n)]


def test_an_edge_that_was_away_gets_the_last_values_and_not_the_history():
    world = world_of(2)
    one, two = world.edges["e0"], world.edges["e1"]
    converged(world)
    two.disconnect()
    random = Random(7)
    rounds = 20  # of 1,000: what is sent does not depend on it, and each takes its time
    for i in range(rounds):
        for key in range(100):
            last = random.bytes(VALUE_BYTES)
            if (key + i) % 2:
                one.node.produce("state", last, b"key %d" % key)
            else:
                world.hub.produce("state", last, b"key %d" % key)
        world.run(60)
    heard = listen(two.down)
    two.connect()
    at_rest(world)
    total = sum(heard.values())
    assert total <= 1.5 * 100 * VALUE_BYTES, heard
    converged(world)


def test_ten_of_ten_thousand_keys_that_differ_cost_a_twentieth_of_all():
    world = world_of(1, log=LOG, frame_bytes_max=65536)
    edge = world.edges["e0"]
    random = Random(8)
    everything = listen(edge.down, edge.up)
    for i in range(KEYS):
        world.hub.produce("state", random.bytes(VALUE_BYTES), b"key %d" % i)
        if i % 500 == 0:
            world.run(5)
    at_rest(world)
    all_bytes = everything[DATA]
    keyed = edge.node.tables.partition("state", b"key 1")
    for i in range(DIFFERENT):
        key = b"key %d" % (i * 997)
        for _, place in keyed.table.siblings(key):
            keyed.table.lose(key, place)
    everything.clear()
    edge.disconnect()
    world.run(20)
    edge.connect()
    world.run(20000, 50)
    assert all([value(edge, b"key %d" % (i * 997)) is not None for i in range(DIFFERENT)])
    spent = sum(everything.values())
    assert everything[DIFF] and everything[STATE] and spent <= all_bytes // 20, (everything, all_bytes)
