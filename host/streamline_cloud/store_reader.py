"""What a store holds, for whoever asks, in any process, while the bridge runs or not.

Rule: it only reads, holds no transaction open between two pages, and does not believe the watermarks: the ledger is
held against the chunks and gaps that are really there. Must not know: how they got there, how they are shown.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamline_core import cbor
from streamline_core.codec import Codecs
from streamline_core.errors import UsageError
from streamline_core.record import Record
from streamline_core.store_ops import loss_of
from streamline_core.topic import TopicDefinition, definition_from_wire

from .chunk_records import StoredChunk, chunk_records
from .store_schema import lost_from, open_for_reading
from .stored_tables import StoredTables

CHUNKS_PER_PAGE = 32
CHUNK_COLUMNS = "c.id, s.origin, c.partition, s.epoch, c.cloud_offset, c.count, c.first, c.next, c.codec, c.raw_bytes, c.data"


@dataclass
class TopicRow:
    """definition: a default one as long as nobody has defined the topic; heads: {partition: next cloud offset}, which is how many records
    it holds."""

    name: str
    definition: TopicDefinition
    heads: dict[int, int] = field(default_factory=dict)

    @property
    def partitions(self) -> int:
        return self.definition.partitions

    @property
    def records(self) -> int:
        return sum(self.heads.values())


@dataclass
class LedgerRow:
    """One stream. produced = delivered + pending + sum(lost). fault: what chunks and gaps contradict, or ''."""

    node: str
    topic: str
    partition: int
    epoch: int
    produced: int
    delivered: int
    pending: int
    lost: dict[str, int]
    closed: bool
    changed_ms: int
    fault: str

    @property
    def adds_up(self) -> bool:
        return not self.fault and self.produced == self.delivered + self.pending + sum(self.lost.values())

    def to_json(self) -> dict[str, Any]:
        return {
            "node": self.node,
            "topic": self.topic,
            "partition": self.partition,
            "epoch": "%08x" % self.epoch,
            "produced": self.produced,
            "delivered": self.delivered,
            "pending": self.pending,
            "lost": dict(sorted(self.lost.items())),
            "closed": self.closed,
            "adds_up": self.adds_up,
            "fault": self.fault,
        }


@dataclass
class NodeRow:
    """One node: who it is, when it was last heard (a HELLO, or data of its own), and the sum of its ledger."""

    node: str
    version: str
    storage_id: bytes
    first_ms: int
    last_ms: int
    streams: int = 0
    produced: int = 0
    delivered: int = 0
    pending: int = 0
    lost: int = 0


class StoreReader:
    """A store opened for reading. Raises UsageError where there is none. For one thread; close it, or use `with`. tables: keyed topics, and
    who has received what."""

    def __init__(self, path: "Path | str", codecs: Codecs) -> None:
        self.path = Path(path)
        self.codecs = codecs
        self._db = open_for_reading(self.path)
        self._has_marks = int(self._db.execute("PRAGMA user_version").fetchone()[0]) > 1
        self.tables = StoredTables(self._db)

    def __enter__(self) -> "StoreReader":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def topics(self) -> list[TopicRow]:
        """All topics that a node ever offered, or that were defined here, by name."""
        topics = {}
        for row_id, name, definition in self._db.execute("SELECT id, name, definition FROM topics ORDER BY name"):
            defined = TopicDefinition() if definition is None else definition_from_wire(cbor.decode(definition))
            topics[row_id] = TopicRow(name, defined)
        for row_id, partition, head in self._db.execute("SELECT topic_id, partition, next FROM heads ORDER BY 1, 2"):
            topics[row_id].heads[partition] = head
        return list(topics.values())

    def topic(self, name: str) -> TopicRow:
        """Raises UsageError, naming the known ones, if there is no such topic."""
        known = self.topics()
        for topic in known:
            if topic.name == name:
                return topic
        names = ", ".join(topic.name for topic in known) or "none yet"
        raise UsageError("topic %r is not in this store; there is: %s" % (name, names))

    def keyed_topic(self, name: str) -> TopicRow:
        """Raises UsageError as `topic`, and for one that has no keys to ask for."""
        topic = self.topic(name)
        if topic.definition.kind != "keyed":
            raise UsageError("topic %s is a log: it has no keys to ask for; `streamline-cloud read %s` shows it" % (name, name))
        return topic

    def nodes(self) -> list[NodeRow]:
        """All nodes that ever came, by name."""
        rows = self._db.execute("SELECT node, version, storage_id, first_ms, last_ms FROM nodes ORDER BY node")
        nodes = {row[0]: NodeRow(*row) for row in rows}
        for stream in self.ledger():
            node = nodes.get(stream.node)
            if node is None:  # what the cloud itself wrote, or an origin whose streams were carried here by another node
                node = nodes[stream.node] = NodeRow(stream.node, "", b"", stream.changed_ms, stream.changed_ms)
            node.last_ms = max(node.last_ms, stream.changed_ms)
            node.streams += 1
            node.produced += stream.produced
            node.delivered += stream.delivered
            node.pending += stream.pending
            node.lost += sum(stream.lost.values())
        return sorted(nodes.values(), key=lambda node: node.node)

    def ledger(self, node: str | None = None) -> list[LedgerRow]:
        """One row for each stream, by node, topic, partition. Raises UsageError for a node that is not known."""
        where, arguments = ("", ()) if node is None else (" WHERE s.origin = ?", (node,))
        query = (
            "SELECT s.id, origin, name, partition, epoch, next, produced, closed, lost, changed_ms"
            " FROM streams s JOIN topics t ON t.id = s.topic_id%s ORDER BY origin, name, partition, s.id" % where
        )
        self._db.execute("BEGIN")  # all from one moment
        try:
            rows = self._db.execute(query, arguments).fetchall()
            held = self._held()
            gaps: dict[int, dict[str, int]] = {}
            for stream, cause, count in self._db.execute("SELECT stream_id, cause, sum(next - first) FROM gaps GROUP BY 1, 2"):
                gaps.setdefault(stream, {})[cause] = count
        finally:
            self._db.execute("COMMIT")
        if node is not None and not rows and node not in self._node_names():
            known = ", ".join(self._node_names()) or "none yet"
            raise UsageError("node %r is not in this store; there is: %s" % (node, known))
        return [_ledger_row(row[1:], held.get(row[0], (0, 0)), gaps.get(row[0], {})) for row in rows]

    def _held(self) -> dict[int, tuple[int, int]]:
        """{stream: (offsets that its chunks cover, the end of the last)}, read from an index alone."""
        rows = self._db.execute("SELECT stream_id, sum(next - first), max(next) FROM chunks GROUP BY stream_id")
        return {row[0]: (row[1], row[2]) for row in rows}

    def _node_names(self) -> list[str]:
        rows = self._db.execute("SELECT node FROM nodes UNION SELECT origin FROM streams ORDER BY 1")
        return [row[0] for row in rows]

    def chunks(
        self, topic: str, partition: int | None = None, start: int = 0, node: str | None = None, after: int = 0
    ) -> Iterator[StoredChunk]:
        """
        Chunks with records, up to what is there now. Of one partition: those that reach cloud offset `start` or lie
        beyond it, in cloud-offset order. Of all (partition None; `start` must be 0): as they arrived, which keeps each
        partition's order. node: only this origin's. after: only chunks with a larger id (for following). Memory: one
        page of chunks.
        """
        if partition is None and start:
            raise UsageError("a cloud offset counts within one partition: name the partition, too")
        conditions = ["t.name = ?", "c.count > 0", "c.id > ?"]
        arguments: list[object] = [topic, after]
        if partition is not None:
            conditions.append("c.partition = ?")
            arguments.append(partition)
            # The chunk that holds `start` begins at or below it; looked up so that reading may begin in the index.
            first = self._db.execute(
                "SELECT max(cloud_offset) FROM chunks c JOIN topics t ON t.id = c.topic_id"
                " WHERE t.name = ? AND c.partition = ? AND c.count > 0 AND c.cloud_offset <= ?",
                (topic, partition, start),
            ).fetchone()[0]
            conditions.append("c.cloud_offset >= ?")
            arguments.append(first or 0)
        if node is not None:
            conditions.append("s.origin = ?")
            arguments.append(node)
        order = "c.id" if partition is None else "c.cloud_offset"
        page_position = "c.id > ?" if partition is None else "c.cloud_offset > ?"
        query = (
            "SELECT %s FROM chunks c JOIN topics t ON t.id = c.topic_id JOIN streams s ON s.id = c.stream_id"
            " WHERE %s AND %s ORDER BY %s LIMIT %d"
        ) % (CHUNK_COLUMNS, " AND ".join(conditions), page_position, order, CHUNKS_PER_PAGE)
        position = -1
        while True:
            page = [StoredChunk(row) for row in self._db.execute(query, (*arguments, position)).fetchall()]
            for chunk in page:
                if chunk.cloud_offset + chunk.count > start:
                    yield chunk
            if len(page) < CHUNKS_PER_PAGE:
                return
            position = page[-1].id if partition is None else page[-1].cloud_offset

    def read_records(
        self, topic: str, partition: int = 0, start: int = 0, node: str | None = None
    ) -> Iterator[tuple[int, StoredChunk, Record]]:
        """(cloud offset, its chunk, record) from cloud offset `start` on. Raises UsageError, CorruptRecord."""
        self.topic(topic)
        for chunk in self.chunks(topic, partition, start, node):
            yield from numbered_records(chunk, self.codecs, start)

    def later_ms(self, chunk: StoredChunk, offset: int) -> int | None:
        """How much too early an untrusted stamp of a chunk's record was, as its node found out later; None where it never did."""
        if not self._has_marks:
            return None
        row = self._db.execute(
            "SELECT later_ms FROM marks m JOIN chunks c ON c.stream_id = m.stream_id WHERE c.id = ? AND m.first <= ? AND m.next > ?",
            (chunk.id, offset, offset),
        ).fetchone()
        return None if row is None else int(row[0])

    def check(self) -> list[str]:
        """What SQLite itself finds wrong with the file; empty when it is whole."""
        try:
            found = [str(row[0]) for row in self._db.execute("PRAGMA quick_check(10)")]
        except sqlite3.Error as error:
            return [str(error)]
        return [] if found == ["ok"] else found


