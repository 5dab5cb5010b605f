"""The tables of the SQLite store, and how a file comes to have them.

Rule: `user_version` says which tables a file has; a newer one is refused by name, and a database that is not ours is
left alone. Who writes and who reads both import this; it knows neither.
"""

import json
import os
import sqlite3
from pathlib import Path

from streamline_core.errors import UsageError

VERSION = 2
APPLICATION_ID = 0x534C4544  # "SLED"
BUSY_TIMEOUT_MS = 5000
PAGE_BYTES = 16384
"""Chunks are tens of KB: large pages mean fewer of them; still larger ones make each small row cost one in the WAL."""

DDL = """
CREATE TABLE topics (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
    definition BLOB                       -- CBOR, as the first node sent it; NULL until one did
);
CREATE TABLE nodes (
    node TEXT PRIMARY KEY, storage_id BLOB NOT NULL, version TEXT NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER
    NOT NULL
) WITHOUT ROWID;
CREATE TABLE streams (
    id INTEGER PRIMARY KEY, origin TEXT NOT NULL, topic_id INTEGER NOT NULL REFERENCES topics,
    partition INTEGER NOT NULL, epoch INTEGER NOT NULL,
    next INTEGER NOT NULL,                -- the watermark: below it all is stored, or lost
    produced INTEGER NOT NULL, closed INTEGER NOT NULL,
    lost TEXT NOT NULL,                   -- JSON {cause: offsets}
    lineage TEXT NOT NULL,                -- JSON [[term, first offset], …]
    changed_ms INTEGER NOT NULL,
    UNIQUE (origin, topic_id, partition, epoch)
);
CREATE TABLE heads (
    topic_id INTEGER NOT NULL, partition INTEGER NOT NULL,
    next INTEGER NOT NULL,                -- the next cloud offset
    lineage TEXT NOT NULL DEFAULT '[]',   -- JSON [[term of the hub's opening, first cloud offset that it gave out], …]
    PRIMARY KEY (topic_id, partition)
) WITHOUT ROWID;
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, partition INTEGER NOT NULL,
    cloud_offset INTEGER NOT NULL, count INTEGER NOT NULL,  -- of its records: [cloud_offset, cloud_offset + count)
    stream_id INTEGER NOT NULL, first INTEGER NOT NULL, next INTEGER NOT NULL,  -- offsets [first, next) of the stream
    arrived_ms INTEGER NOT NULL, codec INTEGER NOT NULL, raw_bytes INTEGER NOT NULL,
    data BLOB NOT NULL                    -- as it came; last, so that the columns before it are read without it
);
CREATE UNIQUE INDEX chunks_by_cloud_offset ON chunks (topic_id, partition, cloud_offset) WHERE count > 0;
CREATE UNIQUE INDEX chunks_by_offset ON chunks (stream_id, first, next, count);
CREATE TABLE gaps (
    stream_id INTEGER NOT NULL, first INTEGER NOT NULL, next INTEGER NOT NULL,
    cause TEXT NOT NULL, arrived_ms INTEGER NOT NULL,
    PRIMARY KEY (stream_id, first)
) WITHOUT ROWID;
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY, stream_id INTEGER NOT NULL, first INTEGER NOT NULL, next INTEGER NOT NULL,
    why TEXT NOT NULL, arrived_ms INTEGER NOT NULL, data BLOB NOT NULL
);
"""
DDL_2 = """
CREATE TABLE versions (                   -- of keyed topics: what stands
    id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, partition INTEGER NOT NULL,
    cloud_offset INTEGER NOT NULL, key BLOB NOT NULL,
    origin TEXT NOT NULL, epoch INTEGER NOT NULL, offset INTEGER NOT NULL,  -- its dot
    deleted INTEGER NOT NULL, demoted INTEGER NOT NULL, arrived_ms INTEGER NOT NULL,
    extension BLOB NOT NULL,              -- whose it is, and what its writer had seen
    record BLOB NOT NULL                  -- as a feed sends it
);
CREATE UNIQUE INDEX versions_by_cloud_offset ON versions (topic_id, partition, cloud_offset);
CREATE INDEX versions_deleted ON versions (arrived_ms) WHERE deleted;
CREATE INDEX versions_by_key ON versions (topic_id, partition, key);
CREATE UNIQUE INDEX versions_by_dot ON versions (topic_id, partition, origin, epoch, offset);
CREATE TABLE marks (                      -- untrusted stamps of [first, next) were so many milliseconds too early
    stream_id INTEGER NOT NULL, first INTEGER NOT NULL, next INTEGER NOT NULL, later_ms INTEGER NOT NULL,
    PRIMARY KEY (stream_id, first)
) WITHOUT ROWID;
CREATE TABLE cursors (                    -- how far a node durably has a feed
    node TEXT NOT NULL, topic_id INTEGER NOT NULL, partition INTEGER NOT NULL,
    next INTEGER NOT NULL, changed_ms INTEGER NOT NULL,
    PRIMARY KEY (topic_id, partition, node)
) WITHOUT ROWID;
"""


