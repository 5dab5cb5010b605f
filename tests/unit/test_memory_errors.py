"""MemoryError at each place where the core may meet it: nothing that was accepted is lost by it, nothing is stored twice, and it goes on.

On a board it comes when the heap is full: tests/firmware/test_memory_micropython.py fills one.
"""

from harness import MemoryStorage, raises
from logs import Bench, read_all
from world import World, produce


class ScarceStorage(MemoryStorage):
    """Has no memory for the calls named in `fails`: {name: how many more of them}, after `succeed` others."""

    def __init__(self):
        super().__init__()
        self.fails = {}
        self.succeed = 0

    def _scarce(self, call):
        if self.fails.get(call, 0):
            if self.succeed:
                self.succeed -= 1
                return
            self.fails[call] -= 1
            raise MemoryError

    def append(self, name, data):
        self._scarce("append")
        super().append(name, data)

    def sync(self, name):
        self._scarce("sync")
        return super().sync(name)

    def replace(self, name, data):
        self._scarce("replace")
        return super().replace(name, data)

    def remove(self, name):
        self._scarce("remove")
        super().remove(name)


def starve(obj, name, times=1):
    """The next `times` calls of a method find no memory."""
    method, left = getattr(obj, name), [times]

    def scarce(*args):
        if left[0]:
            left[0] -= 1
            raise MemoryError
        return method(*args)

    setattr(obj, name, scarce)


def test_a_batch_that_cannot_be_closed_stays_in_the_buffer_and_is_written_once():
    bench = Bench()
    log = bench.open()
    for i in range(5):
        log.append(b"v%d" % i, 9, i)
    starve(log._builder, "take")
    raises(MemoryError, log.commit)
    assert (log.failure, log.next, log.written) == (None, 5, 0)
    starve(log, "_roll")
    raises(MemoryError, log.commit)
    assert log.append(b"v5", 9, 5) == 5
    bench.clock.advance(10)
    log.tick(bench.clock.monotonic)
    bench.settle(log)
    assert read_all(log) == ([(i, b"v%d" % i) for i in range(6)], [])
    assert log.state.producers.last(9) == 5 and log.producers.last(9) == 5


def test_a_storage_without_memory_for_an_append_keeps_the_batch_unless_a_part_of_it_is_stored():
    storage = ScarceStorage()
    edge = World().edge("e1", storage)
    produce(edge, 3)
    edge.node.log("t").commit()
    edge.settle()
    log = edge.node.log("t")
    produce(edge, 1, 3)
    storage.fails = {"append": 1}  # of the header
    edge.clock.advance(1000)
    edge.settle()
    assert log.failure is None and edge.node.memory_errors == 1 and log.next == 4
    edge.clock.advance(1000)
    edge.settle()
    edge.settle()
    assert log.durable == 4
    log.append(b"accepted, not yet stored")
    storage.fails, storage.succeed = {"append": 1}, 1  # of the body
    edge.clock.advance(1000)
    edge.settle()
    assert isinstance(log.failure, MemoryError)
    for _ in range(4):
        edge.clock.advance(2000)
        edge.settle()
    assert log.failure is None
    produce(edge, 2, 4)
    edge.clock.advance(1000)
    edge.settle()
    edge.settle()
    found, gaps = read_all(log)
    assert [value for _, value in found] == [b"value %d" % i for i in range(6)]
    assert gaps == [(4, 5, "torn")], "of the header without a body"


def test_a_sync_and_a_state_without_memory_are_tried_again():
    storage = ScarceStorage()
    edge = World().edge("e1", storage)
    produce(edge, 3)
    storage.fails = {"sync": 2, "replace": 2}
    log = edge.node.log("t")
    log.cursor_due = True
    for _ in range(10):
        edge.clock.advance(6000)
        edge.settle()
    assert log.durable == 3 and log.failure is None and not log.state.slots.stalled
    assert edge.node.status()["memory_errors"] >= 2


def test_a_new_producer_without_memory_to_note_him_has_stored_nothing():
    bench = Bench()
    log = bench.open()
    log.append(b"a", 1, 0)
    starve(log.producers, "note")
    raises(MemoryError, log.append, b"b", 2, 7)
    assert log.next == 1
    assert log.append(b"b", 2, 7) == 1 and log.producers.last(2) == 7


def test_what_has_moved_the_durable_mark_counts_though_there_was_no_memory_to_note_its_producer():
    bench = Bench()
    log = bench.open()
    log.append(b"a", 1, 0)
    log.commit()
    starve(log.state.producers, "note")
    (ticket,) = bench.storage.completed()
    raises(MemoryError, log.synced, ticket, None)
    assert log.durable == 1
    log.synced(ticket, None)  # a shell tells again what it could not tell
    assert log.durable == 1 and log.state.producers.last(1) == 0


def test_a_segment_that_could_not_be_removed_is_removed_later():
    storage = ScarceStorage()
    bench = Bench(storage=storage)
    log = bench.open()
    for i in range(30):
        bench.write(log, [b"%03d" % i + bytes(200)])
    first = bench.segments()[0]
    log.evict_oldest()
    storage.fails["remove"] = 1
    tickets = storage.completed()
    for ticket in tickets:
        try:
            log.synced(ticket, None)
        except MemoryError:
            log.synced(ticket, None)
    log.evict_oldest()
    bench.settle(log)
    assert first not in bench.segments()


def test_frames_without_memory_end_the_session_and_another_one_delivers_everything():
    world = World()
    edge = world.edge().connect()
    values = produce(edge, 200)
    world.run(300)
    link = edge.node.link
    for victim, name in ((link, "_greet"), (None, "receive"), (None, "next_frame"), (None, "_frame")):
        world.run_until(lambda: link.session is not None and link.state == "open")
        before = edge.node.memory_errors
        if victim is not None:
            link._drop("test")
            link._greet_at_ms = edge.clock.monotonic
            starve(victim, name)
        else:
            starve(link.session if name != "_frame" else link.session.outlet, name)
        values.extend(produce(edge, 50, len(values)))
        world.run_until(lambda before=before: edge.node.memory_errors > before)
        world.run_until(lambda: len(world.store.values) and len(world.values()[0]) == len(values))
    assert world.values() == [values] and not world.store.gaps
    assert edge.node.status()["memory_errors"] == edge.node.memory_errors == 4


def test_a_frame_without_memory_to_decode_it_is_dropped_and_counted():
    world = World()
    edge = world.edge().connect()
    produce(edge, 5)
    world.run(2000)
    session, refused = edge.node.link.session, edge.node.link.counters["refused_frames"]

    class Scarce:
        """A frame whose bytes cannot be had."""

        def __len__(self):
            return 100

        def __getitem__(self, at):
            raise MemoryError

    edge.node.link.receive(Scarce())
    assert edge.node.link.session is session and edge.node.memory_errors == 1
    assert edge.node.link.counters["refused_frames"] == refused + 1
