"""Fills a store through the ops that a hub would give it. A helper of tests, no test."""

import binascii
import queue
from collections.abc import Sequence
from pathlib import Path

from feed_rows import FeedRows
from streamline_cloud.store_sqlite import SqliteStore
from streamline_core.batch import HEADER_BYTES, UNTRUSTED, pack_header
from streamline_core.builder import control_batch, dense_batch
from streamline_core.extension import pack_own
from streamline_core.hub_table import HubTable
from streamline_core.record_encoder import encode_record
from streamline_core.store_ops import ChunkReceived, GapReceived, Op, StreamChanged, StreamState
from streamline_core.stream import StreamId
from streamline_host.codecs import codecs

A = StreamId("alpha", "logs", 0, 0xA)
B = StreamId("beta", "logs", 0, 0xB)


class FixedClock:
    """As a hybrid clock for the builders of batches."""

    trusted = True

    def stamp(self) -> int:
        return 1_767_225_600_000 << 16  # 2026-01-01


class Filler:
    """Makes the ops that a hub would, for one stream."""

    def __init__(self, stream: StreamId, state: StreamState | None = None) -> None:
        self.stream = stream
        self.state = state or StreamState()
        self.clock = FixedClock()

    def _produced(self) -> None:
        self.state.produced = max(self.state.produced, self.state.next)

    def data(self, *batches: Sequence[bytes], overlap: int = 0) -> ChunkReceived:
        """A chunk of dense batches; the first `overlap` records of the first were applied before."""
        codec = codecs("zstd").by_id(2)
        first = base = self.state.next
        base -= overlap
        raw = b""
        for values in batches:
            raw += b"".join(dense_batch(values, [len(v) for v in values], base, 7, self.clock, 0, 0, 0))
            base += len(values)
        self.state.next = base
        self.state.lineage = [(7, 0)]
        self._produced()
        data = bytes(codec.compress(raw))
        return ChunkReceived(self.stream, self.state.copy(), first, base, base - first, codec.id, len(raw), data)

    def control(self) -> ChunkReceived:
        raw = b"".join(control_batch(b"note", self.state.next, 7, FixedClock(), 0))
        self.state.next += 1
        self._produced()
        first = self.state.next - 1
        return ChunkReceived(self.stream, self.state.copy(), first, first + 1, 0, 0, len(raw), raw)

    def gap(self, count: int, cause: str) -> GapReceived:
        first = self.state.next
        self.state.next += count
        self.state.lost[cause] = self.state.lost.get(cause, 0) + count
        self._produced()
        return GapReceived(self.stream, self.state.copy(), first, self.state.next, cause)

    def have(self, produced: int, closed: bool = False) -> StreamChanged:
        self.state.produced, self.state.closed = produced, closed
        return StreamChanged(self.stream, self.state.copy())


class Opened:
    def __init__(self, path: Path) -> None:
        self.done: queue.SimpleQueue[tuple[int, Exception | None]] = queue.SimpleQueue()
        self.store = SqliteStore(path, lambda ticket, error: self.done.put((ticket, error)))

    def commit(self, *ops: Op) -> Exception | None:
        ticket = self.store.commit(ops)
        answer, error = self.done.get(timeout=20)
        assert answer == ticket
        return error


def numbers(first: int, next_: int) -> list[bytes]:
    return [b"%d" % n for n in range(first, next_)]


class KeyedFiller:
    """Makes the ops that a hub would, for a stream of a keyed topic. rows: what is to have been committed before (tests/unit/feed_rows.py);
    what stands is the core's to say."""

    def __init__(self, stream: StreamId, rows: FeedRows, hlc_ms: int = 1_767_225_600_000) -> None:
        self.stream = stream
        self.state = StreamState()
        self._table = HubTable("cloud", rows)
        self._hlc_ms = hlc_ms

    def write(self, *writes: "tuple[bytes | None, bytes | None, dict[tuple[str, int], int]]", trusted: bool = True) -> list[Op]:
        """One chunk of (key, value, what was seen); value None: deleted. Returns what a hub would commit."""
        first = self.state.next
        bodies = []
        for i, (key, value, seen) in enumerate(writes):
            side = "cloud" if self.stream.origin == "cloud" else "edge"
            extension = pack_own(side, seen)
            bodies.append(encode_record(0, i, self._hlc_ms, value or b"", key, [("h", b"x")], None, value is None, extension))
        body = b"".join(bodies)
        head = bytearray(HEADER_BYTES)
        flags, count = 0 if trusted else UNTRUSTED, len(writes)
        pack_header(head, flags, count, count, first, self._hlc_ms << 16, 7, 0, 0, 0, len(body), binascii.crc32(body))
        raw = bytes(head) + body
        self.state.next = self.state.produced = first + count
        op = ChunkReceived(self.stream, self.state.copy(), first, first + count, count, 0, len(raw), raw)
        more = self._table.take(op, raw, {}, self._hlc_ms)
        self._table.forget()  # the next one finds it in `rows`
        return [op, *more]
