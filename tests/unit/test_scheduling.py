"""Scheduling: who may use the link, how much of it, and when."""

from harness import raises
from streamline_core.errors import QueueFull
from streamline_core.plan import plan
from world import WALL_MS, World, produce

HOUR = 3600000
NOON = WALL_MS - WALL_MS % (24 * HOUR) + 12 * HOUR


def count(world, topic, name="e1"):
    return sum([len(values) for values in world.values(name, topic)])


def limited(topics, bytes_s=20000, **sync):
    world = World()
    sync["bandwidth_limit"] = bytes_s
    return world, world.edge("e1", sync_topics=topics, sync=sync)


def gather(edge, topic, batches):
    for _ in range(batches):
        edge.node.produce_many(topic, [bytes(200)] * 40)
        edge.settle()
        edge.settle()


def test_topics_share_the_link_in_proportion_to_their_priorities():
    world, edge = limited([{"topic": "a", "priority": 9}, {"topic": "b", "priority": 3}, {"topic": "c", "priority": 3}])
    for topic in ("a", "b", "c"):
        gather(edge, topic, 60)
    edge.connect()
    world.run(10000)
    a, b, c = [count(world, topic) for topic in ("a", "b", "c")]
    assert 2.6 < a / b < 3.4 and 0.8 < b / c < 1.25, (a, b, c)


def fresh_share(percent):
    """How much of the link what is new takes, while a backlog drains."""
    world, edge = limited([{"topic": "old"}, {"topic": "new", "priority": 1}], backlog_percent=percent)
    gather(edge, "old", 60)
    edge.connect()
    world.run(500)
    for _ in range(100):
        edge.node.produce_many("new", [bytes(200)] * 10)  # as much as the link bears
        world.run(100)
    old, new = count(world, "old"), count(world, "new")
    return new / (old + new)


def test_a_backlog_and_what_is_fresh_share_the_link_and_neither_starves():
    assert 0.4 < fresh_share(50) < 0.6
    assert 0.7 < fresh_share(20) < 0.9
    assert 0.1 < fresh_share(80) < 0.3


def test_what_one_lane_leaves_the_other_takes():
    world, edge = limited([{"topic": "old"}, {"topic": "new"}], backlog_percent=1)
    gather(edge, "old", 20)
    edge.connect()
    world.run(5000)
    assert count(world, "old") > 300


def windowed(texts, hour, **more):
    world = World()
    topics = [{"topic": "t"}, {"topic": "alarm", "urgent": True}]
    edge = world.edge("e1", sync_topics=topics, sync=dict(more, windows=texts))
    edge.clock.wall = NOON + hour * HOUR
    return world, edge


def test_outside_of_a_window_only_what_is_urgent_goes():
    world, edge = windowed(["22:00-06:00"], 21 - 12)
    produce(edge, 5)
    edge.connect()
    world.run(1000)
    produce(edge, 3, topic="alarm")
    world.run(2000)
    assert count(world, "t") == 0 and count(world, "alarm") == 3
    edge.clock.advance(HOUR)
    world.run(2000)
    assert count(world, "t") == 5
    edge.clock.advance(8 * HOUR)
    world.run(100)
    produce(edge, 5, 5)
    produce(edge, 1, 3, topic="alarm")
    world.run(2000)
    assert count(world, "t") == 5 and count(world, "alarm") == 4


def test_without_anything_urgent_a_closed_window_leaves_no_session_and_says_so():
    world = World()
    edge = world.edge("e1", sync={"windows": ["22:00-06:00"]})
    edge.clock.wall = NOON
    produce(edge, 1)
    edge.connect()
    world.run(3000)
    assert edge.node.link.state == "waiting" and world.values() == []
    assert "outside of sync.windows for 600 minutes" in edge.node.gate.why
    edge.node.link.sync_now()
    world.run(2000)
    assert len(world.values()[0]) == 1  # an order goes before the window
    assert edge.node.link.state == "waiting"
    produce(edge, 1, 1)
    world.run(2000)
    assert len(world.values()[0]) == 1  # and ends when all is delivered


def test_an_order_to_sync_what_is_delivered_already_does_not_outlast_the_window():
    world, edge = windowed(["22:00-06:00"], 22 - 12)
    produce(edge, 1)
    edge.connect()
    world.run(2000)
    assert count(world, "t") == 1
    edge.node.link.sync_now()
    world.run(1000)
    edge.clock.advance(9 * HOUR)
    world.run(100)
    produce(edge, 1, 1)
    world.run(2000)
    assert count(world, "t") == 1 and not edge.node.link.allowed


def test_a_condition_holds_sync_back_until_it_is_met():
    world = World()
    edge = world.edge("e1", sync={"condition": "file:/run/parked"})
    produce(edge, 1)
    edge.connect()
    world.run(1000)
    assert edge.node.link.state == "waiting" and "does not hold: file:/run/parked" in edge.node.gate.why
    edge.node.gate.condition(True)
    world.run(1000)
    assert len(world.values()[0]) == 1 and edge.node.link.state == "open"
    edge.node.gate.condition(False)
    world.run(100)
    assert edge.node.link.state == "waiting"


def test_without_a_clock_a_window_is_open():
    world = World()
    edge = world.edge("e1", sync={"windows": ["22:00-06:00"]})
    edge.clock.wall = None
    produce(edge, 1)
    edge.connect()
    world.run(1000)
    assert len(world.values()[0]) == 1


