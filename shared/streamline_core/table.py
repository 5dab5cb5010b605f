"""The index of a keyed topic's partition: for each key the versions that stand, and where each of them lies.

Rule: an entry is what was joined (as `version.join` has it), packed; values stay in the logs. A version met again only moves to where it
was met last. Nothing here is saved: it is a fold over logs, in whatever order. Knows nothing of how a log is read.
"""

import struct

from .digest import entry_hash, replaced
from .extension import CLOUD_SIDE, DEMOTED, UNTRUSTED, writer_of
from .record import get_varint
from .record_encoder import put_varint
from .version import SIDES, Version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterator

    from .extension import Extension
    from .version import Standing

    # number of the log, offset there, byte of its batch in the segment, bytes that it takes
    Place = tuple[int, int, int, int]
    Sibling = tuple[int, int, int, int, Place, int, int]  # writer, offset, flags, hlc, place, where it ends, where its context begins

KEY_BYTES_MAX = 1024
TOMBSTONE = 8  # beside the flags of an Extension
CHANGES_MAX = 4096  # keys that have changed since the digest of all was last asked for; beyond, it is made anew
WATCHED_MAX = 1024  # changed keys that wait for a watcher; beyond, it is told that anything may have changed


class Table:
    """live_bytes: {number of a log: bytes of what stands there}. conflicts: keys of which more than one version stands."""

    def __init__(self) -> None:
        self._entries: "dict[bytes, bytes]" = {}
        self._names: "list[tuple[str, int]]" = []
        self._ids: "dict[bytes, int]" = {}
        self.live_bytes: "dict[int, int]" = {}
        self.conflicts = 0
        self.deleted = 0
        self.watches: "list[Watch]" = []
        self._root = -1  # the digest of all, as of the last time that it was asked for; -1: not known
        self._before: "dict[bytes, list[Standing]]" = {}  # what stood then of keys that have changed since

    def __len__(self) -> int:
        """Keys, deleted ones included."""
        return len(self._entries)

    def writer(self, packed: bytes) -> int:
        """The number of a writer here. Raises CorruptRecord where it has no name."""
        found = self._ids.get(packed)
        if found is None:
            self._names.append(writer_of(packed))
            found = len(self._names) - 1
            try:
                self._ids[packed] = found
            except MemoryError:
                self._names.pop()
                raise
        return found

    def name(self, packed: bytes) -> "tuple[str, int]":
        """(origin, epoch) of a writer. Raises CorruptRecord where it has no name."""
        return self._names[self.writer(packed)]

    def apply(self, key: bytes, ext: "Extension", writer: bytes, offset: int, hlc: int, deleted: bool, place: "Place") -> bool:
        """Join a version. ext: with its UNTRUSTED flag, wherever the stamp is; writer, offset, hlc: whose it is. Returns whether what
        stands has changed. Raises CorruptRecord for a writer without a name, and MemoryError, which leaves all as it was."""
        me = self.writer(writer)
        flags = ext.flags & (CLOUD_SIDE | UNTRUSTED | DEMOTED) | (TOMBSTONE if deleted else 0)
        seen = {self.writer(name): next_ for name, next_ in ext.seen}
        old = self._entries.get(key, b"")
        kept, gone, at, count, moved = b"", [], 0, 0, False
        alone = 0  # what the only one that stood was
        while at < len(old):
            other, others_offset, others_flags, _, its_place, end, context = _parse(old, at)
            if other == me and others_offset == offset:
                if others_flags & DEMOTED and not flags & DEMOTED:
                    return False  # once demoted, for good
                moved = others_flags == flags
                gone.append(its_place)
            elif (other == me and others_offset > offset) or _has_seen(old, context, me, offset):
                return False
            elif other == me or seen.get(other, 0) > others_offset:
                gone.append(its_place)
            else:
                kept += old[at:end]
                count += 1
            alone = others_flags if not at and end == len(old) else -1
            at = end
        out = bytearray(kept)
        put_varint(out, me)
        put_varint(out, offset)
        out.append(flags)
        out += struct.pack("<Q", hlc)
        for number in place:
            put_varint(out, number)
        put_varint(out, len(seen))
        for name in seen:
            put_varint(out, name)
            put_varint(out, seen[name])
        if not moved:
            self._tell(key)
        live = self.live_bytes
        live[place[0]] = live.get(place[0], 0)
        self._entries[key] = bytes(out)
        live[place[0]] += place[3]
        for row in gone:
            live[row[0]] -= row[3]
        if old:
            self._count(alone, -1)
        self._count(-1 if kept else flags, 1)
        return not moved

    def _tell(self, key: bytes) -> None:
        """What stands of a key is about to change. Comes first: it may find no memory."""
        self._note_change(key)
        for watch in self.watches:
            watch.changed(key)

    def _count(self, alone: int, by: int) -> None:
        """A key comes or goes. alone: the flags of the only version that stands, -1 where there are more."""
        if alone < 0:
            self.conflicts += by
        elif alone & TOMBSTONE:
            self.deleted += by

    def _alone(self, entry: bytes) -> int:
        row = _parse(entry, 0)
        return row[2] if row[5] == len(entry) else -1

    def _note_change(self, key: bytes) -> None:
        if self._root >= 0 and key not in self._before:
            if len(self._before) >= CHANGES_MAX:
                self._root, self._before = -1, {}
            else:
                self._before[key] = self.standing(key)

    def root(self) -> int:
        """The digest of all keys (digest.py)."""
        if self._root < 0:
            self._root = 0
            for key in self._entries:
                self._root = replaced(self._root, 0, entry_hash(key, self.standing(key)))
        for key in self._before:
            before, now = self._before[key], self.standing(key)
            self._root = replaced(self._root, entry_hash(key, before) if before else 0, entry_hash(key, now) if now else 0)
        self._before = {}
        return self._root

    def entries(self) -> "Iterator[tuple[bytes, list[Standing]]]":
        """Each key with what stands of it."""
        for key in self._entries:
            yield key, self.standing(key)

    def lose(self, key: bytes, place: "Place") -> None:
        """What lies at this place cannot be read any more."""
        self._drop(key, lambda row: row[4][:2] == place[:2])

    def lose_all(self, number: int, first: int, next_: int) -> bool:
        """What lies in a log at offsets [first, next) cannot be read any more. Returns whether anything stood there."""
        keys = [key for key in self._entries if any([row[4][0] == number and first <= row[4][1] < next_ for row in self._siblings(key)])]
        for key in keys:
            self._drop(key, lambda row: row[4][0] == number and first <= row[4][1] < next_)
        return len(keys) > 0

    def remove(self, key: bytes, dot: "tuple[str, int, int]") -> None:
        """This version was superseded, as somebody knows who knows more."""
        self._drop(key, lambda row: self._names[row[0]] + (row[1],) == dot)

    def _drop(self, key: bytes, is_gone: "Callable[[Sibling], bool]") -> None:
        entry, kept, gone = self._entries.get(key, b""), b"", []
        at = 0
        while at < len(entry):
            row = _parse(entry, at)
            if is_gone(row):
                gone.append(row[4])
            else:
                kept += entry[at : row[5]]
            at = row[5]
        if not gone:
            return
        was, is_ = self._alone(entry), self._alone(kept) if kept else 0
        self._tell(key)
        if kept:
            self._entries[key] = kept
            self._count(is_, 1)
        else:
            del self._entries[key]
        self._count(was, -1)
        for place in gone:
            self.live_bytes[place[0]] -= place[3]

    def knows(self, key: bytes, ext: "Extension", writer: bytes, offset: int) -> bool:
        """Whether `apply` would change nothing."""
        me = self.writer(writer)
        entry, at = self._entries.get(key, b""), 0
        while at < len(entry):
            other, others_offset, flags, _, _, end, context = _parse(entry, at)
            if other == me and others_offset == offset:
                return bool(flags & DEMOTED) or not ext.flags & DEMOTED
            if (other == me and others_offset > offset) or _has_seen(entry, context, me, offset):
                return True
            at = end
        return False

    def stands_at(self, key: bytes, place: "Place") -> bool:
        """Whether what lies at this place stands."""
        return any([sibling[4][:2] == place[:2] for sibling in self._siblings(key)])

    def _siblings(self, key: bytes) -> "Iterator[Sibling]":
        entry, at = self._entries.get(key, b""), 0
        while at < len(entry):
            row = _parse(entry, at)
            yield row
            at = row[5]

    def siblings(self, key: bytes) -> "list[tuple[Version, Place]]":
        """What stands of a key, the earliest first: versions without their values (those of deletions are None, others b""), and where the
        values lie. Empty for a key that was never written."""
        entry = self._entries.get(key, b"")
        found = []
        for row in self._siblings(key):
            origin, epoch = self._names[row[0]]
            flags = row[2]
            context = {self._names[name]: next_ for name, next_ in _context(entry, row[6])}
            value = None if flags & TOMBSTONE else b""
            side, trusted = SIDES[1] if flags & CLOUD_SIDE else SIDES[0], not flags & UNTRUSTED
            found.append((Version(origin, epoch, row[1], side, row[3], trusted, context, value, flags & DEMOTED != 0), row[4]))
        found.sort(key=lambda pair: pair[0].order)
        return found

    def dots(self, key: bytes) -> "list[tuple[str, int, int]]":
        """The dots of what stands of a key."""
        return [self._names[row[0]] + (row[1],) for row in self._siblings(key)]

    def standing(self, key: bytes) -> "list[Standing]":
        """(origin, epoch, offset, whether it is demoted) of what stands of a key."""
        return [self._names[row[0]] + (row[1], row[2] & DEMOTED != 0) for row in self._siblings(key)]

    def keys(self, prefix: bytes = b"", deleted: bool = False) -> "list[bytes]":
        """Keys that begin with `prefix`, sorted; those of which only deletions stand, if asked for."""
        return sorted([key for key in self._entries if key.startswith(prefix) and (deleted or not self._is_deleted(key))])

    def in_conflict(self) -> "list[bytes]":
        """Keys of which more than one version stands, sorted."""
        return sorted([key for key in self._entries if _parse(self._entries[key], 0)[5] < len(self._entries[key])])

    def _is_deleted(self, key: bytes) -> bool:
        return all([row[2] & TOMBSTONE for row in self._siblings(key)])

    def forget(self, key: bytes) -> None:
        """A deleted key of which nobody holds anything older any more."""
        self._note_change(key)
        rows = list(self._siblings(key))
        for row in rows:
            self.live_bytes[row[4][0]] -= row[4][3]
        if key in self._entries:
            del self._entries[key]
            self._count(rows[0][2] if len(rows) == 1 else -1, -1)

    def clear(self) -> None:
        """Before another fold: everything is met again."""
        self._entries = {}
        self._names, self._ids = [], {}
        self.live_bytes = {}
        self.conflicts = self.deleted = 0
        self._root, self._before = -1, {}


