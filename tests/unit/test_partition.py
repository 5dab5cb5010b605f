"""Epochs of a partition: which is open after whatever happened."""

from logs import Bench
from streamline_core.consumer import Consumer
from test_consumer import opened, taken


def forked(cut_after=None):
    """A partition forked at offset 2 of 4; `cut_after`: the power goes after so many rounds of ticks."""
    bench = Bench()
    partition = opened(bench)
    log = partition.current
    for value in (b"a", b"b", b"c", b"d"):
        bench.write(log, [value])
    successor = partition.fork(log, 2)
    for i in range(6):
        if i == cut_after:
            break
        partition.tick()
        bench.settle(log, successor)
    return bench, partition


def test_a_power_cut_at_any_point_of_a_fork_leaves_one_open_epoch_and_all_records():
    for rounds in range(6):
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
    bench, partition = forked(0)
    assert partition.current.held and partition.current.durable == 0
    bench.settle(partition.current)
    assert partition.current.durable == 0
    for _ in range(4):
        partition.tick()
        bench.settle(*partition.logs())
    assert partition.current.durable == 2 and not partition.current.held


def test_a_failed_fork_changes_nothing():
    bench = Bench()
    partition = opened(bench)
    log = partition.current
    bench.write(log, [b"a"])
    append = bench.storage.append

    def refuse(name, data):
        raise OSError("EIO")

    bench.storage.append = refuse
    try:
        partition.fork(log, 0)
        raise AssertionError("nothing was raised")
    except Exception as error:
        assert "EIO" in str(error)
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
