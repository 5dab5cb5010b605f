"""What a store holds of keyed topics and of feeds: keys, the versions that stand of them, and which node has received what.

Rule: it only reads, and holds no transaction open between two pages. A file that an older build has made holds none of it. Must not know:
which version is shown, how anything is printed.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from streamline_core.errors import CorruptRecord
from streamline_core.extension import version_of
from streamline_core.record import Record, read_records
from streamline_core.version import Version, join

KEYS_PER_PAGE = 1000
SCHEMA_WITH_TABLES = 2


@dataclass
class Standing:
    """A version that stands: as the core knows it, with its value; the record that it came in; its cloud offset, -1 if not asked for."""

    version: Version
    record: Record
    cloud_offset: int = -1


@dataclass
class FeedRow:
    """How far a node durably has one partition of a topic. next: below this cloud offset it has all that is meant for it, 0 if nothing was
    ever confirmed; head: how far it goes; changed_ms: when it last confirmed something, or None."""

    node: str
    topic: str
    partition: int
    next: int
    head: int
    changed_ms: int | None

    @property
    def behind(self) -> int:
        return max(0, self.head - self.next)


def standing(record: bytes, cloud_offset: int = -1) -> Standing:
    """A version out of a record as `FeedVersion` has it. Raises CorruptRecord."""
    for found in read_records(record, 0, len(record), 0, 0, True, 1, 1):
        return Standing(version_of(found, "", 0), found, cloud_offset)
    raise CorruptRecord("a version that stands without a record")


def siblings(found: list[Standing]) -> list[Standing]:
    """Those of them that stand, the earliest first."""
    by_dot = {row.version.dot: row for row in found}
    return [by_dot[version.dot] for version in join([row.version for row in found])]


class StoredTables:
    """db: a store opened for reading."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def _there(self) -> bool:
        """A bridge may bring the file up to date while it is read."""
        return int(self._db.execute("PRAGMA user_version").fetchone()[0]) >= SCHEMA_WITH_TABLES

    def keys(self, topic: str, prefix: bytes = b"") -> Iterator[bytes]:
        """Keys of which something but deletions stands, sorted."""
        last: bytes | None = None
        while self._there():
            rows = self._db.execute(
                "SELECT key, min(deleted) FROM versions WHERE topic_id = (SELECT id FROM topics WHERE name = ?1)"
                " AND (?2 IS NULL OR key > ?2) AND key >= ?3 GROUP BY key ORDER BY key LIMIT ?4",
                (topic, last, prefix, KEYS_PER_PAGE),
            ).fetchall()
            for key, deleted in rows:
                if not key.startswith(prefix):
                    return
                if not deleted:
                    yield key
            if len(rows) < KEYS_PER_PAGE:
                return
            last = rows[-1][0]

    def versions(self, topic: str, key: bytes) -> list[Standing]:
        """What stands of a key, the earliest first; empty if it was never written. Raises CorruptRecord."""
        if not self._there():
            return []
        rows = self._db.execute(
            "SELECT record, cloud_offset FROM versions WHERE topic_id = (SELECT id FROM topics WHERE name = ?) AND key = ?", (topic, key)
        )
        return siblings([standing(record, cloud_offset) for record, cloud_offset in rows.fetchall()])

    def conflicts(self, topic: str | None = None) -> list[tuple[str, bytes]]:
        """(topic, key) where more than one version stands, sorted."""
        if not self._there():
            return []
        rows = self._db.execute(
            "SELECT name, key FROM versions v JOIN topics t ON t.id = v.topic_id WHERE ?1 IS NULL OR name = ?1"
            " GROUP BY topic_id, partition, key HAVING count(*) > 1 ORDER BY name, key",
            (topic,),
        )
        return [(name, key) for name, key in rows.fetchall()]

    def feeds(self, topic: str | None = None) -> list[FeedRow]:
        """Who has received what, by topic, partition, node. Of one topic: all nodes that ever came, whether they take part or not."""
        if not self._there():
            return []
        rows = self._db.execute(
            "SELECT node, name, c.partition, c.next, coalesce(h.next, 0), changed_ms FROM cursors c JOIN topics t ON t.id = c.topic_id"
            " LEFT JOIN heads h ON h.topic_id = c.topic_id AND h.partition = c.partition WHERE ?1 IS NULL OR name = ?1",
            (topic,),
        )
        found = [FeedRow(*row) for row in rows.fetchall()]
        if topic is not None:
            have = {(row.node, row.partition) for row in found}
            rows = self._db.execute(
                "SELECT node, name, partition, 0, next, NULL FROM heads h JOIN topics t ON t.id = topic_id, nodes WHERE name = ?", (topic,)
            )
            found += [row for row in [FeedRow(*row) for row in rows.fetchall()] if (row.node, row.partition) not in have]
        return sorted(found, key=lambda row: (row.topic, row.partition, row.node))

    def refused(self, topic: str | None = None) -> int:
        """How many records of keyed topics were no version that a sound node can have written; they are kept in quarantine."""
        row = self._db.execute(  # a batch that was refused as a whole has left a gap where it was
            "SELECT count(*) FROM quarantine q JOIN streams s ON s.id = q.stream_id JOIN topics t ON t.id = s.topic_id"
            " WHERE (?1 IS NULL OR name = ?1) AND NOT EXISTS"
            " (SELECT 1 FROM gaps g WHERE g.stream_id = q.stream_id AND g.first <= q.first AND g.next > q.first)",
            (topic,),
        ).fetchone()
        return int(row[0])
