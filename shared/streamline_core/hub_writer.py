"""What is produced at the hub: streams of its own, one for each (topic, partition) and opening.

Rule: a record is accepted into a batch and committed with it; its writer hears when. Each opening writes under an epoch of its own, so that
a store restored from a backup never gives one name to two writes. Knows nothing of sessions or of SQL.
"""

import binascii

from .append_log import MOVE_ROOM_BYTES
from .batch import BATCH_BYTES_MAX, HEADER_BYTES, UNTRUSTED, pack_header
from .errors import QueueFull, UsageError
from .extension import pack_own
from .record_encoder import encode_record
from .recovery import random_u32
from .store_ops import ChunkReceived, StreamState
from .stream import StreamId
from .version import SIDES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Sequence

    from .hlc import HybridClock
    from .ports import Buffer, Entropy
    from .version import Context

COUNT_MAX = 4096  # records of one batch
WAITING_MAX = 65536  # records that are accepted and not committed
VALUE_BYTES_MAX = BATCH_BYTES_MAX - HEADER_BYTES - MOVE_ROOM_BYTES - 2048  # beside a key and its context


class Written:
    """One record that was produced here. stream, offset: where it is; done(error or None): called once, when it is committed or will never
    be; may be set at any time before."""

    def __init__(self, stream: StreamId, offset: int) -> None:
        self.stream = stream
        self.offset = offset
        self.done: "Callable[[Exception | None], None] | None" = None


class _Stream:
    """next: the offset of the next batch; bodies: its records so far, `size` bytes, of this `hlc`."""

    def __init__(self, stream: StreamId) -> None:
        self.stream = stream
        self.next = 0
        self.bodies: "list[bytearray]" = []
        self.size = HEADER_BYTES
        self.hlc = 0
        self.waiting: "list[Written]" = []


class HubWriter:
    """me: the hub's node id; term: of this opening."""

    def __init__(self, me: str, term: int, clock: "HybridClock", entropy: "Entropy") -> None:
        self._me = me
        self._term = term
        self._clock = clock
        self._entropy = entropy
        self._streams: "dict[tuple[str, int], _Stream]" = {}
        self._cut: "list[tuple[ChunkReceived, list[Written]]]" = []  # handed to the store
        self._ready: "list[ChunkReceived]" = []
        self._waiting = 0

    def heads(self, topic: str, partition: int) -> "Context":
        """Where the hub's own stream of a partition ends, if it has one."""
        found = self._streams.get((topic, partition))
        if found is None:
            return {}
        return {(self._me, found.stream.epoch): found.next + len(found.bodies)}

    def produce(
        self,
        topic: str,
        partition: int,
        value: "Buffer | None",
        key: "bytes | None",
        headers: "Sequence[tuple[str, Buffer]]",
        timestamp_ms: "int | None",
        context: "Context | None",
        carried: bytes = b"",
    ) -> Written:
        """Accept a record; value None: its key is deleted; context: of a version; carried: the extension of one that somebody else wrote.
        Raises UsageError (too large), QueueFull."""
        if self._waiting >= WAITING_MAX:
            raise QueueFull("%d records wait for the store" % self._waiting)
        found = self._streams.get((topic, partition))
        if found is None:
            stream = StreamId(self._me, topic, partition, random_u32(self._entropy))
            found = self._streams[topic, partition] = _Stream(stream)
        size = len(value or b"") + len(key or b"") + sum([len(name) + len(content) + 8 for name, content in headers])
        if size > VALUE_BYTES_MAX:
            raise UsageError("a record of %d bytes is too large for %s: at most %d fit a batch" % (size, topic, VALUE_BYTES_MAX))
        extension = pack_own(SIDES[1], context) if context is not None else carried
        hlc = self._clock.stamp()
        if found.bodies and (found.size + size + len(extension) + MOVE_ROOM_BYTES > BATCH_BYTES_MAX or len(found.bodies) == COUNT_MAX):
            self._take(found)
        if not found.bodies:
            found.hlc = hlc
        delay_ms = (hlc >> 16) - (found.hlc >> 16)
        data = value if value is not None else b""
        body = encode_record(0, delay_ms, found.hlc >> 16, data, key, headers, timestamp_ms, value is None, extension)
        found.bodies.append(body)
        found.size += len(body)
        written = Written(found.stream, found.next + len(found.bodies) - 1)
        found.waiting.append(written)
        self._waiting += 1
        if extension:
            self._take(found)  # what is written next, of the same key, has seen this
        return written

    def _take(self, found: _Stream) -> None:
        count, body = len(found.bodies), b"".join(found.bodies)
        found.bodies, found.size = [], HEADER_BYTES
        head = bytearray(HEADER_BYTES)
        flags = 0 if self._clock.trusted else UNTRUSTED
        crc = binascii.crc32(body)
        pack_header(head, flags, count, count, found.next, found.hlc, self._term, 0, 0, 0, len(body), crc)
        data = bytes(head) + body
        state = StreamState()
        state.next = state.produced = found.next + count
        state.lineage = [(self._term, 0)]
        op = ChunkReceived(found.stream, state, found.next, state.next, count, 0, len(data), data)
        found.next = state.next
        self._ready.append(op)
        self._cut.append((op, found.waiting))
        found.waiting = []

    def take(self) -> "list[ChunkReceived]":
        """What is to be committed now."""
        for place in sorted(self._streams):
            if self._streams[place].bodies:
                self._take(self._streams[place])
        ops, self._ready = self._ready, []
        return ops

    @property
    def waiting(self) -> bool:
        return len(self._ready) > 0 or any([found.bodies for found in self._streams.values()])

    def committed(self, op: ChunkReceived) -> None:
        """The store has it."""
        for row in self._cut:
            if row[0] is op:
                self._cut.remove(row)
                self._tell(row[1], None)
                return

    def forget(self, error: Exception) -> None:
        """Nothing of what is under way will ever be committed; what comes goes to new streams."""
        self.take()
        rows, self._cut, self._streams = self._cut, [], {}
        for row in rows:
            self._tell(row[1], error)

    def _tell(self, waiting: "list[Written]", error: "Exception | None") -> None:
        self._waiting -= len(waiting)
        for written in waiting:
            if written.done is not None:
                written.done(error)
