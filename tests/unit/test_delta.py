"""A large value that changed a little travels as a difference, both ways, and arrives whole."""

from harness import Random, flips, raises
from logs import Bench
from streamline_core.delta import Deltas, lengthen, shorten
from streamline_core.errors import ProtocolError
from streamline_core.extension import pack_own, pack_writer
from streamline_core.frames import DATA
from table_world import converged, value, world_of

LOG = {"segment_bytes": 65536, "batch_bytes": 16384}


def document(random, changed):
    """About 4 KB, of which one field differs by `changed`."""
    fields = ['"field %02d": "%s"' % (i, "".join(["%02x" % random.below(256) for _ in range(32)])) for i in range(50)]
    fields[23] = '"field 23": "%s"' % changed
    return ("{" + ", ".join(fields) + "}").encode()


def data_bytes(wire):
    """Listens to a wire: the sizes of the DATA frames on it."""
    sizes, put = [], wire.put

    def listen(frame):
        if frame[0] == DATA:
            sizes.append(len(frame))
        put(frame)

    wire.put = listen
    return sizes


def test_one_field_of_a_document_costs_little_on_the_way_up_and_down():
    world = world_of(log=LOG, frame_bytes_max=32768)
    one, two = world.edges["e0"], world.edges["e1"]
    one.node.produce("state", document(Random(1), "first"), b"doc")
    converged(world)
    up, down = data_bytes(one.up), data_bytes(two.down)
    one.node.produce("state", document(Random(1), "second"), b"doc")
    converged(world)
    assert value(two, b"doc") == document(Random(1), "second")
    assert sum(up) <= 250 and sum(down) <= 250, (up, down)
    back, again = data_bytes(two.up), data_bytes(one.down)
    two.node.produce("state", document(Random(1), "third"), b"doc")
    converged(world)
    assert value(one, b"doc") == document(Random(1), "third") and sum(back) <= 250 and sum(again) <= 250, (back, again)
    del again[:], down[:]
    world.hub.produce("state", document(Random(1), "by the cloud"), b"doc")
    converged(world)
    assert value(one, b"doc") == document(Random(1), "by the cloud") and max(sum(again), sum(down)) <= 250, (again, down)


def test_a_base_that_is_not_there_is_asked_for_whole():
    world = world_of(log=LOG, frame_bytes_max=32768)
    one, two = world.edges["e0"], world.edges["e1"]
    one.node.produce("state", document(Random(1), "first"), b"doc")
    converged(world)
    two.disconnect()
    two.node.produce("state", document(Random(1), "two"), b"doc")
    world.run(50)
    one.node.produce("state", document(Random(1), "one"), b"doc")
    one.node.produce("state", document(Random(1), "one again"), b"doc")
    converged_up = world.drained
    world.run(300)
    two.connect()
    converged(world)
    assert converged_up()
    shown = sorted([version.value for version in one.node.tables.resolve("state", b"doc")[0]])
    assert shown == sorted([document(Random(1), "one again"), document(Random(1), "two")])


def test_wires_that_lose_and_reorder_show_nowhere():
    for seed in range(1, 4):
        world = world_of(seed=seed, log=LOG, frame_bytes_max=32768)
        for name in world.edges:
            for wire in (world.edges[name].up, world.edges[name].down):
                wire.loss, wire.repeat, wire.reorder = 15, 10, 20
        random = Random(seed)
        for i in range(40):
            who = random.below(3)
            if who == 2:
                world.hub.produce("state", document(Random(5), "cloud %d" % i), b"doc %d" % random.below(2))
            else:
                world.edges["e%d" % who].node.produce("state", document(Random(5), "edge %d" % i), b"doc %d" % random.below(2))
            if random.below(8) == 0:
                world.edges["e%d" % random.below(2)].power_cut()
            world.run(random.below(200))
        converged(world)


def batches_and_bases():
    bench = Bench(segment_bytes=65536, batch_bytes=16384)
    log = bench.open()
    base, later = document(Random(3), "a"), document(Random(3), "b")
    log.append_full(b"small", b"k0", (), None, 0, 0, False, pack_own("edge", {}))
    log.append_full(later, b"doc", [("h", b"v")], 5, 0, 0, False, pack_own("edge", {("x", 1): 3}))
    log.commit()
    bench.settle(log)
    buf = bytearray(16384)
    piece = log.reader(0).read(buf, 16384)
    writer = pack_writer("x", 1)
    deltas = Deltas(pack_writer("e1", 1))
    deltas.add(1, base, later, writer, 2)
    return bytes(buf[: piece.bytes]), deltas, {(b"doc", writer, 2): base}


def test_what_is_shortened_comes_back_byte_for_byte_or_not_at_all():
    raw, deltas, bases = batches_and_bases()
    short = shorten(raw, 0, deltas, 0)
    assert len(short) < 400 and lengthen(short, 65536, lambda *base: bases.get(base)) == raw
    own = Deltas(pack_writer("x", 1))
    own.rows = deltas.rows
    assert shorten(raw, 2, deltas, 0) is None and shorten(raw, 0, own, 2) is None and shorten(raw, 0, own, 3) == short
    assert lengthen(short, 65536, lambda *base: None) is None
    raises(ProtocolError, lengthen, short, 1000, lambda *base: bases.get(base))
    for length in range(1, len(short)):
        try:
            assert lengthen(short[:length], 65536, lambda *base: bases.get(base)) != raw
        except ProtocolError:
            pass
    for _, copy in flips(short):
        try:
            out = lengthen(copy, 65536, lambda *base: bases.get(base))
        except ProtocolError:
            continue
        assert out is None or len(out) <= 65536
