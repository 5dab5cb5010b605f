"""SqliteStore and StoreReader: what is committed is there, once, whatever is killed; the ledger adds up."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store_filling import A, B, Filler, FixedClock, Opened, numbers
from streamline_cloud.chunk_records import chunk_values
from streamline_cloud.store_reader import StoreReader
from streamline_core.batch import HEADER_BYTES
from streamline_core.builder import dense_batch
from streamline_core.errors import CorruptRecord, StorageFull, UsageError
from streamline_core.store_ops import (
    BatchQuarantined,
    NodeSeen,
    StreamChanged,
    StreamState,
    TopicDefined,
)
from streamline_core.stream import StreamId
from streamline_core.topic import TopicDefinition
from streamline_host.codecs import codecs


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cloud.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Opened]:
    made = Opened(path)
    yield made
    made.store.close()


def values_of(path: Path, topic: str = "logs", **which: int) -> list[bytes]:
    with StoreReader(path, codecs("zstd")) as reader:
        return [value for chunk in reader.chunks(topic, **which) for value in chunk_values(chunk, reader.codecs)]


def test_what_is_loaded_is_what_was_committed(opened: Opened, path: Path) -> None:
    store = opened.store
    definition = TopicDefinition(partitions=4, merge_hash=b"12345678").to_wire()
    assert store.load_topic("logs") is None and store.load_stream(A) is None and store.load_node("alpha") is None
    a = Filler(A)
    error = opened.commit(
        NodeSeen("alpha", b"id-1", "1.0"),
        TopicDefined("logs", definition),
        a.have(50),
        a.data(numbers(0, 10)),
        a.gap(5, "evicted"),
    )
    assert error is None
    assert opened.commit(NodeSeen("alpha", b"id-2", "1.1"), Filler(StreamId("alpha", "logs", 0, 0xC)).have(1)) is None
    state = store.load_stream(A)
    assert state is not None and vars(state) == vars(a.state) and state.lineage == [(7, 0)]
    assert tuple(store.load_topic("logs") or ()) == definition
    assert store.load_node("alpha") == b"id-2" and list(store.load_epochs("alpha", "logs", 0)) == [0xA, 0xC]
    store.close()
    again = Opened(path)
    state = again.store.load_stream(A)
    assert state is not None and vars(state) == vars(a.state)
    again.store.close()


def test_cloud_offsets_run_through_all_edges_of_a_partition(opened: Opened, path: Path) -> None:
    a, b, other = Filler(A), Filler(B), Filler(StreamId("alpha", "logs", 1, 0xA))
    assert opened.commit(a.data(numbers(0, 3), numbers(3, 5)), b.data(numbers(100, 102)), other.data([b"x"])) is None
    assert opened.commit(a.control(), a.data(numbers(5, 7))) is None
    with StoreReader(path, codecs("zstd")) as reader:
        found = [(at, chunk.node, r.offset, r.value) for at, chunk, r in reader.read_records("logs", 0)]
        assert [row[0] for row in found] == list(range(9))
        assert [row[3] for row in found] == numbers(0, 5) + numbers(100, 102) + numbers(5, 7)
        assert [row[2] for row in found] == [0, 1, 2, 3, 4, 0, 1, 6, 7]
        for start in range(11):
            assert [row[0] for row in reader.read_records("logs", 0, start)] == list(range(start, 9))
        assert [r.value for _, _, r in reader.read_records("logs", 0, 0, "beta")] == numbers(100, 102)
        assert reader.topic("logs").heads == {0: 9, 1: 1}
        with pytest.raises(UsageError, match="there is: logs"):
            reader.topic("log")
    assert values_of(path) == numbers(0, 5) + numbers(100, 102) + [b"x"] + numbers(5, 7)


def test_records_applied_before_are_not_shown_twice(opened: Opened, path: Path) -> None:
    a = Filler(A)
    assert opened.commit(a.data(numbers(0, 4)), a.data(numbers(2, 6), overlap=2)) is None
    assert values_of(path) == numbers(0, 6)


def test_a_chunk_off_the_watermark_is_refused_with_its_whole_commit(opened: Opened, path: Path) -> None:
    a, b = Filler(A), Filler(B)
    first = a.data(numbers(0, 3))
    assert opened.commit(first) is None
    for bad in (first, Filler(A).gap(3, "evicted"), Filler(A, _at(4)).data(numbers(4, 5)), StreamChanged(A, _at(9))):
        error = opened.commit(Filler(B).data(numbers(0, 9)), bad)
        assert isinstance(error, UsageError) and "watermark" in str(error)
        assert opened.store.load_stream(B) is None
    assert opened.commit(b.data(numbers(0, 1)), a.data(numbers(3, 4))) is None
    assert values_of(path) == numbers(0, 3) + [b"0", b"3"]


def _at(next_: int) -> StreamState:
    state = StreamState()
    state.next = state.produced = next_
    return state


def test_ledger_adds_up(opened: Opened, path: Path) -> None:
    a, b, gone = Filler(A), Filler(B), Filler(StreamId("alpha", "logs", 0, 0xD))
    ops = [
        a.data(numbers(0, 10)),
        a.gap(4, "evicted"),
        a.control(),
        a.gap(2, "expired"),
        a.data(numbers(0, 3)),
        a.have(25),
    ]
    assert opened.commit(*ops, b.have(7), gone.data(numbers(0, 5)), gone.have(8, closed=True)) is None
    quarantined = BatchQuarantined(B, b.state.copy(), 0, 2, b"??", "of a later version")
    assert opened.commit(quarantined, b.gap(2, "refused")) is None
    with StoreReader(path, codecs("zstd")) as reader:
        rows = {(row.node, row.epoch): row for row in reader.ledger()}
        assert all(row.adds_up for row in rows.values())
        row = rows["alpha", 0xA]
        assert (row.produced, row.delivered, row.pending, row.lost) == (25, 14, 5, {"evicted": 4, "expired": 2})
        row = rows["alpha", 0xD]
        assert (row.produced, row.delivered, row.pending, row.lost) == (8, 5, 0, {"storage": 3})
        row = rows["beta", 0xB]
        assert (row.produced, row.delivered, row.pending, row.lost) == (7, 0, 5, {"refused": 2})
        assert [row.node for row in reader.ledger("beta")] == ["beta"]
        with pytest.raises(UsageError, match="there is: alpha, beta"):
            reader.ledger("gamma")


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM chunks WHERE first = 0",
        "UPDATE streams SET next = next + 1, produced = produced + 1",
        "DELETE FROM gaps",
        "UPDATE streams SET lost = '{}'",
    ],
)
def test_a_ledger_that_lies_is_found_out(opened: Opened, path: Path, damage: str) -> None:
    a = Filler(A)
    assert opened.commit(a.data(numbers(0, 10)), a.gap(4, "evicted"), a.data(numbers(0, 10))) is None
    with sqlite3.connect(path) as db:
        db.execute(damage)
    with StoreReader(path, codecs("zstd")) as reader:
        assert [row.adds_up for row in reader.ledger()] == [False]


def test_a_rotten_chunk_is_named(opened: Opened, path: Path) -> None:
    assert opened.commit(Filler(A).data(numbers(0, 10))) is None
    with sqlite3.connect(path) as db:
        db.execute("UPDATE chunks SET data = zeroblob(length(data))")
    with pytest.raises(CorruptRecord, match="chunk 1 .node alpha, partition 0, epoch 0000000a, offsets 0 to 10. cannot"):
        values_of(path)


def test_pages_of_many_chunks(opened: Opened, path: Path) -> None:
    a, b = Filler(A), Filler(StreamId("alpha", "logs", 1, 0xA))
    for n in range(100):
        assert opened.commit(a.data([b"a%d" % n]), b.data([b"b%d" % n])) is None
    assert values_of(path) == [b"%s%d" % (x, n) for n in range(100) for x in (b"a", b"b")]
    assert values_of(path, partition=1, start=37) == [b"b%d" % n for n in range(37, 100)]


def test_files_that_are_refused(path: Path, tmp_path: Path) -> None:
    first = Opened(path)
    with pytest.raises(UsageError, match="another streamline-cloud is writing it"):
        Opened(path)
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    first.store.close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    for open_ in (Opened, lambda p: StoreReader(p, codecs("zstd"))):
        with pytest.raises(UsageError, match="schema 99.*upgrade it"):
            open_(path)
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as db:
        db.execute("CREATE TABLE precious (x)")
    with pytest.raises(UsageError, match="belongs to another program"):
        Opened(foreign)
    noise = tmp_path / "noise.db"
    noise.write_bytes(os.urandom(8192))
    with pytest.raises(UsageError, match="not a database"):
        Opened(noise)
    with pytest.raises(UsageError, match="no such file"):
        StoreReader(tmp_path / "none.db", codecs("zstd"))


def test_a_store_that_cannot_be_opened_leaves_nothing_beside_it(tmp_path: Path) -> None:
    noise = tmp_path / "noise.db"
    noise.write_bytes(b"root:x:0:0:root:/root:/bin/bash\n" * 40)
    folder = tmp_path / "folder"
    folder.mkdir()
    for path, said in (
        (noise, "not a database"),
        (folder, "it is a folder; name a file in it"),
        (tmp_path / "none" / "of" / "x.db", f"there is no folder {tmp_path}/none/of; make it"),
    ):
        with pytest.raises(UsageError, match=said):
            Opened(path)
        assert sorted(tmp_path.iterdir()) == [folder, noise], path
    with pytest.raises(UsageError, match="it is a folder"):
        StoreReader(folder, codecs("zstd"))
    (tmp_path / "noise.db.lock").touch()  # one that was there is another's to remove
    with pytest.raises(UsageError, match="not a database"):
        Opened(noise)
    assert (tmp_path / "noise.db.lock").exists()


def test_a_lock_file_that_was_removed_while_it_was_opened_locks_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, real = [], os.open

    def open_then_lose(name: Any, *words: Any) -> int:
        fd = real(name, *words)
        opened.append(name)
        if len(opened) == 1:
            os.unlink(name)  # as one does that could not open the store
        return fd

    monkeypatch.setattr(os, "open", open_then_lose)
    first = Opened(path)
    with pytest.raises(UsageError, match="another streamline-cloud is writing it"):
        Opened(path)
    first.store.close()


def test_a_full_disk_applies_nothing_and_is_survived(path: Path) -> None:
    made = Opened(path)
    a = Filler(A)
    assert made.commit(a.data(numbers(0, 5))) is None
    made.store.close()
    small = Opened(path)
    # The writer's own connection is the one that a full disk would hit; max_page_count is SQLite's way to play one.
    writer = small.store._writer
    pages = writer._db.execute("PRAGMA page_count").fetchone()[0]
    writer._db.execute("PRAGMA max_page_count = %d" % (pages + 2))
    before = a.state.copy()
    error = small.commit(a.data([os.urandom(60_000)]), a.data([os.urandom(60_000)]))
    assert isinstance(error, StorageFull) and str(path) in str(error)
    state = small.store.load_stream(A)
    assert state is not None and state.next == 5
    writer._db.execute("PRAGMA max_page_count = 1000000")
    a.state = before
    assert small.commit(a.data(numbers(5, 9))) is None
    small.store.close()
    assert values_of(path) == numbers(0, 9)


def test_reading_while_it_is_written(opened: Opened, path: Path) -> None:
    a = Filler(A)
    assert opened.commit(a.data(numbers(0, 2))) is None
    with StoreReader(path, codecs("zstd")) as reader:
        seen = list(reader.chunks("logs"))
        assert opened.commit(a.data(numbers(2, 4))) is None
        more = list(reader.chunks("logs", after=seen[-1].id))
        assert [chunk_values(chunk, reader.codecs) for chunk in more] == [numbers(2, 4)]


WRITER = """
import sys
sys.path[:0] = %r
from pathlib import Path
import store_filling as t
made = t.Opened(Path(sys.argv[1]))
streams = []
for name in ("alpha", "beta", "gamma"):
    stream = t.StreamId(name, "logs", 0, 1)
    streams.append(t.Filler(stream, made.store.load_stream(stream)))