class Watch:
    """Keys that have changed since they were last taken."""

    def __init__(self) -> None:
        self._keys: "dict[bytes, bool]" = {}
        self._all = False

    def changed(self, key: bytes) -> None:
        if len(self._keys) < WATCHED_MAX or key in self._keys:
            self._keys[key] = True
        else:
            self._all = True

    def take(self) -> "tuple[list[bytes], bool]":
        """(the keys, whether any other may have changed, too); they are not told again."""
        keys, all_ = sorted(self._keys), self._all
        self._keys, self._all = {}, False
        return keys, all_


def _parse(entry: bytes, at: int) -> "Sibling":
    """The sibling at byte `at`. Small numbers are the rule, and half of the time is spent here: so they are read without a call."""
    numbers = []
    for i in range(7):
        n = entry[at]
        at += 1
        if n > 127:
            more = entry[at]
            at += 1
            n = n & 127 | (more & 127) << 7
            if more > 127:
                rest, at = get_varint(entry, at, len(entry))
                n |= rest << 14
        numbers.append(n)
        if i == 1:
            flags = entry[at]
            hlc = struct.unpack_from("<Q", entry, at + 1)[0]
            at += 9
    context = at - 1  # a context has few writers, so that their count is one byte
    for _ in range(2 * numbers[6]):
        while entry[at] > 127:
            at += 1
        at += 1
    return numbers[0], numbers[1], flags, hlc, (numbers[2], numbers[3], numbers[4], numbers[5]), at, context


def _context(entry: bytes, at: int) -> "Iterator[tuple[int, int]]":
    count, at = get_varint(entry, at, len(entry))
    for _ in range(count):
        name, at = get_varint(entry, at, len(entry))
        next_, at = get_varint(entry, at, len(entry))
        yield name, next_


def _has_seen(entry: bytes, context: int, writer: int, offset: int) -> bool:
    """Whether the writer of a sibling, whose context begins at byte `context`, had seen this dot."""
    if not entry[context]:
        return False
    for name, next_ in _context(entry, context):
        if name == writer:
            return next_ > offset
    return False
