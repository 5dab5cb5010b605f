"""Limits and retention: what goes first, what it leaves behind, and what never goes."""

from harness import raises
from streamline_core.config import EdgeConfig
from streamline_core.config_error import ConfigError
from streamline_core.errors import StorageFull
from world import World

VALUE = bytes(400)


def edge_of(policy="oldest", max_storage=60000, priorities=None, **topics):
    """A node away from any cloud, with these topics: {name: what its entry says beside its name}."""
    world = World()
    entries = [dict(topics[name], topic=name) for name in sorted(topics)]
    limits = {"max_storage": max_storage, "eviction_policy": policy, "topic_priorities": priorities}
    edge = world.edge("e1", sync_topics=entries, resources=limits)
    return world, edge


def fill(edge, topic, n):
    for _ in range(n):
        edge.node.produce(topic, VALUE)
        edge.clock.advance(10)
        edge.settle()
        edge.settle()


def evicted(edge):
    """{topic: records lost to a limit}"""
    return {row["topic"]: row["unconfirmed"].get("evicted", 0) for row in edge.node.ledger()}


def test_the_oldest_goes_first_whichever_topic_it_is_of():
    _, edge = edge_of(a={}, b={})
    fill(edge, "b", 20)
    fill(edge, "a", 95)
    assert evicted(edge)["b"] == 8 and evicted(edge)["a"] == 0
    fill(edge, "a", 60)
    assert evicted(edge)["b"] == 16 and evicted(edge)["a"] > 0  # never the segment that is being written
    assert edge.node.status()["stored_bytes"] <= 60000


def test_by_priority_what_matters_less_goes_first():
    _, edge = edge_of("priority", a={"priority": 9}, b={"priority": 2}, c={})
    fill(edge, "a", 40)
    fill(edge, "b", 40)
    fill(edge, "c", 60)
    lost = evicted(edge)
    assert lost["a"] == 0 and lost["c"] == 0 and lost["b"] > 0
    fill(edge, "c", 60)
    assert evicted(edge)["a"] == 0 and evicted(edge)["c"] > 0


def test_of_what_goes_the_limits_may_think_otherwise_than_of_what_is_sent():
    _, edge = edge_of("priority", 60000, {"a": 1}, a={"priority": 9}, b={"priority": 2})
    fill(edge, "a", 60)
    fill(edge, "b", 60)
    lost = evicted(edge)
    assert lost["a"] > 0 and lost["b"] == 0


def test_by_use_what_was_neither_written_nor_read_lately_goes_first():
    _, edge = edge_of("lru", a={}, b={}, c={})
    fill(edge, "a", 40)
    fill(edge, "b", 40)
    edge.clock.advance(10)
    edge.node.consumer("a").take()
    fill(edge, "c", 60)
    lost = evicted(edge)
    assert lost["a"] == 0 and lost["b"] > 0 and lost["c"] == 0


def test_what_the_cloud_has_goes_before_what_it_has_not_by_every_policy():
    for policy in ("oldest", "priority", "lru", "reject"):
        world, edge = edge_of(policy, a={"priority": 1}, b={"priority": 9})
        edge.connect()
        fill(edge, "a", 5)
        for _ in range(8):
            fill(edge, "b", 10)
            world.run(300)
        assert world.drained()
        edge.disconnect()
        fill(edge, "a", 50)
        assert evicted(edge) == {"a": 0, "b": 0}, policy


def held(edge, topic):
    log = edge.node.log(topic)
    return log.first, log.next


def test_what_is_older_than_its_topic_keeps_expires_delivered_or_not():
    world = World()
    topics = {"sync_topics": [{"topic": "t", "retention": "60s"}], "local_topics": ["mine", {"topic": "cache", "retention": "10s"}]}
    edge = world.edge("e1", **topics)
    for topic in ("t", "mine", "cache"):
        fill(edge, topic, 12)
    edge.clock.advance(30000)
    edge.settle()
    assert held(edge, "cache") == (12, 12) and held(edge, "t") == held(edge, "mine") == (0, 12)
    reader = edge.node.consumer("cache")
    assert [(gap.first, gap.next, gap.cause) for gap in reader.take()] == [(0, 12, "expired")]
    fill(edge, "t", 12)
    edge.clock.advance(40000)
    edge.settle()
    assert 0 < held(edge, "t")[0] <= 12  # by segments, and none of which something is younger
    edge.power_cut()
    fill(edge, "cache", 1)
    assert [record.offset for record in reader.take() + edge.node.consumer("cache", 0, 12).take()] == [12]
    first = held(edge, "t")[0]
    edge.connect()
    world.run(2000)
    (row,) = [row for row in edge.node.ledger() if row["topic"] == "t"]
    assert row["lost"] == {"expired": first} and row["delivered"] == 24 - first


def test_what_waits_for_the_disk_when_the_rest_expires_is_neither_lost_nor_an_error():
    topics = {"sync_topics": [], "local_topics": [{"topic": "mine", "retention": "10s"}]}
    log = {"segment_bytes": 4096, "batch_bytes": 1024, "commit_interval_ms": 5000}
    edge = World().edge("e1", log=log, **topics)
    edge.storage._full = StorageFull
    fill(edge, "mine", 2)
    edge.clock.advance(6000)
    edge.settle()
    edge.settle()
    edge.clock.advance(30000)
    edge.storage._capacity = 0
    edge.node.produce("mine", VALUE)
    edge.settle()
    assert held(edge, "mine") == (0, 3) and edge.node.log("mine").failure is None
    edge.storage._capacity = None
    edge.clock.advance(6000)
    edge.settle()
    edge.settle()
    edge.power_cut()
    edge.settle()
    reader = edge.node.consumer("mine")
    assert [record.offset for record in reader.take() + reader.take()] == [0, 1, 2]
    edge.clock.advance(30000)
    edge.settle()
    assert held(edge, "mine") == (3, 3)


def test_stamps_of_a_clock_that_nobody_had_set_are_of_no_age():
    world = World()
    edge = world.edge("e1", local_topics=[{"topic": "mine", "retention": "10s"}])
    edge.clock.wall = None
    fill(edge, "mine", 12)
    edge.clock.wall = 1700000000000
    edge.clock.advance(60000)
    edge.settle()
    assert held(edge, "mine") == (0, 12)
    fill(edge, "mine", 12)
    edge.clock.advance(60000)
    edge.settle()
    assert held(edge, "mine") == (24, 24)


def test_a_keyed_topic_takes_no_retention():
    topics = [{"topic": "k", "kind": "keyed", "retention": "1h"}]
    assert "a keyed topic keeps what stands" in str(raises(ConfigError, EdgeConfig.from_dict, {"node_id": "n", "sync_topics": topics}))
