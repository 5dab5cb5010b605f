"""What the cloud writes reaches every edge once, in order, whatever happens on the way; and the cloud knows who has it."""

from harness import raises
from streamline_core.errors import UsageError
from streamline_core.topic import TopicDefinition
from world import World, produce

DOWN = {"topic": "promo", "direction": "cloud_to_edge"}
BOTH = {"topic": "chat", "direction": "bidirectional"}


def world_of(*topics, seed=1):
    world = World(seed)
    for topic in topics:
        definition = TopicDefinition(topic.get("kind", "log"), topic["direction"], topic.get("partitions", 1))
        world.hub.define(topic["topic"], definition)
    return world


def publish(world, n, topic="promo", start=0):
    values = [b"promo %d" % i for i in range(start, start + n)]
    for value in values:
        world.hub.produce(topic, value)
    return values


def shown(edge, topic="promo"):
    """What a consumer reads from the beginning, and its gaps."""
    consumer = edge.node.consumer(topic, feed=True)
    found = []
    while True:
        items = consumer.take()
        if not items:
            return found
        found += [item.value if hasattr(item, "value") else (item.first, item.next, item.cause) for item in items]


def crash_hub(world):
    """It comes back, and says so, as the broker's retained status does."""
    world.crash_hub()
    world.announce_hub()


def fed(world, topic="promo"):
    head = world.store.load_head(topic, 0)[0]
    return lambda: all([world.store.load_cursor(name, topic, 0) == head for name in world.edges])


def test_after_a_restart_on_a_slow_disk_a_node_is_not_sent_what_it_wrote_itself():
    world = world_of(BOTH)
    edge = world.edge("e1", sync_topics=[BOTH]).connect()
    world.run(100)
    produce(edge, 20, topic="chat")
    edge.down.cut = True  # the hub stores it, and the feed does not come to pass over it
    world.run(500)
    edge.power_cut()
    edge.down.cut = False
    at_once, edge.storage.completed = edge.storage.completed, list
    edge.connect()
    publish(world, 3, "chat")
    world.run(4000)
    edge.storage.completed = at_once
    world.run_until(fed(world, "chat"))
    assert [item for item in shown(edge, "chat") if isinstance(item, bytes)] == [b"promo 0", b"promo 1", b"promo 2"]


def test_what_the_cloud_writes_reaches_every_edge_once_in_order():
    world = world_of(DOWN)
    edges = [world.edge(name, sync_topics=[DOWN]).connect() for name in ("e1", "e2")]
    values = publish(world, 300)
    world.run(50)
    world.run_until(fed(world))
    for edge in edges:
        assert shown(edge) == values
        assert edge.node.ledger() == []
        raises(UsageError, edge.node.produce, "promo", b"no")
    assert world.store.load_cursor("e2", "promo", 0) == 300


def test_an_edge_that_was_away_resumes_where_it_was():
    world = world_of(DOWN)
    edge = world.edge(sync_topics=[DOWN]).connect()
    values = publish(world, 50)
    world.run(100)
    world.run_until(fed(world))
    edge.disconnect()
    values += publish(world, 50, start=50)
    world.run(100)
    edge.power_cut()
    edge.connect()
    edge.down.history = []
    world.run_until(fed(world))
    assert shown(edge) == values and edge.node.downlink.feeds["promo", 0].receiver.repeats == 0


def test_a_wire_that_loses_repeats_and_reorders_shows_nowhere():
    for seed in range(1, 5):
        world = world_of(DOWN, seed=seed)
        edge = world.edge(sync_topics=[DOWN]).connect()
        for wire in (edge.up, edge.down):
            wire.loss, wire.repeat, wire.reorder = 20, 10, 20
        values = []
        for i in range(20):
            values += publish(world, 30, start=i * 30)
            world.run(50)
            if i % 5 == 2:
                edge.power_cut()
        world.run_until(fed(world), 600000)
        assert shown(edge) == values, seed


