"""What an operator is told of a node that is not well, and what is no trouble."""

from harness import raises
from streamline_core.errors import QueueFull, StorageFull
from streamline_core.health import Health, limit_problems, waits
from world import World

VALUE = bytes(400)
URL = "mqtt://h:1"


def row(**more):
    base = {"topic": "t", "partition": 0, "delivered": 0, "pending": 0, "lost": {}, "unconfirmed": {}, "refused": None}
    base.update(more)
    return base


def linked(connected=True, **more):
    link = {"connected": connected, "endpoint": URL, "reason": "no answer"}
    link.update(more)
    return {"state": "open", "link": link}


def after(health, now_ms, status, *rows, waiting=False):
    health.observe(now_ms, status, list(rows), [], waiting)
    return health.report(now_ms)["problems"]


def test_a_backlog_that_does_not_shrink_while_connected_is_an_alarm():
    health = Health(0)
    assert after(health, 0, linked(), row(pending=5)) == []
    assert after(health, 40000, linked(), row(pending=5)) == ["connected, but 5 records have not moved for 40 s"]
    assert after(health, 41000, linked(), row(pending=4, delivered=1)) == []
    assert after(health, 120000, linked(False), row(pending=4, delivered=1)) == [
        "no connection to mqtt://h:1 for 79 s (no answer); 4 records wait"
    ]


def test_an_application_that_fails_now_is_told_and_one_that_works_again_is_not():
    status = linked()
    status.update({"application_failures": 3, "application_error": "OSError: gone"})
    assert after(Health(0), 0, status, row()) == ["the application failed 3 times; now with OSError: gone"]
    status["application_error"] = ""
    assert after(Health(0), 0, status, row()) == []


def test_who_is_looked_at_for_the_first_time_says_how_long_it_has_been_away():
    assert after(Health(500000), 500000, linked(False, away_ms=59000), row(pending=4)) == []
    found = after(Health(500000), 500000, linked(False, away_ms=400000), row(pending=4))
    assert found == ["no connection to mqtt://h:1 for 400 s (no answer); 4 records wait"]


def test_what_waits_by_order_is_no_trouble_however_long():
    health = Health(0)
    for minute in range(60):
        assert after(health, minute * 60000, linked(), row(pending=5), waiting=True) == []
    assert after(health, 3601000, linked(), row(pending=5)) == []  # it may only just have been allowed
    assert len(after(health, 3632000, linked(), row(pending=5))) == 1


def test_what_is_paused_outside_of_a_window_or_within_an_interval_waits_by_order():
    world = World()
    edge = world.edge("e1", sync={"interval_secs": 60}).connect()
    assert not waits(edge.node)
    fill(edge, 1)
    world.run_until(world.drained)
    fill(edge, 1)
    assert waits(edge.node)
    edge.node.link.sync_now()
    assert not waits(edge.node)
    edge.node.pause()
    assert waits(edge.node)
    edge = World().edge("e2", sync={"condition": "file:/nowhere"}).connect()
    edge.node.tick()
    assert waits(edge.node)


def test_two_looks_that_are_far_apart_make_no_alarm_of_a_backlog_that_is_young():
    health = Health(0)
    assert after(health, 0, linked(), row(delivered=9)) == []
    assert after(health, 900000, linked(), row(delivered=9, pending=5)) == []
    health = Health(901000, health.seen)
    assert after(health, 910000, linked(connected_ms=5000), row(delivered=9, pending=5)) == []
    assert after(health, 932000, linked(connected_ms=5000), row(delivered=9, pending=5)) == []  # it was away in between
    assert after(health, 962000, linked(connected_ms=35000), row(delivered=9, pending=5)) == [
        "connected, but 5 records have not moved for 35 s"
    ]


