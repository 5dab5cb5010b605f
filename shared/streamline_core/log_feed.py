"""The feed of a topic without keys: kept as it came, in logs whose offsets are the cloud's.

Rule: what is shown to a consumer is what the cloud holds, each record once, also across a rewind; an end that a power cut has torn is asked
for again. Knows nothing of sessions.
"""

from .batch import HEADER_BYTES, batches, parse_header
from .errors import QueueFull, StorageFull
from .feed import Feed
from .gaps import CORRUPT, TOO_LARGE, TORN
from .sender import Parting
from .store_ops import ChunkReceived, GapReceived, StreamChanged, StreamState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .log import Log
    from .partition import Partition


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
        self._rewind_to_damage()
        self.stand()

    def _rewind_to_damage(self) -> None:
        """What is missing at the end of our copy the hub still has."""
        log = self._log()
        rows = log.state.gaps.rows
        if rows and rows[-1][1] == log.written and rows[-1][2] in (TORN, CORRUPT):
            self.rewind(rows[-1][0], rows[-1][0])

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
        self._rewind_to_damage()  # which who reads may have met just now
        return super().settle()
