"""A node and a hub, the real core on both sides: nothing lost, nothing twice, whatever the wire and the power do."""

from harness import MemoryStorage, raises
from streamline_core import cbor, frames
from streamline_core.errors import QueueFull, StorageFull, UsageError
from streamline_core.topic import TopicDefinition
from world import World


def produce(edge, n, start=0, topic="t"):
    values = [b"value %d" % i for i in range(start, start + n)]
    for value in values:
        edge.node.produce(topic, value)
    return values


def test_what_is_produced_arrives_once_in_order():
    world = World()
    edge = world.edge().connect()
    values = produce(edge, 500)
    world.run_until(world.drained)
    assert world.values() == [values]
    row = edge.node.ledger()[0]
    assert (row["produced"], row["delivered"], row["pending"], row["lost"]) == (500, 500, 0, {})


def test_a_backlog_from_offline_drains_by_itself():
    world = World()
    edge = world.edge()
    values = produce(edge, 2000)
    world.run(200)
    assert edge.node.ledger()[0]["pending"] == 2000
    edge.connect()
    world.run_until(world.drained)
    assert world.values() == [values]


def test_a_wire_that_loses_repeats_and_reorders_shows_nowhere():
    for seed in range(1, 6):
        world = World(seed)
        edge = world.edge().connect()
        for wire in (edge.up, edge.down):
            wire.loss, wire.repeat, wire.reorder = 20, 10, 20
        values = []
        for i in range(20):
            values += produce(edge, 50, i * 50)
            world.run(50)
        world.run_until(world.drained, 600000)
        assert world.values() == [values], seed


def test_at_rest_no_frame_leaves():
    world = World()
    edge = world.edge().connect()
    produce(edge, 100)
    world.run_until(world.drained)
    world.run(3000)
    before = edge.node.link.counters["frames_out"] + world.hub.counters["frames_out"]
    world.run(60000, 50)
    assert edge.node.link.counters["frames_out"] + world.hub.counters["frames_out"] == before


def test_a_power_cut_of_the_node_loses_nothing_durable():
    world = World(3)
    edge = world.edge().connect()
    durable = []
    for i in range(10):
        values = produce(edge, 40, i * 40)
        world.run(20)
        durable += values
        edge.node.produce("t", b"never durable")
        edge.power_cut()
        world.run(30)
    world.run_until(world.drained)
    stored = [value for epoch in world.values() for value in epoch]
    assert [value for value in stored if value != b"never durable"] == durable


def test_a_hub_that_crashes_between_commits_gets_everything_again_once():
    world = World(4)
    edge = world.edge().connect()
    values = []
    for i in range(10):
        values += produce(edge, 60, i * 60)
        world.run(15)
        world.crash_hub()
    world.run_until(world.drained)
    assert world.values() == [values]


def test_a_failing_store_delays_and_loses_nothing():
    world = World()
    edge = world.edge().connect()
    values = produce(edge, 100)
    world.store.fail = OSError("disk full")
    world.run(3000)
    assert world.values() == [] and world.hub.counters["commit_errors"] > 0
    world.store.fail = None
    world.run_until(world.drained)
    assert world.values() == [values]


def copy_of(storage):
    twin = MemoryStorage()
    for name in storage.files:
        twin.files[name] = bytearray(storage.files[name])
        twin._durable[name] = bytes(storage.files[name])
    return twin


def test_a_restored_disk_image_forks_into_a_new_epoch():
    world = World()
    edge = world.edge().connect()
    old = produce(edge, 100)
    world.run_until(world.drained)
    edge.node.close()
    edge.settle()
    image = copy_of(edge.storage)
    later = produce(edge, 50, 100)
    world.run_until(world.drained)
    edge.disconnect()
    restored = world.edge("e1", image)
    assert restored.node.log("t").next == 100
    fresh = produce(restored, 30, 9000)
    world.run(100)
    restored.connect()
    world.run(3000)
    more = produce(restored, 5, 9900)
    world.run_until(world.drained)
    epochs = world.values()
    assert sorted(map(len, epochs)) == [35, 150]
    assert old + later in epochs and fresh + more in epochs
    for row in restored.node.ledger():
        assert row["produced"] == row["delivered"], row


def test_a_restored_image_that_wrote_nothing_yet_forks_too():
    world = World()
    edge = world.edge().connect()
    old = produce(edge, 10)
    world.run_until(world.drained)
    image = copy_of(edge.storage)
    later = produce(edge, 7, 10)
    world.run_until(world.drained)
    edge.disconnect()
    restored = world.edge("e1", image).connect()
    world.run(3000)
    fresh = produce(restored, 3, 500)
    world.run_until(world.drained)
    assert sorted(world.values()) == sorted([old + later, fresh])


