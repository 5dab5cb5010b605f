"""The hub: the other side of a whole fleet, over one store: it takes what nodes write, and sends what flows down.

Rule: batch, watermark and cloud offsets are one transaction, and a WANT follows the commit. A node's session is switched at the first frame
that bears the new id, not at HELLO, so that nobody can end one by repeating an old greeting. Knows nothing of MQTT or SQL.
"""

from . import VERSION, frames
from .backoff import jitter
from .errors import ProtocolError, StreamlineError, UsageError
from .frames import DATA, ERROR, HELLO
from .handshake import HUB, Identity
from .hlc import HybridClock
from .hub_commits import CommitQueue
from .hub_feeds import FeedSource, HubFeeds
from .hub_node import SWAP_MS, SWAPS_MAX, NodeAtHub
from .hub_producer import HubProducer
from .hub_streams import IDLE_MS, HubStreams, StreamRefused
from .hub_table import HubTable
from .recovery import random_u32
from .schedule import ALL
from .session import OPEN, UNKNOWN_SESSION, Session
from .store_ops import ChunkReceived, HubOpened, NodeSeen
from .stream import check_node_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .codec import Codecs
    from .frames import Frame
    from .hub_config import HubConfig
    from .ports import Clock, Entropy, Store
    from .receiver import StreamReceiver
    from .reconcile import Dot
    from .sender import Parting, StreamSender
    from .store_ops import Op

ERROR_INTERVAL_MS = 1000  # at most one ERROR to a node in that time
SHORT_MS = 200  # how often those who have nothing to send are looked for, while others get no credit
RESTART_AWAY_MS = 1000
VERSION_REFUSED = "version"
VERSION_AWAY_MS = 60000
NOTICES_MAX = 100
HANDLE_MAX = 0xFFFF  # as DATA names it


