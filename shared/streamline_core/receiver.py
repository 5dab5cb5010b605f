"""One stream as its receiver sees it: what is applied, what is on its way into the store, what to ask for.

Rule: exactly the next offset is taken, all else is a repeat or a hole; nothing is confirmed before the store has committed it. Whatever
is taken becomes an op for the store, with the state that holds after it. Knows nothing of who carries the frames.
"""

from .batch import DENSE, body_is_whole, dense_lengths, parse_header, records, understood
from .credit import Window
from .errors import CorruptRecord, ProtocolError
from .gaps import CAUSES, REFUSED
from .lineage import extend
from .store_ops import BatchQuarantined, ChunkReceived, GapReceived, StreamChanged, StreamState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Sequence

    from .batch import Header
    from .codec import Codec
    from .credit import CreditPool
    from .store_ops import Op
    from .stream import StreamId

LINEAGE_SENT = 8  # last entries of a lineage in a WANT
GAP_SPAN_MAX = 1 << 48
OFFSET_MAX = 1 << 62  # of a stream; a store counts with 63 bits


class StreamReceiver:
    """applied: the state as the store has committed it. ahead: the state when all that is under way to the store is committed, too."""

    def __init__(self, stream: "StreamId", state: StreamState, pool: "CreditPool") -> None:
        self.stream = stream
        self.applied = state
        self.ahead = state.copy()
        self.handle = -1
        self.window = Window(pool)
        self.under_way_bytes = 0
        self.last_data_ms = 0
        self.repeats = 0
        self._missing = False
        self._refilled = 0

    def on_have(self, next_: int, sent: int) -> "Op | None":
        """The sender's durable end moved (or it says so again); `sent`: how far it has sent. Raises ProtocolError for offsets
        out of all bounds."""
        if next_ > OFFSET_MAX:
            raise ProtocolError("a HAVE up to offset %d; at most %d is allowed" % (next_, OFFSET_MAX))
        if sent > self.ahead.next:
            self._lost_something()
        if next_ > self.ahead.produced or self.ahead.closed:
            self.ahead.produced = max(next_, self.ahead.produced)
            self.ahead.closed = False
            return StreamChanged(self.stream, self.ahead.copy())
        return None

    def close(self) -> "Op | None":
        """The origin no longer holds this epoch: what it still owed is lost by its storage."""
        if self.ahead.closed:
            return None
        self.ahead.closed = True
        return StreamChanged(self.stream, self.ahead.copy())

    def _lost_something(self) -> None:
        if not self._missing:
            self._missing = True
            self.window.shrink()

    @property
    def settled(self) -> bool:
        """Nothing is under way to the store."""
        return self.applied.next == self.ahead.next

    def on_data(self, first: int, codec: "Codec", raw_bytes: int, payload: "memoryview") -> "Sequence[Op]":
        """Ops for what is new in a DATA frame. Raises ProtocolError where the frame is not what it says."""
        ahead = self.ahead
        if first > ahead.next:
            self._lost_something()
            return ()
        if not self.window.covers(self.under_way_bytes + raw_bytes):
            # A sender may still hold credit that went back to the pool while it was idle: it sends again when there is some.
            self._lost_something()
            return ()
        raw = codec.decompress(payload, raw_bytes)
        if len(raw) != raw_bytes:
            raise ProtocolError("a DATA frame of other than the promised length")
        view = memoryview(raw)
        ops: "list[Op]" = []
        start = at = 0
        begin, count = ahead.next, 0
        broken = None
        while at < raw_bytes:
            header = parse_header(view, at)
            if header is None or header.next > OFFSET_MAX or not body_is_whole(header, view, at):
                broken = "a DATA frame holds a broken batch at byte %d" % at
                break
            end = at + header.length
            if header.next <= ahead.next:
                if start != at:
                    broken = "a DATA frame goes back from offset %d to %d" % (ahead.next, header.base)
                    break
                self.repeats += 1
                start = end
            elif header.base > ahead.next:
                broken = "a DATA frame jumps from offset %d to %d" % (ahead.next, header.base)
                break
            else:
                n, why = self._count(header, view[at:end])
                if why is None:
                    extend(ahead.lineage, header.term, max(header.base, ahead.next))
                    ahead.next = header.next
                    count += n
                else:
                    self._chunk(ops, begin, count, codec.id, raw_bytes, payload, view, start, at)
                    self._refuse(ops, header, bytes(view[at:end]), why)
                    start, begin, count = end, ahead.next, 0
            at = end
        self._chunk(ops, begin, count, codec.id, raw_bytes, payload, view, start, at)
        if ops:
            self._missing = False
        if broken is not None:  # what came before it is good and kept
            self._lost_something()
            if not ops:
                raise ProtocolError(broken)
        return ops

    def _chunk(
        self, ops: "list[Op]", begin: int, count: int, codec_id: int, raw_bytes: int, payload: memoryview, raw: memoryview,
        start: int, end: int
    ) -> None:
        """Add raw[start:end] as a chunk: as it came if it is the whole frame, else uncompressed."""
        if begin == self.ahead.next:
            return
        self.ahead.produced = max(self.ahead.produced, self.ahead.next)
        whole = start == 0 and end == raw_bytes
        data = bytes(payload) if whole else bytes(raw[start:end])
        self.under_way_bytes += end - start
        self._refilled += end - start
        state = self.ahead.copy()
        ops.append(ChunkReceived(self.stream, state, begin, state.next, count, codec_id if whole else 0, end - start, data))

    def _count(self, header: "Header", batch: memoryview) -> "tuple[int, str | None]":
        """How many records of a batch are new; or why this build can never apply it."""
        if not understood(header):
            return 0, "flags 0x%x of a batch are not known to this build" % header.flags
        if header.control:
            return 0, None
        try:
            if header.flags & DENSE:
                dense_lengths(header, batch)
                return header.next - max(header.base, self.ahead.next), None
            return sum([record.offset >= self.ahead.next for record in records(header, batch)]), None
        except CorruptRecord as error:
            return 0, str(error)

    def _refuse(self, ops: "list[Op]", header: "Header", batch: bytes, why: str) -> None:
        first = self.ahead.next
        ops.append(BatchQuarantined(self.stream, self.ahead.copy(), first, header.next, batch, why))
        ops.append(self._gap(first, header.next, REFUSED))

    def _gap(self, first: int, next_: int, cause: str) -> "Op":
        ahead = self.ahead
        ahead.lost[cause] = ahead.lost.get(cause, 0) + next_ - first
        ahead.next = next_
        ahead.produced = max(ahead.produced, next_)
        return GapReceived(self.stream, ahead.copy(), first, next_, cause)

    def on_gap(self, first: int, next_: int, cause: str) -> "Op | None":
        """Offsets [first, next) are gone at the origin. Raises ProtocolError for a cause that the protocol does not know."""
        if cause not in CAUSES or not first < next_ <= min(first + GAP_SPAN_MAX, OFFSET_MAX):
            raise ProtocolError("a GAP from %d to %d by %r" % (first, next_, cause))
        if first > self.ahead.next:
            self._lost_something()
            return None
        if next_ <= self.ahead.next:
            self.repeats += 1
            return None
        self._missing = False
        return self._gap(self.ahead.next, next_, cause)

    def committed(self, op: "Op") -> None:
        """The store has committed an op of this stream."""
        self.applied = op.state  # type: ignore[attr-defined]
        if isinstance(op, ChunkReceived):
            self.under_way_bytes -= op.raw_bytes
            if self._refilled >= self.window.size:
                self._refilled = 0
                self.window.grow()

    def want_row(self) -> "tuple[Any, ...] | None":
        """This stream's part of a WANT; None while it would ask again for what is under way to the store."""
        resend = self._missing
        if resend and not self.settled:
            return None
        applied = self.applied
        lost = sorted(applied.lost.items())
        return self.handle, applied.next, lost, self.window.open(), resend, applied.lineage[-LINEAGE_SENT:]