def test_a_power_cut_in_the_middle_of_a_fork_finds_it_again():
    world = World()
    edge = world.edge().connect()
    old = produce(edge, 100)
    world.run_until(world.drained)
    edge.node.close()
    edge.settle()
    image = copy_of(edge.storage)
    later = produce(edge, 50, 100)
    world.run_until(world.drained)
    edge.disconnect()
    restored = world.edge("e1", image)
    fresh = produce(restored, 30, 9000)
    world.run(100)
    restored.connect()
    cuts = 0
    for _ in range(200):
        world.step()
        if restored.node.log("t").held and cuts < 5:
            cuts += 1
            restored.power_cut()
    assert cuts == 5
    world.run_until(world.drained)
    assert sorted(world.values()) == sorted([old + later, fresh])


def test_a_wiped_node_closes_its_old_epoch_as_lost_by_storage():
    world = World()
    edge = world.edge().connect()
    produce(edge, 40)
    world.run_until(world.drained)
    edge.up.cut = True  # a HAVE that was seen, data that was not
    produce(edge, 25, 40)
    world.run(300)
    edge.up.cut = False
    key = list(world.store.states)[0]
    world.hub._receivers[key].ahead.produced = 65
    edge.disconnect()
    wiped = world.edge("e1", MemoryStorage()).connect()
    fresh = produce(wiped, 10, 700)
    world.run_until(world.drained)
    assert fresh in world.values()
    assert world.store.states[key].closed


def test_garbage_and_old_sessions_are_counted_and_the_session_goes_on():
    world = World()
    edge = world.edge().connect()
    values = produce(edge, 50)
    world.run_until(world.drained)
    old = frames.encode(frames.HAVE, b"12345678", (1, ()))
    for junk in (b"", b"\xff" * 40, bytes([frames.DATA]) * 30, old, bytes([frames.HELLO]) + bytes(8) + b"\x80", b"\x05" * 70000):
        world.hub.receive("e1", junk)
        edge.node.receive(junk)
    assert world.hub.counters["refused_frames"] == 6 and edge.node.link.counters["refused_frames"] == 6
    values += produce(edge, 50, 50)
    world.run_until(world.drained)
    assert world.values() == [values]


def test_a_replayed_hello_does_not_end_the_session():
    world = World()
    edge = world.edge().connect()
    hello = None
    while hello is None:
        edge.settle()
        hello = edge.node.next_frame()
    world.hub.receive("e1", hello)
    edge.up.put(hello)
    values = produce(edge, 20)
    world.run_until(world.drained)
    sessions = edge.node.link.counters["sessions"]
    for _ in range(5):
        world.hub.receive("e1", hello)
        world.run(50)
    values += produce(edge, 20, 20)
    world.run_until(world.drained)
    assert world.values() == [values] and edge.node.link.counters["sessions"] == sessions


def test_a_topic_defined_otherwise_is_refused_by_name_and_nothing_is_lost():
    world = World(topics={"t": TopicDefinition(partitions=4)})
    edge = world.edge().connect()
    produce(edge, 10)
    world.run(5000)
    row = edge.node.ledger()[0]
    assert "partitions" in row["refused"] and "'t'" in row["refused"], row
    assert row["pending"] == 10 and world.values() == []


def test_evicted_records_become_a_gap_on_both_sides():
    world = World()
    edge = world.edge("e1", resources={"max_storage": 20000})
    total = 0
    for i in range(40):
        produce(edge, 50, i * 50)
        total += 50
        world.run(20)
        assert edge.node.status()["stored_bytes"] <= 20000 + 4096
    lost = edge.node.ledger()[0]["unconfirmed"]["evicted"]
    assert lost > 0
    edge.connect()
    world.run_until(world.drained)
    row = edge.node.ledger()[0]
    assert row["lost"] == {"evicted": lost} and row["produced"] == total == row["delivered"] + lost
    state = list(world.store.states.values())[0]
    assert state.lost == {"evicted": lost} and state.next == total
    assert len(world.values()[0]) == total - lost


def test_a_full_queue_rejects_and_stores_nothing():
    world = World()
    edge = world.edge("e1", sync={"max_queue_size": 10})
    edge.settle()
    produce(edge, 10)
    raises(QueueFull, edge.node.produce, "t", b"one too many")
    world.run(50)
    assert edge.node.ledger()[0]["produced"] == 10
    edge.connect()
    world.run_until(world.drained)
    edge.node.produce("t", b"fits again")


def test_a_bad_record_or_topic_is_refused_clearly():
    edge = World().edge()
    assert "there is no topic 'nope'" in str(raises(UsageError, edge.node.produce, "nope", b"x"))
    assert "too large" in str(raises(UsageError, edge.node.produce, "t", bytes(2000)))
    assert "too large" in str(raises(UsageError, edge.node.produce, "t", bytes(900), b"k" * 100))
    assert "too large" in str(raises(UsageError, edge.node.produce_many, "t", [b"a", bytes(2000)]))
    edge.settle()
    assert edge.node.log("t").next == 0


