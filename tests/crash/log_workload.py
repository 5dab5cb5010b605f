"""One log: every way to append, batches and segments filled, commits, a gap noted, evictions, and a producer that repeats.

Rule: what the other side confirms is said by the workload itself, so evictions happen with and without it. Must not know: segments, or
how a log is recovered.
"""

from promises import Promises, Violation
from reading import view
from streamline_core.gaps import CORRUPT
from streamline_core.hlc import HybridClock
from streamline_core.recovery import open_log
from streamline_core.stream import StreamId
from workload import Workload, limits

PRODUCER = 7


class LogWorkload(Workload):
    name = "log"
    rounds = 10

    def __init__(self, seed):
        super().__init__(seed)
        self.promises = Promises("l")

    def copy_to(self, twin):
        twin.promises = self.promises.copy()

    def forget(self):
        self.log = None

    def open(self):
        stream = StreamId("e1", "t", 0, 0xABCD)
        self.log = open_log(stream, self.storage, limits(), HybridClock(self.clock), self.entropy)

    def logs(self):
        """Oldest epoch first; none while it is being opened."""
        return [self.log] if self.log is not None else []

    def current(self):
        return self.log

    def synced(self, ticket):
        for log in self.logs():
            if log.owns(ticket):
                log.synced(ticket, None)
                return

    def note_progress(self):
        for log in self.logs():
            self.promises.durable(log.stream.epoch, log.durable)

    def tick(self):
        for log in self.logs():
            log.tick(self.clock.monotonic_ms())

    def idle(self):
        return all([log.idle for log in self.logs()])

    # Appending; the promises hear of it first

    def place(self):
        log = self.current()
        return log.stream.epoch, log.next

    def next_sequence(self):
        return self.promises.sequences(PRODUCER)[1] + 1

    def put(self, size, producer=0, key=None, headers=(), timestamp_ms=None):
        sequence = self.next_sequence() if producer else 0
        self.append(self.promises.offer(self.place(), size, key, headers, timestamp_ms, producer, sequence))

    def append(self, entry):
        value, key, headers, timestamp_ms = entry.content
        if key is None and not headers and timestamp_ms is None:
            offset = self.current().append(value, entry.producer, entry.sequence)
        else:
            offset = self.current().append_full(value, key, headers, timestamp_ms, entry.producer, entry.sequence)
        self.promises.accepted(entry, offset)

    def put_many(self, count, size, producer=0):
        epoch, at = self.place()
        sequence = self.next_sequence() if producer else 0
        entries = []
        for i in range(count):
            entries.append(self.promises.offer((epoch, at + i), size, None, (), None, producer, sequence + i if producer else 0))
        first = self.current().append_many([entry.value for entry in entries], producer, sequence)
        for i in range(count):
            self.promises.accepted(entries[i], first + i)

    def some(self, what):
        """One of the ways to append."""
        if what == 0:
            self.put(20 + self.random.below(60))
            self.put(0)
        elif what == 1:
            self.put(40, PRODUCER)
            self.put(30 + self.random.below(90), PRODUCER)
        elif what == 2:
            self.put(50, 0, b"key", (("a", b"1"), ("b", b"")), 1700000000123)
            self.put(10, PRODUCER, b"")
        elif what == 3:
            self.put_many(7, 60 + self.random.below(40))
        else:
            self.put_many(6, 90, PRODUCER)

    def repeat(self):
        """The producer sends again all from its last acknowledged record on, as one that did not hear the rest."""
        for producer in self.promises.producers():
            acked = self.promises.sequences(producer)[0]
            for entry in list(self.promises.entries):
                if entry.producer == producer and entry.sequence >= acked:
                    self.repeat_one(entry)

    def repeat_one(self, entry):
        producers = self.current().producers
        if entry.sequence <= producers.last(entry.producer):
            self.promises.answered(entry, producers.offset_of(entry.producer, entry.sequence))
        else:
            self.promises.offer_again(entry, self.place())
            self.append(entry)

    def evict(self, log):
        if log.can_evict:
            self.promises.evicting(log.stream.epoch, log.segments.bases[0], log.segment_end(0))
            log.evict_oldest()

    def confirm(self, log, offset):
        """The other side has all below `offset`."""
        self.promises.confirm(log.stream.epoch, offset)
        log.state.acked = log.state.reported = offset
        log.state.gaps.forget_below(min(offset, log.first))

    def gap_over_one(self):
        """A record in a batch of its own is found rotten by a reader."""
        self.current().commit()
        self.put(33)
        self.current().commit()
        self.settle()
        epoch, offset = self.place()
        self.promises.give_up(epoch, offset - 1, offset, CORRUPT)
        self.current().note_gap(offset - 1, offset, CORRUPT)

    # Lives

    def live(self, medium):
        self.power_on(medium)
        for i in range(self.rounds):
            self.some(i % 5)
            if i == 2:
                self.gap_over_one()
            if i in (0, 1, 4, 6, 9):
                self.log.commit()
            if i % 2:
                self.deliver()
            if i == 5:
                self.settle()
                self.evict(self.log)
                self.confirm(self.log, self.log.first + 1)
            if i == 7:
                self.settle()
                self.confirm(self.log, self.log.durable)
                self.put_many(9, 100)  # what follows the segment that goes is not durable
                self.evict(self.log)
        self.log.commit()
        self.log.save_state(self.clock.monotonic_ms())
        self.settle()

    def go_on(self):
        self.repeat()
        self.some(1)
        self.some(3)
        self.current().commit()
        self.settle()

    def check(self):
        self.promises.check([view(log) for log in self.logs()])
        for log in self.logs():
            if log.failure is not None or log.durable != (log.ends_at if log.sealed else log.next):
                raise Violation("log: wedged at %d of %d: %s" % (log.durable, log.next, log.failure))
        for producer in self.promises.producers():
            self.promises.check_producer(producer, self.current().state.producers.last(producer))
            self.promises.check_producer(producer, self.current().producers.last(producer))

    def recover(self, medium):
        self.power_on(medium)
        self.promises.shown([view(log) for log in self.logs()])
        self.settle()

    def cut(self):
        self.note_progress()
        self.promises.cut()
