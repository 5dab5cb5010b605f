"""One partition of a keyed topic on this node: its own log, the log of what others wrote, and the table that is folded from both.

Rule: a version is in the table once it is durable here, or was found at the start, and until it is superseded it stays readable: what
stands in the oldest segments is carried over before those go. A lost index costs nothing but reading. Knows nothing of sessions, or of who
else holds the topic.
"""

from . import cbor
from .batch import HEADER_BYTES, OFFSET_MAX, batches, body_is_whole, parse_header, records, understood
from .carry_over import CarryOver
from .conflict import Conflict
from .delta import DELTAS_BYTES_MAX, VALUE_BYTES_MIN, Deltas
from .errors import CorruptRecord, ProtocolError, QueueFull, StorageFull
from .extension import UNTRUSTED, pack_carried, pack_own, pack_writer, parse_extension
from .gaps import CORRUPT
from .reconcile import read_gone
from .record_encoder import encode_record
from .recovery import open_log
from .stream import StreamId
from .table import KEY_BYTES_MAX, Table
from .topic import KEYED, LOCAL
from .version import SIDES, latest_hlc, seen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .batch import Header
    from .conflict import ConflictResolver, Resolution
    from .extension import Extension
    from .gaps import Gap
    from .hlc import HybridClock
    from .log import Log
    from .log_limits import LogLimits
    from .log_reader import LogReader, Piece
    from .partition import Partition
    from .ports import Buffer, Entropy, Storage
    from .reconcile import Dot
    from .record import Record
    from .table import Place
    from .version import Version

OTHERS = "_others"  # no node can be called that
MARK_GONE = 2  # control batch [2, [[key, origin, epoch, offset], …]]: versions that stand no longer
FOLD_BYTES_MAX = 1 << 20  # in one turn
OVERHEAD_BYTES = 16  # of a stored record beside key, value and extension, about


