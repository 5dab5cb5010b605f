"""What the hub sends down for one (topic, partition), as this node takes it: in the order of cloud offsets, each once, across restarts.

Rule: nothing is confirmed before it is durable here; the hub alone says that what this node holds is not what it has, and from where.
Knows nothing of frames; what happens to a batch is for the two kinds of feed below to say.
"""

from . import cbor
from .batch import HEADER_BYTES, OFFSET_MAX, batches, parse_header, records
from .errors import CorruptRecord, ProtocolError, QueueFull, StorageFull, UsageError
from .extension import parse_extension
from .gaps import CORRUPT, TOO_LARGE, TORN
from .receiver import StreamReceiver
from .sender import Parting
from .slots import Slots
from .store_ops import ChunkReceived, GapReceived, StreamChanged, StreamState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Sequence

    from .codec import Codec
    from .credit import CreditPool
    from .extension import Extension
    from .keyed import KeyedPartition
    from .log import Log
    from .partition import Partition
    from .ports import Storage
    from .reconcile import Dot
    from .record import Record
    from .session import Session
    from .store_ops import Op
    from .stream import StreamId

FEED = "_feed"  # who wrote what a feed brought, as its folder says: no node can be called that
SAVE_INTERVAL_MS = 5000
_VERSION = 1


class FeedReceiver(StreamReceiver):
    """A feed's stream. Its sender knows best: what it says of its end and its past is believed, as far as `Feed.rewind` lets it."""

    def __init__(self, stream: "StreamId", state: StreamState, pool: "CreditPool", feed: "Feed") -> None:
        super().__init__(stream, state, pool)
        self.feed = feed
        self.session: "Session | None" = None
        self._proven = False

    def begin(self, handle: int) -> None:
        super().begin(handle)
        self._proven = False

    def on_have(self, next_: int, sent: int, lineage: "Sequence[Sequence[int]]", sealed: bool, held: "Any" = None) -> None:
        """held: [the cloud offset from which on we hold something else than the hub], or None."""
        if next_ > OFFSET_MAX:
            raise ProtocolError("a HAVE up to offset %d; at most %d is allowed" % (next_, OFFSET_MAX))
        if isinstance(held, list) and held and type(held[0]) is int and 0 <= held[0] < self.ahead.next and not self._proven:
            self.feed.rewind(held[0])
        elif sent > self.ahead.next:
            self._lost_something()
        self.ahead.produced = max(next_, self.ahead.next)

    def on_data(
        self, first: int, codec: "Codec", raw_bytes: int, payload: memoryview, shortened: bool = False
    ) -> "Sequence[Op]":
        if not self.feed.ready:
            self._lost_something()
            return ()
        self._proven = True
        return super().on_data(first, codec, raw_bytes, payload, shortened)

    def on_gap(self, first: int, next_: int, cause: str, term: int) -> "Op | None":
        if not self.feed.ready:
            self._lost_something()
            return None
        return super().on_gap(first, next_, cause, term)

    def _continues(self, offset: int, term: int) -> bool:
        return offset >= self.ahead.next or super()._continues(offset, term)

    def _chunk(
        self, ops: "list[Op]", begin: int, count: int, codec_id: int, raw_bytes: int, payload: memoryview, raw: memoryview,
        start: int, end: int
    ) -> None:
        super()._chunk(ops, begin, count, 0, -1, payload, raw, start, end)  # never compressed: it is opened at once

    def want_row(self) -> "tuple[Any, ...] | None":
        row = super().want_row()
        if row is None:
            return None
        lineage = [entry for entry in self.applied.lineage if entry[1] < self.applied.next]
        return row[:5] + (lineage[-1:] if self._proven else lineage, self.applied.next)

    def take_back(self, state: StreamState, under_way_bytes: int) -> None:
        """What lies above `state` was not taken, or is void: it is asked for again. under_way_bytes: what is not durable below."""
        produced = self.ahead.produced
        self.under_way_bytes = under_way_bytes
        self.ahead = state.copy()
        self.ahead.produced = max(produced, state.next)
        self._lost_something()

    def stand_at(self, state: StreamState) -> None:
        """This is what is durable here, and nothing is under way."""
        self.applied = state
        self.take_back(state, 0)


