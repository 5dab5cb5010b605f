"""Edges and a cloud that write the keys of one topic, what each of them holds, and the wait until all hold the same.

Rule: what the hub holds is read from the bytes in its store. Must not know: which strategy was chosen, and what it shows.
"""

from streamline_core.extension import version_of
from streamline_core.record import Record
from streamline_core.topic import TopicDefinition, partition_of
from streamline_core.version import join
from world import World

STATE = {"topic": "state", "kind": "keyed", "direction": "bidirectional"}


def world_of(edges=2, seed=1, strategy="last_write_wins", log=None, frame_bytes_max=4096, **more):
    world = World(seed)
    topic = dict(STATE)
    topic["strategy"] = strategy
    topic.update(more)
    partitions, feed_filter = topic.get("partitions", 1), topic.get("feed_filter", "")
    world.hub.define("state", TopicDefinition("keyed", topic["direction"], partitions, strategy, b"", feed_filter))
    for i in range(edges):
        given = {"sync_topics": [topic], "cloud_endpoint": "mqtt://cloud", "frame_bytes_max": frame_bytes_max}
        if log is not None:
            given["log"] = log
        world.edge("e%d" % i, **given).connect()
    return world


def hub_versions(world, key, topic="state"):
    partition = partition_of(key, world.hub.streams.definition(topic).partitions)
    rows = world.store.load_siblings(topic, partition, key)
    return join([version_of(Record(0, 0, True, None, b"", b"", (), deleted, ext), "", 0) for ext, deleted in rows])


def hub_keys(world):
    return sorted({row.key for place in world.store.versions for _, row in world.store.versions[place].values()})


def dots(edge, key):
    keyed = edge.node.tables.partition("state", key)
    return [version.dot for version, _ in keyed.table.siblings(key)]


def at_rest(world):
    def done():
        if not world.drained():
            return False
        for place in world.store.heads:
            for name in world.edges:
                if world.store.load_cursor(name, place[0], place[1]) != world.store.heads[place][0]:
                    return False
        return True

    world.run(200)
    world.run_until(done, 600000)
    world.run(200)


def converged(world):
    """Every replica holds the same versions of every key."""
    at_rest(world)
    for key in hub_keys(world):
        expected = [version.dot for version in hub_versions(world, key)]
        for name in world.edges:
            assert dots(world.edges[name], key) == expected, (name, key, dots(world.edges[name], key), expected)
    for name in world.edges:
        assert len(hub_keys(world)) == sum([len(keyed.table) for keyed in world.edges[name].node.tables.topics["state"]])


def value(edge, key):
    return edge.node.tables.get("state", key)


def cut_off(world):
    """Both edges and the cloud write one key while cut off: e0 first, then the cloud, then e1."""
    for name in world.edges:
        world.edges[name].disconnect()
    world.edges["e0"].node.produce("state", b"edge 0", b"k")
    world.run(100)
    world.hub.produce("state", b"cloud", b"k")
    world.run(100)
    world.edges["e1"].node.produce("state", b"edge 1", b"k")
    world.run(100)
    for name in world.edges:
        world.edges[name].connect()
    converged(world)
