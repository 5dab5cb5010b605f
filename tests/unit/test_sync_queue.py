"""The queue of what is owed to the cloud: its bounds, what happens at them, and what it says of itself."""

from harness import raises
from streamline_core.errors import BacklogFull, QueueFull, UsageError
from world import WALL_MS, World

VALUE = bytes(100)


def edge_of(world=None, topics=("t",), **sync):
    world = world or World()
    return world, world.edge("e1", sync_topics=list(topics), local_topics=["mine"], sync=sync)


def fill(edge, n, topic="t"):
    for _ in range(n):
        edge.node.produce(topic, VALUE)
        edge.clock.advance(10)
        edge.settle()
        edge.settle()


def owed(edge):
    return edge.node.queue.status()["depth"]


def test_more_records_than_may_be_owed_are_refused_and_nothing_of_them_is_stored():
    world, edge = edge_of(max_queue_size=10)
    fill(edge, 10)
    error = raises(BacklogFull, edge.node.produce, "t", VALUE)
    assert "10 records wait for the cloud, and sync.max_queue_size allows 10" in str(error) and not error.waits
    raises(BacklogFull, edge.node.produce_many, "t", [VALUE])
    assert owed(edge) == 10
    fill(edge, 5, "mine")  # what is owed to nobody is not counted
    edge.power_cut()
    raises(BacklogFull, edge.node.produce, "t", VALUE)
    edge.connect()
    world.run_until(world.drained)
    fill(edge, 1)


def test_more_bytes_than_may_be_owed_are_refused():
    world, edge = edge_of(max_queue_bytes="4KB")
    stored = 0
    while True:
        try:
            fill(edge, 1)
        except BacklogFull as error:
            assert "sync.max_queue_bytes allows 4096" in str(error)
            break
        stored += 1
    assert 20 < stored < 40, stored
    assert edge.node.queue.bytes <= 4096
    edge.connect()
    world.run_until(world.drained)
    fill(edge, 1)
    assert edge.node.queue.status()["bytes"] < 400


def test_a_record_that_would_never_fit_is_a_mistake_and_not_worth_waiting_for():
    for policy in ("reject", "block", "evict"):
        _, edge = edge_of(max_queue_bytes=1000, queue_full=policy)
        fill(edge, 1)
        assert "sync.max_queue_bytes allows 1000" in str(raises(UsageError, edge.node.produce, "t", bytes(950)))
        assert not raises(BacklogFull, edge.node.produce_many, "t", [bytes(600)] * 2).fits  # one at a time might
        assert owed(edge) == 1


def test_who_blocks_is_told_to_wait_unless_it_would_never_fit():
    _, edge = edge_of(max_queue_size=10, queue_full="block")
    fill(edge, 8)
    assert raises(BacklogFull, edge.node.produce_many, "t", [VALUE] * 3).waits
    error = raises(BacklogFull, edge.node.produce_many, "t", [VALUE] * 11)
    assert not error.waits and not error.fits


def test_who_evicts_keeps_the_newest_and_the_ledger_adds_up():
    world, edge = edge_of(max_queue_size=100, queue_full="evict")
    fill(edge, 1000)
    assert 80 <= owed(edge) <= 100 + 1, owed(edge)
    log = edge.node.log("t")
    assert log.next == 1000 and 880 <= log.first <= 920
    edge.connect()
    world.run_until(world.drained)
    (row,) = [row for row in edge.node.ledger() if row["topic"] == "t"]
    assert row["lost"] == {"evicted": log.first} and row["delivered"] == 1000 - log.first


def test_who_evicts_gives_back_a_part_of_what_may_be_owed_however_large_a_segment_may_be():
    world = World()
    edge = world.edge("e1", log={"segment_bytes": 1 << 20, "batch_bytes": 1024}, sync={"max_queue_size": 80, "queue_full": "evict"})
    fill(edge, 80)
    lowest = owed(edge)
    for _ in range(200):
        fill(edge, 1)
        lowest = min(lowest, owed(edge))
    assert lowest >= 65, lowest


def test_each_topic_has_its_own_rule():
    topics = ({"topic": "keep"}, {"topic": "roll", "queue_full": "evict"})
    _, edge = edge_of(None, topics, max_queue_size=100)
    fill(edge, 60, "roll")
    fill(edge, 40, "keep")
    raises(BacklogFull, edge.node.produce, "keep", VALUE)
    fill(edge, 100, "roll")
    assert edge.node.log("keep").first == 0 and edge.node.log("keep").next == 40
    assert owed(edge) <= 101


def test_what_would_be_evicted_and_is_not_durable_yet_is_waited_for():
    _, edge = edge_of(max_queue_size=10, queue_full="evict")
    for _ in range(10):
        edge.node.produce("t", VALUE)
    error = raises(QueueFull, edge.node.produce, "t", VALUE)
    assert not isinstance(error, BacklogFull) and "waits for the disk" in str(error)
    edge.settle()
    edge.clock.advance(10)
    edge.settle()
    edge.settle()
    edge.node.produce("t", VALUE)


def test_a_repeat_is_answered_though_the_queue_is_full():
    _, edge = edge_of(max_queue_size=5)
    for i in range(5):
        edge.node.produce("t", VALUE, producer=7, sequence=i)
    assert edge.node.produce("t", VALUE, producer=7, sequence=3)[1] == 3
    assert edge.node.produce_many("t", [VALUE] * 5, 0, 7, 0)[1:] == (5, 5)
    raises(BacklogFull, edge.node.produce, "t", VALUE, None, None, None, 7, 5)


def test_it_says_how_much_waits_and_since_when():
    world, edge = edge_of(None, ({"topic": "t", "priority": 7}, {"topic": "u", "urgent": True}))
    fill(edge, 20)
    began_ms = edge.clock.wall
    edge.clock.advance(60000)
    fill(edge, 30, "u")
    status = edge.node.queue.status()
    assert status["depth"] == 50 and abs(status["oldest_ms"] - WALL_MS) < 1000
    rows = {row["topic"]: row for row in status["rows"]}
    assert (rows["t"]["records"], rows["t"]["priority"], rows["u"]["urgent"]) == (20, 7, True)
    assert rows["u"]["oldest_ms"] >= began_ms + 60000
    assert sum([row["bytes"] for row in status["rows"]]) == status["bytes"] > 50 * 100
    edge.connect()
    world.run_until(world.drained)
    assert edge.node.queue.status()["rows"] == [] and edge.node.queue.status()["oldest_ms"] is None


def test_the_age_follows_what_was_confirmed():
    world, edge = edge_of()
    for _ in range(40):
        fill(edge, 1)
        edge.clock.advance(1000)
    stamps = []
    log = edge.node.log("t")
    for acked in (0, 1, 10, 11, 30, 39):
        log.state.acked = acked
        stamps.append(edge.node.queue.oldest_ms(log))
    assert [round((stamp - stamps[0]) / 1010) for stamp in stamps] == [0, 1, 10, 11, 30, 39]
    log.state.acked = 5  # a cloud that was restored
    assert round((edge.node.queue.oldest_ms(log) - stamps[0]) / 1010) == 5


def test_who_evicts_from_now_on_gives_back_parts_from_now_on():
    world = World()
    edge = world.edge("e1", log={"segment_bytes": 1 << 20, "batch_bytes": 1024}, sync={"max_queue_size": 80})
    fill(edge, 10)
    edge.node.topics["t"].queue_full = "evict"
    edge.node.reconfigured()
    fill(edge, 70)
    lowest = owed(edge)
    for _ in range(200):
        fill(edge, 1)
        lowest = min(lowest, owed(edge))
    assert lowest >= 60, lowest