def path_of(url: str) -> Path:
    """The file of `sqlite:///relative.db` or `sqlite:////absolute.db`. Raises UsageError for anything else."""
    scheme = "sqlite:///"
    if not url.startswith(scheme) or not url[len(scheme) :]:
        raise UsageError("store %r: write it as sqlite:///PATH (sqlite:////PATH for one that begins with /)" % url)
    return Path(url[len(scheme) :])


def check_place(path: Path) -> None:
    """Raises UsageError where no store can be: it is a folder, or in none. A mistyped name must make no folders."""
    if path.is_dir():
        raise UsageError("store %s: it is a folder; name a file in it: sqlite:///%s" % (path, path / "streamline-cloud.db"))
    if not path.parent.is_dir():
        raise UsageError("store %s: there is no folder %s; make it, or name another with --store" % (path, path.parent))


def check_there(path: Path, makers: str = "`streamline-cloud serve`") -> None:
    """Raises UsageError where there is no store to read. makers: the commands that make one."""
    if path.is_dir():
        check_place(path)
    if not path.is_file():
        raise UsageError("store %s: there is no such file; %s makes one, --store names it" % (path, makers))


def open_for_writing(path: Path) -> sqlite3.Connection:
    """A connection for the one writer, tables made or checked. Raises UsageError naming the file and its fault."""
    try:
        if not path.exists():
            # SQLite gives its WAL the same mode: what edges measured is nobody else's business.
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise UsageError("store %s: cannot be opened: %s" % (path, error))
    try:
        db.execute("PRAGMA busy_timeout = %d" % BUSY_TIMEOUT_MS)
        version = check_version(db, path)
        if version == 0:
            db.execute("PRAGMA page_size = %d" % PAGE_BYTES)
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(
                "BEGIN IMMEDIATE;%s%sPRAGMA application_id = %d;PRAGMA user_version = %d;COMMIT;" % (DDL, DDL_2, APPLICATION_ID, VERSION)
            )
        elif version == 1:
            lineage = "ALTER TABLE heads ADD COLUMN lineage TEXT NOT NULL DEFAULT '[]';"
            db.executescript("BEGIN IMMEDIATE;%s%sPRAGMA user_version = %d;COMMIT;" % (lineage, DDL_2, VERSION))
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA wal_autocheckpoint = %d" % ((16 << 20) // PAGE_BYTES))
        db.execute("PRAGMA journal_size_limit = %d" % (64 << 20))
    except sqlite3.Error as error:
        db.close()
        raise UsageError("store %s: %s" % (path, error))
    except UsageError:
        db.close()
        raise
    return db


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing, for any process, while a writer is at work or not. Raises UsageError."""
    check_there(path)
    uri = path.absolute().as_uri()
    for mode in ("?mode=ro", "?immutable=1"):
        try:
            db = sqlite3.connect(uri + mode, uri=True, isolation_level=None)
            db.execute("PRAGMA busy_timeout = %d" % BUSY_TIMEOUT_MS)
            version = check_version(db, path)
            break
        except sqlite3.Error as error:
            # In a folder that we may not write to, WAL needs a file that is not there: all is in the database then.
            wal = path.with_name(path.name + "-wal")
            if mode == "?immutable=1" or (wal.exists() and wal.stat().st_size):
                raise UsageError("store %s: cannot be read: %s" % (path, error))
    if version == 0:
        db.close()
        raise UsageError("store %s: it is empty; `streamline-cloud serve --store sqlite:///%s` fills it" % (path, path))
    return db


def check_version(db: sqlite3.Connection, path: Path) -> int:
    """The schema version of a database of ours, 0 for an empty one. Raises UsageError for any other."""
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    application = int(db.execute("PRAGMA application_id").fetchone()[0])
    if application != APPLICATION_ID:
        if version or application or db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise UsageError("store %s: this database belongs to another program; name another file" % path)
        return 0
    if version > VERSION:
        raise UsageError("store %s: it has schema %d, and this streamline-cloud knows only up to %d; upgrade it" % (path, version, VERSION))
    return version


def lost_from(text: str) -> dict[str, int]:
    return {str(cause): int(count) for cause, count in json.loads(text).items()}
