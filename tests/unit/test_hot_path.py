"""What must not allocate on a board: accepting a bare value while its batch has room. Proved with the heap locked.

What a commit, a frame and a turn of the loop allocate is a number, not a rule: tools/bench_footprint.py prints it.
"""

from harness import MICROPYTHON, FakeClock, without_heap
from streamline_core import builder as builder_module
from streamline_core.batch import batches, records
from streamline_core.builder import BatchBuilder
from streamline_core.hlc import HybridClock
from world import World

VALUE = b"x" * 60
COUNT = 10


def contents(storage):
    """Every value in the segments of a storage, in order."""
    found = []
    for name in sorted(storage.files):
        if name.endswith(".seg"):
            for header, batch in batches(bytes(storage.files[name])):
                found.extend([bytes(record.value) for record in records(header, batch)])
    return found


def test_append_allocates_nothing_while_the_batch_has_room():
    edge = World().edge()
    log = edge.node.log("t")
    log.append(VALUE)  # opens the batch: its 64-bit stamp is built once a batch

    def append_some():
        for _ in range(COUNT):
            log.append(VALUE)

    without_heap(append_some)
    assert log.next == COUNT + 1


def test_produce_allocates_nothing_while_the_batch_has_room():
    edge = World().edge()
    produce = edge.node.produce
    values = [b"a value of %d" % i for i in range(COUNT)] + [memoryview(VALUE)[3:20], bytearray(VALUE), b""]
    log, offset = produce("t", b"first")
    assert (log, offset) == (edge.node.log("t"), 0)

    def produce_some():
        for value in values:
            produce("t", value)

    without_heap(produce_some)
    assert produce("t", b"last")[1] == len(values) + 1
    log.commit()
    assert contents(edge.storage) == [b"first"] + [bytes(value) for value in values] + [b"last"]


def test_produce_of_an_idempotent_producer_allocates_nothing():
    edge = World().edge()
    produce, log = edge.node.produce, edge.node.log("t")
    for sequence in range(2):
        produce("t", VALUE, None, None, None, 7, sequence)

    def produce_some():
        for sequence in range(2, 2 + COUNT):
            produce("t", VALUE, None, None, None, 7, sequence)

    without_heap(produce_some)
    assert log.next == 2 + COUNT and log.producers.last(7) == 1 + COUNT


def test_a_batch_refuses_what_it_has_no_room_for_and_allocates_nothing():
    batch = BatchBuilder(512, HybridClock(FakeClock(5)))
    assert batch.add(VALUE)

    def fill():
        while batch.add(VALUE):
            pass

    without_heap(fill)
    full = batch.count
    assert full == (512 - 64) // (len(VALUE) + 2)
    head, body = batch.take(0, 1, 0)
    assert bytes(body) == VALUE * full
    assert batch.add(b"another") and batch.count == 1 and bytes(batch.take(full, 1, 0)[1]) == b"another"


def test_both_ways_to_copy_a_value_build_the_same_bytes():
    """By slices, and by `extend` where an interpreter allocates for a slice."""
    built = []
    for extends in (False, True):
        batch = BatchBuilder(1024, HybridClock(FakeClock(5)))
        batch._extends = extends
        rows = []
        for i in range(3):
            for n in range(4):
                assert batch.add(b"%d" % n * (n * i), 7, n)
            rows.append(tuple([bytes(part) for part in batch.take(i, 1, 0)]))
            for n in range(3):
                assert batch.add_full(b"v" * n, b"k%d" % i, (), None, 0, 0)
            assert batch.add(b"bare, in a general batch")
            rows.append(tuple([bytes(part) for part in batch.take(i, 1, 0)]))
        built.append(rows)
    assert built[0] == built[1]


def test_a_batch_does_not_give_its_room_back():
    """Else the first record after a commit would allocate the buffer anew, in a heap that has become small pieces."""
    if MICROPYTHON:
        batch = BatchBuilder(4096, HybridClock(FakeClock(5)))
        for _ in range(3):
            assert batch.add(b"short")
            batch.take(0, 1, 0)
        assert batch.add(b"opens")
        value = bytes(4000)
        without_heap(lambda: batch.add(value))
        assert batch.count == 2


def test_how_values_are_copied_is_tried_once():
    assert builder_module.EXTENDS in (False, True) and (MICROPYTHON or not builder_module.EXTENDS)


def test_the_lock_would_show_an_allocation():
    if MICROPYTHON:
        try:
            without_heap(lambda: bytearray(1000))
        except MemoryError:
            return
        raise AssertionError("the heap was not locked")
