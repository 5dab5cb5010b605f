"""The writing side of the SQLite store: ops become rows.

Rule: one transaction per commit; batch, watermark, cloud offsets and what stands of keys change together or not at all. A chunk or a gap
must begin exactly at the stored watermark of its stream: the hub sees to that, and this is the last line of defence, where a second copy
of anything would be refused loudly. Must not know: threads, sessions, what is inside a batch.
"""

import json
import sqlite3
import time
from collections.abc import Sequence
from typing import Any

from streamline_core import cbor
from streamline_core.errors import UsageError
from streamline_core.store_ops import (
    BatchQuarantined,
    ChunkReceived,
    ClockMarked,
    FeedConfirmed,
    GapReceived,
    HubOpened,
    NodeSeen,
    Op,
    StreamChanged,
    StreamState,
    TombstoneDropped,
    TopicDefined,
    VersionRefused,
    VersionStands,
)
from streamline_core.stream import StreamId

STREAMS_CACHED_MAX = 65536
"""Row ids and watermarks that the writer remembers; beyond that it forgets all and looks them up again."""
LINEAGE_MAX = 1024
"""Openings that are remembered of a feed; a node that was away for longer gets it from the beginning."""


class _Stream:
    """What the writer remembers of a row of `streams`. stored: the watermark in it; next: after the ops so far."""

    def __init__(self, row_id: int, topic_id: int, stored: int) -> None:
        self.row_id, self.topic_id = row_id, topic_id
        self.stored = self.next = stored
        self.state: StreamState | None = None


