"""What the SQLite store keeps for feeds and tables: the same as the reference in memory, all or nothing, in old files and new ones."""

import json
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

import streamline_cloud.store_writer as store_writer
import streamline_cloud.stored_tables as stored_tables
from feed_rows import FeedRows
from store_filling import A, B, Filler, KeyedFiller, Opened, numbers
from streamline_cloud.main import main
from streamline_cloud.store_reader import StoreReader
from streamline_core.errors import UsageError
from streamline_core.store_ops import ClockMarked, FeedConfirmed, HubOpened, NodeSeen, Op, TombstoneDropped, TopicDefined, VersionRefused
from streamline_core.stream import StreamId
from streamline_core.topic import TopicDefinition
from streamline_host.codecs import codecs

KEYED = TopicDefinition("keyed", "bidirectional", 1, "keep_both")
SCHEMA_1 = """
CREATE TABLE topics (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, definition BLOB);
CREATE TABLE nodes (node TEXT PRIMARY KEY, storage_id BLOB NOT NULL, version TEXT NOT NULL, first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE streams (id INTEGER PRIMARY KEY, origin TEXT NOT NULL, topic_id INTEGER NOT NULL REFERENCES topics,
    partition INTEGER NOT NULL, epoch INTEGER NOT NULL, next INTEGER NOT NULL, produced INTEGER NOT NULL, closed INTEGER NOT NULL,
    lost TEXT NOT NULL, lineage TEXT NOT NULL, changed_ms INTEGER NOT NULL, UNIQUE (origin, topic_id, partition, epoch));
CREATE TABLE heads (topic_id INTEGER NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL,
    PRIMARY KEY (topic_id, partition)) WITHOUT ROWID;
CREATE TABLE chunks (id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, partition INTEGER NOT NULL, cloud_offset INTEGER NOT NULL,
    count INTEGER NOT NULL, stream_id INTEGER NOT NULL, first INTEGER NOT NULL, next INTEGER NOT NULL, arrived_ms INTEGER NOT NULL,
    codec INTEGER NOT NULL, raw_bytes INTEGER NOT NULL, data BLOB NOT NULL);
CREATE UNIQUE INDEX chunks_by_cloud_offset ON chunks (topic_id, partition, cloud_offset) WHERE count > 0;
CREATE UNIQUE INDEX chunks_by_offset ON chunks (stream_id, first, next, count);
CREATE TABLE gaps (stream_id INTEGER NOT NULL, first INTEGER NOT NULL, next INTEGER NOT NULL, cause TEXT NOT NULL,
    arrived_ms INTEGER NOT NULL, PRIMARY KEY (stream_id, first)) WITHOUT ROWID;
CREATE TABLE quarantine (id INTEGER PRIMARY KEY, stream_id INTEGER NOT NULL, first INTEGER NOT NULL, next INTEGER NOT NULL,
    why TEXT NOT NULL, arrived_ms INTEGER NOT NULL, data BLOB NOT NULL);
PRAGMA application_id = 0x534C4544;
PRAGMA user_version = 1;
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cloud.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Opened]:
    made = Opened(path)
    yield made
    made.store.close()


def read(path: Path) -> StoreReader:
    return StoreReader(path, codecs("zstd"))


class Both:
    """The store and its reference, given the same."""

    def __init__(self, path: Path) -> None:
        self.rows = FeedRows()
        self.opened = Opened(path)

    def commit(self, ops: list[Op]) -> None:
        for op in ops:
            self.rows.apply(op)
        assert self.opened.commit(*ops) is None

    def compare(self, topic: str, keys: list[bytes], nodes: list[str]) -> None:
        store, rows = self.opened.store, self.rows
        next_, lineage = store.load_head(topic, 0)
        assert (next_, lineage) == rows.load_head(topic, 0)
        for offset in range(-1, next_ + 2):
            mine, theirs = store.load_chunk(topic, 0, offset), rows.load_chunk(topic, 0, offset)
            assert (mine and vars(mine)) == (theirs and vars(theirs)), offset
        for offset, end, count in ((0, next_, 9999), (3, next_ - 3, 9999), (5, next_, 2), (next_, next_ + 9, 1)):
            mine, theirs = store.load_versions(topic, 0, offset, end, count), rows.load_versions(topic, 0, offset, end, count)
            assert [vars(row) for row in mine] == [vars(row) for row in theirs]
        for key in keys:
            assert sorted(store.load_siblings(topic, 0, key)) == sorted(rows.load_siblings(topic, 0, key))
            assert sorted(store.load_records(topic, 0, key)) == sorted(rows.load_records(topic, 0, key))
        dots = [(key, sorted(found)) for key, found in store.load_standing(topic, 0)]
        assert dots == [(key, sorted(found)) for key, found in rows.load_standing(topic, 0)]
        for _, found in dots:
            for *name, _ in found:
                dot = tuple(name)
                mine, theirs = store.load_version(topic, 0, dot), rows.load_version(topic, 0, dot)
                assert mine is not None and vars(mine) == vars(theirs)
        assert store.load_version(topic, 0, ("nobody", 1, 2)) is None
        for at_ms in (0, 1 << 60):
            assert sorted(store.load_tombstones(at_ms, 99)) == sorted(rows.load_tombstones(at_ms, 99))
        for node in nodes:
            assert store.load_cursor(node, topic, 0) == rows.load_cursor(node, topic, 0)


@pytest.mark.parametrize("turn", range(4))
def test_the_store_keeps_what_the_reference_keeps(path: Path, turn: int, seed: int) -> None:
    dice = random.Random(seed)
    both = Both(path)
    keys, nodes = [b"a", b"b", b"c\xff"], ["alpha", "beta", "cloud"]
    fillers = {name: KeyedFiller(StreamId(name, "state", 0, 1), both.rows) for name in nodes}
    for _ in range(60):
        ops: list[Op] = []
        if dice.random() < 0.1:
            ops.append(HubOpened(dice.randrange(1, 1 << 32)))
        if dice.random() < 0.2:
            ops.append(FeedConfirmed(dice.choice(nodes), "state", 0, dice.randrange(100)))
        tombstones = both.rows.load_tombstones(1 << 60, 9)
        if tombstones and dice.random() < 0.1:
            topic, partition, _, dot = tombstones[0]
            ops.append(TombstoneDropped(topic, partition, dot))
        both.commit(ops)
        writes = []
        for _ in range(dice.randrange(1, 4)):
            seen = {(name, 1): dice.randrange(1, fillers[name].state.next + 1) for name in nodes if fillers[name].state.next > 0}
            key = dice.choice([*keys, None])
            writes.append((key, dice.choice([b"value", None]), {w: seen[w] for w in seen if dice.random() < 0.5}))
        both.commit(fillers[dice.choice(nodes)].write(*writes))
    both.compare("state", keys, nodes)
    assert both.rows.refused and both.rows.load_standing("state", 0)
    with read(path) as reader:
        assert reader.tables.refused("state") == len(both.rows.refused) == reader.tables.refused()
        assert all(row.adds_up for row in reader.ledger())
        for key in keys:
            found = reader.tables.versions("state", key)
            assert sorted(row.version.standing for row in found) == dict(both.rows.load_standing("state", 0)).get(key, [])
    both.opened.store.close()
    both.opened = Opened(path)
    both.compare("state", keys, nodes)
    both.opened.store.close()


def test_each_opening_that_gives_out_offsets_is_remembered(opened: Opened, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = Filler(A), Filler(StreamId("alpha", "logs", 1, 0xA))
    assert opened.commit(HubOpened(11), a.data(numbers(0, 3)), a.gap(2, "evicted")) is None
    assert opened.commit(HubOpened(12)) is None and opened.commit(HubOpened(13), a.data(numbers(3, 4)), b.control()) is None
    assert opened.store.load_head("logs", 0) == (4, [(11, 0), (13, 3)]) and opened.store.load_head("logs", 1) == (0, [])
    assert opened.store.load_head("nothing", 0) == (0, [])
    monkeypatch.setattr(store_writer, "LINEAGE_MAX", 3)
    for term in range(20, 25):
        assert opened.commit(HubOpened(term), a.data([b"x"])) is None
    assert opened.store.load_head("logs", 0) == (9, [(22, 6), (23, 7), (24, 8)])


def test_where_a_record_of_ours_lies(opened: Opened) -> None:
    a, own = Filler(A), Filler(StreamId("cloud", "logs", 0, 9))
    assert opened.commit(own.data(numbers(0, 3)), a.data(numbers(0, 4)), own.data(numbers(3, 5))) is None
    assert [opened.store.load_cloud_offset(own.stream, n) for n in range(6)] == [0, 1, 2, 7, 8, -1]
    assert opened.store.load_cloud_offset(B, 0) == -1


def test_an_error_leaves_nothing_of_its_commit(opened: Opened) -> None:
    rows = FeedRows()
    state = KeyedFiller(StreamId("alpha", "state", 0, 1), rows)
    first = state.write((b"k", b"one", {}))
    rows.apply(first[0])
    assert opened.commit(HubOpened(5), *first) is None
    before = opened.store.load_head("state", 0), opened.store.load_siblings("state", 0, b"k")
    second = state.write((b"k", b"two", {}), (b"new", b"", {}))
    bad = Filler(A).data(numbers(0, 3), overlap=0)
    bad.first = 7
    error = opened.commit(HubOpened(6), *second, FeedConfirmed("beta", "state", 0, 1), TopicDefined("state", KEYED.to_wire()), bad)
    assert isinstance(error, UsageError)
    assert (opened.store.load_head("state", 0), opened.store.load_siblings("state", 0, b"k")) == before
    assert opened.store.load_cursor("beta", "state", 0) == 0 and opened.store.load_topic("state") is None
    assert opened.commit(*second) is None
    assert opened.store.load_head("state", 0) == (3, [(5, 0), (6, 1)]) and len(opened.store.load_siblings("state", 0, b"k")) == 1
    twin = KeyedFiller(StreamId("beta", "state", 0, 1), FeedRows()).write((b"k", b"x", {}))
    twin[0].versions[0].dot = ("alpha", 1, 1)  # type: ignore[attr-defined]
    error = opened.commit(*twin)  # a version that stands already: no later try would fare better
    assert isinstance(error, UsageError) and "contradicts" in str(error) and opened.store.load_head("state", 0)[0] == 3


def make_schema_1(path: Path) -> Filler:
    """A file as the first release has made it, with one chunk in it."""
    a = Filler(A)
    op = a.data(numbers(0, 3))
    with sqlite3.connect(path) as db:
        db.executescript(SCHEMA_1)
        db.execute("INSERT INTO topics VALUES (1, 'logs', NULL)")
        db.execute("INSERT INTO streams VALUES (1, 'alpha', 1, 0, 10, 3, 3, 0, '{}', '[[7, 0]]', 0)")
        db.execute("INSERT INTO heads VALUES (1, 0, 3)")
        db.execute("INSERT INTO chunks VALUES (1, 1, 0, 0, 3, 1, 0, 3, 0, ?, ?, ?)", (op.codec_id, op.raw_bytes, op.data))
    db.close()
    return a


def test_a_file_of_the_first_release(path: Path) -> None:
    a = make_schema_1(path)
    with read(path) as reader:
        tables = reader.tables
        assert [row.name for row in reader.topics()] == ["logs"] and all(row.adds_up for row in reader.ledger())
        assert list(tables.keys("logs")) == tables.conflicts() == tables.feeds() == tables.feeds("logs") == []
        assert tables.versions("logs", b"k") == [] and tables.refused() == 0
        made = Opened(path)
        assert made.store.load_head("logs", 0) == (3, []) and made.store.load_cursor("alpha", "logs", 0) == 0
        assert made.commit(HubOpened(9), a.data(numbers(3, 5)), NodeSeen("alpha", b"1", "1"), FeedConfirmed("alpha", "logs", 0, 2)) is None
        assert made.store.load_head("logs", 0) == (5, [(9, 3)])
        chunk = made.store.load_chunk("logs", 0, 2)
        assert chunk is not None and (chunk.cloud_offset, chunk.count) == (0, 3)
        assert [(row.node, row.next, row.head, row.behind) for row in tables.feeds()] == [("alpha", 2, 5, 3)]
        assert [record.value for _, _, record in reader.read_records("logs")] == numbers(0, 5)
        made.store.close()


def test_an_upgrade_that_fails_changes_nothing(path: Path) -> None:
    make_schema_1(path)
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE cursors (x)")  # somebody else's
    db.close()
    with pytest.raises(UsageError, match="cursors"):
        Opened(path)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == 1
        assert [row[1] for row in db.execute("PRAGMA table_info(heads)")] == ["topic_id", "partition", "next"]
    db.close()


def test_reading_tables_and_feeds(opened: Opened, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_tables, "KEYS_PER_PAGE", 3)
    rows = FeedRows()
    alpha, beta = [KeyedFiller(StreamId(name, "state", 0, 1), rows, hlc_ms) for name, hlc_ms in (("alpha", 2000), ("beta", 1000))]
    keys = [b"k%02d" % n for n in range(10)]
    ops = alpha.write(*[(key, b"v", {}) for key in keys])
    for op in ops:
        rows.apply(op)
    gone = alpha.write((keys[4], None, {}))
    for op in gone:
        rows.apply(op)
    seen = [NodeSeen(name, b"1", "1") for name in ("alpha", "beta", "gamma")]
    more = beta.write((keys[0], b"other", {}), (b"z", b"", {}))
    assert opened.commit(*seen, TopicDefined("state", KEYED.to_wire()), *ops, *gone, *more) is None
    assert opened.commit(FeedConfirmed("alpha", "state", 0, 13), FeedConfirmed("beta", "state", 0, 4)) is None
    with read(path) as reader:
        tables = reader.tables
        assert list(tables.keys("state")) == [key for key in keys if key != keys[4]] + [b"z"]
        assert list(tables.keys("state", b"k0")) == [key for key in keys if key != keys[4]] and list(tables.keys("nothing")) == []
        assert list(tables.keys("state", b"k03")) == [b"k03"]
        found = tables.versions("state", keys[0])
        assert [(row.version.origin, row.version.value, row.cloud_offset) for row in found] == [("beta", b"other", 11), ("alpha", b"v", 0)]
        assert found[0].version.trusted and found[0].version.hlc >> 16 == 1000 and found[0].record.headers == (("h", b"x"),)
        assert tables.conflicts() == tables.conflicts("state") == [("state", keys[0])] and tables.conflicts("nothing") == []
        assert [(row.node, row.behind) for row in tables.feeds()] == [("alpha", 0), ("beta", 9)]
        assert [(row.node, row.next, row.changed_ms is None) for row in tables.feeds("state")][2] == ("gamma", 0, True)
        refused = VersionRefused(alpha.stream, 3, b"?", "it is odd")
        assert opened.commit(refused) is None and tables.refused("state") == 1 and tables.refused("logs") == 0


def test_stamps_of_a_clock_that_was_not_set_are_shown_corrected(path: Path, opened: Opened, capfd: pytest.CaptureFixture[str]) -> None:
    filler = Filler(A)
    filler.clock.trusted = False
    unset = filler.data([b"one", b"two"])
    assert opened.commit(unset, ClockMarked(A, 0, 1, 86_400_000)) is None
    assert main(["read", "logs", "--json", "--store", "sqlite:///%s" % path]) == 0
    times = [json.loads(line)["time"] for line in capfd.readouterr().out.splitlines()]
    assert times == ["2026-01-02T00:00:00.000Z", None]