class Feed:
    """topic, number: which; room: whether the limits of the node let so many bytes be stored; receiver: as a session sees it. refused:
    versions and batches that could not be applied; why_refused: the last one. Base of the two kinds."""

    def __init__(self, topic: str, number: int, room: "Callable[[int], bool]") -> None:
        self._room = room
        self.topic = topic
        self.number = number
        self.receiver: "FeedReceiver | None" = None
        self.refused = 0
        self.why_refused = ""
        self.why_waiting = ""
        self._pending: "list[tuple[Op, int]]" = []  # not durable yet, and what has to be

    @property
    def ready(self) -> bool:
        """Whether what arrives can be judged."""
        return True

    @property
    def next(self) -> int:
        """The next cloud offset."""
        return self.receiver.applied.next if self.receiver is not None else self.state().next

    def state(self) -> StreamState:
        """Where it durably stands, after a start."""
        raise NotImplementedError

    def arrived(self, ops: "Sequence[Op]") -> None:
        """Take what a session brought, in order. Where there is no room it is not taken, and asked for again."""
        receiver = self.receiver
        assert receiver is not None
        for op in ops:
            try:
                if isinstance(op, ChunkReceived):
                    if not self._room(op.raw_bytes):
                        raise StorageFull("as much is stored as resources.max_storage allows")
                    self._store(op)
                elif isinstance(op, GapReceived):
                    self._skip(op)
                else:
                    self._refuse("a batch at cloud offset %d" % receiver.ahead.next)
                    continue
            except (StorageFull, QueueFull, OSError) as error:
                self.why_waiting = str(error)
                under_way_bytes = sum([row[0].raw_bytes for row in self._pending if isinstance(row[0], ChunkReceived)])
                state = self._pending[-1][0].state if self._pending else receiver.applied  # type: ignore[attr-defined]
                receiver.take_back(state, under_way_bytes)
                return
            self.why_waiting = ""
            self._pending.append((op, self._log().next))

    def settle(self) -> bool:
        """Confirm what is durable. Returns whether the hub has to hear of it."""
        receiver = self.receiver
        if receiver is None or not self._pending:
            return False
        log = self._log()
        if log.failure is not None:
            self._pending = []
            receiver.stand_at(self.state())
            return True
        before = receiver.applied
        while self._pending and self._pending[0][1] <= log.durable:
            receiver.committed(self._pending.pop(0)[0])
        return receiver.applied is not before

    def _refuse(self, why: str) -> None:
        self.refused += 1
        self.why_refused = why

    def _store(self, op: ChunkReceived) -> None:
        raise NotImplementedError

    def _skip(self, op: GapReceived) -> None:
        raise NotImplementedError

    def _log(self) -> "Log":
        raise NotImplementedError

    def rewind(self, at: int) -> None:
        """What this node holds from cloud offset `at` on is not what the hub has."""
        raise NotImplementedError


