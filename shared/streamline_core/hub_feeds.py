"""The feeds of a hub: what it sends down of each (topic, partition), by cloud offset, to every session that takes part in the topic.

Rule: only what the store has committed is sent. Of a log that is every record that the node did not write itself; of a keyed topic what
stands, so that offsets of what was superseded are passed over. Knows nothing of frames or of SQL.
"""

import binascii

from . import reconcile
from .batch import BATCH_BYTES_MAX, HEADER_BYTES, SPAN_MAX, pack_header, parse_header
from .delta import Deltas
from .errors import CorruptRecord, ProtocolError
from .extension import parse_extension, writer_of
from .feed_filter import wanted_by
from .gaps import CORRUPT
from .hub_table import HubTable, StoreReplica
from .lineage import term_at
from .log_reader import Piece
from .record_encoder import put_varint
from .recut import rebased, recut
from .store_ops import FeedConfirmed
from .stream import StreamId

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Sequence

    from .codec import Codecs
    from .delta import Delta
    from .ports import Store
    from .receiver import StreamReceiver
    from .record import Record
    from .sender import StreamSender
    from .session import Session
    from .store_ops import FeedChunk, FeedVersion, Op
    from .topic import TopicDefinition

    Place = tuple[str, int]

VERSIONS_PER_READ = 256
READS_MAX = 16  # for one piece: a node to which nothing of a long stretch goes must not hold up the others


class Head:
    """How far a feed goes: next cloud offset, and which opening of the hub gave out which."""

    def __init__(self, next_: int, lineage: "list[tuple[int, int]]") -> None:
        self.next = next_
        self.lineage = lineage


class _NoGaps:
    rows: "tuple[Any, ...]" = ()

    def forget_below(self, offset: int) -> None:
        pass


class FeedPosition:
    """Where a node is in a feed: what a `StreamSender` keeps with a log."""

    def __init__(self, acked: int, lineage: "list[tuple[int, int]]") -> None:
        self.acked = acked
        self.reported = 0
        self.lost: "dict[str, int]" = {}
        self.lineage = lineage
        self.gaps = _NoGaps()


