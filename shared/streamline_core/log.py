"""One stream's log: what is durable of it, what the other side has of it, where its epoch ends, and what is given back.

Rule: only what is below the durable mark is offered to anybody; eviction takes the oldest segment, never the one that is written to, and
what it takes from the other side is a gap first. Each opening draws a term; after a `failure` it is opened again from what is stored.
Must not know: sessions; the node tells it what the other side confirmed.
"""

from .append_log import AppendLog
from .gaps import EVICTED, ROLLED_BACK
from .log_reader import LogReader
from .topic import KEYED, LOCAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .delta import Deltas
    from .gaps import Gap
    from .hlc import HybridClock
    from .log_limits import LogLimits
    from .ports import Storage
    from .stream import StreamId

SYNC_BYTES = 1 << 20  # as much unsynced data does not wait for the commit interval
STATE_RETRY_MS = 5000  # a state that could not be saved


class Log(AppendLog):
    """durable: below it all is synced. `recovery.open_log` makes one."""

    def __init__(self, stream: "StreamId", storage: "Storage", limits: "LogLimits", clock: "HybridClock") -> None:
        super().__init__(stream, storage, limits, clock)
        self.successor: "Log | None" = None
        self.ends_at = -1  # where the epoch ended, -1 while it is open; durable when state.sealed_at says the same
        self.saved = False  # whether there was a saved state when it was opened
        self.deltas: "Deltas | None" = None  # of large values of a keyed topic
        self.kept_from = -1  # what lies at or above it is still needed here; -1: nothing is
        self.held = False  # a successor whose predecessor's seal is not durable: so nothing here is
        self.used_ms = 0  # when it was last written to or read (monotonic), in this life of the process
        self.definition: "tuple[object, ...]" = ()  # of its topic, as it goes into a HAVE
        self.epochs_held: "list[int]" = []  # other epochs of this (topic, partition) that are still here
        self._state_saved_ms = 0
        self._acked_saved = 0
        self.cursor_due = False  # whether the cursor is to be saved at once

    def reset(self) -> None:
        super().reset()
        self.durable = 0
        self.opened_at = 0  # first offset of this opening

    # What it holds

    @property
    def first(self) -> int:
        """The oldest offset still held."""
        return self.segments.bases[0] if self.segments.bases else self.written

    def segment_end(self, i: int) -> int:
        """The offset after what segment i holds, counted from the oldest."""
        bases = self.segments.bases
        return bases[i + 1] if i + 1 < len(bases) else self.written

    @property
    def acked(self) -> int:
        """Below it the other side has everything of this log, or knows that it is lost."""
        return min(self.state.acked, self.ends_at) if self.sealed else self.state.acked

    @property
    def owed_to(self) -> int:
        """What the other side has to account for: all that is durable, and of a sealed epoch all that it was ever told of."""
        return max(self.durable, self.state.reported) if self.sealed and not self.forking else self.durable

    @property
    def local(self) -> bool:
        """It belongs to this node alone: nothing of it is owed to anybody."""
        return len(self.definition) > 1 and self.definition[1] == LOCAL

    @property
    def keyed(self) -> bool:
        """Its records are versions of keys."""
        return len(self.definition) > 0 and self.definition[0] == KEYED

    def reader(self, offset: int) -> LogReader:
        return LogReader(self, offset)

    # Gaps

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

    def note_gap(self, first: int, next_: int, cause: str) -> None:
        """[first, next) cannot be read any more."""
        self.state.gaps.add(first, next_, cause)
        self.state.save()

    def append_gap(self, span: int, cause: str) -> None:
        """The next `span` offsets hold nothing, and why."""
        self.cut()
        self._sync()
        self.state.gaps.add(self.written, self.written + span, cause)
        self.written += span
        self.segments.close_head()
        self.mark.asked_for(0, self.written)
        self.advance()

    # Making durable

    def adopt(self, walked: int, written: int) -> None:
        """Recovery found `segments`, whole or accounted for up to `written`; those from index `walked` on may not be durable yet and are
        synced now."""
        bases = self.segments.bases
        self.written = written
        durable = bases[walked] if bases else written
        self.durable = min(durable, self.ends_at) if self.sealed else durable
        self.mark.restart(durable, written)
        for i in range(walked, len(bases)):
            self.mark.asked_for(self.storage.sync(self.segments.name_of(bases[i])), self.segment_end(i))

    @property
    def settled(self) -> bool:
        """Whether all that the last opening found is durable: before that, `durable` may say less than was ever told of this log."""
        return self.failure is None and self.mark.offset >= self.opened_at

    @property
    def found(self) -> int:
        """Below it is what is durable, and what the last opening found and is about to make so: who was shown that before must not miss it
        now."""
        end = max(self.durable, self.opened_at)
        return min(end, self.ends_at) if self.sealed else end

    def tick(self, now_ms: int) -> int:
        """Commit if it is due. Returns when to come again (monotonic ms), -1 if there is nothing to wait for."""
        if self.failure is not None:
            return -1
        if self.buffered_bytes and self._commit_at_ms < 0 and self.mark.asked < self.next:
            self._commit_at_ms = now_ms + self.limits.commit_interval_ms
        if self._commit_at_ms >= 0 and not self.mark.waiting:
            if now_ms >= self._commit_at_ms or self.buffered_bytes >= SYNC_BYTES:
                self.commit()
                self.used_ms = now_ms
        if self.state.slots.stalled and now_ms - self._state_saved_ms >= STATE_RETRY_MS:
            self._state_saved_ms = now_ms
            self.state.slots.retry()
        if self.cursor_due or self.state.acked != self._acked_saved:
            if self.cursor_due or now_ms - self._state_saved_ms >= self.limits.cursor_interval_ms:
                self.save_state(now_ms)
            elif self._commit_at_ms < 0 or self.mark.waiting:
                return self._state_saved_ms + self.limits.cursor_interval_ms
        return -1 if self.mark.waiting else self._commit_at_ms

    def save_state(self, now_ms: int) -> int:
        self._state_saved_ms = now_ms
        self._acked_saved = self.state.acked
        self.cursor_due = False
        return self.state.save()

    def owns(self, ticket: int) -> bool:
        return ticket == self.state.slots.ticket or self.mark.owns(ticket)

    def synced(self, ticket: int, error: "Exception | None") -> None:
        """A ticket of this log's is done."""
        if ticket == self.state.slots.ticket:
            self.state.slots.synced(error)
            self.segments.remove_noted(self.state.slots.durable_version)
            return
        if error is not None:
            self.failure = error
            return
        self.mark.done(ticket)
        self.advance()

    def advance(self) -> None:
        """Take up what is synced, unless it is `held`."""
        if self.failure is None and not self.held:
            try:
                self.mark.advance(self.state.producers)
            finally:  # without memory to note a producer it has moved all the same
                self.durable = min(self.mark.offset, self.ends_at) if self.sealed else self.mark.offset
        segments = self.segments
        if segments.head and self.state.checkpoint < segments.bases[-1] <= self.durable:
            self.state.checkpoint = segments.bases[-1]
            self.save_state(self.clock.monotonic_ms())

    @property
    def idle(self) -> bool:
        """Nothing buffered, nothing under way."""
        return not self.mark.waiting and not self._builder.count and not self.state.slots.ticket and self.mark.asked >= self.written

    # Ending

    @property
    def sealed(self) -> bool:
        return self.ends_at >= 0

    @property
    def forking(self) -> bool:
        """It ends, and its seal waits until its successor is durable."""
        return self.state.sealed_at < self.ends_at

    def moved(self, offset: int) -> "tuple[Log, int] | None":
        """Where a fork has moved an offset of this sealed log to; None if it stayed here."""
        if self.successor is None or offset < self.ends_at:
            return None
        return self.successor, offset - self.ends_at + self.successor.state.starts_at

    # Giving back

    @property
    def can_evict(self) -> bool:
        """Whether the oldest segment may go: it is not the one being written, and all of it is durable."""
        segments = self.segments
        if not segments.bases or (len(segments.bases) == 1 and segments.head):
            return False
        end = self.segment_end(0)
        return end <= self.durable and (self.kept_from < 0 or end <= self.kept_from)

    @property
    def can_end(self) -> bool:
        """Whether the only segment, which is being written, may end and go: all that was accepted is durable, and nobody reads it yet."""
        segments = self.segments
        if len(segments.bases) != 1 or not segments.head or self.failure is not None or self.next > self.durable:
            return False
        return self.kept_from < 0 or self.written <= self.kept_from

    def evict_oldest(self, cause: str = EVICTED) -> int:
        """Give back the oldest segment, never the one being written; returns its bytes (0: nothing can go). What the
        other side does not have becomes a gap, and the file goes only when it is durably noted that it may be missing."""
        if not self.can_evict:
            return 0
        end = self.segment_end(0)
        base, size, name = self.segments.forget_oldest()
        if end > self.state.acked:
            self.state.gaps.add(max(base, self.state.acked), end, cause)
        elif end <= self.state.durable_checkpoint:
            self.storage.remove(name)
            return size
        self.state.checkpoint = max(self.state.checkpoint, end)
        self.segments.removals.append((self.state.save(), name, size))
        self.segments.remove_noted(self.state.slots.durable_version)
        return size
