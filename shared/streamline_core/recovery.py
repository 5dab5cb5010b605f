"""Opening a log: what is there is kept, what is torn is sealed, and writing goes on in a new segment under a new term.

Rule: only segments at or above the checkpoint are walked, in constant memory; every whole batch is kept that may ever have been reported
durable; nothing wedges and nothing needs a hand. What a walk finds missing becomes a gap. Knows nothing of topics or sessions.
"""

import struct

from .gaps import CORRUPT, TORN
from .lineage import extend, term_at, thin
from .log import Log
from .segments import list_segments, segment_name, walk

WALK_BUFFER_BYTES = 4096

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

    from .batch import Header
    from .hlc import HybridClock
    from .log_limits import LogLimits
    from .ports import Entropy, Storage
    from .stream import StreamId


def random_u32(entropy: "Entropy") -> int:
    """A random number from 1 to 2^32 - 1, for epochs and terms."""
    buf = bytearray(4)
    while True:
        entropy.fill(buf)
        n: int = struct.unpack("<I", buf)[0]
        if n:
            return n


def open_log(stream: "StreamId", storage: "Storage", limits: "LogLimits", clock: "HybridClock", entropy: "Entropy") -> Log:
    """The log of a stream, recovered, or new where there was none. What the walk kept becomes durable with the sync that this asks
    for. Raises OSError where the storage cannot be read."""
    log = Log(stream, storage, limits, clock)
    log.saved = log.state.load()
    log.ends_at = log.state.sealed_at
    recover(log, entropy)
    return log


def recover(log: Log, entropy: "Entropy") -> None:
    """(Re)build a log from its storage. Accepted records that had not reached it are gone: their producers were never told
    otherwise. Raises OSError where the storage cannot be read: then the log is as it was."""
    state = log.state
    bases = list_segments(log.storage, log.folder)
    anew = list_segments(log.storage, log.folder, True)
    buf = bytearray(WALK_BUFFER_BYTES)
    for base in bases[-1:]:
        log.storage.read_into(segment_name(log.folder, base), 0, buf)
    log.reset()
    compacted: "set[int]" = set()
    if anew:
        bases, compacted = _exchanged(log, bases, anew)
    gaps_before, lineage_before = list(state.gaps.rows), list(state.lineage)
    if state.sealed_at >= 0:
        bases = _drop_beyond(log, bases, compacted, state.sealed_at)
    log.segments.hold(bases, compacted)
    at = 0
    while at + 1 < len(bases) and bases[at + 1] <= state.checkpoint:
        at += 1
    walk_ = _Walk(log, buf)
    for i in range(at, len(bases)):
        walk_.listen(i)
    # Below the first segment, too, something may be missing: one that was never synced is gone with its name.
    offset = min(bases[at], state.checkpoint) if bases else state.checkpoint
    for i in range(at, len(bases)):
        offset = walk_.take(i, offset)
    walk_.resume_before(at)
    if offset < state.checkpoint:  # given back: what is there is a removal that a power cut undid; who wrote the rest stays known
        state.lineage = [row for row in state.lineage if row[1] < offset]
        extend(state.lineage, term_at(lineage_before, offset), offset)
        state.lineage += [row for row in lineage_before if offset < row[1] < state.checkpoint]
    if bases and bases[-1] == offset:
        # Nothing in it made sense: the next segment would have the same name.
        log.segments.drop_from(offset)
    log.adopt(min(at, max(0, len(bases) - 1)), _end(log, offset))
    log.term = random_u32(entropy)
    log.opened_at = log.written
    if log.saved and state.gaps.rows != gaps_before:
        state.save()  # a later walk could not tell a tail torn now from one that rotted


def _end(log: Log, walked: int) -> int:
    """Where writing goes on after a walk that came to `walked`: never at an offset that was given away before."""
    state = log.state
    if state.sealed_at >= 0:
        return state.sealed_at
    end = max(walked, state.checkpoint)
    if end > walked:
        state.gaps.add(walked, end, CORRUPT)
    if state.gaps.rows and state.gaps.rows[-1][1] > end:
        state.gaps.add(end, state.gaps.rows[-1][1], TORN)
        end = state.gaps.rows[-1][1]
    return end


def _drop_beyond(log: Log, bases: "list[int]", compacted: "set[int]", sealed_at: int) -> "list[int]":
    for base in bases:
        if base >= sealed_at:
            log.storage.remove(segment_name(log.folder, base, base in compacted))
    return [base for base in bases if base < sealed_at]


