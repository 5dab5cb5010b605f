"""The command streamline-cloud: what read, nodes and ledger print from a store, and how serve begins, ends and refuses."""

import base64
import binascii
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import store_filling as filling
from streamline_cloud.main import main
from streamline_cloud.read_command import rfc3339
from streamline_cloud.store_reader import StoreReader
from streamline_core.batch import HEADER_BYTES, pack_header
from streamline_core.record_encoder import encode_record
from streamline_core.store_ops import ChunkReceived, NodeSeen, StreamState, TopicDefined
from streamline_core.stream import StreamId
from streamline_core.topic import TopicDefinition
from streamline_host.codecs import codecs

ROOT = Path(__file__).parents[2]
HLC_MS = 1_767_225_600_000  # 2026-01-01


def general_batch(base: int, trusted: bool) -> bytes:
    """One record with everything, one with a value that is no text."""
    body = encode_record(0, 0, HLC_MS, b"v\xc3\xa9", b"k", [("h", b"x")], HLC_MS - 5)
    body += encode_record(0, 250, HLC_MS, b"\xff\x00", None, [], None)
    buf = bytearray(HEADER_BYTES)
    pack_header(buf, 0 if trusted else 2, 2, 2, base, HLC_MS << 16, 7, 0, 0, 0, len(body), binascii.crc32(body))
    return bytes(buf + body)


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "cloud.db"
    made = filling.Opened(path)
    a, b = filling.Filler(filling.A), filling.Filler(filling.B)
    wide = filling.Filler(StreamId("alpha", "wide", 2, 0xA))
    define = [TopicDefined("logs", TopicDefinition().to_wire()), TopicDefined("wide", TopicDefinition(partitions=3).to_wire())]
    seen = [NodeSeen("alpha", b"\x01\x02", "1.0"), NodeSeen("beta", b"\x03", "1.1")]
    ops = [a.data(filling.numbers(0, 3)), b.data([b"b0"]), a.data(filling.numbers(3, 5)), a.gap(2, "evicted"), a.have(9)]
    assert made.commit(*define, *seen, *ops, wide.data([b"w"])) is None
    raw = general_batch(1, True) + general_batch(3, False)
    state = StreamState()
    state.next = state.produced = 5
    assert made.commit(ChunkReceived(filling.B, state, 1, 5, 4, 0, len(raw), raw)) is None
    made.store.close()
    yield path


def run(capfdbinary: pytest.CaptureFixture[bytes], path: Path, *words: str) -> tuple[int, bytes, str]:
    capfdbinary.readouterr()
    command, *rest = words
    code = main([command, "--store", "sqlite:///%s" % path, *rest])
    out, err = capfdbinary.readouterr()
    return code, out, err.decode()


