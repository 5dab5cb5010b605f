"""A board's link over a serial line when there is no memory: the line is closed and opened again, and who asks is told."""

import json

from serial_world import SerialWorld, up
from streamline_board import carrier
from streamline_core import ask
from streamline_core import serial_packets as packets

try:
    from micropython import heap_lock, heap_unlock
except ImportError:  # CPython, where there is always memory

    def heap_lock():
        pass

    heap_unlock = heap_lock


class FullHeap:
    """As the interpreter's gc, of a heap that has no room."""

    @staticmethod
    def collect():
        pass

    @staticmethod
    def mem_free():
        return 100


def test_who_asks_a_board_that_has_no_memory_to_answer_is_told_so():
    world = up()
    before, carrier.gc = carrier.gc, FullHeap
    nonsense = (b"", b"[]", b"{}", b'{"id": 7, "op": "x"}', b'{"id": "a b", "op": "x"}', b"\xff" * 700, b'{"id": "x"}' + b" " * 300)
    try:
        for question in (b'{"id": "q-1", "op": "status"}',) + nonsense:
            world.gateway.say(packets.ASK, question)
            world.run(carrier.ASK_MS + 20)
    finally:
        carrier.gc = before
    (piece,) = world.gateway.pieces
    head, text = piece.split(b"\n")
    assert json.loads(head) == {"id": "q-1", "piece": 0, "last": True, "error": "other"}
    assert piece == ask._head("q-1", 0, True, "other") + carrier.NO_ANSWER and carrier.REQUEST_BYTES_MAX == ask.REQUEST_BYTES_MAX
    assert text == b"no memory for this answer now; ask again"
    assert world.state == "open" and world.link.reader.refused == 0


def test_a_line_that_there_was_no_memory_to_begin_is_closed_and_opened_again():
    world = SerialWorld()
    begin, left = world.link._begun, [1]

    def scarce(now_ms):
        if left[0]:
            left[0] -= 1
            raise MemoryError
        begin(now_ms)

    world.link._begun = scarce
    world.run_until(lambda: world.state == "open", 120000)
    assert (world.line.opened, world.stream.closed, world.board.node.memory_errors) == (2, 1, 1)


class Unsaid(OSError):
    """An error that there is no memory to tell."""

    def __str__(self):
        raise MemoryError


def test_a_line_that_breaks_is_opened_again_though_there_is_no_memory_to_say_why():
    world = up()
    tick, left = world.link._tick, [1]

    def broken(now_ms):
        if left[0]:
            left[0] -= 1
            raise Unsaid(5)
        tick(now_ms)

    world.link._tick = broken
    world.run(5)
    assert world.stream.closed == 1 and world.board.node.status()["why"] == "no memory"
    world.run_until(lambda: world.state == "open", 120000)
    assert world.line.opened == 2


def test_a_line_is_closed_when_there_is_no_memory_at_all():
    world = up()
    tick, close = world.link._tick, world.stream.close

    def scarce(now_ms):
        world.link._tick = tick
        heap_lock()
        raise MemoryError

    def closed():
        heap_unlock()
        close()

    world.link._tick, world.stream.close = scarce, closed
    world.run(5)
    assert world.stream.closed == 1
    world.stream.close = close
    world.run_until(lambda: world.state == "open", 120000)
