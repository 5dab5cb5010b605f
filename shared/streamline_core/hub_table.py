"""The tables of a hub: what stands of each key, joined as versions arrive.

Rule: a version is joined with what the store holds and with what is on its way there, so that a transaction says all that changes; one that
no sound node can have written is refused and counts for nothing. Knows nothing of sessions or of SQL.
"""

from . import difference
from .batch import batches, records, understood
from .delta import VALUE_BYTES_MIN, Delta
from .digest import entry_hash, replaced
from .errors import CorruptRecord
from .extension import pack_carried, pack_writer, version_of, writer_of
from .record import Record, read_records
from .record_encoder import encode_record
from .store_ops import TombstoneDropped, VersionRefused, VersionStands
from .stream import StreamId
from .table import KEY_BYTES_MAX
from .version import join, why_unsound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Sequence

    from .ports import Buffer, Store
    from .reconcile import Dot
    from .store_ops import ChunkReceived, Op
    from .version import Context, Standing, Version

    Where = tuple[str, int, bytes]

DELTAS_BYTES_MAX = 8 << 20
TOMBSTONES_EACH = 256
FUTURE_MS_MAX = 86400000  # a stamp further ahead than this is held for the work of a clock that nobody had set


class HubTable:
    """me: the hub's node id. refused: versions that no sound node can have written; why_refused: the last one; demoted: stamps held for
    absurd; deltas: of large values that took the place of others, by (topic, partition) and dot."""

    def __init__(self, me: str, store: "Store") -> None:
        self.refused = 0
        self.why_refused = ""
        self.demoted = 0
        self.deltas: "dict[tuple[str, int, str, int, int], Delta]" = {}
        self._roots: "dict[tuple[str, int], int]" = {}
        self._deltas_bytes = 0
        self._deltas_bytes_max = DELTAS_BYTES_MAX
        self._me = me
        self._store = store
        self._named: "dict[tuple[str, int, str, int, int], bytes]" = {}  # keys of versions on their way, by dot
        self._under_way: "dict[Where, tuple[list[Version], int]]" = {}  # what will stand, and how many ops will make it so

    def value_of(self, topic: str, partition: int, key: bytes, writer: bytes, offset: int) -> "bytes | None":
        """The value of a version that stands, or is on its way to; None if there is none."""
        origin, epoch = writer_of(writer)
        found = self._under_way.get((topic, partition, key))
        for version in found[0] if found is not None else ():
            if version.dot == (origin, epoch, offset) and version.value:
                return version.value
        row = self._store.load_version(topic, partition, (origin, epoch, offset))
        return _decoded(row.record).value if row is not None and row.key == key else None

    def _note_delta(self, where: "Where", version: "Version", before: "list[Version]") -> None:
        """Where a large value takes the place of another, remember what it changed."""
        base = before[-1] if before else None
        if version.value is None or len(version.value) < VALUE_BYTES_MIN or base is None or base.value is None:
            return
        row = self._store.load_version(where[0], where[1], base.dot)
        if row is None or len(row.record) < VALUE_BYTES_MIN:
            return  # it is on its way to the store itself
        content = difference.make(_decoded(row.record).value, version.value, len(version.value) // 2)
        if content is not None:
            while self.deltas and self._deltas_bytes + len(content) > self._deltas_bytes_max:
                oldest = next(iter(self.deltas))
                self._deltas_bytes -= len(self.deltas.pop(oldest).content)
            delta = Delta(pack_writer(base.origin, base.epoch), base.offset, content, row.cloud_offset)
            self.deltas[(where[0], where[1]) + version.dot] = delta
            self._deltas_bytes += len(content)

    def siblings(self, where: "Where") -> "list[Version]":
        """What stands of a key, or is about to: what a write of the hub's own, now, has seen of it."""
        found = self._under_way.get(where)
        if found is not None:
            return found[0]
        rows = self._store.load_siblings(where[0], where[1], where[2])
        return join([_version(extension, deleted) for extension, deleted in rows])

    def take(self, op: "ChunkReceived", data: "Buffer", heads: "Context", wall_ms: "int | None") -> "list[Op]":
        """Join the versions in a chunk of a keyed topic, `data` being its batches; `op.versions` says what of it stands. heads: where the
        hub's own streams end. Returns what else the store has to note."""
        ops: "list[Op]" = []
        index = 0
        for header, batch in batches(data):
            if header.control or not understood(header):
                continue
            for record in records(header, batch):
                if op.first <= record.offset < op.next:
                    why = self._join(op, index, record, heads, wall_ms)
                    if why is not None:
                        self.refused += 1
                        self.why_refused = "%r at offset %d: %s" % (op.stream, record.offset, why)
                        ops.append(VersionRefused(op.stream, record.offset, _encoded(record, record.extension), why))
                    index += 1
        return ops

    def _join(self, op: "ChunkReceived", index: int, record: "Record", heads: "Context", wall_ms: "int | None") -> "str | None":
        """Returns why it is refused, or None."""
        stream = op.stream
        if not record.key or len(record.key) > KEY_BYTES_MAX:
            return "a record with a key of %d bytes on a keyed topic" % len(record.key or b"")
        try:
            version = version_of(record, stream.origin, stream.epoch)
        except CorruptRecord as error:
            return str(error)
        ours = (version.origin, version.epoch) in heads
        if version.dot != (stream.origin, stream.epoch, record.offset):  # carried, which only the hub does
            if stream.origin != self._me or ours:
                return "it is called %r, which is not where it is" % version  # it could take a word before that is spoken
        # What we write in this opening has names of its own: their epoch was drawn for it, and no carried version may bear it.
        if not ours and self._names_other_key(stream.topic, stream.partition, record.key, version.dot):
            return "it is called %r, as a version of another key is" % version
        why = why_unsound(version, self._me, heads)
        if why is not None:
            return why
        if wall_ms is not None and version.trusted and version.hlc >> 16 > wall_ms + FUTURE_MS_MAX:
            version.demoted = True
            self.demoted += 1
        where = (stream.topic, stream.partition, record.key)
        before = self.siblings(where)
        root = self._roots.get((stream.topic, stream.partition))
        after = join(before, [version])
        if version not in after:
            return None  # it was superseded before it came, or is known
        self._note_delta(where, version, before)
        if root is not None:
            was = entry_hash(record.key, [other.standing for other in before]) if before else 0
            root = replaced(root, was, entry_hash(record.key, [other.standing for other in after]))
            self._roots[stream.topic, stream.partition] = root
        gone = [other.dot for other in before if other not in after]
        extension = pack_carried(version)
        encoded = _encoded(record, extension)
        row = VersionStands(index, record.key, version.dot, extension, encoded, record.tombstone, version.demoted, gone, wall_ms or 0)
        op.versions.append(row)
        self._named[(stream.topic, stream.partition) + version.dot] = record.key
        under_way = self._under_way.get(where)
        self._under_way[where] = after, under_way[1] + 1 if under_way is not None else 1
        return None

    def root(self, topic: str, partition: int) -> int:
        """The digest of all that stands (digest.py); kept once it was asked for."""
        place = (topic, partition)
        found = self._roots.get(place)
        if found is None:
            found = 0
            for key, standing in self._store.load_standing(topic, partition):
                if (topic, partition, key) not in self._under_way:
                    found = replaced(found, 0, entry_hash(key, standing))
            for where in self._under_way:
                if where[:2] == place:
                    found = replaced(found, 0, entry_hash(where[2], [version.standing for version in self._under_way[where][0]]))
            self._roots[place] = found
        return found

    def keys(self, topic: str, partition: int) -> int:
        """How many keys there are."""
        return sum([1 for _ in self._store.load_standing(topic, partition)])

    def tombstones(self, before_ms: int) -> "list[TombstoneDropped]":
        """Deletions that arrived before that time (since 1970 UTC) and stand alone: they may go, some at a time."""
        found = []
        for topic, partition, key, dot in self._store.load_tombstones(before_ms, TOMBSTONES_EACH):
            where = (topic, partition, key)
            siblings = self.siblings(where)
            if where not in self._under_way and [version.dot for version in siblings] == [dot]:
                root = self._roots.get((topic, partition))
                if root is not None:
                    self._roots[topic, partition] = replaced(root, entry_hash(key, [siblings[0].standing]), 0)
                found.append(TombstoneDropped(topic, partition, dot))
        return found

    def stands(self, record: "Record", topic: str, partition: int) -> bool:
        """Whether a carried version stands here. Raises CorruptRecord."""
        dot = version_of(record, "", 0).dot
        return any([other.dot == dot for other in self.siblings((topic, partition, record.key or b""))])

    def superseded(self, record: "Record", topic: str, partition: int) -> "Dot | None":
        """The dot of a carried version that was here, as its stream's watermark says, and stands no longer; None of any other. Raises
        CorruptRecord."""
        version = version_of(record, "", 0)
        if not version.origin:
            raise CorruptRecord("a version without its writer")  # it would become one of our own
        state = self._store.load_stream(StreamId(version.origin, topic, partition, version.epoch))
        if state is None or state.next <= version.offset or self.stands(record, topic, partition):
            return None
        return version.dot

    def _names_other_key(self, topic: str, partition: int, key: bytes, dot: "Dot") -> bool:
        """Whether a version of another key stands, or is on its way to, under this name."""
        named = self._named.get((topic, partition) + dot)
        if named is None:
            row = self._store.load_version(topic, partition, dot)
            named = row.key if row is not None else key
        return named != key

    def committed(self, op: "ChunkReceived") -> None:
        """The store has committed an op: what stands by it is there."""
        for row in op.versions:
            where = (op.stream.topic, op.stream.partition, row.key)
            self._named.pop(where[:2] + row.dot, None)
            found = self._under_way.get(where)
            if found is not None:
                if found[1] > 1:
                    self._under_way[where] = found[0], found[1] - 1
                else:
                    del self._under_way[where]

    def forget(self) -> None:
        """Nothing is on its way any more: the store says what stands."""
        self._under_way = {}
        self._named = {}
        self._roots = {}


def _decoded(record: bytes) -> "Record":
    for found in read_records(record, 0, len(record), 0, 0, True, 1, 1):
        return found
    raise CorruptRecord("a stored version without a record")


def _version(extension: bytes, deleted: bool) -> "Version":
    return version_of(Record(0, 0, True, None, b"", b"", (), deleted, extension), "", 0)


def _encoded(record: "Record", extension: bytes) -> bytes:
    value, key, headers = record.value, record.key, record.headers
    return bytes(encode_record(0, 0, 0, value, key, headers, record.timestamp_ms, record.tombstone, extension))


class StoreReplica:
    """What the hub holds of a keyed partition."""

    def __init__(self, table: HubTable, store: "Store", topic: str, partition: int) -> None:
        self._table = table
        self._store = store
        self._place = topic, partition

    def count(self) -> int:
        return self._table.keys(*self._place)

    def root(self) -> int:
        return self._table.root(*self._place)

    def entries(self) -> "Iterable[tuple[bytes, Sequence[Standing]]]":
        return self._store.load_standing(*self._place)

    def bodies(self, key: bytes) -> "Sequence[bytes]":
        return self._store.load_records(self._place[0], self._place[1], key)
