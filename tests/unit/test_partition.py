"""Epochs of a partition: which is open after whatever happened."""

import struct

from logs import Bench
from streamline_core.consumer import Consumer
from streamline_core.log_state import LogState
from streamline_core.no_link import NoLink
from streamline_core.report import ledger
from streamline_core.sender import Parting
from test_consumer import opened, taken


def forked(cut_after=None, reported=2):
    """A partition forked at offset 2 of 4; `cut_after`: the power goes after so many rounds of ticks."""
    bench = Bench()
    partition = opened(bench)
    log = partition.current
    for value in (b"a", b"b", b"c", b"d"):
        bench.write(log, [value])
    partition.fork(log, Parting(2, 2, reported, {}))
    for i in range(7):
        if i == cut_after:
            break
        bench.settle(*partition.all_logs())
        partition.tick()
    bench.settle(*partition.all_logs())
    return bench, partition


def test_a_power_cut_at_any_point_of_a_fork_leaves_one_open_epoch_and_all_records():
    for rounds in range(7):
        bench, _ = forked(rounds)
        bench.storage.power_cut()
        partition = opened(bench)
        values = []
        for log in partition.logs():
            bench.settle(log)
            assert log.durable == log.written
        if partition.sealed:
            assert partition.sealed[0].durable == 2 and partition.current.durable == 2
            values = [b"c", b"d"]
        else:
            values = [b"a", b"b", b"c", b"d"]
        assert [row[1] for row in taken(Consumer(partition, 0, bytearray(512)))] == values, rounds
    assert partition.sealed


def test_nothing_of_a_successor_counts_before_the_seal_is_durable():
    bench, partition = forked(1)
    assert partition.current.held and partition.current.durable == 0
    for _ in range(4):
        assert partition.current.durable == 0 or not partition.current.held
        partition.tick()
        bench.settle(*partition.logs())
    assert partition.current.durable == 2 and not partition.current.held


def test_a_successor_whose_storage_fails_is_given_up_and_costs_nothing():
    bench, partition = forked(1)
    old, successor = partition.logs()
    successor.failure = OSError("EIO")
    assert partition.tick() is None and partition.current is old and partition.sealed == []
    assert old.durable == 4 and not old.sealed
    assert [row[1] for row in taken(Consumer(partition, 0, bytearray(512)))] == [b"a", b"b", b"c", b"d"]
    assert len(bench.storage.list("t-0")) == 1
    bench.write(old, [b"e"])
    assert old.durable == 5


def moving():
    """A partition whose fork at offset 2 of 4 has moved the rest; the sync of that is under way."""
    bench, partition = forked(0)
    bench.settle(*partition.all_logs())
    partition.tick()
    return bench, partition


def test_no_state_that_is_saved_before_the_successor_is_durable_says_that_the_epoch_has_ended():
    bench, partition = moving()
    old, successor = partition.logs()
    old.save_state(0)  # for whatever reason
    bench.storage._pending = [row for row in bench.storage._pending if successor.folder not in row[1]]
    bench.settle(old)
    bench.storage.power_cut()
    state = LogState(bench.storage, old.folder, 64)
    assert state.load() and state.sealed_at == -1
    partition = opened(bench)
    assert [row[1] for row in taken(Consumer(partition, 0, bytearray(512)))] == [b"a", b"b", b"c", b"d"]


def test_a_fork_ends_while_records_go_on_being_produced():
    bench, partition = moving()
    for _ in range(4):
        bench.settle(*partition.all_logs())
        partition.current.append(b"more")
        partition.current.cut()  # written, and its sync not even asked for
        partition.tick()
    assert partition.sealed and not partition.current.held and not partition.current.state.provisional


def test_a_parting_that_has_healed_before_anything_was_moved_is_given_up():
    bench, partition = forked(0)
    log = partition.current
    log.state.acked = 4  # a later WANT knew all of it
    for _ in range(4):
        bench.settle(*partition.all_logs())
        assert partition.tick() is None
    assert partition.logs() == [log] and not log.sealed and len(bench.storage.list("t-0")) == 1


def test_a_sealed_epoch_whose_newest_slot_rots_still_ends_where_it_was_sealed():
    bench, partition = forked()
    old = partition.sealed[0].folder
    slots = [old + "/state.0", old + "/state.1"]
    slots.sort(key=lambda name: struct.unpack_from("<I", bench.storage.files[name], 4)[0])
    bench.storage.files[slots[1]][-1] ^= 1
    partition = opened(bench)
    (log,) = partition.sealed
    assert log.folder == old and (log.written, log.durable, log.ends_at) == (2, 2, 2)
    assert [row[1] for row in taken(Consumer(partition, 0, bytearray(512)))] == [b"c", b"d"]


