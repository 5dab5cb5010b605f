"""The programs beside a node: they write records in every way there is, and remember what they were told.

Rule: a record counts as acknowledged when the log's durable mark has passed it, and then the model has it for good. A program
whose producer has an id repeats what was not acknowledged, also after a crash; the others do not. Must not know: how the log
does it.
"""

from streamline_core.errors import CorruptRecord, QueueFull, StorageFull

CONSUMED = "a"  # the topic that a program on the machine reads, too
ROOM_BYTES = 200  # of a batch, for what is beside a value
PRODUCERS = 2  # with an id, per machine


def shown(item):
    """(offset, content) of a record; (offset, None, next offset, cause) of a gap."""
    if hasattr(item, "cause"):
        return item.first, None, item.next, item.cause
    return item.offset, bytes(item.value).split(b"|")[0].decode()


class _Wait:
    """Records accepted by one log in one term, in the order of their offsets: [(offset, content key)]."""

    def __init__(self, log):
        self.log = log
        self.term = log.term
        self.rows = []


class _Producer:
    """Writes 0, 1, 2, … under one id to one partition; repeats from the first that was not acknowledged."""

    def __init__(self, number, topic):
        self.id = 1000 + number
        self.topic = topic
        self.next = 1
        self.acked = 0


class Application:
    def __init__(self, machine):
        self._machine = machine
        self._fleet = machine.fleet
        self._model = machine.fleet.model
        self._waits = []
        self._cloud_waits = []  # [(log, offset, content)] of those who wait for the cloud's word
        self._producers = {}
        self._consumer = None
        self._confirmed = {}  # folder: how far the cloud has confirmed a log, in this life of the machine
        self.refused = 0
        self.owed = {}  # content keys acknowledged on this machine's disk
        self.taken = {}  # contents that this disk has taken, acknowledged or not; of versions at least
        self._feeds = {}  # (topic, partition): a consumer of what the cloud sends
        self.fed = {}  # (topic, partition): what it was shown, in all lives of the machine: see `shown`
        self._fed_to = {}  # (topic, partition): where it goes on after a restart

    def write(self, kind, topic, count, size):
        """Write `count` records; the node may refuse some of them, in the documented ways."""
        machine = self._machine
        partitions = machine.config.topics[topic].partitions
        size = min(size, machine.config.log.batch_bytes - ROOM_BYTES)
        try:
            if kind in ("put", "delete"):
                self._change(topic, b"k%d" % count, kind == "delete", size)
            elif kind == "many":
                self._many(topic, count, size)
            elif kind == "producer":
                self._produce(topic, count, size)
            else:
                for i in range(count):
                    self._one(kind, topic, size, i % partitions if kind == "full" and i % 3 == 0 else -1)
        except (QueueFull, StorageFull):
            self.refused += 1
            self._fleet.note("%s: a write is refused" % machine.label)
        if self._fleet.random.below(8) == 0:
            machine.node.link.sync_now()

    def _one(self, kind, topic, size, partition):
        content, value = self._model.fresh(self._machine, topic, size)
        node = self._machine.node
        self._model.tried(content)
        try:
            self._accepted(*self._produced_one(node, kind, topic, content, value, partition))
        except (QueueFull, StorageFull):
            self._model.refused(content)
            raise

    def _produced_one(self, node, kind, topic, content, value, partition):
        if kind == "full":
            key = content.encode() if self._fleet.random.below(4) else None
            log, offset = node.produce(topic, value, key, (("h", b"x"),), 1700000000000, partition=partition)
        else:
            log, offset = node.produce(topic, value)
        return log, offset, content

    def _change(self, topic, key, deleted, size):
        """Write or delete a key, on top of what is shown of it."""
        machine, keyed = self._machine, self._model.keyed
        try:
            shown = keyed.shown_by(machine, topic, key)
        except OSError:
            return  # who cannot read does not write
        except CorruptRecord:
            self._has_rotted()
            return
        own = [content for content in self.taken if content in keyed.writes and keyed.writes[content].key == key]
        content, value = keyed.fresh(machine, topic, key, deleted, size, shown, own)
        self._model.tried(content)
        try:
            log, offset = machine.node.produce(topic, value, key, (("w", content.encode()),) if deleted else ())
        except (QueueFull, StorageFull):
            self._model.refused(content)
            raise
        except OSError:
            self._model.refused(content)
            if not machine.disk.unreadable:
                raise
            return
        self.taken[content] = True
        self._accepted(log, offset, content)

    def _has_rotted(self):
        if not self._model.did("rot", self._machine.name):
            self._fleet.violation("%s cannot read what it holds, and nothing has rotted" % self._machine.label)

    def read_all(self):
        """Read every key of every keyed topic, and every feed: what has rotted is found by that."""
        node = self._machine.node
        for row in node.downlink.status():
            if node.topics[row["topic"]].kind != "keyed":
                consumer = node.consumer(row["topic"], row["partition"], feed=True)
                try:
                    while consumer.take():
                        pass
                except OSError:
                    pass
        tables = node.tables
        for topic in sorted(tables.topics):
            for keyed in tables.topics[topic]:
                for key in keyed.table.keys(b"", True):
                    try:
                        keyed.versions(key)
                    except OSError:
                        pass
                    except CorruptRecord:
                        self._has_rotted()

    def _many(self, topic, count, size):
        made = [self._model.fresh(self._machine, topic, size) for _ in range(count)]
        for content, _ in made:
            self._model.tried(content)
        try:
            log, first, next_ = self._machine.node.produce_many(topic, [value for _, value in made])
        except (QueueFull, StorageFull):
            for content, _ in made:
                self._model.refused(content)
            raise
        if next_ - first != count:
            self._fleet.violation("produce_many took %d of %d" % (next_ - first, count))
        for i in range(count):
            self._accepted(log, first + i, made[i][0])

    def _produce(self, topic, count, size):
        """All that was not acknowledged, and `count` new ones."""
        number = self._machine.number * 100 + len(self._producers) if topic not in self._producers else 0
        producer = self._producers.setdefault(topic, _Producer(number, topic))
        node = self._machine.node
        first = producer.acked + 1
        if not self._model.may_forget(self._machine.name) and self._fleet.random.below(3) == 0:
            first = max(1, first - 1 - self._fleet.random.below(4))  # it does not remember all that it was told
        producer.next += count
        for sequence in range(first, producer.next):
            content, value = self._model.repeatable(self._machine, topic, producer.id, sequence, size)
            self._model.tried(content)
            log, offset = node.produce(topic, value, producer=producer.id, sequence=sequence, partition=0)
            if offset >= 0:
                self._accepted(log, offset, content)

    def _accepted(self, log, offset, content):
        for wait in self._waits:
            if wait.log is log and wait.term == log.term:
                if not wait.rows or wait.rows[-1][0] < offset:
                    wait.rows.append((offset, content))
                    return
                if (offset, content) in wait.rows:
                    return  # a repeat of what is still on its way
        wait = _Wait(log)
        wait.rows.append((offset, content))
        self._waits.append(wait)

    def settle(self):
        """Take up what became durable, and what never will."""
        node = self._machine.node
        for wait in list(self._waits):
            log = wait.log
            while wait.rows and wait.rows[0][0] < log.durable:
                offset, content = wait.rows.pop(0)
                self._told(log, offset, content)
            if wait.rows and log.successor is not None:
                self._move(wait)
            elif wait.rows and (log.failure is not None or log.term != wait.term):
                wait.rows = []  # they are told: produce it again
            if not wait.rows:
                self._waits.remove(wait)
        self._settle_cloud()
        self._consume()
        self.take_feeds()
        self._nothing_is_taken_back()
        for topic in sorted(self._producers):
            producer = self._producers[topic]
            last = node.producer_last(topic, 0, producer.id)
            if last >= producer.next:
                self._fleet.violation("producer %d: %d is durable, %d was never sent" % (producer.id, last, last))
            while producer.acked < last:
                producer.acked += 1
                self._acknowledged(self._model.content_of(producer.id, producer.acked))

    def _consume(self):
        """What a consumer is shown is there for good."""
        node = self._machine.node
        if self._consumer is None:
            self._consumer = node.consumer(CONSUMED, 0, node.log(CONSUMED).first)
        try:
            items = self._consumer.take()
        except OSError:
            return
        for item in items:
            if not hasattr(item, "cause"):
                content = bytes(item.value).split(b"|")[0].decode()
                if item.offset >= self._consumer.log.durable:
                    self._fleet.violation("%s is shown at offset %d before it is durable" % (content, item.offset))
                self._model.told(self._consumer.log.stream.key(), item.offset, content)
                self._acknowledged(content)

    def take_feeds(self):
        """What the cloud sends is shown once and for good, and not before the cloud itself has committed it. Returns whether any came."""
        machine, store, some = self._machine, self._fleet.cloud.store, False
        for topic in sorted(self._fleet.plan.shared):
            config = machine.config.topics.get(topic)
            if config is None or config.kind == "keyed":
                continue
            for partition in range(config.partitions):
                place = (topic, partition)
                if place not in self._feeds:
                    self._feeds[place] = machine.node.consumer(topic, partition, self._fed_to.get(place, 0), feed=True)
                try:
                    items = self._feeds[place].take()
                except OSError:
                    continue
                for item in items:
                    row = shown(item)
                    if row[1] is not None and row[1] not in store.ever:
                        self._fleet.violation("%s is fed %s, which the hub has not committed" % (machine.label, row[1]))
                    self.fed.setdefault(place, []).append(row)
                    some = True
                self._fed_to[place] = self._feeds[place].offset
        return some

    def _nothing_is_taken_back(self):
        for log in self._machine.node.logs():
            before = self._confirmed.get(log.folder, 0)
            if log.state.acked < before and not self._model.did("rollback") and not self._model.disk_changed(self._machine.name):
                self._fleet.violation("%s: the cloud had confirmed %d, now %d" % (log.folder, before, log.state.acked))
            self._confirmed[log.folder] = log.state.acked

    def _settle_cloud(self):
        """Who waits for the cloud is answered when the log says so: then the store must have committed the record, or a gap for it."""
        waiting = []
        for log, offset, content in self._cloud_waits:
            moved = log.moved(offset)
            if moved is not None:
                waiting.append((moved[0], moved[1], content))
            elif offset < log.acked:
                self._model.confirmed(log.stream.key(), offset, content)
            else:
                waiting.append((log, offset, content))
        self._cloud_waits = waiting

    def _told(self, log, offset, content):
        self._model.told(log.stream.key(), offset, content)
        if not log.local:
            self._cloud_waits.append((log, offset, content))
        if content[0] != "p":
            self._acknowledged(content)

    def _acknowledged(self, content):
        self._model.acknowledged(content)
        self.owed[content] = True

    def _move(self, wait):
        for offset, content in wait.rows:
            moved = wait.log.moved(offset)
            if moved is not None:
                self._accepted(moved[0], moved[1], content)
        wait.rows = []

    def begin_anew(self, owed):
        """Another disk, which holds what is in `owed`: a program finds its own notes on it no more, and reads from the start."""
        self.owed, self.taken = dict(owed), dict(owed)
        self.fed, self._fed_to = {}, {}

    @property
    def waiting(self):
        return len(self._waits) > 0

    def machine_ended(self):
        """What was not acknowledged by now may be there or not; only those with an id will ask again."""
        self._waits = []
        self._cloud_waits = []
        self._consumer = None
        self._feeds = {}
        self._confirmed = {}

    def unacknowledged(self):
        """Contents that were sent and not acknowledged, of producers with an id."""
        found = []
        for topic in self._producers:
            producer = self._producers[topic]
            for sequence in range(producer.acked + 1, producer.next):
                found.append(self._model.content_of(producer.id, sequence))
        return found
