"""A node and a hub, the real core on both sides: nothing lost, nothing twice, whatever the wire and the power do."""

from harness import raises
from streamline_core.batch import batches
from streamline_core.errors import UsageError
from streamline_core.topic import TopicDefinition
from world import WALL_MS, World, produce


def test_what_is_produced_arrives_once_in_order():
    world = World()
    edge = world.edge().connect()
    values = produce(edge, 500)
    world.run_until(world.drained)
    assert world.values() == [values]
    row = edge.node.ledger()[0]
    assert (row["produced"], row["delivered"], row["pending"], row["lost"]) == (500, 500, 0, {})


def test_a_backlog_from_offline_drains_by_itself():
    world = World()
    edge = world.edge()
    values = produce(edge, 2000)
    world.run(200)
    assert edge.node.ledger()[0]["pending"] == 2000
    edge.connect()
    world.run_until(world.drained)
    assert world.values() == [values]


def test_a_wire_that_loses_repeats_and_reorders_shows_nowhere():
    for seed in range(1, 6):
        world = World(seed)
        edge = world.edge().connect()
        for wire in (edge.up, edge.down):
            wire.loss, wire.repeat, wire.reorder = 20, 10, 20
        values = []
        for i in range(20):
            values += produce(edge, 50, i * 50)
            world.run(50)
        world.run_until(world.drained, 600000)
        assert world.values() == [values], seed


def test_at_rest_no_frame_leaves():
    world = World()
    edge = world.edge().connect()
    produce(edge, 100)
    world.run_until(world.drained)
    world.run(3000)
    before = edge.node.link.counters["frames_out"] + world.hub.counters["frames_out"]
    world.run(60000, 50)
    assert edge.node.link.counters["frames_out"] + world.hub.counters["frames_out"] == before


def test_a_power_cut_of_the_node_loses_nothing_durable():
    world = World(3)
    edge = world.edge().connect()
    durable = []
    for i in range(10):
        values = produce(edge, 40, i * 40)
        world.run(20)
        durable += values
        edge.node.produce("t", b"never durable")
        edge.power_cut()
        world.run(30)
    world.run_until(world.drained)
    stored = [value for epoch in world.values() for value in epoch]
    assert [value for value in stored if value != b"never durable"] == durable


def test_a_hub_that_crashes_between_commits_gets_everything_again_once():
    world = World(4)
    edge = world.edge().connect()
    values = []
    for i in range(10):
        values += produce(edge, 60, i * 60)
        world.run(15)
        world.crash_hub()
    world.run_until(world.drained)
    assert world.values() == [values]


def test_a_failing_store_delays_and_loses_nothing():
    world = World()
    edge = world.edge().connect()
    values = produce(edge, 100)
    world.store.fail = OSError("disk full")
    world.run(3000)
    assert world.values() == [] and world.hub.commits.errors > 0
    world.store.fail = None
    world.run_until(world.drained)
    assert world.values() == [values]


def test_a_topic_defined_otherwise_is_refused_by_name_and_nothing_is_lost():
    world = World(topics={"t": TopicDefinition(partitions=4)})
    edge = world.edge().connect()
    produce(edge, 10)
    world.run(5000)
    row = edge.node.ledger()[0]
    assert "partitions" in row["refused"] and "'t'" in row["refused"], row
    assert row["pending"] == 10 and world.values() == []


def test_a_bad_record_or_topic_is_refused_clearly():
    edge = World().edge()
    assert "there is no topic 'nope'" in str(raises(UsageError, edge.node.produce, "nope", b"x"))
    assert "too large" in str(raises(UsageError, edge.node.produce, "t", bytes(2000)))
    assert "too large" in str(raises(UsageError, edge.node.produce, "t", bytes(900), b"k" * 100))
    assert "too large" in str(raises(UsageError, edge.node.produce_many, "t", [b"a", bytes(2000)]))
    edge.settle()
    assert edge.node.log("t").next == 0