def test_read_prints_values(path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    everything = [b"0", b"1", b"2", b"b0", b"3", b"4", b"v\xc3\xa9", b"\xff\x00", b"v\xc3\xa9", b"\xff\x00"]
    code, out, err = run(capfdbinary, path, "read", "logs")
    assert (code, out, err) == (0, b"".join(value + b"\n" for value in everything), "")
    for start in range(11):
        code, out, err = run(capfdbinary, path, "read", "logs", "--from", str(start))
        assert (code, out) == (0, b"".join(value + b"\n" for value in everything[start:]))
    assert run(capfdbinary, path, "read", "logs", "--node", "alpha")[1] == b"0\n1\n2\n3\n4\n"
    assert run(capfdbinary, path, "read", "wide", "--partition", "2")[1] == b"w\n"
    assert run(capfdbinary, path, "read", "wide", "--partition", "1") == (0, b"", "")


def test_read_json(path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    code, out, _ = run(capfdbinary, path, "read", "logs", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [row["cloud_offset"] for row in rows] == list(range(10))
    place = {"topic": "logs", "partition": 0}
    assert rows[4] == place | {
        "cloud_offset": 4,
        "node": "alpha",
        "epoch": "0000000a",
        "offset": 3,
        "time": "2026-01-01T00:00:00.000Z",
        "timestamp": None,
        "key": None,
        "value": "3",
        "headers": {},
    }
    assert (rows[6]["key"], rows[6]["value"], rows[6]["headers"]) == ("k", "vé", {"h": "x"})
    assert rows[6]["timestamp"] == HLC_MS - 5 and rows[7]["time"] == "2026-01-01T00:00:00.250Z"
    assert base64.b64decode(rows[7]["value"]["base64"]) == b"\xff\x00"
    assert rows[8]["time"] is None and rows[8]["offset"] == 3


@pytest.mark.parametrize(
    "words, says",
    [
        (["read", "log"], "'log' is not in this store; there is: logs, wide"),
        (["read", "logs", "--node", "gamma"], "there is: alpha, beta"),
        (["read", "logs", "--from", "11"], "ends at cloud offset 10"),
        (["read", "wide", "--from", "0"], "add --partition"),
        (["read", "wide", "--partition", "3"], "partitions 0 to 2, not 3"),
        (["ledger", "gamma"], "there is: alpha, beta"),
    ],
)
def test_what_is_not_there(path: Path, capfdbinary: pytest.CaptureFixture[bytes], words: list[str], says: str) -> None:
    code, out, err = run(capfdbinary, path, *words)
    assert (code, out) == (2, b"") and says in err and err.count("\n") == 1


def test_usage(path: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for words in (["read", "logs", "--from", "-1"], ["read"], ["nonsense"]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 2
    with pytest.raises(SystemExit):
        main(["--help"])
    assert b"examples:" in capfdbinary.readouterr().out
    assert main(["nodes", "--store", "postgres://x"]) == 2
    assert run(capfdbinary, tmp_path / "none.db", "nodes")[2].count("no such file") == 1
    assert run(capfdbinary, path, "serve", "--broker", "mqtt://x", "--listen", "1")[0] == 2
    code, _, err = run(capfdbinary, path, "serve", "--listen", "0.0.0.0:0")
    assert code == 2 and "password file" in err


def test_nodes_and_ledger(path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    code, out, _ = run(capfdbinary, path, "nodes", "--json")
    first, second = json.loads(out)
    assert code == 0 and (first["node"], first["version"], first["storage_id"]) == ("alpha", "1.0", "0102")
    assert (first["produced"], first["delivered"], first["pending"], first["lost"]) == (10, 6, 2, 2)
    assert (second["node"], second["streams"], second["delivered"]) == ("beta", 1, 5)
    code, out, _ = run(capfdbinary, path, "ledger", "alpha", "--json")
    logs, wide = json.loads(out)
    assert code == 0 and logs == {
        "node": "alpha",
        "topic": "logs",
        "partition": 0,
        "epoch": "0000000a",
        "produced": 9,
        "delivered": 5,
        "pending": 2,
        "lost": {"evicted": 2},
        "closed": False,
        "adds_up": True,
        "fault": "",
    }
    code, out, _ = run(capfdbinary, path, "ledger")
    lines = out.decode().splitlines()
    assert code == 0 and len(lines) == 4 and lines[0].split()[:2] == ["NODE", "TOPIC"]
    assert lines[1].split() == ["alpha", "logs", "0", "0000000a", "9", "5", "2", "2", "evicted", "2"]
    assert run(capfdbinary, path, "nodes")[1].count(b"\n") == 3


def test_a_store_that_lies_is_exit_1(path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE chunks SET data = zeroblob(length(data)) WHERE id = 1")
    code, out, err = run(capfdbinary, path, "read", "logs")
    assert code == 1 and out.startswith(b"b0\n3\n4\n") and "chunk 1 " in err
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM chunks WHERE id = 1")
    code, _, err = run(capfdbinary, path, "ledger")
    assert code == 1 and "alpha logs-0, epoch 0000000a does not add up" in err


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "shared"), str(ROOT / "host")])}


def cloud(*words: str) -> Sequence[str]:
    return [sys.executable, "-m", "streamline_cloud", *words]


def test_follow_and_a_reader_that_goes_away(path: Path) -> None:
    store = "sqlite:///%s" % path
    process = subprocess.Popen(
        cloud("read", "logs", "--follow", "--from", "9", "--store", store), stdout=subprocess.PIPE, env=environment()
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"\xff\x00\n"
    made = filling.Opened(path)
    a = filling.Filler(filling.A, made.store.load_stream(filling.A))
    assert made.commit(a.data([b"fresh"])) is None
    assert process.stdout.readline() == b"fresh\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert made.commit(*[a.data([b"x" * 1000] * 50) for _ in range(20)]) is None
    made.store.close()
    done = subprocess.run(
        ["sh", "-c", '"$@" | head -n 1', "sh", *cloud("read", "logs", "--store", store)],
        capture_output=True,
        env=environment(),
        timeout=30,
    )
    assert (done.stdout, done.stderr) == (b"0\n", b"")


def test_output_that_nobody_takes_is_no_traceback(path: Path) -> None:
    for redirection, code, said in ((">/dev/full", 1, b"streamline-cloud: standard output: No space left on device"), (">&-", 0, b"")):
        for words in (["ledger"], ["read", "logs"]):
            line = ["sh", "-c", '"$@" ' + redirection, "sh", *cloud(*words, "--store", "sqlite:///%s" % path)]
            done = subprocess.run(line, capture_output=True, env=environment(), timeout=30)
            assert done.returncode == code and done.stderr.startswith(said), done
            assert done.stderr.count(b"\n") == (code != 0), done


def test_serve_with_its_own_broker_ends_cleanly(tmp_path: Path) -> None:
    pytest.importorskip("amqtt")
    path = tmp_path / "s.db"
    process = subprocess.Popen(
        cloud("serve", "--listen", "127.0.0.1:0", "--store", "sqlite:///%s" % path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    watchdog = threading.Timer(30, process.kill)
    watchdog.start()
    assert process.stdout is not None and process.stderr is not None
    line = process.stdout.readline().decode()
    assert "listening on 127.0.0.1:" in line and str(path) in line
    assert b"connected to mqtt://127.0.0.1:" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert process.stdout.read() == b"streamline-cloud: ended\n" and process.stderr.read() == b""
    watchdog.cancel()
    process.stdout.close()
    process.stderr.close()
    with StoreReader(path, codecs("none")) as reader:
        assert reader.topics() == [] and reader.nodes() == []


def test_serve_says_that_the_port_is_taken(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("amqtt")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code = main(["serve", "--listen", "127.0.0.1:%d" % port, "--store", "sqlite:///%s" % (tmp_path / "s.db")])
    err = capfd.readouterr().err
    assert code == 2 and "port %d of 127.0.0.1 is taken" % port in err and "--listen" in err and "Traceback" not in err


def test_times() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z" and rfc3339(1 << 60) is None
    assert rfc3339(time.time_ns() // 1_000_000) is not None
