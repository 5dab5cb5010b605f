"""One stream as its receiver sees it: what is applied, what is on its way into the store, what to ask for.

Rule: exactly the next offset is taken, all else is a repeat or a hole; nothing is confirmed before the store has committed it. Whatever
is taken becomes an op for the store, with the state that holds after it. Knows nothing of who carries the frames.
"""

from . import cbor
from .batch import DENSE, HEADER_BYTES, OFFSET_MAX, body_is_whole, dense_lengths, parse_header, records, understood
from .codec import NONE
from .credit import WINDOW_BYTES_MIN, Window
from .errors import CorruptRecord, ProtocolError
from .frames import RAW_BYTES_MAX
from .gaps import CAUSES, REFUSED
from .hlc import WALL_MS_MAX
from .lineage import UNKNOWN_TERM, fill, insert, term_at
from .store_ops import BatchQuarantined, ChunkReceived, ClockMarked, GapReceived, StreamChanged, StreamState, loss_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Sequence

    from .batch import Header
    from .codec import Codec
    from .credit import CreditPool
    from .delta import Bases
    from .ports import Buffer
    from .store_ops import Op
    from .stream import StreamId

LINEAGE_SENT = 8  # last entries of a lineage in a WANT, as long as nothing has parted
GAP_SPAN_MAX = 1 << 48
MARK_CLOCK = 1  # control batch [1, first offset, next offset, milliseconds to add]


