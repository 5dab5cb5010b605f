"""A node beside a hub that writes to it, and an application on the node that reads what the cloud sends: what such workloads share.

Rule: the hub is another machine: what its store committed outlives the node's cut, and the hub itself starts again. The application keeps
its place across cuts. Must not know: where or why the power goes.
"""

from feed_promises import FeedPromises
from node_workload import PoweredEdge
from promises import Violation
from streamline_core.topic import TopicDefinition
from workload import BATCH_BYTES, SEGMENT_BYTES, SETTLE_ROUNDS_MAX, Workload
from world import MemoryStore, World

PROMO = {"topic": "promo", "direction": "cloud_to_edge"}
LOG = {"segment_bytes": SEGMENT_BYTES, "batch_bytes": BATCH_BYTES}
DRAIN_MS_MAX = 120000


def copy_of_store(store):
    """What a store has committed."""
    twin = MemoryStore()
    twin.topics, twin.nodes = dict(store.topics), dict(store.nodes)
    twin.states = {key: store.states[key].copy() for key in store.states}
    twin.values = {key: dict(store.values[key]) for key in store.values}
    twin.gaps, twin.quarantine = list(store.gaps), list(store.quarantine)
    rows = store.copy()
    for name in ("term", "heads", "chunks", "versions", "cursors", "refused"):
        setattr(twin, name, getattr(rows, name))
    return twin


class FeedWorkload(Workload):
    """topics: of the node's configuration, beside the log that the cloud writes."""

    topics = ()

    def __init__(self, seed):
        super().__init__(seed)
        self.config = {"sync_topics": list(self.topics) + [PROMO], "frame_bytes_max": 1024, "log": LOG}
        self.feed = FeedPromises()
        self.store = MemoryStore()
        self.numbers = 0

    def copy_to(self, twin):
        twin.feed = self.feed.copy()
        twin.store = copy_of_store(self.store)
        twin.numbers = self.numbers

    def forget(self):
        self.edge = self.world = self.reader = None

    def open(self):
        self.world = World(self.seed * 1009 + self.lives)
        self.store.lose_uncommitted()
        self.world.store = self.store
        self.world.start_hub()
        for topic in self.config["sync_topics"]:
            definition = TopicDefinition(topic.get("kind", "log"), topic["direction"])
            self.world.hub.define(topic["topic"], definition)
        self.world.edges["e1"] = PoweredEdge(self, self.world)
        self.reader = self.node.consumer("promo", 0, self.feed.read_to, feed=True)
        self.read_on()

    @property
    def node(self):
        return self.edge.node

    def note_progress(self):
        """Called whenever something may have become durable; the node may be open in part only."""

    # The cloud, and who reads what it writes

    def value(self, size):
        """A value that no other write has."""
        self.numbers += 1
        return (b"%d|" % self.numbers + b"abcdefgh" * 40)[:size]

    def publish(self, n, size=40):
        for _ in range(n):
            value = self.value(size)
            self.world.hub.produce("promo", value).done = self.told(value)

    def told(self, value):
        def done(error):
            if error is None:
                self.feed.committed(value)

        return done

    def read_on(self):
        """The application takes what there is."""
        while self.reader is not None:
            items = self.reader.take()
            for item in items:
                if not hasattr(item, "value"):
                    raise Violation("feed: a gap is shown: [%d, %d) %s" % (item.first, item.next, item.cause))
                self.feed.shown(item.offset, item.value)
            if not items:
                return

    def from_the_beginning(self):
        """What another application reads, which has just come."""
        reader, found = self.node.consumer("promo", feed=True), []
        while True:
            items = reader.take()
            if not items:
                return found
            for item in items:
                if not hasattr(item, "value"):
                    raise Violation("feed: a gap is shown: [%d, %d) %s" % (item.first, item.next, item.cause))
                found.append((item.offset, item.value))

    # Lives

    def step(self, ms=5):
        self.world.step(ms)
        self.read_on()

    def steps(self, n):
        for _ in range(n):
            self.step()

    def settle(self):
        for _ in range(SETTLE_ROUNDS_MAX):
            self.clock.advance(1)
            self.edge.settle()
            self.read_on()
            if self.idle():
                return
        raise Violation("%s: it does not settle" % self.name)

    def idle(self):
        logs = self.node.logs() + self.node.tables.logs() + [log for each in self.node.downlink.partitions() for log in each.all_logs()]
        forking = any([each.forking for each in self.node.downlink.partitions()])
        return self.node.idle and not forking and all([log.durable == log.next or log.sealed for log in logs])

    def drained(self):
        if not self.world.drained() or self.world.hub.commits.waiting or self.world.hub.table._under_way:
            return False
        for place in self.store.heads:
            if self.store.load_cursor("e1", place[0], place[1]) != self.store.heads[place][0]:
                return False
        return True

    def drain(self):
        self.edge.connect()
        self.steps(20)
        self.world.run_until(self.drained, DRAIN_MS_MAX)
        self.read_on()

    def cut(self):
        self.note_progress()

    def check(self):
        self.note_progress()
        self.read_on()
        self.feed.check(self.from_the_beginning(), False)
        for row in self.node.downlink.status():
            if row["refused"]:
                raise Violation("feed: %s" % row)
        if self.store.quarantine or self.store.refused:
            raise Violation("feed: the hub has refused something")
