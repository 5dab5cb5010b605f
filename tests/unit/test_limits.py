"""Limits: what is used, what more may be, what is refused, and what happens where memory is used up."""

from harness import raises
from streamline_core.errors import QueueFull, StorageFull, UsageError
from streamline_core.resources import CONNECTIONS, CPU, FILES, KINDS, MEMORY, STORAGE, LimitReached
from world import World

MB = 1 << 20
REST = 20 * MB


class FakeMeter:
    """A process that uses what a test says."""

    def __init__(self):
        self.memory = REST
        self.files = 10
        self.cpu = 0
        self.relieved = self.garbage = 0

    def cpu_ms(self):
        return self.cpu

    def memory_bytes(self):
        return self.memory

    def open_files(self):
        return self.files

    def relieve(self):
        self.relieved += 1
        self.memory -= self.garbage
        self.garbage = 0

    def buffers_bytes(self, buffer_bytes):
        return buffer_bytes


def edge_of(**resources):
    world, meter = World(), FakeMeter()
    topics = ["t", {"topic": "k", "kind": "keyed"}]
    return world, world.edge("e1", meter=meter, resources=resources, sync_topics=topics), meter


def test_a_limit_below_what_the_node_needs_is_refused_with_that_number():
    error = str(raises(UsageError, lambda: edge_of(max_memory="20MB")))
    needed = int(error.split(" ")[-1])
    assert "resources.max_memory: 20971520 is less than this node needs" in error and REST < needed < 60 * MB
    _, edge, _ = edge_of(max_memory=needed)
    resources = edge.node.resources
    for limits, what in (({MEMORY: MB}, "max_memory"), ({STORAGE: 100}, "max_storage"), ({FILES: 3}, "max_file_descriptors")):
        assert what in str(raises(UsageError, resources.change, limits))
    assert "there is no limit of 'ram'" in str(raises(UsageError, resources.change, {"ram": 5}))
    raises(UsageError, resources.change, {STORAGE: 10 * MB, MEMORY: MB})
    assert resources.limit(STORAGE) != 10 * MB  # all or none


def test_a_limit_that_nothing_measures_is_refused():
    for limit in ("max_memory", "max_cpu_percent", "max_file_descriptors"):
        node = World().edge("e1", None, None).node
        setattr(node.config.resources, limit, 1 << 30)
        assert limit in str(raises(UsageError, node.resources.opened))


def test_what_is_measured_and_what_is_allocated_count_together():
    world, edge, meter = edge_of(max_memory=100 * MB, max_connections=2, max_file_descriptors=50)
    resources = edge.node.resources
    assert resources.usage()[MEMORY] == REST and resources.usage()[FILES] == 10
    resources.allocate(MEMORY, 50 * MB)
    assert not resources.can_allocate(MEMORY, 30 * MB) and resources.can_allocate(MEMORY, 5 * MB)
    assert raises(LimitReached, resources.allocate, MEMORY, 30 * MB).kind == MEMORY
    meter.memory += 70 * MB  # it was used, and more
    world.run(200)
    assert resources.usage()[MEMORY] == REST + 70 * MB and not resources.can_allocate(MEMORY, 15 * MB)
    resources.release(MEMORY, 50 * MB)
    assert resources.can_allocate(MEMORY, 200 * MB)  # one at a time, whatever it needs
    meter.memory -= 70 * MB
    world.run(200)
    resources.allocate(CONNECTIONS, 2)
    assert "2 of 2 are used" in str(raises(LimitReached, resources.allocate, CONNECTIONS, 1))
    resources.release(CONNECTIONS, 1)
    resources.allocate(CONNECTIONS, 1)
    meter.files = 50
    world.run(200)
    assert not resources.can_allocate(FILES, 1) and resources.is_over_limit() is None
    meter.files = 51
    world.run(200)
    assert resources.is_over_limit() == FILES


def test_the_share_of_the_processor_is_of_the_last_seconds():
    world, edge, meter = edge_of(max_cpu_percent=50)
    for _ in range(100):
        meter.cpu += 20
        world.run(100)
    assert 15 <= edge.node.resources.usage()[CPU] <= 25
    assert edge.node.resources.is_over_limit() is None


def test_where_memory_is_used_up_tables_grow_no_more_until_some_is_free_again():
    world, edge, meter = edge_of(max_memory=100 * MB)
    edge.node.produce("k", b"x", b"key")
    meter.memory, meter.garbage = 150 * MB, 80 * MB
    before = meter.relieved
    world.run(200)
    edge.node.produce("k", b"x", b"key")  # it was garbage
    assert meter.relieved == before + 1
    meter.memory = 150 * MB
    world.run(200)
    assert "resources.max_memory" in str(raises(QueueFull, edge.node.produce, "k", b"x", b"key"))
    assert edge.node.resources.is_over_limit() == MEMORY
    edge.node.produce("t", b"x")  # what a log takes goes to the disk, and needs no memory
    meter.memory = 90 * MB
    world.run(200)
    edge.node.produce("k", b"x", b"key")


class TableMeter(FakeMeter):
    """Each key of a table takes 1 MB of memory."""

    def memory_bytes(self):
        tables = self.edge.node.tables.topics if self.edge is not None and self.edge.node is not None else {}
        return self.memory + sum([len(keyed.table.keys()) for keyed in tables.get("k", ())]) * MB

    edge = None


def test_a_node_whose_tables_have_filled_its_memory_opens_again():
    world, meter = World(), TableMeter()
    topics = ["t", {"topic": "k", "kind": "keyed"}]
    edge = meter.edge = world.edge("e1", meter=meter, resources={"max_memory": 60 * MB}, sync_topics=topics)
    for i in range(100):
        try:
            edge.node.produce("k", b"x", b"key %d" % i)
        except QueueFull:
            break
        world.run(200)
    assert 35 < i < 50
    edge.power_cut()
    world.run(200)
    assert len(edge.node.tables.keys("k")) == i
    assert "resources.max_memory" in str(raises(QueueFull, edge.node.produce, "k", b"x", b"more"))
    edge.node.produce("t", b"x")


def test_a_storage_limit_that_is_lowered_is_kept_at_once():
    world, edge, _ = edge_of(max_storage=10 * MB)
    for _ in range(200):
        edge.node.produce_many("t", [bytes(200)] * 4)
        world.run(10)
    resources = edge.node.resources
    assert resources.usage()[STORAGE] > 150000
    resources.change({STORAGE: 60000})
    assert resources.usage()[STORAGE] <= 60000 and resources.limit(STORAGE) == 60000
    (row,) = [row for row in edge.node.ledger() if row["topic"] == "t"]
    assert row["unconfirmed"]["evicted"] > 0
    resources.allocate(STORAGE, 100)
    raises(StorageFull, resources.allocate, STORAGE, 60000)


def test_it_tells_all_of_it():
    _, edge, _ = edge_of(max_memory=100 * MB, max_connections=3)
    status = edge.node.resources.status()
    assert sorted(status["resources"]) == sorted(KINDS)
    assert status["resources"][MEMORY] == {"used": REST, "limit": 100 * MB, "needed": edge.node.resources.needed[MEMORY], "over": False}
    assert status["eviction_policy"] == "oldest" and status["evicted_bytes"] == 0
