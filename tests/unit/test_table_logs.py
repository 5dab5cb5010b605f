"""The logs beneath keyed topics: what stands is kept while they stay small, and what is written again as it is takes no room."""

from streamline_core.errors import StorageFull
from table_world import STATE, converged, value, world_of
from world import World, config_of


def test_what_stands_is_carried_over_before_its_segment_goes():
    world = world_of(seed=4)
    one, two = world.edges["e0"], world.edges["e1"]
    one.node.produce("state", b"kept", b"rare")
    world.hub.produce("state", b"kept, too", b"rarer")
    for i in range(400):
        one.node.produce("state", b"%d" % i * 30, b"often")
        world.hub.produce("state", b"%d" % i * 30, b"as often")
        world.run(10)
    converged(world)
    world.run(2000)
    assert value(one, b"rare") == value(two, b"rare") == b"kept" and value(one, b"rarer") == value(two, b"rarer") == b"kept, too"
    for edge in (one, two):
        assert edge.node.evictor.stored_bytes < 80000, edge.node.evictor.stored_bytes
        edge.power_cut()
        world.run(50)
        assert value(edge, b"rare") == b"kept" and value(edge, b"rarer") == b"kept, too"
    converged(world)


def test_a_local_keyed_topic_needs_no_cloud():
    world = World(1)
    edge = world.edge(local_topics=[{"topic": "mine", "kind": "keyed"}], sync_topics=[])
    edge.node.produce("mine", b"1", b"k")
    edge.node.produce("mine", b"2", b"k")
    world.run(50)
    assert edge.node.tables.get("mine", b"k") == b"2" and edge.node.status()["tables"][0]["keys"] == 1
    assert config_of("x")["node_id"] == "x"


def test_a_value_that_is_written_again_as_it_is_needs_no_new_version():
    world = World(1)
    edge = world.edge(local_topics=[{"topic": "mine", "kind": "keyed", "unchanged_max_age": "10s"}], sync_topics=[])
    log, _ = edge.node.produce("mine", b"20", b"k")
    assert edge.node.produce("mine", b"21", b"k")[1] == 1 and edge.node.produce("mine", b"20", b"k")[1] == 2  # not seen yet
    world.run(50)
    assert edge.node.produce("mine", b"20", b"k")[1] == -1 and edge.node.produce("mine", b"21", b"k")[1] == 3
    world.run(50)
    assert edge.node.produce("mine", b"21", b"k")[1] == -1 and edge.node.produce("mine", b"21", b"other")[1] == 4
    world.run(11000)
    assert edge.node.produce("mine", b"21", b"k")[1] == 5 and log.next == 6
    edge.node.delete("mine", b"k")
    world.run(50)
    assert edge.node.produce("mine", b"21", b"k")[1] == 7 and edge.node.status()["tables"][0]["unchanged"] == 2


def test_however_much_is_said_to_stand_no_longer_it_can_be_read_again():
    world = World()
    edge = world.edge("e", sync_topics=[STATE], log={"segment_bytes": 4096, "batch_bytes": 512})
    for i in range(60):
        edge.node.produce("state", b"v", b"a key of some length %d" % i)
    world.run(200)
    keyed = edge.node.tables.topics["state"][0]
    keyed.remove([(key, keyed.table.dots(key)[0]) for key in keyed.table.keys()[:50]])
    world.run(200)
    assert len(edge.node.tables.keys("state")) == 10 and edge.node.status()["tables"][0]["trouble"] == ""
    edge.power_cut()
    assert len(edge.node.tables.keys("state")) == 10


def test_what_a_start_has_found_is_not_held_for_stored_before_it_is_durable_again():
    world = World()
    one = world.edge("e", sync_topics=[dict(STATE, unchanged_max_age="10m")])
    one.node.produce("state", b"v", b"k")
    world.run(100)
    one.power_cut()
    assert value(one, b"k") == b"v"
    assert one.node.produce("state", b"v", b"k")[1] == 1
    world.run(100)
    assert one.node.produce("state", b"v", b"k")[1] == -1


def test_a_keyed_topic_stays_within_its_limit_local_or_away_from_the_cloud():
    topics = [{"topic": "mine", "kind": "keyed"}]
    for given in ({"local_topics": topics, "sync_topics": []}, {"sync_topics": topics}):
        world = World(1)
        edge = world.edge(log={"segment_bytes": 4096, "batch_bytes": 2048}, resources={"max_storage": "64KB"}, **given)
        refused = 0
        for i in range(1500):
            try:
                edge.node.produce("mine", b"%100d" % i, b"k%d" % (i % 3))
            except StorageFull:
                refused += 1
            if i % 10 == 0:
                world.run(20)
        world.run(50)
        assert edge.node.evictor.stored_bytes <= 65536, edge.node.evictor.stored_bytes
        assert (refused == 0) == ("local_topics" in given)
        if not refused:
            assert edge.node.tables.get("mine", b"k2") == b"%100d" % 1499