class KeyedPartition:
    """own: what this node writes; resolver: what is shown where several versions stand. others: the log of versions that came from
    elsewhere, and of own ones whose segment was given back. table: what stands. logs, readers: `others` and those of `own`, and how far
    each of them is in the table."""

    def __init__(
        self,
        own: "Partition",
        resolver: "ConflictResolver",
        storage: "Storage",
        limits: "LogLimits",
        clock: "HybridClock",
        entropy: "Entropy",
        buf: bytearray,
    ) -> None:
        self.own = own
        self.topic = own.topic
        self.number = own.number
        self.resolver = resolver
        self.table = Table()
        self.unreadable = 0  # versions that were met and made no sense
        self.lost = False  # whether something that stood turned out to be unreadable since this was last looked at
        self.unchanged = 0  # writes that said what was there already
        self.trouble = ""  # why it could not be kept up with, the last time
        self._limits = limits
        self._clock = clock
        self._buf = buf
        stream = StreamId(OTHERS, own.topic, own.number, 0)
        self.others = open_log(stream, storage, limits, clock, entropy)
        self.others.definition = (KEYED, LOCAL)
        self.logs: "list[Log]" = []
        self._terms: "list[int]" = []
        self.readers: "list[LogReader]" = []
        self._ends: "list[int]" = []  # of the logs when the fold began
        self._gaps: "list[list[Gap]]" = []  # of the logs, as of the last look
        self._me = b""  # what our open log is called in contexts
        self._known_to = 0  # where it ends, as others had seen it
        self._carry_over = CarryOver(self, buf)

    # Folding

    def _begin(self) -> bool:
        """Start the fold anew if a fork, or a failed storage, has changed what there is. Returns whether it did."""
        logs = [self.others] + self.own.logs()
        terms = [log.term for log in logs]
        if logs == self.logs and terms == self._terms:
            return False
        self.logs, self._terms = logs, terms
        for log in logs:
            log.kept_from = max(0, log.kept_from)
        self.readers = [log.reader(log.first) for log in logs]
        for reader in self.readers:
            reader.to_found = True
        self._ends = [log.ends_at if log.sealed else log.written for log in logs]
        own = self.own.current.stream
        self._me = pack_writer(own.origin, own.epoch)
        self._known_to = 0
        self._gaps = [log.state.gaps.rows for log in logs]
        self._carry_over.forget()
        self.table.clear()
        return True

    def fold(self, bytes_max: int = 0) -> bool:
        """Take up what has become durable, about `bytes_max` bytes of it (0: all). Returns whether there is more. Raises OSError,
        and MemoryError: then it goes on from there the next time."""
        self._begin()
        taken = 0
        # What others wrote comes last: it says what of our own stands no longer.
        for i in list(range(1, len(self.logs))) + [0]:
            if i == 0 and not self.is_met(1):
                continue
            while not bytes_max or taken < bytes_max:
                piece = self.readers[i].read(self._buf, len(self._buf))
                if piece is None:
                    break
                try:
                    self._take_up(i, piece)
                except MemoryError:
                    self.readers[i].seek(piece.first)  # once more, when there is some: what the table knows already changes nothing
                    raise
                taken += piece.bytes
        self._give_out_nothing_twice()
        return bytes_max > 0 and taken >= bytes_max

    def _take_up(self, number: int, piece: "Piece") -> None:
        at = piece.at
        for header, batch in batches(memoryview(self._buf)[: piece.bytes]):
            if header.control:
                self._take_mark(bytes(batch[HEADER_BYTES:]), number)
            elif understood(header):
                try:
                    for record in records(header, batch):
                        if record.offset >= piece.first:
                            self._take(number, record, at)
                except CorruptRecord:
                    self.unreadable += 1
            at += header.length

    def _give_out_nothing_twice(self) -> None:
        """Others have seen what our log has lost of its end: what is written now must not bear its name."""
        log = self.own.current
        if self._known_to > log.written and self.is_met(0) and log.failure is None and not log.sealed:
            log.cut()
            span = self._known_to - log.written
            if span > 0:
                log.append_gap(span, CORRUPT)

    def is_met(self, first: int) -> bool:
        """Whether all that the logs from number `first` on held when the fold began is in the table."""
        return not any([self.readers[i].offset < self._ends[i] for i in range(first, len(self.logs))])

    def _take(self, number: int, record: "Record", at: int) -> None:
        if record.key is None:
            self.unreadable += 1
            return
        ext = parse_extension(record.extension)
        writer, offset, hlc = ext.writer, ext.offset, ext.hlc
        if writer is None:
            stream = self.logs[number].stream
            writer, offset, hlc = pack_writer(stream.origin, stream.epoch), record.offset, record.hlc
            ext.flags |= 0 if record.trusted else UNTRUSTED
        elif number == 0:
            for name, next_ in ext.seen + [(writer, offset + 1)]:
                if name == self._me and next_ > self._known_to:
                    self._known_to = next_
        self.table.apply(record.key, ext, writer, offset, hlc, record.tombstone, (number, record.offset, at, stored_bytes(record)))

    # Writing

    def extension_for(self, key: bytes) -> bytes:
        """What goes into the record of the next write of a key: what this node shows of it, and not what has just become durable: who
        writes has not been shown that."""
        if self._begin() or not self.is_met(0):
            self.fold()
        standing = [version for version, _ in self.table.siblings(key)]
        self._clock.observe(latest_hlc(standing))
        return pack_own(SIDES[0], seen(standing))

    def is_unchanged(self, key: bytes, value: "Buffer", max_age_ms: int) -> bool:
        """Whether a key already shows this value, in one version that is not older than that, and nothing that was just written waits to
        be seen."""
        self.fold()
        if self.own.current.next != self.readers[1 + self.own.logs().index(self.own.current)].offset:
            return False
        if not all([log.settled for log in self.logs]):
            return False  # what is shown may still be lost
        found = self.table.siblings(key)
        if len(found) != 1 or found[0][0].value is None or not 0 <= self._clock.now_ms() - (found[0][0].hlc >> 16) < max_age_ms:
            return False
        try:
            if self._version(key, found[0][0], found[0][1]).value != value:
                return False
        except (CorruptRecord, OSError):
            return False
        self.unchanged += 1
        return True

    def note_write(self, log: "Log", offset: int, key: bytes, value: "Buffer") -> None:
        """A write of a key was just accepted, on top of what stands: where it is large, remember what it changed. Raises nothing: without
        that, it travels whole."""
        if len(value) < VALUE_BYTES_MIN:
            return
        if log.deltas is None:
            writer = pack_writer(log.stream.origin, log.stream.epoch)
            log.deltas = Deltas(writer, min(DELTAS_BYTES_MAX, self._limits.buffer_bytes))
        try:
            for version, place in self.table.siblings(key)[-1:]:
                base = self._version(key, version, place).value
                if base is not None:
                    log.deltas.add(offset, base, value, pack_writer(version.origin, version.epoch), version.offset)
        except (CorruptRecord, OSError):
            pass

    def value_of(self, key: bytes, writer: bytes, offset: int) -> "bytes | None":
        """The value of a version that stands here; None if it does not, or cannot be read."""
        try:
            for version, place in self.table.siblings(key):
                if version.offset == offset and pack_writer(version.origin, version.epoch) == writer:
                    return self._version(key, version, place).value
        except (CorruptRecord, OSError):
            pass
        return None

    def is_news(self, record: "Record", ext: "Extension") -> bool:
        """Whether a carried version, with this extension, would change what stands. Raises CorruptRecord."""
        if not record.key or len(record.key) > KEY_BYTES_MAX or ext.writer is None:
            raise CorruptRecord("a version without a key that can be, or without its writer")
        return not self.table.knows(record.key, ext, ext.writer, ext.offset)

    def add_batch(self, header: "Header", batch: "Buffer") -> None:
        """As `add`, for all versions of a batch. Raises StorageFull, QueueFull."""
        others = self.others
        if others.failure is not None:
            raise StorageFull("%s: storage failed: %s; trying again" % (others.folder, others.failure))
        if others.buffered_bytes + header.length > others.limits.buffer_bytes:
            raise QueueFull("%s: %d bytes wait for the disk" % (others.folder, others.buffered_bytes))
        others.cut()
        others.append_again(header, batch[HEADER_BYTES : header.length])

    def add(self, record: "Record") -> None:
        """Store a carried version; it is in the table once it is durable. Raises StorageFull, QueueFull, UsageError (too large)."""
        value, key = record.value, record.key
        self.others.append_full(value, key, record.headers, record.timestamp_ms, 0, 0, record.tombstone, record.extension)

    def remove(self, gone: "list[tuple[bytes, Dot]]") -> None:
        """Whoever knows better says that these versions were superseded, though nothing that is here says so. Raises StorageFull."""
        rows: "list[list[object]]" = []
        for key, dot in gone:
            for version, _ in self.table.siblings(key):
                if version.dot == dot:
                    rows.append(list((key,) + dot))
                    # What it had superseded may lie in a log that outlives its record, and must not stand again.
                    rows += [[key, name[0], name[1], version.context[name] - 1] for name in sorted(version.context)]
        self.note_gone(rows)

    def note_gone(self, rows: "list[list[object]]") -> None:
        """Note that versions ([key, origin, epoch, offset]) stand no longer, in as many batches as that takes."""
        part: "list[list[object]]" = []
        room, size = self._limits.batch_bytes - HEADER_BYTES - 8, 0
        for row in rows:
            takes = len(row[0]) + len(row[1]) + 24  # type: ignore[arg-type]
            if part and size + takes > room:
                self.others.append_mark(cbor.encode((MARK_GONE, part)))
                part, size = [], 0
            part.append(row)
            size += takes
        if part:
            self.others.append_mark(cbor.encode((MARK_GONE, part)))

    def _take_mark(self, note: bytes, number: int) -> None:
        try:
            row = cbor.decode(note)
            if number == 0 and isinstance(row, list) and row[0] == MARK_GONE:
                for key, dot in read_gone(row[1]):
                    for other in self.table.dots(key):
                        if other[:2] == dot[:2] and other[2] <= dot[2]:  # who wrote it had seen what he wrote before
                            self.table.remove(key, other)
        except (ProtocolError, IndexError):
            self.unreadable += 1

    def still_needed(self, note: bytes) -> "list[list[object]]":
        """What of a removal has to be said again before its segment goes: versions that an own log still holds."""
        row = cbor.decode(note)
        firsts = {(log.stream.origin, log.stream.epoch): log.first for log in self.own.logs()}
        return [list((key,) + dot) for key, dot in read_gone(row[1]) if firsts.get(dot[:2], OFFSET_MAX) <= dot[2]]

    # Reading

    def _record(self, key: bytes, place: "Place") -> "Record":
        """Raises OSError; CorruptRecord where it cannot be read any more: then it stands here no longer, and whoever has it may bring
        it."""
        try:
            return record_at(self.logs[place[0]], place[1], place[2])
        except CorruptRecord:
            self.table.lose(key, place)
            self.unreadable += 1
            self.lost = True
            raise

    def _version(self, key: bytes, version: "Version", place: "Place") -> "Version":
        """A version with its value. Raises CorruptRecord, OSError."""
        if version.value is not None:
            version.value = self._record(key, place).value
        return version

    def bodies(self, key: bytes) -> "list[bytes]":
        """What stands of a key, as records that are carried to another replica; without what cannot be read."""
        found = []
        for version, place in self.table.siblings(key):
            try:
                record = self._record(key, place)
            except (CorruptRecord, OSError):
                continue
            extension = pack_carried(version)
            value, headers, timestamp_ms = record.value, record.headers, record.timestamp_ms
            found.append(bytes(encode_record(0, 0, 0, value, key, headers, timestamp_ms, record.tombstone, extension)))
        return found

    def versions(self, key: bytes) -> "list[Version]":
        """What stands of a key, the earliest first; empty if it was never written. Raises CorruptRecord, OSError."""
        return [self._version(key, version, place) for version, place in self.table.siblings(key)]

    def resolve(self, key: bytes) -> "tuple[list[Version], Resolution | None]":
        """(what stands, what is shown of it and why: None where no two versions disagree)"""
        versions = self.versions(key)
        if len(versions) < 2:
            return versions, None
        return versions, self.resolver.resolve(Conflict(self.topic, self.number, key, versions))

    def get(self, key: bytes) -> "bytes | None":
        """The value that is shown; None for a key that was never written, or is deleted. Raises CorruptRecord, OSError."""
        versions, resolution = self.resolve(key)
        if resolution is not None:
            return resolution.value
        return versions[0].value if versions else None

    # Giving back

    def tick(self) -> bool:
        """Fold what is new, and carry over where too much of a log no longer stands. Returns whether there is more to do at once."""
        for log in [self.others] + self.own.logs():
            if log.failure is not None:
                return False
        self._lose_what_rotted()
        return self.fold(FOLD_BYTES_MAX) or self._carry_over.tick()

    def _lose_what_rotted(self) -> None:
        """Whoever read a log may have met what cannot be read any more, and has noted it: the hub hears of a gap, and so it must not stand
        here."""
        for i in range(len(self.logs)):
            rows = self.logs[i].state.gaps.rows
            if rows is not self._gaps[i]:
                for first, next_, _ in rows:
                    # What came from others may have rotted before it was in the table.
                    self.lost = self.table.lose_all(i, first, next_) or i == 0 or self.lost
                self._gaps[i] = rows


def stored_bytes(record: "Record") -> int:
    """About what a record takes on the disk."""
    return len(record.key or b"") + len(record.value) + len(record.extension) + OVERHEAD_BYTES


def record_at(log: "Log", offset: int, at: int) -> "Record":
    """The record at `offset`, whose batch is at byte `at` of its segment. Raises CorruptRecord where it is not, OSError."""
    segments = log.segments
    name = segments.name_of(segments.bases[segments.index_of(offset)]) if segments.bases else ""
    head = bytearray(HEADER_BYTES)
    header = parse_header(memoryview(head)[: log.storage.read_into(name, at, head)]) if name else None
    if header is not None and header.base <= offset < header.next:
        batch = bytearray(header.length)
        if log.storage.read_into(name, at, batch) == header.length and body_is_whole(header, batch):
            for record in records(header, batch):
                if record.offset == offset:
                    return record
    raise CorruptRecord("%s: what was stored at offset %d cannot be read" % (log.folder, offset))
