"""One stream as its sender sees it: where the other side is, what is under way, and what may go next.

Rule: only what is durable is sent, never more than the receiver's limit beyond its `next`; it rewinds only when asked to, once per
round trip. The receiver is the authority on what arrived and what was lost. Knows nothing of frames' bytes or of other streams.
"""

from .batch import parse_header
from .errors import UsageError
from .gaps import TOO_LARGE
from .lineage import UNKNOWN_TERM, excerpt, parting, term_at
from .log_reader import Piece
from .schedule import BACKLOG, FRESH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from .hub_feeds import FeedSource
    from .log import Log
    from .recut import Part


LINEAGE_SENT = 8  # entries of a lineage in a HAVE
PIECES_AFTER_REWIND = 4  # under way at the most; one more for each that is confirmed, as TCP's slow start (RFC 5681) has it
PIECES_UNBOUNDED = 1 << 20


class Parting:
    """The receiver's log is another one from offset `at` on. next, produced, lost: what it said of its own."""

    def __init__(self, at: int, next_: int, produced: int, lost: "dict[str, int]") -> None:
        self.at = at
        self.next = next_
        self.produced = produced
        self.lost = lost


class StreamSender:
    """handle: its name within the session, 16 bits. refused: why the other side does not take it, or None."""

    def __init__(self, handle: int, log: "Log | FeedSource") -> None:
        self.handle = handle
        self.log = log
        self.refused: "str | None" = None
        self.weight = 5  # of its topic, 1 to 10
        self.urgent = False
        self.passes = 0  # see schedule.py, as the next
        self.waiting = False
        self._backlog_end = 0  # below it is what had gathered before the receiver asked
        self.wanted = False  # whether the receiver has asked for it in this session
        self.sent = 0
        self._farthest = 0  # the highest that `sent` ever was
        self._whole_to = 0  # below it no differences are sent
        self._reader = log.reader(0)
        self._want_number = -1
        self._limit = 0
        self._under_way: "list[tuple[int, int]]" = []  # (next offset, stored bytes) of each piece sent and not confirmed
        self._under_way_bytes = 0
        self._pieces_max = PIECES_UNBOUNDED  # under way; a hole makes all of them go again
        self._their_end = log.state.acked  # the highest end that the receiver is known to have heard of
        self._said: "Sequence[tuple[int, int]]" = ()  # of the lineage, in the last HAVE
        self._rewound_at = -1  # number of the HAVE that went out with the last rewind
        self._undone: "tuple[int, int, int] | None" = None
        self._parts: "list[Part]" = []  # of a batch too large for the peer's frames

    @property
    def pending(self) -> bool:
        """Something that the receiver has not confirmed, be it only in this session: a restored one may know less than it did."""
        return self.refused is None and self.log.settled and (not self.wanted or self.log.owed_to > self.log.state.acked)

    @property
    def ready(self) -> bool:
        """Whether `take` would give something now."""
        if not self.wanted or self.refused is not None or self.log.failure is not None or self.sent >= self.log.durable:
            return False
        return self._under_way_bytes < self._limit and len(self._under_way) < self._pieces_max

    @property
    def lane(self) -> int:
        return BACKLOG if self.sent < self._backlog_end else FRESH

    def on_want(
        self,
        number: int,
        have_echo: int,
        next_: int,
        lost: "Sequence[Sequence[object]]",
        limit: int,
        resend: bool,
        lineage: "Sequence[Sequence[int]]",
        produced: int,
        have_number: int,
    ) -> "tuple[bool, bool, Parting | None]":
        """Take up a WANT. produced: the highest durable end that the receiver ever heard of, to which `lineage` reaches; have_number: of
        the HAVE that would go out next. Returns (progress, have_due, parting): a parting where the receiver has, or was
        promised, other content than this log holds; nothing was taken up then. have_due: a HAVE has to follow."""
        if number <= self._want_number:
            return False, False, None
        self._want_number = number
        log, state = self.log, self.log.state
        if log.failure is not None or log.forking:
            return False, False, None  # what it holds is not known before it is open again, or has parted
        if not log.sealed:
            # `written`, not `durable`: just after an opening, what is there may still wait for its sync.
            at = parting(state.lineage, log.written, [(row[0], row[1]) for row in lineage], max(next_, produced))
            if at is not None:
                return False, False, Parting(at, next_, max(next_, produced), _loss(lost))
        self._their_end = max(next_, produced)
        progress = next_ > state.acked or not self.wanted
        state.acked = next_
        state.reported = max(next_, produced) if log.sealed else max(state.reported, next_)
        state.lost = _loss(lost)
        state.gaps.forget_below(min(next_, log.first))
        if log.deltas is not None:
            log.deltas.forget_below(next_)
        self._limit = limit
        while self._under_way and self._under_way[0][0] <= next_:
            self._under_way_bytes -= self._under_way.pop(0)[1]
            self._pieces_max = min(PIECES_UNBOUNDED, self._pieces_max + 1)
        if not self.wanted or self.sent < next_ or (resend and have_echo > self._rewound_at and self.sent > next_):
            rewound = self.wanted and self.sent > next_
            if not self.wanted:
                self._backlog_end = log.durable
            self.wanted = True
            self._seek(next_)
            if rewound:
                self._rewound_at = have_number - 1
                self._whole_to = self._farthest
                self._pieces_max = PIECES_AFTER_REWIND
            return progress, rewound or self._unproven, None
        return progress, self._unproven, None

    @property
    def _unproven(self) -> bool:
        """Whether the last HAVE said too little of the lineage for the receiver to see that this is the log it knows."""
        last = self._their_end - 1
        if last < 0 or self.log.sealed or term_at(self._said, last) != UNKNOWN_TERM:
            return False
        return term_at(self.log.state.lineage, last) != UNKNOWN_TERM

    def lineage(self) -> "Sequence[tuple[int, int]]":
        """For the HAVE that goes out now: the log's last openings, and the one that wrote where the receiver's memory ends."""
        self._said = excerpt(self.log.state.lineage, max(0, self._their_end - 1), LINEAGE_SENT)
        return self._said

    def offered(self) -> None:
        """A HAVE tells the other side how far the log is durable. What the two have in common is remembered around that, so it must not
        stay openings behind."""
        log, state = self.log, self.log.state
        if not log.sealed and log.durable > state.reported:
            if term_at(state.lineage, log.durable - 1) != term_at(state.lineage, state.reported - 1):
                log.cursor_due = True
            state.reported = log.durable

    def _seek(self, offset: int) -> None:
        self._reader.seek(offset)
        self.sent = offset
        self._under_way = []
        self._under_way_bytes = 0
        self._parts = []

    def take(self, buf: "bytearray | memoryview", bytes_max: int, records_max: int = 0) -> "Piece | None":
        """The next piece to send, of about `bytes_max` stored bytes and within the limit, of at most `records_max` records (0: any number)
        or one batch; it counts as sent."""
        self._undone = (self.sent, len(self._under_way), self._under_way_bytes)
        if self._parts:
            first, next_, content = self._parts.pop(0)
            size = 0 if content is None else len(content)
            if content is not None:
                buf[:size] = content
            piece: "Piece | None" = Piece(first, next_, size, 0, 1, TOO_LARGE if content is None else None)
        else:
            piece = self._reader.read(buf, min(bytes_max, self._limit - self._under_way_bytes), records_max)
        if piece is not None:
            self.sent = piece.next
            self._farthest = max(self._farthest, piece.next)
            self._under_way.append((piece.next, piece.bytes))
            self._under_way_bytes += piece.bytes
        return piece

    def shorten(self, raw: "memoryview", piece: "Piece") -> "bytes | None":
        """The batches of the piece just taken, with differences for large values from what the receiver has; None where there are none, and
        after a rewind: perhaps it had not what we believed."""
        deltas = self.log.deltas
        if deltas is None or not deltas.rows or piece.next <= self._whole_to:
            return None
        from .delta import shorten  # where no topic is keyed, no board pays for it

        return shorten(raw, piece.first, deltas, self.log.acked)

    def cut_up(self, batch: "bytes | memoryview", bytes_max: int) -> None:
        """The last `take` gave this one batch, and no frame to the peer can hold it: it goes in parts of at most `bytes_max` bytes."""
        from .recut import recut  # few nodes ever need it, and boards pay for every module

        header = parse_header(batch)
        if header is None or self._undone is None:
            raise UsageError("only what was just taken can be cut up")
        self.sent, n, self._under_way_bytes = self._undone
        del self._under_way[n:]
        self._parts = [part for part in recut(header, batch, bytes_max) if part[1] > self.sent]

    def put_back(self) -> None:
        """Undo the last `take`: it did not fit a frame."""
        if self._undone is not None:
            self.sent, n, self._under_way_bytes = self._undone
            del self._under_way[n:]
            self._reader.seek(self.sent)


def _loss(rows: "Sequence[Sequence[object]]") -> "dict[str, int]":
    return {str(row[0]): row[1] for row in rows}  # type: ignore[misc]