class StoreWriter:
    """Turns ops into rows. Its memory holds only what is in the database; an error empties it."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._streams: dict[StreamId, _Stream] = {}
        self._heads: dict[tuple[int, int], int] = {}
        self._lineages: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self._term = 0
        self._heads_changed: set[tuple[int, int]] = set()
        self._touched: list[_Stream] = []
        self._now_ms = 0

    def close(self) -> None:
        self._db.close()

    def apply(self, ops: Sequence[Op]) -> None:
        """One transaction. Raises, with nothing applied, sqlite3.Error or UsageError."""
        self._now_ms = time.time_ns() // 1_000_000
        if len(self._streams) > STREAMS_CACHED_MAX:
            self._streams.clear()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for op in ops:
                self._apply(op)
            self._write_states()
            self._db.execute("COMMIT")
        except BaseException:
            self._streams.clear()
            self._heads.clear()
            self._lineages.clear()
            self._heads_changed.clear()
            self._touched.clear()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _apply(self, op: Op) -> None:
        if isinstance(op, ChunkReceived):
            self._chunk(op)
        elif isinstance(op, GapReceived):
            row = self._advance(op.stream, op.state, op.first, op.next)
            self._db.execute("INSERT INTO gaps VALUES (?, ?, ?, ?, ?)", (row.row_id, op.first, op.next, op.cause, self._now_ms))
        elif isinstance(op, StreamChanged):
            row = self._row(op.stream)
            if op.state.next != row.next:
                raise UsageError("stream %r: its watermark moved from %d to %d without data" % (op.stream, row.next, op.state.next))
            self._set_state(row, op.state)
        elif isinstance(op, NodeSeen):
            self._db.execute(
                "INSERT INTO nodes VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT (node) DO UPDATE"
                " SET storage_id = ?2, version = ?3, last_ms = ?4",
                (op.node, op.storage_id, op.version, self._now_ms),
            )
        elif isinstance(op, TopicDefined):
            self._db.execute(
                "INSERT INTO topics (name, definition) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET definition = ?2",
                (op.topic, bytes(cbor.encode(list(op.definition)))),
            )
        elif isinstance(op, BatchQuarantined):
            self._quarantine(op.stream, op.first, op.next, op.why, op.data)
        elif isinstance(op, VersionRefused):
            self._quarantine(op.stream, op.offset, op.offset + 1, op.why, op.record)
        elif isinstance(op, FeedConfirmed):
            self._db.execute(
                "INSERT INTO cursors VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET next = ?4, changed_ms = ?5",
                (op.node, self._topic_id(op.topic), op.partition, op.next, self._now_ms),
            )
        elif isinstance(op, TombstoneDropped):
            self._drop((self._topic_id(op.topic), op.partition), op.dot)
        elif isinstance(op, ClockMarked):
            mark = (self._row(op.stream).row_id, op.first, op.next, op.later_ms)
            self._db.execute("INSERT INTO marks VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", mark)
        elif isinstance(op, HubOpened):
            self._term = op.term
        else:
            raise UsageError("this store does not know the operation %s" % type(op).__name__)

    def _quarantine(self, stream: StreamId, first: int, next_: int, why: str, data: bytes) -> None:
        self._db.execute(
            "INSERT INTO quarantine (stream_id, first, next, why, arrived_ms, data) VALUES (?, ?, ?, ?, ?, ?)",
            (self._row(stream).row_id, first, next_, why, self._now_ms, data),
        )

    def _drop(self, place: tuple[int, int], dot: tuple[str, int, int]) -> None:
        query = "DELETE FROM versions WHERE topic_id = ? AND partition = ? AND origin = ? AND epoch = ? AND offset = ?"
        self._db.execute(query, (*place, *dot))

    def _stands(self, place: tuple[int, int], cloud_offset: int, row: VersionStands) -> None:
        for dot in row.superseded:
            self._drop(place, dot)
        self._db.execute(
            "INSERT INTO versions"
            " (topic_id, partition, cloud_offset, key, origin, epoch, offset, deleted, demoted, arrived_ms, extension, record)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*place, cloud_offset, row.key, *row.dot, row.deleted, row.demoted, row.arrived_ms, row.extension, row.record),
        )

    def _chunk(self, op: ChunkReceived) -> None:
        row = self._advance(op.stream, op.state, op.first, op.next)
        place = (row.topic_id, op.stream.partition)
        cloud_offset = self._head(place)
        values = (*place, cloud_offset, op.count, row.row_id, op.first, op.next, self._now_ms)
        self._db.execute(
            "INSERT INTO chunks (topic_id, partition, cloud_offset, count, stream_id, first, next, arrived_ms, codec,"
            " raw_bytes, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, op.codec_id, op.raw_bytes, op.data),
        )
        for version in op.versions:
            self._stands(place, cloud_offset + version.index, version)
        if op.count:
            lineage = self._lineages[place]
            if not lineage or lineage[-1][0] != self._term:
                lineage.append((self._term, cloud_offset))
                del lineage[:-LINEAGE_MAX]
            self._heads[place] = cloud_offset + op.count
            self._heads_changed.add(place)

    def _advance(self, stream: StreamId, state: StreamState, first: int, next_: int) -> _Stream:
        row = self._row(stream)
        if first != row.next or not first < next_ == state.next:
            raise UsageError(
                "stream %r: offsets [%d, %d) do not follow the stored watermark %d; nothing of this commit was stored"
                % (stream, first, next_, row.next)
            )
        row.next = next_
        self._set_state(row, state)
        return row

    def _set_state(self, row: _Stream, state: StreamState) -> None:
        if row.state is None:
            self._touched.append(row)
        row.state = state

    def _row(self, stream: StreamId) -> _Stream:
        row = self._streams.get(stream)
        if row is None:
            topic_id = self._topic_id(stream.topic)
            key = (stream.origin, topic_id, stream.partition, stream.epoch)
            self._db.execute(
                "INSERT INTO streams"
                " (origin, topic_id, partition, epoch, next, produced, closed, lost, lineage, changed_ms)"
                " VALUES (?, ?, ?, ?, 0, 0, 0, '{}', '[]', ?) ON CONFLICT DO NOTHING",
                (*key, self._now_ms),
            )
            found = self._db.execute(
                "SELECT id, next FROM streams WHERE origin = ? AND topic_id = ? AND partition = ? AND epoch = ?", key
            ).fetchone()
            row = self._streams[stream] = _Stream(found[0], topic_id, found[1])
        return row

    def _topic_id(self, topic: str) -> int:
        self._db.execute("INSERT INTO topics (name) VALUES (?) ON CONFLICT DO NOTHING", (topic,))
        return int(self._db.execute("SELECT id FROM topics WHERE name = ?", (topic,)).fetchone()[0])

    def _head(self, place: tuple[int, int]) -> int:
        head = self._heads.get(place)
        if head is None:
            found = self._db.execute("SELECT next, lineage FROM heads WHERE topic_id = ? AND partition = ?", place).fetchone()
            head = self._heads[place] = 0 if found is None else int(found[0])
            self._lineages[place] = [] if found is None else [(term, first) for term, first in json.loads(found[1])]
        return head

    def _write_states(self) -> None:
        """Each stream and each head once, however many ops moved it."""
        for row in self._touched:
            state = row.state
            assert state is not None
            values: list[Any] = [row.next, state.produced, state.closed, json.dumps(state.lost, sort_keys=True)]
            done = self._db.execute(
                "UPDATE streams SET next = ?, produced = ?, closed = ?, lost = ?, lineage = ?, changed_ms = ? WHERE id = ? AND next = ?",
                (*values, json.dumps(state.lineage), self._now_ms, row.row_id, row.stored),
            )
            if done.rowcount != 1:
                raise UsageError("the watermark of a stream was moved by another writer of this store; only one may run")
            row.stored, row.state = row.next, None
        self._touched.clear()
        for place in self._heads_changed:
            self._db.execute(
                "INSERT INTO heads VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET next = ?3, lineage = ?4",
                (*place, self._heads[place], json.dumps(self._lineages[place])),
            )
        self._heads_changed.clear()
