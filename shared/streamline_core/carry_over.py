"""Carry-over: what stands in the oldest segment of a keyed partition is written again, to the log of others, before that segment goes.

Rule: a segment goes when what was carried out of it is durable and in the table at its new place, and never one of which something is owed
to the cloud. Knows nothing of limits: it begins when more is dead than alive.
"""

from .batch import HEADER_BYTES, batches, records, understood
from .extension import pack_carried, version_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .keyed import KeyedPartition
    from .log import Log

DEAD_SEGMENTS_MIN = 4  # of what no longer stands: less is not worth carrying the rest over


class CarryOver:
    """Of one KeyedPartition; buf: at least its largest batch."""

    def __init__(self, keyed: "KeyedPartition", buf: bytearray) -> None:
        self._keyed = keyed
        self._buf = buf
        self._log: "Log | None" = None  # whose oldest segment is being carried over
        self._end = 0  # where that is done in the log of others

    def forget(self) -> None:
        """The table is folded anew: what was begun is begun again."""
        self._log = None

    def tick(self) -> bool:
        """Do the next step. Returns whether there is more to do at once. Raises StorageFull, OSError."""
        keyed = self._keyed
        if self._log is not None:
            if keyed.others.durable < self._end or keyed.readers[0].offset < self._end:
                return False
            log, self._log = self._log, None
            end = log.segment_end(0)
            log.kept_from = end
            if log.local:
                log.state.acked = end  # nobody else is owed it
            log.evict_oldest()
            return True
        if not keyed.is_met(0):
            return False  # what seems to stand may be known, further on, to stand no longer
        for i in range(len(keyed.logs)):
            log = keyed.logs[i]
            alive = keyed.table.live_bytes.get(i, 0)
            dead = log.segments.total_bytes - alive
            if len(log.segments.bases) > 1 and dead > max(alive, DEAD_SEGMENTS_MIN * log.limits.segment_bytes):
                end = log.segment_end(0)
                if end <= log.durable and end <= keyed.readers[i].offset and (log.local or end <= log.state.acked):
                    self._carry(i, log, end)
                    return True
        return False

    def _carry(self, number: int, log: "Log", end: int) -> None:
        keyed, reader = self._keyed, log.reader(log.first)
        while reader.offset < end:
            piece = reader.read(self._buf, 1)
            if piece is None:
                break
            for header, batch in batches(bytes(memoryview(self._buf)[: piece.bytes])):
                if header.control and number == 0:
                    keyed.note_gone(keyed.still_needed(bytes(batch[HEADER_BYTES:])))
                elif understood(header) and not header.control:
                    for record in records(header, batch):
                        place = (number, record.offset, piece.at, 0)
                        if record.key is not None and keyed.table.stands_at(record.key, place):
                            if number:
                                record.extension = pack_carried(version_of(record, log.stream.origin, log.stream.epoch))
                            keyed.add(record)
        keyed.others.commit()
        self._log, self._end = log, keyed.others.written
