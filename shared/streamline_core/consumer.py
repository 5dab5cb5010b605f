"""Reading a local log record by record: what an application on this node consumes.

Rule: only what is durable is shown; what is gone is shown as a gap, never skipped in silence. Knows nothing of sessions.
"""

from .batch import HEADER_BYTES, OFFSET_MAX, batches, parse_header, records, understood
from .errors import CorruptRecord
from .gaps import CORRUPT, TORN
from .log_reader import LogReader
from .segments import find_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Iterator

    from .log import Log
    from .partition import Partition
    from .record import Record


class Gap:
    """Offsets [first, next) are gone, by `cause`."""

    def __init__(self, first: int, next_: int, cause: str) -> None:
        self.first = first
        self.next = next_
        self.cause = cause


class Consumer:
    """Reads one partition from `offset` on, and on into the next epoch where a fork moved what follows. offset: the next to read.
    rewound: it is a feed, whose epochs go on from one another, each from where the last one was rewound to. log: the epoch that `offset`
    is of, where it is not the one that is written to."""

    def __init__(self, partition: "Partition", offset: int, buf: bytearray, rewound: bool = False, log: "Log | None" = None) -> None:
        self._partition = partition
        self._buf = buf
        self._until = OFFSET_MAX  # above it, this log was void already when we came to it
        log = log or partition.current
        if rewound:
            for older in partition.sealed[::-1]:
                if log.state.starts_at <= offset:
                    break
                log, self._until = older, min(self._until, log.state.starts_at)
        self._rewound = rewound
        self._follow(log, max(0, offset))

    def _follow(self, log: "Log", offset: int) -> None:
        self.log = log
        self._reader = LogReader(log, offset)

    def _follow_next(self) -> None:
        logs = self._partition.logs()
        i = logs.index(self.log) + 1
        until, self._until = self._until, OFFSET_MAX
        for later in logs[i + 1 :]:
            self._until = min(self._until, later.state.starts_at)
        offset = max(until, logs[i].state.starts_at)
        if self.log.ends_at == logs[i].state.starts_at:  # nothing was rewound: what was missing at the end came again
            offset = max(offset, self._reader.offset)
        self._follow(logs[i], offset)

    @property
    def offset(self) -> int:
        return self._reader.offset

    @property
    def epoch(self) -> int:
        """Of the log that `offset` is of."""
        return self.log.stream.epoch

    def take(self, bytes_max: int = 65536) -> "list[Record | Gap]":
        """What comes next, of about `bytes_max` stored bytes; empty at the durable end, and only there. Raises OSError."""
        return list(self.each(bytes_max, True))

    def each(self, bytes_max: int = 65536, at_once: bool = False) -> "Iterator[Record | Gap]":
        """As `take`, one at a time: a batch of small records may be many, and a board has no room for all of them. It is to be gone through
        before the next call; `offset` is beyond all of it from the beginning. at_once: rather fast than small."""
        self.log.used_ms = self.log.clock.monotonic_ms()
        while True:
            before = self.log, self._reader.offset
            found = False
            for item in self._each(bytes_max, at_once):
                found = True
                yield item
            if found or before == (self.log, self._reader.offset):
                return

    def _each(self, bytes_max: int, at_once: bool) -> "Iterator[Record | Gap]":
        if self._rewound:
            if self._partition.forking:
                return  # where it goes on is known when that is done
            logs = self._partition.logs()
            for later in logs[logs.index(self.log) + 1 :]:
                self._until = min(self._until, later.state.starts_at)
        while self._reader.offset >= self._until:
            self._follow_next()
        reader = self._reader
        if reader.offset >= self.log.durable:
            moved = self.log.moved(reader.offset)
            if moved is None:
                return
            self._follow(moved[0], moved[1])
            reader = self._reader
        piece = reader.read(self._buf, bytes_max)
        if piece is None:
            return
        if piece.cause in (TORN, CORRUPT) and self._rewound and piece.next == self.log.durable:
            # What is missing at the end of a feed comes again: in the next epoch, if that begins with it.
            if not self.log.sealed:
                reader.seek(piece.first)
                return
            logs = self._partition.logs()
            if logs[logs.index(self.log) + 1].state.starts_at <= piece.first:
                reader.seek(piece.first)
                self._until = piece.first
                yield from self._each(bytes_max, at_once)
                return
        if piece.cause:
            yield Gap(piece.first, min(piece.next, self._until), piece.cause)
            return
        for header, batch in batches(memoryview(self._buf)[: piece.bytes]):
            try:
                if not understood(header):
                    raise CorruptRecord("flags 0x%x of a batch are not known to this build" % header.flags)
                whole: "Iterable[Record]" = records(header, batch)  # all of a batch is shown, or nothing
                if at_once:
                    whole = list(whole)
                else:
                    for _ in whole:
                        pass
                    whole = records(header, batch)
                for record in whole:
                    if piece.first <= record.offset < self._until:
                        yield record
            except CorruptRecord:
                yield Gap(max(header.base, piece.first), header.next, CORRUPT)


def feed_offset_at(logs: "list[Log]", time_ms: int) -> int:
    """As `offset_at`, of the epochs of a feed, oldest first: each is void from where the next one begins."""
    for i, log in enumerate(logs):
        end = min([later.state.starts_at for later in logs[i + 1 :]] or [OFFSET_MAX])
        at = offset_at(log, time_ms)
        if at < end:
            break
    return at


def offset_at(log: "Log", time_ms: int) -> int:
    """The first offset whose batch was stamped at `time_ms` (since 1970 UTC) or later; the end if none was. Where
    headers have rotted, rather an earlier one than a later one."""
    storage, segments = log.storage, log.segments
    bases = segments.bases
    buf = bytearray(HEADER_BYTES)
    low, high = 0, len(bases)
    while low < high:  # the last segment that begins before that time
        middle = (low + high) // 2
        n = storage.read_into(segments.name_of(bases[middle]), 0, buf)
        header = parse_header(memoryview(buf)[:n])
        if header is not None and header.hlc >> 16 < time_ms:
            low = middle + 1
        else:
            high = middle
    if low == 0:
        return log.first
    name, at, offset = segments.name_of(bases[low - 1]), 0, bases[low - 1]
    while True:
        n = storage.read_into(name, at, buf)
        header = parse_header(memoryview(buf)[:n])
        if header is None or header.base < offset:
            found = find_header(storage, name, at, storage.size(name), offset)
            if found is None:
                return bases[low] if low < len(bases) else log.durable
            at, header = found
        if header.hlc >> 16 >= time_ms:
            return min(offset, log.durable)
        offset = header.next
        at += header.length