def test_losses_and_refusals_are_named():
    status = {"state": "offline", "link": None}
    lost = row(lost={"evicted": 3}, unconfirmed={"torn": 1, "corrupt": 0}, refused="definition")
    assert after(Health(0), 0, status, lost, row(local=True, unconfirmed={"expired": 7})) == [
        "t/0: 3 records lost: evicted",
        "t/0: 1 records lost: torn",
        "t/0: the cloud refuses it: definition",
    ]
    feed = {"topic": "f", "partition": 0, "refused": 0, "why": ""}
    table = {"topic": "k", "merge_failures": 0, "unreadable": 0}
    for section, base, more, problems in (
        ("feeds", feed, {}, []),
        ("feeds", feed, {"refused": 2, "why": "no key"}, ["f/0: 2 from the cloud could not be used: no key"]),
        ("feeds", feed, {"why": "full"}, ["f/0: what the cloud sends has to wait: full"]),
        ("tables", table, {"unreadable": 1}, ["k: 1 versions cannot be read"]),
        ("tables", table, {"merge_failures": 2}, ["k: its merge module failed 2 times; every version is shown"]),
    ):
        given = dict(base)
        given.update(more)
        said = dict(status)
        said[section] = [given]
        assert after(Health(0), 0, said) == problems


def fill(edge, n, topic="t"):
    for _ in range(n):
        edge.node.produce(topic, VALUE)
        edge.clock.advance(10)
        edge.settle()
        edge.settle()


def test_a_full_queue_is_told_until_the_cloud_has_taken_something():
    world = World()
    edge = world.edge("e1", sync={"max_queue_size": 10})
    fill(edge, 9)
    assert limit_problems(edge.node) == []
    fill(edge, 1)
    (problem,) = limit_problems(edge.node)
    assert problem == "the queue is full: 10 records, %d bytes wait for the cloud (sync.max_queue_size: 10)" % edge.node.queue.bytes
    edge.connect()
    world.run_until(world.drained)
    assert limit_problems(edge.node) == []


def test_a_queue_that_has_less_room_than_what_it_refused_is_full():
    edge = World().edge("e1", sync={"max_queue_bytes": "4KB"})
    raises(QueueFull, fill, edge, 100)
    assert "the queue is full" in limit_problems(edge.node)[0]


def test_storage_that_refuses_is_told_with_whom_it_waits_for():
    world = World()
    edge = world.edge("e1", resources={"max_storage": 60000, "eviction_policy": "reject"})
    fill(edge, 10)
    assert limit_problems(edge.node) == []
    raises(StorageFull, fill, edge, 1000)
    (problem,) = limit_problems(edge.node)
    assert problem.startswith("storage is full: ") and problem.endswith("it waits for the cloud (resources.eviction_policy: reject)")
    edge.connect()
    world.run_until(world.drained)
    fill(edge, 1)
    assert limit_problems(edge.node) == []
    held = World().edge(
        "e2", resources={"max_storage": 60000}, local_topics=["here"], consumers=[{"name": "dash", "topic": "here", "holds": True}]
    )
    raises(StorageFull, fill, held, 1000, "here")
    assert limit_problems(held.node)[0].endswith("it waits for consumers that hold what they have not read: dash")


class Meter:
    """What tests say is used."""

    cpu = memory = 0

    def cpu_ms(self):
        return self.cpu

    def memory_bytes(self):
        return self.memory

    def open_files(self):
        return 0

    def relieve(self):
        pass

    def buffers_bytes(self, buffer_bytes):
        return 0


def test_limits_that_are_reached_are_told_and_those_that_nobody_set_are_not():
    meter = Meter()
    edge = World().edge("e1", meter=meter, resources={"max_memory": "1MB", "max_cpu_percent": 50})
    fill(edge, 3)
    assert limit_problems(edge.node) == []
    meter.memory, meter.cpu = 2 << 20, 3000
    edge.clock.advance(500)
    edge.node.link.pacing.cpu_wait_ms(edge.clock.monotonic_ms())
    assert limit_problems(edge.node) == [
        "resources.max_memory: 2097152 are used, and 1048576 may be",
        "sync waits for the processor (resources.max_cpu_percent: 50)",
    ]
    free = World().edge("e2", meter=meter)
    fill(free, 3)
    assert limit_problems(free.node) == []
