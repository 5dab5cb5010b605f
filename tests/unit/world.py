"""A world of one hub and some nodes in memory, in virtual time: the real core on both sides, a wire that loses, repeats and reorders.

Its store checks by itself that nothing comes twice or out of order. Everything random comes from one seed.
"""

from feed_rows import FeedRows
from harness import FakeClock, FakeEntropy, MemoryStorage, Random
from streamline_core.batch import batches, records
from streamline_core.codec import NONE, Codecs
from streamline_core.config import EdgeConfig
from streamline_core.frames import DATA
from streamline_core.hub import Hub
from streamline_core.hub_config import HubConfig
from streamline_core.node import Node
from streamline_core.store_ops import ChunkReceived, GapReceived, NodeSeen, TopicDefined

WALL_MS = 1700000000000


class MemoryStore(FeedRows):
    """A Store in memory. `values`: {stream key: {offset: value}}. Commits complete when `completed()` is asked."""

    def __init__(self):
        super().__init__()
        self.topics = {}
        self.states = {}
        self.nodes = {}
        self.values = {}
        self.gaps = []
        self.quarantine = []
        self.fail = None
        self._waiting = []
        self._ticket = 0

    def load_topic(self, topic):
        return self.topics.get(topic)

    def load_stream(self, stream):
        state = self.states.get(stream.key())
        return state.copy() if state is not None else None

    def load_epochs(self, origin, topic, partition):
        return [key[3] for key in self.states if key[:3] == (origin, topic, partition)]

    def load_node(self, node):
        return self.nodes.get(node)

    def commit(self, ops):
        self._ticket += 1
        self._waiting.append((self._ticket, list(ops)))
        return self._ticket

    def completed(self):
        done = []
        for ticket, ops in self._waiting:
            if self.fail is not None:
                done.append((ticket, self.fail))
                continue
            for op in ops:
                self._apply(op)
            done.append((ticket, None))
        self._waiting = []
        return done

    def lose_uncommitted(self):
        self._waiting = []

    def _apply(self, op):
        if isinstance(op, NodeSeen):
            self.nodes[op.node] = op.storage_id
        elif isinstance(op, TopicDefined):
            self.topics[op.topic] = op.definition
        elif not self.apply(op):
            key = op.stream.key()
            had = self.states[key].next if key in self.states else 0
            if isinstance(op, ChunkReceived):
                assert op.first == had, (op.first, had)
                assert op.codec_id == 0
                rows = self.values.setdefault(key, {})
                count = 0
                for header, batch in batches(op.data):
                    for record in records(header, batch):
                        if record.offset >= op.first:
                            assert record.offset not in rows and record.offset < op.next
                            rows[record.offset] = record.value
                            count += 1
                assert count == op.count, (count, op.count)
            elif isinstance(op, GapReceived):
                assert op.first == had, (op.first, had)
                self.gaps.append((key, op.first, op.next, op.cause))
            elif hasattr(op, "why"):
                self.quarantine.append(op)
            self.states[key] = op.state


class Wire:
    """One direction. Chances are out of 100."""

    def __init__(self, random):
        self.random = random
        self.cut = False
        self.loss = self.repeat = self.reorder = 0
        self.frames = []
        self.history = []

    def put(self, frame):
        frame = bytes(frame)
        if self.cut or self.random.below(100) < self.loss:
            return
        self.frames.append(frame)
        if self.random.below(100) < self.repeat:
            self.frames.append(frame)
        if len(self.frames) > 1 and self.random.below(100) < self.reorder:
            self.frames[-1], self.frames[-2] = self.frames[-2], self.frames[-1]

    def take(self):
        taken, self.frames = self.frames, []
        return taken


class Edge:
    """A node with its storage and its wires to the hub."""

    def __init__(self, world, name, given, storage=None, meter=None):
        self.world = world
        self.name = name
        self.storage = storage or MemoryStorage()
        self.config = EdgeConfig.from_dict(given)
        self.clock = FakeClock(world.clock.monotonic, WALL_MS)
        self.up = Wire(world.random)
        self.down = Wire(world.random)
        self.linked = False
        self.meter = meter
        self.start()

    def start(self):
        self.node = Node(self.config, self.clock, self.storage, self.world.entropy, Codecs(NONE), None, self.meter)
        self.node.open()
        if self.linked:
            self.node.link.up()

    def connect(self):
        self.linked = True
        self.node.link.up()
        return self

    def disconnect(self):
        self.linked = False
        self.up.frames, self.down.frames = [], []
        self.node.link.down("cut")

    def power_cut(self):
        self.storage.power_cut()
        self.start()

    def settle(self):
        """Let the storage complete everything."""
        self.node.tick()
        for ticket in self.storage.completed():
            self.node.synced(ticket)