def test_a_node_without_a_clock_learns_the_time_and_leaves_a_mark():
    world = World()
    edge = world.edge()
    edge.clock.wall = None
    produce(edge, 5)
    world.run(50)
    assert not edge.node.clock.trusted
    edge.connect()
    world.run_until(world.drained)
    assert edge.node.clock.trusted
    assert abs(edge.node.clock.wall_ms() - world.clock.wall) < 50
    assert edge.node.ledger()[0]["produced"] == 6  # five records and the clock mark
    assert len(world.values()[0]) == 5


def test_batches_larger_than_the_receivers_frames_are_cut_and_a_record_that_is_becomes_a_gap():
    for producer in (0, 5):
        world = World()
        world.hub._me.frame_bytes_max = 600
        edge = world.edge()
        expected = []
        for i in range(60):
            value = b"%d" % i * (1 + i % 30)
            expected.append(value)
            if i % 20 < 10:
                edge.node.produce("t", value, producer=producer, sequence=i)
            else:
                edge.node.produce("t", value, b"key", (("h", b"x"),), 12345, producer, i)
        edge.node.produce("t", b"y" * 700)
        expected.append(None)
        edge.node.produce("t", b"after")
        expected.append(b"after")
        edge.connect()
        for _ in range(3):
            world.run(12)
            edge.node.link.hub_status(False, "")
            edge.node.link.hub_status(True, "b")
        world.run_until(world.drained)
        key = list(world.store.values)[0]
        got = [world.store.values[key].get(i) for i in range(62)]
        assert got == expected, got
        assert edge.node.ledger()[0]["lost"] == {"too large": 1}


def test_a_store_that_contradicts_the_hub_is_believed():
    world = World()
    edge = world.edge().connect()
    values = produce(edge, 20)
    world.run_until(world.drained)
    values += produce(edge, 20, 20)
    world.store.fail = UsageError("a chunk off the watermark")
    world.run_until(lambda: world.hub.commits.errors > 0)
    world.store.fail = None
    world.run_until(world.drained)
    assert world.values() == [values]


def test_a_disk_that_cannot_be_read_for_a_while_delays_and_loses_nothing():
    world = World()
    edge = world.edge()
    values = produce(edge, 50)
    world.run(50)
    read_into, edge.storage.read_into = edge.storage.read_into, lambda name, offset, buf: _raise(OSError(5))
    edge.connect()
    world.run(5000)
    assert world.values() == [] and edge.node.log("t").failure is not None
    edge.storage.read_into = read_into
    world.run_until(world.drained)
    assert world.values() == [values]


def test_a_log_that_cannot_be_written_does_not_keep_others_from_closing():
    world = World()
    edge = world.edge("e1", sync_topics=[{"topic": "a"}, {"topic": "t"}])
    world.run(20)
    edge.node.produce("a", b"lost with its disk")
    produce(edge, 3)
    append = edge.storage.append
    edge.storage.append = lambda name, data: _raise(OSError(5)) if name.startswith("a-0") else append(name, data)
    edge.node.close()
    edge.settle()
    assert edge.node.log("a").failure is not None and edge.node.log("t").durable == 3 and edge.node.idle


def _raise(error):
    raise error


def test_anonymous_producers_are_forgotten_before_named_ones():
    world = World()
    edge = world.edge("e1", log={"producers_max": 4, "segment_bytes": 4096, "batch_bytes": 1024})
    edge.node.produce("t", b"named", producer=9, sequence=1)
    for i in range(20):
        edge.node.produce("t", b"x", producer=(1 << 62) + i, sequence=1)
    world.run(50)
    assert edge.node.producer_last("t", 0, 9) == 1


def test_stamps_of_a_clock_that_was_not_set_are_corrected_for_readers_once_the_node_knows_the_time():
    world = World(3)
    edge = world.edge()
    edge.clock.wall = None
    produce(edge, 5)
    world.run(1000)
    written_ms = edge.clock.monotonic_ms()
    world.run(4000)
    edge.connect()
    world.run_until(world.drained)
    world.run(200)
    ((key, first, next_, later_ms),) = world.store.marks
    assert key[0] == "e1" and (first, next_) == (0, 5) and written_ms > 0
    stamped_ms = [header.hlc >> 16 for header, _ in batches(world.store.chunks["t", 0][0].data)][0]
    assert abs(stamped_ms + later_ms - (WALL_MS + 0)) < 1000
