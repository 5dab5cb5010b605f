"""Opening a log: what is there is kept, what is torn is sealed, and writing goes on in a new segment under a new term.

Rule: only segments at or above the checkpoint are walked, in constant memory; every whole batch is kept; nothing wedges and nothing
needs a hand. What a walk finds missing becomes a gap. Knows nothing of topics or sessions.
"""

import struct

from .batch import BATCH_BYTES_MAX, HEADER_BYTES, batches
from .gaps import CORRUPT, TORN
from .lineage import extend
from .log import Log
from .log_reader import LogReader
from .segments import list_segments, segment_name, walk

WALK_BUFFER_BYTES = 4096

TYPE_CHECKING = False
if TYPE_CHECKING:
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
    recover(log, entropy)
    return log


def recover(log: Log, entropy: "Entropy") -> None:
    """(Re)build a log from its storage. Accepted records that had not reached it are gone: their producers were never told
    otherwise. Raises OSError where the storage cannot be read: then the log is as it was."""
    state = log.state
    bases = list_segments(log.storage, log.folder)
    buf = bytearray(WALK_BUFFER_BYTES)
    for base in bases[-1:]:
        log.storage.read_into(segment_name(log.folder, base), 0, buf)
    log.reset()
    gaps_before = list(state.gaps.rows)
    if state.sealed_at >= 0:
        bases = _drop_beyond(log, bases, state.sealed_at)
    log.bases = bases
    log.sizes = [max(0, log.storage.size(segment_name(log.folder, base))) for base in bases]
    at = 0
    while at + 1 < len(bases) and bases[at + 1] <= state.checkpoint:
        at += 1
    offset = bases[at] if bases else state.checkpoint
    for i in range(at, len(bases)):
        offset = _walk_segment(log, i, max(offset, bases[i]), buf)
    if bases and bases[-1] == offset:
        # Nothing in it made sense: the next segment would have the same name.
        log.storage.remove(segment_name(log.folder, bases.pop()))
        log.sizes.pop()
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
    if state.gaps.rows:
        end = max(end, state.gaps.rows[-1][1])
    if end > walked:
        state.gaps.add(walked, end, CORRUPT)
    return end


def _drop_beyond(log: Log, bases: "list[int]", sealed_at: int) -> "list[int]":
    for base in bases:
        if base >= sealed_at:
            log.storage.remove(segment_name(log.folder, base))
    return [base for base in bases if base < sealed_at]


def _walk_segment(log: Log, i: int, offset: int, buf: bytearray) -> int:
    """Walk segment i, which begins at `offset`; returns the offset after it."""
    state = log.state
    end = log.bases[i + 1] if i + 1 < len(log.bases) else -1
    if state.sealed_at >= 0 and end < 0:
        end = state.sealed_at
    name = segment_name(log.folder, log.bases[i])
    torn_at = -1
    for header, _, whole in walk(log.storage, name, offset, buf):
        if end >= 0 and header.next > end:
            break
        if header.base > offset:
            state.gaps.add(offset, header.base, CORRUPT)
        if torn_at >= 0:
            state.gaps.add(torn_at, offset, CORRUPT)
            torn_at = -1
        offset = header.next
        if not whole:
            torn_at = header.base
            continue
        extend(state.lineage, header.term, header.base)
        log.clock.resume(header.hlc)
        if header.producer:
            log.note_stored(header.producer, header.sequence, header.base, header.span)
    if torn_at >= 0:
        state.gaps.add(torn_at, offset, TORN if end < 0 else CORRUPT)
    if end > offset:
        state.gaps.add(offset, end, CORRUPT)
        offset = end
    return offset


def fork(log: Log, at: int, successor: Log) -> int:
    """Append again, to `successor` (an empty log), what `log` holds from offset `at` on, and ask for it to be durable. The caller
    seals `log` when it is: a power cut before that leaves the fork to be found again, and an unfinished successor is dropped.

    Returns where to seal: `at`, or the base of the batch that holds it, since a batch is never cut. Raises
    StorageFull, OSError: the successor is worth nothing then."""
    log.cut()
    seal = -1
    reader = LogReader(log, at)
    reader.to_written = True
    buf = bytearray(BATCH_BYTES_MAX)
    while True:
        piece = reader.read(buf, 1)
        if piece is None:
            break
        if piece.cause:
            successor.append_gap(piece.next - piece.first, piece.cause)
            continue
        for header, batch in batches(memoryview(buf)[: piece.bytes]):
            if seal < 0:
                seal = min(at, header.base)
                _hand_on_producers(log, seal, successor)
            successor.append_again(header, batch[HEADER_BYTES:])
    if seal < 0:
        seal = at
        _hand_on_producers(log, seal, successor)
    successor.commit()
    return seal


def _hand_on_producers(log: Log, seal: int, successor: Log) -> None:
    """What producers stored before the seal stays known as stored, though not where: offsets there mean nothing in the successor."""
    rows = []
    for producer, sequence, offset, count in log.producers.to_wire():
        below = min(count, max(0, seal - offset))
        if sequence + below > 0:
            rows.append((producer, sequence + below, 0, 0))
    successor.producers.load(rows)
    successor.state.producers.load(rows)
