"""The hub's store in memory: transactions that take their time, fail, and are lost with a crash; backups.

Rule: it believes nothing: an op that does not begin at its stream's watermark, a content that came before, a batch that does not parse by
docs/FORMAT.md is a violation on the spot. It reads batches by itself, not by the core's reader. Must not know: sessions.
"""

from bytes_on_disk import Extension, parse_batches
from feed_rows import FeedRows
from streamline_core.store_ops import BatchQuarantined, ChunkReceived, GapReceived, NodeSeen, StreamChanged, TopicDefined


class SimStore(FeedRows):
    """fleet: gives time and takes violations. rows: {stream key: {offset: content key}}."""

    def __init__(self, fleet, latency_ms):
        super().__init__()
        self._fleet = fleet
        self.latency_ms = latency_ms
        self.refusing = None  # the error that commits end with for now
        self.topics = {}
        self.nodes = {}
        self.states = {}
        self.rows = {}
        self.controls = {}  # {stream key: offsets of control batches}
        self.gaps = {}  # {stream key: [(first, next, cause)]}
        self.where = {}  # {content key: [(stream key, offset)]}
        self.brought = {}  # {(topic, partition, dot): content key} of versions that a node has brought back, in a stream of the hub's own
        self.ever_next = {}  # {stream key: the highest watermark that was ever committed}
        self.ever = {}  # contents that were ever committed
        self.ever_lost = {}  # {stream key: [(first, next)]} of all gaps that ever were
        self.commits = 0
        self._under_way = []
        self._ticket = 0

    # The port

    def load_topic(self, topic):
        return self.topics.get(topic)

    def load_stream(self, stream):
        state = self.states.get(stream.key())
        return state.copy() if state is not None else None

    def load_epochs(self, origin, topic, partition):
        return sorted([key[3] for key in self.states if key[:3] == (origin, topic, partition)])

    def load_node(self, node):
        return self.nodes.get(node)

    def commit(self, ops):
        self._ticket += 1
        self._under_way.append((self._ticket, list(ops)))
        self._fleet.at(self._fleet.now_ms + self.latency_ms, self._complete, self._ticket)
        return self._ticket

    def _complete(self, ticket):
        for row in self._under_way:
            if row[0] == ticket:
                self._under_way.remove(row)
                if self.refusing is None:
                    self._apply_all(row[1])
                self._fleet.cloud.committed(ticket, self.refusing)
                return

    # What may happen to it

    def crash(self, random):
        """The process is gone: what was being committed is, too, or is not."""
        for _, ops in self._under_way:
            if random.below(2) == 0 or self.refusing is not None:
                break
            self._apply_all(ops)
        self._under_way = []

    def backup(self):
        return (
            dict(self.topics),
            dict(self.nodes),
            {key: self.states[key].copy() for key in self.states},
            {key: dict(self.rows[key]) for key in self.rows},
            {key: list(self.controls[key]) for key in self.controls},
            {key: list(self.gaps[key]) for key in self.gaps},
            {key: list(self.where[key]) for key in self.where},
            dict(self.brought),
            self.copy(),
        )

    def restore(self, backup):
        self._under_way = []
        self.topics, self.nodes, self.states, self.rows, self.controls, self.gaps, self.where, self.brought, feeds = backup
        self.term, self.heads, self.chunks, self.versions = feeds.term, feeds.heads, feeds.chunks, feeds.versions
        self.cursors, self.refused = feeds.cursors, feeds.refused

    # Applying

    def _apply_all(self, ops):
        self.commits += 1
        for op in ops:
            self._apply(op)

    def _apply(self, op):
        if isinstance(op, NodeSeen):
            self.nodes[op.node] = op.storage_id
            return
        if isinstance(op, TopicDefined):
            self.topics[op.topic] = op.definition
            return
        if self.apply(op):
            return
        key = op.stream.key()
        had = self.states[key].next if key in self.states else 0
        if isinstance(op, ChunkReceived):
            self._check_at(op, key, had)
            self._chunk(key, op)
        elif isinstance(op, GapReceived):
            self._check_at(op, key, had)
            self.gaps.setdefault(key, []).append((op.first, op.next, op.cause))
            self.ever_lost.setdefault(key, []).append((op.first, op.next))
            self._fleet.note("hub: %s lost [%d, %d) by %s" % (_short(key), op.first, op.next, op.cause))
        elif isinstance(op, StreamChanged):
            self._check(op.state.next == had, "%r moved from %d to %d by nothing" % (key, had, op.state.next))
        else:
            assert isinstance(op, BatchQuarantined), op
            self._fleet.violation("the hub quarantined a batch of %r: %s" % (key, op.why))
        self.states[key] = op.state
        self.ever_next[key] = max(self.ever_next.get(key, 0), op.state.next)

    def _chunk(self, key, op):
        rows = self.rows.setdefault(key, {})
        at, count = op.first, 0
        self._check(op.codec_id == 0 and len(op.data) == op.raw_bytes, "a chunk of other than the promised bytes")
        for batch in parse_batches(op.data):
            self._check(batch.base <= at < batch.next, "a chunk of %r goes from %d to %d" % (key, at, batch.base))
            carried = self._carried(key, batch)
            for offset, content in batch.contents():
                if offset >= op.first:
                    rows[offset] = content
                    self.ever[content] = True
                    if offset in carried:
                        self.brought[key[1], key[2], carried[offset]] = content
                    else:
                        self.where.setdefault(content, []).append((key, offset))
                        self._fleet.model.arrived(key, offset, content)
                    count += 1
            if batch.control:
                self.controls.setdefault(key, []).append(batch.base)
            at = batch.next
        self._check(at == op.next and count == op.count, "a chunk of %r ends at %d with %d records, not as it says" % (key, at, count))
        self._fleet.note("hub: %s stored [%d, %d)" % (_short(key), op.first, op.next))

    def _carried(self, key, batch):
        """{offset: dot} of versions in a stream of the hub's own that others wrote."""
        if key[0] != self._fleet.cloud.name:
            return {}
        dots = {record.offset: Extension(record.extension).dot for record in batch.versions() if record.extension}
        return {offset: dots[offset] for offset in dots if dots[offset] is not None}

    def content_at(self, dot, topic, partition, under_way):
        """The content of a record that is committed, or in one of these ops on their way here; None where there is none."""
        key = (dot[0], topic, partition, dot[1])
        for op in under_way:
            if isinstance(op, ChunkReceived) and op.stream.topic == topic and op.stream.partition == partition:
                for batch in parse_batches(op.data):
                    carried = self._carried(op.stream.key(), batch)
                    for offset, content in batch.contents():
                        if carried.get(offset, op.stream.key()[:1] + (op.stream.epoch, offset)) == dot:
                            return content
        return self.rows.get(key, {}).get(dot[2]) or self.brought.get((topic, partition, dot))

    def _check_at(self, op, key, had):
        good = op.first == had and op.next == op.state.next
        self._check(good, "offsets [%d, %d) at watermark %d of %r" % (op.first, op.next, had, key))

    def _check(self, good, what):
        if not good:
            self._fleet.violation("store: " + what)


def _short(key):
    return "%s/%s-%d/%08x" % key
