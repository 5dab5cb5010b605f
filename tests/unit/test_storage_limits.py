"""The limits of storage and queue hold at every moment: what goes is told on both sides, too much is refused, a question costs nothing."""

from harness import MemoryStorage, raises
from streamline_core.errors import QueueFull, StorageFull
from world import World, produce


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
