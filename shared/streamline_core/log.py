"""One stream's log: a ring of segments with group commit.

Rule: a record is accepted into a buffer allocated once, written with its batch, and durable when the storage says so;
only what is below the durable mark is offered to anybody. The head segment is appended to, eviction takes the oldest.
A MemoryError leaves it as it was, or with a `failure`, and then it is opened again from what is stored.
Each opening draws a term. Knows nothing of sessions; the node tells it what the other side confirmed.
"""

from .batch import HEADER_BYTES, OFFSET_MAX, pack_header
from .builder import COUNT_MAX, BatchBuilder, control_batch, dense_batch
from .durable_mark import DurableMark
from .errors import QueueFull, StorageFull, UsageError
from .gaps import EVICTED, ROLLED_BACK
from .lineage import extend, thin
from .log_reader import LogReader
from .log_state import LogState
from .producers import Producers
from .segments import segment_name
from .topic import KEYED, LOCAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from .batch import Header
    from .delta import Deltas
    from .gaps import Gap
    from .hlc import HybridClock
    from .log_limits import LogLimits
    from .ports import Buffer, Storage
    from .stream import StreamId

SYNC_BYTES = 1 << 20  # as much unsynced data does not wait for the commit interval
MOVE_ROOM_BYTES = 160  # that a version may grow by when a fork moves it, or when it is carried in another log
STATE_RETRY_MS = 5000  # a state that could not be saved


