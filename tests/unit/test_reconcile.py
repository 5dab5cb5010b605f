"""After a loss on either side it is found what differs, and only that travels."""

from harness import Random, raises
from streamline_core.errors import CorruptRecord, ProtocolError
from streamline_core.extension import pack_carried
from streamline_core.frames import DATA, DIFF, STATE
from streamline_core.reconcile import LEVELS, Reconciler, digests_for
from streamline_core.version import Version
from table_world import at_rest, converged, dots, hub_keys, value, world_of


def listen(*wires):
    """Listens to wires: {frame type: bytes}."""
    heard = {}

    def listen_to(wire):
        put = wire.put

        def hear(frame):
            heard[frame[0]] = heard.get(frame[0], 0) + len(frame)
            put(frame)

        wire.put = hear

    for wire in wires:
        listen_to(wire)
    return heard


def again(edge, world):
    """A new session."""
    edge.disconnect()
    world.run(50)
    edge.connect()
    world.run(300)
    at_rest(world)
    world.run(20000, 50)


def test_what_an_edge_has_lost_it_gets_again_and_nothing_else():
    world = world_of(1)
    edge = world.edges["e0"]
    for i in range(400):
        world.hub.produce("state", b"value %d" % i * 10, b"key %d" % i)
        if i % 20 == 0:
            world.run(10)
    converged(world)
    keyed = edge.node.tables.partition("state", b"key 7")
    lost = [b"key %d" % i for i in (7, 100, 101, 399)]
    for key in lost:
        for _, place in keyed.table.siblings(key):
            keyed.table.lose(key, place)
    assert value(edge, b"key 7") is None
    heard = listen(edge.up, edge.down)
    again(edge, world)
    converged(world)
    assert value(edge, b"key 7") == b"value 7" * 10
    assert heard[DIFF] < 1500 and heard[STATE] < 4000 and not heard.get(DATA), heard


def test_a_segment_that_rotted_is_healed():
    world = world_of(1, seed=2)
    edge = world.edges["e0"]
    for i in range(60):
        world.hub.produce("state", b"value %d" % i * 10, b"key %d" % i)
        world.run(10)
    converged(world)
    world.run(10000, 50)  # until the cursor is kept
    others = edge.node.tables.topics["state"][0].others
    name = "%s/%020d.seg" % (others.folder, others.segments.bases[0])
    edge.storage.files[name][500] ^= 1
    edge.storage._durable[name] = bytes(edge.storage.files[name])
    edge.power_cut()
    world.run(100)
    at_rest(world)
    world.run(30000, 50)
    converged(world)
    assert [value(edge, b"key %d" % i) for i in range(60)] == [b"value %d" % i * 10 for i in range(60)]


def test_a_value_that_is_found_rotten_when_it_is_read_comes_again_in_the_same_session():
    world = world_of(1, seed=2)
    edge = world.edges["e0"]
    for i in range(3):
        world.hub.produce("state", b"value %d" % i, b"key %d" % i)
        world.run(100)
    converged(world)
    world.run(60000, 50)
    others = edge.node.tables.topics["state"][0].others
    name = "%s/%020d.seg" % (others.folder, others.segments.bases[0])
    edge.storage.files[name][len(edge.storage.files[name]) - 1] ^= 1
    raises(CorruptRecord, value, edge, b"key 2")
    assert value(edge, b"key 2") is None
    world.run(2000)
    assert value(edge, b"key 2") == b"value 2"


def test_a_version_that_rots_before_it_has_left_stands_nowhere():
    world = world_of(1, seed=2)
    edge = world.edges["e0"]
    edge.node.produce("state", b"before", b"k")
    converged(world)
    edge.up.cut = True
    edge.node.delete("state", b"k")
    world.run(100)
    log = edge.node.log("state")
    name = "%s/%020d.seg" % (log.folder, log.segments.bases[-1])
    edge.storage.files[name][-1] ^= 1
    assert value(edge, b"k") is None
    edge.up.cut = False
    world.run(20000, 50)
    converged(world)
    assert value(edge, b"k") == b"before" and world.store.gaps[0][3] == "corrupt"


def test_a_name_that_a_version_of_another_key_bears_is_refused_and_wedges_no_store():
    world = world_of(1, seed=2)
    edge = world.edges["e0"]
    converged(world)
    epoch = edge.node.log("state").stream.epoch
    carried = pack_carried(Version("e0", epoch, 0, "edge", 1 << 60, True, {}, b""))
    edge.down.cut = True  # else it would go on under another name
    world.hub.producer.writer.produce("state", 0, b"carried", b"other", (), None, None, carried)
    world.hub.producer.take_written()
    edge.node.produce("state", b"own", b"k")
    world.run(200)
    edge.down.cut = False
    edge.node.produce("state", b"next", b"j")
    world.run(2000)
    assert [row.why for row in world.store.refused] == ["it is called e0/%08x@0, as a version of another key is" % epoch]
    assert hub_keys(world) == [b"j", b"other"] and edge.node.ledger()[0]["pending"] == 0


