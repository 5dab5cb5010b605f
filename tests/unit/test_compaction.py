"""Compaction: of each key the newest stays, offsets stay, and a cut at any moment loses nothing and repeats nothing."""

import binascii

from harness import Random
from streamline_core.batch import HEADER_BYTES, pack_header
from streamline_core.segments import segment_name
from world import World, copy_of

CAP = 60000
KEYS = 10


def edge_of(world, storage=None, policy="compact", **more):
    resources = {"max_storage": CAP, "eviction_policy": policy}
    return world.edge("e1", storage, resources=resources, sync_topics=[{"topic": "t"}, {"topic": "bare"}], **more)


def write(edge, first, n, key=None):
    """Values of 200 bytes under few keys; in between one without a key."""
    for i in range(first, first + n):
        name = b"key %d" % (i % KEYS) if key is None else key(i)
        edge.node.produce("t", b"%d " % i + bytes(200), None if i % 50 == 49 else name)
        edge.clock.advance(10)
        for _ in range(4):
            edge.settle()


def delivered(world, topic="t"):
    """{offset: number} of what the hub has."""
    (key,) = [key for key in world.store.values if key[1] == topic]
    return {offset: int(value.split(b" ")[0]) for offset, value in world.store.values[key].items()}


def ledger(edge, topic="t"):
    (row,) = [row for row in edge.node.ledger() if row["topic"] == topic]
    return row


def test_more_than_fits_is_kept_of_few_keys_and_nothing_is_evicted():
    world = World()
    edge = edge_of(world)
    write(edge, 0, 1000)  # four times what fits
    assert edge.node.log("t").first == 0 and ledger(edge)["unconfirmed"] == {} and edge.node.status()["stored_bytes"] <= CAP
    assert edge.node._compactor.saved_bytes > 100000
    edge.connect()
    world.run_until(world.drained)
    found = delivered(world)
    assert ledger(edge)["delivered"] == ledger(edge)["produced"] == 1000 and not ledger(edge)["lost"]
    assert set(range(990, 1000)) <= set(found.values())  # the newest of each key
    assert set(range(49, 1000, 50)) <= set(found.values())  # and all that has none
    assert len(found) < 500 and all([offset == number for offset, number in found.items()])


def test_of_keys_that_are_never_written_again_the_oldest_is_evicted():
    world = World()
    edge = edge_of(world)
    write(edge, 0, 600, lambda i: b"key %d" % i)
    row = ledger(edge)
    assert row["unconfirmed"]["evicted"] > 0 and edge.node.status()["stored_bytes"] <= CAP
    edge.connect()
    world.run_until(world.drained)
    assert sorted(delivered(world).values()) == list(range(ledger(edge)["lost"]["evicted"], 600))


def test_what_has_no_keys_stays_whole_until_it_is_evicted():
    world = World()
    edge = edge_of(world)
    for _ in range(300):
        edge.node.produce_many("bare", [bytes(200)] * 3)
        edge.clock.advance(10)
        edge.settle()
        edge.settle()
    assert ledger(edge, "bare")["unconfirmed"]["evicted"] > 0 and not edge.node.log("bare").segments.compacted


def test_a_cut_after_any_step_leaves_each_record_once():
    world = World()
    edge = edge_of(world)
    images, files = [], set()
    for i in range(0, 400, 2):
        write(edge, i, 2)
        names = set(edge.storage.files)
        if names != files and any([name.endswith(".cmp") for name in names]):
            images.append((i + 2, copy_of(edge.storage)))
        files = names
    assert len(images) > 3
    for written, image in images:
        for torn in (False, True):
            again = World()
            image = copy_of(image)
            for name in [name for name in image.files if name.endswith(".cmp")]:
                if torn and name.replace(".cmp", ".seg") in image.files:  # it was not finished
                    image.files[name] = image.files[name][:100]
            later = edge_of(again, image)
            later.connect()
            again.run_until(again.drained)
            found = delivered(again)
            row = ledger(later)
            assert not row["lost"] and row["delivered"] == row["produced"] >= written
            assert all([offset == number for offset, number in found.items()])
            assert set(range(written - 9, written)) <= set(found.values())
            names = later.storage.files
            assert not [name for name in names if name.endswith(".cmp") and name.replace(".cmp", ".seg") in names]


def test_a_removal_that_a_cut_undid_brings_the_old_segment_back_whole():
    world = World()
    edge = edge_of(world)
    before = {}
    while not edge.node.log("t").segments.compacted:
        for name in edge.storage.files:
            before[name] = bytes(edge.storage.files[name])
        write(edge, edge.node.log("t").next, 1)
    base = min(edge.node.log("t").segments.compacted)
    image = copy_of(edge.storage)
    name = "%s/%020d.seg" % (edge.node.log("t").folder, base)
    image.files[name], image._durable[name] = bytearray(before[name]), before[name]
    again = World()
    later = edge_of(again, image)
    assert not later.node.log("t").segments.compacted
    assert name in later.storage.files and name.replace(".seg", ".cmp") not in later.storage.files
    later.connect()
    again.run_until(again.drained)
    assert ledger(later)["delivered"] == ledger(later)["produced"] and not ledger(later)["lost"]


