"""Compaction of what is owed to the cloud: where storage runs short, of the records of one key in a log only the newest need stay.

Rule: a segment is written anew beside the old one, with the same offsets and terms, and takes its place when it is durable; a cut at any
moment leaves one of the two whole; it is done once. A record goes only where a later one of its key is durable; one without a key never.
Work is done a piece at a time, and not at all while the processor is to rest. Knows nothing of sessions.
"""

from .batch import BATCH_BYTES_MAX, DENSE, batches, records, understood
from .errors import NOT_STORED, CorruptRecord
from .recut import Merged
from .segments import segment_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .log import Log
    from .log_reader import LogReader
    from .node import Node

SPARE_PERCENT = 25  # of the storage limit: below it, compaction begins
WORTH_PERCENT = 90  # of a segment: what stays must be less
KEYS_MAX = 100000  # remembered of a log; those of others are never taken for superseded
STEP_BYTES = 65536
KEPT_MAX = 1000
KEPT_ROUNDS = 4  # a segment in which too much stood is looked at again when so many segments more were written


class _Index:
    """The last offset of each key of a log, as far as it was read."""

    def __init__(self, log: "Log") -> None:
        self.reader = log.reader(log.first)
        self.last: "dict[bytes, int]" = {}

    def step(self, buf: bytearray) -> bool:
        """Read on. Returns whether there was anything. Raises OSError."""
        piece = self.reader.read(buf, STEP_BYTES)
        if piece is None:
            return False
        if piece.cause is None:
            try:
                for header, batch in batches(memoryview(buf)[: piece.bytes]):
                    if not header.flags & DENSE and understood(header):
                        for record in records(header, batch):
                            if record.key is not None and (record.key in self.last or len(self.last) < KEYS_MAX):
                                self.last[record.key] = record.offset
            except CorruptRecord:
                pass  # what cannot be read supersedes nothing
        return True

    def is_superseded(self, key: "bytes | None", offset: int) -> bool:
        return key is not None and self.last.get(key, -1) > offset


class Compactor:
    """node: whose. ticket: of the storage, 0 where none is waited for. saved_bytes: in this life of the process."""

    def __init__(self, node: "Node") -> None:
        self.ticket = 0
        self.saved_bytes = 0
        self._node = node
        self._buf = bytearray(node.config.log.batch_bytes + STEP_BYTES)
        self._indexes: "dict[str, _Index]" = {}
        self._kept: "dict[tuple[str, int], int]" = {}  # (log, segment): where the log ended when it was found to be worth nothing
        self._log: "Log | None" = None  # what is being compacted
        self._base = self._end = 0
        self._term = 0
        self._reader: "LogReader | None" = None
        self._size = 0
        self._written = False
        self._merged: "Merged | None" = None

    def tick(self, now_ms: int) -> int:
        """Do the next piece. Returns when to come again (monotonic ms), -1: when something changes."""
        if self.ticket:
            return -1
        wait_ms = self._node.link.pacing.cpu_wait_ms(now_ms)
        if wait_ms:
            return now_ms + wait_ms
        try:
            if self._log is None and not self._begin():
                return -1
            return now_ms if self._step() else -1
        except NOT_STORED:
            self._give_up()
            self._indexes = {}
            return -1

    def _begin(self) -> bool:
        """Choose a segment, where storage runs short and nothing lies there that could go as it is."""
        node = self._node
        evictor = node.evictor
        if len(self._kept) > KEPT_MAX:
            self._kept = {}
        if evictor.budget.left * 100 > (evictor.stored_bytes + evictor.budget.left) * SPARE_PERCENT:
            return False
        best = None
        for partition in node.partitions.every():
            for log in partition.logs():
                segments = log.segments
                for i in range(len(segments.bases)):
                    base, size, end = segments.bases[i], segments.sizes[i], log.segment_end(i)
                    if partition.local or end <= log.state.acked:
                        if log.can_evict:
                            return False
                        continue
                    if i + 1 == len(segments.bases) or end > log.durable or log.keyed or log.failure is not None:
                        break
                    if 0 <= log.kept_from < end:
                        break
                    if base in segments.compacted or size > evictor.reserve_bytes:
                        continue
                    if log.written < self._kept.get((log.folder, base), -1):
                        continue
                    if best is None or size > best[0]:
                        best = size, log, base, end
                    break
        if best is None:
            return False
        _, self._log, self._base, self._end = best
        self._term = self._log.term
        self._reader = None
        return True

    def _step(self) -> bool:
        """Returns whether there is more to do at once."""
        log = self._log
        if log is None or self._is_gone(log):
            self._give_up()  # it was reopened, or the segment has gone
            return True
        if self._reader is None:
            index = self._indexes.get(log.folder)
            if index is None:
                index = self._indexes[log.folder] = _Index(log)
            if index.step(self._buf):
                return True
            self._reader = log.reader(self._base)
            self._size = 0
            self._written = False
            self._merged = None
        piece = self._reader.read(self._buf, STEP_BYTES) if self._reader.offset < self._end else None
        if piece is None or piece.first >= self._end:
            self._finish(log)
            return self._log is None
        if piece.cause is None:
            self._write(log, memoryview(self._buf)[: piece.bytes])
        return True

    def _is_gone(self, log: "Log") -> bool:
        """Whether the segment is no longer there, or no longer what it was."""
        return log.term != self._term or self._base not in log.segments.bases

    def _write(self, log: "Log", data: memoryview) -> None:
        index, bytes_max = self._indexes[log.folder], log.limits.batch_bytes
        for header, batch in batches(data):
            if header.base >= self._end:
                return
            if header.flags & DENSE or header.control or not understood(header):
                self._put_merged(log)
                self._put(log, bytes(batch))
                continue
            try:
                left = [record for record in records(header, batch) if not index.is_superseded(record.key, record.offset)]
            except CorruptRecord:  # whole, and no records: whoever reads it says so
                self._put_merged(log)
                self._put(log, bytes(batch))
                continue
            merged = self._merged
            if merged is None or not merged.takes(header) or not merged.add(header, left, bytes_max):
                self._put_merged(log)
                self._merged = Merged(header)
                self._merged.add(header, left, BATCH_BYTES_MAX)  # what is left of a batch is never more than it was

    def _put_merged(self, log: "Log") -> None:
        merged, self._merged = self._merged, None
        if merged is not None:
            self._put(log, merged.pack())

    def _put(self, log: "Log", batch: bytes) -> None:
        name = segment_name(log.folder, self._base, True)
        if not self._written:
            log.storage.remove(name)
            self._written = True
        log.storage.append(name, batch)
        self._size += len(batch)

    def _finish(self, log: "Log") -> None:
        self._put_merged(log)
        size = log.segments.sizes[log.segments.bases.index(self._base)]
        if not self._written or self._size * 100 > size * WORTH_PERCENT:
            self._kept[log.folder, self._base] = log.written + KEPT_ROUNDS * (self._end - self._base)
            self._give_up()
            return
        self.ticket = log.storage.sync(segment_name(log.folder, self._base, True))

    def synced(self, error: "Exception | None") -> None:
        """The new segment is durable, or could not be made so."""
        self.ticket = 0
        log = self._log
        if error is not None or log is None or self._is_gone(log) or 0 <= log.kept_from < self._end:
            self._give_up()
            return
        self.saved_bytes += log.segments.exchange(self._base, self._size)
        self._log = None

    def _give_up(self) -> None:
        """Leave the segment as it is."""
        log, self._log = self._log, None
        if log is None:
            return
        if self._written:
            try:
                log.storage.remove(segment_name(log.folder, self._base, True))
            except OSError:
                pass  # the next opening removes it
