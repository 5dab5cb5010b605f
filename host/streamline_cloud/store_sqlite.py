"""The store of a hub in one SQLite file.

Rule: one transaction per commit, synced (WAL, synchronous=FULL) before it is reported; batch, watermark and cloud
offsets change together or not at all. A chunk or a gap must begin exactly at the stored watermark of its stream: the
hub sees to that, and this is the last line of defence, where a second copy of anything would be refused loudly. One
thread writes; loads happen on the caller's thread through a connection of their own and see what was last committed,
which is right because a hub loads only streams of which nothing is in flight. Must not know: sessions, what is inside a
batch.
"""

import fcntl
import itertools
import json
import operator
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from streamline_core import cbor
from streamline_core.errors import StorageFull, UsageError
from streamline_core.store_ops import (
    BatchQuarantined,
    ChunkReceived,
    FeedChunk,
    FeedConfirmed,
    FeedVersion,
    GapReceived,
    HubOpened,
    NodeSeen,
    Op,
    StreamChanged,
    StreamState,
    TopicDefined,
    VersionRefused,
    VersionStands,
)
from streamline_core.stream import StreamId

from .store_schema import lost_from, open_for_writing

STREAMS_CACHED_MAX = 65536
"""Row ids and watermarks that the writer remembers; beyond that it forgets all and looks them up again."""

Committed = Callable[[int, "Exception | None"], None]


