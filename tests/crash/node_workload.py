"""A whole node and the hub that it reports to: three topics, four logs, every way to produce, evictions, a clock mark, a clean close.

Rule: the hub is another machine: what its store committed outlives the node's cut, and the hub itself starts again. Promises are kept for
each (topic, partition); the ledger must add up at every moment anybody may look. Must not know: where or why the power goes.
"""

import binascii

from log_workload import PRODUCER
from promises import Promises, Violation
from reading import view
from streamline_core.errors import QueueFull, StorageFull
from workload import BATCH_BYTES, SEGMENT_BYTES, SETTLE_ROUNDS_MAX, Workload
from world import Edge, MemoryStore, World

STREAMS = (("t", 0), ("wide", 0), ("wide", 1), ("own", 0))
LOCAL = "own"
CONFIG = {
    "sync_topics": [{"topic": "t"}, {"topic": "wide", "partitions": 2}],
    "local_topics": ["own"],
    "frame_bytes_max": 1024,
    "log": {"segment_bytes": SEGMENT_BYTES, "batch_bytes": BATCH_BYTES},
    "resources": {"max_storage": 4600},
}


class PoweredEdge(Edge):
    """An Edge on a storage that may end in the middle of anything: the workload knows its node before it is open."""

    def __init__(self, workload, world):
        self.workload = workload
        super().__init__(world, "e1", dict(workload.config, node_id="e1", data_dir="-"), workload.storage)

    def start(self):
        self.clock = self.workload.clock
        if self.workload.lives == 1:
            self.clock.wall = None  # nobody has told this node the time, until the hub does
        self.workload.edge = self
        super().start()

    def settle(self):
        self.workload.note_progress()
        self.node.tick()
        for ticket, error in self.storage.completed():
            assert error is None, error
            self.node.synced(ticket)
        self.workload.note_progress()