class FeedSource:
    """A feed for one node, in the shape of a log that a `StreamSender` sends and reads. parted: from which offset on the node was found to
    hold something else, or -1."""

    first = 0
    sealed = forking = False
    settled = True

    def __init__(
        self,
        hub: str,
        node: str,
        place: "Place",
        definition: "TopicDefinition",
        head: Head,
        acked: int,
        store: "Store",
        codecs: "Codecs",
        deltas: "dict[tuple[str, int, str, int, int], Delta]",
    ) -> None:
        self.node = node
        self.place = place
        self.stream = StreamId(hub, place[0], place[1], 0)
        self.definition = definition.to_wire()
        self.state = FeedPosition(acked, head.lineage)
        self.parted = -1
        self.saved = -1  # what was loaded may be on its way to change: two devices under one name
        self.failure: "Exception | None" = None
        self.cursor_due = False
        self.offset = 0
        self.offered: "dict[tuple[str, int], StreamReceiver]" = {}  # streams of the node's own, in this session
        self._definition = definition
        self._head = head
        self._store = store
        self._codecs = codecs
        self._deltas = deltas
        self.deltas = Deltas(None)  # of what was read last
        self._chunk: "FeedChunk | None" = None  # the one that was opened last
        self._batches: "list[bytes] | None" = None  # its batches, with the cloud's offsets
        self._scratch = bytearray(HEADER_BYTES)

    @property
    def durable(self) -> int:
        return self._head.next

    @property
    def written(self) -> int:
        return self._head.next

    @property
    def owed_to(self) -> int:
        return self._head.next

    @property
    def folder(self) -> str:
        return "%s-%d for %s" % (self.place[0], self.place[1], self.node)

    @property
    def acked(self) -> int:
        return self.state.acked

    @property
    def epochs_held(self) -> "list[int] | None":
        """In a HAVE of a feed: where the two part."""
        return [self.parted] if self.parted >= 0 else None

    # As a reader

    def reader(self, offset: int) -> "FeedSource":
        self.offset = offset
        return self

    def seek(self, offset: int) -> None:
        self.offset = offset

    def read(self, buf: "bytearray | memoryview", bytes_max: int, records_max: int = 0) -> "Piece | None":
        """The next piece: whole batches of about `bytes_max` bytes whose offsets are the cloud's; None at the end."""
        if self.offset >= self.durable:
            return None
        if self._definition.kind == "keyed":
            return self._read_versions(buf, bytes_max)
        return self._read_chunk(buf, bytes_max)

    def _read_versions(self, buf: "bytearray | memoryview", bytes_max: int) -> Piece:
        topic, partition = self.place
        room = max(0, min(bytes_max, len(buf), BATCH_BYTES_MAX) - HEADER_BYTES)
        limit = min(self.durable, self.offset + SPAN_MAX)
        at = looked = self.offset  # the end of the last body; below `looked` nothing is for this node but what is in `bodies`
        bodies: "list[bytes]" = []
        size = 0
        self.deltas.rows = {}
        for _ in range(READS_MAX):
            rows = self._store.load_versions(topic, partition, looked, limit, VERSIONS_PER_READ)
            for row in rows:
                if self._is_for_node(row):
                    head = bytearray(row.record[:1])
                    put_varint(head, row.cloud_offset - at)
                    body = bytes(head) + row.record[2:]
                    if bodies and size + len(body) > room:
                        return self._piece(buf, row.cloud_offset, bodies)
                    bodies.append(body)
                    size += len(body)
                    delta = self._deltas.get((topic, partition, row.origin, row.epoch, row.offset))
                    if delta is not None:
                        self.deltas.rows[row.cloud_offset] = delta
                    at = row.cloud_offset + 1
                looked = row.cloud_offset + 1
            if len(rows) < VERSIONS_PER_READ:
                looked = limit
                break
        return self._piece(buf, looked, bodies)

    def _is_for_node(self, row: "FeedVersion") -> bool:
        if self._is_held(row.origin, row.epoch, row.offset) and not row.demoted:
            return False
        return wanted_by(self._definition.feed_filter, self.node, row.key)

    def sends(self, record: "Record") -> bool:
        """Whether the node offers the stream of a carried version itself: then it comes by that. Raises CorruptRecord."""
        writer = parse_extension(record.extension).writer
        return writer is None or writer_of(writer) in self.offered

    def _is_held(self, origin: str, epoch: int, offset: int) -> bool:
        """Whether the node has written that itself, and on this disk."""
        receiver = self.offered.get((origin, epoch))
        return receiver is not None and receiver.is_held(offset)

    def _piece(self, buf: "bytearray | memoryview", next_: int, bodies: "Sequence[bytes]") -> Piece:
        """One batch of these records from `offset` up to `next_`."""
        base, body = self.offset, b"".join(bodies)
        head = bytearray(HEADER_BYTES)
        term = term_at(self._head.lineage, next_ - 1)
        pack_header(head, 0, len(bodies), next_ - base, base, 0, term, 0, 0, 0, len(body), binascii.crc32(body))
        size = HEADER_BYTES + len(body)
        buf[:HEADER_BYTES] = head
        buf[HEADER_BYTES:size] = body
        self.offset = next_
        return Piece(base, next_, size, len(bodies), 1, None)

    def _read_chunk(self, buf: "bytearray | memoryview", bytes_max: int) -> "Piece | None":
        topic, partition = self.place
        chunk = self._chunk
        if chunk is None or not chunk.cloud_offset <= self.offset < chunk.cloud_offset + chunk.count:
            chunk = self._store.load_chunk(topic, partition, self.offset)
            if chunk is None:
                return None
            self._chunk, self._batches = chunk, None
        end = min(chunk.cloud_offset + chunk.count, self.durable)
        if self._is_held(chunk.origin, chunk.epoch, chunk.next - 1):
            return self._piece(buf, end, ())
        if self._batches is None:
            try:
                raw = self._codecs.by_id(chunk.codec_id).decompress(memoryview(chunk.data), chunk.raw_bytes)
                self._batches = list(rebased(raw, chunk.first, chunk.next, chunk.cloud_offset))
            except (CorruptRecord, ProtocolError):
                first, self.offset = self.offset, end
                return Piece(first, end, 0, 0, 0, CORRUPT)
        first, filled, count, n = self.offset, 0, 0, 0
        term = term_at(self._head.lineage, chunk.cloud_offset)
        for batch in self._batches:
            header = parse_header(batch)
            if header is None or header.next <= self.offset:
                continue
            if header.base < self.offset:
                batch = recut(header, batch, BATCH_BYTES_MAX, self.offset)[0][2] or b""
                header = parse_header(batch)
            if header is None or (n and filled + header.length > min(bytes_max, len(buf))):
                break
            pack_header(
                self._scratch, header.flags, header.count, header.span, header.base, header.hlc, term, 0, 0, 0,
                header.length - HEADER_BYTES, header.body_crc,
            )  # fmt: skip
            buf[filled : filled + HEADER_BYTES] = self._scratch
            buf[filled + HEADER_BYTES : filled + header.length] = batch[HEADER_BYTES:]
            filled += header.length
            count += header.count
            n += 1
            self.offset = header.next
        return Piece(first, self.offset, filled, count, n, None)


