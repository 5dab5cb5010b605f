"""Anti-entropy of one keyed partition between two replicas, over a session: what one holds and the other has not is found, and only that
travels.

Rule: a message is understood by itself, and answered from what is held then (digest.py); what is lost on the way is found the next time.
Nothing here decides which version stands: versions are joined by whoever takes them. Knows nothing of frames' bytes or of stores.
"""

import binascii
import struct

from . import frames
from .batch import BATCH_BYTES_MAX, HEADER_BYTES, pack_header
from .digest import DIGEST_BYTES, DIGESTS_MAX, HASH_MAX, Level, chosen, differing, digests, hash_set, hashes, plan, unknown
from .errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, Protocol, Sequence

    from .frames import Frame
    from .session import Session

    Dot = tuple[str, int, int]

    class Replica(Protocol):
        """What one side holds of a partition, as the other side may have it."""

        def count(self) -> int: ...
        def root(self) -> int: ...
        def entries(self) -> "Iterable[tuple[bytes, Sequence[tuple[str, int, int, bool]]]]": ...
        def bodies(self, key: bytes) -> "Sequence[bytes]": ...


LEVELS = 0  # digests of a level's buckets
LISTING = 1  # hashes of entries in a leaf level
WANTED = 2  # hashes of entries that are asked for
SAME = 3  # the digests that came are those of what is held here
TRIES_MAX = 6  # in one session
TRY_MS = 4000  # before the next try, doubled each time
FRAME_ROOM_BYTES = 32  # around a batch in a DIFF
GONE_MAX = 4096  # that wait to be told
MESSAGES_MAX = 256  # that wait to be sent

ROW_BYTES = 12  # of a digest or hash and its parent's number in a message


def digests_for(frame_bytes_max: int) -> int:
    """How many digests a message may have for frames of that size: a power of two."""
    n = 2
    while 2 * n * ROW_BYTES + 64 <= frame_bytes_max and 2 * n <= DIGESTS_MAX:
        n *= 2
    return n


class Reconciler:
    """replica: what is held here; digests_max: of one message, a power of two. same: whether the last exchange found no difference."""

    def __init__(self, replica: "Replica", digests_max: int = DIGESTS_MAX) -> None:
        self.same = False
        self._replica = replica
        self._digests_max = min(digests_max, DIGESTS_MAX)
        self._states: "list[tuple[Any, ...]]" = []
        self._keys: "dict[bytes, bool]" = {}  # whose versions are to be sent
        self._gone: "list[tuple[bytes, str, int, int]]" = []
        self._tries = 0
        self._next_ms = 0

    # Who begins

    def due(self, now_ms: int) -> int:
        """Begin, if it is time. Returns when to come again, -1 if there is nothing to begin any more."""
        if self.same or self._tries >= TRIES_MAX:
            return -1
        if now_ms >= self._next_ms:
            self._next_ms = now_ms + (TRY_MS << self._tries)
            self._tries += 1
            self._queue(LEVELS, Level(0), 0, 0, struct.pack("<Q", self._replica.root()))
        return self._next_ms if self._tries < TRIES_MAX else -1

    def changed(self) -> None:
        """Something was found that the other side may know better: begin anew."""
        self.same, self._tries, self._next_ms = False, 0, 0

    # Messages

    def take(self, kind: int, bits: int, parents: "Sequence[int]", parents_bits: int, first: int, last: int, data: bytes) -> None:
        """A message of the other side, as `next_state` gives it. Raises ProtocolError."""
        replica, level = self._replica, Level(bits, parents, parents_bits)
        if len(data) > DIGEST_BYTES * DIGESTS_MAX:
            raise ProtocolError("a STATE of %d bytes" % len(data))
        if kind == SAME:
            self.same = True
        elif kind == LEVELS:
            self._compare(level, data)
        elif kind == LISTING:
            theirs = hash_set(data)
            self._want_sent(unknown(replica.entries(), level, first, last, theirs))
            if theirs:
                self._queue(WANTED, level, 0, 0, b"".join([struct.pack("<Q", n) for n in sorted(theirs)]))
        elif kind == WANTED:
            self._want_sent(chosen(replica.entries(), level, hash_set(data)))
        else:
            raise ProtocolError("a STATE of kind %d" % kind)

    def _compare(self, level: Level, theirs: bytes) -> None:
        replica = self._replica
        if level.bits == 0:  # one digest for all, which is kept
            mine: "bytes | bytearray" = struct.pack("<Q", replica.root())
        else:
            mine = digests(replica.entries(), level)
        both, only_here = differing(mine, theirs)
        if not both and not only_here:
            if level.bits == 0:
                self.same = True
                self._queue(SAME, level, 0, 0, b"")
            return
        if only_here:
            here = level.at(only_here)
            self._want_sent([key for key, _ in replica.entries() if here.position(key) >= 0])
        for next_ in plan(level, both, replica.count(), self._digests_max) if both else ():
            self._send(next_)

    def _want_sent(self, keys: "Iterable[bytes]") -> None:
        for key in keys:
            self._keys[key] = True

    def _send(self, level: Level) -> None:
        replica = self._replica
        if not level.leaf:
            self._queue(LEVELS, level, 0, 0, bytes(digests(replica.entries(), level)))
            return
        first = 0
        while first <= HASH_MAX and len(self._states) < MESSAGES_MAX:
            found, last = hashes(replica.entries(), level, first, self._digests_max)
            self._queue(LISTING, level, first, last, bytes(found))
            first = last + 1

    def _queue(self, kind: int, level: Level, first: int, last: int, data: bytes) -> None:
        if len(self._states) < MESSAGES_MAX:
            self._states.append((kind, level.bits, list(level.parents), level.parents_bits, first, last, data))

    def next_state(self) -> "tuple[Any, ...] | None":
        """The next message for the other side: kind, the level's bits, parents and their bits, first, last, data."""
        return self._states.pop(0) if self._states else None

    def tell_gone(self, key: bytes, dot: "Dot") -> None:
        """The other side has a version that stands no longer."""
        if len(self._gone) < GONE_MAX:
            self._gone.append((key,) + dot)

    def next_versions(self, bytes_max: int) -> "tuple[bytes, list[tuple[object, ...]]] | None":
        """A batch of versions that the other side has not, of about so many bytes, and what stands no longer; None if there is neither."""
        gone: "list[tuple[object, ...]]" = []
        while self._gone and bytes_max > HEADER_BYTES + 256:
            bytes_max -= len(self._gone[0][0]) + len(self._gone[0][1]) + 24
            gone.append(self._gone.pop(0))
        if gone:
            return b"", gone
        room = min(bytes_max, BATCH_BYTES_MAX) - HEADER_BYTES
        bodies: "list[bytes]" = []
        size = 0
        for key in sorted(self._keys):
            found = self._replica.bodies(key)
            more = sum([len(body) for body in found])
            if bodies and size + more > room:
                break
            bodies.extend(found)
            size += more
            del self._keys[key]
        if not bodies:
            return None
        body = b"".join(bodies)
        head = bytearray(HEADER_BYTES)
        pack_header(head, 0, len(bodies), len(bodies), 0, 0, 0, 0, 0, 0, len(body), binascii.crc32(body))
        return bytes(head) + body, []

    @property
    def pending(self) -> bool:
        return len(self._states) > 0 or len(self._keys) > 0 or len(self._gone) > 0


