"""A keyed topic that a node and its hub both write, cut off from each other and not, beside a log that the hub writes: puts, deletions, a
conflict, and so much that is superseded that what stands has to be carried over.

Rule: what the node shows is compared with what a plain reading of its logs gives, with what was promised, and at the end with the hub. Must
not know: how a table is packed, or when a segment goes.
"""

from feed_workload import FeedWorkload
from keyed_promises import MARK_GONE, KeyedPromises, fold, version
from promises import CORRUPT, Violation
from streamline_core import cbor
from streamline_core.batch import HEADER_BYTES, batches, records
from streamline_core.log_reader import LogReader

PLACE = ("state", 0)
STATE = {"topic": "state", "kind": "keyed", "direction": "bidirectional"}
STORED_BYTES_MAX = 24000  # of all logs, some segments each
CURSOR_MS = 5100  # then a feed's cursor is kept
TOMBSTONE_MS = 60000
TOMBSTONES_MS = 660000  # then the hub looks for deletions whose time is over

_buf = bytearray(4096)


def rows_of(log):
    """What lies in a keyed log, as `fold` takes it: versions, and marks of those that stand no longer."""
    reader, found = LogReader(log, log.first), []
    while True:
        piece = reader.read(_buf, len(_buf))
        if piece is None:
            return found
        for header, batch in batches(memoryview(_buf)[: piece.bytes]):
            if header.control:
                note = cbor.decode(bytes(batch[HEADER_BYTES:]))
                if note[0] == MARK_GONE:
                    found += [("gone", key, (origin, epoch, offset)) for key, origin, epoch, offset in note[1]]
                continue
            for record in records(header, batch):
                if record.offset >= piece.first:
                    dot, context = version(record.extension, log.stream.origin, log.stream.epoch, record.offset)
                    found.append(("version", record.key, dot, context))


