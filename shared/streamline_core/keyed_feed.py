"""The feed of a keyed topic: versions, each joined with what is here.

Rule: a version that no sound node can have written is refused and counted; the cursor may be behind after a start, since what comes again
is known. Knows nothing of sessions' frames.
"""

from . import cbor
from .batch import OFFSET_MAX, batches, records
from .errors import CorruptRecord, ProtocolError, QueueFull, StorageFull, UsageError
from .extension import parse_extension
from .feed import Feed
from .sender import Parting
from .slots import Slots
from .store_ops import ChunkReceived, GapReceived, StreamState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .extension import Extension
    from .keyed import KeyedPartition
    from .log import Log
    from .ports import Storage
    from .reconcile import Dot
    from .record import Record

_VERSION = 1


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
        self._interval_ms = keyed.others.limits.cursor_interval_ms
        self._saved_ms = -self._interval_ms
        self._parted = False

    @property
    def ready(self) -> bool:
        """Before the hub has said where it is in our own logs we may be a restored disk, which does not know all that it has written: then
        we could not tell what others may have seen of it."""
        receiver = self.receiver
        if receiver is None or receiver.session is None or self.keyed.own.forking or self.blocked:
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
        if now_ms - self._saved_ms < self._interval_ms:
            return self._saved_ms + self._interval_ms
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
            # Of a sealed epoch another disk, or another device with our name, may have more; nothing is written to it any more.
            log = self.keyed.own.current
            if origin == self._me and epoch == log.stream.epoch and next_ > log.next:
                self._part(log)
                return "it claims to have seen offset %d of %s/%08x, which ends at %d" % (next_ - 1, origin, epoch, log.next)
        return None

    def _part(self, log: "Log") -> None:
        """Perhaps this disk was restored, and the hub's store, too, so that nobody else can tell us what we have lost. We go on under a new
        name, of which nobody can have seen anything, and then believe what is said of the old one. Not before the hub has confirmed all
        that we hold: until then it may still find where the two part. And once: a disk is not restored under a running process."""
        if not self._parted and log.acked == log.next:
            state = log.state
            try:
                self.keyed.own.fork(log, Parting(log.next, state.acked, max(state.reported, state.acked), dict(state.lost)))
                self._parted = True
            except (StorageFull, OSError):
                pass

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
