"""The command streamline-cloud on topics that flow down: get, keys, conflicts, feeds and topics, from a store alone."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from feed_rows import FeedRows
from store_filling import KeyedFiller, Opened
from streamline_cloud.main import main
from streamline_core.merge import merge_hash
from streamline_core.store_ops import FeedConfirmed, NodeSeen, Op, TopicDefined
from streamline_core.stream import StreamId
from streamline_core.topic import TopicDefinition, partition_of

MERGE = b"def merge(key, earlier, later):\n    return (earlier or b'') + b'+' + (later or b'')\n"


class Filled:
    """A store with what two edges and the cloud wrote of one topic."""

    open: list[Opened] = []

    def __init__(self, path: Path, strategy: str = "last_write_wins", merge: bytes = b"", feed_filter: str = "") -> None:
        self.path = path
        self.rows = FeedRows()
        self.opened = Opened(path)
        self.open.append(self.opened)
        self.fillers: dict[str, KeyedFiller] = {}
        definition = TopicDefinition("keyed", "bidirectional", 1, strategy, merge, feed_filter)
        seen = [NodeSeen(name, b"1", "1") for name in ("e1", "e2", "e3")]
        assert self.opened.commit(*seen, TopicDefined("state", definition.to_wire())) is None

    def write(self, name: str, key: bytes, value: bytes | None, hlc_ms: int, trusted: bool = True, **seen: int) -> None:
        filler = self.fillers.setdefault(name, KeyedFiller(StreamId(name, "state", 0, 0xA), self.rows, hlc_ms))
        filler._hlc_ms = hlc_ms
        ops = filler.write((key, value, {(writer, 0xA): next_ for writer, next_ in seen.items()}), trusted=trusted)
        self.commit(*ops)

    def commit(self, *ops: Op) -> None:
        for op in ops:
            self.rows.apply(op)
        assert self.opened.commit(*ops) is None

    def cut_off(self) -> "Filled":
        """Three writers who had not seen each other."""
        self.write("e1", b"k", b"one", 3000)
        self.write("cloud", b"k", b"two", 2000)
        self.write("e2", b"k", b"three", 1000)
        return self


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "cloud.db"
    while Filled.open:
        Filled.open.pop().store.close()


def run(capfdbinary: pytest.CaptureFixture[bytes], path: Path, *words: str) -> tuple[int, bytes, str]:
    capfdbinary.readouterr()
    command, *rest = words
    code = main([command, "--store", "sqlite:///%s" % path, *rest])
    out, err = capfdbinary.readouterr()
    return code, out, err.decode()


def test_get_and_keys(path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    filled = Filled(path)
    filled.write("e1", b"heating", b"2\x00\xff", 1000)
    filled.write("e1", b"heat\n", b"v", 1000)
    filled.write("e1", b"light", b"on", 1000)
    filled.write("e2", b"light", None, 500, e1=3)
    assert run(capfdbinary, path, "get", "state", "heating") == (0, b"2\x00\xff\n", "")
    code, out, _ = run(capfdbinary, path, "get", "state", "heating", "--json")
    found = json.loads(out)
    assert code == 0 and base64.b64decode(found["value"]["base64"]) == b"2\x00\xff" and found["conflict"] is None
    assert (found["versions"][0]["node"], found["versions"][0]["time"]) == ("e1", "1970-01-01T00:00:01.000Z")
    code, out, err = run(capfdbinary, path, "get", "state", "light")
    assert (code, out) == (1, b"") and "light" in err and "deleted" in err
    code, out, _ = run(capfdbinary, path, "get", "state", "light", "--json")
    assert code == 1 and json.loads(out)["value"] is None
    code, out, err = run(capfdbinary, path, "get", "state", "never")
    assert (code, out) == (1, b"") and "nobody ever wrote it" in err
    assert run(capfdbinary, path, "keys", "state") == (0, b"heat\n\nheating\n", "")
    assert run(capfdbinary, path, "keys", "state", "--prefix", "heati") == (0, b"heating\n", "")
    assert json.loads(run(capfdbinary, path, "keys", "state", "--json")[1]) == ["heat\n", "heating"]


@pytest.mark.parametrize(
    "strategy, value, kind, winner",
    [
        ("last_write_wins", "one", "use edge", ["e1"]),
        ("first_write_wins", "three", "use edge", ["e2"]),
        ("cloud_wins", "two", "use cloud", ["cloud"]),
        ("keep_both", "one", "both", ["e2", "cloud", "e1"]),
    ],
)
def test_conflicts(path: Path, capfdbinary: pytest.CaptureFixture[bytes], strategy: str, value: str, kind: str, winner: list[str]) -> None:
    filled = Filled(path, strategy).cut_off()
    filled.write("e1", b"calm", b"x", 1000)
    code, out, err = run(capfdbinary, path, "get", "state", "k")
    assert (code, out) == (0, value.encode() + b"\n") and ("conflicts explain" in err) == (strategy == "keep_both")
    assert run(capfdbinary, path, "conflicts", "explain")[0] == 2
    for words in (["conflicts"], ["conflicts", "state"]):
        code, out, err = run(capfdbinary, path, *words, "--json")
        rows = json.loads(out)
        assert code == 0 and [(row["topic"], row["key"], row["conflict"]) for row in rows] == [("state", "k", "concurrent write")]
        assert (rows[0]["value"], rows[0]["resolution"]) == (value, kind) and strategy in rows[0]["rule"]
        assert [row["node"] for row in rows[0]["versions"] if row["shown"]] == winner
    lines = run(capfdbinary, path, "conflicts")[1].decode().splitlines()
    assert len(lines) == 2 and lines[1].split()[:5] == ["state", "0", "k", "concurrent", "write"] and lines[1].endswith(value)


def test_explain(path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    filled = Filled(path)
    filled.write("e1", b"k", b"first", 1000)
    filled.write("e1", b"k", b"tab\there", 3000)
    filled.write("cloud", b"k", None, 9000, trusted=False, e1=1)
    code, out, err = run(capfdbinary, path, "conflicts", "explain", "state", "k")
    text = out.decode()
    assert code == 0 and err == "" and "partition 0: update/delete; versions that stand: 2" in text
    assert "  deleted\n    written by cloud (cloud), epoch 0000000a, offset 0" in text and "nobody had set" in text
    assert "had seen: e1/0000000a below 1" in text and "had seen: nothing of this key" in text
    assert "* 'tab\\there'\n    written by e1 (edge)" in text and "1970-01-01T00:00:03.000Z by the clock of e1, which was set" in text
    assert "rule: last_write_wins" in text and "resolution: use edge" in text and text.endswith("shown: 'tab\\there'\n")
    found = json.loads(run(capfdbinary, path, "conflicts", "explain", "state", "k", "--json")[1])
    assert [row["trusted"] for row in found["versions"]] == [False, True]
    assert found["versions"][0]["had_seen"] == [{"node": "e1", "epoch": "0000000a", "below": 1}]
    assert b"nobody ever wrote it" in run(capfdbinary, path, "conflicts", "explain", "state", "none")[1]
    filled.write("e2", b"k", b"all seen", 1, e1=2, cloud=1)
    assert b"no conflict; versions that stand: 1" in run(capfdbinary, path, "conflicts", "explain", "state", "k")[1]


def test_a_stamp_held_for_absurd_is_named(path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    filled = Filled(path)
    filled.write("e1", b"k", b"sane", 1000)
    filler = filled.fillers["e2"] = KeyedFiller(StreamId("e2", "state", 0, 0xA), filled.rows, 1000 + 10 * 86400000)
    take = filler._table.take
    filler._table.take = lambda op, raw, heads, wall_ms: take(op, raw, heads, 1000)  # type: ignore[method-assign]
    filled.commit(*filler.write((b"k", b"tomorrow", {})))
    assert run(capfdbinary, path, "get", "state", "k")[1] == b"sane\n"
    assert b"held for absurd" in run(capfdbinary, path, "conflicts", "explain", "state", "k")[1]
    found = json.loads(run(capfdbinary, path, "get", "state", "k", "--json")[1])
    assert [(row["value"], row["demoted"]) for row in found["versions"]] == [("tomorrow", True), ("sane", False)]


def test_custom_merge_needs_its_very_module(path: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    right, wrong = tmp_path / "right.py", tmp_path / "wrong.py"
    right.write_bytes(MERGE)
    wrong.write_bytes(MERGE + b"\n")
    Filled(path, "custom_merge", merge_hash(MERGE)).cut_off()
    code, out, err = run(capfdbinary, path, "get", "state", "k", "--merge", "python:%s" % right)
    assert (code, out, err) == (0, b"three+two+one\n", "")
    code, out, err = run(capfdbinary, path, "get", "state", "k")
    assert (code, out) == (0, b"one\n") and "keep_both; name the module with --merge" in err
    code, out, err = run(capfdbinary, path, "get", "state", "k", "--merge", "python:%s" % wrong)
    assert (code, out) == (0, b"one\n") and merge_hash(MERGE).hex() in err and merge_hash(MERGE + b"\n").hex() in err
    assert b"note: topic state: custom_merge without" in run(capfdbinary, path, "conflicts", "explain", "state", "k")[1]
    rows = json.loads(run(capfdbinary, path, "conflicts", "--json", "--merge", "python:%s" % right)[1])
    assert (rows[0]["resolution"], rows[0]["value"], rows[0]["note"]) == ("merged", "three+two+one", None)
    assert run(capfdbinary, path, "get", "state", "k", "--merge", "python:none.py")[0] == 2


def test_feeds_and_topics(path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    filled = Filled(path, feed_filter="all/*").cut_off()
    filled.write("cloud", b"all/x", b"x", 1000)
    filled.write("e1", b"mine", b"y", 1000)
    filled.commit(FeedConfirmed("e1", "state", 0, 5), FeedConfirmed("e2", "state", 0, 3))
    code, out, _ = run(capfdbinary, path, "feeds", "--json")
    rows = json.loads(out)
    assert code == 0 and [(row["node"], row["received"], row["head"], row["behind"]) for row in rows] == [("e1", 5, 5, 0), ("e2", 3, 5, 2)]
    assert "has" not in rows[0]

    def has(*words: str) -> dict[str, str]:
        return {row["node"]: row["has"] for row in json.loads(run(capfdbinary, path, "feeds", "state", *words, "--json")[1])}

    assert has("--offset", "2") == {"e1": "yes", "e2": "yes", "e3": "no"} and has("--offset", "3") == {"e1": "yes", "e2": "no", "e3": "no"}
    assert has("--key", "all/x") == {"e1": "yes", "e2": "no", "e3": "no"}
    assert has("--key", "mine") == {"e1": "wrote it", "e2": "not sent it", "e3": "not sent it"}
    lines = run(capfdbinary, path, "feeds", "state", "--offset", "3")[1].decode().splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [["e1", "state", "yes"], ["e2", "state", "no"], ["e3", "state", "no"]]
    assert lines[3].endswith("never")
    code, out, _ = run(capfdbinary, path, "topics", "--json")
    assert code == 0 and json.loads(out) == [
        {
            "topic": "state",
            "kind": "keyed",
            "direction": "bidirectional",
            "partitions": 1,
            "strategy": "last_write_wins",
            "merge_hash": "",
            "feed_filter": "all/*",
            "records": 5,
            "conflicts": 1,
            "refused": 0,
        }
    ]
    line = run(capfdbinary, path, "topics")[1].decode().splitlines()[1]
    assert line.split() == ["state", "keyed", "bidirectional", "last_write_wins", "1", "5", "1", "0"]


def test_feeds_of_several_partitions(path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    made = Opened(path)
    wide = TopicDefinition("keyed", "bidirectional", 4)
    number = partition_of(b"k", 4)
    rows = FeedRows()
    ops = KeyedFiller(StreamId("e1", "wide", number, 1), rows).write((b"k", b"v", {}))
    up = TopicDefined("logs", TopicDefinition().to_wire())
    assert made.commit(NodeSeen("e1", b"1", "1"), NodeSeen("e2", b"1", "1"), TopicDefined("wide", wide.to_wire()), up, *ops) is None
    made.store.close()
    found = json.loads(run(capfdbinary, path, "feeds", "wide", "--key", "k", "--json")[1])
    assert [(row["node"], row["partition"], row["has"]) for row in found] == [("e1", number, "wrote it"), ("e2", number, "no")]
    for words, says in (
        (["feeds", "wide", "--offset", "0"], "add --partition"),
        (["feeds", "wide", "--offset", "5", "--partition", str(number)], "ends at cloud offset 1"),
        (["feeds", "wide", "--partition", "4"], "partitions 0 to 3, not 4"),
        (["feeds", "wide", "--key", "none"], "nobody ever wrote it"),
        (["feeds", "--partition", "0"], "name it"),
        (["feeds", "logs"], "no node receives it"),
        (["feeds", "nothing"], "there is: logs, wide"),
        (["get", "logs", "k"], "topic logs is a log"),
        (["get", "nothing", "k"], "there is: logs, wide"),
        (["get", "wide", ""], "1 to 1024 bytes"),
        (["keys", "logs"], "topic logs is a log"),
        (["conflicts", "nothing"], "there is: logs, wide"),
        (["conflicts", "logs"], "topic logs is a log"),
        (["conflicts", "wide", "k"], "conflicts explain TOPIC KEY"),
    ):
        code, out, err = run(capfdbinary, path, *words)
        assert (code, out) == (2, b"") and says in err and err.count("\n") == 1, (words, err)
