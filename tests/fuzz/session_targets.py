"""Sessions: a hub, a node and a receiver, told anything at all under the right session id.

Rule: a hub and a node never raise, whatever frame comes; every frame that they send is one; and a good session afterwards works. A
receiver raises ProtocolError, and what it hands to the store is whole. Must not know: carriers, disks.
"""

import hashlib
from typing import Any

from fuzz import packing
from fuzz.batch_targets import CODECS
from fuzz.fields import Fields, Script
from fuzz.frame_making import DEFINITION, NODE, TOPIC, fields_of, frame_from, write_data, write_frame
from fuzz.target import REFUSED, Target, attempt
from harness import FakeClock, FakeEntropy
from streamline_cloud.chunk_records import StoredChunk, chunk_records
from streamline_core import frames
from streamline_core.credit import CreditPool
from streamline_core.errors import ProtocolError, QueueFull, StorageFull
from streamline_core.frames import BYE, ERROR, GAP, HAVE, HELLO, WANT, WELCOME
from streamline_core.handshake import session_id
from streamline_core.hub import Hub
from streamline_core.hub_config import HubConfig
from streamline_core.receiver import StreamReceiver
from streamline_core.store_ops import BatchQuarantined, ChunkReceived, StreamState
from streamline_core.stream import StreamId
from world import WALL_MS, Edge, MemoryStore, World

STEPS_MAX = 64
FRAMES_OUT_MAX = 4096  # of one turn
GOOD_NODE, GOOD_TOPIC, GOOD_VALUE = "e2", "a-good-topic", b"a good value"
ANSWER_MS_MAX = 40000  # of virtual time, for a good session: a HELLO not answered and one wait of backoff at most


def hello(node: str, nonce: bytes) -> bytes:
    greeting = (1, node, 0, nonce, b"storage1", ["none"], 65536, 65536, [], "fuzz")
    return frames.encode(HELLO, frames.NO_SESSION, greeting)


class HostStore(MemoryStore):
    """As MemoryStore, which checks all that it is given, for a hub that takes what a host can decompress."""

    def _apply(self, op: Any) -> None:
        if isinstance(op, ChunkReceived) and op.codec_id:
            raw = CODECS.by_id(op.codec_id).decompress(op.data, op.raw_bytes)
            op = ChunkReceived(op.stream, op.state, op.first, op.next, op.count, 0, op.raw_bytes, bytes(raw))
        super()._apply(op)


class HubBench:
    """A hub over a store in memory, and what it says to each node."""

    def __init__(self) -> None:
        self.clock = FakeClock(1000, WALL_MS)
        self.store = HostStore()
        self.hub = Hub(HubConfig(), self.clock, FakeEntropy(3), self.store, CODECS)
        self.hub.open()
        self.heard: dict[str, list[frames.Frame]] = {}

    def greet(self, node: str, nonce: bytes) -> bytes:
        """HELLO, WELCOME; returns the session's id."""
        self.hub.receive(node, hello(node, nonce))
        self.take()
        welcome = [frame for frame in self.heard.get(node, []) if frame.type == WELCOME and frame.fields[10] == nonce]
        assert welcome, "a good HELLO was not answered"
        own = hashlib.sha256(b"streamline session" + nonce + welcome[-1].fields[3]).digest()[:8]
        assert welcome[-1].session == own
        return own

    def take(self) -> None:
        """Every frame that the hub wants to send; each must be one."""
        for _ in range(FRAMES_OUT_MAX):
            item = self.hub.next_frame()
            if item is None:
                return
            self.heard.setdefault(item[0], []).append(frames.decode(bytes(item[1])))
        raise AssertionError("the hub sends without end")

    def turn(self, error: Exception | None = None) -> None:
        """Its tick, a commit, and what it says then."""
        self.store.fail = error
        self.hub.tick()
        for ticket, failed in self.store.completed():
            self.hub.committed(ticket, failed)
        self.store.fail = None
        self.take()


def run_hub(data: bytes) -> None:
    """A node that has greeted says anything; its disk may fail; then another node is served."""
    fields, bench = Fields(data), HubBench()
    session = bench.greet(NODE, b"12345678")
    for step in range(STEPS_MAX):
        if not fields.left:
            break
        what = fields.below(10)
        if what == 0:
            bench.turn()
        elif what == 1:
            bench.clock.advance(fields.unsigned(24))
            bench.turn(OSError("disk") if fields.below(2) else None)
        elif what == 2:
            session = bench.greet(NODE, b"nonce %02d" % step)
        else:
            bench.hub.receive(NODE, frame_from(fields, session))
    bench.clock.advance(2000)
    bench.turn()
    bench.hub.status()
    check_good_session(bench)


