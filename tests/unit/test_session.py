"""A node and a hub, the real core on both sides: nothing lost, nothing twice, whatever the wire and the power do."""

from harness import MemoryStorage, raises
from streamline_core.batch import batches
from streamline_core.errors import QueueFull, StorageFull, UsageError
from streamline_core.node_state import RETRY_SLOTS_MS
from streamline_core.topic import TopicDefinition
from world import WALL_MS, World, produce


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
    assert world.values() == [] and world.hub.commits.errors > 0
    world.store.fail = None
    world.run_until(world.drained)
    assert world.values() == [values]


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


def test_a_pause_lasts_over_restarts_and_so_does_a_resume():
    for enabled in (True, False):
        world = World()
        edge = world.edge("e1", sync={"enabled": enabled}).connect()
        world.run(100)
        assert (edge.node.link.state == "paused") == (not enabled)
        for pause in (True, False, True, False):
            edge.node.pause() if pause else edge.node.resume()
            world.run(100)
            edge.power_cut()
            edge.connect()
            assert (edge.node.link.state == "paused") == pause
        storage_id = edge.node.state.storage_id
        values = produce(edge, 10)
        world.run_until(world.drained)
        edge.power_cut()
        assert world.values() == [values] and edge.node.state.storage_id == storage_id


def test_a_pause_that_the_disk_would_not_note_is_noted_later():
    world = World()
    edge = world.edge().connect()
    world.run(10000)
    replace, tried = edge.storage.replace, []

    def failing(name, data):
        if not name.startswith("node."):
            return replace(name, data)
        tried.append(world.clock.monotonic)
        raise OSError("as asked")

    edge.storage.replace = failing
    edge.node.pause()
    world.run(12000)
    assert [ms - tried[0] for ms in tried] == [0, 5, 5005, 10005]
    edge.storage.replace = replace
    edge.power_cut()
    assert edge.node.link.state != "paused"  # it was never noted
    edge.storage.replace = failing
    edge.node.pause()
    world.run(100)
    edge.storage.replace = replace
    world.run(RETRY_SLOTS_MS)
    edge.power_cut()
    edge.connect()
    assert edge.node.link.state == "paused"


def test_an_interval_paces_and_sync_now_does_not_wait():
    world = World()
    edge = world.edge("e1", sync={"interval_secs": 30}).connect()
    produce(edge, 10)
    world.run_until(world.drained)
    produce(edge, 10, 10)
    world.run(5000)
    assert edge.node.ledger()[0]["pending"] == 10
    edge.node.link.sync_now()
    world.run(500)
    assert edge.node.ledger()[0]["pending"] == 0
    produce(edge, 10, 20)
    world.run(5000)
    assert edge.node.ledger()[0]["pending"] == 10
    world.run(30000, 20)
    assert edge.node.ledger()[0]["pending"] == 0


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
            edge.node.link.hub_status(False, "")
            edge.node.link.hub_status(True, "b")
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


def test_what_the_cloud_has_makes_room_for_records_that_come_together():
    """What is stored may be below the limit by less than what comes: it was refused for ever, though nothing was owed."""
    world = World()
    edge = world.edge("e1", resources={"max_storage": 20000, "eviction_policy": "reject"})
    edge.connect()
    for i in range(100):
        edge.node.produce_many("t", [b"%04d" % i + bytes(196)] * 10)
        world.run_until(world.drained)
    assert edge.node.ledger()[0]["delivered"] == 1000
    assert edge.node.status()["stored_bytes"] < 20000


def test_a_question_for_room_costs_nothing_that_is_owed():
    world = World()
    edge = world.edge("e1", resources={"max_storage": 60000})
    produce(edge, 500)
    world.run(100)
    assert not edge.node.resources.can_allocate("storage", 50000)
    assert edge.node.ledger()[0]["unconfirmed"] == {}


