"""Keyed topics: edges and the cloud write the same keys while cut off, and afterwards show the same, by the rule that was chosen."""

import json

from harness import Random, raises
from streamline_core.config import EdgeConfig
from streamline_core.config_error import ConfigError
from streamline_core.errors import UsageError
from streamline_core.extension import pack_carried, pack_own
from streamline_core.version import Version
from table_world import STATE, at_rest, converged, cut_off, value, world_of
from world import World


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