def test_readers_and_a_session_go_on_through_it():
    world = World()
    edge = edge_of(world, None, "compact", sync={"bandwidth_limit": 3000})
    edge.connect()
    reader, found = edge.node.consumer("t"), []
    for i in range(0, 900, 10):
        write(edge, i, 10)
        found += [item for item in reader.take(300)]
        world.run(50)
    assert edge.node._compactor.saved_bytes > 0
    edge.config.sync.bandwidth_limit = 0
    edge.node.reconfigured()
    world.run_until(world.drained)
    while True:
        taken = reader.take()
        if not taken:
            break
        found += taken
    numbers = [int(item.value.split(b" ")[0]) for item in found if hasattr(item, "value")]
    assert numbers == sorted(set(numbers)) and numbers[-1] == 899
    row = ledger(edge)
    assert row["delivered"] + sum(row["lost"].values()) == row["produced"]
    assert all([offset == number for offset, number in delivered(world).items()])


def test_what_a_reader_holds_is_left_alone():
    world = World()
    edge = edge_of(world, None, "compact", consumers=[{"name": "a", "topic": "t"}])
    try:
        write(edge, 0, 1000)
    except Exception as error:
        assert "a reader of this node" in str(error)
    assert not edge.node.log("t").segments.compacted


def test_a_producer_that_repeats_itself_is_known_after_its_batches_were_merged():
    world = World()
    edge = edge_of(world)
    for i in range(0, 900):
        edge.node.produce("t", b"%d " % i + bytes(200), b"key %d" % (i % KEYS), None, None, 7, i)
        edge.clock.advance(10)
        for _ in range(4):
            edge.settle()
    assert edge.node._compactor.saved_bytes > 0 and edge.node.log("t").first == 0
    edge.power_cut()
    for i in (0, 450, 899):
        edge.node.produce("t", b"%d " % i + bytes(200), b"key 1", None, None, 7, i)
    assert edge.node.log("t").next == 900


def test_any_history_keeps_the_newest_of_each_key_and_all_without_one():
    saved = 0
    for seed in range(1, 31):
        random, world = Random(seed), World(seed)
        edge = edge_of(world)
        written, number = {}, 0
        for _ in range(120):
            for _ in range(1 + random.below(12)):
                key = None if random.below(20) == 0 else b"key %d" % random.below(6)
                log, offset = edge.node.produce("t", b"%d " % number + bytes(random.below(400)), key)
                written[log.stream.epoch, offset] = number, key
                number += 1
                if random.below(3):
                    edge.clock.advance(10)
                    edge.settle()
            for _ in range(random.below(6)):
                edge.clock.advance(10)
                edge.settle()
            chance = random.below(40)
            if chance == 0:
                durable = edge.node.log("t").durable
                edge.power_cut()
                epoch = edge.node.log("t").stream.epoch
                written = {place: written[place] for place in written if place[0] != epoch or place[1] < durable}
            elif chance == 1:
                edge.connect()
                world.run(200)
                edge.disconnect()
        edge.connect()
        world.run_until(world.drained)
        saved += edge.node._compactor.saved_bytes
        row = ledger(edge)
        assert row["delivered"] + sum(row["lost"].values()) == row["produced"], (seed, row)
        assert set(row["lost"]) <= {"torn", "evicted"}, (seed, row)
        found, evicted = delivered(world), []
        for _, first, next_, cause in world.store.gaps:
            if cause == "evicted":
                evicted += list(range(first, next_))
        newest = {}
        for _, offset in sorted(written):
            newest[written[_, offset][1]] = offset
        for place in written:
            told, key = written[place]
            if place[1] in found:
                assert found[place[1]] == told, (seed, place)
            elif place[1] not in evicted:
                assert key is not None and place[1] < newest[key], (seed, place, key)
    assert saved > 100000, saved


def test_who_is_in_the_middle_of_a_segment_that_is_written_anew_reads_on_after_what_it_has_read():
    world = World()
    edge = edge_of(world)
    write(edge, 0, 300)
    log = edge.node.log("t")
    readers = []
    for base in log.segments.bases[:-1]:
        if base not in log.segments.compacted:
            reader = log.reader(base)
            piece = reader.read(bytearray(1024), 1)
            readers.append((base, reader, piece.next))
    write(edge, 300, 400)
    moved = [row for row in readers if row[0] in log.segments.compacted]
    assert moved
    for _, reader, next_ in moved:
        piece = reader.read(bytearray(1024), 1)
        assert piece.cause is None and piece.first == next_ and reader.offset > next_
    assert not log.state.gaps.rows


def test_a_batch_that_is_whole_and_holds_no_records_stays_as_it_is():
    world = World()
    edge = edge_of(world)
    write(edge, 0, 5)
    log = edge.node.log("t")
    head, body = bytearray(HEADER_BYTES), b"\xff" * 50
    pack_header(head, 0, 1, 1, log.written, 1 << 56, log.term, 0, 0, 0, len(body), binascii.crc32(body))
    log._write(head, body, 1)
    write(edge, 6, 800)
    assert 0 in log.segments.compacted
    assert body in bytes(edge.storage.files[segment_name(log.folder, 0, True)])


def test_the_policy_may_be_changed_to_it_while_a_node_runs():
    world = World()
    edge = edge_of(world, None, "oldest")
    edge.node.config.resources.eviction_policy = "compact"
    edge.node.resources.changed()
    write(edge, 0, 800)
    assert edge.node.log("t").segments.compacted