def test_what_one_edge_writes_reaches_the_others_and_not_itself():
    world = world_of(BOTH)
    one, two = [world.edge(name, sync_topics=[BOTH]).connect() for name in ("e1", "e2")]
    written = produce(one, 40, topic="chat")
    world.run_until(world.drained)
    said = publish(world, 5, "chat")
    world.run(100)
    world.run_until(fed(world, "chat"))
    assert shown(two, "chat") == written + said and shown(one, "chat") == said
    assert world.values("e1", "chat") == [written]


def test_a_hub_that_crashes_gives_out_nothing_that_it_might_forget():
    world = world_of(DOWN, seed=3)
    edge = world.edge(sync_topics=[DOWN]).connect()
    world.run(200)
    for i in range(10):
        publish(world, 20, start=20 * i)
        world.run(15)
        crash_hub(world)
        world.run(40)
    world.run_until(fed(world), 300000)
    stored = [row[1] for key in sorted(world.store.values) if key[0] == "cloud" for row in sorted(world.store.values[key].items())]
    assert sorted(shown(edge)) == sorted(stored)


def test_a_feed_of_a_restored_hub_is_read_on_where_the_two_part():
    world = world_of(DOWN, seed=5)
    edge = world.edge(sync_topics=[DOWN]).connect()
    first = publish(world, 30)
    world.run(100)
    world.run_until(fed(world))
    backup = world.backup()
    publish(world, 20, start=30)
    world.run(100)
    world.run_until(fed(world))
    consumer = edge.node.consumer("promo", 0, 40, feed=True)
    assert len(consumer.take()) == 10
    world.roll_back(backup)
    world.announce_hub()
    world.run(3000)
    assert edge.node.downlink.status()[0]["pending"] == 0
    new = publish(world, 8, start=1000)
    world.run(100)
    world.run_until(fed(world), 300000)
    world.run(1000)
    assert edge.node.downlink.status()[0]["pending"] == 0
    assert shown(edge) == first + new  # what the hub no longer has is void
    assert [item.value for item in consumer.take()] == new  # who had read it already reads on where the two parted
    edge.power_cut()
    world.run(50)
    assert shown(edge) == first + new


def test_a_consumer_reads_on_across_a_rewind():
    world = world_of(DOWN, seed=6)
    edge = world.edge(sync_topics=[DOWN]).connect()
    first = publish(world, 30)
    world.run(100)
    world.run_until(fed(world))
    consumer = edge.node.consumer("promo")
    assert [record.value for record in consumer.take()] == first
    feed = edge.node.downlink.feeds["promo", 0]
    feed.rewind(10)
    world.run(2000)
    assert [record.value for record in consumer.take()] == first[10:]


def test_frames_too_small_for_a_batch_get_it_in_parts():
    world = world_of(DOWN, seed=7)
    log = {"segment_bytes": 2048, "batch_bytes": 512}
    edge = world.edge(sync_topics=[DOWN], frame_bytes_max=700, log=log).connect()
    values = publish(world, 200)
    world.run(100)
    world.run_until(fed(world))
    assert shown(edge) == values


def test_definitions_that_differ_are_refused_by_name_on_both_sides():
    world = world_of(DOWN)
    edge = world.edge(sync_topics=[{"topic": "promo", "direction": "bidirectional"}]).connect()
    produce(edge, 3, topic="promo")
    world.run(3000)
    assert "direction" in edge.node.ledger()[0]["refused"] and edge.node.ledger()[0]["pending"] == 3
    raises(UsageError, world.hub.define, "promo", TopicDefinition("log", "bidirectional"))
    raises(UsageError, world.hub.produce, "nowhere", b"x")


def test_at_rest_no_frame_leaves():
    world = world_of(DOWN, BOTH)
    edge = world.edge(sync_topics=[DOWN, BOTH]).connect()
    publish(world, 100)
    world.run(100)
    world.run_until(fed(world))
    world.run(3000)
    before = edge.node.link.counters["frames_out"] + world.hub.counters["frames_out"]
    world.run(60000, 50)
    assert edge.node.link.counters["frames_out"] + world.hub.counters["frames_out"] == before