def test_the_hub_looks_up_no_name_that_it_has_just_given_and_takes_it_for_nothing_else():
    world = world_of(1, seed=2)
    converged(world)
    load, asked = world.store.load_version, []
    world.store.load_version = lambda topic, partition, dot: asked.append(dot) or load(topic, partition, dot)
    for key in (b"k", b"j", b"k"):
        written = world.hub.produce("state", b"v", key)
    assert asked == []
    names = [written.stream.origin, written.stream.epoch]
    for offset in (0, 100):  # a name that is given, and one that is still to be
        carried = pack_carried(Version(names[0], names[1], offset, "cloud", 1 << 60, True, {}, b""))
        world.hub.producer.writer.produce("state", 0, b"carried", b"other", (), None, None, carried)
    world.hub.producer.take_written()
    converged(world)
    assert world.hub.table.refused == 2 and hub_keys(world) == [b"j", b"k"]
    world.edges["e0"].node.produce("state", b"own", b"i")
    converged(world)
    epoch = world.edges["e0"].node.log("state").stream.epoch
    assert asked == [("e0", epoch, 0)]


def test_what_a_rolled_back_hub_has_forgotten_the_edges_bring_back():
    world = world_of(2, seed=3)
    one, two = world.edges["e0"], world.edges["e1"]
    world.hub.produce("state", b"old", b"k")
    one.node.produce("state", b"early", b"by e0")
    converged(world)
    backup = world.backup()
    world.hub.produce("state", b"new", b"k")
    world.hub.produce("state", b"only the cloud's", b"c")
    one.node.produce("state", b"late", b"by e0")
    two.node.delete("state", b"by nobody")
    converged(world)
    world.roll_back(backup)
    world.announce_hub()
    world.run(2000)
    world.hub.produce("state", b"after", b"d")
    at_rest(world)
    world.run(60000, 50)
    converged(world)
    for edge in (one, two):
        assert value(edge, b"k") == b"new" and value(edge, b"c") == b"only the cloud's" and value(edge, b"by e0") == b"late"
    assert hub_keys(world) == [b"by e0", b"by nobody", b"c", b"d", b"k"]
    one.node.produce("state", b"on top", b"k")
    converged(world)
    assert value(two, b"k") == b"on top" and len(dots(two, b"k")) == 1


def test_wires_that_lose_and_reorder_only_delay_it():
    world = world_of(1, seed=4)
    edge = world.edges["e0"]
    for i in range(100):
        world.hub.produce("state", b"value %d" % i * 10, b"key %d" % i)
    converged(world)
    keyed = edge.node.tables.partition("state", b"key 7")
    for wire in (edge.up, edge.down):
        wire.loss, wire.repeat, wire.reorder = 20, 10, 20
    random = Random(4)
    for _ in range(30):
        key = b"key %d" % random.below(100)
        for _, place in keyed.table.siblings(key):
            keyed.table.lose(key, place)
    again(edge, world)
    world.run(60000, 50)
    converged(world)


def test_at_rest_no_frame_leaves():
    world = world_of(2)
    world.edges["e0"].node.produce("state", b"v", b"k")
    converged(world)
    world.run(30000, 50)
    nodes = [world.edges[name].node for name in world.edges]
    before = [node.link.counters["frames_out"] for node in nodes] + [world.hub.counters["frames_out"]]
    world.run(120000, 100)
    assert before == [node.link.counters["frames_out"] for node in nodes] + [world.hub.counters["frames_out"]]
    assert all([reconciler.same for node in nodes for reconciler in node.link.session.reconcilers.by_handle.values()])


class Nothing:
    def count(self):
        return 0

    def root(self):
        return 0

    def entries(self):
        return []

    def bodies(self, key):
        return []


def test_messages_that_nobody_sends_are_refused_and_few_wait():
    reconciler = Reconciler(Nothing())
    raises(ProtocolError, reconciler.take, 9, 0, [0], 0, 0, 0, b"")
    raises(ProtocolError, reconciler.take, LEVELS, 3, [0], 0, 0, 0, b"1234567")
    raises(ProtocolError, reconciler.take, 1, 0, [0], 0, 0, 0, b"12345")
    for _ in range(1000):
        reconciler.take(LEVELS, 2, [0], 0, 0, 0, b"x" * 32)
    n = 0
    while reconciler.next_state() is not None:
        n += 1
    assert n <= 256 and reconciler.next_versions(4096) is None
    assert [digests_for(n) for n in (576, 1024, 4096, 65536)] == [32, 64, 256, 256]


def test_a_deletion_goes_after_its_time_and_the_deleted_key_does_not_come_back():
    world = world_of(2, seed=6)
    one, two = world.edges["e0"], world.edges["e1"]
    one.node.produce("state", b"old", b"deleted")
    one.node.produce("state", b"kept", b"k")
    converged(world)
    two.disconnect()
    one.node.delete("state", b"deleted")
    converged_one = world.drained
    world.run_until(converged_one)
    world.hub.config.tombstone_ms = 60000
    world.run(1000000, 1000)
    assert hub_keys(world) == [b"k"]
    assert value(two, b"deleted") == b"old"
    one.disconnect()
    world.run(50)
    one.connect()
    two.connect()
    world.run(60000, 50)
    converged(world)
    for edge in (one, two):
        assert value(edge, b"deleted") is None and len(edge.node.tables.topics["state"][0].table) == 1
        edge.power_cut()
        world.run(500)
        assert value(edge, b"deleted") is None and value(edge, b"k") == b"kept"
        assert len(edge.node.tables.topics["state"][0].table) == 1
    converged(world)
    two.node.produce("state", b"new", b"deleted")
    converged(world)
    assert value(one, b"deleted") == b"new"
