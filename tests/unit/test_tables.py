"""Keyed topics: edges and the cloud write the same keys while cut off, and afterwards show the same, by the rule that was chosen."""

import json

from harness import Random, raises
from streamline_core.config import EdgeConfig
from streamline_core.config_error import ConfigError
from streamline_core.errors import StorageFull, UsageError
from streamline_core.extension import pack_carried, pack_own, version_of
from streamline_core.record import Record
from streamline_core.topic import TopicDefinition, partition_of
from streamline_core.version import Version, join
from world import World, config_of, copy_of

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


def test_what_one_writes_all_show():
    world = world_of()
    one, two = world.edges["e0"], world.edges["e1"]
    one.node.produce("state", b"22", b"heating")
    world.hub.produce("state", b"on", b"light")
    converged(world)
    assert value(two, b"heating") == b"22" and value(one, b"light") == b"on"
    two.node.produce("state", b"25", b"heating")
    one.node.delete("state", b"light")
    converged(world)
    assert value(one, b"heating") == b"25" and value(two, b"light") is None and value(two, b"never") is None
    assert one.node.tables.keys("state") == [b"heating"]
    raises(UsageError, one.node.produce, "state", b"no key")
    raises(UsageError, one.node.produce_many, "state", [b"no key"])
    raises(UsageError, world.hub.produce, "state", b"no key")


def test_a_later_write_that_has_seen_the_other_wins_whatever_the_clocks_say():
    for strategy in ("last_write_wins", "first_write_wins", "cloud_wins", "edge_wins", "keep_both"):
        world = world_of(strategy=strategy)
        one, two = world.edges["e0"], world.edges["e1"]
        one.clock.wall += 3600000
        one.node.produce("state", b"old", b"k")
        converged(world)
        two.node.produce("state", b"new", b"k")
        converged(world)
        assert value(one, b"k") == value(two, b"k") == b"new" and one.node.tables.conflicts("state") == []


def test_a_write_wins_over_all_that_the_one_it_has_seen_won_over_though_its_clock_is_behind():
    for writer in ("e1", "cloud"):
        world = world_of(edges=3)
        one, two, three = [world.edges[name] for name in ("e0", "e1", "e2")]
        three.disconnect()
        three.node.produce("state", b"loses to the first", b"k")
        world.run(1000)
        one.node.produce("state", b"first", b"k")
        world.run(200)
        world.run_until(lambda two=two: value(two, b"k") == b"first", 60000)
        if writer == "cloud":
            world.clock.wall -= 20000
            world.hub.produce("state", b"second", b"k")
        else:
            two.clock.wall -= 20000
            two.node.produce("state", b"second", b"k")
        world.run(200)
        three.connect()
        converged(world)
        assert value(one, b"k") == value(three, b"k") == b"second", writer


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


def test_each_strategy_shows_its_winner_on_every_replica():
    shown = {
        "last_write_wins": b"edge 1",
        "first_write_wins": b"edge 0",
        "cloud_wins": b"cloud",
        "edge_wins": b"edge 1",
        "keep_both": b"edge 1",
    }
    for strategy in sorted(shown):
        world = world_of(strategy=strategy)
        cut_off(world)
        for name in world.edges:
            node = world.edges[name].node
            versions, resolution = node.tables.resolve("state", b"k")
            assert resolution.value == shown[strategy] == value(world.edges[name], b"k"), strategy
            assert [v.value for v in versions] == [b"edge 0", b"cloud", b"edge 1"]
            assert node.tables.conflicts("state") == [b"k"] and node.status()["tables"][0]["conflicts"] == 1


def test_a_power_cut_and_a_restart_change_nothing_of_what_is_shown():
    world = world_of(seed=2)
    one = world.edges["e0"]
    cut_off(world)
    for i in range(50):
        one.node.produce("state", b"v%d" % i, b"k%d" % (i % 7))
        world.hub.produce("state", b"w%d" % i, b"k%d" % (i % 5))
        world.run(10)
    converged(world)
    before = {key: (value(one, key), dots(one, key)) for key in hub_keys(world)}
    one.power_cut()
    for _ in range(2):  # at once, before the disk has said again that all of it is durable, and later
        assert {key: (value(one, key), dots(one, key)) for key in hub_keys(world)} == before
        world.run(100)
    converged(world)


def test_each_changed_key_comes_once_not_its_history():
    world = world_of(seed=3)
    one = world.edges["e0"]
    converged(world)
    one.disconnect()
    for i in range(300):
        world.hub.produce("state", b"value %d" % i, b"k%d" % (i % 3))
        if i % 20 == 0:
            world.run(20)
    world.run(100)
    one.connect()
    at_rest(world)
    others = one.node.tables.topics["state"][0].others
    assert one.node.tables.partition("state", b"k0").others.next <= 310 and others.segments.total_bytes < 1000
    assert value(one, b"k2") == b"value 299"
    converged(world)


