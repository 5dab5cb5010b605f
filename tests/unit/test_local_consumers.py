"""Readers with a name: where they were is where they go on, and what they hold stays."""

from harness import raises
from streamline_core.config import EdgeConfig
from streamline_core.config_error import ConfigError
from streamline_core.errors import StorageFull, UsageError
from world import World, copy_of, produce


def values(items):
    return [item.value for item in items if hasattr(item, "value")]


def read_some(edge, name, n, topic="t", feed=False):
    """Reads at least `n` records as `name`, and says that it has done with them."""
    reader, found = edge.node.consumers.open(name, topic, 0, feed), []
    while len(found) < n:
        taken = reader.take(1)
        if not taken:
            break
        found += values(taken)
        edge.node.consumers.commit(name, topic, 0, feed, reader.epoch, reader.offset)
    return found


def test_a_reader_goes_on_where_it_was_over_a_power_cut():
    world = World()
    edge = world.edge()
    for i in range(10):
        produce(edge, 10, i * 10)
        world.run(50)
    first = read_some(edge, "a", 30)
    world.run(50)
    edge.power_cut()
    world.run(50)
    rest = read_some(edge, "a", 1000)
    assert first + rest == [b"value %d" % i for i in range(100)]
    assert read_some(edge, "b", 1000) == first + rest  # another one has a position of its own
    assert read_some(edge, "a", 1) == []


def test_what_was_read_and_not_committed_comes_again():
    world = World()
    edge = world.edge()
    produce(edge, 10)
    world.run(50)
    assert len(values(edge.node.consumers.open("a", "t").take())) == 10
    edge.power_cut()
    world.run(50)
    assert len(read_some(edge, "a", 10)) == 10


def test_a_reader_follows_what_a_fork_moved_over_a_restart():
    world = World()
    edge = world.edge().connect()
    old = produce(edge, 100)
    world.run_until(world.drained)
    edge.node.close()
    edge.settle()
    image = copy_of(edge.storage)
    produce(edge, 50, 100)
    world.run_until(world.drained)
    edge.disconnect()
    restored = world.edge("e1", image)
    fresh = produce(restored, 30, 9000)
    world.run(100)
    assert read_some(restored, "a", 110) == (old + fresh)[: len(read_some(restored, "b", 110))]
    at = len(read_some(restored, "c", 50))
    restored.connect()
    world.run_until(lambda: world.drained() and len(world.values()) == 2)
    more = produce(restored, 5, 9900)
    world.run_until(world.drained)
    restored.power_cut()
    world.run(100)
    everything = old + fresh + more
    assert read_some(restored, "c", 1000) == everything[at:]
    assert read_some(restored, "b", 1000) == everything[len(everything) - 5 :]


def holding(policy="oldest", holds=True):
    world = World()
    consumers = [{"name": "a", "topic": "t", "holds": holds}]
    return world, world.edge("e1", consumers=consumers, resources={"max_storage": 60000, "eviction_policy": policy})


def fill(world, edge, n):
    for _ in range(n):
        edge.node.produce("t", bytes(400))
        world.run(10)


def test_what_a_holding_reader_has_not_read_is_not_given_back():
    world, edge = holding()
    raises(StorageFull, fill, world, edge, 400)
    stored = edge.node.log("t").next
    assert edge.node.log("t").first == 0 and edge.node.status()["stored_bytes"] <= 60000
    assert "a reader of this node" in str(raises(StorageFull, edge.node.produce, "t", bytes(400)))
    edge.power_cut()  # the configuration says that it holds, though it never ran
    world.run(50)
    raises(StorageFull, edge.node.produce, "t", bytes(400))
    assert len(read_some(edge, "a", 60)) >= 60
    world.run(50)
    fill(world, edge, 20)
    assert 0 < edge.node.log("t").first <= 61 and edge.node.log("t").next == stored + 20


def test_a_reader_that_does_not_hold_finds_a_gap():
    world, edge = holding("oldest", False)
    fill(world, edge, 400)
    first = edge.node.log("t").first
    reader = edge.node.consumers.open("a", "t")
    assert first > 0 and reader.offset == first  # it never was anywhere: it begins with what is held
    edge.node.consumers.commit("a", "t", 0, False, reader.epoch, 5)
    reader = edge.node.consumers.open("a", "t")
    (gap,) = [item for item in reader.take() if hasattr(item, "cause")][:1]
    assert (gap.first, gap.cause) == (5, "evicted")


def test_it_tells_where_each_is_and_forgets_whom_nobody_needs():
    world, edge = holding()
    fill(world, edge, 20)
    read_some(edge, "b", 5)
    rows = {row["name"]: row for row in edge.node.consumers.status()}
    assert (rows["a"]["holds"], rows["a"]["lag"], rows["b"]["holds"]) == (True, 20, False)
    assert rows["b"]["offset"] == 20 - rows["b"]["lag"] > 0
    assert edge.node.consumers.forget("b") == 1 and edge.node.consumers.forget("b") == 0
    assert [row["name"] for row in edge.node.consumers.status()] == ["a"]
    world.run(50)
    edge.power_cut()
    assert [row["name"] for row in edge.node.consumers.status()] == ["a"]


def test_what_cannot_be_read_in_order_is_refused():
    world = World()
    edge = world.edge("e1", sync_topics=["t", {"topic": "k", "kind": "keyed"}])
    consumers = edge.node.consumers
    assert "keyed" in str(raises(UsageError, consumers.open, "a", "k"))
    assert "there is no topic" in str(raises(UsageError, consumers.open, "a", "nope"))
    assert "1 to 64" in str(raises(UsageError, consumers.open, "", "t"))
    assert "has not been opened" in str(raises(UsageError, consumers.commit, "a", "t", 0, False, 0, 0))
    given = {"node_id": "n", "sync_topics": [{"topic": "k", "kind": "keyed"}], "consumers": [{"name": "a", "topic": "k"}]}
    assert "it has no order" in str(raises(ConfigError, EdgeConfig.from_dict, given))


def test_a_reader_of_what_the_cloud_sends_goes_on_where_it_was():
    world = World()
    consumers = [{"name": "a", "topic": "d"}]
    edge = world.edge("e1", sync_topics=["t", {"topic": "d", "direction": "cloud_to_edge"}], consumers=consumers).connect()
    world.run(500)
    for i in range(40):
        world.hub.produce("d", b"news %d" % i)
        world.run(50)
    world.run(1000)
    first = read_some(edge, "a", 10, "d")
    world.run(50)
    edge.power_cut()
    world.run(100)
    assert first + read_some(edge, "a", 100, "d") == [b"news %d" % i for i in range(40)]