def test_what_was_moved_is_no_gap_of_a_sealed_epoch_whose_newest_slot_rots():
    bench = Bench()
    partition = opened(bench)
    log = partition.current
    for _ in range(40):
        bench.write(log, [b"x" * 90])
    assert log.state.checkpoint > 2
    partition.fork(log, Parting(2, 2, 2, {}))
    for _ in range(7):
        bench.settle(*partition.all_logs())
        partition.tick()
    newest = max(("/state.0", "/state.1"), key=lambda slot: struct.unpack_from("<I", bench.storage.files[log.folder + slot], 4)[0])
    bench.storage.files[log.folder + newest][-1] ^= 1
    (log,) = opened(bench).sealed
    assert (log.written, log.ends_at, log.state.gaps.rows) == (2, 2, [])


def test_what_was_moved_is_given_back_when_the_seal_is_durable():
    bench, partition = forked()
    old, new = partition.logs()
    assert old.written == 2 and old.segments.total_bytes == sum(old.segments.sizes) and new.segments.total_bytes == sum(new.segments.sizes)
    for _ in range(20):
        bench.write(new, [bytes(200)])
    partition.fork(new, Parting(4, 4, 30, {}))
    for _ in range(4):
        bench.settle(*partition.all_logs())
        partition.tick()
    assert new.written == 4 and new.state.reported == 30 and all([base < 4 for base in new.segments.bases])
    assert sum([bench.storage.size(name) for name in bench.segments() if new.folder in name]) == new.segments.total_bytes


def test_a_folder_without_a_state_and_without_a_record_is_dropped():
    bench, partition = forked()
    current = partition.current.folder
    bench.storage.append("t-0/e1-00000007/x", b"")
    partition = opened(bench)
    assert partition.current.folder == current and len(partition.logs()) == 2
    assert "e1-00000007" not in bench.storage.list("t-0")


def test_a_failed_fork_changes_nothing():
    bench = Bench()
    partition = opened(bench)
    log = partition.current
    bench.write(log, [b"a"])
    append = bench.storage.append

    def refuse(name, data):
        raise OSError("EIO")

    bench.storage.append = refuse
    partition.fork(log, Parting(0, 0, 0, {}))
    bench.settle(*partition.all_logs())
    assert partition.tick() is None
    bench.storage.append = append
    assert partition.current is log and partition.sealed == [] and not log.sealed
    assert len(bench.storage.list("t-0")) == 1
    bench.write(log, [b"b"])
    assert log.durable == 2


def test_a_sealed_epoch_whose_state_rots_does_not_cost_the_open_one():
    bench, partition = forked()
    old, new = partition.logs()
    new.state.acked = new.state.reported = 2
    new.save_state(0)
    bench.settle(old, new)
    for slot in ("/state.0", "/state.1"):
        bench.storage.remove(old.folder + slot)
    partition = opened(bench)
    assert partition.current.folder == new.folder and [log.folder for log in partition.sealed] == [old.folder]


def test_foreign_folders_are_left_alone():
    bench, _ = forked()
    for folder in ("t-0/e1-zzzzzzzz", "t-0/e1-+1234567", "t-0/other-00000001", "t-0/e1-1"):
        bench.storage.append(folder + "/x", b"x")
    assert len(opened(bench).logs()) == 2 and bench.storage.size("t-0/e1-zzzzzzzz/x") == 1


def test_what_a_sealed_epoch_owes_of_a_lost_disk_is_in_the_ledger_before_the_other_side_has_said_so():
    bench, partition = forked(reported=30)

    class Node:
        link = NoLink()
        logs = partition.logs

    row = ledger(Node)[0]
    assert row["sealed"] and (row["produced"], row["delivered"], row["pending"], row["unconfirmed"]) == (30, 2, 0, {"storage": 28})


def test_a_fork_with_nothing_to_move_needs_no_more_calls_than_there_are_syncs():
    bench = Bench()
    partition = opened(bench)
    log = partition.current
    bench.write(log, [b"a"])
    partition.fork(log, Parting(1, 2, 2, {}))
    tickets = bench.storage.completed()
    while tickets:  # when nobody has anything to report any more, nobody calls
        for ticket in tickets:
            for owner in [owner for owner in partition.all_logs() if owner.owns(ticket)]:
                owner.synced(ticket, None)
        partition.tick()
        tickets = bench.storage.completed()
    assert partition.sealed == [log] and not partition.current.held and not log.forking