def test_a_feed_can_be_filtered_for_each_node():
    world = world_of(feed_filter="{node}/*")
    world.hub.produce("state", b"mine", b"e0/price")
    world.hub.produce("state", b"other", b"e1/price")
    world.hub.produce("state", b"nobody's", b"price")
    at_rest(world)
    assert [world.edges[name].node.tables.keys("state") for name in ("e0", "e1")] == [[b"e0/price"], [b"e1/price"]]


def test_a_watch_hears_of_each_key_that_changed_wherever_it_was_written():
    world = world_of()
    two = world.edges["e1"]
    converged(world)
    watch = two.node.tables.watch("state")
    world.edges["e0"].node.produce("state", b"1", b"a")
    two.node.produce("state", b"2", b"b")
    converged(world)
    assert watch.take() == ([b"a", b"b"], False) and watch.take() == ([], False)


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


def test_a_version_that_claims_what_was_never_written_is_refused_and_counted():
    world = world_of()
    one = world.edges["e0"]
    one.node.produce("state", b"good", b"k")
    converged(world)
    world.hub.produce("state", b"x", b"other")
    converged(world)
    cloud = [key for key in world.store.states if key[0] == "cloud"][0]
    own = {("e0", one.node.log("state").stream.epoch): 1000}
    forged = pack_carried(Version("e1", 5, 0, "edge", 1 << 60, True, {}, b""))
    for extension in (pack_own("edge", {("cloud", cloud[3]): 99}), b"\x09", pack_own("edge", own), forged):
        one.node.log("state").append_full(b"bad", b"k", (), None, 0, 0, False, extension)
    at_rest(world)
    assert len(world.store.refused) == 4 == world.hub.table.refused
    assert value(world.edges["e1"], b"k") == b"good"
    assert one.node.ledger()[0]["pending"] == 0


def test_random_writers_on_every_node_converge_whatever_the_wires_do():
    for seed in range(1, 7):
        random = Random(seed)
        world = world_of(3, seed, ("last_write_wins", "keep_both", "cloud_wins")[seed % 3], partitions=1 + seed % 2)
        for name in world.edges:
            for wire in (world.edges[name].up, world.edges[name].down):
                wire.loss, wire.repeat, wire.reorder = 10, 10, 20
        for i in range(150):
            key = b"k%d" % random.below(6)
            who = random.below(4)
            if who == 3:
                world.hub.produce("state", None if random.below(6) == 0 else b"cloud %d" % i, key)
            else:
                node = world.edges["e%d" % who].node
                if random.below(6) == 0:
                    node.delete("state", key)
                else:
                    node.produce("state", b"edge %d" % i, key)
            edge = world.edges["e%d" % random.below(3)]
            what = random.below(12)
            if what == 0:
                edge.disconnect()
            elif what == 1:
                edge.power_cut()
            elif not edge.linked:
                edge.connect()
            world.run(random.below(60))
        for name in world.edges:
            if not world.edges[name].linked:
                world.edges[name].connect()
        converged(world)


def test_a_restored_disk_that_writes_on_loses_no_version_and_supersedes_none_it_has_not_seen():
    world = world_of(seed=9)
    one = world.edges["e0"]
    one.node.produce("state", b"first", b"k")
    converged(world)
    image = copy_of(one.storage)
    one.node.produce("state", b"second", b"k")
    one.node.produce("state", b"only before", b"lost?")
    converged(world)
    one.disconnect()
    one.storage = image
    one.start()
    world.run(50)
    one.node.produce("state", b"after", b"k")
    one.node.produce("state", b"after, too", b"k")
    one.node.produce("state", b"fresh", b"new")
    world.run(50)
    one.connect()
    converged(world)
    assert value(one, b"lost?") == b"only before" and value(one, b"new") == b"fresh"
    versions, _ = one.node.tables.resolve("state", b"k")
    assert sorted([version.value for version in versions]) == [b"after, too", b"second"]
    one.node.produce("state", b"settled", b"k")
    converged(world)
    assert value(world.edges["e1"], b"k") == b"settled" and one.node.tables.conflicts("state") == []