def config_of(name, **more):
    given = {"node_id": name, "data_dir": "-", "sync_topics": [{"topic": "t"}], "frame_bytes_max": 4096}
    given["log"] = {"segment_bytes": 4096, "batch_bytes": 1024}
    given.update(more)
    return given


class World:
    def __init__(self, seed=1, topics=None):
        self.random = Random(seed)
        self.entropy = FakeEntropy(seed + 77)
        self.clock = FakeClock(0, WALL_MS)
        self.store = MemoryStore()
        self.edges = {}
        self.topics = topics
        self.max_out = 0
        self.start_hub()

    def start_hub(self):
        self.hub = Hub(HubConfig(topics=self.topics, feed_bytes=8192), self.clock, self.entropy, self.store, Codecs(NONE))
        self.hub.open()

    def crash_hub(self):
        self.store.lose_uncommitted()
        self.start_hub()

    def backup(self):
        """A copy of what the hub's store holds, for `roll_back`."""
        store = self.store
        states = {key: store.states[key].copy() for key in store.states}
        return store.copy(), states, {key: dict(store.values[key]) for key in store.values}

    def roll_back(self, backup):
        """Put a backup back; the hub starts again."""
        store = self.store
        feeds, store.states, store.values = backup
        for name in ("heads", "chunks", "versions", "cursors", "refused"):
            setattr(store, name, getattr(feeds, name))
        self.crash_hub()

    def announce_hub(self):
        """Nodes hear that it has started, as by the broker's retained status."""
        for name in sorted(self.edges):
            self.edges[name].node.link.hub_status(True, "".join(["%02x" % b for b in self.hub.boot]))

    def edge(self, name="e1", storage=None, meter=None, **more):
        self.edges[name] = Edge(self, name, config_of(name, **more), storage, meter)
        return self.edges[name]

    def step(self, ms=5):
        """Advance time, carry what is on the wires, complete what the storages were asked."""
        self.clock.advance(ms)
        for name in sorted(self.edges):
            edge = self.edges[name]
            edge.clock.advance(ms)
            edge.settle()
            edge.settle()
            if edge.linked:
                for _ in range(20):
                    frame = edge.node.link.next_frame()
                    if frame is None:
                        break
                    edge.up.put(frame)
            for frame in edge.up.take():
                self.hub.receive(name, frame)
        self.hub.tick()
        for ticket, error in self.store.completed():
            self.hub.committed(ticket, error)
        while True:
            row = self.hub.next_frame()
            if row is None:
                break
            if row[0] in self.edges and self.edges[row[0]].linked:
                self.edges[row[0]].down.put(row[1])
        for name in sorted(self.edges):
            for frame in self.edges[name].down.take():
                self.edges[name].node.link.receive(frame)

    def run(self, ms, step_ms=5):
        for _ in range(ms // step_ms):
            self.step(step_ms)

    def run_until(self, done, bound_ms=120000, step_ms=5):
        """Step until `done()`; returns the virtual milliseconds that took, AssertionError beyond the bound."""
        for spent in range(0, bound_ms, step_ms):
            if done():
                return spent
            self.step(step_ms)
        raise AssertionError("not done in %d virtual ms" % bound_ms)

    def drained(self):
        return all(
            row["pending"] == 0 and row["buffered"] == 0 and not row["unconfirmed"] and row["failure"] is None
            for edge in self.edges.values()
            for row in edge.node.ledger()
        )

    def values(self, name="e1", topic="t", partition=0):
        """What the hub stored of an origin's (topic, partition): one list of values in offset order for each epoch, joined by epoch."""
        found = []
        for key in sorted(self.store.values):
            if key[:3] == (name, topic, partition):
                rows = self.store.values[key]
                found.append([rows[offset] for offset in sorted(rows)])
        return found


def produce(edge, n, start=0, topic="t"):
    """Produce `n` values, each with its own number; returns them."""
    values = [b"value %d" % i for i in range(start, start + n)]
    for value in values:
        edge.node.produce(topic, value)
    return values


def copy_of(storage):
    """An image of a disk, all of it durable."""
    twin = MemoryStorage()
    for name in storage.files:
        twin.files[name] = bytearray(storage.files[name])
        twin._durable[name] = bytes(storage.files[name])
    return twin


def lose_data(edge):
    """From now on what an edge offers arrives, and none of its data does."""
    put = edge.up.put
    edge.up.put = lambda frame: None if frame[0] == DATA else put(frame)
