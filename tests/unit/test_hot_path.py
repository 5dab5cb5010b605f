"""What must not allocate on a board: accepting a bare value while its batch has room. Proved with the heap locked.

`node.produce` is not in here: it answers with a tuple, which is an allocation by itself.
"""

from harness import MICROPYTHON, without_heap
from world import World

VALUE = b"x" * 60
COUNT = 10


def test_append_allocates_nothing_while_the_batch_has_room():
    edge = World().edge()
    log = edge.node.log("t")
    log.append(VALUE)  # opens the batch: its 64-bit stamp is built once a batch

    def append_some():
        for _ in range(COUNT):
            log.append(VALUE)

    without_heap(append_some)
    assert log.next == COUNT + 1


def test_the_lock_would_show_an_allocation():
    if MICROPYTHON:
        try:
            without_heap(lambda: bytearray(1000))
        except MemoryError:
            return
        raise AssertionError("the heap was not locked")