def test_each_conflict_is_told_once_in_a_local_topic():
    world = World()
    local = {"sync_topics": [STATE], "local_topics": ["conflicts", "other"], "conflict_log": "conflicts"}
    one = world.edge("e0", **local).connect()
    two = world.edge("e1", sync_topics=[STATE]).connect()
    converged(world)
    told = one.node.consumer("conflicts")

    def conflict(key, first, second):
        one.disconnect()
        one.node.produce("state", first, key) if first is not None else one.node.delete("state", key)
        two.node.produce("state", second, key)
        world.run(300)
        one.connect()
        world.run(1000)
        converged(world)

    conflict(b"k", b"a", b"b")
    conflict(b"\xed\xa0\x80", b"same", b"same")  # half of a surrogate pair: of no text, on both interpreters
    rows = [(record.key, json.loads(record.value)) for record in told.take()]
    assert [(key, row["topic"], row["key"], row["type"]) for key, row in rows] == [
        (b"k", "state", "k", "concurrent write"),
        (b"\xed\xa0\x80", "state", {"base64": "7aCA"}, "ordering"),
    ]
    assert len(rows[0][1]["versions"]) == 2 and rows[0][1]["winners"] == rows[0][1]["versions"][1:]
    one.node.produce("state", b"resolved", b"k")
    converged(world)
    assert told.take() == [] and one.node.status()["tables"][0]["logged"] == 2
    conflict(b"k", None, b"again")
    assert [json.loads(record.value)["type"] for record in told.take()] == ["delete/update"]
    again = dict(local, conflict_log="state", node_id="e2", data_dir="-")
    for wrong in ("state", "nowhere"):
        again["conflict_log"] = wrong
        assert "conflict_log" in str(raises(ConfigError, EdgeConfig.from_dict, again))


def test_a_stamp_of_an_absurd_future_loses_on_every_replica():
    world = world_of()
    one, two = world.edges["e0"], world.edges["e1"]
    for edge in (one, two):
        edge.disconnect()
    one.clock.wall += 10 * 365 * 86400000
    one.power_cut()
    one.node.produce("state", b"from the future", b"k")
    two.node.produce("state", b"now", b"k")
    world.run(100)
    assert value(one, b"k") == b"from the future"
    one.connect(), two.connect()
    converged(world)
    assert value(one, b"k") == value(two, b"k") == b"now"


def test_a_table_for_which_there_is_no_memory_stops_nothing_and_misses_nothing_afterwards():
    world = world_of(edges=3)
    one, two = world.edges["e0"], world.edges["e1"]
    table, calls = one.node.tables.partition("state", b"k").table, [0]
    apply, table.apply = table.apply, lambda *arguments: too_full(apply, calls, arguments)
    for n in range(60):
        two.node.produce("state", b"%d" % n, b"k%d" % (n % 20))
        two.node.produce("state", b"%d" % n, b"only once %d" % n)
        world.run(30)
    world.run(500)
    status = one.node.status()
    assert status["memory_errors"] > 3 and status["state"] == "open"
    assert one.node.tables.status()[0]["trouble"] == "no memory"
    calls[0] = -1
    converged(world)
    assert one.node.tables.status()[0]["trouble"] == "" and len(one.node.tables.keys("state")) == 80


def too_full(apply, calls, arguments):
    """Every seventh time there is no memory; never again once calls[0] is below zero."""
    if calls[0] >= 0:
        calls[0] += 1
        if calls[0] % 7 == 0 or calls[0] > 90:
            raise MemoryError
    return apply(*arguments)


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


def test_a_log_whose_end_has_rotted_gives_no_name_a_second_time():
    world = world_of(2)
    one, two = world.edges["e0"], world.edges["e1"]
    one.node.produce("state", b"other", b"j")
    one.node.produce("state", b"lost", b"k")
    converged(world)
    two.node.produce("state", b"after", b"k")
    converged(world)
    log = one.node.log("state")
    name = "%s/%020d.seg" % (log.folder, log.segments.bases[-1])
    one.storage.files[name][10] ^= 1  # of the only batch's header: nothing says how far it went
    one.storage._durable[name] = bytes(one.storage.files[name])
    one.disconnect()
    one.power_cut()
    one.node.produce("state", b"last", b"k")
    world.run(100)
    assert value(one, b"k") == b"last"
    one.connect()
    world.run(100)
    converged(world)
    assert value(two, b"k") == b"last" and world.hub.table.refused == 0


def test_names_that_a_buffered_write_bears_leave_no_gap_behind_it():
    edge = World().edge(local_topics=[{"topic": "mine", "kind": "keyed"}], sync_topics=[])
    log, _ = edge.node.produce("mine", b"1", b"k")
    edge.settle()
    edge.node.produce("mine", b"2", b"k")
    keyed = edge.node.tables.topics["mine"][0]
    keyed._known_to = log.next
    keyed.fold()
    edge.node.produce("mine", b"3", b"k")
    edge.clock.advance(10)
    edge.settle()
    edge.settle()
    edge.settle()
    assert log.durable == 3 and log.state.gaps.rows == [] and len(log.segments.bases) == 1


def test_a_restored_disk_believes_what_a_restored_hub_is_told_of_its_past():
    world = world_of(2)
    one, two = world.edges["e0"], world.edges["e1"]
    converged(world)
    image, backup = copy_of(one.storage), world.backup()
    one.node.produce("state", b"of the past", b"k")
    converged(world)
    one.disconnect()
    one.storage = image
    world.roll_back(backup)
    world.announce_hub()
    world.run(10000)
    one.start()
    one.connect()
    world.run(30000)
    converged(world)
    assert value(one, b"k") == value(two, b"k") == b"of the past"
    one.node.produce("state", b"new", b"k")
    converged(world)
    assert value(two, b"k") == b"new"


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