print("ready", flush=True)
while True:
    ops = []
    for one in streams:
        n = one.state.next
        ops.append(one.data([b"%%s %%d " %% (one.stream.origin.encode(), k) + bytes(3000) for k in range(n, n + 7)]))
    assert made.commit(*ops) is None
    print(streams[0].state.next, flush=True)
"""


def test_kill_9_in_the_middle_of_commits(path: Path) -> None:
    script = WRITER % sys.path
    reported = 0
    for round_ in range(4):
        process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        time.sleep(0.15 + 0.07 * round_)
        process.send_signal(signal.SIGKILL)
        lines = [line for line in process.stdout.read().splitlines() if line]
        process.wait()
        process.stdout.close()
        reported = int(lines[-1]) if lines else reported
        with StoreReader(path, codecs("zstd")) as reader:
            assert reader.check() == []
            rows = reader.ledger()
            assert all(row.adds_up and row.pending == 0 for row in rows)
            assert len({row.delivered for row in rows}) == 1 and rows[0].delivered >= reported > 0
            values: dict[str, list[bytes]] = {}
            for at, (cloud_offset, chunk, record) in enumerate(reader.read_records("logs")):
                assert cloud_offset == at
                values.setdefault(chunk.node, []).append(record.value)
            for node, found in values.items():
                assert found == [b"%s %d " % (node.encode(), k) + bytes(3000) for k in range(rows[0].delivered)]


def test_a_dense_batch_is_what_this_file_thinks_it_is() -> None:
    head, body = dense_batch([b"ab", b"", b"c"], [2, 0, 1], 0, 1, FixedClock(), 0, 0, 0)
    assert len(head) == HEADER_BYTES and body == b"\x02\0\0\0\1\0abc"