def test_a_bandwidth_limit_holds_over_seconds():
    world = World()
    edge = world.edge("e1", sync={"bandwidth_limit": 20000})
    for _ in range(10):
        edge.node.produce_many("t", [b"x" * 200] * 100)
        world.run(20)
    edge.connect()
    world.run(1000)
    before = edge.node.link.counters["bytes_out"]
    world.run(5000)
    sent = edge.node.link.counters["bytes_out"] - before
    assert 95000 < sent < 105000, sent


def test_a_node_without_a_clock_learns_the_time_and_leaves_a_mark():
    world = World()
    edge = world.edge()
    edge.clock.wall = None
    produce(edge, 5)
    world.run(50)
    assert not edge.node.clock.trusted
    edge.connect()
    world.run_until(world.drained)
    assert edge.node.clock.trusted
    assert abs(edge.node.clock.wall_ms() - world.clock.wall) < 50
    assert edge.node.ledger()[0]["produced"] == 6  # five records and the clock mark
    assert len(world.values()[0]) == 5


def test_pause_holds_data_back_and_resume_lets_it_go():
    world = World()
    edge = world.edge().connect()
    edge.node.pause()
    values = produce(edge, 10)
    world.run(2000)
    assert world.values() == []
    edge.node.resume()
    world.run_until(world.drained)
    assert world.values() == [values]


def test_an_interval_paces_and_sync_now_does_not_wait():
    world = World()
    edge = world.edge("e1", sync={"interval_secs": 30}).connect()
    produce(edge, 10)
    world.run_until(world.drained)
    produce(edge, 10, 10)
    world.run(5000)
    assert edge.node.ledger()[0]["pending"] == 10
    edge.node.sync_now()
    world.run(500)
    assert edge.node.ledger()[0]["pending"] == 0
    produce(edge, 10, 20)
    world.run(5000)
    assert edge.node.ledger()[0]["pending"] == 10
    world.run(30000, 20)
    assert edge.node.ledger()[0]["pending"] == 0


def test_a_hub_that_was_restored_from_an_old_backup_gets_again_what_is_still_held():
    world = World()
    edge = world.edge().connect()
    values = produce(edge, 100)
    world.run_until(world.drained)
    backup = dict((key, state.copy()) for key, state in world.store.states.items())
    stored = dict((key, dict(rows)) for key, rows in world.store.values.items())
    values += produce(edge, 100, 100)
    world.run_until(world.drained)
    world.store.states, world.store.values = backup, stored
    world.crash_hub()
    edge.node.hub_status(True, "another boot")
    world.run(1500)
    values += produce(edge, 10, 200)
    world.run_until(world.drained)
    assert world.values() == [values]


def test_batches_larger_than_the_receivers_frames_are_cut_and_a_record_that_is_becomes_a_gap():
    for producer in (0, 5):
        world = World()
        world.hub._me.frame_bytes_max = 600
        edge = world.edge()
        expected = []
        for i in range(60):
            value = b"%d" % i * (1 + i % 30)
            expected.append(value)
            if i % 20 < 10:
                edge.node.produce("t", value, producer=producer, sequence=i)
            else:
                edge.node.produce("t", value, b"key", (("h", b"x"),), 12345, producer, i)
        edge.node.produce("t", b"y" * 700)
        expected.append(None)
        edge.node.produce("t", b"after")
        expected.append(b"after")
        edge.connect()
        for _ in range(3):
            world.run(12)
            edge.node.hub_status(False, "")
            edge.node.hub_status(True, "b")
        world.run_until(world.drained)
        key = list(world.store.values)[0]
        got = [world.store.values[key].get(i) for i in range(62)]
        assert got == expected, got
        assert edge.node.ledger()[0]["lost"] == {"too large": 1}


def test_a_full_storage_that_rejects_keeps_all_it_took_and_goes_on_when_there_is_room():
    world = World()
    edge = world.edge("e1", resources={"max_storage": 20000, "eviction_policy": "reject"})
    taken = []
    while True:
        try:
            taken += produce(edge, 1, len(taken))
        except StorageFull:
            break
        if len(taken) % 20 == 0:
            world.run(10)
    assert edge.node.ledger()[0]["unconfirmed"] == {}
    assert edge.node.status()["stored_bytes"] < 20000
    edge.connect()
    world.run_until(world.drained)
    taken += produce(edge, 100, len(taken))
    world.run_until(world.drained)
    assert world.values() == [taken]


def test_a_disk_that_fills_up_gives_back_what_is_delivered():
    world = World()
    edge = world.edge("e1", MemoryStorage(20000, StorageFull)).connect()
    taken = []
    for i in range(25):
        taken += produce(edge, 50, i * 50)
        world.run(30)
    world.run_until(world.drained)
    assert world.values() == [taken]