class LogFeed(Feed):
    """Of a topic without keys: kept as it came, in logs whose offsets are the cloud's. partition: its epochs, one for each rewind."""

    def __init__(self, topic: str, number: int, room: "Callable[[int], bool]", partition: "Partition") -> None:
        super().__init__(topic, number, room)
        self.partition = partition
        self._rewinding = -1
        self._term = 0
        self.opened()

    def opened(self) -> None:
        """The log was opened, at the start or again after a failure: what a power cut has taken of its end the hub still has."""
        log = self._log()
        self._term = log.term
        self._pending = []
        rows = log.state.gaps.rows
        if rows and rows[-1][1] == log.written and rows[-1][2] in (TORN, CORRUPT) and log.failure is None:
            self.rewind(rows[-1][0], rows[-1][0])
        self.stand()

    def stand(self) -> None:
        """Tell the receiver where the log is: what is written, and what of it is durable."""
        receiver, log = self.receiver, self._log()
        if receiver is not None:
            receiver.stand_at(self.state())
            if log.written > log.durable:
                state = self.state()
                state.next = state.produced = log.written
                state.lineage = list(log.state.lineage)
                receiver.take_back(state, 0)
                self._pending = [(StreamChanged(receiver.stream, state), log.written)]

    def _log(self) -> "Log":
        return self.partition.current

    def state(self) -> StreamState:
        log, state = self._log(), StreamState()
        state.next = state.produced = log.durable
        state.lineage = [row for row in log.state.lineage if row[1] < log.durable]
        return state

    def _store(self, op: ChunkReceived) -> None:
        log = self._log()
        if log.written != op.first or self._rewinding >= 0:
            raise QueueFull("%s-%d is being rewound" % (self.topic, self.number))
        for header, batch in batches(op.data):
            if header.base >= op.first and header.length <= log.limits.batch_bytes:
                log.append_again(header, batch[HEADER_BYTES:], True)
                continue
            from .recut import recut  # a larger one than is read here, or one that was cut otherwise when it was sent before

            for first, next_, part in recut(header, batch, log.limits.batch_bytes, op.first):
                again = parse_header(part) if part is not None else None
                if part is None or again is None:
                    self._refuse("cloud offset %d holds more than log.batch_bytes, %d" % (first, log.limits.batch_bytes))
                    log.append_gap(next_ - first, TOO_LARGE)
                else:
                    log.append_again(again, part[HEADER_BYTES:], True)
        self._term = log.term

    def _skip(self, op: GapReceived) -> None:
        log = self._log()
        if log.written != op.first or self._rewinding >= 0:
            raise QueueFull("%s-%d is being rewound" % (self.topic, self.number))
        log.append_gap(op.next - op.first, op.cause)

    def rewind(self, at: int, end: int = -1) -> None:
        """end: where this epoch of our copy ends; what lies below it stays there for who has not read it."""
        log = self._log()
        if self._rewinding < 0 and log.failure is None and at < log.written:
            try:
                self.partition.fork(log, Parting(log.written if end < 0 else end, 0, 0, {}), at)
            except (StorageFull, OSError):
                return  # it is told again
            self._rewinding = at
            self._pending = []

    def settle(self) -> bool:
        log = self._log()
        if log.failure is None and not self.partition.forking and (self._rewinding >= 0 or log.term != self._term):
            self._rewinding = -1
            self.opened()
            return True
        return super().settle()