def check_good_session(bench: HubBench) -> None:
    session = bench.greet(GOOD_NODE, b"87654321")
    row = (0, 0, 2, 0, GOOD_TOPIC, 0, GOOD_NODE, 5, DEFINITION, [(7, 0)], [])
    bench.hub.receive(GOOD_NODE, frames.encode(HAVE, session, fields_of(HAVE, (1, [row]))))
    payload = packing.dense([GOOD_VALUE, b"and another"])
    head = bytearray(frames.DATA_HEADER_BYTES)
    frames.pack_data_header(head, session, 0, 0, len(payload), 0)
    bench.hub.receive(GOOD_NODE, bytes(head) + payload)
    bench.turn()
    bench.turn()
    wants = [frame.fields[2] for frame in bench.heard[GOOD_NODE] if frame.type == WANT]
    assert wants and wants[-1][-1][:2] == [0, 2], "a good session is not confirmed after it"
    assert bench.store.values[(GOOD_NODE, GOOD_TOPIC, 0, 5)][0] == GOOD_VALUE


def hub_seeds() -> list[bytes]:
    row = (0, 0, 9, 0, TOPIC, 0, NODE, 5, DEFINITION, [(7, 0)], [])
    have = write_frame(Script().byte(3), HAVE, (1, [row, (1, 0, 9, 0, TOPIC, 0, NODE, 6, DEFINITION, [], None)]))
    data = write_data(Script().byte(3), 0, 0, [b"one", b"two"], [b"three"])
    gap = write_frame(Script().byte(3), GAP, (0, 3, 5, "evicted", 7))
    want = write_frame(Script().byte(3), WANT, (1, 1, [(0, 1, [("corrupt", 1)], 65536, False, [(7, 0)])]))
    ends = [write_frame(Script().byte(3), ERROR, ("refused", "why", 0, 0)), write_frame(Script().byte(3), BYE, ("bye", 0))]
    greeting = write_frame(Script().byte(3), HELLO, (1, NODE, 0, b"12345678", b"storage1", ["none"], 512, 0, [], "x"))
    talk = bytes(have) + bytes(data) + b"\0" + bytes(gap)
    return [talk, *(bytes(have) + bytes(end) for end in (*ends, want)), bytes(greeting) + b"\1\5\0" + talk]


class LinkBench:
    """A node with records to send, and a hub that is not to be trusted. given: of the node's configuration."""

    def __init__(self, has_clock: bool, **given: Any) -> None:
        self.world = World(5)
        self.edge: Edge = self.world.edge(NODE, **given)
        self.node = self.edge.node
        if not has_clock:
            self.edge.clock.wall = None
        self.session = frames.NO_SESSION
        self.hello: frames.Frame | None = None
        for i in range(6):
            self.node.produce(TOPIC, b"value %d" % i)
        self.turn()
        self.node.link.up()
        self.turn()

    def turn(self) -> None:
        """Its tick, its syncs, and what it wants to say; each of it must be a frame."""
        for _ in range(3):
            self.edge.settle()
        for _ in range(FRAMES_OUT_MAX):
            frame = self.node.link.next_frame()
            if frame is None:
                return
            found = frames.decode(bytes(frame))
            if found.type == HELLO:
                self.hello = found
        raise AssertionError("the node sends without end")

    def welcome(self, fields: Fields, *more: str) -> None:
        """Answer the last HELLO; not all of the answer is sensible. more: codecs that the hub names."""
        if self.hello is None:
            return
        nonce, mine = self.hello.fields[3], b"hubnonce"
        frame_bytes, raw_bytes = (fields.unsigned(17), fields.unsigned()) if fields.below(4) == 3 else (4096, 65536)
        wall_ms = fields.unsigned() if fields.below(2) else None
        self.session = session_id(nonce, mine)
        codecs = ["none"] * fields.below(3) + list(more)
        greeting = (1, "cloud", 1, mine, b"boot" * 2, codecs, frame_bytes, raw_bytes, [], "fuzz", nonce, wall_ms)
        self.node.link.receive(frames.encode(WELCOME, self.session, greeting))


def run_link(data: bytes) -> None:
    """A hub that has welcomed a node says anything; then the node comes to a good hub, which gets what is produced then."""
    fields = Fields(data)
    bench = LinkBench(fields.below(4) != 3)
    bench.welcome(fields)
    for _ in range(STEPS_MAX):
        if not fields.left:
            break
        what = fields.below(12)
        if what == 0:
            bench.turn()
        elif what == 1:
            bench.edge.clock.advance(fields.unsigned(20))
            bench.turn()
        elif what == 2:
            bench.turn()
            bench.welcome(fields)
        elif what == 3:
            bench.node.link.hub_status(fields.below(2) == 1, fields.text())
        elif what == 4:
            attempt((QueueFull, StorageFull), bench.node.produce, TOPIC, fields.blob()[:400])
        else:
            bench.node.link.receive(frame_from(fields, bench.session))
    bench.turn()
    bench.node.status()
    bench.node.ledger()
    check_good_hub(bench)


def check_good_hub(bench: LinkBench) -> None:
    bench.edge.disconnect()
    bench.node.produce(TOPIC, GOOD_VALUE)
    bench.edge.connect()
    rows = bench.world.store.values
    bench.world.run_until(lambda: any(GOOD_VALUE in row.values() for row in rows.values()), ANSWER_MS_MAX, 20)


