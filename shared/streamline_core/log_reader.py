"""Reads whole batches of one log in order, from any offset: what the sender, a consumer and a fork use.

Rule: every CRC is checked before a byte is handed on. What cannot be read is a gap where the reader meets it, noted with the
log; reading goes on after it. Constant memory: the caller's buffer. Knows nothing of frames or records.
"""

from .batch import HEADER_BYTES, body_is_whole, parse_header
from .errors import UsageError
from .gaps import CORRUPT
from .segments import find_header, header_after

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .batch import Header
    from .log import Log


class Piece:
    """A run of whole batches, or a gap: offsets [first, next). bytes: how many of the buffer were filled; count: records in them;
    cause: of the gap, or None; at: byte of the first batch in its segment. A first batch may begin below `first`, where reading began in
    its middle."""

    def __init__(self, first: int, next_: int, size: int, count: int, batches: int, cause: "str | None", at: int = 0) -> None:
        self.first = first
        self.next = next_
        self.bytes = size
        self.count = count
        self.batches = batches
        self.cause = cause
        self.at = at


class LogReader:
    """offset: the next to read. to_found: read on to `log.found` (what stays here may). to_written: read on to what is not yet durable
    (only a fork may)."""

    def __init__(self, log: "Log", offset: int) -> None:
        self._log = log
        self.offset = offset
        self.to_found = self.to_written = False
        self._base = -1  # of the segment that `_at` is a byte of; -1: not looked up yet
        self._at = 0
        self._exchanges = 0

    def seek(self, offset: int) -> None:
        self.offset = offset
        self._base = -1

    def read(self, buf: "bytearray | memoryview", bytes_max: int, records_max: int = 0) -> "Piece | None":
        """The next piece: as many whole batches as fit `bytes_max`, `records_max` (0: any number) and the buffer, at least one; None at the
        end of what may be read. Raises OSError."""
        log = self._log
        end = log.written if self.to_written else log.found if self.to_found else log.durable
        while self.offset < end:
            gap = log.gap_at(self.offset)
            if gap is not None:
                return self._skip(min(gap[1], end), gap[2])
            segments = log.segments
            i = segments.index_of(self.offset)
            base = segments.bases[i]
            if self._base != base or self._exchanges != segments.exchanges:
                self._base, self._at, self._exchanges = base, 0, segments.exchanges
            name = segments.name_of(base)
            piece = self._take(name, buf, max(bytes_max, HEADER_BYTES), end, records_max)
            if piece is not None:
                return piece
            found, segment_end = self._after_damage(name), log.segment_end(i)
            if found is None or found[1].base > segment_end:
                log.note_gap(self.offset, min(segment_end, end), CORRUPT)
                continue
            self._at = found[0]
            if found[1].base > self.offset:
                log.note_gap(self.offset, found[1].base, CORRUPT)
        return None

    def _after_damage(self, name: str) -> "tuple[int, Header] | None":
        """Where to go on when no valid batch for `offset` is at `_at`: the next header of a batch that holds it or comes after it."""
        storage = self._log.storage
        size = storage.size(name)
        found = find_header(storage, name, self._at, size, self.offset, True)
        if found is not None and found[0] == self._at and found[1].base <= self.offset:
            return header_after(storage, name, found[0], found[1], size)
        return found

    def _skip(self, next_: int, cause: str) -> Piece:
        piece = Piece(self.offset, next_, 0, 0, 0, cause)
        self.offset = next_
        return piece

    def _take(self, name: str, buf: "bytearray | memoryview", bytes_max: int, end: int, records_max: int) -> "Piece | None":
        """Whole batches from `_at` on, passing over those below `offset`. None where the bytes at `_at` are no valid batch."""
        storage = self._log.storage
        view = memoryview(buf)
        first = offset = self.offset
        while True:
            n = storage.read_into(name, self._at, view[:HEADER_BYTES])
            header = parse_header(view[:n])
            if header is None or header.base > offset:
                return None
            if header.next > offset:
                break
            self._at += header.length
        if header.length > len(buf):
            raise UsageError("%s holds a batch of %d bytes: set log.batch_bytes to at least that" % (name, header.length))
        n = storage.read_into(name, self._at, view[: max(header.length, min(len(buf), bytes_max))])
        filled = count = batches = 0
        while header is not None and header.base <= offset < header.next <= end and body_is_whole(header, view[:n], filled):
            filled += header.length
            count += header.count
            batches += 1
            offset = header.next
            if filled >= n or self._log.state.gaps.at(offset):
                break
            header = parse_header(view[:n], filled)
            if records_max and header is not None and count + header.count > records_max:
                break
        if not filled:
            return None
        self._at += filled
        self.offset = offset
        return Piece(first, offset, filled, count, batches, None, self._at - filled)