def _exchanged(log: Log, bases: "list[int]", anew: "list[int]") -> "tuple[list[int], set[int]]":
    """(all that count, those of them that were written anew). These count where what they were made of is gone, and are nothing where it is
    there: perhaps they were never finished."""
    compacted = set()
    for base in anew:
        if base in bases:
            log.storage.remove(segment_name(log.folder, base, True))
        else:
            compacted.add(base)
    return sorted(bases + [base for base in anew if base in compacted]), compacted


class _Walk:
    """The walk over the last segments of a log.

    Each batch says how far the log was durable when it was written. So what is missing below the highest such mark of its term has rotted;
    above it, a cut tore it, and then nothing that the same opening wrote after it was ever reported durable: it is torn, too, though it may
    be whole. Else a producer would find its last sequences stored and those before them lost, and would not send them again.
    """

    def __init__(self, log: Log, buf: bytearray) -> None:
        self._log = log
        self._segments = log.segments
        self._buf = buf
        self._durable: "dict[int, int]" = {}  # by term: below it all was durable
        self._term = 0  # of the last batch met
        self._torn_term = 0  # of whose batches nothing more counts

    def _batches(self, i: int, offset: int, headers_only: bool = False) -> "Iterator[tuple[Header, bool]]":
        name = self._segments.name_of(self._segments.bases[i])
        end = self._end(i)
        for header, _, whole in walk(self._log.storage, name, offset, self._buf, headers_only):
            if end >= 0 and header.next > end:
                return
            yield header, whole

    def _end(self, i: int) -> int:
        """Where segment i must end, -1 for the last one of an open log."""
        bases = self._segments.bases
        return bases[i + 1] if i + 1 < len(bases) else self._log.state.sealed_at

    def listen(self, i: int) -> None:
        """Take up what the batches of segment i say of those before them."""
        for header, _ in self._batches(i, self._segments.bases[i], True):
            mark = header.base - header.behind
            if mark > self._durable.get(header.term, 0):
                self._durable[header.term] = mark

    def take(self, i: int, offset: int) -> int:
        """Walk segment i of a log that was walked up to `offset`; returns the offset after it."""
        log = self._log
        base = self._segments.bases[i]
        if base > offset:
            # What wrote on after the hole says by its own mark whether this was ever durable.
            self._miss(offset, base, self._term_from(i))
            offset = base
        for header, whole in self._batches(i, offset):
            self._term = header.term  # one opening wrote all of a segment, so what is missing before this batch, too
            self._miss(offset, header.base, header.term)
            # Behind what was torn nothing of the same opening was ever reported durable. An earlier walk may have given it up, too, for a
            # hole before it that has been evicted since.
            if header.term == self._torn_term or log.state.gaps.at(header.base) is not None:
                whole = False
            if not whole:
                self._miss(max(offset, header.base), header.next, header.term)
            offset = header.next
            log.clock.resume(header.hlc)
            if whole:
                extend(log.state.lineage, header.term, header.base)
                thin(log.state.lineage, log.state.reported)
                if header.producer:
                    log.note_stored(header.producer, header.sequence, header.base, header.span)
        if i + 1 == len(self._segments.bases) and log.state.sealed_at > offset:
            self._miss(offset, log.state.sealed_at, 0)
            offset = log.state.sealed_at
        return offset

    def resume_before(self, i: int) -> None:
        """Where nothing was met in what was walked, the stamps of the segment before it still bind the clock."""
        if not self._term and i:
            for header, _ in self._batches(i - 1, self._segments.bases[i - 1], True):
                self._log.clock.resume(header.hlc)

    def _term_from(self, i: int) -> int:
        """The term of the first batch in segment i or after it, 0 if there is none."""
        for j in range(i, len(self._segments.bases)):
            for header, _ in self._batches(j, self._segments.bases[j], True):
                return header.term
        return 0

    def _miss(self, first: int, next_: int, term: int) -> None:
        """[first, next) is not there, or not whole, before or within what `term` wrote."""
        if first >= next_:
            return
        gaps, checkpoint = self._log.state.gaps, self._log.state.checkpoint
        durable = max(self._durable.get(term, 0), checkpoint)
        if first < durable:
            # A later opening found it like that, and the note of it may be lost: then the mark of the earlier one decides.
            torn = term != self._term and first >= max(self._durable.get(self._term, 0), checkpoint)
            gaps.add(first, min(next_, durable), TORN if torn else CORRUPT)
        if next_ > durable:
            gaps.add(max(first, durable), next_, TORN)
            self._torn_term = term