def test_a_store_that_contradicts_the_hub_is_believed():
    world = World()
    edge = world.edge().connect()
    values = produce(edge, 20)
    world.run_until(world.drained)
    values += produce(edge, 20, 20)
    world.store.fail = UsageError("a chunk off the watermark")
    world.run_until(lambda: world.hub.counters["commit_errors"] > 0)
    world.store.fail = None
    world.run_until(world.drained)
    assert world.values() == [values]


def test_a_disk_that_cannot_be_read_for_a_while_delays_and_loses_nothing():
    world = World()
    edge = world.edge()
    values = produce(edge, 50)
    world.run(50)
    read_into, edge.storage.read_into = edge.storage.read_into, lambda name, offset, buf: _raise(OSError(5))
    edge.connect()
    world.run(5000)
    assert world.values() == [] and edge.node.log("t").failure is not None
    edge.storage.read_into = read_into
    world.run_until(world.drained)
    assert world.values() == [values]


def test_a_sealed_epoch_that_still_owes_is_offered_right_after_a_restart():
    world = World()
    edge = world.edge().connect()
    old = produce(edge, 4)
    world.run(20)
    image = copy_of(edge.storage)  # its cursor still says that nothing is delivered
    later = produce(edge, 9, 4)
    world.run_until(world.drained)
    edge.disconnect()
    restored = world.edge("e1", image).connect()
    world.run_until(lambda: restored.node.log("t").state.ordinal == 1 and not restored.node.log("t").held)
    restored.power_cut()  # the carrier is up before the storage has answered: the first session greets at once
    assert restored.node.logs()[0].sealed and restored.node.logs()[0].durable == 0
    world.run(50)
    world.run_until(world.drained)
    assert world.values() == [old + later]


def test_a_log_that_cannot_be_written_does_not_keep_others_from_closing():
    world = World()
    edge = world.edge("e1", sync_topics=[{"topic": "a"}, {"topic": "t"}])
    world.run(20)
    edge.node.produce("a", b"lost with its disk")
    produce(edge, 3)
    append = edge.storage.append
    edge.storage.append = lambda name, data: _raise(OSError(5)) if name.startswith("a-0") else append(name, data)
    edge.node.close()
    edge.settle()
    assert edge.node.log("a").failure is not None and edge.node.log("t").durable == 3 and edge.node.idle


def _raise(error):
    raise error


def test_a_hub_answers_a_greeting_of_another_version_by_name():
    world = World()
    edge = world.edge().connect()
    hello = bytes([frames.HELLO]) + bytes(8) + cbor.encode((2, "e1", "whatever comes then"))
    world.hub.receive("e1", hello)
    name, answer = world.hub.next_frame()
    frame = frames.decode(answer)
    assert name == "e1" and frame.type == frames.ERROR and frame.fields[0] == "version" and "speaks 1" in frame.fields[1]
    values = produce(edge, 5)
    world.run_until(world.drained)
    assert world.values() == [values]


def test_fields_that_a_later_build_appends_are_passed_over():
    longer = (1, ((0, 0, 5, 0, "t", 0, "e1", 7, (0, 0, 1, 0, b""), ((1, 0, 9),), None, True, "new"),), "new")
    frame = frames.decode(frames.encode(frames.HAVE, b"12345678", longer))
    assert frame.fields == [1, [[0, 0, 5, 0, "t", 0, "e1", 7, [0, 0, 1, 0, b""], [[1, 0]], None, True]]]


def test_gaps_without_end_wedge_nobody_else():
    world = World()
    edge = world.edge().connect()
    other = world.edge("e2").connect()
    values = produce(edge, 5)
    world.run_until(world.drained)
    session, first = world.hub.nodes["e1"].current.id, 5
    for _ in range(100):
        world.hub.receive("e1", frames.encode(frames.GAP, session, (0, first, first + (1 << 48), "evicted", 7)))
        first += 1 << 48
    world.hub.receive("e1", frames.encode(frames.GAP, session, (0, first, 1 << 63, "evicted", 7)))
    others = produce(other, 5)
    world.run_until(lambda: other.node.ledger()[0]["delivered"] == 5)
    assert world.values("e2") == [others] and world.values("e1") == [values]


def test_anonymous_producers_are_forgotten_before_named_ones():
    world = World()
    edge = world.edge("e1", log={"producers_max": 4, "segment_bytes": 4096, "batch_bytes": 1024})
    edge.node.produce("t", b"named", producer=9, sequence=1)
    for i in range(20):
        edge.node.produce("t", b"x", producer=(1 << 62) + i, sequence=1)
    world.run(50)
    assert edge.node.producer_last("t", 0, 9) == 1