def test_room_for_more_than_there_can_be_costs_nothing():
    world = World()
    edge = world.edge("e1", resources={"max_storage": 60000})
    produce(edge, 100)
    edge.connect()
    world.run_until(world.drained)
    stored = edge.node.status()["stored_bytes"]
    assert not edge.node.resources.can_allocate("storage", 60000)
    edge.node.resources.evict_if_needed()
    assert edge.node.status()["stored_bytes"] == stored


def test_the_storage_limit_holds_within_one_turn():
    for policy in ("oldest", "reject"):
        world = World()
        limits = {"max_storage": 60000, "eviction_policy": policy}
        edge = world.edge("e1", resources=limits)
        refused = waited = 0
        for _ in range(100):
            for _ in range(10):  # as much as the cap allows, in one go
                try:
                    edge.node.produce("t", b"x" * 800)
                except StorageFull:
                    refused += 1
                except QueueFull:  # what was given back is noted first
                    waited += 1
            log = edge.node.log("t")
            log.commit()
            used = sum([edge.storage.size(name) for name in edge.storage.files])
            assert used < 60000, (policy, used)
            for ticket in edge.storage.completed():
                edge.node.synced(ticket)
        assert (refused > 0) == (policy == "reject") and (waited > 0) == (policy == "oldest") and log.next > (50, 300)[policy == "oldest"]
    raises(StorageFull, World().edge("e1", resources=limits).node.produce_many, "t", [bytes(800)] * 100)  # all or none


def test_many_logs_together_keep_the_storage_limit_though_each_writes_a_segment():
    topics = [{"topic": "t", "partitions": 20}]
    edge = World().edge("e1", resources={"max_storage": 30000}, sync_topics=topics)
    for i in range(1200):
        for _ in range(5):
            try:
                edge.node.produce("t", bytes(200), partition=i % 20)
                break
            except QueueFull:  # until the disk has caught up
                edge.clock.advance(10)
                edge.settle()
        edge.clock.advance(10)
        edge.settle()
        edge.settle()
        used = sum([edge.storage.size(name) for name in edge.storage.files if ".seg" in name])
        assert used <= 30000, (i, used)
    rows = edge.node.ledger()
    assert sum([row["produced"] for row in rows]) == 1200
    assert sum([row["pending"] + sum(row["unconfirmed"].values()) for row in rows]) == 1200 and sum([row["pending"] for row in rows]) > 50


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
    world.run_until(lambda: world.hub.commits.errors > 0)
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


def test_anonymous_producers_are_forgotten_before_named_ones():
    world = World()
    edge = world.edge("e1", log={"producers_max": 4, "segment_bytes": 4096, "batch_bytes": 1024})
    edge.node.produce("t", b"named", producer=9, sequence=1)
    for i in range(20):
        edge.node.produce("t", b"x", producer=(1 << 62) + i, sequence=1)
    world.run(50)
    assert edge.node.producer_last("t", 0, 9) == 1


def test_what_is_owed_to_nobody_is_given_back_before_what_is_owed():
    world = World()
    edge = world.edge("e1", local_topics=["c"], resources={"max_storage": 40000})
    for _ in range(100):
        edge.node.produce_many("c", [bytes(200)] * 2)
        edge.node.produce_many("t", [bytes(200)])
        world.run(20)
        if edge.node.log("c").first:
            break
    assert edge.node.log("c").first > 0 and edge.node.log("t").first == 0
    assert edge.node.log("t").state.gaps.rows == []


def test_stamps_of_a_clock_that_was_not_set_are_corrected_for_readers_once_the_node_knows_the_time():
    world = World(3)
    edge = world.edge()
    edge.clock.wall = None
    produce(edge, 5)
    world.run(1000)
    written_ms = edge.clock.monotonic_ms()
    world.run(4000)
    edge.connect()
    world.run_until(world.drained)
    world.run(200)
    ((key, first, next_, later_ms),) = world.store.marks
    assert key[0] == "e1" and (first, next_) == (0, 5) and written_ms > 0
    stamped_ms = [header.hlc >> 16 for header, _ in batches(world.store.chunks["t", 0][0].data)][0]
    assert abs(stamped_ms + later_ms - (WALL_MS + 0)) < 1000
