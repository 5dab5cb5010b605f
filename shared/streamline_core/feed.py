"""What the hub sends down for one (topic, partition), as this node takes it: in the order of cloud offsets, each once, across restarts.

Rule: nothing is confirmed before it is durable here; the hub alone says that what this node holds is not what it has, and from where.
Knows nothing of frames; what happens to a batch is for the two kinds to say (log_feed.py, keyed_feed.py).
"""

from .batch import OFFSET_MAX
from .errors import ProtocolError, QueueFull, StorageFull
from .receiver import StreamReceiver
from .store_ops import ChunkReceived, GapReceived, StreamState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Sequence

    from .codec import Codec
    from .credit import CreditPool
    from .log import Log
    from .session import Session
    from .store_ops import Op
    from .stream import StreamId

BLOCKED_MS = 500
FEED = "_feed"  # who wrote what a feed brought, as its folder says: no node can be called that


class FeedReceiver(StreamReceiver):
    """A feed's stream. Its sender knows best: what it says of its end and its past is believed, as far as `Feed.rewind` lets it."""

    def __init__(self, stream: "StreamId", state: StreamState, pool: "CreditPool", feed: "Feed") -> None:
        super().__init__(stream, state, pool)
        self.feed = feed
        self.session: "Session | None" = None
        self.holds_back = False  # whether the last WANT gave no credit, since what came could not be judged
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
        self._senders_end = max(self._senders_end, next_)
        self.ahead.produced = max(next_, self.ahead.next)

    def on_data(
        self, first: int, codec: "Codec", raw_bytes: int, payload: memoryview, shortened: bool = False
    ) -> "Sequence[Op]":
        if not self.feed.ready:
            return ()  # it comes again: nothing was asked for yet
        self._proven = True
        return super().on_data(first, codec, raw_bytes, payload, shortened)

    def on_gap(self, first: int, next_: int, cause: str, term: int) -> "Op | None":
        if not self.feed.ready:
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
        self.holds_back = not self.feed.ready
        if self.holds_back:
            row = row[:3] + (0, False) + row[5:]  # no credit yet
        return row[:5] + (lineage[-1:] if self._proven else lineage, self.applied.next)

    def take_back(self, state: StreamState, under_way_bytes: int) -> None:
        """What lies above `state` was not taken, or is void: it is asked for again. under_way_bytes: what is not durable below."""
        self.under_way_bytes = under_way_bytes
        self.ahead = state.copy()
        self.ahead.produced = max(self._senders_end, state.next)  # what is void was never the sender's
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
        self.blocked = False  # there was no room just now
        self._unblock_at_ms = -1
        self._pending: "list[tuple[Op, int]]" = []  # not durable yet, and what has to be

    @property
    def ready(self) -> bool:
        """Whether what arrives can be judged, and taken."""
        return not self.blocked

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
                self.blocked = True
                under_way_bytes = sum([row[0].raw_bytes for row in self._pending if isinstance(row[0], ChunkReceived)])
                state = self._pending[-1][0].state if self._pending else receiver.applied  # type: ignore[attr-defined]
                receiver.take_back(state, under_way_bytes)
                return
            self.why_waiting = ""
            self._pending.append((op, self._log().next))

    def unblock(self, now_ms: int) -> int:
        """Ask again after a while where there was no room: not as fast as the link goes. Returns when to come again, -1 if it is done."""
        if self._unblock_at_ms < 0:
            self._unblock_at_ms = now_ms + BLOCKED_MS
        elif now_ms >= self._unblock_at_ms:
            self.blocked, self._unblock_at_ms = False, -1
        return self._unblock_at_ms

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