def link_seeds() -> list[bytes]:
    begin = Script().byte(0, 0, 0, 0)
    want = write_frame(Script().byte(5), WANT, (1, 1, [(0, 0, [], 65536, False, [])]))
    more = write_frame(Script().byte(5), WANT, (2, 1, [(0, 4, [("corrupt", 1)], 65536, True, [(7, 0)])]))
    error = write_frame(Script().byte(5), ERROR, ("refused", "why", 0, 0))
    bye = write_frame(Script().byte(5), BYE, ("bye", 100))
    offer = write_frame(Script().byte(5), HAVE, (1, [(0, 0, 9, 0, TOPIC, 0, "cloud", 5, DEFINITION, [], None)]))
    talk = bytes(begin) + bytes(want) + b"\0" + bytes(more) + b"\0"
    clockless = Script().byte(3, 0, 1).number(WALL_MS).byte(1)
    back = b"\1\xf1\xff\xff\0\0\2\0\0\0"  # much later, and welcomed again
    return [talk, talk + bytes(error), talk + bytes(bye) + back, bytes(begin) + bytes(offer), bytes(clockless) + b"\0"]


def run_receiver(data: bytes) -> None:
    """One stream's receiver with all codecs of a host: what it takes can be read by the cloud, and it counts right."""
    fields = Fields(data)
    pool = CreditPool(1 << (10 + fields.below(12)))
    receiver = StreamReceiver(StreamId(NODE, TOPIC, 0, 1), StreamState(), pool)
    receiver.handle = 0
    waiting: list[Any] = []
    for _ in range(STEPS_MAX):
        if not fields.left:
            break
        before, what = receiver.ahead.next, fields.below(8)
        ops: Any = []
        if what == 0:
            receiver.last_data_ms = fields.unsigned()
        elif what == 1:
            gap = fields.unsigned(), fields.unsigned(), fields.pick(("torn", "refused", "?")), fields.below(9)
            ops = [attempt(ProtocolError, receiver.on_gap, *gap)]
        elif what == 2:
            ops = [receiver.close()]
        elif what == 3:
            while waiting:
                receiver.committed(waiting.pop(0))
        elif what == 4:
            receiver.window.close()
        else:
            ops = receive_data(fields, receiver)
        waiting += check_ops(before, receiver, [op for op in ops if op not in (None, REFUSED)] if ops is not REFUSED else [])
        assert 0 <= pool.granted <= pool.total and receiver.under_way_bytes >= 0
        row = receiver.want_row()
        if row is not None:
            frames.decode(frames.encode(WANT, frames.NO_SESSION, (1, 1, [row])))


def receive_data(fields: Fields, receiver: StreamReceiver) -> Any:
    first = fields.unsigned() if fields.below(4) == 3 else receiver.ahead.next
    base, raw = first, b""
    for _ in range(1 + fields.below(3)):
        raw += packing.batch_from(fields, base)
        base += 1 + fields.below(3)
    codec, how = CODECS.by_id(fields.below(3)), fields.below(4)
    payload = fields.blob() if how == 3 else bytes(codec.compress(raw))
    raw_bytes = fields.unsigned(20) if how >= 2 else len(raw)
    return attempt(ProtocolError, receiver.on_data, first, codec, raw_bytes, memoryview(payload))


def check_ops(before: int, receiver: StreamReceiver, ops: list[Any]) -> list[Any]:
    """Each op begins where the last one ended, and a chunk holds what it says."""
    at = before
    for op in ops:
        if not hasattr(op, "first") or isinstance(op, BatchQuarantined):
            continue
        assert op.first == at < op.next == op.state.next
        at = op.next
        if isinstance(op, ChunkReceived):
            row = (1, NODE, 0, 1, 0, op.count, op.first, op.next, op.codec_id, op.raw_bytes, op.data)
            assert len(list(chunk_records(StoredChunk(row), CODECS))) == op.count
    assert at == receiver.ahead.next
    return ops


def receiver_seeds() -> list[bytes]:
    seeds = []
    for codec in range(3):
        data = Script().byte(8, 5, 0, 1)
        for values in ([b"one", b"two"], [b"three"]):
            packing.write_batch(data, values).byte(len(values) - 1)
        seeds.append(bytes(data.byte(codec, 0, 3, 0).number(9).byte(1).number(3, 5).byte(0, 7, 2)))
    return seeds


TARGETS = (
    Target("hub", run_hub, hub_seeds, "Hub.receive, Session, StreamReceiver: frames of any content, then a good session", costly=True),
    Target("link", run_link, link_seeds, "Node.receive, Link, Session, StreamSender: frames of any content, then a good hub", costly=True),
    Target("receiver", run_receiver, receiver_seeds, "StreamReceiver with every codec: DATA and GAP out of order and broken"),
)
