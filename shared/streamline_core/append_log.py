"""An append-only log with group commit: records and batches are accepted, written behind what is there, and synced together.

Rule: a record is accepted into a buffer allocated once and has its offset at once; it is written with its batch, and nothing here calls it
durable. A MemoryError leaves all as it was, or with a `failure`. Must not know: what of it is owed, where it ends, what is given back.
"""

from .batch import HEADER_BYTES, OFFSET_MAX, pack_header
from .builder import COUNT_MAX, BatchBuilder, control_batch, dense_batch
from .durable_mark import DurableMark
from .errors import NOT_STORED, QueueFull, StorageFull, UsageError
from .lineage import extend, thin
from .log_state import LogState
from .producers import Producers
from .segments import SegmentRing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from .batch import Header
    from .hlc import HybridClock
    from .log_limits import LogLimits
    from .ports import Buffer, Storage
    from .stream import StreamId

MOVE_ROOM_BYTES = 160  # that a version may grow by when a fork moves it, or when it is carried in another log


class AppendLog:
    """next: the offset of the next record. written: below it all is with the storage. term: of this opening, in each batch that it writes.
    failure: of the storage; nothing is accepted until the log is opened again. state: what must be known beside the batches. producers: who
    has stored what, with what is only accepted yet (`state.producers` knows no more than what is durable, since it outlives a power cut).
    segments: where the batches lie."""

    def __init__(self, stream: "StreamId", storage: "Storage", limits: "LogLimits", clock: "HybridClock") -> None:
        self.stream = stream
        self.folder = stream.folder()
        self.storage = storage
        self.limits = limits
        self.clock = clock
        self.state = LogState(storage, self.folder, limits.producers_max)
        self.segments = SegmentRing(storage, self.folder, limits)
        self._builder = BatchBuilder(limits.batch_bytes, clock)
        self.reset()

    def reset(self) -> None:
        """As before the first opening: what is not with the storage is forgotten. Recovery fills it in."""
        self.term = 0
        self.written = 0
        self.failure: "Exception | None" = None
        self.producers = Producers(self.limits.producers_max)
        self.producers.load(self.state.producers.to_wire())
        self.segments.hold([], set())
        self._builder.count = 0
        self.mark = DurableMark()
        self._commit_at_ms = -1

    @property
    def next(self) -> int:
        return self.written + self._builder.count

    @property
    def buffered_bytes(self) -> int:
        """Accepted, not yet durable."""
        return self.mark.unsynced_bytes + self._builder.size

    @property
    def unwritten_bytes(self) -> int:
        """Accepted, not yet with the storage."""
        return self._builder.size

    def _check_room(self, more: int) -> None:
        if self.failure is not None:
            raise StorageFull("%s: storage failed: %s; trying again" % (self.folder, self.failure))
        if self.mark.unsynced_bytes + more > self.limits.buffer_bytes:
            counts = (self.folder, self.mark.unsynced_bytes, self.limits.buffer_bytes)
            raise QueueFull("%s: %d bytes wait for the disk, %d are allowed" % counts)

    def append(self, value: "Buffer", producer: int = 0, sequence: int = 0) -> int:
        """Accept a bare value; returns its offset. Raises QueueFull, StorageFull, UsageError (too large)."""
        builder = self._builder
        if self.failure is not None or self.mark.unsynced_bytes > self.limits.buffer_bytes:
            self._check_room(len(value))
        if self._commit_at_ms < 0:
            self._commit_at_ms = self.clock.monotonic_ms() + self.limits.commit_interval_ms
        if producer:
            self.producers.expect(producer, sequence, self.next)
        if not builder.add(value, producer, sequence):
            self.cut()
            if not builder.add(value, producer, sequence):
                builder.count = 0
                raise self._too_large(len(value))
        offset = self.written + builder.count - 1
        if producer:
            self.producers.note(producer, sequence, offset, 1)
        return offset

    def append_full(
        self,
        value: "Buffer",
        key: "Buffer | None",
        headers: "Sequence[tuple[str, Buffer]]",
        timestamp_ms: "int | None",
        producer: int = 0,
        sequence: int = 0,
        tombstone: bool = False,
        extension: bytes = b"",
    ) -> int:
        """Accept a record with a key, headers, a timestamp, or what makes it a version; as `append`."""
        size = len(value) + (len(key) if key is not None else 0) + sum([len(n) + len(v) + 8 for n, v in headers]) + len(extension)
        self._check_room(size)
        if size > self.limits.batch_bytes - HEADER_BYTES - (64 if not extension else 64 + MOVE_ROOM_BYTES):
            raise self._too_large(size)
        builder = self._builder
        if self._commit_at_ms < 0:
            self._commit_at_ms = self.clock.monotonic_ms() + self.limits.commit_interval_ms
        if producer:
            self.producers.expect(producer, sequence, self.next)
        if not builder.add_full(value, key, headers, timestamp_ms, producer, sequence, tombstone, extension):
            self.cut()
            if not builder.add_full(value, key, headers, timestamp_ms, producer, sequence, tombstone, extension):
                raise self._too_large(size)
        offset = self.written + builder.count - 1
        if producer:
            self.producers.note(producer, sequence, offset, 1)
        return offset

    def append_many(self, values: "Sequence[bytes]", producer: int = 0, sequence: int = 0) -> int:
        """Accept bare values as dense batches, all or none; returns the first offset. No Python work per record."""
        lengths = list(map(len, values))
        room = self.limits.batch_bytes - HEADER_BYTES
        if not lengths:
            return self.next
        if max(lengths) + 2 > room:
            raise self._too_large(max(lengths))
        total = sum(lengths) + 2 * len(lengths)
        self._check_room(total)
        self.cut()
        # More than a batch must not end half-way: two neighbours fill more than one. A single batch is not worth asking: on a board that
        # may mean to look at every block.
        if total > room and total + HEADER_BYTES * (2 + 2 * total // room) > self.storage.free_bytes():
            raise StorageFull("%s: no room for %d bytes" % (self.folder, total))
        first, at = self.written, 0
        while at < len(lengths):
            n = min(len(lengths) - at, COUNT_MAX)
            while True:
                part = lengths[at : at + n]
                size = sum(part) + 2 * n
                if size <= room:
                    break
                n = max(1, min(n - 1, n * room // size))
            head, body = dense_batch(values[at : at + n], part, self.written, self.term, self.clock, producer, sequence + at, self._behind)
            self._write(head, body, n)
            if producer:
                self.note_stored(producer, sequence + at, first + at, n)
            at += n
        return first

    def append_mark(self, note: bytes) -> int:
        """Append a control batch; returns its offset. Raises StorageFull, UsageError (too large: nobody could read it)."""
        if HEADER_BYTES + len(note) > self.limits.batch_bytes:
            raise self._too_large(len(note))
        self.cut()
        head, body = control_batch(note, self.written, self.term, self.clock, self._behind)
        self._write(head, body, 1)
        return self.written - 1

    def append_again(self, header: "Header", body: "Buffer", received: bool = False) -> None:
        """Append a batch of another log as if written now: same records, times and producer; new offsets and term. received: it keeps
        its offsets, which follow what is here, and its term."""
        head, base = bytearray(HEADER_BYTES), self.written
        if received:
            if header.base != base:
                raise UsageError("%s: what follows offset %d was expected" % (self.folder, base))
            self.term = header.term
        pack_header(
            head, header.flags, header.count, header.span, base, header.hlc, self.term, header.producer, header.sequence,
            self._behind, len(body), header.body_crc,
        )  # fmt: skip
        self._write(head, body, header.span)
        if received:
            extend(self.state.lineage, self.term, base)
            thin(self.state.lineage, self.written)
        elif header.producer:
            self.note_stored(header.producer, header.sequence, base, header.span)

    def note_stored(self, producer: int, sequence: int, offset: int, count: int) -> None:
        """A batch of an idempotent producer was written; it counts for good once it is durable."""
        self.producers.note(producer, sequence, offset, count)
        self.mark.stored(producer, sequence, offset, count)

    @property
    def _behind(self) -> int:
        """Offsets written and not durable: what a batch says of those before it, so that recovery can tell a torn tail from rot."""
        return self.written - self.mark.offset

    def _too_large(self, size: int) -> UsageError:
        return UsageError(
            "a record of %d bytes is too large for %s: at most %d fit a batch"
            % (size, self.stream.topic, self.limits.batch_bytes - HEADER_BYTES - 64)
        )

    def cut(self) -> None:
        """Write the batch in the buffer, if there is one. Not durable before the next sync."""
        count = self._builder.count
        if count:
            builder, base = self._builder, self.written
            if builder.producer:  # first: afterwards there may be no memory for it
                self.mark.stored(builder.producer, builder.sequence, base, count)
            try:
                head, body = builder.take(base, self.term, self._behind)
                self._write(head, body, count)
            except MemoryError:
                if self.failure is None:  # nothing has been stored: it stays in the buffer
                    builder.count = count
                    if builder.producer:
                        self.mark.forget_last()
                raise

    def _write(self, head: "Buffer", body: "Buffer", span: int) -> None:
        size = len(head) + len(body)
        if self.written + span > OFFSET_MAX:
            raise StorageFull("%s: its offsets are used up" % self.folder)
        if self._commit_at_ms < 0:
            self._commit_at_ms = self.clock.monotonic_ms() + self.limits.commit_interval_ms
        if not self.segments.takes(size, self.written):
            self._roll()
        try:
            self.segments.append(head, body)
            self.limits.budget.left -= size
            self.written += span
            self.mark.wrote(size)
        except NOT_STORED as error:
            if isinstance(error, MemoryError) and self.segments.head_unchanged():
                raise  # nothing of it is there
            self.failure = error  # how much of it is there nobody knows
            raise StorageFull("%s: %s" % (self.folder, error))

    def _roll(self) -> None:
        if self.segments.head:
            self._sync()
        extend(self.state.lineage, self.term, self.written)
        thin(self.state.lineage, self.state.reported)
        self.segments.open_head(self.written)

    def _sync(self) -> None:
        if self.mark.asked < self.written and self.segments.head:
            self.mark.asked_for(self.storage.sync(self.segments.head), self.written)

    def commit(self) -> None:
        """Write what is buffered and ask the storage to sync it."""
        self.cut()
        self._sync()
        self._commit_at_ms = -1
