"""Disks and hubs that are restored, cloned or wiped: no record is lost or comes twice, and both sides' ledgers say the same."""

from harness import MemoryStorage
from streamline_core.recovery import recover
from streamline_core.store_ops import loss_of
from world import World, copy_of, lose_data, produce


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


def test_what_a_lost_disk_had_promised_is_lost_by_storage_in_both_ledgers_and_new_records_are_not_taken_for_it():
    world = World()
    edge = world.edge().connect()
    old = produce(edge, 10)
    world.run_until(world.drained)
    image = copy_of(edge.storage)
    key = list(world.store.states)[0]
    lose_data(edge)
    produce(edge, 48, 10)
    world.run_until(lambda: world.store.states[key].produced == 58)
    edge.disconnect()
    restored = world.edge("e1", image)
    fresh = produce(restored, 60, 9000)  # at the same offsets, and beyond them
    world.run(100)
    restored.connect()
    world.run_until(world.drained)
    assert sorted(world.values()) == sorted([old, fresh])
    state, row = world.store.states[key], restored.node.ledger()[0]
    lost = loss_of(state.next, state.produced, state.lost, state.closed)
    assert (row["produced"], row["delivered"], row["lost"], row["unconfirmed"]) == (58, 10, {"storage": 48}, {})
    assert (state.produced, len(world.store.values[key]), lost) == (58, 10, {"storage": 48})


def test_records_of_two_disks_are_not_mixed_behind_a_store_that_refuses_commits():
    world = World()
    edge = world.edge().connect()
    old = produce(edge, 10)
    world.run_until(world.drained)
    image = copy_of(edge.storage)
    world.store.fail = OSError("disk full")
    later = produce(edge, 10, 10)
    world.run(500)
    edge.disconnect()
    other = world.edge("e1", image)
    fresh = produce(other, 30, 9000)
    world.run(100)
    other.connect()
    world.run(1000)
    world.store.fail = None
    world.run_until(world.drained)
    assert sorted(world.values()) == sorted([old + later, fresh])


def test_records_of_two_devices_are_not_mixed_where_one_wrote_nothing_before_its_greeting():
    world = World()
    edge = world.edge().connect()
    old = produce(edge, 2)
    world.run_until(world.drained)
    image = copy_of(edge.storage)
    world.store.fail = OSError("disk full")
    later = produce(edge, 5, 2)
    world.run(500)
    edge.disconnect()
    other = world.edge("e1", image).connect()
    world.run(200)
    fresh = produce(other, 5, 9000)
    world.run(20)
    fresh += produce(other, 5, 9005)  # begins where the first device's end, and no HAVE has named its opening
    world.run(500)
    world.store.fail = None
    world.run_until(world.drained)
    assert sorted(world.values()) == sorted([old + later, fresh])


def test_a_gap_across_two_openings_is_no_parting():
    world = World()
    edge = world.edge().connect()
    produce(edge, 5)
    world.run_until(world.drained)
    log = edge.node.log("t")
    edge.node.pause()
    for i in (5, 6, 7):
        produce(edge, 1, i)
        world.run(20)
    recover(log, edge.node.entropy)  # as after a storage failure: another term, in the same session
    produce(edge, 2, 8)
    world.run(20)
    log.note_gap(6, 9, "corrupt")
    edge.node.resume()
    world.run_until(world.drained)
    (row,) = edge.node.ledger()
    assert (row["produced"], row["delivered"], row["lost"]) == (10, 7, {"corrupt": 3})


def test_a_wiped_node_closes_its_old_epoch_as_lost_by_storage():
    world = World()
    edge = world.edge().connect()
    produce(edge, 40)
    world.run_until(world.drained)
    key = list(world.store.states)[0]
    lose_data(edge)
    produce(edge, 25, 40)
    world.run_until(lambda: world.store.states[key].produced == 65)
    edge.disconnect()
    wiped = world.edge("e1", MemoryStorage()).connect()
    fresh = produce(wiped, 10, 700)
    world.run_until(world.drained)
    assert fresh in world.values()
    state = world.store.states[key]
    assert loss_of(state.next, state.produced, state.lost, state.closed) == {"storage": 25}


def backup_of(store):
    states = dict((key, state.copy()) for key, state in store.states.items())
    return states, dict((key, dict(rows)) for key, rows in store.values.items())


def restore_hub(world, backup):
    """The hub starts again with what its store held at the backup; its nodes hear of a new boot."""
    world.store.states, world.store.values = backup
    world.crash_hub()
    for edge in world.edges.values():
        edge.node.link.hub_status(True, "another boot")
    world.run(1500)


def test_a_hub_that_was_restored_from_an_old_backup_gets_again_what_is_still_held():
    world = World()
    edge = world.edge().connect()
    values = produce(edge, 100)
    world.run_until(world.drained)
    backup = backup_of(world.store)
    values += produce(edge, 100, 100)
    world.run_until(world.drained)
    restore_hub(world, backup)
    values += produce(edge, 10, 200)
    world.run_until(world.drained)
    assert world.values() == [values]


def test_a_hub_that_was_restored_gets_again_what_a_sealed_epoch_holds():
    world = World()
    edge = world.edge().connect()
    old = produce(edge, 40)
    world.run_until(world.drained)
    backup = backup_of(world.store)
    old += produce(edge, 60, 40)
    world.run_until(world.drained)
    image = copy_of(edge.storage)
    produce(edge, 9, 100)
    world.run_until(world.drained)
    edge.disconnect()
    restored = world.edge("e1", image).connect()
    fresh = produce(restored, 5, 9000)
    world.run(3000)
    assert restored.node.logs()[0].sealed and world.drained()
    restore_hub(world, backup)
    world.run_until(world.drained)
    assert sorted(world.values()) == sorted([old, fresh])


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


def test_a_backlog_of_many_openings_drains():
    for known in (True, False):
        world = World()
        edge = world.edge()
        values = produce(edge, 2)
        world.run(100)
        if known:
            edge.connect()
            world.run_until(world.drained)
            edge.disconnect()
        for i in range(1, 13):  # a HAVE names the last 8 only
            edge.power_cut()
            values += produce(edge, 2, 100 * i)
            world.run(100)
        edge.connect()
        world.run_until(world.drained)
        assert world.values() == [values]
