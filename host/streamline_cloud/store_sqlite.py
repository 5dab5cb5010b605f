"""The store of a hub in one SQLite file.

Rule: a commit is synced (WAL, synchronous=FULL) before it is reported. One thread writes; loads happen on the caller's
thread through a connection of their own and see what was last committed, which is right because a hub loads only
streams of which nothing is in flight. Must not know: sessions, what is inside a batch, how ops become rows.
"""

import fcntl
import itertools
import json
import operator
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from streamline_core import cbor
from streamline_core.errors import StorageFull, UsageError
from streamline_core.store_ops import FeedChunk, FeedVersion, Op, StreamState
from streamline_core.stream import StreamId

from .store_schema import check_place, lost_from, open_for_writing
from .store_writer import StoreWriter

LOCK_TRIES = 10


class StoreBusy(UsageError):
    """Another process writes this store."""


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
        self._lock, made = _lock(self.path)
        try:
            self._writer = StoreWriter(open_for_writing(self.path))
        except UsageError:
            if made:  # while it is held: nothing is left beside a file that is none of ours
                lock_name(self.path).unlink(missing_ok=True)
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

    def load_standing(self, topic: str, partition: int) -> Iterable[tuple[bytes, list[tuple[str, int, int, bool]]]]:
        rows = self._loads.execute(
            "SELECT key, origin, epoch, offset, demoted FROM versions"
            " WHERE topic_id = (SELECT id FROM topics WHERE name = ?) AND partition = ? ORDER BY key",
            (topic, partition),
        )
        for key, group in itertools.groupby(rows, operator.itemgetter(0)):
            yield key, [(row[1], row[2], row[3], row[4] != 0) for row in group]

    def load_records(self, topic: str, partition: int, key: bytes) -> Sequence[bytes]:
        rows = self._loads.execute(
            "SELECT record FROM versions WHERE topic_id = (SELECT id FROM topics WHERE name = ?) AND partition = ? AND key = ?",
            (topic, partition, key),
        )
        return [row[0] for row in rows]

    def load_tombstones(self, before_ms: int, count_max: int) -> Sequence[tuple[str, int, bytes, tuple[str, int, int]]]:
        rows = self._loads.execute(
            "SELECT name, partition, key, origin, epoch, offset FROM versions v JOIN topics t ON t.id = v.topic_id"
            " WHERE deleted AND arrived_ms < ? LIMIT ?",
            (before_ms, count_max),
        )
        return [(row[0], row[1], row[2], (row[3], row[4], row[5])) for row in rows]

    def load_version(self, topic: str, partition: int, dot: tuple[str, int, int]) -> FeedVersion | None:
        row = self._loads.execute(
            "SELECT cloud_offset, key, demoted, record FROM versions WHERE topic_id = (SELECT id FROM topics WHERE name = ?)"
            " AND partition = ? AND origin = ? AND epoch = ? AND offset = ?",
            (topic, partition, *dot),
        ).fetchone()
        return None if row is None else FeedVersion(row[0], row[1], *dot, bool(row[2]), row[3])

    def load_cloud_offset(self, stream: StreamId, offset: int) -> int:
        """Where a record of a dense stream lies in what all have written; -1 if it is not there. No part of the port."""
        row = self._loads.execute(
            "SELECT cloud_offset, first, next FROM chunks WHERE stream_id = (SELECT s.id FROM streams s JOIN topics t ON t.id = s.topic_id"
            " WHERE origin = ? AND t.name = ? AND partition = ? AND epoch = ?) AND first <= ? ORDER BY first DESC LIMIT 1",
            (*stream.key(), offset),
        ).fetchone()
        return -1 if row is None or offset >= row[2] else int(row[0]) + offset - int(row[1])

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


def lock_name(path: Path) -> Path:
    """The lock file beside a store."""
    return path.with_name(path.name + ".lock")


def _lock(path: Path) -> tuple[int, bool]:
    """An exclusive lock beside the store, held while this process lives, and whether its file was made here. Raises UsageError."""
    check_place(path)
    name = lock_name(path)
    for _ in range(LOCK_TRIES):
        try:
            made = not name.exists()
            fd = os.open(name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UsageError("store %s: %s" % (path, error.strerror))
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            break
        # Whoever could not open the store has removed the file that we have locked: that one locks nothing.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(fd), name.stat()):
                return fd, made
        os.close(fd)
    raise StoreBusy("store %s: another streamline-cloud is writing it; stop that one or name another --store" % path)


def _translate(error: sqlite3.Error, path: Path) -> Exception:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_CONSTRAINT:
        return UsageError("store %s: what it was given contradicts what it holds: %s" % (path, error))
    if code == sqlite3.SQLITE_FULL:
        return StorageFull("store %s: no room left on its disk" % path)
    return OSError("store %s: %s" % (path, error))