def numbered_records(chunk: StoredChunk, codecs: Codecs, start: int = 0) -> Iterator[tuple[int, StoredChunk, Record]]:
    """The records of a chunk with their cloud offsets, those below `start` left out. Raises CorruptRecord."""
    for cloud_offset, record in enumerate(chunk_records(chunk, codecs), chunk.cloud_offset):
        if cloud_offset >= start:
            yield cloud_offset, chunk, record


def _ledger_row(row: tuple[Any, ...], held: tuple[int, int], gaps: dict[str, int]) -> LedgerRow:
    node, topic, partition, epoch, next_, have, closed, lost_text, changed_ms = row
    lost = lost_from(lost_text)
    produced = max(have, next_)
    delivered = next_ - sum(lost.values())
    pending = produced - next_
    fault = ""
    if held[0] != delivered:
        fault = "the watermark says %d offsets were delivered, the chunks hold %d" % (delivered, held[0])
    elif held[1] > next_:
        fault = "chunks go up to offset %d, the watermark only to %d" % (held[1], next_)
    elif {cause: n for cause, n in lost.items() if n} != gaps:
        fault = "the watermark says lost %r, the gaps say %r" % (lost, gaps)
    lost = loss_of(next_, produced, {cause: n for cause, n in lost.items() if n}, bool(closed))
    if closed:
        pending = 0
    return LedgerRow(node, topic, partition, epoch, produced, delivered, pending, lost, bool(closed), changed_ms, fault)