class NodeWorkload(Workload):
    name = "node"
    config = CONFIG

    def __init__(self, seed):
        super().__init__(seed)
        self.promises = {}
        for topic, partition in STREAMS:
            self.promises[topic, partition] = Promises("%s%d" % (topic, partition))
        self.store = MemoryStore()
        self.storage_id = b""
        self.epochs = {}

    def copy_to(self, twin):
        for stream in STREAMS:
            twin.promises[stream] = self.promises[stream].copy()
        twin.store.topics, twin.store.nodes = dict(self.store.topics), dict(self.store.nodes)
        twin.store.states = {key: self.store.states[key].copy() for key in self.store.states}
        twin.store.values = {key: dict(self.store.values[key]) for key in self.store.values}
        twin.store.gaps = list(self.store.gaps)
        twin.storage_id, twin.epochs = self.storage_id, dict(self.epochs)

    def forget(self):
        self.edge = self.world = None

    def open(self):
        self.world = World(self.seed * 1009 + self.lives)
        self.store.lose_uncommitted()
        self.world.store = self.store
        self.world.start_hub()
        self.world.edges["e1"] = PoweredEdge(self, self.world)
        self.check_ledger()

    @property
    def node(self):
        return self.edge.node

    def logs(self):
        """{(topic, partition): its logs} of what is open so far."""
        found = {stream: [] for stream in STREAMS}
        if self.edge is not None:
            for log in self.edge.node.logs():
                found[log.stream.topic, log.stream.partition].append(log)
        return found

    def note_progress(self):
        logs = self.logs()
        for stream in STREAMS:
            for log in logs[stream]:
                promises = self.promises[stream]
                promises.durable(log.stream.epoch, log.durable)
                promises.evicting(log.stream.epoch, 0, log.first)
                state = self.store.states.get(log.stream.key())
                if state is not None:
                    promises.confirm(log.stream.epoch, state.next)

    # Producing

    def place(self, topic, partition):
        log = self.node.log(topic, partition)
        return log.stream.epoch, log.next

    def put(self, topic, size, key=None, headers=(), timestamp_ms=None, producer=0):
        """As an application does that names no partition."""
        partition = binascii.crc32(key) % 2 if topic == "wide" and key is not None else 0
        promises = self.promises[topic, partition]
        sequence = promises.sequences(producer)[1] + 1 if producer else 0
        entry = promises.offer(self.place(topic, partition), size, key, headers, timestamp_ms, producer, sequence)
        self.produce(topic, partition, entry)

    def produce(self, topic, partition, entry):
        promises = self.promises[topic, partition]
        value, key, headers, timestamp_ms = entry.content
        try:
            named = partition if entry.producer else -1
            log, offset = self.node.produce(topic, value, key, headers, timestamp_ms, entry.producer, entry.sequence, named)
        except (QueueFull, StorageFull):
            promises.refuse(entry)
            return
        if log.stream.partition != partition:
            raise Violation("node: a record with key %r went to partition %d" % (key, log.stream.partition))
        promises.accepted(entry, offset)

    def put_many(self, topic, partition, count, size, producer=0):
        promises = self.promises[topic, partition]
        epoch, at = self.place(topic, partition)
        sequence = promises.sequences(producer)[1] + 1 if producer else 0
        entries = []
        for i in range(count):
            entries.append(promises.offer((epoch, at + i), size, None, (), None, producer, sequence + i if producer else 0))
        try:
            log, first, next_ = self.node.produce_many(topic, [entry.value for entry in entries], partition, producer, sequence)
        except QueueFull:  # what was given back is noted first
            for entry in entries:
                promises.refuse(entry)
            return
        if next_ - first != count:
            raise Violation("node: %d records were handed over, %d were taken" % (count, next_ - first))
        for i in range(count):
            promises.accepted(entries[i], first + i)

    def repeat(self):
        for topic, partition in STREAMS:
            promises = self.promises[topic, partition]
            for producer in promises.producers():
                acked = promises.sequences(producer)[0]
                for entry in list(promises.entries):
                    if entry.producer == producer and entry.sequence >= acked:
                        self.repeat_one(topic, partition, entry)

    def repeat_one(self, topic, partition, entry):
        promises = self.promises[topic, partition]
        place = self.place(topic, partition)
        value, key, headers, timestamp_ms = entry.content
        try:
            log, offset = self.node.produce(topic, value, key, headers, timestamp_ms, entry.producer, entry.sequence, partition)
        except QueueFull:
            return  # it may repeat it another time
        if offset == place[1]:
            promises.offer_again(entry, place)
        else:
            promises.answered(entry, offset)

    def some(self, what):
        if what == 0:
            self.put("t", 30)
            self.put("own", 0)
            self.put("wide", 40, b"a")
        elif what == 1:
            self.put("t", 60, None, (("h", b"1"),), 1700000000123, PRODUCER)
            self.put("t", 20, producer=PRODUCER)
            self.put("wide", 30, b"d")
        elif what == 2:
            self.put_many("t", 0, 8, 70)
            self.put("own", 50, b"k")
        elif what == 3:
            self.put_many("wide", 1, 6, 80, PRODUCER)
            self.put_many("own", 0, 6, 90)
        else:
            self.put("wide", 90, b"e")
            self.put_many("t", 0, 5, 90, PRODUCER)

    # Lives

    def step(self, ms=5):
        self.world.step(ms)

    def settle(self):
        for _ in range(SETTLE_ROUNDS_MAX):
            self.clock.advance(1)
            self.edge.settle()
            if self.idle():
                return
        raise Violation("node: it does not settle")

    def idle(self):
        return self.node.idle and all([log.durable == log.next or log.sealed for log in self.node.logs()])

    def drained(self):
        for row in self.node.ledger():
            if row["failure"] is not None or row["buffered"] or not row["local"] and (row["pending"] or row["unconfirmed"]):
                return False
        return True

    def live(self, medium):
        self.power_on(medium)
        self.some(0)
        self.some(1)
        self.step()
        self.step()
        self.edge.connect()
        for i in range(12):
            if i % 3 == 0:
                self.some(i % 5)
            self.step()
        self.edge.disconnect()
        for i in range(4):
            self.some(2 + i % 3)
            self.put_many("t", 0, 10, 60 + i)
            self.step()
        self.node.close()
        self.settle()
        self.edge.start()
        self.settle()
        self.some(1)
        self.edge.connect()
        for _ in range(3):
            self.step()
        self.some(3)
        self.step()

    def recover(self, medium):
        self.power_on(medium)
        logs = self.logs()
        for stream in STREAMS:
            self.promises[stream].shown([view(log) for log in logs[stream]])
        self.settle()
        self.check_ledger()

    def go_on(self):
        self.repeat()
        self.some(0)
        self.some(4)
        self.edge.connect()
        self.world.run_until(self.drained, 60000)
        self.edge.disconnect()
        self.settle()
        self.check_hub(True)

    def cut(self):
        self.note_progress()
        self.check_hub(False)
        for stream in STREAMS:
            self.promises[stream].cut()

    # Checking

    def check(self):
        self.note_progress()
        logs = self.logs()
        for stream in STREAMS:
            promises = self.promises[stream]
            promises.check([view(log) for log in logs[stream]])
            for producer in promises.producers():
                promises.check_producer(producer, self.node.producer_last(stream[0], stream[1], producer))
            self.check_epochs(stream, [log.stream.epoch for log in logs[stream]], logs[stream][0].next)
        self.storage_id = self.storage_id or self.node.state.storage_id
        if self.node.state.storage_id != self.storage_id:
            raise Violation("node: another storage id")
        self.check_ledger()

    def check_epochs(self, stream, epochs, next_):
        """No new epoch without a fork, in memory or on the disk. Where there is no record yet a cut may leave no trace of the first one."""
        folders = self.storage.list("%s-%d" % stream)
        if next_:
            self.epochs.setdefault(stream, epochs)
        if len(epochs) != 1 or self.epochs.get(stream, epochs) != epochs or len(folders) != 1 and (folders or next_):
            raise Violation("node: %s has epochs %s, it had %s; folders %s" % (stream, epochs, self.epochs.get(stream), folders))

    def check_hub(self, drained):
        for key in self.store.states:
            stream = key[1], key[2]
            gaps = [row[1:] for row in self.store.gaps if row[0] == key]
            self.promises[stream].check_other_side(key[3], self.store.values.get(key, {}), gaps, drained)
            if key[1] == LOCAL or self.store.quarantine:
                raise Violation("node: %s went to the hub" % (key,))

    def check_ledger(self):
        for row in self.node.ledger():
            parts = [row["delivered"], row["pending"]] + list(row["lost"].values()) + list(row["unconfirmed"].values())
            if min(parts) < 0 or not row["local"] and row["produced"] != sum(parts):
                raise Violation("node: the ledger does not add up: %s" % row)
            if row["buffered"] < 0 or row["failure"] is not None:
                raise Violation("node: %s" % row)