class Log:
    """next: the offset of the next record. written: below it all is with the storage. durable: below it all is
    synced. bases, sizes: the segments, oldest first. producers: who has stored what, with what is only accepted yet
    (`state.producers` knows no more than what is durable, since it outlives a power cut). `recovery.open_log` makes
    one."""

    def __init__(self, stream: "StreamId", storage: "Storage", limits: "LogLimits", clock: "HybridClock") -> None:
        self.stream = stream
        self.folder = stream.folder()
        self.storage = storage
        self.limits = limits
        self.clock = clock
        self.state = LogState(storage, self.folder, limits.producers_max)
        self.successor: "Log | None" = None
        self.ends_at = -1  # where the epoch ended, -1 while it is open; durable when state.sealed_at says the same
        self.saved = False  # whether there was a saved state when it was opened
        self.deltas: "Deltas | None" = None  # of large values of a keyed topic
        self.kept_from = -1  # what lies at or above it is still needed here; -1: nothing is
        self.held = False  # a successor whose predecessor's seal is not durable: so nothing here is
        self.total_bytes = 0
        self.exchanges = 0  # how often a segment was: what is known of the bytes of one may be wrong then
        self.used_ms = 0  # when it was last written to or read (monotonic), in this life of the process
        self.definition: "tuple[object, ...]" = ()  # of its topic, as it goes into a HAVE
        self.epochs_held: "list[int]" = []  # other epochs of this (topic, partition) that are still here
        self._builder = BatchBuilder(limits.batch_bytes, clock)
        self._state_saved_ms = 0
        self._acked_saved = 0
        self.cursor_due = False  # whether the cursor is to be saved at once
        self._removals: "list[tuple[int, str, int]]" = []  # (state version to wait for, file, its bytes)
        self.reset()

    def reset(self) -> None:
        """As before the first opening: what is not with the storage is forgotten. Recovery fills it in."""
        self.term = 0
        self.written = 0
        self.durable = 0
        self.opened_at = 0  # first offset of this opening
        self.bases: "list[int]" = []
        self.compacted: "set[int]" = set()  # which of them were written anew
        self.sizes: "list[int]" = []
        self.failure: "Exception | None" = None
        self.producers = Producers(self.limits.producers_max)
        self.producers.load(self.state.producers.to_wire())
        self._builder.count = 0
        self._head_open = False  # whether the last segment is one that this opening writes to
        self._mark = DurableMark()
        self._commit_at_ms = -1

    # What it holds

    @property
    def next(self) -> int:
        return self.written + self._builder.count

    @property
    def first(self) -> int:
        """The oldest offset still held."""
        return self.bases[0] if self.bases else self.written

    @property
    def acked(self) -> int:
        """Below it the other side has everything of this log, or knows that it is lost."""
        return min(self.state.acked, self.ends_at) if self.sealed else self.state.acked

    @property
    def owed_to(self) -> int:
        """What the other side has to account for: all that is durable, and of a sealed epoch all that it was ever told of."""
        return max(self.durable, self.state.reported) if self.sealed and not self.forking else self.durable

    @property
    def buffered_bytes(self) -> int:
        """Accepted, not yet durable."""
        return self._mark.unsynced_bytes + self._builder.size

    @property
    def unwritten_bytes(self) -> int:
        """Accepted, not yet with the storage."""
        return self._builder.size

    @property
    def removing_bytes(self) -> int:
        """Given back, and still there until it is noted."""
        return sum([size for _, _, size in self._removals])

    @property
    def local(self) -> bool:
        """It belongs to this node alone: nothing of it is owed to anybody."""
        return len(self.definition) > 1 and self.definition[1] == LOCAL

    @property
    def keyed(self) -> bool:
        """Its records are versions of keys."""
        return len(self.definition) > 0 and self.definition[0] == KEYED

    @property
    def sealed(self) -> bool:
        return self.ends_at >= 0

    @property
    def settled(self) -> bool:
        """Whether all that the last opening found is durable: before that, `durable` may say less than was ever told of this log."""
        return self.failure is None and self._mark.offset >= self.opened_at

    @property
    def found(self) -> int:
        """Below it is what is durable, and what the last opening found and is about to make so: who was shown that before must not miss it
        now."""
        end = max(self.durable, self.opened_at)
        return min(end, self.ends_at) if self.sealed else end

    @property
    def forking(self) -> bool:
        """It ends, and its seal waits until its successor is durable."""
        return self.state.sealed_at < self.ends_at

    def gap_at(self, offset: int) -> "Gap | None":
        """The gap that holds `offset`. What lies below the oldest segment and was delivered once is ROLLED_BACK if asked for again."""
        gap = self.state.gaps.at(offset)
        if gap is not None or offset >= self.first:
            return gap
        end = self.first
        for row in self.state.gaps.rows:
            if offset < row[0] < end:
                end = row[0]
        return offset, end, ROLLED_BACK

    def reader(self, offset: int) -> LogReader:
        return LogReader(self, offset)

    def segment_of(self, offset: int) -> int:
        """The index of the segment that holds `offset`, if any does."""
        low, high = 0, len(self.bases)
        while high - low > 1:
            middle = (low + high) // 2
            if self.bases[middle] <= offset:
                low = middle
            else:
                high = middle
        return low

    def name_of(self, base: int) -> str:
        """The file of a segment."""
        return segment_name(self.folder, base, base in self.compacted)

    def exchange(self, base: int, size: int) -> int:
        """A segment was written anew, in `size` bytes, durably: it takes the place of what was there. Returns how many bytes that saves."""
        i = self.bases.index(base)
        saved, old = self.sizes[i] - size, self.name_of(base)
        self.compacted.add(base)
        self.sizes[i] = size
        self.total_bytes -= saved
        self.exchanges += 1
        self.storage.remove(old)
        return saved

    def moved(self, offset: int) -> "tuple[Log, int] | None":
        """Where a fork has moved an offset of this sealed log to; None if it stayed here."""
        if self.successor is None or offset < self.ends_at:
            return None
        return self.successor, offset - self.ends_at + self.successor.state.starts_at

    # Appending

    def _check_room(self, more: int) -> None:
        if self.failure is not None:
            raise StorageFull("%s: storage failed: %s; trying again" % (self.folder, self.failure))
        if self._mark.unsynced_bytes + more > self.limits.buffer_bytes:
            counts = (self.folder, self._mark.unsynced_bytes, self.limits.buffer_bytes)
            raise QueueFull("%s: %d bytes wait for the disk, %d are allowed" % counts)

    def append(self, value: "Buffer", producer: int = 0, sequence: int = 0) -> int:
        """Accept a bare value; returns its offset. Raises QueueFull, StorageFull, UsageError (too large)."""
        builder = self._builder
        if self.failure is not None or self._mark.unsynced_bytes > self.limits.buffer_bytes:
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
        self._mark.stored(producer, sequence, offset, count)

    def append_gap(self, span: int, cause: str) -> None:
        """The next `span` offsets hold nothing, and why."""
        self.cut()
        self._sync()
        self.state.gaps.add(self.written, self.written + span, cause)
        self.written += span
        self._head_open = False
        self._mark.asked_for(0, self.written)
        self._advance()

    def adopt(self, walked: int, written: int) -> None:
        """Recovery found segments (`bases`, `sizes`), whole or accounted for up to `written`; those from index `walked` on may not be
        durable yet and are synced now."""
        self.written = written
        self.total_bytes = sum(self.sizes)
        durable = self.bases[walked] if self.bases else written
        self.durable = min(durable, self.ends_at) if self.sealed else durable
        self._mark.restart(durable, written)
        for i in range(walked, len(self.bases)):
            ticket = self.storage.sync(self.name_of(self.bases[i]))
            self._mark.asked_for(ticket, self.bases[i + 1] if i + 1 < len(self.bases) else written)

    @property
    def _behind(self) -> int:
        """Offsets written and not durable: what a batch says of those before it, so that recovery can tell a torn tail from rot."""
        return self.written - self._mark.offset

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
                self._mark.stored(builder.producer, builder.sequence, base, count)
            try:
                head, body = builder.take(base, self.term, self._behind)
                self._write(head, body, count)
            except MemoryError:
                if self.failure is None:  # nothing has been stored: it stays in the buffer
                    builder.count = count
                    if builder.producer:
                        self._mark.forget_last()
                raise

    def _write(self, head: "Buffer", body: "Buffer", span: int) -> None:
        size = len(head) + len(body)
        if self.written + span > OFFSET_MAX:
            raise StorageFull("%s: its offsets are used up" % self.folder)
        limits = self.limits
        if self._commit_at_ms < 0:
            self._commit_at_ms = self.clock.monotonic_ms() + limits.commit_interval_ms
        if not self._head_open or self.sizes[-1] + size > limits.segment_bytes:
            self._roll()
        elif limits.segment_records and self.written - self.bases[-1] >= limits.segment_records:
            self._roll()
        name = segment_name(self.folder, self.bases[-1])
        try:
            self.storage.append(name, head)
            self.storage.append(name, body)
            self.sizes[-1] += size
            self.total_bytes += size
            self.limits.budget.left -= size
            self.written += span
            self._mark.wrote(size)
        except (StorageFull, OSError, MemoryError) as error:
            if isinstance(error, MemoryError) and self._stored_nothing(name):
                raise
            self.failure = error  # how much of it is there nobody knows
            raise StorageFull("%s: %s" % (self.folder, error))

    def _stored_nothing(self, name: str) -> bool:
        """Whether the head segment is as long as it was before what could not be appended."""
        try:
            return max(0, self.storage.size(name)) == self.sizes[-1]
        except (OSError, MemoryError):
            return False

    def _roll(self) -> None:
        if self._head_open:
            self._sync()
        extend(self.state.lineage, self.term, self.written)
        thin(self.state.lineage, self.state.reported)
        self.sizes.append(0)
        try:
            self.bases.append(self.written)
        except MemoryError:
            self.sizes.pop()
            raise
        self._head_open = True

    # Making durable

    def _sync(self) -> None:
        if self._mark.asked < self.written and self._head_open:
            self._mark.asked_for(self.storage.sync(segment_name(self.folder, self.bases[-1])), self.written)

    def commit(self) -> None:
        """Write what is buffered and ask the storage to sync it."""
        self.cut()
        self._sync()
        self._commit_at_ms = -1

    def tick(self, now_ms: int) -> int:
        """Commit if it is due. Returns when to come again (monotonic ms), -1 if there is nothing to wait for."""
        if self.failure is not None:
            return -1
        if self.buffered_bytes and self._commit_at_ms < 0 and self._mark.asked < self.next:
            self._commit_at_ms = now_ms + self.limits.commit_interval_ms
        if self._commit_at_ms >= 0 and not self._mark.waiting:
            if now_ms >= self._commit_at_ms or self.buffered_bytes >= SYNC_BYTES:
                self.commit()
                self.used_ms = now_ms
        if self.state.slots.stalled and now_ms - self._state_saved_ms >= STATE_RETRY_MS:
            self._state_saved_ms = now_ms
            self.state.slots.retry()
        if self.cursor_due or self.state.acked != self._acked_saved:
            if self.cursor_due or now_ms - self._state_saved_ms >= self.limits.cursor_interval_ms:
                self.save_state(now_ms)
            elif self._commit_at_ms < 0 or self._mark.waiting:
                return self._state_saved_ms + self.limits.cursor_interval_ms
        return -1 if self._mark.waiting else self._commit_at_ms

    def save_state(self, now_ms: int) -> int:
        self._state_saved_ms = now_ms
        self._acked_saved = self.state.acked
        self.cursor_due = False
        return self.state.save()

    def owns(self, ticket: int) -> bool:
        return ticket == self.state.slots.ticket or self._mark.owns(ticket)

    def synced(self, ticket: int, error: "Exception | None") -> None:
        """A ticket of this log's is done."""
        if ticket == self.state.slots.ticket:
            self.state.slots.synced(error)
            self._remove_noted()
            return
        if error is not None:
            self.failure = error
            return
        self._mark.done(ticket)
        self._advance()

    def _advance(self) -> None:
        if self.failure is None and not self.held:
            try:
                self._mark.advance(self.state.producers)
            finally:  # without memory to note a producer it has moved all the same
                self.durable = min(self._mark.offset, self.ends_at) if self.sealed else self._mark.offset
        if self._head_open and self.state.checkpoint < self.bases[-1] <= self.durable:
            self.state.checkpoint = self.bases[-1]
            self.save_state(self.clock.monotonic_ms())

    def is_synced(self, offset: int) -> bool:
        """Whether all below `offset` is synced, whether or not it is held."""
        return self._mark.reached >= offset

    def release(self) -> None:
        """Its predecessor's seal is durable: so is what it holds."""
        self._advance()

    @property
    def idle(self) -> bool:
        """Nothing buffered, nothing under way."""
        return not self._mark.waiting and not self._builder.count and not self.state.slots.ticket and self._mark.asked >= self.written

    # Ending

    def end(self, at: int, successor: "Log") -> None:
        """A fork has moved all from `at` on to `successor`: nothing above it is offered any more."""
        self.ends_at = at
        self.durable = min(self.durable, at)
        self.successor = successor

    def go_on(self) -> None:
        """Undo `end`: the fork has failed."""
        self.ends_at = -1
        self.durable = self._mark.offset
        self.successor = None

    def seal(self, acked: int, reported: int, lost: "dict[str, int]") -> int:
        """Note for good that the epoch has ended, and what the other side has of it (as in LogState). Returns the version of the
        state to wait for."""
        state = self.state
        state.sealed_at = self.ends_at
        state.acked, state.lost = acked, lost
        state.reported = reported
        state.gaps.forget_above(self.ends_at)
        return self.save_state(self.clock.monotonic_ms())

    def drop_beyond_seal(self) -> None:
        """The seal is durable: segments of what was moved are given back."""
        while self.bases and self.bases[-1] >= self.ends_at:
            self.total_bytes -= self.sizes.pop()
            self.storage.remove(self.name_of(self.bases.pop()))
        self.written = min(self.written, self.ends_at)
        self._head_open = False

    # Giving back

    def note_gap(self, first: int, next_: int, cause: str) -> None:
        """[first, next) cannot be read any more."""
        self.state.gaps.add(first, next_, cause)
        self.state.save()

    @property
    def can_evict(self) -> bool:
        """Whether the oldest segment may go: it is not the one being written, and all of it is durable."""
        if not self.bases or (len(self.bases) == 1 and self._head_open):
            return False
        end = self.bases[1] if len(self.bases) > 1 else self.written
        return end <= self.durable and (self.kept_from < 0 or end <= self.kept_from)

    @property
    def can_end(self) -> bool:
        """Whether the only segment, which is being written, may end and go: all that was accepted is durable, and nobody reads it yet."""
        if len(self.bases) != 1 or not self._head_open or self.failure is not None or self.next > self.durable:
            return False
        return self.kept_from < 0 or self.written <= self.kept_from

    def end_segment(self) -> None:
        """What is written from now on goes into another segment. Only where all is durable that was accepted."""
        self._head_open = False

    def evict_oldest(self, cause: str = EVICTED) -> int:
        """Give back the oldest segment, never the one being written; returns its bytes (0: nothing can go). What the
        other side does not have becomes a gap, and the file goes only when it is durably noted that it may be missing."""
        if not self.can_evict:
            return 0
        base, size = self.bases[0], self.sizes[0]
        end = self.bases[1] if len(self.bases) > 1 else self.written
        del self.bases[0], self.sizes[0]
        self.total_bytes -= size
        name = self.name_of(base)
        self.compacted.discard(base)
        if end > self.state.acked:
            self.state.gaps.add(max(base, self.state.acked), end, cause)
        elif end <= self.state.durable_checkpoint:
            self.storage.remove(name)
            return size
        self.state.checkpoint = max(self.state.checkpoint, end)
        self._removals.append((self.state.save(), name, size))
        self._remove_noted()
        return size

    def _remove_noted(self) -> None:
        while self._removals and self._removals[0][0] <= self.state.slots.durable_version:
            self.storage.remove(self._removals[0][1])
            self._removals.pop(0)