def _node(session: "Session") -> str:
    """In the order of names, nothing depends on where an interpreter keeps an object."""
    return session.peer.node_id if session.peer is not None else ""


class HubFeeds:
    """hub: its name; table: what stands of keyed topics. Who follows which feed, and how far it has come."""

    def __init__(self, hub: str, store: "Store", codecs: "Codecs", table: HubTable) -> None:
        self._hub = hub
        self._table = table
        self._store = store
        self._codecs = codecs
        self._heads: "dict[Place, Head]" = {}
        self.rolled_back: "dict[Place, bool]" = {}  # somebody was found to have more of it than the store
        self._sources: "dict[Session, dict[Place, FeedSource]]" = {}
        self._followers: "dict[Place, dict[Session, FeedSource]]" = {}

    def head(self, place: "Place") -> Head:
        """How far a feed is committed."""
        found = self._heads.get(place)
        if found is None:
            found = self._heads[place] = Head(*self._store.load_head(place[0], place[1]))
        return found

    def follow(self, session: "Session", node: str, receiver: "StreamReceiver", definition: "TopicDefinition") -> None:
        """A node takes part in a topic: it has offered its own stream of a partition. Its feed is offered in return."""
        if not definition.down:
            return
        stream = receiver.stream
        place = (stream.topic, stream.partition)
        sources = self._sources.setdefault(session, {})
        source = sources.get(place)
        if source is None:
            acked = self._store.load_cursor(node, place[0], place[1])
            source = FeedSource(self._hub, node, place, definition, self.head(place), acked, self._store, self._codecs, self._table.deltas)
            sources[place] = source
            self._followers.setdefault(place, {})[session] = source
            handle = session.offer(source)
            if definition.kind == "keyed" and not definition.feed_filter:
                reconcile.begin(session, handle, StoreReplica(self._table, self._store, place[0], place[1]))
        source.offered[stream.origin, stream.epoch] = receiver

    def ended(self, session: "Session") -> None:
        for place in self._sources.pop(session, {}):
            del self._followers[place][session]

    def heard(self, session: "Session") -> "list[Op]":
        """A frame of this session was taken: what the store has to note of how far its node has come."""
        ops: "list[Op]" = []
        sources = self._sources.get(session, {})
        for source in [sources[place] for place in sorted(sources)]:
            if source.acked != source.saved:
                source.saved, source.parted = source.acked, -1
                ops.append(FeedConfirmed(source.node, source.place[0], source.place[1], source.acked))
        return ops

    def parted(self, session: "Session", sender: "StreamSender", at: int) -> None:
        """The node holds something else from cloud offset `at` on: tell it."""
        source = self._sources.get(session, {}).get((sender.log.stream.topic, sender.log.stream.partition))
        if source is not None:
            source.parted = at
            self.rolled_back[source.place] = True
            session.offer_again(sender)

    def committed(self, places: "Sequence[Place]") -> "list[Session]":
        """The store has more of these feeds. Returns whose sessions may send."""
        sessions = []
        for place in places:
            head = self._heads.get(place)
            if head is not None:
                head.next, lineage = self._store.load_head(place[0], place[1])
                head.lineage[:] = lineage
                for session in sorted(self._followers.get(place, {}), key=_node):
                    self._followers[place][session].failure = None
                    sessions.append(session)
        return sessions

    def forget(self) -> None:
        """What is in mind is worth nothing: the store says how far everything is."""
        self._heads = {}
        self._sources = {}
        self._followers = {}

    def sessions(self) -> "list[Session]":
        """Those that follow a feed."""
        return sorted(self._sources, key=_node)