def test_what_is_urgent_does_not_wait_for_the_interval_nor_push_it_on():
    world = World()
    edge = world.edge("e1", sync_topics=["t", {"topic": "alarm", "urgent": True}], sync={"interval_secs": 20}).connect()
    produce(edge, 1)
    world.run_until(lambda: count(world, "t") == 1)
    world.run(500)
    produce(edge, 1, 1)
    for i in range(36):
        produce(edge, 1, i, "alarm")
        world.run(500)
        assert count(world, "alarm") == i + 1
    assert count(world, "t") == 1
    world.run(3000)
    assert count(world, "t") == 2


class BusyMeter:
    """Each look finds so much more of the processor used as frames have left."""

    def __init__(self, frame_ms):
        self.edge = None
        self.frame_ms = frame_ms
        self.others_ms = 0

    def memory_bytes(self):
        return 0

    def open_files(self):
        return 0

    def relieve(self):
        pass

    def buffers_bytes(self, buffer_bytes):
        return buffer_bytes

    def cpu_ms(self):
        frames = self.edge.node.link.counters["frames_out"] if self.edge is not None and self.edge.node.link else 0
        return frames * self.frame_ms + self.others_ms


def paced(percent):
    world, meter = World(), BusyMeter(10)
    edge = world.edge("e1", meter=meter, resources={"max_cpu_percent": percent}, frame_bytes_max=1152)
    meter.edge = edge
    gather(edge, "t", 60)
    return world, edge.connect(), meter


def test_a_backlog_drains_within_the_limit_of_the_processor():
    for percent in (10, 30):
        world, edge, meter = paced(percent)
        world.run(2000)
        before = meter.cpu_ms()
        world.run(10000)
        used = (meter.cpu_ms() - before) / 100
        assert percent * 0.8 < used < percent * 1.1, (percent, used)


def test_a_processor_that_others_use_up_slows_sync_and_does_not_stop_it():
    world, edge, meter = paced(10)
    world.run(2000)
    before = edge.node.link.counters["frames_out"]
    for _ in range(1000):
        meter.others_ms += 5
        world.run(10)
    assert 5 <= edge.node.link.counters["frames_out"] - before < 60


def test_a_frame_holds_at_most_as_many_records_as_a_batch_may():
    world = World()
    edge = world.edge("e1", sync={"batch_size": 50})
    for i in range(40):
        produce(edge, 20, i * 20)
        world.run(20)
    edge.connect()
    world.run(3000)
    counted = edge.node.link.counters["frames_out"]
    assert len(world.values()[0]) == 800 and counted >= 20, counted


def test_a_plan_says_what_would_leave_and_then_that_leaves():
    world, edge = limited([{"topic": "a", "priority": 9}, {"topic": "b", "priority": 3}, {"topic": "small"}], 20000)
    gather(edge, "a", 60)
    gather(edge, "b", 60)
    gather(edge, "small", 1)
    before = edge.node.link.counters["bytes_out"]
    foreseen = plan(edge.node, 300000)
    rows = {row["topic"]: row for row in foreseen["rows"]}
    assert foreseen["link_bytes"] == 300000 and foreseen["cost_percent"] is None
    assert rows["small"]["waits_records"] == 0 and rows["a"]["leaves_records"] > 2 * rows["b"]["leaves_records"]
    assert all([row["leaves_records"] + row["waits_records"] in (2400, 40) for row in rows.values()])
    edge.connect()
    world.run_until(lambda: edge.node.link.counters["bytes_out"] - before >= 300000)
    world.run(20)
    for topic in ("a", "b"):
        assert abs(count(world, topic) - rows[topic]["leaves_records"]) < 200, (topic, count(world, topic), rows)
    assert 90 <= plan(edge.node, 1)["cost_percent"] <= 110


def test_a_plan_for_more_than_there_is_leaves_nothing():
    _, edge = limited([{"topic": "a"}])
    gather(edge, "a", 5)
    foreseen = plan(edge.node, 1 << 40)
    assert foreseen["link_bytes"] < 100000 and [row["waits_records"] for row in foreseen["rows"]] == [0]
    assert plan(edge.node, 0)["rows"][0]["leaves_records"] == 0
    row = plan(edge.node, 1)["rows"][0]
    assert (row["leaves_records"], row["leaves_bytes"]) == (0, 0) and row["waits_bytes"] == foreseen["rows"][0]["leaves_bytes"]


def test_a_node_takes_up_what_is_changed_of_its_configuration():
    world = World()
    topics = [{"topic": "t"}, {"topic": "alarm", "urgent": True}]
    edge = world.edge("e1", sync_topics=topics, sync={"interval_secs": 3600, "bandwidth_limit": 2000}).connect()
    sync, node = edge.node.config.sync, edge.node
    produce(edge, 1)
    world.run_until(lambda: count(world, "t") == 1)
    world.run(100)
    produce(edge, 1, 1)
    world.run(2000)
    assert count(world, "t") == 1
    sync.interval_secs = 0
    node.reconfigured()
    world.run(2000)
    assert count(world, "t") == 2  # it does not wait for the end of the interval that was
    gather(edge, "t", 5)
    sync.bandwidth_limit = 0
    node.reconfigured()
    world.run(2000)
    assert count(world, "t") == 202
    sync.condition = "file:/run/parked"
    sync.retry.initial_ms = sync.retry.max_ms = 20
    node.reconfigured()
    produce(edge, 1, 202)
    world.run(1000)
    assert node.gate is not None and count(world, "t") == 202
    node.topics["t"].urgent = True
    node.reconfigured()
    world.run(1000)
    assert count(world, "t") == 203
    sync.condition = None
    node.topics["t"].urgent = False
    sync.max_queue_size = 3
    node.config.log.commit_interval_ms = 7
    node.reconfigured()
    world.run(1000)
    assert node.link.allowed and node.log("t").limits.commit_interval_ms == 7
    edge.disconnect()
    produce(edge, 3, 203)
    assert raises(QueueFull, node.produce, "t", b"one more")
