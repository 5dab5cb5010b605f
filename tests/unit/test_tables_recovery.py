"""Keyed topics after power cuts, restored disks, rot, a full heap: no version is lost, or named twice, or superseded unseen."""

from table_world import converged, cut_off, dots, hub_keys, value, world_of
from world import World, copy_of


def test_a_power_cut_and_a_restart_change_nothing_of_what_is_shown():
    world = world_of(seed=2)
    one = world.edges["e0"]
    cut_off(world)
    for i in range(50):
        one.node.produce("state", b"v%d" % i, b"k%d" % (i % 7))
        world.hub.produce("state", b"w%d" % i, b"k%d" % (i % 5))
        world.run(10)
    converged(world)
    before = {key: (value(one, key), dots(one, key)) for key in hub_keys(world)}
    one.power_cut()
    for _ in range(2):  # at once, before the disk has said again that all of it is durable, and later
        assert {key: (value(one, key), dots(one, key)) for key in hub_keys(world)} == before
        world.run(100)
    converged(world)


def test_a_restored_disk_that_writes_on_loses_no_version_and_supersedes_none_it_has_not_seen():
    world = world_of(seed=9)
    one = world.edges["e0"]
    one.node.produce("state", b"first", b"k")
    converged(world)
    image = copy_of(one.storage)
    one.node.produce("state", b"second", b"k")
    one.node.produce("state", b"only before", b"lost?")
    converged(world)
    one.disconnect()
    one.storage = image
    one.start()
    world.run(50)
    one.node.produce("state", b"after", b"k")
    one.node.produce("state", b"after, too", b"k")
    one.node.produce("state", b"fresh", b"new")
    world.run(50)
    one.connect()
    converged(world)
    assert value(one, b"lost?") == b"only before" and value(one, b"new") == b"fresh"
    versions, _ = one.node.tables.resolve("state", b"k")
    assert sorted([version.value for version in versions]) == [b"after, too", b"second"]
    one.node.produce("state", b"settled", b"k")
    converged(world)
    assert value(world.edges["e1"], b"k") == b"settled" and one.node.tables.conflicts("state") == []


def test_a_table_for_which_there_is_no_memory_stops_nothing_and_misses_nothing_afterwards():
    world = world_of(edges=3)
    one, two = world.edges["e0"], world.edges["e1"]
    table, calls = one.node.tables.partition("state", b"k").table, [0]
    apply, table.apply = table.apply, lambda *arguments: too_full(apply, calls, arguments)
    for n in range(60):
        two.node.produce("state", b"%d" % n, b"k%d" % (n % 20))
        two.node.produce("state", b"%d" % n, b"only once %d" % n)
        world.run(30)
    world.run(500)
    status = one.node.status()
    assert status["memory_errors"] > 3 and status["state"] == "open"
    assert one.node.tables.status()[0]["trouble"] == "no memory"
    calls[0] = -1
    converged(world)
    assert one.node.tables.status()[0]["trouble"] == "" and len(one.node.tables.keys("state")) == 80


def too_full(apply, calls, arguments):
    """Every seventh time there is no memory; never again once calls[0] is below zero."""
    if calls[0] >= 0:
        calls[0] += 1
        if calls[0] % 7 == 0 or calls[0] > 90:
            raise MemoryError
    return apply(*arguments)


def test_a_log_whose_end_has_rotted_gives_no_name_a_second_time():
    world = world_of(2)
    one, two = world.edges["e0"], world.edges["e1"]
    one.node.produce("state", b"other", b"j")
    one.node.produce("state", b"lost", b"k")
    converged(world)
    two.node.produce("state", b"after", b"k")
    converged(world)
    log = one.node.log("state")
    name = "%s/%020d.seg" % (log.folder, log.segments.bases[-1])
    one.storage.files[name][10] ^= 1  # of the only batch's header: nothing says how far it went
    one.storage._durable[name] = bytes(one.storage.files[name])
    one.disconnect()
    one.power_cut()
    one.node.produce("state", b"last", b"k")
    world.run(100)
    assert value(one, b"k") == b"last"
    one.connect()
    world.run(100)
    converged(world)
    assert value(two, b"k") == b"last" and world.hub.table.refused == 0


def test_names_that_a_buffered_write_bears_leave_no_gap_behind_it():
    edge = World().edge(local_topics=[{"topic": "mine", "kind": "keyed"}], sync_topics=[])
    log, _ = edge.node.produce("mine", b"1", b"k")
    edge.settle()
    edge.node.produce("mine", b"2", b"k")
    keyed = edge.node.tables.topics["mine"][0]
    keyed._known_to = log.next
    keyed.fold()
    edge.node.produce("mine", b"3", b"k")
    edge.clock.advance(10)
    edge.settle()
    edge.settle()
    edge.settle()
    assert log.durable == 3 and log.state.gaps.rows == [] and len(log.segments.bases) == 1


def test_a_restored_disk_believes_what_a_restored_hub_is_told_of_its_past():
    world = world_of(2)
    one, two = world.edges["e0"], world.edges["e1"]
    converged(world)
    image, backup = copy_of(one.storage), world.backup()
    one.node.produce("state", b"of the past", b"k")
    converged(world)
    one.disconnect()
    one.storage = image
    world.roll_back(backup)
    world.announce_hub()
    world.run(10000)
    one.start()
    one.connect()
    world.run(30000)
    converged(world)
    assert value(one, b"k") == value(two, b"k") == b"of the past"
    one.node.produce("state", b"new", b"k")
    converged(world)
    assert value(two, b"k") == b"new"