class Reconcilers:
    """Those of one session, by the handle of a keyed topic's feed; frames for them and from them."""

    def __init__(self) -> None:
        self.by_handle: "dict[int, Reconciler]" = {}

    def take(self, session: "Session", frame: "Frame") -> None:
        """A STATE or a DIFF. Raises ProtocolError."""
        handle = frame.fields[0]
        reconciler = self.by_handle.get(handle)
        data = frame.fields[1 if frame.type == frames.DIFF else 7]
        if reconciler is None or not isinstance(data, bytes):
            raise ProtocolError("a %s of a feed that was not offered" % frames.NAMES[frame.type])
        if frame.type == frames.DIFF:
            session.owner.versions(session, handle, data, read_gone(frame.fields[2]))
        else:
            kind, bits, parents, parents_bits, first, last = frame.fields[1:7]
            reconciler.take(kind, bits, parents, parents_bits, first, last, data)

    def next_state(self, session: bytes) -> "bytes | None":
        for handle in sorted(self.by_handle):
            state = self.by_handle[handle].next_state()
            if state is not None:
                return frames.encode(frames.STATE, session, (handle,) + state)
        return None

    def next_versions(self, session: bytes, frame_bytes_max: int) -> "bytes | None":
        for handle in sorted(self.by_handle):
            found = self.by_handle[handle].next_versions(frame_bytes_max - FRAME_ROOM_BYTES)
            if found is not None:
                return frames.encode(frames.DIFF, session, (handle,) + found)
        return None


def begin(session: "Session", handle: int, replica: "Replica") -> None:
    """Compare what is held of a keyed topic's feed with the other side of a session."""
    if session.reconcilers is None:
        session.reconcilers = Reconcilers()
    session.reconcilers.by_handle[handle] = Reconciler(replica, digests_for(session.outlet.frame_bytes_max))


def read_gone(rows: object) -> "list[tuple[bytes, Dot]]":
    """The third part of a DIFF. Raises ProtocolError for anything else than [[key, origin, epoch, offset], …]."""
    found = []
    if not isinstance(rows, list):
        raise ProtocolError("a DIFF of the wrong shape")
    for row in rows:
        if not isinstance(row, list) or len(row) < 4 or not isinstance(row[0], bytes) or not isinstance(row[1], str):
            raise ProtocolError("a DIFF of the wrong shape")
        if type(row[2]) is not int or type(row[3]) is not int:
            raise ProtocolError("a DIFF of the wrong shape")
        found.append((row[0], (row[1], row[2], row[3])))
    return found