class KeyedWorkload(FeedWorkload):
    name = "keyed"
    topics = (STATE,)

    def __init__(self, seed):
        super().__init__(seed)
        self.promises = KeyedPromises("e1")
        self.epochs = []
        self.carried = set()  # logs of which a segment went

    def copy_to(self, twin):
        super().copy_to(twin)
        twin.promises = self.promises.copy()
        twin.epochs = list(self.epochs)

    @property
    def keyed(self):
        return self.node.tables.topics["state"][0]

    def note_progress(self):
        if self.edge is None or "state" not in self.edge.node.tables.topics:
            return
        for log in self.edge.node.logs():
            self.promises.durable(log.stream.epoch, log.durable)

    # Writing

    def put(self, key, size=60):
        """The node writes; size 0: it deletes."""
        keyed = self.keyed
        keyed.fold()
        log = keyed.own.current
        siblings = [found.dot for found, _ in keyed.table.siblings(key)]
        value = self.value(size) if size else None
        write = self.promises.offer(("e1", log.stream.epoch, log.next), key, value, siblings)
        taken, offset = self.node.produce("state", value, key) if size else self.node.delete("state", key)
        if taken is not log or offset != write.dot[2]:
            raise Violation("keyed: %s was accepted at %d" % (write.dot, offset))

    def hub_put(self, key, size=60):
        """The hub writes, and nothing that it has heard waits for its store but what it wrote itself."""
        rows = self.store.versions.get(PLACE, {})
        siblings = [dot for dot in rows if rows[dot][1].key == key]
        value = self.value(size) if size else None
        written = self.world.hub.produce("state", value, key)
        write = self.promises.offer(("cloud", written.stream.epoch, written.offset), key, value, siblings)
        written.done = lambda error: None if error is not None else self.promises.committed(write)

    def step(self, ms=5):
        before = list(self.store.versions.get(PLACE, ()))
        super().step(ms)
        self.promises.note_dropped(self.store.versions.get(PLACE, {}), before)

    def forget_deletions(self):
        """The time of deletions is over at the hub, and the node learns of it in its next session."""
        self.world.hub.config.tombstone_ms = TOMBSTONE_MS
        self.step(TOMBSTONES_MS)
        self.step(CURSOR_MS)
        if not any([write.dropped for write in self.promises.writes.values()]):
            raise AssertionError("no deletion is dropped: the workload has become too small")
        self.edge.disconnect()
        self.step()
        self.edge.connect()
        self.steps(12)
        self.world.hub.config.tombstone_ms = 1 << 40

    def live(self, medium):
        self.power_on(medium)
        self.put(b"a")
        self.put(b"b")
        self.hub_put(b"b")
        self.hub_put(b"c")
        self.publish(3)
        self.steps(2)
        self.edge.connect()
        self.steps(8)
        self.put(b"c")
        self.put(b"gone")
        self.hub_put(b"rare", 30)
        self.steps(5)
        self.hub_put(b"gone", 0)
        self.put(b"b", 0)
        self.publish(4, 70)
        self.steps(6)
        self.edge.disconnect()
        for i in range(5):  # one conflict, and much that is superseded
            for key in (b"a", b"busy", b"d", b"busy"):
                self.put(key, 120)
            if i % 2:
                self.hub_put(b"a")
                self.hub_put(b"other", 150)
            self.step()
        self.publish(3)
        self.step(CURSOR_MS)
        self.edge.connect()
        self.steps(8)
        self.forget_deletions()
        self.put(b"d", 0)
        self.put(b"a", 40)
        for i in range(9):
            for key in (b"busy", b"other"):
                self.hub_put(key, 130 + i)
            self.hub_put(b"e%d" % (i % 3), 90)
            self.put(b"busy", 110)
            self.steps(3)
        self.node.close()
        self.settle()
        self.edge.start()
        self.reader = self.node.consumer("promo", 0, self.feed.read_to, feed=True)
        self.read_on()
        self.settle()
        self.put(b"c", 80)
        self.hub_put(b"d")
        self.steps(6)
        self.step(CURSOR_MS)
        if not self.keyed.others.first or not self.keyed.own.current.first:
            raise AssertionError("nothing is carried over: the workload has become too small")

    def recover(self, medium):
        self.power_on(medium)
        self.promises.shown(self.shown(), False)
        self.settle()

    def go_on(self):
        self.put(b"a", 50)
        self.put(b"f")
        self.hub_put(b"busy")
        self.hub_put(b"f")
        self.publish(2)
        self.drain()
        self.check_drained()
        self.put(b"f", 0)
        self.drain()
        self.check_drained()
        self.edge.disconnect()
        self.settle()

    def cut(self):
        super().cut()
        self.promises.cut()

    # Checking

    def shown(self):
        """{key: [(dot, value)]} of what stands here."""
        keyed = self.keyed
        keyed.fold()
        return {key: [(found.dot, found.value) for found in keyed.versions(key)] for key in keyed.table.keys(b"", True)}

    def check(self):
        super().check()
        keyed = self.keyed
        shown = self.shown()
        rows = [row for log in keyed.own.logs() + [keyed.others] for row in rows_of(log)]
        folded = fold(rows)
        table = {key: sorted([dot for dot, _ in shown[key]]) for key in shown}
        if folded != table:
            keys = [key for key in sorted(set(folded) | set(table)) if folded.get(key) != table.get(key)]
            raise Violation("keyed: the table shows %s" % [(key, table.get(key), "its logs say", folded.get(key)) for key in keys])
        self.promises.came_back({row[2] for row in rows if row[0] == "version"})
        holes = [row for log in keyed.own.logs() + [keyed.others] for row in log.state.gaps.rows if row[2] == CORRUPT]
        self.promises.shown(shown, True, len(holes) > 0)
        epochs = [log.stream.epoch for log in keyed.own.logs()]
        self.epochs = self.epochs or epochs if keyed.own.current.next else []
        if len(epochs) != 1 or self.epochs not in ([], epochs):
            raise Violation("keyed: epochs %s, there were %s" % (epochs, self.epochs))
        if keyed.unreadable or self.node.evictor.stored_bytes > STORED_BYTES_MAX:
            raise Violation("keyed: %d unreadable versions, %d bytes" % (keyed.unreadable, self.node.evictor.stored_bytes))

    def check_drained(self):
        self.world.run(600)
        self.read_on()
        self.note_progress()
        self.feed.check(self.from_the_beginning(), True)
        shown = self.shown()
        self.promises.shown(shown)
        hub = {}
        for dot in self.store.versions.get(PLACE, {}):
            hub.setdefault(self.store.versions[PLACE][dot][1].key, []).append(dot)
        node = {key: sorted([dot for dot, _ in shown[key]]) for key in shown}
        self.promises.check_drained(node, {key: sorted(hub[key]) for key in hub})
        if self.keyed.table.root() != self.world.hub.table.root("state", 0):
            raise Violation("keyed: the same is shown here and at the hub, and the digests differ")