class SqliteStore:
    """
    path: the file; made if it is not there. on_committed(ticket, error): called in the WRITER'S THREAD after each
    commit, in the order of the tickets; a loop passes something that ends in `call_soon_threadsafe`. An error means
    that nothing was applied: StorageFull, OSError (locked, I/O), UsageError (a chunk that does not fit the watermark).
    Raises UsageError where the file cannot be used, or another process writes it.
    """

    def __init__(self, path: "Path | str", on_committed: Committed) -> None:
        self.path = Path(path).absolute()
        self._on_committed = on_committed
        self._lock = _lock(self.path)
        try:
            self._writer = _Writer(open_for_writing(self.path))
        except UsageError:
            os.close(self._lock)
            raise
        self._loads = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self._work: queue.SimpleQueue[tuple[int, Sequence[Op]] | None] = queue.SimpleQueue()
        self._tickets = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Commit what was asked for, then close the file. Blocks until that is done."""
        if self._closed:
            return
        self._closed = True
        self._work.put(None)
        self._thread.join()
        self._loads.close()
        os.close(self._lock)

    # --- the Store port ---

    def load_topic(self, topic: str) -> tuple[object, ...] | None:
        row = self._loads.execute("SELECT definition FROM topics WHERE name = ?", (topic,)).fetchone()
        return None if row is None or row[0] is None else tuple(cbor.decode(row[0]))

    def load_stream(self, stream: StreamId) -> StreamState | None:
        row = self._loads.execute(
            "SELECT s.next, produced, closed, lost, lineage FROM streams s JOIN topics t ON t.id = s.topic_id"
            " WHERE origin = ? AND t.name = ? AND partition = ? AND epoch = ?",
            stream.key(),
        ).fetchone()
        if row is None:
            return None
        state = StreamState()
        state.next, state.produced, state.closed = row[0], row[1], bool(row[2])
        state.lost = lost_from(row[3])
        state.lineage = [(term, first) for term, first in json.loads(row[4])]
        return state

    def load_epochs(self, origin: str, topic: str, partition: int) -> Sequence[int]:
        rows = self._loads.execute(
            "SELECT epoch FROM streams s JOIN topics t ON t.id = s.topic_id"
            " WHERE origin = ? AND t.name = ? AND partition = ? ORDER BY s.id",
            (origin, topic, partition),
        )
        return [row[0] for row in rows]

    def load_node(self, node: str) -> bytes | None:
        row = self._loads.execute("SELECT storage_id FROM nodes WHERE node = ?", (node,)).fetchone()
        return None if row is None else bytes(row[0])

    def load_head(self, topic: str, partition: int) -> tuple[int, list[tuple[int, int]]]:
        row = self._loads.execute(
            "SELECT next, lineage FROM heads h JOIN topics t ON t.id = h.topic_id WHERE t.name = ? AND partition = ?", (topic, partition)
        ).fetchone()
        return (0, []) if row is None else (row[0], [(term, first) for term, first in json.loads(row[1])])

    def load_chunk(self, topic: str, partition: int, offset: int) -> FeedChunk | None:
        row = self._loads.execute(
            "SELECT cloud_offset, count, first, c.next, origin, epoch, codec, raw_bytes, data FROM chunks c"
            " JOIN topics t ON t.id = c.topic_id JOIN streams s ON s.id = c.stream_id"
            " WHERE t.name = ? AND c.partition = ? AND c.count > 0 AND c.cloud_offset <= ? ORDER BY c.cloud_offset DESC LIMIT 1",
            (topic, partition, offset),
        ).fetchone()
        return None if row is None or offset >= row[0] + row[1] else FeedChunk(*row)

    def load_versions(self, topic: str, partition: int, offset: int, end: int, count_max: int) -> Sequence[FeedVersion]:
        rows = self._loads.execute(
            "SELECT cloud_offset, key, origin, epoch, offset, demoted, record FROM versions"
            " WHERE topic_id = (SELECT id FROM topics WHERE name = ?)"
            " AND partition = ? AND cloud_offset >= ? AND cloud_offset < ? ORDER BY cloud_offset LIMIT ?",
            (topic, partition, offset, end, count_max),
        )
        return [FeedVersion(row[0], row[1], row[2], row[3], row[4], bool(row[5]), row[6]) for row in rows]

    def load_siblings(self, topic: str, partition: int, key: bytes) -> Sequence[tuple[bytes, bool]]:
        rows = self._loads.execute(
            "SELECT extension, deleted FROM versions WHERE topic_id = (SELECT id FROM topics WHERE name = ?) AND partition = ? AND key = ?",
            (topic, partition, key),
        )
        return [(row[0], bool(row[1])) for row in rows]

    def load_dots(self, topic: str, partition: int) -> Iterable[tuple[bytes, list[tuple[str, int, int]]]]:
        rows = self._loads.execute(
            "SELECT key, origin, epoch, offset FROM versions WHERE topic_id = (SELECT id FROM topics WHERE name = ?) AND partition = ?"
            " ORDER BY key",
            (topic, partition),
        )
        for key, group in itertools.groupby(rows, operator.itemgetter(0)):
            yield key, [(row[1], row[2], row[3]) for row in group]

    def load_records(self, topic: str, partition: int, key: bytes) -> Sequence[bytes]:
        rows = self._loads.execute(
            "SELECT record FROM versions WHERE topic_id = (SELECT id FROM topics WHERE name = ?) AND partition = ? AND key = ?",
            (topic, partition, key),
        )
        return [row[0] for row in rows]

    def load_version(self, topic: str, partition: int, dot: tuple[str, int, int]) -> FeedVersion | None:
        row = self._loads.execute(
            "SELECT cloud_offset, key, demoted, record FROM versions WHERE topic_id = (SELECT id FROM topics WHERE name = ?)"
            " AND partition = ? AND origin = ? AND epoch = ? AND offset = ?",
            (topic, partition, *dot),
        ).fetchone()
        return None if row is None else FeedVersion(row[0], row[1], *dot, bool(row[2]), row[3])

    def load_cursor(self, node: str, topic: str, partition: int) -> int:
        row = self._loads.execute(
            "SELECT next FROM cursors WHERE topic_id = (SELECT id FROM topics WHERE name = ?) AND partition = ? AND node = ?",
            (topic, partition, node),
        ).fetchone()
        return 0 if row is None else int(row[0])

    def commit(self, ops: Sequence[Op]) -> int:
        """See ports.Store. Raises UsageError after `close`."""
        if self._closed:
            raise UsageError("store %s: it is closed" % self.path)
        self._tickets += 1
        self._work.put((self._tickets, ops))
        return self._tickets

    # --- the writer's thread ---

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            ticket, ops = item
            error: Exception | None = None
            try:
                self._writer.apply(ops)
            except sqlite3.Error as problem:
                error = _translate(problem, self.path)
            except Exception as problem:
                error = problem
            del item, ops  # the chunks need not wait here for the next commit
            self._on_committed(ticket, error)
        self._writer.close()


class _Stream:
    """What the writer remembers of a row of `streams`. stored: the watermark in it; next: after the ops so far."""

    def __init__(self, row_id: int, topic_id: int, stored: int) -> None:
        self.row_id, self.topic_id = row_id, topic_id
        self.stored = self.next = stored
        self.state: StreamState | None = None


class _Writer:
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
        elif isinstance(op, HubOpened):
            self._term = op.term
        else:
            raise UsageError("this store does not know the operation %s" % type(op).__name__)

    def _quarantine(self, stream: StreamId, first: int, next_: int, why: str, data: bytes) -> None:
        self._db.execute(
            "INSERT INTO quarantine (stream_id, first, next, why, arrived_ms, data) VALUES (?, ?, ?, ?, ?, ?)",
            (self._row(stream).row_id, first, next_, why, self._now_ms, data),
        )

    def _stands(self, place: tuple[int, int], cloud_offset: int, row: VersionStands) -> None:
        for dot in row.superseded:
            self._db.execute(
                "DELETE FROM versions WHERE topic_id = ? AND partition = ? AND origin = ? AND epoch = ? AND offset = ?", (*place, *dot)
            )
        self._db.execute(
            "INSERT INTO versions (topic_id, partition, cloud_offset, key, origin, epoch, offset, deleted, demoted, extension, record)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*place, cloud_offset, row.key, *row.dot, row.deleted, row.demoted, row.extension, row.record),
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


def _lock(path: Path) -> int:
    """An exclusive lock beside the store, held while this process lives. Raises UsageError."""
    name = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError("store %s: %s" % (path, error.strerror))
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise UsageError("store %s: another streamline-cloud is writing it; stop that one or name another --store" % path)
    return fd


def _translate(error: sqlite3.Error, path: Path) -> Exception:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StorageFull("store %s: no room left on its disk" % path)
    return OSError("store %s: %s" % (path, error))