class StreamReceiver:
    """applied: the state as the store has committed it. ahead: the state when all that is under way to the store is committed, too."""

    def __init__(self, stream: "StreamId", state: StreamState, pool: "CreditPool") -> None:
        self.stream = stream
        self.applied = state
        self.ahead = state.copy()
        self._marks: "list[Op]" = []  # of the frame that is being taken
        self.bases: "Bases | None" = None  # what differences are from, where this topic has any
        self.handle = -1
        self.have_number = 0  # of the last HAVE of this session
        self._parted = False  # this session's sender holds another log under the same name: nothing of it is taken
        self._behind = False  # it holds less than was offered before
        self._senders_end = 0  # up to here this session's sender holds something: it has said so, or sent it
        self._offered_before = 0  # the end of what was offered before this session
        self._common_end = OFFSET_MAX  # up to here this session's sender holds what was offered before it
        self.window = Window(pool)
        self.under_way_bytes = 0
        self.last_data_ms = 0
        self.repeats = 0
        self._missing = False
        self._refilled = 0

    def begin(self, handle: int) -> None:
        """A session has offered it, under this handle."""
        self.handle = handle
        self.have_number = 0
        self._parted = self._behind = False
        self._senders_end = 0
        self._offered_before = self.ahead.produced
        self._common_end = OFFSET_MAX

    def on_have(self, next_: int, sent: int, lineage: "Sequence[Sequence[int]]", sealed: bool, held: "Any" = None) -> "Op | None":
        """The sender's durable end moved (or it says so again). sent: how far it has sent; lineage: of what it holds; sealed: the
        epoch ends at `next_`; held: only of a feed. Raises ProtocolError for offsets out of all bounds."""
        if next_ > OFFSET_MAX:
            raise ProtocolError("a HAVE up to offset %d; at most %d is allowed" % (next_, OFFSET_MAX))
        ahead = self.ahead
        if sent > ahead.next:
            self._lost_something()
        self._parted = self._contradicts(next_, lineage, sealed)
        # One that was overtaken by what was sent after it says less than is known.
        self._senders_end = next_ if sealed else max(self._senders_end, next_)
        self._compare(self._senders_end, lineage)
        self._behind = self._senders_end < ahead.produced or self._common_end < OFFSET_MAX
        if self._behind and not self._parted and not sealed and ahead.closed and next_ > ahead.next:
            # Another device under this name has ended the epoch: what this one still holds of it is taken all the same.
            ahead.closed = False
            return StreamChanged(self.stream, ahead.copy())
        if self._parted or self._behind:
            # Perhaps a disk that does not hold what was offered before: its sender learns that from our WANT, and forks.
            return self.close() if sealed and next_ <= ahead.next < ahead.produced else None
        if next_ <= ahead.produced and not ahead.closed:
            return None
        if lineage and lineage[0][1] > ahead.produced:
            insert(ahead.lineage, UNKNOWN_TERM, ahead.produced)  # the sender names its last openings only
        for term, first in lineage:
            if ahead.produced <= first < next_:
                insert(ahead.lineage, term, first)
        ahead.produced, ahead.closed = next_, False
        return StreamChanged(self.stream, ahead.copy())

    def _contradicts(self, next_: int, lineage: "Sequence[Sequence[int]]", sealed: bool) -> bool:
        """Whether a sender with this end and lineage holds other content than was ever offered of this stream. One that does not say what
        it holds where that ends is doubted: our WANT asks it to."""
        last = min(next_, self.ahead.produced) - 1
        if last < 0:
            return False
        mine, theirs = term_at(self.ahead.lineage, last), term_at(lineage, last)
        if UNKNOWN_TERM in (mine, theirs):
            return mine != UNKNOWN_TERM and not sealed
        return mine != theirs

    def _compare(self, next_: int, lineage: "Sequence[Sequence[int]]") -> None:
        """A sender that ends before what others offered, before its session, may write on: what it holds above that is not theirs, and no
        HAVE names it before it may arrive. Until its terms prove otherwise, nothing above is taken."""
        last = self._offered_before - 1
        if next_ <= last:
            self._common_end = min(self._common_end, next_)
        elif self._common_end < OFFSET_MAX and term_at(lineage, last) == term_at(self.ahead.lineage, last) != UNKNOWN_TERM:
            self._common_end = OFFSET_MAX

    def is_held(self, offset: int) -> bool:
        """Whether this session's sender holds what lies at `offset` of the stream, as far as is known."""
        if self._parted:
            return False
        return not self._behind or offset < min(self._senders_end, self._common_end)

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
    def pending(self) -> bool:
        """The sender has something for us."""
        return self.ahead.produced > self.ahead.next and not self.ahead.closed

    @property
    def settled(self) -> bool:
        """Nothing is under way to the store."""
        return self.applied.next == self.ahead.next

    def on_data(
        self, first: int, codec: "Codec", raw_bytes: int, payload: "memoryview", shortened: bool = False
    ) -> "Sequence[Op]":
        """Ops for what is new in a DATA frame. shortened: its large values are differences. Raises ProtocolError where the frame is not
        what it says."""
        ahead = self.ahead
        if first > ahead.next or first >= self._common_end or self._parted:
            self._lost_something()
            return ()
        if not self.window.covers(self.under_way_bytes + raw_bytes):
            # A sender may still hold credit that went back to the pool while it was idle: it sends again when there is some.
            self._lost_something()
            return ()
        raw = codec.decompress(payload, raw_bytes)
        if len(raw) != raw_bytes:
            raise ProtocolError("a DATA frame of other than the promised length")
        if shortened:
            whole = self._lengthened(raw)
            if whole is None:
                return ()
            raw, raw_bytes, payload, codec = whole, len(whole), memoryview(whole), NONE
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
            if not self._continues(header.base, header.term) or header.next > self._common_end:
                broken = "a DATA frame holds other content at offset %d than was offered before" % header.base
                break
            self._senders_end = max(self._senders_end, header.next)
            if header.next <= ahead.next:
                if start != at:
                    broken = "a DATA frame goes back from offset %d to %d" % (ahead.next, header.base)
                    break
                self.repeats += 1
                start = end
            elif header.base > ahead.next:
                broken = "a DATA frame jumps from offset %d to %d" % (ahead.next, header.base)
                break
            elif header.base < ahead.next and start != at:  # only the first of a chunk may begin before it: see ChunkReceived
                broken = "a DATA frame goes back from offset %d to %d" % (ahead.next, header.base)
                break
            else:
                n, why = self._count(header, view[at:end])
                if why is None:
                    fill(ahead.lineage, header.term, max(header.base, ahead.next), header.next, ahead.produced)
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
            ops.extend(self._marks)
        self._marks = []
        if broken is not None:  # what came before it is good and kept
            self._lost_something()
            if not ops:
                raise ProtocolError(broken)
        return ops

    def _lengthened(self, data: "Buffer") -> "bytes | None":
        """A frame's batches with whole values; None where it is asked for again, because a base is not here or there is no credit."""
        from .delta import lengthen  # where no topic is keyed, no board pays for it

        whole = lengthen(data, RAW_BYTES_MAX, self.bases) if self.bases is not None else None
        if whole is None or not self.window.covers(self.under_way_bytes + len(whole)):
            self._lost_something()
            return None
        return whole

    def _continues(self, offset: int, term: int) -> bool:
        """Whether `term` may have written `offset` of the log that was taken or offered so far, as far as its terms are known."""
        ahead = self.ahead
        known = term_at(ahead.lineage, offset) if offset < ahead.produced else UNKNOWN_TERM
        return known == term or UNKNOWN_TERM in (known, term)

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
            mark = read_clock_mark(bytes(batch[HEADER_BYTES:]))
            if mark is not None:
                self._marks.append(ClockMarked(self.stream, mark[0], mark[1], mark[2]))
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
        ops.append(self._gap(first, header.next, REFUSED, header.term))

    def _gap(self, first: int, next_: int, cause: str, term: int) -> "Op":
        ahead = self.ahead
        fill(ahead.lineage, term, first, next_, ahead.produced)
        ahead.lost[cause] = ahead.lost.get(cause, 0) + next_ - first
        ahead.next = next_
        ahead.produced = max(ahead.produced, next_)
        return GapReceived(self.stream, ahead.copy(), first, next_, cause)

    def on_gap(self, first: int, next_: int, cause: str, term: int) -> "Op | None":
        """Offsets [first, next) are gone at the origin; `term` wrote the last of them. Raises ProtocolError for a cause that the
        protocol does not know."""
        if cause not in CAUSES or not first < next_ <= min(first + GAP_SPAN_MAX, OFFSET_MAX):
            raise ProtocolError("a GAP from %d to %d by %r" % (first, next_, cause))
        if first > self.ahead.next or next_ > self._common_end or self._parted or not self._continues(next_ - 1, term):
            self._lost_something()
            return None
        self._senders_end = max(self._senders_end, next_)
        if next_ <= self.ahead.next:
            self.repeats += 1
            return None
        self._missing = False
        return self._gap(self.ahead.next, next_, cause, term)

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
        resend, applied = self._missing, self.applied
        doubt = self._parted or self._behind
        if resend and not self.settled:
            return None
        if resend and doubt and applied.produced != self.ahead.produced:
            return None  # what was offered before shows the sender where they part; without it, it would send all again
        closed = applied.closed and self.ahead.closed  # one that has just been offered again is not told that all is accounted for
        lost = sorted(loss_of(applied.next, applied.produced, applied.lost, closed).items())
        next_ = max(applied.next, applied.produced) if closed else applied.next
        # Who has nothing to send holds no credit, and may still send at once what comes up: it is granted when it arrives.
        limit = self.window.open() if self.pending else max(self.window.size, WINDOW_BYTES_MIN)
        # Who may have to find where the two part needs all that is known.
        lineage = applied.lineage if doubt else applied.lineage[-LINEAGE_SENT:]
        return self.handle, next_, lost, limit, resend, lineage, applied.produced


def read_clock_mark(note: bytes) -> "tuple[int, int, int] | None":
    """(first, next, milliseconds to add) of a control batch that is a clock mark; None of any other."""
    try:
        row = cbor.decode(note)
    except ProtocolError:
        return None
    if not isinstance(row, list) or len(row) < 4 or row[0] != MARK_CLOCK or not all([type(n) is int for n in row[1:4]]):
        return None
    first, next_, later_ms = row[1:4]
    return (first, next_, later_ms) if 0 <= first < next_ <= OFFSET_MAX and abs(later_ms) < WALL_MS_MAX else None