def test_one_feed_does_not_starve_another_however_small_the_buffer():
    topics = [{"topic": "t%d" % i, "direction": "cloud_to_edge"} for i in range(4)]
    world = world_of(*topics)
    log = {"segment_bytes": 2048, "batch_bytes": 512, "buffer_bytes": 2048}
    edge = world.edge(sync_topics=topics, log=log, frame_bytes_max=1024).connect()
    for i in range(4):
        publish(world, 40, "t%d" % i)
        world.run(3000, 50)
    for i in range(4):
        world.run_until(fed(world, "t%d" % i))
        assert len(shown(edge, "t%d" % i)) == 40


def test_what_a_torn_end_has_lost_comes_again_and_no_consumer_sees_a_gap():
    for cut in range(1, 12):
        world = world_of(DOWN, seed=cut)
        edge = world.edge(sync_topics=[DOWN], log={"segment_bytes": 4096, "batch_bytes": 1024, "commit_interval_ms": 50}).connect()
        values = publish(world, 20)
        world.run(400)
        world.run_until(fed(world))
        values += publish(world, 30, start=20)
        world.run(5 * cut)
        storage = edge.storage
        torn = [name for name in storage.files if "_feed" in name and len(storage.files[name]) > len(storage._durable.get(name, b""))]
        for name in torn:  # a part of what was not synced stays
            storage._durable[name] = bytes(storage.files[name][:-3])
        edge.power_cut()
        consumer = edge.node.consumer("promo")
        found = [item for item in consumer.take()]
        edge.connect()
        world.run_until(fed(world), 300000)
        world.run(500)
        while True:
            items = consumer.take()
            if not items:
                break
            found += items
        assert [getattr(item, "value", None) for item in found] == values, cut


def test_what_rots_at_the_end_of_a_feed_comes_again_and_is_shown_once():
    world = world_of(DOWN, seed=3)
    edge = world.edge(sync_topics=[DOWN]).connect()
    values = publish(world, 6)
    world.run(300)
    reader = edge.node.consumer("promo")
    assert [item.value for item in reader.take()] == values
    (name,) = [name for name in edge.storage.files if "_feed" in name and name.endswith(".seg")]
    edge.storage.files[name][70] ^= 4
    late = edge.node.consumer("promo")
    assert late.take() == []  # it is asked for again, and no gap
    world.run(500)
    more = publish(world, 2, start=6)
    world.run(500)
    assert [item.value for item in late.take()] + [item.value for item in late.take()] == values + more
    assert [item.value for item in reader.take()] == more


def test_what_has_rotted_of_a_feed_and_does_not_come_again_is_shown_as_a_gap():
    world = world_of(DOWN, seed=3)
    edge = world.edge(sync_topics=[DOWN]).connect()
    for start in (0, 3):
        publish(world, 3, start=start)
        world.run(300)
    (name,) = [name for name in edge.storage.files if "_feed" in name and name.endswith(".seg")]
    edge.storage.files[name][-1] ^= 4
    reader = edge.node.consumer("promo")
    assert [len(reader.take()), len(reader.take())] == [3, 0]
    world.run(500)
    edge.storage.files[name][70] ^= 4  # of what comes before that which came again
    assert shown(edge) == [(0, 3, "corrupt"), b"promo 3", b"promo 4", b"promo 5"]


def test_a_disk_that_is_still_syncing_when_the_session_opens_delays_and_loses_nothing():
    world = world_of(DOWN, seed=2)
    edge = world.edge(sync_topics=[DOWN]).connect()
    values = publish(world, 20)
    world.run(100)
    world.run_until(fed(world))
    edge.storage._durable = {name: bytes(edge.storage.files[name]) for name in edge.storage.files}
    edge.start()
    slow, edge.storage.completed = edge.storage.completed, lambda: []
    values += publish(world, 10, start=20)
    world.run(3000, 50)
    edge.storage.completed = slow
    world.run_until(fed(world), 300000)
    assert shown(edge) == values