class Hub:
    """config: a HubConfig; the rest are the ports. `codecs` is what this hub can take."""

    def __init__(self, config: "HubConfig", clock: "Clock", entropy: "Entropy", store: "Store", codecs: "Codecs") -> None:
        self.config = config
        self.nodes: "dict[str, NodeAtHub]" = {}
        self.boot = b""
        self.notices: "list[str]" = []  # what a person should hear of; the shell takes them out
        self.counters = {"frames_in": 0, "frames_out": 0, "bytes_in": 0, "bytes_out": 0, "refused_frames": 0}
        self._clock = clock
        self._entropy = entropy
        self._store = store
        self._codecs = codecs
        self.streams = HubStreams(store, config.credit_bytes, config.topics)
        self.table = HubTable(config.node_id, store)
        self.feeds = HubFeeds(config.node_id, store, codecs, self.table)
        self.commits = CommitQueue(store)
        hlc = HybridClock(clock)
        self.producer = HubProducer(config.node_id, clock, hlc, entropy, codecs, self.streams, self.table, self.commits)
        self.define, self.produce = self.producer.define, self.producer.produce
        self._buffer = bytearray(frames.DATA_HEADER_BYTES + config.feed_bytes)
        self._to_send: "list[str]" = []  # nodes that have frames, in turn
        self._swept_ms = 0
        self._me: "Identity | None" = None

    def open(self) -> None:
        boot = bytearray(8)
        self._entropy.fill(boot)
        self.boot = bytes(boot)
        term = random_u32(self._entropy)
        self.producer.open(term)
        self.commits.add([HubOpened(term)])
        self._me = Identity(
            self.config.node_id, HUB, self.boot, frames.FRAME_BYTES_MAX, frames.RAW_BYTES_MAX, "streamline-cloud " + VERSION
        )

    def close(self) -> None:
        """Queue a BYE for every node: they come back in their own time, not all at once."""
        for name in sorted(self.nodes):
            session = self.nodes[name].current
            if session is not None:
                session.bye("the hub stops", jitter(self._entropy, RESTART_AWAY_MS))
                self._wants_to_send(name)

    # Frames

    def _node(self, name: str) -> NodeAtHub:
        node = self.nodes.get(name)
        if node is None:
            check_node_id(name)
            node = self.nodes[name] = NodeAtHub(name)
            node.storage_id = self._store.load_node(name) or b""
        return node

    def _wants_to_send(self, name: str) -> None:
        if name not in self._to_send:
            self._to_send.append(name)

    def receive(self, name: str, data: "bytes | bytearray | memoryview") -> None:
        """A frame from a node (the carrier vouches for the name). Whatever it holds, the hub goes on."""
        self.counters["frames_in"] += 1
        self.counters["bytes_in"] += len(data)
        try:
            node = self._node(name)
        except UsageError:
            self.counters["refused_frames"] += 1
            return
        try:
            self._take(node, frames.decode(data))
        except frames.UnknownVersion as error:
            self._answer_error(node, frames.NO_SESSION, (VERSION_REFUSED, str(error)[:256], VERSION_AWAY_MS, None))
            self.counters["refused_frames"] += 1
        except ProtocolError as error:
            node.refused_frames += 1
            node.why_refused = str(error)
            self.counters["refused_frames"] += 1
        self._wants_to_send(name)

    def _take(self, node: NodeAtHub, frame: "Frame") -> None:
        now_ms = self._clock.monotonic_ms()
        node.last_seen_ms = now_ms
        if frame.type == HELLO:
            if frame.fields[1] != node.node:
                raise ProtocolError("a HELLO of %r under the name of %r" % (frame.fields[1], node.node))
            assert self._me is not None, "the hub is not open"
            candidate = Session(self._me, self, self._codecs, self._entropy, self._buffer)
            candidate.answer(frame, self._clock.wall_ms())
            node.candidate = candidate
        elif self.commits.is_behind:
            raise ProtocolError("the store is behind")
        elif node.current is not None and frame.session == node.current.id:
            node.current.receive(frame, now_ms)
            if node.current is not None:
                self.commits.add(self.feeds.heard(node.current))
        elif node.candidate is not None and frame.session == node.candidate.id:
            self._switch(node, node.candidate, now_ms)
            node.candidate.receive(frame, now_ms)
            node.candidate = None
        elif frame.type != ERROR:
            self._answer_error(node, frame.session, (UNKNOWN_SESSION, "greet again", 0, None))
            raise ProtocolError("a frame of an unknown session")

    def _answer_error(self, node: NodeAtHub, session: bytes, fields: "tuple[object, ...]") -> None:
        """An ERROR outside any session, at most one in ERROR_INTERVAL_MS."""
        now_ms = self._clock.monotonic_ms()
        if node.error_at_ms < 0 or now_ms - node.error_at_ms >= ERROR_INTERVAL_MS:
            node.error_at_ms = now_ms
            node.outbox.append(frames.encode(ERROR, session, fields))

    def _switch(self, node: NodeAtHub, session: Session, now_ms: int) -> None:
        peer = session.peer
        assert peer is not None
        if node.current is not None:
            self._release(node.current)
        if peer.storage_id != node.storage_id:
            if node.storage_id:
                node.swaps_ms = [t for t in node.swaps_ms if now_ms - t < SWAP_MS] + [now_ms]
                if len(node.swaps_ms) == SWAPS_MAX and len(self.notices) < NOTICES_MAX:
                    self.notices.append("two devices use the node id %s: their disks alternate; give one another node_id" % node.node)
            node.storage_id = peer.storage_id
        self.commits.add([NodeSeen(node.node, peer.storage_id, peer.software)])
        node.current = session

    def _release(self, session: Session) -> None:
        for receiver in session.receivers.values():
            receiver.window.close()
            receiver.handle = -1
        self.feeds.ended(session)

    def next_frame(self) -> "tuple[str, bytes | memoryview] | None":
        """The next frame to carry and to whom; None if there is none."""
        now_ms = self._clock.monotonic_ms()
        while self._to_send:
            name = self._to_send[0]
            node = self.nodes[name]
            frame: "bytes | memoryview | None" = node.outbox.pop(0) if node.outbox else None
            for session in (node.candidate, node.current):
                if frame is None and session is not None:
                    frame = session.next_frame(ALL, now_ms)
            if frame is not None:
                self.counters["frames_out"] += 1
                self.counters["bytes_out"] += len(frame)
                if frame[0] == DATA:
                    self._to_send.append(self._to_send.pop(0))  # one node's backlog does not keep the others waiting
                return name, frame
            self._to_send.pop(0)
        return None

    def node_status(self, name: str, online: bool) -> None:
        """A node's retained birth or death was seen."""
        try:
            node = self._node(name)
        except UsageError:
            return
        node.online = online
        if not online and node.current is not None:
            for receiver in node.current.receivers.values():
                receiver.window.close()

    # What sessions report

    def opened(self, session: Session) -> None:
        pass  # the switch has seen to it

    def forked(self, session: Session, sender: "StreamSender", parting: "Parting") -> None:
        self.feeds.parted(session, sender, parting.at)

    def ended(self, session: Session, code: str, text: str, away_ms: int) -> None:
        self._release(session)
        if session.peer is not None:
            node = self.nodes.get(session.peer.node_id)
            if node is not None and node.current is session:
                node.current = None

    def offered(self, session: Session, row: "Any") -> "StreamReceiver | None":
        """A HAVE names a stream that this session has not seen."""
        handle, _, _, _, topic, partition, origin, epoch, definition, _, held, _ = row
        if handle > HANDLE_MAX or (held is not None and not isinstance(held, list)):
            raise ProtocolError("a HAVE of handle %d" % handle)
        peer = session.peer
        if peer is None or origin != peer.node_id:
            session.error("origin", "%s may offer only what it wrote itself, not streams of %r" % (session.me.node_id, origin), 0, handle)
            return None
        try:
            receiver, ops = self.streams.offered(origin, topic, partition, epoch, definition, held)
        except StreamRefused as error:
            session.error(error.code, str(error), error.away_ms, handle)
            return None
        self.commits.add(ops)
        defined = self.streams.definition(topic)
        if defined is not None:
            if defined.kind == "keyed":
                self._give_bases(receiver)
            self.feeds.follow(session, peer.node_id, receiver, defined)
        return receiver

    def _give_bases(self, receiver: "StreamReceiver") -> None:
        """What large values may be differences from."""
        table, topic, partition = self.table, receiver.stream.topic, receiver.stream.partition
        receiver.bases = lambda key, writer, offset: table.value_of(topic, partition, key, writer, offset)

    def arrived(self, session: Session, receiver: "StreamReceiver", ops: "list[Op]") -> None:
        if self.producer.is_keyed(receiver.stream.topic):
            for op in ops:
                self.commits.add([op])
                if isinstance(op, ChunkReceived):
                    self.producer.join(op)
        else:
            self.commits.add(ops)

    def versions(self, session: Session, handle: int, batch: bytes, gone: "list[tuple[bytes, Dot]]") -> None:
        """A node found that we have not some versions. Raises ProtocolError."""
        source = session.outlet.senders[handle].log
        compared = session.reconcilers.by_handle[handle] if session.reconcilers is not None else None
        if compared is not None and isinstance(source, FeedSource):
            self.producer.take_versions(source, compared, source.place in self.feeds.rolled_back, batch)

    # Commits

    def committed(self, ticket: int, error: "Exception | None" = None) -> None:
        """The store committed, or (error) applied nothing of it: it is tried again."""
        ops = self.commits.completed(ticket, error, self._clock.monotonic_ms())
        if ops is None:
            self._forget()
            return
        places = {}
        for op in ops:
            receiver = self.streams.get(op.stream) if getattr(op, "state", None) is not None else None  # type: ignore[attr-defined]
            if receiver is not None:
                receiver.committed(op)
                self._want(receiver)
            if isinstance(op, ChunkReceived):
                places[op.stream.topic, op.stream.partition] = True
                self.table.committed(op)
                self.producer.writer.committed(op)
        for session in self.feeds.committed(sorted(places)):
            if session.peer is not None and self.nodes[session.peer.node_id].online is not False:
                self._wants_to_send(session.peer.node_id)

    def _forget(self) -> None:
        """The store refused an op as contradicting what it holds (somebody else wrote to it): what this hub remembers
        is worth nothing, so every node greets again and the store says where they stand."""
        self.commits.forget()
        self.streams.forget()
        self.table.forget()
        self.feeds.forget()
        self.producer.writer.forget(StreamlineError("the store holds something else than this hub remembers"))
        for node in self.nodes.values():
            if node.current is not None:
                self._release(node.current)
            node.current = node.candidate = None

    def tick(self) -> int:
        """Do what is due. Returns when to come again (monotonic ms), -1 for never."""
        now_ms = self._clock.monotonic_ms()
        waiting = []
        if self._me is not None and self.producer.writer.waiting:
            self.producer.take_written()
        for session in self.feeds.sessions():
            if session.peer is None or self.nodes[session.peer.node_id].online is False:
                continue  # it greets when it comes back
            due_ms = session.tick(now_ms)
            if due_ms >= 0:
                waiting.append(due_ms)
            self._wants_to_send(session.peer.node_id)
        retry_at_ms = self.commits.tick(now_ms)
        if retry_at_ms >= 0:
            waiting.append(retry_at_ms)
        self.producer.drop_tombstones(now_ms, self.config.tombstone_ms)
        pool = self.streams.pool
        if now_ms - self._swept_ms >= (SHORT_MS if pool.short else IDLE_MS):
            self._swept_ms = now_ms
            for receiver in self.streams.sweep(now_ms):
                self._want(receiver)
        if pool.granted:
            waiting.append(self._swept_ms + (SHORT_MS if pool.short else IDLE_MS))
        return min(waiting) if waiting else -1

    def _want(self, receiver: "StreamReceiver") -> None:
        """Its sender is told where it stands."""
        node = self.nodes.get(receiver.stream.origin)
        if node is not None and node.current is not None:
            node.current.want(receiver)
            self._wants_to_send(node.node)

    def status(self) -> "dict[str, Any]":
        """JSON-able: counters, credit, and for each node its session, its storage id and whether two devices seem to share its name."""
        nodes = []
        for name in sorted(self.nodes):
            node = self.nodes[name]
            nodes.append(
                {
                    "node": name,
                    "online": node.online,
                    "session": node.current is not None and node.current.state == OPEN,
                    "storage_id": "".join(["%02x" % b for b in node.storage_id]),
                    "two_devices": len(node.swaps_ms) >= SWAPS_MAX,
                    "refused_frames": node.refused_frames,
                    "why_refused": node.why_refused,
                }
            )
        pool = self.streams.pool
        counters = dict(self.counters, commits=self.commits.commits, commit_errors=self.commits.errors)
        return {"counters": counters, "credit_granted": pool.granted, "credit_total": pool.total, "nodes": nodes}