class KeyedFeed(Feed):
    """Of a keyed topic: versions, each joined with what is here. Its cursor may be behind after a start: what comes again is known."""

    def __init__(
        self, topic: str, number: int, room: "Callable[[int], bool]", keyed: "KeyedPartition", storage: "Storage", me: str
    ) -> None:
        super().__init__(topic, number, room)
        self.keyed = keyed
        self._me = me
        self.slots = Slots(storage, "%s-%d/feed" % (topic, number))
        self._loaded = self.slots.load()
        self._saved: "StreamState | None" = None
        self._saved_ms = -SAVE_INTERVAL_MS

    @property
    def ready(self) -> bool:
        """Before the hub has said where it is in our own logs we may be a restored disk, which does not know all that it has written: then
        we could not tell what others may have seen of it."""
        receiver = self.receiver
        if receiver is None or receiver.session is None or self.keyed.own.forking:
            return False
        return all([sender.wanted for sender in receiver.session.outlet.senders.values() if sender.log is self.keyed.own.current])

    def _log(self) -> "Log":
        return self.keyed.others

    def state(self) -> StreamState:
        state = StreamState()
        if self.receiver is not None:
            return self.receiver.applied
        content = self._loaded
        if content is not None:
            try:
                row = cbor.decode(content)
                version, state.next, lineage = row
                state.lineage = [(int(term), int(first)) for term, first in lineage]
                if version != _VERSION or not 0 <= state.next <= OFFSET_MAX:
                    raise ProtocolError("of another build")
            except (ProtocolError, TypeError, ValueError):
                state = StreamState()  # from the beginning: what is known is passed over
        state.produced = state.next
        return state

    def save(self, now_ms: int) -> int:
        """Keep the cursor, now and then. Returns when to come again, -1 if it is kept."""
        state = self.receiver.applied if self.receiver is not None else None
        if state is None or state is self._saved:
            return -1
        if now_ms - self._saved_ms < SAVE_INTERVAL_MS:
            return self._saved_ms + SAVE_INTERVAL_MS
        self._saved, self._saved_ms = state, now_ms
        lineage = [entry for entry in state.lineage if entry[1] < state.next]
        self.slots.save(cbor.encode((_VERSION, state.next, lineage)))
        return -1

    def _store(self, op: ChunkReceived) -> None:
        for header, batch in batches(op.data):
            found = [record for record in records(header, batch) if record.offset >= op.first]
            news = [record for record in found if self._is_news(record)]
            if len(news) == header.count and header.length <= self.keyed.others.limits.batch_bytes:
                self.keyed.add_batch(header, batch)  # nothing in it has to be left out: as it came
            else:
                for record in news:
                    self._add(record)
        self.keyed.others.cut()

    def take_versions(self, batch: bytes, gone: "list[tuple[bytes, Dot]]") -> None:
        """What the hub found that we have not, and what we have that stands no longer. Where there is no room for it, it is found again.
        Raises ProtocolError."""
        try:
            if self._room(len(batch) + 64 * len(gone)):
                self.keyed.remove(gone)
                for header, body in batches(batch):
                    for record in records(header, body):
                        if self._is_news(record):
                            self._add(record)
                self.keyed.others.cut()
        except CorruptRecord as error:
            raise ProtocolError("versions that cannot be read: %s" % error)
        except (StorageFull, QueueFull, OSError) as error:
            self.why_waiting = str(error)

    @property
    def settled(self) -> bool:
        """All that was written here is confirmed, and all that the hub has is here."""
        receiver, log = self.receiver, self.keyed.own.current
        if receiver is None or receiver.session is None or not self.ready or receiver.ahead.produced != receiver.applied.next:
            return False
        return log.next == log.durable == log.acked or receiver.handle < 0

    def _is_news(self, record: "Record") -> bool:
        """Whether a version changes what stands here; one that cannot be is refused and counted."""
        try:
            ext = parse_extension(record.extension)
            why = self._why_unsound(ext)
            if why is None:
                return self.keyed.is_news(record, ext)
        except CorruptRecord as error:
            why = str(error)
        self._refuse("%r: %s" % (record.key, why))
        return False

    def _add(self, record: "Record") -> None:
        try:
            self.keyed.add(record)
        except UsageError as error:
            self._refuse("%r: %s" % (record.key, error))

    def _why_unsound(self, ext: "Extension") -> "str | None":
        """Why this cannot be what a sound node wrote: it claims to have seen what was not written yet. It would supersede that."""
        for name, next_ in ext.seen:
            if name == ext.writer and next_ > ext.offset:
                return "its writer claims to have seen itself up to offset %d" % (next_ - 1)
        for name, next_ in ext.seen + [(ext.writer or b"", ext.offset + 1)]:
            origin, epoch = self.keyed.table.name(name)
            if origin == self._me:
                end = self._end_of(epoch)
                if end is not None and next_ > end:
                    return "it claims to have seen offset %d of %s/%08x, which ends at %d" % (next_ - 1, origin, epoch, end)
        return None

    def _end_of(self, epoch: int) -> "int | None":
        """Where an epoch of our own ends, as far as anybody can know: None for one that was on a disk that is gone."""
        for log in self.keyed.own.logs():
            if log.stream.epoch == epoch:
                return max(log.ends_at, log.state.reported) if log.sealed else log.next
        return None

    def _skip(self, op: GapReceived) -> None:
        self._refuse("cloud offsets %d to %d are lost: %s" % (op.first, op.next - 1, op.cause))

    def rewind(self, at: int) -> None:
        receiver = self.receiver
        if receiver is not None and at < receiver.ahead.next:
            state = StreamState()
            state.next = state.produced = min(at, receiver.applied.next)
            state.lineage = [row for row in receiver.applied.lineage if row[1] < state.next]
            self._pending = []
            receiver.stand_at(state)
